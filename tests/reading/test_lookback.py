"""Looking back over a chain that forks, lags, limits ranges and lies: what a master fires is what is listed."""

import asyncio
from typing import Any

import pytest

from b3os.chain.chains import Chain
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import ChainUnreachable, RpcError
from b3os.errors import BadInput
from b3os.reading.lookback import LookBack, Past
from tests.emulators.chain import ALICE, BOB, TOKEN, Network, View, transfer
from tests.emulators.dialects import DIALECTS
from tests.emulators.ledger import Ledger, Tx, digest
from tests.services.chain_case import Case
from tests.simulation.chains import CHAIN_ID

RECEIVE = {"chainId": CHAIN_ID, "walletAddress": BOB, "tokenAddress": TOKEN, "confirmations": "latest"}
EVENT = "Transfer(address indexed from, address indexed to, uint256 value)"


class Chained:
    """A network of 300 blocks with a transfer to BOB in every tenth, and a look back over it."""

    def __init__(self, views: int = 1, **chain: Any) -> None:
        ledger = Ledger(CHAIN_ID)
        while ledger.head < 300:
            number = ledger.head + 1
            ledger.mine(*([Tx(digest("back", number), (transfer(TOKEN, ALICE, BOB, number),))] * (number % 10 == 0)))
        self.network = Network(ledger, views)
        self.chain = Chain(id=CHAIN_ID, name="emulated", rpc_urls=self.network.urls, **chain)

    @property
    def view(self) -> View:
        """The first upstream."""
        return self.network.views[0]

    async def look(
        self, kind: str = "erc20-receive", *, blocks: int = 100, limit: int = 50, budget_s: float = 20, **payload: Any
    ) -> Past:
        whole = {**RECEIVE, **payload}
        rpc = Rpc(self.chain, self.network, now=lambda: 0.0)
        return await LookBack(rpc, kind, whole, now=lambda: 0.0).read(blocks=blocks, limit=limit, budget_s=budget_s)


def amounts(past: Past) -> list[int]:
    return [int(one.result["amount"]) for one in past.seen]


async def test_the_newest_events_come_first_and_nothing_before_the_asked_blocks() -> None:
    past = await Chained().look(blocks=41)
    assert amounts(past) == [300, 290, 280, 270, 260]
    assert (past.head, past.first, past.last, past.ended) == (300, 260, 300, "blocks")
    assert past.seen[0].result["symbol"] is None, "this token does not tell"


@pytest.mark.parametrize(
    ("confirmations", "last"), [("latest", 300), (25, 275), ("finalized", 292), ("safe", 296), (None, 298)]
)
async def test_only_what_is_as_sure_as_the_trigger_wants_has_fired(confirmations: Any, last: int) -> None:
    past = await Chained(confirmations=2).look(blocks=20, confirmations=confirmations)
    assert (past.first, past.last) == (last - 19, last)
    assert amounts(past) == [n for n in range(300, 0, -10) if past.first <= n <= last]


async def test_a_chain_that_is_younger_than_the_confirmations_has_fired_nothing() -> None:
    past = await Chained().look(confirmations=400)
    assert (past.seen, past.first > past.last, past.ended) == ([], True, "blocks")


async def test_more_blocks_than_there_are_end_at_the_first() -> None:
    past = await Chained().look(blocks=5000)
    assert (past.first, past.ended, len(past.seen)) == (0, "blocks", 30)


@pytest.mark.parametrize(("limit", "first"), [(2, 281), (1, 300)])
async def test_it_stops_when_events_are_enough_and_says_from_where(limit: int, first: int) -> None:
    found = Chained()
    past = await found.look(blocks=300, limit=limit)
    assert (amounts(past), past.first, past.ended) == ([300, 290][:limit], first, "limit")
    read = [params[0]["fromBlock"] for method, params in found.view.calls if method == "eth_getLogs"]
    assert read == [hex(281)], "one span of twenty blocks was enough"


async def test_filters_hold_and_ask_the_nodes_for_topics() -> None:
    found = Chained()
    filter_ = {"to": BOB, "value": {"$lt": 250, "$gte": "2.3e2"}}
    past = await found.look("evm-log", eventSignature=EVENT, address=TOKEN, filter=filter_)
    assert [one.result["args"]["value"] for one in past.seen] == ["240", "230"]
    asked = next(params[0] for method, params in found.view.calls if method == "eth_getLogs")
    assert len(asked["topics"]) == 3


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
async def test_spans_are_halved_where_a_provider_refuses_them(dialect: str) -> None:
    found = Chained()
    found.view.dialect, found.view.max_range = dialect, 7
    assert amounts(await found.look()) == list(range(300, 200, -10))


async def test_coins_are_found_in_transactions_that_succeeded() -> None:
    found = Chained()
    ledger = found.network.ledger
    ledger.mine(Tx(digest("coins"), to=BOB, value=5), Tx(digest("reverted"), to=BOB, value=6, status=0))
    past = await found.look("eth-receive", blocks=30)
    assert amounts(past) == [5]
    assert past.seen[0].result["amountFormatted"] == "0.000000000000000005"


