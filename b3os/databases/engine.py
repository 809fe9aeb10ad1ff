"""The databases themselves: one file per organization, one thread per question, limits on time, size and answer.

SQLite's authorizer lets reads, inserts, updates and deletes through and, where asked, tables, indexes and views;
nothing else: no ATTACH, no PRAGMA, no extension. A write that carries a key is remembered in its own transaction, so
that the same node asking again after a crash gets the first answer and writes nothing.
"""

import asyncio
import base64
import re
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import msgspec

from b3os.databases.statement import OURS, Statement, bound, parse_statement
from b3os.errors import ActionFailed, BadInput, NotFound

TIME_LIMIT_S = 5.0
SIZE_LIMIT = 256 << 20
VALUE_LIMIT = 1 << 20
ROWS_LIMIT = 1000
ANSWER_LIMIT = 900_000
THREADS = 4
#: Keys of writes are remembered for so long.
MEMORY_S = 7 * 24 * 3600
#: Virtual machine steps between two looks at the clock: some tens of microseconds.
STEPS = 20_000
_ORG = re.compile(r"\w{1,64}", re.ASCII)
#: SQLite statements, of our own table in each file: what db-query is forbidden to touch begins with b3os_.
_SETUP = """
create table if not exists b3os_effects (key text primary key, at integer not null, answer text not null);
create index if not exists b3os_effects_at on b3os_effects (at);
"""
_KNOWN = "select answer from b3os_effects where key = ?"
_REMEMBER = "insert into b3os_effects (key, at, answer) values (?, ?, ?)"
_FORGET = "delete from b3os_effects where at < ?"
_TABLES = """
select name from sqlite_master
where type in ('table', 'view') and name not like 'sqlite\\_%' escape '\\' order by name
"""
_COLUMNS = "select * from pragma_table_info(?)"
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: VALUE_LIMIT,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 1 << 20,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 50,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
}
_DATA = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE,
                   sqlite3.SQLITE_DELETE, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})  # fmt: skip
_SCHEMA = frozenset({sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_CREATE_INDEX, sqlite3.SQLITE_CREATE_VIEW,
                     sqlite3.SQLITE_DROP_TABLE, sqlite3.SQLITE_DROP_INDEX, sqlite3.SQLITE_DROP_VIEW,
                     sqlite3.SQLITE_ALTER_TABLE, sqlite3.SQLITE_REINDEX})  # fmt: skip
_FORBIDDEN_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"})
Found = TypeVar("Found")


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    """What a statement answered; `truncated`: there were more rows."""

    rows: list[dict[str, Any]]
    rows_affected: int = 0
    last_row_id: int | None = None
    truncated: bool = False


class Databases:
    """The databases under one folder; an organization has at most one thread at a time."""

    def __init__(self, folder: Path, *, time_limit_s: float = TIME_LIMIT_S, size_limit: int = SIZE_LIMIT) -> None:
        self._folder = folder / "databases"
        self._time_limit_s = time_limit_s
        self._size_limit = size_limit
        self._threads: ThreadPoolExecutor | None = None
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def query(
        self, org_id: str, sql: str, params: Any, *, key: str = "", may_change_schema: bool = False
    ) -> Answer:
        """Run one statement; raises BadInput for what is refused or too much, ActionFailed when the file is busy."""
        statement = parse_statement(sql, may_change_schema=may_change_schema)
        values = bound(params, statement)
        return await self._in_thread(org_id, lambda db: self._ask(db, statement, values, key))

    async def tables(self, org_id: str) -> list[str]:
        """Return the names of tables and views."""
        found = await self._in_thread(org_id, lambda db: [row[0] for row in db.execute(_TABLES)])
        return [name for name in found if not name.startswith(OURS)]

    async def columns(self, org_id: str, table: str) -> list[dict[str, Any]]:
        """Return the columns of a table or view; NotFound when there is none."""
        if table not in await self.tables(org_id):
            raise NotFound(f"there is no table {table[:100]}: check its name")
        found = await self._in_thread(org_id, lambda db: db.execute(_COLUMNS, (table,)).fetchall())
        return [
            {"name": name, "type": kind, "notNull": bool(needed), "defaultValue": default, "primaryKey": bool(key)}
            for _, name, kind, needed, default, key in found
        ]

    def close(self) -> None:
        """End the threads; each ends within the time limit."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, org_id: str, work: Callable[[sqlite3.Connection], Found]) -> Found:
        if not _ORG.fullmatch(org_id):
            raise BadInput(f"{org_id!r} is no organization id", code=400369)
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="database")
        lock = self._locks.get(org_id) or self._locks.setdefault(org_id, asyncio.Lock())
        async with lock:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._work, org_id, work)

    def _work(self, org_id: str, work: Callable[[sqlite3.Connection], Found]) -> Found:
        """Open the file, work on it within the limits, close it; every error of SQLite becomes one of ours."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        deadline = time.monotonic() + self._time_limit_s
        db = sqlite3.connect(
            self._folder / f"{org_id}.sqlite", timeout=self._time_limit_s, isolation_level=None, cached_statements=0
        )
        try:
            db.execute("pragma journal_mode = wal")
            db.execute("pragma synchronous = full")
            (page,) = db.execute("pragma page_size").fetchone()
            db.execute(f"pragma max_page_count = {self._size_limit // page}")
            for limit, most in _LIMITS.items():
                db.setlimit(limit, most)
            db.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
            return work(db)
        except (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeEncodeError) as error:
            raise _named(error) from error
        finally:
            db.close()

    def _ask(self, db: sqlite3.Connection, statement: Statement, values: Any, key: str) -> Answer:
        if statement.is_read:
            db.execute("pragma query_only = on")
            return _carry_out(db, statement, values)
        db.executescript(_SETUP)
        db.execute("begin immediate")
        try:
            known = db.execute(_KNOWN, (key,)).fetchone() if key else None
            if known is not None:
                return msgspec.json.decode(known[0], type=Answer)
            answer = _carry_out(db, statement, values)
            if key:
                _remember(db, key, answer)
            db.execute("commit")
        finally:
            if db.in_transaction:
                db.execute("rollback")
        return answer


