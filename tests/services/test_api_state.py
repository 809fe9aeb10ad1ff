"""Deliveries and databases over REST: what a read key may do, and what another organization sees."""

from typing import Any

from b3os.store.deliveries import NewDelivery, add
from b3os.store.pool import open_pool
from tests.services.client import Client


async def org_of(client: Client, who: str) -> str:
    return str((await client.call("GET", "/v1/whoami", client.keys[who]))[1]["data"]["organizationId"])


async def test_a_read_key_selects_and_writes_nothing(client: Client) -> None:
    org = await org_of(client, "mine")
    path = f"/v1/organizations/{org}/database"

    async def ask(who: str, sql: str, **more: Any) -> tuple[int, Any]:
        status, answer = await client.call("POST", f"{path}/query", client.keys[who], {"sql": sql, **more})
        return status, answer.get("data")

    for sql in ("create table t (a)", "with q as (select 1) select * from q", "insert into t values (1)"):
        assert (await ask("reader", sql))[0] == 403
    assert (await ask("mine", "create table t (a)"))[0] == 200
    assert (await ask("mine", "insert into t values ($1)", params=[5]))[1]["rowsAffected"] == 1
    assert await ask("reader", " select a from t") == (
        200, {"rows": [{"a": 5}], "rowsAffected": 0, "lastRowId": None, "truncated": False},
    )  # fmt: skip
    assert (await ask("reader", "select 1; delete from t"))[0] == 400
    _, columns = await client.call("GET", f"{path}/tables/t", client.keys["reader"])
    assert [column["name"] for column in columns["data"]["columns"]] == ["a"]
    assert (await client.call("GET", f"{path}/tables/none", client.keys["reader"]))[0] == 404
    for route in ("tables", "tables/t"):
        assert (await client.call("GET", f"{path}/{route}", client.keys["theirs"]))[0] == 404
    assert (await client.call("POST", f"{path}/query", client.keys["theirs"], {"sql": "select 1"}))[0] == 404


async def test_deliveries_of_others_are_not_there(client: Client, pg_url: str) -> None:
    org = await org_of(client, "mine")
    pool = await open_pool(pg_url)
    new = NewDelivery(
        org_id=org, id="whd_1", workflow_id="wf_1", run_id="r", node_id="n", url="https://x", method="POST",
        headers={"a": "b"}, secret_headers=None, body=b"not json", max_retries=1,
    )  # fmt: skip
    await add(pool, new)
    await pool.close()
    base = "/v1/outbound-webhook/deliveries"
    _, answer = await client.call("GET", f"{base}?workflowId=wf_1&status=pending", client.keys["reader"])
    assert [(item["id"], item["requestBody"]) for item in answer["data"]["items"]] == [("whd_1", "not json")]
    assert (await client.call("GET", f"{base}?workflowId=other", client.keys["mine"]))[1]["data"]["items"] == []
    assert (await client.call("GET", f"{base}?status=lost", client.keys["mine"]))[0] == 400
    assert (await client.call("GET", base, client.keys["theirs"]))[1]["data"]["items"] == []
    for method, path in (("GET", ""), ("POST", "/replay"), ("POST", "/retry")):
        assert (await client.call(method, f"{base}/whd_1{path}", client.keys["theirs"]))[0] == 404
    assert (await client.call("POST", f"{base}/whd_1/retry", client.keys["mine"]))[1]["code"] == 400372
    status, again = await client.call("POST", f"{base}/whd_1/replay", client.keys["mine"])
    assert (status, again["data"]["replayOf"]) == (200, "whd_1")
