"""Many calls at one block on a real Anvil: through a multicall contract, and without one."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from b3os.abi.signature import parse_signature
from b3os.chain.blocks import Header
from b3os.chain.chains import Chain, egress_of
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import Cause, RpcError
from b3os.detect.thresholds import BALANCE_OF, Call
from b3os.net.http import GuardedClient
from b3os.reading.states import States
from demo import chain as demo

CODE = json.loads((Path(__file__).parent / "Aggregate.json").read_text())["bytecode"]


class Local:
    """An Anvil with the test token and the contract."""

    def __init__(self, url: str, http: GuardedClient) -> None:
        self.url = url
        self.http = http
        self.owner, self.friend = demo.call(url, "eth_accounts")[:2]
        self.token = demo.deploy(url)
        sent = demo.call(url, "eth_sendTransaction", {"from": self.owner, "data": CODE, "gas": "0x200000"})
        self.contract = str(demo.receipt(url, sent)["contractAddress"])

    def states(self, multicall: str) -> States:
        """A reader of the chain, with a multicall contract or without."""
        chain = Chain(id=31337, name="local", rpc_urls=(self.url,), multicall=multicall)
        return States(Rpc(chain, self.http))

    def call(self, signature: str) -> Call:
        """A call of the contract."""
        return bytes.fromhex(self.contract[2:]), parse_signature(signature).selector

    def held(self, account: str) -> Call:
        """A call for the tokens of an account."""
        owner = bytes.fromhex(account[2:]).rjust(32, b"\0")
        return bytes.fromhex(self.token[2:]), BALANCE_OF.selector + owner

    def head(self) -> Header:
        """The newest block."""
        found = demo.call(self.url, "eth_getBlockByNumber", "latest", False)
        return Header(*(found[name] for name in ("number", "hash", "parentHash", "timestamp")))

    def send(self, amount: int) -> None:
        """Move tokens to the friend."""
        demo.receipt(self.url, demo.transfer(self.url, self.token, self.friend, amount))


@pytest.fixture
async def local(anvil: str) -> AsyncIterator[Local]:
    http = GuardedClient(allow=egress_of([Chain(id=1, name="x", rpc_urls=(anvil,))]))
    yield Local(anvil, http)
    await http.close()


@pytest.mark.parametrize("has_multicall", [True, False])
async def test_a_block_is_read_as_it_was_whatever_came_after_it(local: Local, has_multicall: bool) -> None:
    states = local.states(local.contract if has_multicall else "0x" + "01" * 20)
    local.send(25)
    block = local.head()
    coins: Call = (bytes.fromhex(local.owner[2:]), b"")
    wei = int(demo.call(local.url, "eth_getBalance", local.owner, "latest"), 16)
    local.send(17)
    calls = [local.held(local.friend), coins, local.call("seven()"), local.held("0x" + "12" * 20)]
    found = await states.read(block, calls)
    assert [_number(found[call]) for call in calls] == [25, wei, 7, 0]
    assert _number((await states.read(local.head(), calls[:1]))[calls[0]]) == 42


@pytest.mark.parametrize("has_multicall", [True, False])
async def test_calls_that_go_wrong_spoil_no_other(local: Local, has_multicall: bool) -> None:
    states = local.states(local.contract if has_multicall else "")
    good = [local.call(f"{name}()") for name in ("seven", "pair")] + [local.held(local.friend)]
    bad = [local.call(f"{name}()") for name in ("refuses", "burns")]
    nobody: Call = (b"\x77" * 20, b"\x01\x02\x03\x04")
    found = await states.read(local.head(), [bad[1], *good, bad[0], nobody, local.call("floods()")])
    assert [isinstance(found[call], bytes) for call in good] == [True] * 3
    assert "not today" in str(found[bad[0]])
    assert isinstance(found[bad[1]], str), "it ran out of gas"
    assert found[nobody] == b""
    assert len(found[local.call("floods()")]) > 200_000


async def test_a_block_that_is_not_there_is_no_answer(local: Local) -> None:
    gone = Header(hex(1), "0x" + "ab" * 32, "0x" + "00" * 32, "0x0")
    with pytest.raises(RpcError) as caught:
        await local.states("").read(gone, [local.call("seven()")])
    assert caught.value.cause is Cause.MISSING


def _number(answer: Any) -> int:
    assert isinstance(answer, bytes), answer
    return int.from_bytes(answer, "big")
