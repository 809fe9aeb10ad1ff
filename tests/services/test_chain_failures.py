"""Each failure that chain readers have met in production, by its number in the list of `docs/chains.md`."""

from collections import Counter
from typing import Any

import pytest

from b3os.abi.signature import keccak
from b3os.chain.chains import Chain, egress_of
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import ChainUnreachable
from b3os.errors import StaleEpoch
from b3os.net.http import GuardedClient
from tests.emulators.chain import ALICE, BOB, TOKEN, Network, transfer
from tests.emulators.dialects import DIALECTS
from tests.emulators.faults import Reply
from tests.emulators.ledger import Emitted, Ledger, Tx, digest
from tests.services.chain_case import Case
from tests.simulation.chains import OTHER, Killed, play


async def begun(views: int = 1, **chain: Any) -> Case:
    case = Case(views, **chain)
    case.watch()
    await case.poll(2)
    return case


async def test_01_an_empty_answer_that_the_bloom_contradicts_is_asked_again() -> None:
    case = await begun()
    case.view.fail("empty", method="eth_getLogs", times=3)
    case.ledger.mine(case.tx("a", 1))
    assert await case.poll(5) == ["1"]


@pytest.mark.parametrize("back", [1, 5, 20])
async def test_02_a_head_that_goes_backwards_neither_rewinds_nor_fires_again(back: int) -> None:
    case = await begun()
    case.ledger.mine(case.tx("a", 1))
    await case.poll(2)
    head = case.ledger.head
    case.view.lag = back
    assert await case.poll(3) == ["1"]
    assert case.source.report()[1]["head"] == head
    case.view.lag = 0
    case.ledger.mine(case.tx("b", 2))
    assert await case.poll(3) == ["1", "2"]


BEYOND = pytest.mark.parametrize("beyond", ["error", "empty", "clamped"])


@BEYOND
@pytest.mark.parametrize("views", [1, 2])
async def test_03_logs_of_a_replica_behind_the_announced_head_are_waited_for(beyond: str, views: int) -> None:
    case = await begun(views)
    for view in case.network.views:
        view.log_lag, view.beyond = 3, beyond
    case.ledger.mine(case.tx("a", 1))
    assert await case.poll(3) == []
    for view in case.network.views:
        view.log_lag = 0
    assert await case.poll(3) == ["1"]
    await case.settle()
    assert case.notices() == [["finalized"]], "it was seen at the head, and waited for nothing else"


async def test_03_another_upstream_is_not_asked_for_blocks_that_it_does_not_have() -> None:
    case = await begun(2)
    case.network.views[1].lag = 3
    case.view.fail("http502", method="eth_getLogs", times=2)
    case.ledger.mine(case.tx("a", 1))
    assert await case.poll(6) == ["1"]


@BEYOND
async def test_04_a_range_beyond_the_head_of_a_node_is_read_later(beyond: str) -> None:
    case = await begun()
    case.view.log_lag, case.view.beyond = 1, beyond
    case.ledger.mine(case.tx("a", 1))
    case.ledger.mine(case.tx("b", 2))
    assert "2" not in await case.poll(3)
    case.view.log_lag = 0
    assert await case.poll(3) == ["1", "2"]
    await case.settle()
    assert case.notices() == [["finalized"], ["finalized"]]


@pytest.mark.parametrize("method", ["eth_getBlockByNumber", "eth_getTransactionReceipt"])
async def test_05_null_for_a_block_or_receipt_that_was_just_announced_is_asked_again(method: str) -> None:
    case = await begun()
    case.view.fail("null", method=method, times=4)
    case.ledger.mine(case.tx("a", 1, before=2))
    assert await case.poll(8) == ["1"]


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_05_null_for_the_very_first_block_that_is_asked_for_is_asked_again(times: int) -> None:
    case = Case()
    case.watch()
    case.view.fail("null", method="eth_getBlockByNumber", times=times)
    await case.poll(4)
    case.ledger.mine(case.tx("a", 1))
    assert await case.poll(2) == ["1"]


