"""The one way out: HTTP through the guard. Addresses are checked where the socket is made, redirects again."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import urljoin, urlsplit

import aiohttp
import msgspec

from b3os.errors import ActionFailed
from b3os.net.guard import AllowList, check_url

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
CONNECTIONS = 200
#: Headers that stay with the origin they were meant for.
PRIVATE_HEADERS = frozenset({"authorization", "cookie", "x-api-key", "proxy-authorization"})


Read: TypeAlias = Callable[[aiohttp.ClientResponse], Awaitable["Response"]]


class Refused(OSError):
    """The guard refused the address of a connection."""


class Response(msgspec.Struct, frozen=True):
    """An answer whose body has been read; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class GuardedClient:
    """Makes requests to addresses that users can influence; `allow` names what the operator opened."""

    def __init__(self, allow: str = "") -> None:
        self._allow = AllowList(allow)
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 30.0,
        max_bytes: int = 4 * 1024 * 1024,
        max_redirects: int = MAX_REDIRECTS,
        may_cut: bool = False,
    ) -> Response:
        """Send a request and read its answer; raises BadInput for a URL, ActionFailed for everything after.

        With `max_redirects` 0 a redirect is an answer. A body over `max_bytes` is an error, or is cut if it may be.
        """
        try:
            async with asyncio.timeout(timeout_s):
                read = partial(self._read, max_bytes=max_bytes, may_cut=may_cut)
                return await self._follow(method, url, dict(headers or {}), body, max_redirects, read)
        except TimeoutError as error:
            raise failed(f"no answer within {timeout_s:g} s", "try again, or raise the timeout") from error
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, Refused) or isinstance(error.__cause__, Refused):
                raise failed("the address is private or reserved", "use a public address", retryable=False) from error
            raise failed(f"the server cannot be reached: {type(error).__name__}", "check the address") from error

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _follow(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None, max_redirects: int, read: Read
    ) -> Response:
        for _ in range(max_redirects + 1):
            check_url(url, self._allow)
            async with self._open().request(method, url, headers=headers, data=body, allow_redirects=False) as answer:
                location = answer.headers.get("location")
                if answer.status not in REDIRECTS or not location or not max_redirects:
                    return await read(answer)
            target = urljoin(url, location)
            if urlsplit(target)[:2] != urlsplit(url)[:2]:
                headers = {k: v for k, v in headers.items() if k.lower() not in PRIVATE_HEADERS}
            if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
                method, body = "GET", None
            url = target
        raise failed(f"more than {max_redirects} redirects", "use the final address", retryable=False)

    @staticmethod
    async def _read(answer: aiohttp.ClientResponse, *, max_bytes: int, may_cut: bool) -> Response:
        body = bytearray()
        async for chunk in answer.content.iter_chunked(65536):  # decompressed: the cap holds for bombs too
            body += chunk
            if len(body) > max_bytes and may_cut:
                del body[max_bytes:]
                break
            if len(body) > max_bytes:
                raise failed(f"the answer is larger than {max_bytes} bytes", "ask for less", retryable=False)
        return Response(answer.status, {k.lower(): v for k, v in answer.headers.items()}, bytes(body))

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS, socket_factory=self._socket)
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=True, trust_env=False
            )
        return self._session

    def _socket(self, address: Any) -> socket.socket:
        """Make the socket of a connection, unless its final address is refused: no name is resolved after this."""
        family, kind, protocol, _, sockaddr = address
        if not self._allow.permits(str(sockaddr[0]), int(sockaddr[1])):
            raise Refused(f"{sockaddr[0]} is refused")
        return socket.socket(family, kind, protocol)


def failed(message: str, remediation: str, *, retryable: bool = True) -> ActionFailed:
    """Make the error of a request that got no answer."""
    return ActionFailed(
        message, error_code="NETWORK_ERROR", category="network", remediation=remediation, retryable=retryable
    )
