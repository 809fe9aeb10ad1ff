"""The calls in hand: one at a time under a key, and what became of effects lately, for whoever asks again.

A worker that got no answer asks again under the same key. The same process then joins the call that still runs, or
gives the answer that was lost; only a process that does not know the key carries the call out. Failures are not kept:
a node that is tried again has the same key. What a process knows dies with it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import msgspec

from b3os.errors import Unavailable

#: Answers that are kept, in all and each; the oldest go first.
KEPT_BYTES = 8 * 1024 * 1024
ANSWER_BYTES = 64 * 1024

STOPPING = 503050


class Key(msgspec.Struct, frozen=True):
    """What makes a call the same call again."""

    org_id: str
    type: str
    idempotency_key: str


class Done(msgspec.Struct, frozen=True):
    """The answer of a call, encoded; `is_effect` when it says that something outside was changed."""

    answer: bytes
    is_effect: bool


Work: TypeAlias = Callable[[], Coroutine[Any, Any, Done]]


class Calls:
    """The calls of one actions process."""

    def __init__(self) -> None:
        self._going: set[asyncio.Task[Done]] = set()
        self._by_key: dict[Key, asyncio.Task[Done]] = {}
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._is_over = False

    async def answer(self, key: Key, work: Work) -> bytes:
        """Return the answer of a call, by carrying it out unless this process did or does; a key may be empty.

        Raises Unavailable when the process stopped before the call's end.
        """
        if not key.idempotency_key:
            return await self._end_of(self._begin(work))
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        going = self._by_key.get(key)
        if going is None:
            going = self._by_key[key] = self._begin(work)
            going.add_done_callback(lambda done: self._ended(key, done))
        return await self._end_of(going)

    async def drain(self, grace_s: float) -> None:
        """Wait for the calls in hand, at most so long; late ones, and new ones from then on, are given up."""
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_s
        while self._going and (left_s := end - loop.time()) > 0:
            await asyncio.wait(self._going, timeout=left_s)
        self._is_over = True
        late = set(self._going)
        for call in late:
            call.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _begin(self, work: Work) -> "asyncio.Task[Done]":
        """Carry a call out apart from who asks: one that hangs up may come again."""
        if self._is_over:
            raise stopping()
        going = asyncio.get_running_loop().create_task(work())
        self._going.add(going)
        going.add_done_callback(self._going.discard)
        return going

    @staticmethod
    async def _end_of(going: "asyncio.Task[Done]") -> bytes:
        await asyncio.wait({going})
        if going.cancelled():
            raise stopping()
        return going.result().answer

    def _ended(self, key: Key, going: "asyncio.Task[Done]") -> None:
        del self._by_key[key]
        if going.cancelled() or going.exception() is not None:
            return
        done = going.result()
        if done.is_effect and len(done.answer) <= ANSWER_BYTES:
            self._kept[key] = done.answer
            self._kept_bytes += len(done.answer)
        while self._kept_bytes > KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest)


def stopping() -> Unavailable:
    """Make the error of a call that this process will not answer."""
    return Unavailable("this actions process stopped before the call's end: make it again", code=STOPPING)
