"""The providers, as one tuple: the registry."""

from b3os.providers.coingecko import COINGECKO
from b3os.providers.discord import DISCORD
from b3os.providers.evm import EVM
from b3os.providers.gmail import GMAIL
from b3os.providers.http import HTTP
from b3os.providers.slack import SLACK
from b3os.providers.telegram import TELEGRAM
from b3os.providers.webhook import WEBHOOK

PROVIDERS = (HTTP, EVM, COINGECKO, SLACK, TELEGRAM, DISCORD, GMAIL, WEBHOOK)
