"""Pipedream's proxy: calls of an API with an account that somebody connected, through the operator's own project.

An account belongs to the external user that is the organization's id: which account a call may use is therefore decided
by Pipedream with a name that no tenant writes. The project's token is shared, renewed before it ends, and once more
when it is refused. The project's calls are counted together (1000 in five minutes), so all of them take turns.
"""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from b3os.errors import ActionFailed, Unavailable
from b3os.net.http import GuardedClient, Response
from b3os.settings import Settings
from services.master.sources.refusals import Limited, Refused, Unreadable, retry_after_s

BASE = "https://api.pipedream.com"
SPACING_S = 0.3
#: A token is renewed so long before it ends.
EARLY_S = 60.0
#: The proxy itself gives up after 30 s.
TIMEOUT_S = 40.0
MAX_BYTES = 64 * 1024 * 1024


class Unset(Unavailable):
    """Pipedream refuses the project's own credential: nothing of any organization can be read."""

    code = 502044


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float = 3600.0


class _Said(msgspec.Struct):
    error: Any = None


class Pipedream:
    """One project."""

    def __init__(
        self,
        http: GuardedClient,
        base: str,
        settings: Settings,
        *,
        spacing_s: float = SPACING_S,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._http = http
        self._base = base
        self._project = settings.pipedream_project
        self._environment = settings.pipedream_environment
        self._client = (settings.pipedream_client_id, settings.pipedream_client_secret)
        self._spacing_s = spacing_s
        self._monotonic = monotonic
        self._sleep = sleep
        self._free_at = float("-inf")
        self._token = ""
        self._token_until = float("-inf")
        self._renewing = asyncio.Lock()

    @property
    def is_set(self) -> bool:
        """Whether the operator gave a project and its credential."""
        return bool(self._project and all(self._client))

    def wait_s(self) -> float:
        """Return how long the project must be left alone."""
        return max(0.0, self._free_at - self._monotonic() - self._spacing_s)

    async def get(self, org_id: str, account_id: str, url: str, query: dict[str, Any]) -> Response:
        """Call an address with an organization's account; what the service itself answers is returned as it is."""
        target = f"{url}?{urlencode(query, doseq=True)}" if query else url
        coded = base64.urlsafe_b64encode(target.encode()).decode().rstrip("=")
        owner = urlencode({"external_user_id": org_id, "account_id": account_id})
        address = f"{self._base}/v1/connect/{quote(self._project, safe='')}/proxy/{coded}?{owner}"
        token = await self._access()
        answer = await self._send("GET", address, token)
        if answer.status == 401 and _is_pipedreams(answer):
            answer = await self._send("GET", address, await self._access(refused=token))
        self._check(answer)
        return answer

    def _check(self, answer: Response) -> None:
        if answer.status == 429:
            wait_s = retry_after_s(answer.headers.get("retry-after", ""), time.time())
            if _is_pipedreams(answer):
                self._free_at = self._monotonic() + wait_s + self._spacing_s
            raise Limited(f"no more calls of the mailbox are allowed for {wait_s:g} s: wait", wait_s)
        if answer.status >= 500:
            raise Unreadable(f"the mailbox answers HTTP {answer.status}; it is asked again")
        if answer.status < 400 or not _is_pipedreams(answer):
            return
        if answer.status == 401:
            raise Unset("Pipedream refuses the project's token: check B3OS_PIPEDREAM_PROJECT and _ENVIRONMENT")
        raise Refused(f"Pipedream refuses the account ({answer.status}: {_words(answer)}): connect the mailbox again")

    async def _access(self, refused: str = "") -> str:
        """Return a token that is good for a while; `refused` is one that is good no more, whatever it promised."""
        async with self._renewing:
            if self._token == refused or self._monotonic() >= self._token_until:
                await self._renew()
            return self._token

    async def _renew(self) -> None:
        client_id, client_secret = self._client
        asked = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        answer = await self._send("POST", f"{self._base}/v1/oauth/token", "", msgspec.json.encode(asked))
        if answer.status in (400, 401, 403):
            raise Unset("Pipedream refuses B3OS_PIPEDREAM_CLIENT_ID and _SECRET: correct them. See docs/gmail.md.")
        self._check(answer)
        try:
            found = msgspec.json.decode(answer.body, type=_Token)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise Unreadable("Pipedream gave no token; it is asked again") from error
        self._token = found.access_token
        self._token_until = self._monotonic() + max(found.expires_in - EARLY_S, 1.0)

    async def _send(self, method: str, address: str, token: str, body: bytes | None = None) -> Response:
        await self._turn()
        headers = {"accept": "application/json", "x-pd-environment": self._environment}
        if token:
            headers["authorization"] = f"Bearer {token}"
        if body is not None:
            headers["content-type"] = "application/json"
        try:
            return await self._http.request(
                method, address, headers=headers, body=body, timeout_s=TIMEOUT_S, max_bytes=MAX_BYTES, max_redirects=0
            )
        except ActionFailed as error:
            raise Unreadable(f"Pipedream does not answer: {error.message}; it is asked again") from error

    async def _turn(self) -> None:
        """Wait for a turn; all sources of this process share them."""
        now = self._monotonic()
        mine = max(now, self._free_at)
        self._free_at = mine + self._spacing_s
        if mine > now:
            await self._sleep(mine - now)


def _said(answer: Response) -> Any:
    try:
        return msgspec.json.decode(answer.body, type=_Said).error
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def _is_pipedreams(answer: Response) -> bool:
    """Whether Pipedream itself says no: Google's errors are objects, or lists of them, Pipedream's are words."""
    return isinstance(_said(answer), str)


def _words(answer: Response) -> str:
    return str(_said(answer))[:200]
