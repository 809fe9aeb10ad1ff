"""Trying triggers over the API: samples of every type, real results, and what would have fired."""

from typing import Any

import jsonschema_rs
import msgspec
import pytest

from b3os.detect.catalog import TRIGGER_TYPES
from b3os.detect.samples import EXAMPLES
from b3os.settings import Settings
from services.api.house import House
from services.api.limits import TURNS_A_MINUTE
from tests.emulators.node import NoAnswer, Node
from tests.services.client import Client

TOKEN, ALICE, BOB = "0x" + "aa" * 20, "0x" + "a1" * 20, "0x" + "b0" * 20
TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
EVENT = {
    "chainId": 31337,
    "address": TOKEN,
    "eventSignature": "Transfer(address indexed from, address indexed to, uint256 value)",
}


@pytest.fixture
def api_settings(api_settings: Settings, node: Node) -> Settings:
    chains = msgspec.json.encode([{"id": 31337, "name": "local", "rpcUrls": [node.url]}]).decode()
    return msgspec.structs.replace(api_settings, chains=chains)


def transfer(amount: int, to: str = BOB) -> dict[str, Any]:
    topics = [TRANSFER, "0x" + ALICE[2:].rjust(64, "0"), "0x" + to[2:].rjust(64, "0")]
    return {"address": TOKEN, "topics": topics, "data": f"0x{amount:064x}"}


async def ask(client: Client, kind: str, what: str, key: str = "mine", **body: Any) -> tuple[int, Any]:
    status, answer = await client.call("POST", f"/v1/triggers/{kind}/{what}", client.keys[key], body)
    return status, answer["data"] if status == 200 else answer


def test_every_type_has_an_example() -> None:
    assert set(EXAMPLES) == set(TRIGGER_TYPES)


@pytest.mark.parametrize("kind", sorted(TRIGGER_TYPES))
async def test_every_type_gives_a_sample_with_all_members_of_its_schema(client: Client, kind: str) -> None:
    for inputs in ({}, EXAMPLES[kind]):
        status, found = await ask(client, kind, "test", inputs=inputs)
        assert status == 200, found
        schema = TRIGGER_TYPES[kind].result_schema
        jsonschema_rs.validator_for(schema).validate(found)
        assert set(schema["properties"]) <= found.keys()
        assert found.get("blockNumber", 0) == 0


async def test_a_threshold_is_tried_on_what_the_chain_says_now(client: Client, node: Node) -> None:
    held = {"chainId": 31337, "walletAddress": BOB, "tokenAddress": TOKEN, "operator": "$gte", "value": "100"}
    node.contracts[(TOKEN, "0x70a08231")] = f"0x{42:064x}"
    node.contracts[(TOKEN, "0x313ce567")] = f"0x{1:064x}"
    status, found = await ask(client, "evm-balance", "test", inputs=held)
    assert status == 200
    assert (found["amount"], found["amountFormatted"], found["blockHash"]) == ("42", "4.2", node.blocks[-1]["hash"])
    node.contracts[(TOKEN, "0x70a08231")] = "0x01"
    status, found = await ask(client, "evm-balance", "test", inputs=held)
    assert (status, found["code"]) == (400, 400334)
    status, found = await ask(client, "evm-balance", "backtest", inputs=held)
    assert found["code"] == 400438