async def test_06_what_the_first_read_was_not_told_fires_at_the_second() -> None:
    case = await begun()
    case.view.fail("truncated", method="eth_getLogs", times=1)
    case.ledger.mine(case.tx("a", 1, 2, 3, 4))
    assert await case.poll(3) == ["1", "2"]
    assert sorted(await case.settle()) == ["1", "2", "3", "4"]
    assert [notices for notices in case.notices() if notices] == [["finalized"], ["finalized"]]


async def test_06_what_one_upstream_never_tells_another_does() -> None:
    case = await begun(2)
    case.view.fail("truncated", method="eth_getLogs", times=1)
    case.network.views[1].fail("truncated", method="eth_getLogs")
    case.ledger.mine(case.tx("a", 1, 2, 3, 4))
    assert await case.poll(3) == ["1", "2"]
    assert sorted(await case.settle()) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("kind", ["repeated", "shuffled", "outside", "removed"])
async def test_07_repeated_unordered_foreign_and_removed_logs_of_an_answer(kind: str) -> None:
    case = await begun()
    case.view.fail(kind, method="eth_getLogs", times=1)
    case.ledger.mine(case.tx("a", 1, 2))
    assert await case.poll(6) == ["1", "2"]


async def test_07_a_log_that_is_marked_removed_is_none() -> None:
    case = await begun()
    case.view.fail("ghost", method="eth_getLogs")
    case.ledger.mine(case.tx("a", 1, 2))
    assert await case.poll(2) == ["1", "2"]


async def test_08_logs_of_another_fork_than_the_header_are_read_again() -> None:
    case = await begun()
    case.view.fail("other_fork", method="eth_getLogs", times=2)
    case.ledger.mine(case.tx("a", 1))
    assert await case.poll(6) == ["1"]
    assert any("another fork" in error for error in case.errors)


@pytest.mark.parametrize(
    "kind", ["rate", "http429", "http502", "malformed", "wrong_id", "one_object", "one_limited", "internal", "silence"]
)
async def test_09_broken_answers_are_asked_again_or_elsewhere(kind: str) -> None:
    for views in (1, 2):
        case = await begun(views)
        case.view.fail(kind, times=2)
        case.ledger.mine(case.tx("a", 1))
        assert await case.poll(10) == ["1"]


async def test_09_an_answer_that_cannot_be_unpacked_is_asked_elsewhere() -> None:
    network = await Network(Ledger(), 2).start()
    chain = Chain(id=network.ledger.chain_id, name="emulated", rpc_urls=network.urls)
    http = GuardedClient(allow=egress_of([chain]))
    try:
        network.views[0].fail("gzip")
        assert await Rpc(chain, http).height() == network.ledger.head
        network.views[1].fail("gzip")
        with pytest.raises(ChainUnreachable):
            await Rpc(chain, http).height()
    finally:
        await http.close()
        await network.stop()


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
async def test_10_every_dialect_of_too_wide_is_understood(dialect: str) -> None:
    case = await begun()
    case.view.dialect, case.view.max_range = dialect, 5
    for number in range(30):
        case.ledger.mine(case.tx(number, number + 1))
    assert sorted(await case.poll(30), key=int) == [str(n + 1) for n in range(30)]


@pytest.mark.parametrize("dialect", ["infura", "optimism", "jsonrpsee", "llama"])
async def test_11_a_hot_block_is_split_by_address_and_taken_from_its_receipts(dialect: str) -> None:
    case = await begun()
    case.watch("other", tokenAddress="0x" + "cc" * 20)
    case.view.dialect, case.view.max_logs = dialect, 5
    case.ledger.mine(*(case.tx(number, number + 1) for number in range(20)))
    assert sorted(await case.poll(20), key=int) == [str(n + 1) for n in range(20)]


