"""The chain source on a real database, against a node that forks, lags and lies."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from b3os.chain.chains import Chain, egress_of
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import ChainUnreachable, RpcError
from b3os.errors import StaleEpoch
from b3os.net.http import GuardedClient
from b3os.queue.broker import Broker
from b3os.store import leases
from b3os.store.pool import Pool, open_pool
from b3os.stream.publish import Publisher
from services.master.admit import Admitter
from services.master.chain.book import StoredBook
from services.master.sources.chain import ChainSource
from services.master.sources.chains import Chains
from services.master.table import Table
from tests.emulators.node import Node, Said
from tests.store.rows import make_workflow
from tests.trigger_records import compiled

TOKEN = "0x" + "aa" * 20
ALICE, BOB = "0x" + "a1" * 20, "0x" + "b0" * 20
TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"


def word(value: str | int) -> str:
    return "0x" + (f"{value:064x}" if isinstance(value, int) else value[2:].rjust(64, "0"))


def transfer(to: str = BOB, amount: int = 5, **more: Any) -> dict[str, Any]:
    return {"address": TOKEN, "topics": [TRANSFER, word(ALICE), word(to)], "data": word(amount), **more}


class Place:
    """A node, a database and a source between them."""

    def __init__(self, node: Node, pool: Pool, http: GuardedClient, redis_url: str, confirmations: int = 0) -> None:
        self.node = node
        self.pool = pool
        self.http = http
        self.broker = Broker(redis_url)
        self.publisher = Publisher(redis_url)
        self.confirmations = confirmations
        self.table = Table()
        self.book = StoredBook(pool, Admitter(pool, self.broker), self.publisher)
        self.chains = Chains([], http=http, table=self.table, book=self.book)
        self.table.follow([self.chains])
        #: How triggers are stored: with a pattern, or as older versions of B3OS did.
        self.stored = compiled
        self.epoch = 0
        self.since_ms = 0

    async def watch(self, kind: str, payload: dict[str, Any], workflow: str = "wf_1") -> None:
        await make_workflow(self.pool, workflow)
        self.table.apply(self.stored(workflow, kind, {"chainId": 31337, **payload}, since_ms=self.since_ms))

    async def source(self) -> ChainSource:
        chain = Chain(id=31337, name="local", rpc_urls=(self.node.url,), confirmations=self.confirmations)
        epoch = await leases.acquire(self.pool, "chain:31337", "me", 60)
        assert epoch is not None
        self.epoch = epoch
        rpc = Rpc(chain, self.http, now=lambda: 0.0)
        return ChainSource(rpc, table=self.table, matcher=self.chains.matcher, book=self.book)

    async def read(self, source: ChainSource, polls: int = 6) -> list[dict[str, Any]]:
        """Poll as the master does, failures included; returns every run's trigger result, oldest block first."""
        for _ in range(polls):
            try:
                await source.poll(self.epoch)
            except (ChainUnreachable, RpcError) as error:
                source.failed(error)
        rows = await self.pool.fetch("select trigger_result from runs order by trigger_result->>'blockNumber', id")
        return [row["trigger_result"] for row in rows]


@pytest.fixture
async def place(pg_url: str, redis_url: str) -> AsyncIterator[Place]:
    node = await Node().start()
    pool = await open_pool(pg_url)
    http = GuardedClient(allow=egress_of([Chain(id=1, name="x", rpc_urls=(node.url,))]))
    found = Place(node, pool, http, redis_url)
    yield found
    await found.broker.close()
    await found.publisher.close()
    await http.close()
    await pool.close()
    await node.stop()


async def test_a_transfer_becomes_one_run_with_its_arguments(place: Place) -> None:
    place.node.contracts[(TOKEN, "0x313ce567")] = word(6)
    place.node.contracts[(TOKEN, "0x95d89b41")] = "0x" + b"USD".hex().ljust(64, "0")
    await place.watch("erc20-receive", {"walletAddress": BOB, "tokenAddress": TOKEN})
    source = await place.source()
    assert await place.read(source) == []
    place.node.mine([transfer(ALICE), transfer(BOB, 1_500_000)])
    place.node.mine()
    found = await place.read(source)
    assert len(found) == 1
    assert {name: found[0][name] for name in ("amount", "amountFormatted", "symbol", "decimals", "blockNumber")} == {
        "amount": "1500000", "amountFormatted": "1.5", "symbol": "USD", "decimals": 6, "blockNumber": 1,
    }  # fmt: skip
    assert found[0]["to"].lower() == BOB


