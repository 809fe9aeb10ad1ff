"""The evm actions on a real Anvil; what Anvil's test token lacks, on a node emulator."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from b3os.actions.catalog import Catalog
from b3os.actions.execute import execute
from b3os.actions.spec import ActionContext
from b3os.actions.upstreams import Upstreams
from b3os.chain.chains import Chain, egress_of
from b3os.chain.registry import Chains
from b3os.chain.signer import LocalKeystore
from b3os.net.http import GuardedClient
from b3os.providers import PROVIDERS
from demo import chain as demo
from tests.emulators.node import Node

CATALOG = Catalog(PROVIDERS)
FRIEND = "0x00000000000000000000000000000000000000f2"
LOCAL, EMULATED = 31337, 5


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    found = await Node(EMULATED).start()
    yield found
    await found.stop()


@pytest.fixture
async def context(anvil: str, node: Node, tmp_path: Path) -> AsyncIterator[ActionContext]:
    chains = {
        LOCAL: Chain(id=LOCAL, name="local", rpc_urls=(anvil,)),
        EMULATED: Chain(id=EMULATED, name="emulated", rpc_urls=(node.url,)),
    }
    http = GuardedClient(egress_of(chains.values()))
    keystore = LocalKeystore(tmp_path, "a password")
    owner = demo.call(anvil, "eth_accounts")[0]
    funds = {"from": owner, "to": keystore.address("org_a"), "value": hex(10**18)}
    demo.receipt(anvil, demo.call(anvil, "eth_sendTransaction", funds))
    yield ActionContext(
        http=http, upstreams=Upstreams(http), chains=Chains(chains, http), signer=keystore, org_id="org_a",
        idempotency_key="run:node",
    )  # fmt: skip
    await http.close()


async def act(context: ActionContext, kind: str, inputs: Any) -> dict[str, Any]:
    return await execute(CATALOG, kind, {"chainId": LOCAL, **inputs}, context)


async def test_reads_of_a_token(context: ActionContext, anvil: str) -> None:
    token, owner = demo.deploy(anvil), demo.call(anvil, "eth_accounts")[0]
    info = (await act(context, "get-token-info", {"tokenAddress": token}))["data"]
    held = {"tokenAddress": token, "accountAddress": owner, "includeMetadata": True}
    balance = (await act(context, "get-balance", held))["data"]
    assert balance["balance"] == info["totalSupply"]
    assert (balance["symbol"], balance["name"]) == (info["symbol"], info["name"])
    read = {"contractAddress": token, "functionName": "balanceOf(address) returns (uint256)", "args": [owner]}
    assert (await act(context, "read-contract", read))["data"] == {"result": balance["balance"]}
    coins = (await act(context, "get-native-balance", {"address": owner}))["data"]
    assert int(coins["balance"]) > 0


async def test_a_token_transfer_and_its_receipt(context: ActionContext, anvil: str) -> None:
    token = demo.deploy(anvil)
    assert context.signer is not None
    sent = {"tokenAddress": token, "recipientAddress": FRIEND, "amount": "7"}
    poor = (await act(context, "send-erc20-token", sent))["error"]
    assert (poor["code"], poor["category"]) == ("INSUFFICIENT_BALANCE", "funds")
    demo.receipt(anvil, demo.transfer(anvil, token, context.signer.address("org_a"), 50))
    done = (await act(context, "send-erc20-token", sent))["data"]
    assert (done["status"], done["amount"]) == ("success", "7")
    again = (await act(context, "send-erc20-token", sent))["data"]
    assert again["transactionHash"] == done["transactionHash"], "one key, one transaction"
    held = {"tokenAddress": token, "accountAddress": FRIEND}
    assert (await act(context, "get-balance", held))["data"]["balance"] == "7"
    receipt = (await act(context, "get-transaction-receipt", {"txHash": done["transactionHash"]}))["data"]
    assert (receipt["status"], len(receipt["logs"])) == ("success", 1)


async def test_declared_calls_read_and_write(context: ActionContext, anvil: str, node: Node) -> None:
    collection = "0x" + "cc" * 20
    node.contracts[(collection, "0x6352211e")] = "0x" + FRIEND[2:].rjust(64, "0")
    asked = {"contractAddress": collection, "tokenId": "1", "chainId": EMULATED}
    owner = (await act(context, "get-nft-owner", asked))["data"]["owner"]
    assert owner.lower() == FRIEND
    missing = (await act(context, "get-nft-owner", {**asked, "contractAddress": "0x" + "dd" * 20}))["error"]
    assert (missing["code"], missing["category"]) == ("CONTRACT_REVERT", "onchain")
    # An account without code takes any call: what matters here is that one transaction was sent and mined.
    unwrap = {"tokenAddress": FRIEND, "amount": "5"}
    done = (await act(context, "unwrap-native-token", unwrap))["data"]
    mined = demo.call(anvil, "eth_getTransactionByHash", done["transactionHash"])
    assert mined["input"] == "0x2e1a7d4d" + f"{5:064x}"


@pytest.mark.parametrize(
    ("kind", "inputs", "code"),
    [
        ("get-native-balance", {"address": "0x12"}, "INVALID_INPUT"),
        ("get-native-balance", {"address": "0x" + "aB" * 20}, "400335"),
        ("get-native-balance", {"address": FRIEND, "chainId": 77}, "400337"),
        ("get-balance", {"tokenAddress": FRIEND, "accountAddress": FRIEND}, "NOT_A_CONTRACT"),
        ("read-contract", {"contractAddress": FRIEND, "functionName": "f("}, "400332"),
        ("read-contract", {"contractAddress": FRIEND, "functionName": "f(uint8)", "args": ["300"]}, "400333"),
        ("read-contract", {"contractAddress": FRIEND, "functionName": "f() returns (bool)"}, "BAD_RESPONSE"),
        ("get-transaction-receipt", {"txHash": "0x" + "ab" * 32}, "NOT_FOUND"),
        ("send-native-token", {"recipientAddress": FRIEND, "amount": "-1"}, "INVALID_INPUT"),
        ("send-native-token", {"recipientAddress": FRIEND, "amount": str(10**24)}, "INSUFFICIENT_FUNDS"),
    ],
)
async def test_refusals_have_a_code_and_a_remediation(
    context: ActionContext, kind: str, inputs: Any, code: str
) -> None:
    error = (await act(context, kind, inputs))["error"]
    assert error["code"] == code
    assert error["remediation"]


async def test_without_signer_or_key_nothing_is_sent(context: ActionContext) -> None:
    pay = {"recipientAddress": FRIEND, "amount": "1"}
    for change, code in (({"signer": None}, "NO_SIGNER"), ({"idempotency_key": ""}, "NO_IDEMPOTENCY_KEY")):
        error = (await act(msgspec.structs.replace(context, **change), "send-native-token", pay))["error"]
        assert error["code"] == code