async def test_a_sample_obeys_what_the_payload_names(client: Client) -> None:
    _, found = await ask(client, "evm-log", "test", inputs={**EVENT, "filter": {"to": BOB, "value": {"$gt": 5}}})
    assert found["args"]["to"].lower() == BOB
    assert found["contractAddress"].lower() == TOKEN
    _, found = await ask(client, "erc20-send", "test", inputs={"chainId": 31337, "walletAddress": BOB, "minAmount": 9})
    assert found["from"].lower() == BOB
    schema = {"properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"default": "C"}}}
    _, found = await ask(client, "manual", "test", payload={"inputSchema": schema})
    assert found["body"] == {"city": "city", "days": 1, "unit": "C"}
    assert found["city"] == "city"


async def test_the_newest_real_result_comes_before_a_sample(client: Client, node: Node) -> None:
    for amount in (1, 2, 3):
        node.mine([transfer(amount)])
    _, found = await ask(client, "evm-log", "test", inputs={**EVENT, "filter": {"value": {"$lt": 3}}})
    assert (found["args"]["value"], found["blockNumber"]) == ("2", 2)
    node.personality = failing
    _, found = await ask(client, "evm-log", "test", inputs=EVENT)
    assert found["blockNumber"] == 0


def failing(_method: str, _params: list[Any]) -> Any:
    raise NoAnswer(502, "<html>Bad Gateway</html>")


async def test_a_backtest_lists_what_would_have_fired_and_starts_nothing(
    client: Client, node: Node, house: House
) -> None:
    for amount in range(1, 31):
        node.mine([transfer(amount), transfer(amount, ALICE)])
    inputs = {**EVENT, "filter": {"to": BOB, "value": {"$gt": "20"}}, "confirmations": 4}
    status, found = await ask(client, "evm-log", "backtest", "reader", inputs=inputs, blocks=25)
    assert status == 200, found
    assert [one["result"]["args"]["value"] for one in found["items"]] == ["26", "25", "24", "23", "22", "21"]
    newest = found["items"][0]
    assert (newest["blockNumber"], newest["firesAtBlock"]) == (26, 30)
    assert newest["transactionHash"] == newest["result"]["txHash"]
    assert newest["result"]["triggeredAt"].startswith("20")
    assert {name: value for name, value in found.items() if name != "items"} == {
        "chainId": 31337, "headBlock": 30, "fromBlock": 2, "toBlock": 26, "endedBy": "blocks"
    }  # fmt: skip
    assert await house.pool.fetchval("select count(*) from runs where trigger_result ? 'blockNumber'") == 0


async def test_a_chain_too_young_for_the_confirmations_was_not_read(client: Client) -> None:
    _, found = await ask(client, "evm-log", "backtest", inputs={**EVENT, "confirmations": 50})
    assert (found["fromBlock"], found["toBlock"], found["items"]) == (None, None, [])


@pytest.mark.parametrize("what", ["test", "backtest"])
@pytest.mark.parametrize(
    ("kind", "inputs", "code"),
    [
        ("no-such-type", {}, 404050),
        ("evm-log", {**EVENT, "chainId": 999}, 400337),
        ("evm-log", {**EVENT, "filter": {"amount": 1}}, 400386),
        ("evm-log", {**EVENT, "filter": {"to": {"$gt": 1}}}, 400387),
        ("evm-log", {**EVENT, "filter": {"value": -1}}, 400388),
        ("evm-log", {**EVENT, "confirmations": "soon"}, 400385),
        ("eth-receive", {"chainId": 31337}, 400335),
        ("eth-receive", [], 400410),
    ],
)
async def test_what_could_not_be_published_cannot_be_tried(
    client: Client, what: str, kind: str, inputs: Any, code: int
) -> None:
    _, answer = await ask(client, kind, what, inputs=inputs)
    assert answer["code"] == code


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("cronjob", {"inputs": {"schedule": "* * * * *"}}, 400438),
        ("evm-log", {}, 400337),
        ("evm-log", {"inputs": EVENT, "blocks": 0}, 400437),
        ("evm-log", {"inputs": EVENT, "blocks": 5001}, 400437),
        ("evm-log", {"inputs": EVENT, "limit": 1001}, 400437),
        ("evm-log", {"inputs": EVENT, "blocks": "many"}, 400410),
    ],
)
async def test_a_backtest_has_bounds(client: Client, kind: str, body: dict[str, Any], code: int) -> None:
    _, answer = await ask(client, kind, "backtest", **body)
    assert answer["code"] == code


async def test_a_sample_of_an_event_with_any_number_of_values_is_refused(client: Client) -> None:
    inputs = {"chainId": 31337, "eventSignature": "E(uint8[1000][1000] all)"}
    _, answer = await ask(client, "evm-log", "test", inputs=inputs)
    assert answer["code"] == 400389


async def test_a_node_that_fails_is_told_without_its_address(client: Client, node: Node) -> None:
    node.personality = failing
    status, answer = await ask(client, "evm-log", "backtest", inputs=EVENT)
    assert (status, answer["code"]) == (503, 503010)
    assert node.url not in answer["message"]


async def test_an_organization_looks_back_once_at_a_time_and_others_do_not_wait(client: Client, house: House) -> None:
    with house.turns.turn(client.ids["orgs"], 0.0):
        status, answer = await ask(client, "evm-log", "backtest", "reader", inputs=EVENT)
        assert (status, answer["code"], client.headers[b"retry-after"]) == (429, 429000, b"5")
        assert (await ask(client, "evm-log", "backtest", "theirs", inputs=EVENT))[0] == 200
        with house.turns.turn("a", 0.0), house.turns.turn("b", 0.0), house.turns.turn("c", 0.0):
            assert (await ask(client, "evm-log", "backtest", "theirs", inputs=EVENT))[0] == 429
    assert (await ask(client, "evm-log", "backtest", inputs=EVENT))[0] == 200


async def test_an_organization_looks_back_so_often_a_minute(client: Client) -> None:
    codes = [(await ask(client, "evm-log", "backtest", inputs=EVENT))[0] for _ in range(TURNS_A_MINUTE + 1)]
    assert codes == [200] * TURNS_A_MINUTE + [429]
    assert int(client.headers[b"retry-after"]) >= 1
    assert (await ask(client, "evm-log", "backtest", "theirs", inputs=EVENT))[0] == 200
    status, found = await ask(client, "evm-log", "test", inputs=EVENT)
    assert (status, found["blockNumber"]) == (200, 0), "a test takes a sample then"