async def test_reverted_transactions_and_every_nth_block_are_found() -> None:
    found = Chained()
    found.network.ledger.mine(Tx(digest("fails"), to=TOKEN, status=0), Tx(digest("holds"), to=TOKEN))
    past = await found.look("evm-revert", blocks=30, address=TOKEN, walletAddress="")
    assert [one.tx for one in past.seen] == [digest("fails")]
    past = await found.look("evm-block", blocks=30, every=8)
    assert [one.block.height for one in past.seen] == [296, 288, 280, 272]


async def test_a_false_empty_answer_is_asked_again_of_another_upstream() -> None:
    found = Chained(views=2)
    found.view.fail("empty_logs", method="eth_getLogs")
    assert amounts(await found.look()) == list(range(300, 200, -10))


async def test_pruned_history_ends_it_and_keeps_what_was_read() -> None:
    found = Chained()
    found.view.oldest = 250
    past = await found.look()
    assert past.ended == "history"
    assert amounts(past) == [n for n in range(300, 0, -10) if n >= past.first]
    assert past.first >= 250


async def test_history_that_begins_above_the_asked_blocks_is_an_error() -> None:
    found = Chained()
    found.view.oldest = 400
    with pytest.raises(RpcError, match="Pruned"):
        await found.look()


async def test_a_fork_under_the_reader_is_not_mixed_with_what_was_read() -> None:
    found = Chained()
    network, request = found.network, found.network.request
    forked: list[int] = []

    async def forking(*args: Any, **more: Any) -> Any:
        reply = await request(*args, **more)
        if not forked and b"eth_getLogs" in more["body"]:
            forked.append(1)
            network.ledger.fork(60)
            network.ledger.grow(60)
        return reply

    network.request = forking  # type: ignore[method-assign]
    with pytest.raises(ChainUnreachable, match="changed while they were read"):
        await found.look()
    assert forked


@pytest.mark.parametrize(("fault", "text"), [("http502", "gave no answer"), ("http429", "429"), ("wrong_id", "nobody")])
async def test_an_upstream_that_fails_is_a_clear_error(fault: str, text: str) -> None:
    found = Chained()
    found.view.fail(fault)
    with pytest.raises(ChainUnreachable, match=text):
        await found.look()


async def test_an_upstream_that_never_answers_costs_no_more_than_the_budget() -> None:
    found = Chained()

    async def silent(*_args: Any, **_more: Any) -> Any:
        await asyncio.Event().wait()

    found.network.request = silent  # type: ignore[method-assign]
    with pytest.raises(ChainUnreachable, match=r"gave no block in 0\.05 s"):
        await found.look(budget_s=0.05)


async def test_when_the_time_is_up_what_was_read_is_kept() -> None:
    found = Chained()
    network, request = found.network, found.network.request
    spans: list[bytes] = []

    async def slowing(*args: Any, **more: Any) -> Any:
        spans.append(more["body"])
        if sum(b"eth_getLogs" in one for one in spans) > 1:
            await asyncio.Event().wait()
        return await request(*args, **more)

    network.request = slowing  # type: ignore[method-assign]
    past = await found.look(budget_s=1.0)
    assert (past.ended, past.first, amounts(past)) == ("time", 281, [300, 290])


async def test_what_is_listed_is_what_a_master_fires() -> None:
    case = Case(views=2)
    case.watch()
    case.watch("coins", type="eth-receive", confirmations=3)
    case.watch("reverts", type="evm-revert", address="0x" + "22" * 20, walletAddress="", confirmations=1)
    for number in range(40):
        coins = Tx(digest("c", number), to=BOB, value=number % 2)
        case.ledger.mine(case.tx(number, *range(number % 3)), coins, Tx(digest("r", number), status=number % 2))
        if number % 9 == 8:
            case.ledger.fork(2)
        await case.poll()
    await case.settle()
    stayed = [run for run in case.book.started if case.book.notices[run] == ["finalized"]]
    assert 0 < len(stayed) < len(case.book.started), "forks took some away"
    fired = [case.book.runs[run].event.result for run in stayed]
    rpc = Rpc(case.chain, case.network, now=lambda: case.clock)
    listed: list[dict[str, Any]] = []
    for kind, more in (
        ("erc20-receive", {}),
        ("eth-receive", {"confirmations": 3}),
        ("evm-revert", {"address": "0x" + "22" * 20, "walletAddress": "", "confirmations": 1}),
    ):
        look = LookBack(rpc, kind, {**RECEIVE, **more}, now=lambda: 0.0)
        listed += [one.result for one in (await look.read(blocks=5000, limit=1000, budget_s=20)).seen]
    assert sorted(map(said, listed)) == sorted(map(said, fired))
    assert {tuple(sorted(one)) for one in fired} == {(*sorted([*one, "triggeredAt"]),) for one in listed}


def said(result: dict[str, Any]) -> tuple[Any, ...]:
    return result["transactionHash"], result.get("logIndex", -1), result["amount"], result["blockHash"]


def test_a_trigger_that_cannot_be_read_is_refused() -> None:
    found = Chained()
    with pytest.raises(BadInput):
        LookBack(Rpc(found.chain, found.network), "erc20-receive", {"chainId": CHAIN_ID})
