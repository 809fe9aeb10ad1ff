"""Where providers are: their own base URLs, or those that the operator set instead (B3OS_PROVIDER_URLS)."""

from urllib.parse import urlsplit

import msgspec

from b3os.errors import BadInput
from b3os.net.http import GuardedClient


class Upstreams:
    """Base URL and client by provider; an operator's own address may be private, for that provider alone."""

    def __init__(self, http: GuardedClient, configured: str = "") -> None:
        self._http = http
        self._urls: dict[str, str] = {}
        self._clients: dict[str, GuardedClient] = {}
        if configured:
            try:
                self._urls = msgspec.json.decode(configured, type=dict[str, str])
            except msgspec.DecodeError as error:
                raise BadInput(
                    f"B3OS_PROVIDER_URLS is not valid: {error}. See docs/settings.md.", code=400001
                ) from error
        for name, url in self._urls.items():
            parts = urlsplit(url)
            self._clients[name] = GuardedClient(f"0.0.0.0/0,::/0,{parts.hostname}:{parts.port or 443}")

    def find(self, provider: str, base_url: str) -> tuple[str, GuardedClient]:
        """Return where a provider is and the client that may go there."""
        return self._urls.get(provider, base_url).rstrip("/"), self._clients.get(provider, self._http)

    async def close(self) -> None:
        """Close the clients of configured addresses."""
        for client in self._clients.values():
            await client.close()
