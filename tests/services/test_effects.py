"""Effects that the worker carries out itself, over real PostgreSQL and SQLite: results, isolation, once per key."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from b3os.databases.engine import Databases
from b3os.errors import BadInput, NotFound
from b3os.net.guard import AllowList
from b3os.run.builtins.catalog import BUILTINS
from b3os.run.builtins.pure import PURE
from b3os.run.builtins.state import STATE, StateWrite
from b3os.sandbox.pool import SandboxPool
from b3os.store import deliveries, run_reads, state, workflows
from b3os.store.pool import Pool, open_pool
from services.worker.effects.call import EffectCall, EffectHouse
from services.worker.effects.registry import EFFECTS
from services.worker.effects.trigger_workflow import MAX_DEPTH, depth_of
from tests.store.rows import make_workflow

MASTER_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


class Effects:
    """An effect house, and what effects asked of it."""

    def __init__(self, pool: Pool, folder: Path) -> None:
        self.pool = pool
        self.handed: list[tuple[str, str]] = []
        self.nudges = 0
        self.house = EffectHouse(
            pool=pool,
            databases=Databases(folder),
            sandbox=SandboxPool(1),
            allow=AllowList("127.0.0.1:8099,hooks.internal"),
            master_key=MASTER_KEY,
            now_ms=lambda: 1_780_000_000_000,
            hand_over=self._hand_over,
            nudge=self._nudge,
        )

    async def _hand_over(self, org_id: str, run_id: str, is_queued: bool) -> None:
        assert is_queued
        self.handed.append((org_id, run_id))

    def _nudge(self) -> None:
        self.nudges += 1

    async def call(
        self, kind: str, *, org: str = "org_a", once: str = "run_1::n", depth: int = 0, **fields: Any
    ) -> Any:
        call = EffectCall(
            org_id=org, workflow_id="wf_a", run_id="run_1", node_id="n", input=fields, idempotency_key=once, depth=depth
        )
        return await EFFECTS[kind](self.house, call)


@pytest.fixture
async def effects(pg_url: str, tmp_path: Path) -> AsyncIterator[Effects]:
    pool = await open_pool(pg_url, max_size=4)
    await make_workflow(pool, "wf_a")
    await make_workflow(pool, "wf_b", "org_b")
    found = Effects(pool, tmp_path)
    yield found
    await found.house.close()
    await pool.close()


def test_every_built_in_is_carried_out_somewhere() -> None:
    elsewhere = {"log", "delay", "wait", "for-each"}
    assert set(BUILTINS) == set(PURE) | set(STATE) | set(EFFECTS) | elsewhere


def test_every_built_in_has_words_and_every_field_too() -> None:
    for spec in BUILTINS.values():
        assert spec.description.endswith(".")
        for schema in (spec.payload_schema, spec.result_schema):
            for name, field in schema["properties"].items():
                assert field["description"], f"{spec.type}.{name}"
            assert set(schema["required"]) <= set(schema["properties"])


async def test_code_transform_checks_both_types(effects: Effects) -> None:
    code = "function transform(input) { return input.n + 1 }"
    assert await effects.call("code-transform", code=code, input={"n": 1}) == {"output": 2}
    wanted = {"type": "object", "required": ["n"], "properties": {"n": {"type": "number"}}}
    with pytest.raises(BadInput, match=r"`input\.n` is not of the type number"):
        await effects.call("code-transform", code=code, input={"n": "1"}, inputType=wanted)
    with pytest.raises(BadInput, match="`output` is not of the type string"):
        await effects.call("code-transform", code=code, input={"n": 1}, outputType="string")
    for timeout in (0, 10_001, "x", True):
        with pytest.raises(BadInput, match="`timeout`"):
            await effects.call("code-transform", code=code, timeout=timeout)
    with pytest.raises(BadInput, match="`code`"):
        await effects.call("code-transform", input=1)


async def test_org_storage_is_read_and_listed(effects: Effects) -> None:
    rows = [("org_a", "run_1", StateWrite("org_storage", key, [key], "s")) for key in ("a1", "a2", "b")]
    async with effects.pool.acquire() as db:
        await state.save_writes(db, rows)
    assert await effects.call("org-storage-get", key="a1", store="s") == {
        "key": "a1", "store": "s", "value": ["a1"], "found": True,
    }  # fmt: skip
    assert (await effects.call("org-storage-get", key="a1"))["found"] is False
    assert (await effects.call("org-storage-get", key="a1", store="s", org="org_b"))["value"] is None
    listed = await effects.call("org-storage-list", store="s", prefix="a", limit=1, includeValues=True)
    assert listed == {
        "store": "s", "keys": ["a1"], "count": 1, "hasMore": True, "items": [{"key": "a1", "value": ["a1"]}],
    }  # fmt: skip
    assert (await effects.call("org-storage-list", store="s", org="org_b"))["keys"] == []
    with pytest.raises(BadInput):
        await effects.call("org-storage-list", limit=1001)


async def test_db_query_takes_both_generations_and_writes_once(effects: Effects) -> None:
    await effects.house.databases.query("org_a", "create table t (a)", None, may_change_schema=True)
    for _ in range(2):
        written = await effects.call("db-query", sql="insert into t values (?)", params=[1])
        assert written == {"rows": [], "rowsAffected": 1, "lastRowId": 1, "truncated": False}
    read = await effects.call("db-query", query="select a from t where a = $1", params=[1], once="k2")
    assert read["rows"] == [{"a": 1}]
    with pytest.raises(BadInput):
        await effects.call("db-query", sql="select * from t", org="org_b", once="k3")
    with pytest.raises(BadInput, match="not by a node"):
        await effects.call("db-query", sql="create table u (a)", once="k4")


async def test_trigger_workflow_starts_one_run_per_key(effects: Effects) -> None:
    await make_workflow(effects.pool, "wf_child")
    fields = {"workflowId": "wf_child", "payload": {"name": "x", "triggeredBy": {"depth": -99}}}
    first = await effects.call("trigger-workflow", depth=2, **fields)
    again = await effects.call("trigger-workflow", depth=2, **fields)
    assert first == again
    assert (first["runStatus"], first["triggeredWorkflowName"]) == ("running", "wf_child")
    assert effects.handed == [("org_a", first["runId"])]
    run = await run_reads.get_run(effects.pool, "org_a", first["runId"])
    assert run.trigger_result["name"] == "x"
    assert run.trigger_result["inputs"]["name"] == "x"
    assert run.trigger_result["body"]["name"] == "x"
    assert depth_of(run.trigger_source, run.trigger_result) == 3
    assert depth_of("webhook", run.trigger_result) == 0, "a body from outside is not believed"
    other = await effects.call("trigger-workflow", once="run_1:l:1:n", **fields)
    assert other["runId"] != first["runId"]


async def test_trigger_workflow_refuses_circles_others_and_what_is_not_active(effects: Effects) -> None:
    with pytest.raises(BadInput, match="is there a circle"):
        await effects.call("trigger-workflow", workflowId="wf_a", depth=MAX_DEPTH)
    with pytest.raises(NotFound):
        await effects.call("trigger-workflow", workflowId="wf_b")
    await workflows.pause(effects.pool, "org_a", "wf_a", by="u")
    with pytest.raises(BadInput, match="is paused"):
        await effects.call("trigger-workflow", workflowId="wf_a")
    assert effects.handed == []
    with pytest.raises(BadInput, match="`workflowId`"):
        await effects.call("trigger-workflow", payload={})


async def test_a_workflow_in_its_cooldown_is_skipped(effects: Effects) -> None:
    definition = {"nodes": {"root": {"type": "manual", "payload": {}}}}
    await workflows.create_workflow(
        effects.pool, "org_a", "wf_c", name="c", definition=definition, by="u", cooldown_ms=1000
    )
    trigger = workflows.PublishedTrigger("root", "manual", {})
    await workflows.publish(effects.pool, "org_a", "wf_c", triggers=[trigger], by="u", new_secret=str)
    statuses = [(await effects.call("trigger-workflow", workflowId="wf_c", once=k))["runStatus"] for k in "ab"]
    assert statuses == ["running", "skipped"]


async def test_send_webhook_stores_one_delivery_with_its_secrets_sealed(effects: Effects) -> None:
    fields = {"url": "https://hooks.example/x", "headers": {"Authorization": "Bearer canary", "X-Plain": "p"}}
    answers = [await effects.call("send-webhook", body={"n": 1}, maxRetries="2", **fields) for _ in range(2)]
    assert answers[0] == answers[1]
    assert {k: v for k, v in answers[0].items() if k != "deliveryId"} == {
        "status": "pending", "url": fields["url"], "method": "POST",
    }  # fmt: skip
    (row,) = await deliveries.list_deliveries(effects.pool, "org_a")
    assert (row.id, row.status, row.max_retries, row.body) == (answers[0]["deliveryId"], "pending", 2, b'{"n":1}')
    assert row.headers == {"authorization": "••••", "x-plain": "p", "content-type": "application/json"}
    kept = await effects.pool.fetchval("select string_agg(d::text, '') from webhook_deliveries d")
    assert "canary" not in kept
    assert b"canary".hex() not in kept
    assert effects.nudges == 2


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"url": "http://hooks.example"}, "https"), ({"url": "ftp://hooks.example"}, "http"), ({"url": ""}, "`url`"),
        ({"url": "https://10.0.0.1/"}, "private"), ({"url": "https://169.254.169.254/"}, "private"),
        ({"url": "https://[::1]/"}, "private"), ({"url": "https://[::ffff:127.0.0.1]/"}, "private"),
        ({"url": "https://user@hooks.example"}, "user name"), ({"url": "https://hooks.example:22"}, "Port 22"),
        ({"url": "http://127.0.0.1:8098/"}, "Port"),
        ({"url": "https://x", "headers": {"a": "b\r\nc: d"}}, "line break"),
        ({"url": "https://x", "headers": {"Host": "y"}}, "cannot be set"),
        ({"url": "https://x", "headers": {"x-b3os-signature": "y"}}, "cannot be set"),
        ({"url": "https://x", "headers": {"bad name": "y"}}, "cannot be set"),
        ({"url": "https://x", "headers": []}, "object"),
        ({"url": "https://x", "maxRetries": 11}, "maxRetries"),
        ({"url": "https://x", "body": "x" * 1_100_000}, "at most"),
        ({"url": "https://x", "body": {"a": "\ud800"}}, "cannot be encoded"),
    ],
)  # fmt: skip
async def test_send_webhook_refuses(effects: Effects, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        await effects.call("send-webhook", **fields)
    assert caught.value.code in (400361, 400363, 400365)
    assert await deliveries.list_deliveries(effects.pool, "org_a") == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:8099/x", "http://hooks.internal/x", "https://hooks.internal/x"])
async def test_an_opened_host_may_be_sent_to_in_plain(effects: Effects, url: str) -> None:
    assert (await effects.call("send-webhook", url=url, body="text"))["status"] == "pending"
    (row,) = await deliveries.list_deliveries(effects.pool, "org_a")
    assert (row.body, row.headers["content-type"]) == (b"text", "text/plain; charset=utf-8")
