"""Names of tokens: once for each, and many at once."""

import asyncio
from typing import Any

import pytest
from eth_abi.abi import encode

from b3os.chain.chains import Chain
from b3os.chain.rpc import Rpc
from b3os.reading.tokens import AT_ONCE, Tokens
from tests.emulators.chain import Network
from tests.emulators.faults import Reply
from tests.emulators.ledger import Ledger


class Slow(Network):
    """Answers in the next turn of the loop, and counts the requests under way."""

    def __init__(self) -> None:
        super().__init__(Ledger())
        self.under_way = self.most = 0

    async def request(self, *about: Any, **more: Any) -> Reply:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        return await super().request(*about, **more)


async def test_tokens_are_asked_many_at_once_and_each_only_once() -> None:
    network = Slow()
    for number in range(40):
        network.views[0].contracts[f"0x{number:040x}", "0x313ce567"] = f"0x{number:064x}"
    rpc = Rpc(Chain(id=network.ledger.chain_id, name="emulated", rpc_urls=network.urls), network)
    await rpc.height()
    tokens = Tokens(rpc)
    results = [{"tokenAddress": f"0x{number % 40:040x}", "amount": "10"} for number in range(100)]
    await tokens.name(results)
    assert [result["decimals"] for result in results] == [number % 40 for number in range(100)]
    assert network.most == AT_ONCE
    asked = network.views[0].requests
    await tokens.name(results)
    assert network.views[0].requests == asked


@pytest.mark.parametrize(("length", "kept"), [(4, 4), (64, 64), (65, 64), (4000, 64), (5000, None), (1_000_000, None)])
async def test_a_symbol_is_as_long_as_a_symbol_may_be(length: int, kept: int | None) -> None:
    network, token = Network(Ledger()), "0x" + "aa" * 20
    network.views[0].contracts[token, "0x95d89b41"] = "0x" + encode(["string"], ["x" * length]).hex()
    network.views[0].contracts[token, "0x313ce567"] = f"0x{6:064x}"
    rpc = Rpc(Chain(id=network.ledger.chain_id, name="emulated", rpc_urls=network.urls), network)
    result = {"tokenAddress": token, "amount": "10"}
    await Tokens(rpc).name([result])
    assert result["symbol"] == (None if kept is None else "x" * kept)
    assert result["amountFormatted"] == "0.00001"