async def test_an_event_with_its_arguments_by_name(place: Place) -> None:
    await place.watch(
        "evm-log", {"address": TOKEN, "eventSignature": "Transfer(address from,address to,uint256 value)"}
    )
    source = await place.source()
    await place.read(source, 1)
    place.node.mine([transfer(amount=2**255)])
    (found,) = await place.read(source)
    assert found["args"]["value"] == str(2**255)
    assert found["eventName"] == "Transfer"


async def test_native_transfers_both_ways_and_failed_ones_not(place: Place) -> None:
    await place.watch("eth-receive", {"walletAddress": BOB, "minAmount": "10"})
    await place.watch("eth-send", {"walletAddress": ALICE}, "wf_2")
    source = await place.source()
    await place.read(source, 1)
    place.node.mine(
        txs=[
            {"hash": word(1), "from": ALICE, "to": BOB, "value": hex(10)},
            {"hash": word(2), "from": ALICE, "to": BOB, "value": hex(99), "_status": "0x0"},
            {"hash": word(3), "from": BOB, "to": BOB, "value": hex(9)},
            {"hash": word(4), "from": ALICE, "to": None, "value": "0x0"},
        ]
    )
    found = await place.read(source)
    assert sorted(result["amount"] for result in found) == ["10", "10"]
    assert {result["txHash"] for result in found} == {word(1)}


async def test_confirmations_hold_events_back(place: Place) -> None:
    place.confirmations = 2
    for _ in range(3):
        place.node.mine()
    await place.watch("erc20-receive", {"walletAddress": BOB})
    source = await place.source()
    await place.read(source, 1)
    place.node.mine([transfer()])
    place.node.mine()
    assert await place.read(source) == []
    place.node.mine()
    assert len(await place.read(source)) == 1


async def test_downtime_is_caught_up_and_nothing_fires_twice(place: Place) -> None:
    await place.watch("erc20-receive", {"walletAddress": BOB})
    await place.read(await place.source(), 1)
    for _ in range(40):
        place.node.mine([transfer()])
    assert len(await place.read(await place.source())) == 40
    assert len(await place.read(await place.source())) == 40, "another master reads on where the first one was"


@pytest.mark.parametrize("depth", [1, 2, 7, 32])
async def test_a_fork_re_reads_what_replaced_it_and_keeps_identities(place: Place, depth: int) -> None:
    await place.watch("erc20-receive", {"walletAddress": BOB})
    source = await place.source()
    for _ in range(40):
        place.node.mine()
    await place.read(source, 1)
    for index in range(depth):
        place.node.mine([transfer(tx=word(1000 + index))])
        await place.read(source, 1)
    place.node.drop(depth)
    place.node.mine([transfer(tx=word(1000), skip=3)], salt="fork")  # the same transaction, in another place
    for index in range(depth):
        place.node.mine([transfer(tx=word(2000 + index))], salt="fork")
    found = await place.read(source, 12)
    hashes = [result["txHash"] for result in found]
    assert len(hashes) == len(set(hashes))
    assert set(hashes) == {word(1000 + i) for i in range(depth)} | {word(2000 + i) for i in range(depth)}


async def test_a_head_that_goes_backwards_changes_nothing(place: Place) -> None:
    await place.watch("erc20-receive", {"walletAddress": BOB})
    source = await place.source()
    await place.read(source, 1)
    for _ in range(5):
        place.node.mine([transfer()])
    assert len(await place.read(source)) == 5
    place.node.personality = lambda method, _: "0x2" if method == "eth_blockNumber" else None
    assert len(await place.read(source)) == 5
    place.node.personality = None
    place.node.mine([transfer()])
    assert len(await place.read(source)) == 6


async def test_an_answer_that_is_empty_by_mistake_is_asked_again(place: Place) -> None:
    await place.watch("erc20-receive", {"walletAddress": BOB})
    source = await place.source()
    await place.read(source, 1)
    lies = iter([[], None])
    place.node.personality = lambda method, _: next(lies, None) if method == "eth_getLogs" else None
    place.node.mine([transfer()])
    assert len(await place.read(source, 2)) == 1


