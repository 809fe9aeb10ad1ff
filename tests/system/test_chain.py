"""A Transfer on a real Anvil becomes a run that reads the sender's balance back, streamed in order."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from b3os.embedded.supervisor import free_port
from demo import chain as demo
from tests.system.house import House, house, until


class Local:
    """An Anvil, its test token and two of its accounts."""

    def __init__(self) -> None:
        port = free_port()
        self.process = demo.start(port)
        self.url = f"http://127.0.0.1:{port}"
        self.token = demo.deploy(self.url)
        self.owner, self.friend = demo.call(self.url, "eth_accounts")[:2]


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    found = Local()
    yield found
    found.process.terminate()
    found.process.wait()


@pytest.fixture(scope="module")
def running(local: Local, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    about = {"id": 31337, "name": "local", "rpcUrls": [local.url], "wsUrls": [local.url.replace("http", "ws")]}
    chains = json.dumps([{**about, "confirmations": 0}])
    with house(tmp_path_factory.mktemp("chain") / "data", B3OS_CHAINS=chains) as found:
        yield found


def watching(local: Local, kind: str, payload: dict[str, Any], action: dict[str, Any]) -> dict[str, Any]:
    return {
        "nodes": {
            "root": {"type": kind, "payload": {"chainId": 31337, **payload}, "children": ["then"]},
            "then": {**action, "children": []},
        }
    }


def started(running: House, workflow: dict[str, Any]) -> dict[str, Any]:
    run_id = until(lambda: running.runs(workflow["id"]), what="a run")[0]["id"]
    return running.finished_run(run_id)


def balance_of(local: Local, account: str) -> int:
    data = "0x70a08231" + account[2:].rjust(64, "0")
    return int(demo.call(local.url, "eth_call", {"to": local.token, "data": data}, "latest"), 16)


def test_a_transfer_runs_a_workflow_that_reads_the_senders_balance(running: House, local: Local) -> None:
    token, sender = "{{root.result.tokenAddress}}", "{{root.result.from}}"
    read = {"type": "get-balance", "payload": {"tokenAddress": token, "accountAddress": sender, "chainId": 31337}}
    definition = watching(local, "erc20-receive", {"walletAddress": local.friend, "tokenAddress": local.token}, read)
    workflow = running.publish("on transfer", definition)
    demo.receipt(local.url, demo.transfer(local.url, local.token, local.friend, 25))
    run = started(running, workflow)
    assert run["status"] == "success"
    events = running.follow(run["id"])
    names = [event["type"] for event in events]
    assert names[0] == "run_started"
    assert names[-1] == "run_completed"
    done = [event for event in events if event["type"] == "node_completed"]
    assert [event["nodeId"] for event in done] == ["then"]
    assert done[0]["result"]["balance"] == str(balance_of(local, local.owner))
    assert len(running.runs(workflow["id"])) == 1


def test_a_filter_on_arguments_lets_only_what_it_says_start_runs(running: House, local: Local) -> None:
    about = {
        "address": local.token,
        "eventSignature": "Transfer(address indexed from, address indexed to, uint256 value)",
        "filter": {"to": local.friend, "value": {"$gt": "40", "$lte": 42}},
    }
    note = {"type": "log", "payload": {"message": "{{root.result.args.value}}"}}
    workflow = running.publish("large transfers", watching(local, "evm-log", about, note))
    for recipient, amount in ((local.friend, 40), (local.owner, 41), (local.friend, 43), (local.friend, 42)):
        demo.receipt(local.url, demo.transfer(local.url, local.token, recipient, amount))
    run = started(running, workflow)
    result = run["executionState"]["root"]["result"]
    assert result["args"]["value"] == "42"
    assert len(running.runs(workflow["id"])) == 1
    asked = {"inputs": {"chainId": 31337, **about}}
    (past,) = running.call("POST", "/v1/triggers/evm-log/backtest", asked)["data"]["items"]
    tried = running.call("POST", "/v1/triggers/evm-log/test", asked)["data"]
    for found in (past["result"], tried):
        assert {**found, "triggeredAt": result["triggeredAt"]} == result, "a backtest says what the run got"


def test_a_transfer_that_fails_and_the_next_fifth_block_start_runs(running: House, local: Local) -> None:
    note = {"type": "log", "payload": {"message": "{{root.result.blockNumber}}"}}
    fails = running.publish("fails", watching(local, "evm-revert", {"address": local.token}, note))
    fifth = running.publish("fifth", watching(local, "evm-block", {"every": 5}, note))
    data = "0xa9059cbb" + local.owner[2:].rjust(64, "0") + "f" * 64
    call = {"from": local.friend, "to": local.token, "data": data, "gas": "0x186a0"}
    receipt = demo.receipt(local.url, demo.call(local.url, "eth_sendTransaction", call))
    demo.call(local.url, "anvil_mine", "0x6")
    found = started(running, fails)["executionState"]["root"]["result"]
    assert (found["txHash"], found["methodId"]) == (receipt["transactionHash"], "0xa9059cbb")
    assert found["gasUsed"] == str(int(receipt["gasUsed"], 16))
    assert started(running, fifth)["executionState"]["root"]["result"]["blockNumber"] % 5 == 0
    assert len(running.runs(fails["id"])) == 1


def test_a_balance_above_its_threshold_starts_one_run_and_another_only_after_it_has_fallen(
    running: House, local: Local
) -> None:
    holder = demo.call(local.url, "eth_accounts")[5]
    note = {"type": "log", "payload": {"message": "{{root.result.amount}}"}}
    held = {"walletAddress": holder, "tokenAddress": local.token, "value": "100"}
    above = running.publish("above", watching(local, "evm-balance", {**held, "operator": "$gte"}, note))
    function = {"functionSignature": "balanceOf(address) view returns (uint256 left)", "args": [holder]}
    asked = {**function, "address": local.token, "operator": "$lt", "value": "100"}
    below = running.publish("below", watching(local, "evm-view", asked, note))

    def move(amount: int, *, is_back: bool = False) -> None:
        sender, recipient = (holder, local.owner) if is_back else (local.owner, holder)
        data = f"0xa9059cbb{recipient[2:].rjust(64, '0')}{amount:064x}"
        call = {"from": sender, "to": local.token, "data": data, "gas": "0x186a0"}
        demo.receipt(local.url, demo.call(local.url, "eth_sendTransaction", call))

    def await_runs(workflow: dict[str, Any], count: int) -> None:
        until(lambda: len(running.runs(workflow["id"])) == count, what=f"run {count} of {workflow['name']}")

    await_runs(below, 1)  # it holds less when the workflow is published
    move(99)
    move(1)
    await_runs(above, 1)
    first = running.finished_run(running.runs(above["id"])[0]["id"])["executionState"]["root"]["result"]
    assert (first["amount"], first["walletAddress"].lower(), first["symbol"]) == ("100", holder, "B3T")
    move(50)
    move(60, is_back=True)
    await_runs(below, 2)
    move(10)
    await_runs(above, 2)
    found = [running.finished_run(run["id"])["executionState"]["root"]["result"] for run in running.runs(below["id"])]
    assert sorted((one["value"], one["outputs"]["left"]) for one in found) == [("0", "0"), ("90", "90")]
    shown = "thresholds:31337"
    until(lambda: shown in [one["id"] for one in running.call("GET", "/v1/sources")["data"]["items"]], what=shown)


def test_the_page_of_chains_says_what_has_been_read(running: House, local: Local) -> None:
    note = {"type": "log", "payload": {"message": "{{root.result.blockNumber}}"}}
    running.publish("blocks", watching(local, "evm-block", {"every": 1000}, note))
    demo.call(local.url, "anvil_mine", "0x3")
    head = int(demo.call(local.url, "eth_blockNumber"), 16)

    def coverage() -> Any:
        items = running.call("GET", "/v1/chains")["data"]["items"]
        (read,) = [one["coverage"] for one in items if one["id"] == 31337]
        assert not any(one["coverage"] for one in items if one["id"] != 31337), "nobody listens to another"
        return read if read and read["headBlock"] >= head else None

    read = until(coverage, what="the new blocks to be told")
    assert (read["blocksMissing"], read["gaps"], read["ratio"], read["lastError"]) == (0, [], 1.0, None)
    assert 3 <= read["blocksSeen"] <= read["headBlock"]
    assert read["announcedBlock"] >= read["headBlock"] >= read["finalBlock"]


def test_coins_sent_by_one_workflow_start_another(running: House, local: Local) -> None:
    note = {"type": "log", "payload": {"message": "{{root.result.amount}} wei"}}
    receiver = running.publish("paid", watching(local, "eth-receive", {"walletAddress": local.friend}, note))
    payment = {"recipientAddress": local.friend, "amount": "12345", "chainId": 31337}
    pay = {"type": "send-native-token", "payload": payment, "connector": {"type": "wallet"}, "children": []}
    root = {"type": "manual", "payload": {}, "children": ["then"]}
    sender = running.publish("pay", {"nodes": {"root": root, "then": pay}})

    def try_to_pay() -> dict[str, Any]:
        return running.finished_run(running.call("POST", f"/v1/workflows/{sender['id']}/run", {})["data"]["runId"])

    poor = try_to_pay()
    assert poor["status"] == "failure"
    wallet = re.search("0x[0-9a-fA-F]{40}", str(running.follow(poor["id"])))
    assert wallet, "the error names the account that needs coins"
    funds = {"from": local.owner, "to": wallet[0], "value": hex(10**18)}
    demo.receipt(local.url, demo.call(local.url, "eth_sendTransaction", funds))
    assert try_to_pay()["status"] == "success"
    paid = started(running, receiver)
    assert [
        event["result"]["message"] for event in running.follow(paid["id"]) if event["type"] == "node_completed"
    ] == ["12345 wei"]
    assert len(running.runs(receiver["id"])) == 1


def test_coins_that_a_contract_passes_on_start_a_run(running: House, local: Local) -> None:
    # Calls the address in its call data with the coins that it was given.
    code = "6000600060006000" + "34" + "60003560601c" + "5a" + "f1" + "00"
    size = f"{len(code) // 2:02x}"
    deploy = {"from": local.owner, "data": f"0x60{size}600c60003960{size}6000f3{code}", "gas": "0x100000"}
    contract = demo.receipt(local.url, demo.call(local.url, "eth_sendTransaction", deploy))["contractAddress"]
    receiver = demo.call(local.url, "eth_accounts")[6]
    note = {"type": "log", "payload": {"message": "{{root.result.amount}}"}}
    workflow = running.publish("passed on", watching(local, "eth-receive", {"walletAddress": receiver}, note))
    call = {"from": local.owner, "to": contract, "value": "0x7", "data": receiver, "gas": "0x100000"}
    sent = demo.receipt(local.url, demo.call(local.url, "eth_sendTransaction", call))
    found = started(running, workflow)["executionState"]["root"]["result"]
    assert (found["amount"], found["internal"], found["from"].lower()) == ("7", True, contract)
    assert found["txHash"] == sent["transactionHash"]

    def read() -> Any:
        (chain,) = [one for one in running.call("GET", "/v1/chains")["data"]["items"] if one["id"] == 31337]
        seen = chain["coverage"] or {"subscribed": False, "upstreams": []}
        return seen["subscribed"] and [one["traces"] for one in seen["upstreams"]] == [True]

    until(read, what="a source that hears of blocks, and traces them")


def test_an_unknown_chain_and_a_bad_address_are_refused_before_they_listen(running: House, local: Local) -> None:
    note = {"type": "log", "payload": {}}
    for payload in ({"chainId": 999_999, "address": local.token}, {"address": "0x12"}):
        body = {"name": "bad", "definition": watching(local, "evm-log", payload, note)}
        made = running.call("POST", "/v1/workflows", body)["data"]
        status, answer = running.raw("POST", f"/v1/workflows/{made['id']}/publish", b"")
        assert (status, answer["code"]) == (400, 400228)
        assert "root" in [problem["nodeId"] for problem in answer["details"]]


def test_a_transfer_ends_a_wait(running: House, local: Local) -> None:
    config = {"chainId": 31337, "walletAddress": local.friend, "tokenAddress": local.token, "minAmount": "40"}
    say = "{{w.result.source}} {{w.result.triggerResult.amount}}"
    nodes = {
        "root": {"type": "webhook", "payload": {}, "children": ["w"]},
        "w": {
            "type": "wait",
            "payload": {"triggerType": "erc20-receive", "triggerConfig": config},
            "children": ["a", "b"],
        },
        "a": {"type": "log", "branch": "resumed", "payload": {"message": say}, "children": []},
        "b": {"type": "log", "branch": "timed_out", "payload": {"message": "late"}, "children": []},
    }
    workflow = running.publish("wait for a transfer", {"nodes": nodes})
    run_id = running.call("POST", f"/v1/webhooks/{workflow['triggerSecret']}", {})["data"]["runId"]
    until(lambda: running.call("GET", f"/v1/runs/{run_id}")["data"]["status"] == "waiting", what="the wait")

    def transfer_until_it_ends() -> Any:
        demo.receipt(local.url, demo.transfer(local.url, local.token, local.friend, 39))
        demo.receipt(local.url, demo.transfer(local.url, local.token, local.friend, 42))
        return running.call("GET", f"/v1/runs/{run_id}")["data"]["status"] == "success"

    until(transfer_until_it_ends, what="the event")
    state = running.call("GET", f"/v1/runs/{run_id}")["data"]["executionState"]
    assert state["a"]["result"]["message"] == "erc20-receive 42"
    assert state["b"]["status"] == "skipped"
    assert len(running.runs(workflow["id"])) == 1