@pytest.mark.parametrize("by", ["address", "topic"])
async def test_11_what_one_answer_cannot_hold_is_asked_for_in_halves(by: str) -> None:
    case = await begun()
    if by == "address":
        case.watch("other", tokenAddress=OTHER)
        logs = [transfer(OTHER, ALICE, BOB, n) for n in range(4)]
    else:
        case.watch("other", type="evm-log", address=TOKEN, eventSignature="Other(uint256 amount)")
        logs = [Emitted(TOKEN, (f"0x{keccak(b'Other(uint256)').hex()}",), f"0x{n:064x}") for n in range(4)]
    case.view.max_logs = 5
    case.view.fail("null", method="eth_getBlockReceipts")
    case.ledger.mine(case.tx("a", 1, 2, 3, 4), Tx(digest("others"), tuple(logs)))
    assert len(await case.poll(4)) == 8


async def test_12_pruned_history_is_read_from_another_upstream() -> None:
    case = await begun(2)
    for number in range(60):
        case.ledger.mine(case.tx(number, number + 1))
    case.view.oldest = case.ledger.head - 5
    assert len(await case.settle()) == 60


@pytest.mark.parametrize("kind", ["http402", "quota"])
async def test_13_an_upstream_without_quota_is_taken_out(kind: str) -> None:
    case = await begun(2)
    case.view.fail(kind)
    case.ledger.mine(case.tx("a", 1))
    assert await case.poll(4) == ["1"]
    asked = case.view.requests
    for number in range(10):
        case.ledger.mine(case.tx(number, 2))
        await case.poll()
    assert case.view.requests == asked
    assert len(case.amounts()) == 11


async def test_14_an_upstream_of_another_chain_is_never_believed() -> None:
    case = Case(2)
    case.view.chain_id = 1
    case.watch()
    await case.poll(2)
    case.ledger.mine(case.tx("a", 1))
    assert await case.poll(4) == ["1"]
    assert {method for method, _ in case.view.calls} == {"eth_chainId"}


@pytest.mark.parametrize("depth", [1, 2, 7, 32, 64])
async def test_15_forks_of_every_depth_drop_move_and_change_events(depth: int) -> None:
    case = Case()
    case.ledger.final_depth = 80
    case.ledger.grow(100)
    case.watch()
    await case.poll(2)
    for number in range(depth):
        case.ledger.mine(
            case.tx(f"filler{number}"), *([case.tx("dropped", 1), case.tx("moved", 2)] if not number else [])
        )
        await case.poll()
    case.ledger.mine(case.tx("changed", 3))
    await case.poll()
    case.ledger.fork(depth + 1)
    case.ledger.mine(case.tx("new", 5), case.tx("moved", 2))
    case.ledger.mine(case.tx("changed", 4))
    case.ledger.grow(depth)
    await case.poll(8)
    assert sorted(case.amounts()) == ["1", "2", "3", "4", "5"]
    case.ledger.grow(60)
    await case.settle()
    told = dict(zip(case.amounts(), case.notices(), strict=True))
    assert told == {"1": ["removed"], "2": ["finalized"], "3": ["removed"], "4": ["finalized"], "5": ["finalized"]}


async def test_15_two_forks_back_to_back_end_where_they_began() -> None:
    case = await begun()
    case.ledger.mine(case.tx("a", 1))
    await case.poll()
    first = case.ledger.fork(1)
    case.ledger.mine(case.tx("b", 2))
    case.ledger.grow(1)
    await case.poll(3)
    case.ledger.restore(first)
    case.ledger.grow(3)
    await case.poll(3)
    await case.settle()
    assert dict(zip(case.amounts(), case.notices(), strict=True)) == {"1": ["finalized"], "2": ["removed"]}


