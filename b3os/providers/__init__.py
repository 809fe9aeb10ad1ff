"""The providers, as one tuple: the registry."""

from b3os.providers.http import HTTP

PROVIDERS = (HTTP,)
