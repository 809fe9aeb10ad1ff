"""Organizations, members, keys, connectors, health, audit, and the statement loader."""

import hashlib
from collections.abc import AsyncIterator

import pytest

from b3os.errors import BadInput, Conflict, NotFound
from b3os.store import audit, connectors, health, orgs, run_reads
from b3os.store.pool import Pool, as_org, open_pool
from b3os.store.statements import parse


@pytest.fixture
async def pool(pg_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(pg_url)
    for org in ("org_a", "org_b"):
        await orgs.create_org(pool, org, name=org, slug=org, by="user_1")
    yield pool
    await pool.close()


async def test_members_and_orgs(pool: Pool) -> None:
    await orgs.create_user(pool, "user_1", email="Ann@example.com")
    await orgs.create_user(pool, "user_2", email="bob@example.com")
    with pytest.raises(Conflict):
        await orgs.create_user(pool, "user_3", email="ann@EXAMPLE.com")
    with pytest.raises(Conflict):
        await orgs.create_org(pool, "org_c", name="x", slug="org_a", by="user_1")
    await orgs.put_member(pool, "org_a", "user_1", member_id="mem_1", role="owner")
    await orgs.put_member(pool, "org_b", "user_2", member_id="mem_2", role="owner")
    assert [o.org_id for o in await orgs.orgs_of(pool, "user_1")] == ["org_a"]
    async with as_org(pool, "org_a") as db:
        assert [m.user_email for m in await orgs.list_members(db, "org_a")] == ["Ann@example.com"]
        assert await orgs.list_members(db, "org_b") == []
        assert (await orgs.update_org(db, "org_a", name="A")).name == "A"
        with pytest.raises(NotFound):
            await orgs.update_org(db, "org_b", name="B")
    found = await orgs.find_user(pool, email="ANN@example.com")
    assert found is not None
    assert await orgs.member_role(pool, "org_a", found.id) == "owner"
    assert await orgs.data_key(pool, "org_a", b"one") == b"one"
    assert await orgs.data_key(pool, "org_a", b"two") == b"one"


async def test_api_keys(pool: Pool) -> None:
    digest = hashlib.sha256(b"b3sk_x").digest()
    async with as_org(pool, "org_a") as db:
        key = await orgs.create_api_key(
            db, "org_a", "ak_1", key_hash=digest, key_prefix="b3sk_x", name="k", scope="read", by="u"
        )
    found = await orgs.find_api_key(pool, digest)
    assert found == key
    await orgs.touch_api_key(pool, "org_a", "ak_1", ip="::1", user_agent="t")
    with pytest.raises(NotFound):
        await orgs.revoke_api_key(pool, "org_b", "ak_1")
    await orgs.revoke_api_key(pool, "org_a", "ak_1")
    assert await orgs.find_api_key(pool, digest) is None


async def test_connectors(pool: Pool) -> None:
    async with as_org(pool, "org_a") as db:
        made = await connectors.create_connector(
            db, "org_a", "conn_1", type="slack", name="s", secret=b"\x01", by="u", masked_data={"t": "x…"}
        )
        assert await connectors.list_connectors(db, "org_a", type="slack") == [made]
        await connectors.update_connector(db, "org_a", "conn_1", by="u", name="new")
        assert await connectors.load_secret(db, "org_a", "conn_1") == b"\x01"
    async with as_org(pool, "org_b") as db:
        with pytest.raises(NotFound):
            await connectors.load_secret(db, "org_a", "conn_1")
        with pytest.raises(NotFound):
            await connectors.delete_connector(db, "org_a", "conn_1")
    await connectors.delete_connector(pool, "org_a", "conn_1")


async def test_inline_run_id_is_used_once(pool: Pool) -> None:
    new = run_reads.NewRun(org_id="org_a", id="run_x", now_ms=1, definition={"nodes": {}})
    async with as_org(pool, "org_a") as db:
        await run_reads.create_run(db, new)
        assert (await run_reads.get_run(db, "org_a", "run_x")).definition == {"nodes": {}}
    async with as_org(pool, "org_b") as db:
        with pytest.raises(BadInput) as error:
            await run_reads.create_run(db, run_reads.NewRun(org_id="org_b", id="run_x", now_ms=1))
        assert error.value.code == 400079


async def test_health_and_audit(pool: Pool) -> None:
    await health.add_results(pool, [health.HealthResult("slack", "action", "ok", 1.5, {"n": 1})])
    [result] = await health.latest_results(pool)
    assert (result.target, result.detail) == ("slack", {"n": 1})
    assert await health.history(pool, "slack") == [result]
    async with as_org(pool, "org_a") as db:
        await audit.add_entries(db, [audit.AuditEntry("org_a", "aud_1", {"path": "/"})])
        assert [e.entry for e in await audit.list_entries(db, "org_a")] == [{"path": "/"}]


def test_statements() -> None:
    assert parse("-- about\n-- name: a\nselect 1;\n-- name: b\nselect 2") == {"a": "select 1", "b": "select 2"}
    with pytest.raises(ValueError):
        parse("-- name: a\nx\n-- name: a\ny")
