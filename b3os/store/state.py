"""What state nodes keep: workflow storage, persistent variables, organization storage. Written by the group commit."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol

from b3os.store.pool import Connection, Db, json_text
from b3os.store.statements import load

_SQL = load("state")


class WriteLike(Protocol):
    """What a write must offer; b3os.run.builtins.state.StateWrite does."""

    @property
    def table(self) -> Literal["storage", "org_storage", "variables"]: ...
    @property
    def store(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def value(self) -> Any: ...


async def save_writes(db: Connection, writes: Iterable[tuple[str, str, WriteLike]]) -> None:
    """Store the writes of (organization, run), in order, in the caller's transaction."""
    tables: dict[str, list[tuple[Any, ...]]] = {}
    for org_id, run_id, write in writes:
        row = (org_id, run_id, write.store, write.key, json_text(write.value))
        tables.setdefault(write.table, []).append(row)
    for table in sorted(tables):  # always in one order: two workers must not wait for each other
        await db.execute(_SQL[f"save_{table}"], *[list(column) for column in zip(*tables[table], strict=True)])


async def save_snapshots(db: Connection, snapshots: Mapping[tuple[str, str], dict[str, Any]]) -> None:
    """Keep the variables that runs began with, by (organization, run); the first snapshot of a run stays."""
    if snapshots:
        rows = [(*key, json_text(value)) for key, value in sorted(snapshots.items(), key=lambda item: item[0])]
        await db.execute(_SQL["save_snapshots"], *[list(column) for column in zip(*rows, strict=True)])


async def load_storage(db: Db, org_id: str, workflow_id: str) -> dict[str, Any]:
    """Return the workflow's key/value storage."""
    return {row["key"]: row["value"] for row in await db.fetch(_SQL["load_storage"], org_id, workflow_id)}


async def load_variables(db: Db, org_id: str, workflow_id: str) -> dict[str, Any]:
    """Return the persistent variables of a workflow that were ever written."""
    return {row["name"]: row["value"] for row in await db.fetch(_SQL["load_variables"], org_id, workflow_id)}


async def read_org_storage(db: Db, org_id: str, store: str, key: str) -> tuple[bool, Any]:
    """Return whether a key of the organization's storage is there, and its value."""
    row = await db.fetchrow(_SQL["read_org_storage"], org_id, store, key)
    return (False, None) if row is None else (True, row["value"])


async def list_org_storage(
    db: Db, org_id: str, store: str, *, prefix: str, limit: int, offset: int, with_values: bool
) -> list[tuple[str, Any]]:
    """Return keys of the organization's storage in order; values only when asked for."""
    rows = await db.fetch(_SQL["list_org_storage"], org_id, store, prefix, limit, offset, with_values)
    return [(row["key"], row["value"]) for row in rows]
