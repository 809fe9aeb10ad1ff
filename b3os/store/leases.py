"""Leases of event sources and of the watchdog's leadership, and the cursors that only the lease holder moves."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from b3os.errors import StaleEpoch
from b3os.store.pool import Connection, Db, Pool
from b3os.store.source_states import Told
from b3os.store.statements import load

_SQL = load("leases")


class Held(msgspec.Struct, frozen=True):
    """Another owner's lease, for how long it is good, and who asked for it."""

    owner: str
    left_s: float
    asked_by: str = ""


class Others(msgspec.Struct, frozen=True):
    """What an owner sees of the others: who is present, their leases, and who asks for which of its own."""

    present: list[str]
    held: dict[str, Held]
    asked: dict[str, str]


async def acquire(pool: Pool, name: str, owner: str, ttl_s: float) -> int | None:
    """Take or keep a lease; returns its epoch, or None while another owner holds it."""
    epoch: int | None = await pool.fetchval(_SQL["acquire"], name, owner, float(ttl_s))
    return epoch


async def acquire_free(pool: Pool, names: Iterable[str], owner: str, ttl_s: float) -> dict[str, int]:
    """Take or keep all leases of these that no other owner holds, in one statement; returns their epochs."""
    rows = await pool.fetch(_SQL["acquire_free"], sorted(names), owner, float(ttl_s))
    return {row["name"]: row["epoch"] for row in rows}


async def renew(
    pool: Pool, owner: str, names: Iterable[str], ttl_s: float, told: Sequence[Told] = ()
) -> set[str]:  # fmt: skip
    """Extend the leases still owned; a name that is missing from the answer is lost.

    `told` is how the sources behind them fare: written in the same statement, so that it costs no commit of its own.
    """
    wanted = sorted(names)
    if not wanted:
        return set()
    states = (
        [one.source for one in told], [one.lag for one in told], [one.error for one in told],
        [one.error_s for one in told], [one.detail for one in told], [one.org_id for one in told],
    )  # fmt: skip
    return {row["name"] for row in await pool.fetch(_SQL["renew"], owner, wanted, float(ttl_s), *states)}


async def others(pool: Pool, owner: str, presence: str) -> Others:
    """Return what others hold; a lease whose name begins with `presence` says that its owner is there."""
    rows = await pool.fetch(_SQL["others"], owner)
    theirs = {row["name"]: Held(row["owner"], row["left_s"], row["asked_by"]) for row in rows if row["owner"] != owner}
    asked = {row["name"]: row["asked_by"] for row in rows if row["owner"] == owner}
    present = [one.owner for name, one in theirs.items() if name.startswith(presence)]
    return Others(present, {name: one for name, one in theirs.items() if not name.startswith(presence)}, asked)


async def ask(pool: Pool, names: Iterable[str], owner: str) -> None:
    """Ask the holders of leases to give them up; who asks last is the one who is seen."""
    await pool.execute(_SQL["ask"], sorted(names), owner)


async def leave(pool: Pool, name: str, owner: str) -> None:
    """Remove a lease that only said that its owner is there."""
    await pool.execute(_SQL["leave"], name, owner)


async def forget_dead(pool: Pool, presence: str) -> None:
    """Remove what owners left behind that did not leave."""
    await pool.execute(_SQL["forget_dead"], presence)


async def release(pool: Pool, name: str, owner: str) -> None:
    """Give a lease up so that another owner can take it at once; its epoch stays."""
    await pool.execute(_SQL["release"], name, owner)


async def read_cursor(pool: Pool, source: str) -> dict[str, Any] | None:
    """Return the stored position of an event source."""
    position: dict[str, Any] | None = await pool.fetchval(_SQL["read_cursor"], source)
    return position


async def write_cursor(db: Connection, source: str, epoch: int, position: dict[str, Any]) -> None:
    """Move a cursor inside the caller's transaction; raises StaleEpoch for anyone but the lease holder."""
    await check_epoch(db, source, epoch)
    await db.execute(_SQL["write_cursor"], source, epoch, position)


async def check_epoch(db: Db, name: str, epoch: int) -> None:
    """Raise StaleEpoch unless `epoch` is the lease's newest; it stays so until the transaction ends."""
    if await db.fetchval(_SQL["check_epoch"], name, epoch) is None:
        raise StaleEpoch(f"the lease {name} has moved on from epoch {epoch}: stop, and acquire it again")
