"""Signing and sending on a real Anvil: once per idempotency key, whatever dies in between."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from b3os.chain.abi import decode_result, decode_text, encode_call
from b3os.chain.chains import Chain, egress_of
from b3os.chain.registry import Chains
from b3os.chain.rpc import Rpc
from b3os.chain.signer import LocalKeystore
from b3os.chain.transactions import Wish, account_of, send
from b3os.errors import ActionFailed, BadInput
from b3os.net.http import GuardedClient
from demo import chain as demo

FRIEND = "0x00000000000000000000000000000000000000f1"


@pytest.fixture
async def rpc(anvil: str) -> AsyncIterator[Rpc]:
    chain = Chain(id=31337, name="local", rpc_urls=(anvil,))
    http = GuardedClient(allow=egress_of([chain]))
    yield Rpc(chain, http)
    await http.close()


@pytest.fixture
def keystore(tmp_path: Path, anvil: str) -> LocalKeystore:
    found = LocalKeystore(tmp_path / "keys", "a password")
    owner = demo.call(anvil, "eth_accounts")[0]
    sent = demo.call(anvil, "eth_sendTransaction", {"from": owner, "to": found.address("org_a"), "value": hex(10**18)})
    demo.receipt(anvil, sent)
    return found


async def balance(rpc: Rpc, account: str) -> int:
    return int(await rpc.typed(str, "eth_getBalance", account, "latest"), 16)


async def test_a_key_sends_once_however_often_it_is_tried(rpc: Rpc, keystore: LocalKeystore, tmp_path: Path) -> None:
    before = await balance(rpc, FRIEND)
    wish = Wish(FRIEND, 1000)
    first = await send(rpc, keystore, org_id="org_a", key="run:node", wish=wish)
    again = await send(rpc, keystore, org_id="org_a", key="run:node", wish=wish)
    reopened = LocalKeystore(tmp_path / "keys", "a password")
    third = await send(rpc, reopened, org_id="org_a", key="run:node", wish=wish)
    assert first.transaction_hash == again.transaction_hash == third.transaction_hash
    assert await balance(rpc, FRIEND) == before + 1000


async def test_many_at_once_have_nonces_of_their_own(rpc: Rpc, keystore: LocalKeystore) -> None:
    before = await balance(rpc, FRIEND)
    tries = [send(rpc, keystore, org_id="org_a", key=f"k{i % 10}", wish=Wish(FRIEND, 1)) for i in range(20)]
    receipts = await asyncio.gather(*tries)
    assert len({receipt.transaction_hash for receipt in receipts}) == 10
    assert await balance(rpc, FRIEND) == before + 10


async def test_a_signed_intent_is_broadcast_after_a_crash(rpc: Rpc, keystore: LocalKeystore) -> None:
    before = await balance(rpc, FRIEND)
    transaction = {
        "chainId": 31337, "to": FRIEND, "value": 7, "data": "0x", "gas": 21000,
        "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9,
    }  # fmt: skip
    nonce = int(await rpc.typed(str, "eth_getTransactionCount", keystore.address("org_a"), "pending"), 16)
    intent = keystore.sign(await account_of(rpc, "org_a"), "crashed", transaction, nonce)
    later = await send(rpc, keystore, org_id="org_a", key="later", wish=Wish(FRIEND, 5))
    assert later.status == "0x1", "it does not wait for a nonce that nobody sent"
    receipt = await send(rpc, keystore, org_id="org_a", key="crashed", wish=Wish(FRIEND, 7))
    assert receipt.transaction_hash == intent.hash
    assert await balance(rpc, FRIEND) == before + 12


async def test_refusals_say_why(rpc: Rpc, keystore: LocalKeystore, anvil: str) -> None:
    with pytest.raises(ActionFailed) as poor:
        await send(rpc, keystore, org_id="org_poor", key="k", wish=Wish(FRIEND, 1))
    assert poor.value.error_code == "INSUFFICIENT_FUNDS"
    assert keystore.address("org_poor") in poor.value.remediation
    assert keystore.find(await account_of(rpc, "org_poor"), "k") is None, "never sent, so not sent later either"
    token = demo.deploy(anvil)
    data = "0x" + encode_call("transfer(address,uint256)", (FRIEND, 5)).hex()
    with pytest.raises(ActionFailed) as refused:
        await send(rpc, keystore, org_id="org_a", key="t", wish=Wish(token, 0, data))
    assert refused.value.error_code == "CONTRACT_REVERT"


async def test_a_token_is_read_through_its_abi(rpc: Rpc, anvil: str) -> None:
    token = demo.deploy(anvil)
    assert decode_text(await rpc.eth_call(token, encode_call("symbol()", ())))
    owner = demo.call(anvil, "eth_accounts")[0]
    (held,) = decode_result(["uint256"], await rpc.eth_call(token, encode_call("balanceOf(address)", (owner,))))
    assert int(held) > 0


def test_a_wrong_password_opens_nothing(tmp_path: Path) -> None:
    address = LocalKeystore(tmp_path, "right").address("org_a")
    assert LocalKeystore(tmp_path, "right").address("org_a") == address
    with pytest.raises(ActionFailed, match="does not open"):
        LocalKeystore(tmp_path, "wrong").address("org_a")
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.glob("*.json"))


async def test_an_unknown_chain_is_named(rpc: Rpc) -> None:
    with pytest.raises(BadInput, match="chain 5 is not configured"):
        Chains({31337: rpc.chain}, rpc._http).rpc(5)


def test_signing_leaves_the_recursion_limit_as_it_was(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from b3os.chain.signer import LocalKeystore; "
        "before = sys.getrecursionlimit(); LocalKeystore(Path(sys.argv[1]), 'p')._account('org_a'); "
        "sys.exit(sys.getrecursionlimit() != before)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
