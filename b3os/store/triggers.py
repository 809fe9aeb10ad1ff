"""The change feed of triggers: all of them once at start, then only what no earlier read could see.

Revisions and transaction ids do not tell what is new, since a transaction may commit long after a later one. A cursor
is the snapshot of the last read: what it could not see is what changed in transactions that were open then (there are
few) or began later. So each change is read once, in whatever order they commit, and an old open transaction costs
nothing. Rows come as bytes (`record_send`), for `TriggerRows.apply`.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from b3os.store.pool import Db, Pool, transaction
from b3os.store.statements import load
from b3os.store.waits import WaitTarget

_SQL = load("triggers")

#: Blocks of 8 kB in one page of a full read: a few thousand rows, a few milliseconds of the event loop.
PAGE_BLOCKS = 256

#: Organization, workflow, node.
Name = tuple[str, str, str]


class TriggerRow(msgspec.Struct, frozen=True):
    """One trigger node of a live workflow version. It has a compiled pattern, or else its payload.

    `active_since_ms` is when it began to listen: nothing that happened before fires it.
    """

    org_id: str
    workflow_id: str
    version: int
    node_id: str
    type: str
    payload: dict[str, Any]
    active_since_ms: int = 0
    pattern: bytes = b""
    #: The waiting node that an event completes; None: an event begins a run.
    wait: WaitTarget | None = None

    @property
    def name(self) -> Name:
        """What the trigger is called, whatever its version."""
        return (self.org_id, self.workflow_id, self.node_id)


class FeedCursor(msgspec.Struct, frozen=True):
    """How far a reader is: everything that this snapshot (`xmin:xmax:open,…`) sees has been read."""

    snapshot: str

    @property
    def unseen(self) -> tuple[str, list[str]]:
        """The first transaction that had not begun, and those before it that were open."""
        _, first, still_open = self.snapshot.split(":")
        return first, [one for one in still_open.split(",") if one]


class Problem(msgspec.Struct, frozen=True):
    """What masters found wrong with a stored trigger."""

    node_id: str
    reason: str
    message: str
    found_at: datetime


async def read_all(pool: Pool, take: Callable[[bytes], None]) -> FeedCursor:
    """Hand all active triggers to `take`, page by page, and return the cursor from which changes follow.

    PostgreSQL makes the next page while `take` works on one. Rows of a restored dump may name transactions that this
    server has not come to yet, and would be news for ever: they are given to our transaction first.
    """
    await pool.execute(_SQL["rebase"])
    async with pool.acquire() as db, db.transaction(isolation="repeatable_read", readonly=True):
        begin = await db.fetchrow(_SQL["begin"])
        pages = [((at, 0), (at + PAGE_BLOCKS, 0)) for at in range(0, begin["blocks"], PAGE_BLOCKS)]
        held = b""
        for first, last in pages:
            reading = asyncio.ensure_future(db.fetchval(_SQL["read_page"], first, last))
            await asyncio.sleep(0)  # the question leaves now
            take(held)
            held = await reading or b""
        take(held)
    return FeedCursor(begin["snapshot"])


async def read_changes(pool: Pool, cursor: FeedCursor) -> tuple[bytes, FeedCursor]:
    """Read what `cursor` does not see, each change once, also those that committed out of order."""
    found = await pool.fetchrow(_SQL["read_changes"], *cursor.unseen)
    return found["records"] or b"", FeedCursor(found["snapshot"])


async def count_blocks(pool: Pool) -> int:
    """Return how many blocks a full read has to look at."""
    begin = await pool.fetchrow(_SQL["begin"])
    return int(begin["blocks"])


async def read_settled(pool: Pool, cursor: FeedCursor, first_block: int, blocks: int) -> bytes:
    """Read the active triggers of some blocks, without those that changed after `cursor`."""
    last = (first_block + blocks, 0)
    return await pool.fetchval(_SQL["read_settled"], (first_block, 0), last, cursor.snapshot) or b""


async def read_named(pool: Pool, names: Sequence[Name]) -> bytes:
    """Read those of the triggers that are active."""
    return await pool.fetchval(_SQL["read_named"], *_columns(names)) or b""


async def save_problems(
    pool: Pool, found: Sequence[tuple[Name, str, str]], cured: Sequence[Name], *, is_complete: bool
) -> None:
    """Store what is wrong with triggers (name, reason, message); `is_complete` says that nothing else is."""
    async with transaction(pool) as tx:
        names = _columns([name for name, _, _ in found])
        if is_complete:
            await tx.execute(_SQL["keep_problems"], *names)
        elif cured:
            await tx.execute(_SQL["drop_problems"], *_columns(cured))
        if found:
            messages = [message.replace("\0", "\ufffd") for _, _, message in found]  # a text cannot hold U+0000
            texts = [reason for _, reason, _ in found], messages
            await tx.execute(_SQL["put_problems"], *names, *texts)


async def cure(pool: Pool, names: Sequence[Name], reason: str) -> None:
    """Take back what was found wrong with triggers for one reason."""
    await pool.execute(_SQL["cure"], *_columns(names), reason)


async def problems_of(db: Db, org_id: str, workflow_id: str) -> list[Problem]:
    """Return what is wrong with the stored triggers of a workflow."""
    return [Problem(*row.values()) for row in await db.fetch(_SQL["problems_of"], org_id, workflow_id)]


def _columns(names: Sequence[Name]) -> tuple[list[str], list[str], list[str]]:
    return [name[0] for name in names], [name[1] for name in names], [name[2] for name in names]
