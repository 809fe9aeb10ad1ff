"""Forward-only migrations: migrations/NNNN_name.sql, applied in order in one transaction under an advisory lock.

Any number of processes may call `migrate` at once: one applies, the others wait and find nothing to do. A file
that was changed after it was applied is refused.
"""

import hashlib
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped, unused-ignore]

from b3os.errors import Conflict, Unavailable
from b3os.store.pool import reaching
from b3os.store.statements import load

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
_SQL = load("migrate")


def _files(folder: Path) -> list[tuple[str, str, str]]:
    found = []
    for path in sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql")):
        text = path.read_text(encoding="utf-8")
        found.append((path.name, text, hashlib.sha256(text.encode()).hexdigest()))
    return found


def _open(files: list[tuple[str, str, str]], applied: dict[str, str]) -> list[tuple[str, str, str]]:
    for name, _, digest in files:
        if applied.get(name, digest) != digest:
            raise Conflict(f"migration {name} changed after it was applied: restore it and add a new file instead")
    return [file for file in files if file[0] not in applied]


async def _ensure_role(db: "asyncpg.Connection[Any]") -> None:
    """Create and grant b3os_app. Roles belong to the whole cluster, so other databases' migrators may race us."""
    for _ in range(20):
        try:
            if not await db.fetchval(_SQL["role_exists"]):
                await db.execute(_SQL["create_role"])
            if not await db.fetchval(_SQL["role_granted"]):
                await db.execute(_SQL["grant_role"])
            return
        except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
            continue
        except asyncpg.InternalServerError as error:
            if "concurrently updated" not in str(error):
                raise
    raise Unavailable("the role b3os_app could not be created: grant CREATEROLE, or create it and grant it to us")


async def migrate(url: str, folder: Path = MIGRATIONS) -> list[str]:
    """Apply what is pending and return its names, oldest first."""
    with reaching(url):
        db = await asyncpg.connect(url)
    try:
        await _ensure_role(db)
        async with db.transaction():
            await db.execute(_SQL["lock"])
            await db.execute(_SQL["history"])
            applied = {row["name"]: row["sha256"] for row in await db.fetch(_SQL["applied"])}
            done = []
            for name, text, digest in _open(_files(folder), applied):
                await db.execute(text)
                await db.execute(_SQL["record"], name, digest)
                done.append(name)
            return done
    finally:
        await db.close()


async def pending(url: str, folder: Path = MIGRATIONS) -> list[str]:
    """Return the names that `migrate` would apply; changes nothing."""
    with reaching(url):
        db = await asyncpg.connect(url)
    try:
        exists = await db.fetchval(_SQL["history_exists"])
        applied = {row["name"]: row["sha256"] for row in await db.fetch(_SQL["applied"])} if exists else {}
        return [name for name, _, _ in _open(_files(folder), applied)]
    finally:
        await db.close()
