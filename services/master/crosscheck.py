"""A slow comparison of the whole index with the database, which must find nothing.

One page goes with a tick. A page holds rows as the last read of the feed saw them, so the index must have exactly
them; any that changes something is a difference. A row that moves to another page was written, so the feed brings it.
What no page and no feed brought by the end is asked for by name before it is dropped. Differences are counted, logged
with their row, and repaired by the comparison itself.
"""

import logging

from b3os import metrics
from b3os.store import triggers
from b3os.store.pool import Pool
from services.master.table import Table

log = logging.getLogger("b3os.master")

#: Between the end of a comparison and the next.
EVERY_S = 300.0
#: Blocks of 8 kB in one page: about a thousand rows, a few milliseconds.
PAGE_BLOCKS = 64
#: Triggers without a row that one comparison looks after.
LEFT = 1000


class CrossCheck:
    """Compares page by page; `step` is called after a tick of the feed, with the cursor it reached."""

    def __init__(self, pool: Pool, table: Table, now_s: float) -> None:
        self._pool = pool
        self._table = table
        self._due_s = now_s + EVERY_S
        self._at: int | None = None
        self._blocks = 0
        #: Comparisons that ended.
        self.passes = 0

    def begin(self) -> None:
        """Start the next comparison with the next step."""
        self._due_s = 0.0

    async def step(self, cursor: triggers.FeedCursor, now_s: float) -> None:
        """Compare one page, if a comparison is due."""
        if self._at is None:
            if now_s < self._due_s:
                return
            self._blocks = await triggers.count_blocks(self._pool)
            self._table.begin_check()
            self._at = 0
        records = await triggers.read_settled(self._pool, cursor, self._at, PAGE_BLOCKS)
        for slot in self._table.apply(records):
            self._tell("differs", slot)
        self._at += PAGE_BLOCKS
        if self._at >= self._blocks:
            await self._finish()
            self._at = None
            self._due_s = now_s + EVERY_S
            self.passes += 1

    async def _finish(self) -> None:
        left = self._table.unmet(LEFT)
        names = [name for name in map(self._table.name_of, left) if name is not None]
        if names:
            for slot in self._table.apply(await triggers.read_named(self._pool, names)):
                self._tell("differs", slot)
        gone = self._table.unmet(LEFT)
        for slot in gone:
            self._tell("gone", slot)
        self._table.drop(gone)

    def _tell(self, kind: str, slot: int) -> None:
        metrics.INDEX_DIFFERENCES.labels(kind).inc()
        org, workflow, node = self._table.name_of(slot) or ("", "", "")
        log.error(
            "index differed from the database", extra={"kind": kind, "org": org, "workflow": workflow, "node": node}
        )
