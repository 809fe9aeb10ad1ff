"""The connection pool: jsonb as msgspec, and transactions that see one organization only.

No session state is kept between transactions, so PgBouncer in transaction mode works (statement caching is off
for it: pass `?statement_cache_size=0` in the URL's place by `open_pool(..., statement_cache_size=0)`).
"""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped, unused-ignore]
import msgspec

from b3os.errors import BadInput, Unavailable
from b3os.store.statements import load

Pool: TypeAlias = "asyncpg.Pool[Any]"
Connection: TypeAlias = "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]"
Db: TypeAlias = "Pool | Connection"

_SQL = load("pool")
ANSWER_S = 60.0
#: Where somebody outside waits for each statement: a silent database is told after at most twice this.
CALLER_S = 10.0
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def _json(value: Any) -> bytes:
    data = _encode(value)
    return _NUL.sub(rb"\1\\ufffd", data) if b"\\u0000" in data else data  # jsonb cannot hold U+0000


def _jsonb(value: Any) -> bytes:
    return b"\x01" + _json(value)


def json_text(value: Any) -> str | None:
    """Encode for a text[] parameter that the statement casts to jsonb: a list in jsonb[] would be a dimension."""
    return None if value is None else _json(value).decode()


def _unjsonb(data: bytes) -> Any:
    return _decode(memoryview(data)[1:])


async def _prepare(db: Any) -> None:
    for name in ("jsonb", "json"):
        binary = name == "jsonb"
        await db.set_type_codec(
            name,
            schema="pg_catalog",
            format="binary",
            encoder=_jsonb if binary else _encode,
            decoder=_unjsonb if binary else _decode,
        )


async def _tidy(db: Any) -> None:
    """Make a connection that comes back ready for the next; asyncpg's own way costs a statement each time.

    A session keeps nothing of ours: roles and settings are local to a transaction, nobody listens, no advisory lock
    is the session's. Only a transaction that was cut short has to be ended.
    """
    if db.is_in_transaction():
        await db.execute(_SQL["abandon"])


async def open_pool(
    url: str, *, min_size: int = 1, max_size: int = 8, statement_cache_size: int = 200, answer_s: float = ANSWER_S
) -> Pool:
    """Open a pool; `min_size` connections are made at once. Raises Unavailable when the server cannot be reached.

    A statement that has no answer after `answer_s` is given up, which may take as long again: its cancellation asks
    the same server.
    """
    with reaching(url):
        return await asyncpg.create_pool(
            url,
            min_size=min_size,
            max_size=max_size,
            init=_prepare,
            reset=_tidy,
            statement_cache_size=statement_cache_size,
            command_timeout=answer_s,
            server_settings={"application_name": "b3os", "timezone": "UTC"},
        )


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Turn what asyncpg raises while it connects into one clear error, which never shows the password."""
    if not url:
        raise Unavailable("DATABASE_URL is not set: `b3os up` starts a server of its own, a process alone needs one")
    try:
        yield
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError, TimeoutError) as error:
        host = urlsplit(url).netloc.rpartition("@")[2] or "its socket"
        password = urlsplit(url).password
        why = str(error) or type(error).__name__
        why = why.replace(password, "•••") if password else why
        raise Unavailable(
            f"PostgreSQL at {host} cannot be reached: {why}. Start that server, or correct DATABASE_URL; "
            "`b3os doctor` looks further."
        ) from error


@asynccontextmanager
async def transaction(db: Db) -> AsyncIterator[Connection]:
    """Run in a transaction: of the pool's next connection, or nested in the one given."""
    if isinstance(db, asyncpg.Pool):
        async with db.acquire() as connection, connection.transaction():
            yield connection
    else:
        async with db.transaction():
            yield db


@asynccontextmanager
async def as_org(pool: Pool, org_id: str) -> AsyncIterator[Connection]:
    """Run a transaction as the unprivileged role, in which only rows of this organization exist."""
    if not org_id:
        raise BadInput("an organization is needed: sign in, or use an API key")
    async with transaction(pool) as db:
        await db.execute(_SQL["become_app"])
        await db.execute(_SQL["set_org"], org_id)
        yield db
