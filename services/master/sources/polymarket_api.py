"""Polymarket over HTTP as the sources need it: trades from the Data API, markets and users from Gamma.

Both need no key and limit calls by address: a source keeps SPACING_S between its calls of one host, which leaves more
than half of what is allowed to others, and makes none before a 429's Retry-After, or soon after a call that failed.
Errors name no market and no user, since every organization sees how a source fares; only PlaceRefused does, which its
triggers get.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from b3os import metrics
from b3os.actions.upstreams import Upstreams
from b3os.detect.polymarket import is_address, is_condition
from b3os.detect.polymarket_answers import list_of, object_in
from b3os.detect.polymarket_markets import Market, market_of
from b3os.detect.polymarket_place import Walk
from b3os.detect.polymarket_trades import Trade, read_rows
from b3os.errors import ActionFailed, B3osError, BadInput
from b3os.net.http import GuardedClient, Response
from services.master.sources.refusals import ANSWER, Limited, PlaceRefused, Refused, Unreadable, retry_after_s

SOURCE = "polymarket"
DATA, GAMMA = "https://data-api.polymarket.com", "https://gamma-api.polymarket.com"
#: 200 calls of /trades, which two sources make, and 300 of /markets, which all three make, are allowed in 10 s.
SPACING_S = 0.25
#: A machine that is kept out asks again so often.
REFUSED_S = 20.0
#: A market or user that Polymarket does not know is looked up again so often.
UNKNOWN_S = 60.0
TIMEOUT_S = 10.0
MAX_BYTES = 32 * 1024 * 1024
BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
#: Answers that say that there is no such thing, or no such page.
ABSENT = frozenset({400, 404, 422})
#: Answers that say we are kept out: by country, or for what we did.
SHUT = frozenset({401, 403, 451})

ErrorT = TypeVar("ErrorT", bound=B3osError)


class TooDeep(B3osError):
    """The service shows no more of a list: a page may not begin so far down."""

    code = ANSWER


class Host:
    """One of the two services, and when it may be called."""

    def __init__(
        self, name: str, base: str, http: GuardedClient, *, spacing_s: float, monotonic: Callable[[], float]
    ) -> None:
        self._name = name
        self._base = base
        self._http = http
        self._spacing_s = spacing_s
        self._monotonic = monotonic
        self._free_at = float("-inf")
        self._failures = 0

    @property
    def wait_s(self) -> float:
        """How long it must not be called."""
        return max(0.0, self._free_at - self._monotonic())

    async def get(self, path: str, fields: Sequence[tuple[str, str]] = (), *, name: str = "") -> Response:
        """Return an answer, ABSENT ones too; raises what any other means. `name` ends the path, and is not told."""
        self._free_at = self._monotonic() + self._spacing_s
        url = f"{self._base}{path}{f'/{name}' if name else ''}{'?' if fields else ''}{urlencode(fields)}"
        try:
            answer = await self._http.request(
                "GET", url, headers={"accept": "application/json"}, timeout_s=TIMEOUT_S, max_bytes=MAX_BYTES,
                max_redirects=0,
            )  # fmt: skip
        except ActionFailed as error:
            raise self.unreadable(f"does not answer {path}: {error.message}") from error
        if answer.status == 200 or answer.status in ABSENT:
            self._count("answered")
            return answer
        if answer.status == 429:
            wait_s = retry_after_s(answer.headers.get("retry-after", ""), time.time())
            raise self._rest("limited", wait_s, Limited(f"{self._name} allows no more calls: wait", wait_s))
        if answer.status in SHUT:
            why = f"{self._name} refuses this machine (HTTP {answer.status}): Polymarket is closed to it"
            raise self._rest("refused", REFUSED_S, Refused(why))
        raise self.unreadable(f"answers {path} with HTTP {answer.status}")

    def read(self) -> None:
        """Note that an answer could be read."""
        self._failures = 0

    def unreadable(self, what: str) -> Unreadable:
        """Note an answer that is missing or makes no sense; returns the error. The next call waits longer each time."""
        self._failures += 1
        wait_s = BACKOFF_S[min(self._failures, len(BACKOFF_S)) - 1]
        return self._rest("failed", wait_s, Unreadable(f"{self._name} {what}; it is asked again"))

    def _rest(self, outcome: str, wait_s: float, error: ErrorT) -> ErrorT:
        self._count(outcome)
        self._free_at = self._monotonic() + wait_s
        return error

    @staticmethod
    def _count(outcome: str) -> None:
        metrics.SOURCE_REQUESTS.labels(SOURCE, outcome).inc()


class PolymarketApi:
    """The calls of one source."""

    def __init__(
        self, upstreams: Upstreams, *, spacing_s: float = SPACING_S, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        def host(name: str, provider: str, base: str) -> Host:
            return Host(name, *upstreams.find(provider, base), spacing_s=spacing_s, monotonic=monotonic)

        self.data = host("Polymarket's Data API", "polymarket-data", DATA)
        self.gamma = host("Polymarket's Gamma API", "polymarket-gamma", GAMMA)

    async def trades(self, name: str, keys: Sequence[str], walk: Walk, *, is_taker_only: bool) -> list[Trade | None]:
        """Return a page of trades of markets or of a user, the newest first; None for what makes no sense.

        Times only spare rows, and may be passed over. Raises TooDeep where the list is not shown so far down.
        """
        fields = [
            (name, ",".join(keys)), ("limit", str(walk.limit)), ("offset", str(walk.offset)),
            ("takerOnly", "true" if is_taker_only else "false"), ("start", str(max(1, walk.floor - 1))),
            *([] if walk.until is None else [("end", str(walk.until + 1))]),
        ]  # fmt: skip
        answer = await self.data.get("/trades", fields)
        if answer.status != 200 and walk.offset:
            raise TooDeep("Polymarket's Data API shows no trades so far down")
        try:
            found = read_rows(answer.body, int(time.time()))
        except BadInput as error:
            raise self.data.unreadable(f"answers /trades with nonsense: {error.message}") from error
        self.data.read()
        return found

    async def markets(self, fields: Sequence[tuple[str, str]], offset: int = 0) -> list[Market | None]:
        """Return a page of markets; None for what makes no sense. Raises TooDeep."""
        answer = await self.gamma.get("/markets", [*fields, ("offset", str(offset))])
        if answer.status != 200 and offset:
            raise TooDeep("Polymarket's Gamma API shows no markets so far down")
        return self._markets(answer.body)

    async def market(self, ref: str) -> Market:
        """Return a market by condition id or slug; raises PlaceRefused when there is none."""
        found: list[Market | None] = []
        if is_condition(ref):
            for closed in ("false", "true"):  # Gamma shows either only when asked for it
                found = found or await self.markets([("condition_ids", ref), ("closed", closed)])
        else:
            answer = await self.gamma.get("/markets/slug", name=quote(ref, safe=""))
            found = self._markets(b"[" + answer.body + b"]") if answer.status == 200 else []
        known = [one for one in found if one is not None and ref in (one.condition, one.slug)]
        if not known:
            raise PlaceRefused(f"Polymarket has no market {ref}: check its condition id or slug")
        return known[0]

    async def wallet(self, ref: str) -> str:
        """Return the wallet that a user trades with, by address or name; raises PlaceRefused when there is none."""
        if is_address(ref):
            answer = await self.gamma.get("/public-profile", [("address", ref)])
            return _wallet_of(self._object(answer)) or ref if answer.status == 200 else ref
        answer = await self.gamma.get("/public-search", [("q", ref), ("search_profiles", "true")])
        listed = self._object(answer).get("profiles") if answer.status == 200 else []
        profiles = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        for field in ("name", "pseudonym"):
            named = [one for one in profiles if str(one.get(field) or "").strip().casefold() == ref]
            wallets = {wallet for one in named if (wallet := _wallet_of(one))}
            if len(wallets) > 1:
                raise PlaceRefused(f"Polymarket has several users named {ref}: give the address")
            if wallets:
                return wallets.pop()
        raise PlaceRefused(f"Polymarket has no user named {ref}: check the name, or give the address")

    def _markets(self, body: bytes) -> list[Market | None]:
        try:
            found = [market_of(row, int(time.time() * 1000)) for row in list_of(body)]
        except BadInput as error:
            raise self.gamma.unreadable(f"answers with nonsense: {error.message}") from error
        self.gamma.read()
        return found

    def _object(self, answer: Response) -> dict[str, Any]:
        try:
            found = object_in(answer.body)
        except BadInput as error:
            raise self.gamma.unreadable(f"answers with nonsense: {error.message}") from error
        self.gamma.read()
        return found


def _wallet_of(profile: dict[str, Any]) -> str:
    wallet = profile.get("proxyWallet")
    return wallet.lower() if isinstance(wallet, str) and is_address(wallet.lower()) else ""
