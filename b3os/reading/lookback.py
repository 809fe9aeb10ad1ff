"""When would a trigger have fired over the newest blocks of a chain? Nothing is stored, and nothing fires.

Blocks are read from the newest down, by the same code as a master reads them, in spans that the upstreams take. It ends
when as many are read as were asked for, when there are events enough, when the time is up, or where the upstreams know
no more: what was read is always the newest, and without a hole.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, TypeAlias

import msgspec

from b3os._speedups.trigger_index import TriggerIndex
from b3os.chain.blocks import Header
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import Cause, ChainUnreachable, RpcError
from b3os.detect.evm import parse_watch
from b3os.detect.matcher import Matcher
from b3os.errors import BadInput
from b3os.reading.blocks import Inconsistent, final_height, joined, safe_height
from b3os.reading.sight import Seen, Sight
from b3os.reading.spans import Spans

#: Blocks of the first span; spans grow while they are read fast, so that an event that is everywhere costs one span.
FIRST_SPAN = 20
#: Any token may have moved: each costs two calls.
NAMING_S = 5.0
#: Answers that may disagree before the reader gives up.
PATIENCE = 5

Ended: TypeAlias = Literal["blocks", "limit", "time", "history"]


class Candidate(msgspec.Struct, frozen=True):
    """A trigger that is stored nowhere."""

    type: str
    payload: dict[str, Any]
    workflow_id: str = ""
    node_id: str = ""
    pattern: bytes = b""


class Past(msgspec.Struct, kw_only=True):
    """What a look back found, newest first. Blocks `first` to `last` were read, none if `first` is above `last`.

    `last` is the newest whose events have fired when `head` is the newest of all.
    """

    head: int
    first: int
    last: int
    ended: Ended
    seen: list[Seen[Candidate]] = []


class LookBack:
    """Reads the past of one chain for one trigger; raises BadInput for one that cannot be read."""

    def __init__(
        self, rpc: Rpc, kind: str, payload: dict[str, Any], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        row = Candidate(kind, payload)
        watch = parse_watch(kind, payload)
        #: How sure an event must be to fire.
        self.policy = rpc.chain.confirmations if watch.policy is None else watch.policy
        matcher: Matcher[Candidate] = Matcher(TriggerIndex(), lambda _slot: row, _refuse)
        matcher.put(0, row)
        self._rpc = rpc.after(None)  # a view of its own: others ask the same upstreams at the same time
        self._sight = Sight(self._rpc, matcher)
        self._spans = Spans(now, batch=FIRST_SPAN)
        self._now = now

    async def read(self, *, blocks: int, limit: int, budget_s: float) -> Past:
        """Read up to so many blocks, or until `limit` events are found; raises ChainUnreachable and RpcError."""
        past: Past | None = None
        try:
            async with asyncio.timeout(budget_s):
                head = await self._rpc.height()
                last = await self._newest(head)
                past = Past(head=head, first=last + 1, last=last, ended="blocks")
                await self._down(past, max(0, last - blocks + 1), limit)
        except TimeoutError:
            if past is None or past.first > past.last:
                message = f"chain {self._rpc.chain.id} gave no block in {budget_s:g} s: try again, see GET /v1/chains"
                raise ChainUnreachable(message) from None
            past.ended = "time"
        except RpcError as error:
            if error.cause is not Cause.MISSING or past is None or past.first > past.last:
                raise
            past.ended = "history"
        if len(past.seen) > limit:
            past.seen = past.seen[:limit]
            past.first, past.ended = past.seen[-1].block.height, "limit"
        with suppress(TimeoutError, ChainUnreachable):  # a token without its symbol is better than no answer
            async with asyncio.timeout(NAMING_S):
                await self._sight.name_tokens(past.seen)
        return past

    async def _newest(self, head: int) -> int:
        """Return the newest block whose events have fired by now."""
        if isinstance(self.policy, int):
            return head - self.policy
        final = await final_height(self._rpc, head)
        return final if self.policy == "finalized" else await safe_height(self._rpc, final)

    async def _down(self, past: Past, lowest: int, limit: int) -> None:
        above: Header | None = None
        while past.first > lowest:
            began = self._now()
            headers, seen = await self._patiently(lowest, past.first - 1, above)
            self._spans.took(self._now() - began)
            if above is None:
                past.last = headers[-1].height
            above = headers[0]
            past.first = above.height
            past.seen += reversed(seen)
            if len(past.seen) >= limit and past.first > lowest:
                past.ended = "limit"
                return

    async def _patiently(
        self, lowest: int, until: int, above: Header | None
    ) -> tuple[list[Header], list[Seen[Candidate]]]:
        """Read one span, again where answers disagree, and less of it where it is too much."""
        doubts = 0
        while True:
            width = self._spans.batch(self._rpc.first(), is_large=self._sight.reads_blocks)
            try:
                return await self._span(max(lowest, until - width + 1), until, above)
            except RpcError as error:
                if error.cause is not Cause.TOO_WIDE or not self._spans.shrink(error):
                    raise
            except Inconsistent:
                doubts += 1
                if doubts > PATIENCE:
                    raise

    async def _span(self, first: int, until: int, above: Header | None) -> tuple[list[Header], list[Seen[Candidate]]]:
        headers = await joined(self._rpc, first, until, None)
        if not headers and above is not None:
            raise RpcError(f"blocks up to {until} are not served", cause=Cause.MISSING)
        if not headers or (above is not None and headers[-1].hash != above.parent_hash):
            raise Inconsistent(
                f"chain {self._rpc.chain.id}: blocks up to {until} changed while they were read: try again"
            )
        seen = await self._sight.logs(self._rpc, headers, patient=True)
        seen += [*await self._sight.transactions(self._rpc, headers), *self._sight.turns(headers)]
        self._spans.grow(self._rpc.answered, len(headers))
        return headers, seen


def _refuse(_slot: int, error: BadInput) -> None:
    raise error