async def test_16_a_fork_while_catching_up_and_one_while_down() -> None:
    case = await begun()
    case.ledger.mine(case.tx("gone", 1))
    await case.poll()
    case.ledger.fork(1)
    for number in range(300):
        case.ledger.mine(case.tx(number, 2))
    case.master()
    await case.poll(2)
    case.ledger.fork(5)
    for number in range(6):
        case.ledger.mine(case.tx(f"again{number}", 3))
    await case.settle()
    expected = ["2"] * 295 + ["3"] * 6
    told = dict.fromkeys(("1",), "")
    kept = [amount for amount, notices in zip(case.amounts(), case.notices(), strict=True) if notices != ["removed"]]
    assert sorted(kept) == expected
    assert [n for a, n in zip(case.amounts(), case.notices(), strict=True) if a in told] == [["removed"]]


async def test_17_a_fork_of_final_blocks_stops_the_chain_and_says_so() -> None:
    case = await begun()
    case.ledger.mine(case.tx("a", 1))
    await case.settle()
    case.ledger.fork(40)
    for number in range(50):
        case.ledger.mine(case.tx(number, 9))
    await case.poll(4)
    assert "9" not in case.amounts()
    assert "was final" in case.errors[-1]


async def test_18_a_height_announced_again_with_another_hash() -> None:
    case = await begun()
    for number in range(5):
        case.ledger.mine(case.tx(f"old{number}", 1))
        await case.poll()
        case.ledger.fork(1)
        case.ledger.mine(case.tx(f"new{number}", 2))
        await case.poll()
    await case.settle()
    kept = [amount for amount, notices in zip(case.amounts(), case.notices(), strict=True) if notices == ["finalized"]]
    assert kept == ["2"] * 5


async def test_19_a_chain_that_stood_still_makes_5000_blocks_at_once() -> None:
    case = await begun()
    case.clock += 3600.0
    await case.poll(3)
    for number in range(5000):
        case.ledger.mine(*([case.tx(number, 1)] if number % 100 == 0 else []))
    case.ledger.mine(case.tx("newest", 7))
    assert (await case.poll(1))[0] == "7", "the newest block does not wait for those before it"
    for _ in range(200):
        await case.poll()
    assert len(case.amounts()) == 51


async def test_19_heights_that_a_chain_leaves_out_are_passed_by() -> None:
    case = await begun()
    for number in range(20):
        case.ledger.leave_out(number % 4)
        case.ledger.mine(case.tx(number, 1))
        await case.poll()
    for number in range(20, 200):
        case.ledger.leave_out(number % 2)
        case.ledger.mine(case.tx(number, 1))
    case.master()
    assert len(await case.settle()) == 200


@pytest.mark.parametrize("back", range(1, 30, 4))
async def test_19_a_trigger_begins_among_heights_that_a_chain_left_out(back: int) -> None:
    case = Case()
    for number in range(100):
        case.ledger.leave_out(number % 3)
        case.ledger.mine(case.tx(number, number))
    mined = [block for block in case.ledger.canonical if not block.is_left_out]
    case.watch(since_ms=mined[-back].time_s * 1000)
    await case.poll(2)
    amounts = await case.settle()
    assert sorted(map(int, amounts)) == list(range(100 - back, 100))


async def test_20_a_master_that_dies_at_any_call_loses_nothing_and_repeats_nothing() -> None:
    survived, calls = False, 0
    while not survived:
        case = await begun()
        case.ledger.mine(case.tx("a", 1), case.tx("b", 2))
        case.master(dies_after=calls)
        try:
            await case.poll(3)
            await case.settle()
            survived = True
        except Killed:
            case.book.epoch += 1
            case.master()
            await case.poll(3)
            await case.settle()
        assert (case.amounts(), case.notices()) == (["1", "2"], [["finalized"], ["finalized"]]), calls
        calls += 1
    assert calls > 20


async def test_20_a_master_that_lost_its_lease_writes_nothing() -> None:
    case = await begun()
    late = case.source
    case.book.epoch += 1
    case.master()
    case.ledger.mine(case.tx("a", 1))
    await case.poll(2)
    case.ledger.mine(case.tx("b", 2))
    with pytest.raises(StaleEpoch):
        await late.poll(case.book.epoch - 1)
    assert await case.poll(2) == ["1", "2"]