def _carry_out(db: sqlite3.Connection, statement: Statement, values: Any) -> Answer:
    """Run the user's statement under the authorizer, which is gone again afterwards."""
    allowed = _DATA | (_SCHEMA if statement.verb in ("CREATE", "ALTER", "DROP") else frozenset())

    def authorize(action: int, first: str | None, second: str | None, _base: str | None, _by: str | None) -> int:
        is_ours = any(name is not None and name.lower().startswith(OURS) for name in (first, second))
        is_forbidden = action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FORBIDDEN_FUNCTIONS
        return sqlite3.SQLITE_OK if action in allowed and not is_ours and not is_forbidden else sqlite3.SQLITE_DENY

    before = db.total_changes
    db.set_authorizer(authorize)
    try:
        cursor = db.execute(statement.sql, values)
        rows, is_cut = _rows(cursor)
        if is_cut and not statement.is_read:
            cursor.fetchall()  # a write is finished even where its answer is cut
    finally:
        db.set_authorizer(None)
    # The connection is new, so that the last inserted row, if there is one, is of this statement.
    (inserted,) = db.execute("select last_insert_rowid()").fetchone()
    return Answer(rows, db.total_changes - before, inserted or None, is_cut)


def _rows(cursor: sqlite3.Cursor) -> tuple[list[dict[str, Any]], bool]:
    names = [column[0] for column in cursor.description or ()]
    rows: list[dict[str, Any]] = []
    size = 0
    for row in cursor:
        values = [base64.b64encode(value).decode() if isinstance(value, bytes) else value for value in row]
        size += sum(len(value) if isinstance(value, str) else 8 for value in values) + sum(map(len, names))
        if len(rows) == ROWS_LIMIT or size > ANSWER_LIMIT:
            return rows, True
        rows.append(dict(zip(names, values, strict=True)))
    return rows, False


def _remember(db: sqlite3.Connection, key: str, answer: Answer) -> None:
    now = int(time.time())
    db.execute(_FORGET, (now - MEMORY_S,))
    kept = (key, now, msgspec.json.encode(answer).decode())
    db.execute(_REMEMBER, kept)


def _named(error: Exception) -> Exception:
    """Turn an error of SQLite into one of ours: what was refused, what was too much, what can be tried again."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return ActionFailed("the database is busy", category="service", remediation="try again", retryable=True)
    if "interrupted" in text:
        return BadInput("the statement took too long: add an index, or ask for less", code=400370)
    if "full" in text or "too big" in text or "too large" in text:
        return BadInput(f"the statement went past a limit: {text}", code=400370)
    if "not authorized" in text or "prohibited" in text:
        return BadInput("the statement is refused: it touches what a statement here may not", code=400369)
    return BadInput(f"the statement failed: {text[:1000]}", code=400369)
