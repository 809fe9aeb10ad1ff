"""JSON-RPC of one chain over several upstreams: failover, pinned chain id, batches; whom to ask is `upstreams.py`.

Addresses of upstreams may hold keys: errors and logs name the host only.
"""

import asyncio
import copy
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from b3os.chain.blocks import Block, Header, Receipt
from b3os.chain.chains import Chain
from b3os.chain.rpc_errors import Cause, ChainUnreachable, RpcAnswer, RpcError, read_error
from b3os.chain.upstreams import Upstream, Upstreams
from b3os.errors import B3osError

T = TypeVar("T")

TIMEOUT_S = 20.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
#: Errors after which another upstream is asked before the answer is believed: the node's own trouble, not the call's.
UNSURE = frozenset({-32603, -32000, -32001, -32002, -32004, -32601})
#: Requests of one HTTP batch; every provider accepts this many.
BATCH = 50


class HttpAnswer(Protocol):
    """What a client returns."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


class HttpClient(Protocol):
    """The one way out, handed in."""

    async def request(
        self, method: str, url: str, *, headers: dict[str, str], body: bytes, timeout_s: float, max_bytes: int
    ) -> HttpAnswer: ...


class Rpc:
    """The client of one chain."""

    def __init__(self, chain: Chain, http: HttpClient, *, now: Callable[[], float] = time.monotonic) -> None:
        self.chain = chain
        self.now = now
        self._http = http
        self.upstreams = Upstreams(chain.rpc_urls, chain.rpc_weights, now)
        #: Who gave the last answer.
        self.answered: Upstream | None = None
        self._last: tuple[Upstream, ...] = ()
        self._number = 0

    def after(self, upstream: Upstream | None) -> "Rpc":
        """Return the same client, which asks an upstream only when no other answers: for a second opinion."""
        view = copy.copy(self)  # which shares the upstreams and what is known of them
        view._last = self._last if upstream is None else (*self._last, upstream)
        return view

    def order(self) -> list[Upstream]:
        """Return the upstreams in the order in which the next call asks them."""
        return self.upstreams.order(self._last)

    def first(self) -> Upstream:
        """Return the upstream that the next call is sent to."""
        return self.order()[0]

    async def call(self, method: str, *params: Any) -> Any:
        """One call; returns its result, raises RpcError or ChainUnreachable."""
        return msgspec.json.decode((await self._ask([(method, params)]))[0])

    async def typed(self, kind: type[T], method: str, *params: Any) -> T:
        """One call whose result is a `kind`; an answer of another shape counts as the upstream's failure."""
        return msgspec.json.decode((await self._ask([(method, params)], kind))[0], type=kind)

    async def raw(self, method: str, *params: Any) -> bytes:
        """One call; the result as JSON bytes."""
        # Not decoded to be checked: for 5,000 logs that took 28 ms, and the matcher reads the bytes anyway.
        return bytes((await self._ask([(method, params)], msgspec.Raw))[0])

    async def batch(self, kind: type[T], calls: Sequence[tuple[str, Sequence[Any]]]) -> list[T]:
        """Several calls in as few requests as possible; results in order, the first error raised."""
        found: list[T] = []
        for start in range(0, len(calls), BATCH):
            part = calls[start : start + BATCH]
            found += [msgspec.json.decode(result, type=kind) for result in await self._ask(part, kind)]
        return found

    async def one(self, upstream: Upstream, kind: type[T], method: str, *params: Any) -> T:
        """One call of one upstream, for what not every one can do: a failure is not held against it.

        Raises RpcError, OSError, TimeoutError, msgspec.DecodeError, RecursionError or B3osError.
        """
        (found,) = await self._send(upstream, [(method, params)])
        return msgspec.json.decode(found, type=kind)

    async def height(self) -> int:
        """Number of the newest block: a hint, since another backend may lag behind it."""
        found = int(await self.typed(str, "eth_blockNumber"), 16)
        if self.answered is not None:
            self.answered.head = found
        return found

    async def look_around(self) -> None:
        """Ask every upstream that does not rest for its head, so that one that lags is not asked first."""
        for upstream in [u for u in self.upstreams.all if u.blocked_until <= self.now()]:
            try:
                (found,) = await self._send(upstream, [("eth_blockNumber", ())])
                upstream.head = int(msgspec.json.decode(found, type=str), 16)
            except (RpcError, OSError, TimeoutError, ValueError, RecursionError, B3osError) as error:
                self.upstreams.block(upstream, getattr(error, "cause", Cause.OTHER), str(error) or type(error).__name__)

    async def tagged(self, tag: str) -> Header | None:
        """Return the block of `safe` or `finalized`; None where the nodes do not know the tag."""
        try:
            return await self.typed(Header | None, "eth_getBlockByNumber", tag, False)  # type: ignore[arg-type]
        except RpcError:
            return None

    async def headers(self, numbers: Sequence[int]) -> list[Header | None]:
        """Headers by number, in one request; None where the upstream does not have it yet."""
        return await self.batch(Header | None, [("eth_getBlockByNumber", (hex(n), False)) for n in numbers])  # type: ignore[arg-type]

    async def blocks(self, numbers: Sequence[int]) -> list[Block | None]:
        """Blocks with transactions by number."""
        return await self.batch(Block | None, [("eth_getBlockByNumber", (hex(n), True)) for n in numbers])  # type: ignore[arg-type]

    async def receipts(self, hashes: Sequence[str]) -> list[Receipt | None]:
        """Receipts by transaction hash; None where it is unknown."""
        return await self.batch(Receipt | None, [("eth_getTransactionReceipt", (h,)) for h in hashes])  # type: ignore[arg-type]

    async def eth_call(self, to: str, data: bytes, block: str = "latest", sender: str | None = None) -> bytes:
        """Call a contract without a transaction; raises RpcError with cause revert when it says no."""
        call = {"to": to, "data": "0x" + data.hex()} | ({"from": sender} if sender else {})
        return bytes.fromhex((await self.typed(str, "eth_call", call, block))[2:])

    async def _ask(self, calls: Sequence[tuple[str, Sequence[Any]]], kind: Any = Any) -> list[msgspec.Raw]:
        problems: list[str] = []
        last: RpcError | None = None
        for upstream in self.order():
            self.answered = upstream
            try:
                results = await self._send(upstream, calls)
                for result in results:
                    msgspec.json.decode(result, type=kind)
            except RpcError as error:
                error.upstream = upstream.name
                if _is_the_call(error, calls):
                    raise
                if error.cause is not Cause.OTHER:
                    self.upstreams.block(upstream, error.cause, error.message, rest_s=error.rest_s)
                problems.append(f"{upstream.host}: {error.message}")
                last = error
            except (OSError, TimeoutError, msgspec.DecodeError, RecursionError, B3osError) as error:
                reason = str(error) if isinstance(error, B3osError) else type(error).__name__
                self.upstreams.block(upstream, Cause.OTHER, reason)
                problems.append(f"{upstream.host}: {reason}")
            else:
                upstream.failures = 0
                return results
        if last is not None and last.cause in (Cause.MISSING, Cause.OTHER):
            raise last
        raise ChainUnreachable(
            f"chain {self.chain.id} ({self.chain.name}) gave no answer: {'; '.join(problems)[:500]}. "
            "Check its rpcUrls in B3OS_CHAINS."
        ) from last

    async def _send(self, upstream: Upstream, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[msgspec.Raw]:
        if not upstream.is_pinned:
            found = msgspec.json.decode((await self._post(upstream, [("eth_chainId", ())]))[0], type=str)
            if int(found, 16) != self.chain.id:
                raise RpcError(f"it serves chain {int(found, 16)}, not {self.chain.id}", cause=Cause.QUOTA)
            upstream.is_pinned = True
        if len(calls) > 1 and not upstream.takes_batches:
            return [(await self._post(upstream, [call]))[0] for call in calls]
        return await self._post(upstream, calls)

    async def _post(self, upstream: Upstream, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[msgspec.Raw]:
        first = self._number + 1
        self._number += len(calls)
        requests = [
            {"jsonrpc": "2.0", "id": first + index, "method": method, "params": list(params)}
            for index, (method, params) in enumerate(calls)
        ]
        is_batch = len(requests) > 1
        async with asyncio.timeout(TIMEOUT_S):
            response = await self._http.request(
                "POST",
                upstream.url,
                headers={"content-type": "application/json"},
                body=msgspec.json.encode(requests if is_batch else requests[0]),
                timeout_s=TIMEOUT_S,
                max_bytes=MAX_ANSWER_BYTES,
            )
        if response.status in (402, 403):
            raise RpcError(f"HTTP {response.status}", cause=Cause.QUOTA)
        if response.status == 429:
            raise RpcError("HTTP 429", cause=Cause.RATE, rest_s=_seconds(response.headers))
        if is_batch and not response.body.lstrip().startswith(b"["):
            lone = msgspec.json.decode(response.body, type=RpcAnswer)
            if lone.error is not None and (error := read_error(lone.error)).cause in (Cause.RATE, Cause.QUOTA):
                raise error
            upstream.takes_batches = False  # one object for a whole batch: it takes none
            return [(await self._post(upstream, [call]))[0] for call in calls]
        if is_batch:
            return _in_order(msgspec.json.decode(response.body, type=list[RpcAnswer]), first, len(calls))
        return _in_order([msgspec.json.decode(response.body, type=RpcAnswer)], first, 1)


def _is_the_call(error: RpcError, calls: Sequence[tuple[str, Sequence[Any]]]) -> bool:
    """Say whether an error is about what was asked, so that no other upstream would answer better."""
    if error.cause in (Cause.TOO_WIDE, Cause.TOO_MANY, Cause.REVERT):
        return True
    # A transaction that one node refused may be on its way all the same.
    is_write = any(method.startswith("eth_send") for method, _ in calls)
    return error.cause is Cause.OTHER and (is_write or error.rpc_code not in UNSURE)


def _seconds(headers: Mapping[str, str]) -> float:
    """Return the seconds of Retry-After; 0 when it is absent or a date."""
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0.0


def _in_order(answers: list[RpcAnswer], first: int, count: int) -> list[msgspec.Raw]:
    """Return the results by request id; some servers leave the id of a lone answer out, or send it as text."""
    for answer in answers:
        if answer.error is not None:
            raise read_error(answer.error)
    if count == 1 and len(answers) == 1:
        if answers[0].id is not None and str(answers[0].id) != str(first):
            raise ChainUnreachable(f"the answer has the id {str(answers[0].id)[:20]}, which nobody asked with")
        return [answers[0].result]
    by_id = {str(answer.id): answer.result for answer in answers}
    found = [by_id.get(str(first + index)) for index in range(count)]
    missing = [index for index, result in enumerate(found) if result is None]
    if missing:
        raise RpcError(f"{len(missing)} of {count} answers of a batch are missing", cause=Cause.RATE)
    return [result for result in found if result is not None]