async def test_21_triggers_come_and_go_while_their_blocks_are_read() -> None:
    case = await begun()
    case.watch("gone")
    case.watch("changed")
    changes = iter(
        [
            lambda: case.unwatch("gone"),
            lambda: case.watch("come", tokenAddress=OTHER),
            lambda: case.watch("changed", walletAddress=OTHER),
        ]
    )
    inner = case.view.answer

    def changing(body: bytes) -> Reply:
        reply = inner(body)
        if b"eth_getLogs" in body:
            next(changes, lambda: None)()
        return reply

    case.view.answer = changing  # type: ignore[method-assign]
    for number in range(3):
        case.ledger.mine(
            case.tx(("bob", number), 1),
            Tx(digest("other token", number), (transfer(OTHER, ALICE, BOB, 2),)),
            Tx(digest("other wallet", number), (transfer(TOKEN, ALICE, OTHER, 3),)),
        )
        await case.poll()
    await case.settle()
    fired = Counter(
        (case.book.runs[run].event.row.workflow_id, case.book.runs[run].event.result["amount"])
        for run in case.book.started
    )
    assert fired == {("wf", "1"): 3, ("changed", "1"): 2, ("changed", "3"): 3, ("come", "2"): 3}


async def test_22_times_that_stand_still_or_go_back() -> None:
    case = await begun()
    for number, shift in enumerate((0, -60, 0, 3600, -3600)):
        case.ledger.block_s = shift
        case.ledger.mine(case.tx(number, number))
        await case.poll()
    assert case.amounts() == ["0", "1", "2", "3", "4"]


async def test_23_many_triggers_on_one_log_and_many_logs_in_one_block() -> None:
    case = await begun()
    for number in range(10_000):
        case.watch(f"wf_{number}")
    case.ledger.mine(case.tx("a", 1))
    assert len(await case.poll(2)) == 10_001
    case.unwatch("wf")
    for number in range(1, 10_000):
        case.unwatch(f"wf_{number}")
    case.ledger.mine(*(case.tx(("hot", number), *range(1, 101)) for number in range(100)))
    assert len(await case.poll(2)) == 10_001 + 10_000


async def test_24_a_slow_consumer_slows_the_reading_and_loses_nothing() -> None:
    case = await begun()
    inner = case.book.write
    sizes: list[int] = []

    async def slow(cursor: Any, found: Any, **rest: Any) -> Any:
        case.clock += 2.0
        sizes.append(len(found))
        return await inner(cursor, found, **rest)

    case.book.write = slow  # type: ignore[method-assign]
    for number in range(2000):
        case.ledger.mine(case.tx(number, 1))
    for _ in range(400):
        await case.poll()
    assert len(case.amounts()) == 2000
    assert max(sizes[12:]) <= 32, "batches shrink to what is taken"


@pytest.mark.parametrize("policy", [1, 3, "safe", "finalized"])
async def test_events_wait_as_long_as_their_trigger_wants(policy: int | str) -> None:
    case = Case()
    case.watch(confirmations=policy)
    await case.poll(2)
    case.ledger.mine(case.tx("a", 1))
    waited = 0
    while not await case.poll(2) and waited < 20:
        case.clock += 5.0
        case.ledger.grow(1)
        waited += 1
    assert waited == {1: 1, 3: 3, "safe": 4, "finalized": 8}[policy]


async def test_a_transfer_that_was_reverted_fires_nothing() -> None:
    case = Case()
    case.watch(type="eth-receive")
    await case.poll(2)
    to = "0x" + "b0" * 20
    case.ledger.mine(Tx("0x" + "01" * 32, value=5, to=to), Tx("0x" + "02" * 32, value=6, to=to, status=0))
    assert await case.poll(3) == ["5"]
    assert await case.settle() == ["5"]


async def test_histories_are_the_same_for_the_same_seed() -> None:
    assert await play(7) == await play(7)