async def test_a_receipt_that_is_not_there_yet_is_awaited(place: Place) -> None:
    await place.watch("erc20-receive", {"walletAddress": BOB})
    source = await place.source()
    await place.read(source, 1)
    asked = 0

    def late(method: str, _: list[Any]) -> Any:
        nonlocal asked
        asked += method == "eth_getTransactionReceipt"
        if method == "eth_getTransactionReceipt" and asked < 3:
            raise Said(-32000, "header not found")
        return None

    place.node.personality = late
    place.node.mine([transfer()])
    assert len(await place.read(source)) == 1


async def test_ranges_shrink_to_what_the_provider_takes(place: Place) -> None:
    await place.watch("erc20-receive", {"walletAddress": BOB})
    source = await place.source()
    await place.read(source, 1)
    for _ in range(30):
        place.node.mine([transfer()])

    def narrow(method: str, params: list[Any]) -> None:
        if method == "eth_getLogs" and "fromBlock" in params[0]:
            width = int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) + 1
            if width > 7:
                raise Said(-32602, "query exceeds max block range 7")

    place.node.personality = narrow
    assert len(await place.read(source, 12)) == 30


async def test_nothing_from_before_a_trigger_was_published_fires(place: Place) -> None:
    for _ in range(50):
        place.node.mine([transfer()])
    place.since_ms = int(place.node.blocks[30]["timestamp"], 16) * 1000
    await place.watch("erc20-receive", {"walletAddress": BOB})
    found = await place.read(await place.source())
    assert min(result["blockNumber"] for result in found) in (29, 30, 31)
    assert len(found) in (21, 22)


async def test_filters_ask_the_node_for_topics_and_test_the_rest_after_decoding(place: Place) -> None:
    event = {"eventSignature": "Transfer(address indexed from, address indexed to, uint256 value)"}
    filter_ = {"to": {"$in": [BOB, TOKEN]}, "from": ALICE, "value": {"$gte": "1e3"}}
    await place.watch("evm-log", {**event, "filter": filter_})
    source = await place.source()
    await place.read(source, 1)
    place.node.mine([transfer(amount=999), transfer(amount=1000), transfer(ALICE, 5000), transfer(TOKEN, 2**200)])
    found = await place.read(source)
    assert sorted(int(one["args"]["value"]) for one in found) == [1000, 2**200]
    assert found[0]["value"] == found[0]["args"]["value"]
    asked = [params[0] for method, params in place.node.calls if method == "eth_getLogs"]
    assert {str(one["topics"]) for one in asked} == {str([[TRANSFER], [word(ALICE)]])}


async def test_triggers_with_other_arguments_widen_what_is_asked_for(place: Place) -> None:
    event = {"eventSignature": "Transfer(address indexed from, address indexed to, uint256 value)"}
    await place.watch("evm-log", {**event, "filter": {"to": BOB}}, "wf_bob")
    await place.watch("evm-log", {**event, "filter": {"to": ALICE}}, "wf_alice")
    source = await place.source()
    await place.read(source, 1)
    place.node.mine([transfer(BOB, 1), transfer(ALICE, 2), transfer(TOKEN, 3)])
    assert sorted(one["args"]["value"] for one in await place.read(source)) == ["1", "2"]
    (_, params) = next(call for call in reversed(place.node.calls) if call[0] == "eth_getLogs")
    assert params[0]["topics"] == [[TRANSFER], None, sorted([word(ALICE), word(BOB)])]
    await place.watch("evm-log", {**event, "filter": {"value": "3"}}, "wf_any")
    place.node.mine([transfer(TOKEN, 3)])
    assert sorted(one["args"]["value"] for one in await place.read(source)) == ["1", "2", "3"]


async def test_a_stale_master_writes_nothing(place: Place) -> None:
    await place.watch("erc20-receive", {"walletAddress": BOB})
    source = await place.source()
    await place.read(source, 1)
    await leases.release(place.pool, "chain:31337", "me")
    assert await leases.acquire(place.pool, "chain:31337", "other", 60)
    place.node.mine([transfer()])
    with pytest.raises(StaleEpoch):
        await source.poll(place.epoch)
    assert await place.pool.fetchval("select count(*) from runs") == 0


async def test_a_log_that_matches_many_triggers_starts_each(place: Place) -> None:
    for index in range(200):
        await place.watch("erc20-receive", {"walletAddress": BOB}, f"wf_{index}")
    source = await place.source()
    await place.read(source, 1)
    place.node.mine([transfer() for _ in range(10)])
    assert len(await place.read(source)) == 2000
