"""Where webhook addresses lead, remembered for a tenth of a second: as fresh as the masters' index.

Calls that come together ask once. Only where a call goes is remembered: whether the workflow takes it is decided with
the run, in the database.
"""

import asyncio
from collections.abc import Callable

from b3os.store import webhooks
from b3os.store.pool import Pool
from b3os.store.webhooks import Target

FRESH_S = 0.1
LIMIT = 10_000


class Targets:
    """Trigger nodes by secret; `now` is monotonic seconds."""

    def __init__(self, pool: Pool, now: Callable[[], float]) -> None:
        self._pool = pool
        self._now = now
        self._known: dict[str, tuple[float, list[Target]]] = {}
        self._asking: dict[str, asyncio.Future[list[Target]]] = {}

    async def of(self, secret: str) -> list[Target]:
        """Return the trigger nodes behind a secret; an unknown one is asked for each time."""
        found = self._known.get(secret)
        if found is not None and self._now() - found[0] < FRESH_S:
            return found[1]
        asking = self._asking.get(secret)
        if asking is None:
            asking = self._asking[secret] = asyncio.ensure_future(self._ask(secret))
            asking.add_done_callback(lambda _: self._asking.pop(secret))
        return await asyncio.shield(asking)

    async def _ask(self, secret: str) -> list[Target]:
        targets = await webhooks.targets_of_secret(self._pool, secret)
        self._known.pop(secret, None)
        if targets:
            if len(self._known) >= LIMIT:
                self._known.pop(next(iter(self._known)))
            self._known[secret] = (self._now(), targets)
        return targets
