"""The organizations' databases: both generations' placeholders, what is refused, limits, isolation, once per key."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from b3os.databases.engine import ROWS_LIMIT, Databases
from b3os.errors import BadInput, NotFound


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[Databases]:
    found = Databases(tmp_path, time_limit_s=0.5, size_limit=4 << 20)
    yield found
    found.close()


async def make(databases: Databases, org: str = "org_a") -> None:
    for sql in ("create table t (id integer primary key, a text, n numeric)", "create index t_a on t (a)",
                "create view v as select a from t"):  # fmt: skip
        await databases.query(org, sql, None, may_change_schema=True)


async def ask(databases: Databases, sql: str, params: Any = None, **more: Any) -> Any:
    return await databases.query("org_a", sql, params, **more)


@pytest.mark.parametrize(
    ("sql", "params"),
    [("insert into t (a, n) values (?, ?)", ["x", 5]), ("insert into t (n, a) values ($2, $1);", ["x", 5]),
     ("INSERT /* ? */ INTO t (a, n) VALUES (?2, ?1) -- ;", [5, "x"]),
     ("with q as (select ? as a, ? as n) insert into t (a, n) select a, n from q", ["x", 5]),
     ("replace into t (a, n) values (?, ?) returning a", ["x", 5])],
)  # fmt: skip
async def test_a_write_and_a_read(databases: Databases, sql: str, params: list[Any]) -> None:
    await make(databases)
    written = await ask(databases, sql, params)
    assert (written.rows_affected, written.last_row_id) == (1, 1)
    read = await ask(databases, "select a, n from t where a = $1", ["x"])
    assert (read.rows, read.rows_affected, read.last_row_id) == ([{"a": "x", "n": 5}], 0, None)
    assert (await ask(databases, "update t set n = n + 1 where a = ?", ["x"])).rows_affected == 1
    assert (await ask(databases, "delete from t")).rows_affected == 1


async def test_values_keep_their_kind(databases: Databases) -> None:
    values = [None, True, 2**62, 0.5, "a\u00e9", [1, {"b": None}]]
    (row,) = (await ask(databases, "select ? as a, ? as b, ? as c, ? as d, ? as e, ? as f, x'00ff' as g", values)).rows
    assert list(row.values()) == [None, 1, 2**62, 0.5, "a\u00e9", '[1,{"b":null}]', "AP8="]


REFUSED = [
    "create table x (a)", "drop table t", "alter table t add column b", "attach '/tmp/x' as y", "detach main",
    "pragma user_version", "vacuum", "vacuum into '/tmp/x'", "begin", "commit", "rollback", "savepoint a", "reindex",
    "analyze", "explain select 1", "select 1; drop table t", "", "-- only words", "select 'open", "select :a",
    "select @a", "select $a", "select ? + $1", "select load_extension('x')", "select writefile('/tmp/x', 'y')",
    "select * from b3os_effects", "delete from b3os_effects", "select * from pragma_database_list",
    "select * from pragma_table_info('t')", "delete from sqlite_master", "insert into nothing values (1)",
    "select * from t where a = 'x' union all select key, at, answer from b3os_effects", "select\0 1", "s" * 100_001,
    "/**/pragma/**/ writable_schema = on",
]  # fmt: skip


@pytest.mark.parametrize("sql", REFUSED, ids=lambda sql: sql[:40].replace("\0", "NUL"))
async def test_a_statement_is_refused_by_name(databases: Databases, sql: str) -> None:
    await make(databases)
    await ask(databases, "insert into t (a) values ('kept')", key="k")
    with pytest.raises(BadInput) as caught:
        await ask(databases, sql, [1] if "?" in sql or "$1" in sql else None)
    assert caught.value.code == 400369
    assert (await ask(databases, "select count(*) as n from t")).rows == [{"n": 1}]
    assert await databases.tables("org_a") == ["t", "v"]


@pytest.mark.parametrize(
    "sql",
    ["create trigger r after insert on t begin delete from t; end", "create virtual table f using fts5(a)",
     "create table b3os_x (a)", "drop table b3os_effects", "create temp table q (a)", "attach 'x' as y",
     "alter table t rename to b3os_t", "create table s as select * from b3os_effects", "pragma writable_schema = on"],
)  # fmt: skip
async def test_schema_changes_stay_within_tables_indexes_and_views(databases: Databases, sql: str) -> None:
    await make(databases)
    with pytest.raises(BadInput) as caught:
        await ask(databases, sql, may_change_schema=True)
    assert caught.value.code == 400369


async def test_a_value_is_never_read_as_sql(databases: Databases) -> None:
    await make(databases)
    evil = "x'); drop table t; --"
    await ask(databases, "insert into t (a) values (?)", [evil])
    assert (await ask(databases, "select a from t where a = ?", [evil])).rows == [{"a": evil}]


@pytest.mark.parametrize(
    ("sql", "words"),
    [("with recursive c(n) as (select 1 union all select n + 1 from c) select count(*) from c", "took too long"),
     ("select count(*) from t a, t b, t c, t d, t e, t f", "took too long"),
     ("select randomblob(100000000)", "too big"),
     ("select replace(hex(zeroblob(400000)), '0', hex(zeroblob(9)))", "too big"),
     ("insert into t (a) select hex(zeroblob(400000)) from t", "full")],
)  # fmt: skip
async def test_a_limit_is_named_and_nothing_is_written(databases: Databases, sql: str, words: str) -> None:
    await make(databases)
    counted = "with recursive c(n) as (select 1 union all select n + 1 from c where n < 100)"
    await ask(databases, f"{counted} insert into t (n) select n from c")
    with pytest.raises(BadInput, match=words) as caught:
        await ask(databases, sql)
    assert caught.value.code == 400370
    assert (await ask(databases, "select count(*) as n from t")).rows == [{"n": 100}]


async def test_a_long_answer_is_cut_and_says_so(databases: Databases) -> None:
    endless = "with recursive c(n) as (select 1 union all select n + 1 from c where n < 5000) select {} from c"
    found = await ask(databases, endless.format("n"))
    assert (len(found.rows), found.truncated) == (ROWS_LIMIT, True)
    wide = await ask(databases, endless.format("hex(zeroblob(10000)) as x"))
    assert (len(wide.rows) < 60, wide.truncated) == (True, True)


@pytest.mark.parametrize("params", ["x", {"a": 1}, [1] * 1001, [2**63], [], [1, 2]], ids=str)
async def test_wrong_parameters_are_named(databases: Databases, params: Any) -> None:
    with pytest.raises(BadInput) as caught:
        await ask(databases, "select ?" + " " * (params == [1] * 1001), params)
    assert caught.value.code == 400369


async def test_a_write_happens_once_per_key(databases: Databases) -> None:
    await make(databases)
    first = await ask(databases, "insert into t (a) values ('x') returning id", key="run_1::a")
    again = await asyncio.gather(
        *(ask(databases, "insert into t (a) values ('x') returning id", key="run_1::a") for _ in range(5))
    )
    assert again == [first] * 5
    await ask(databases, "insert into t (a) values ('x')", key="run_1::b")
    assert (await ask(databases, "select count(*) as n from t")).rows == [{"n": 2}]


async def test_two_processes_may_write_at_once(databases: Databases, tmp_path: Path) -> None:
    await make(databases)
    other = Databases(tmp_path)
    both = [ask(databases, "insert into t (n) values (1)") for _ in range(10)]
    both += [ask(other, "insert into t (n) values (1)") for _ in range(10)]
    await asyncio.gather(*both)
    assert (await ask(databases, "select sum(n) as n from t")).rows == [{"n": 20}]
    other.close()


async def test_organizations_have_databases_of_their_own(databases: Databases, tmp_path: Path) -> None:
    await make(databases)
    assert await databases.tables("org_b") == []
    with pytest.raises(BadInput):
        await databases.query("org_b", "select * from t", None)
    for name in ("../org_a", "org_a/../org_b", "", "a" * 65, "org_a\n"):
        with pytest.raises(BadInput):
            await databases.query(name, "select 1", None)
    assert {path.name.split(".")[0] for path in (tmp_path / "databases").iterdir()} == {"org_a", "org_b"}


async def test_columns_are_described(databases: Databases) -> None:
    await make(databases)
    assert (await databases.columns("org_a", "t"))[0] == {
        "name": "id", "type": "INTEGER", "notNull": False, "defaultValue": None, "primaryKey": True,
    }  # fmt: skip
    for name in ("none", "b3os_effects", "sqlite_master"):
        with pytest.raises(NotFound):
            await databases.columns("org_a", name)
