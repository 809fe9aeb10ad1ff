"""The providers, as one tuple: the registry."""

from b3os.providers.evm import EVM
from b3os.providers.http import HTTP

PROVIDERS = (HTTP, EVM)
