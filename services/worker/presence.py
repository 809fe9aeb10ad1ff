"""Role: be seen in asynqmon, and hear whom it cancels."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from b3os.errors import B3osError
from b3os.queue.servers import BEAT_S, Register, Working

log = logging.getLogger("b3os.worker")

#: The channel is tried again after this long.
RECONNECT_S = 5.0


class Presence:
    """One worker's entry among the queue's servers; `working` lists what it has in hand."""

    def __init__(self, register: Register, working: Callable[[], Sequence[Working]]) -> None:
        self._register = register
        self._working = working
        self.status = "active"

    async def tell(self) -> None:
        """Renew the entry for ever."""
        while True:
            try:
                await self._register.beat(self.status, self._working())
            except B3osError as error:
                log.warning("cannot be seen", extra={"error": error.message})
            await asyncio.sleep(BEAT_S)

    async def listen(self, cancel: Callable[[str], Awaitable[None]]) -> None:
        """Pass on every cancelled task's id, for ever."""
        while True:
            try:
                async for task_id in self._register.cancelled():
                    await cancel(task_id)
            except (OSError, B3osError) as error:
                log.warning("cancels are not heard", extra={"error": str(error)})
            await asyncio.sleep(RECONNECT_S)

    async def leave(self) -> None:
        """Take the entry away and close the connections."""
        try:
            await self._register.leave()
        except B3osError as error:
            log.warning("entry not taken away: it ends by itself", extra={"error": error.message})
        await self._register.close()
