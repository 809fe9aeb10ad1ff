"""Coins that calls inside transactions move, as far as a chain's upstreams trace."""

from typing import Any

import pytest

from b3os.reading.traces import DIALECTS
from tests.emulators.chain import ALICE, BOB, TOKEN
from tests.emulators.faults import RESULTS, Said
from tests.emulators.ledger import Inner, Tx, digest
from tests.services.chain_case import Case

SAFE = "0x" + "5a" * 20


def tx(name: str, *inner: Inner, **about: Any) -> Tx:
    return Tx(digest("traced", name), sender=ALICE, to=SAFE, inner=inner, **about)


def pays(amount: int, to: str = BOB, **about: Any) -> Inner:
    return Inner(SAFE, to, amount, **about)


async def begun(*dialects: str, views: int = 1, **chain: Any) -> Case:
    case = Case(views, **chain)
    for view in case.network.views:
        view.tracers = set(dialects)
    case.watch(type="eth-receive", walletAddress=BOB)
    await case.poll(2)
    return case


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_calls_move_fires_beside_what_their_transaction_moves(dialect: str) -> None:
    case = await begun(dialect)
    case.watch("out", type="eth-send", walletAddress=SAFE)
    case.ledger.mine(
        tx("a", pays(5), pays(6, TOKEN), Inner(SAFE, TOKEN, 0, calls=(Inner(TOKEN, BOB, 7),))),
        Tx(digest("plain"), sender=ALICE, to=BOB, value=9),
    )
    await case.poll(2)
    events = [case.book.runs[run].event for run in case.book.started]
    fired = sorted(
        (e.row.workflow_id, e.result["amount"], e.result["internal"], e.result["from"].lower()) for e in events
    )
    assert fired == [
        ("out", "5", True, SAFE), ("out", "6", True, SAFE),
        ("wf", "5", True, SAFE), ("wf", "7", True, TOKEN), ("wf", "9", False, ALICE),
    ]  # fmt: skip
    assert case.view.calls.count(("trace_block", ["0x15"])) <= 2
    await case.settle()
    assert case.notices() == [["finalized"]] * 5


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_calls_that_failed_and_calls_that_move_nothing_do_not_fire(dialect: str) -> None:
    case = await begun(dialect)
    reverted = Inner(
        SAFE, TOKEN, 0, error="execution reverted", calls=(pays(1), Inner(SAFE, TOKEN, 0, calls=(pays(2),)))
    )
    case.ledger.mine(
        tx("fails", pays(3), status=0),
        tx("partly", reverted, pays(4, error="out of gas"), pays(5, type="DELEGATECALL"), pays(6, type="CALLCODE")),
        tx("nothing", pays(0), Inner(SAFE, BOB, 8, type="STATICCALL")),
        tx("good", pays(9)),
    )
    assert await case.poll(2) == ["9"]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_contracts_that_are_made_with_coins_and_that_leave_theirs_move_them(dialect: str) -> None:
    case = await begun(dialect)
    made = "0x" + "dd" * 20
    case.watch("made", type="eth-receive", walletAddress=made)
    case.ledger.mine(
        tx("makes", pays(1, made, type="CREATE2"), pays(2, type="SELFDESTRUCT")),
        Tx(digest("deploys"), sender=ALICE, to=None, value=3),
    )
    await case.poll(2)
    assert sorted(case.amounts()) == ["1", "2", "3"]


async def test_the_same_transfer_twice_in_a_transaction_is_two_events_and_each_one_in_every_dialect() -> None:
    case = await begun(views=2)
    case.network.views[0].tracers, case.network.views[1].tracers = {"callTracer"}, {"trace_block"}
    case.ledger.mine(tx("twice", pays(5), Inner(SAFE, TOKEN, 0), pays(5)))
    assert await case.poll(2) == ["5", "5"]
    assert await case.settle() == ["5", "5"], "the second read is of the other upstream"
    assert case.notices() == [["finalized"], ["finalized"]]


async def test_a_fork_that_mines_it_again_starts_no_second_run_and_one_that_loses_it_is_told() -> None:
    case = await begun("callTracer")
    moved, lost = tx("moved", pays(1)), tx("lost", pays(2))
    case.ledger.mine(moved, lost)
    await case.poll(2)
    case.ledger.fork(1)
    case.ledger.mine(Tx(digest("before")), moved)
    assert await case.settle() == ["1", "2"]
    assert case.notices() == [["finalized"], ["removed"]]


async def test_where_no_upstream_traces_the_transactions_own_transfers_fire_and_nobody_is_asked_again() -> None:
    case = await begun()
    case.ledger.mine(tx("a", pays(5)), Tx(digest("plain"), sender=ALICE, to=BOB, value=9))
    assert await case.poll(2) == ["9"]
    asked = len([method for method, _ in case.view.calls if "trace" in method])
    assert asked == len(DIALECTS)
    case.ledger.mine(tx("b", pays(6)))
    await case.settle()
    assert len([method for method, _ in case.view.calls if "trace" in method]) == asked
    assert [one["traces"] for one in case.source.report()[1]["upstreams"]] == [False]


@pytest.mark.parametrize("kind", ["internal", "http502", "malformed", "null", "missing"])
async def test_who_is_asked_at_a_bad_moment_takes_nothing_back_and_traces_after_it(kind: str) -> None:
    case = await begun("callTracer")
    case.ledger.mine(tx("a", pays(1)))
    assert await case.poll(2) == ["1"]
    case.master()
    for method in ("trace_block", "debug_traceBlockByHash"):
        case.view.fail(kind, method=method)
    case.ledger.mine(tx("b", pays(2)))
    assert await case.settle() == ["1"]
    assert "removed" not in case.notices()[0]
    case.view.faults.clear()
    case.ledger.mine(tx("c", pays(3)))
    assert await case.settle() == ["1", "3"]


async def test_an_upstream_that_was_not_asked_yet_may_have_what_the_others_do_not_trace() -> None:
    case = await begun(views=2)
    case.network.views[1].tracers = {"trace_block"}
    case.ledger.mine(tx("a", pays(1)))
    assert await case.poll(2) == ["1"]
    case.master()
    case.network.views[1].fail("silence")
    case.ledger.grow(30)
    for _ in range(20):
        await case.poll()
    assert "removed" not in case.notices()[0]


@pytest.mark.parametrize(
    "words",
    [
        "rpc method is not whitelisted",
        "trace_block is not available on the Free tier - upgrade to Pay As You Go",
        "tracer not found",
        "ReferenceError: flatCallTracer is not defined at <eval>:1:2(0)",
        "JS tracer is not enabled",
        "method handler crashed",
        "header not found",
        "required historical state unavailable (reexec=128)",
    ],
)
async def test_what_refuses_a_method_is_told_from_what_went_wrong(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RESULTS, "words", lambda _: _say(words))
    case = await begun(*DIALECTS)
    for method in ("trace_block", "debug_traceBlockByHash"):
        case.view.fail("words", method=method)
    case.ledger.mine(tx("a", pays(5)))
    assert await case.poll(2) == []
    is_refused = any(word in words for word in ("whitelisted", "tier", "tracer", "Tracer"))
    assert [one["traces"] for one in case.source.report()[1]["upstreams"]] == [False if is_refused else None]


def _say(words: str) -> None:
    raise Said(-32000, words)


async def test_a_plan_without_traces_is_not_one_that_is_used_up() -> None:
    case = await begun("callTracer")
    for method in ("trace_block", "debug_traceBlockByHash"):
        case.view.fail("http402", method=method)
    case.ledger.mine(tx("a", pays(5)), Tx(digest("plain"), sender=ALICE, to=BOB, value=9))
    assert await case.poll(2) == ["9"]
    assert [one["traces"] for one in case.source.report()[1]["upstreams"]] == [False]


async def test_a_node_that_answers_every_tracer_with_its_own_steps_does_not_trace() -> None:
    case = await begun(*DIALECTS[1:])
    case.view.fail("steps", method="debug_traceBlockByHash")
    case.ledger.mine(tx("a", pays(5)))
    assert await case.poll(2) == []
    assert [one["traces"] for one in case.source.report()[1]["upstreams"]] == [False]


async def test_tracing_can_be_switched_off_for_a_chain() -> None:
    case = await begun("callTracer", traces=False)
    case.ledger.mine(tx("a", pays(5)))
    assert await case.poll(2) == []
    assert not [method for method, _ in case.view.calls if "trace" in method]


async def test_a_tracer_that_fails_delays_no_block_and_its_transfers_fire_late() -> None:
    case = await begun("callTracer")
    case.ledger.mine(tx("a", pays(1)))
    assert await case.poll(2) == ["1"]
    case.view.fail("internal", method="debug_traceBlockByHash", times=3)
    case.ledger.mine(tx("b", pays(2)), Tx(digest("plain"), sender=ALICE, to=BOB, value=9))
    assert await case.poll(1) == ["1", "9"]
    assert await case.settle() == ["1", "9", "2"]


async def test_a_second_read_that_waits_for_traces_delays_no_block_at_the_front() -> None:
    case = await begun("callTracer")
    case.ledger.mine(tx("a", pays(1)))
    await case.poll(2)
    case.view.fail("internal", method="debug_traceBlockByHash")
    case.ledger.mine(tx("b", pays(2)))
    await case.poll()
    case.ledger.grow(12)
    await case.poll(3)
    for number in range(40):
        case.ledger.mine(Tx(digest("plain", number), sender=ALICE, to=BOB, value=100 + number))
        began = case.clock
        assert str(100 + number) in await case.poll()
        assert case.clock - began <= case.chain.poll_s
        if number == 4:
            case.view.faults.clear()
    assert case.errors == []
    assert "2" in case.amounts()


async def test_a_tracer_that_is_gone_for_good_takes_nothing_back_and_stops_nothing() -> None:
    case = await begun("callTracer")
    case.ledger.mine(tx("a", pays(1)))
    await case.poll(2)
    case.view.fail("internal", method="debug_traceBlockByHash")
    case.ledger.mine(tx("b", pays(2)), Tx(digest("plain"), sender=ALICE, to=BOB, value=9))
    assert await case.settle() == ["1", "9"]
    assert case.notices() == [["finalized"], ["finalized"]]


@pytest.mark.parametrize("kind", ["empty_trace", "other_block", "malformed", "null", "rate"])
async def test_a_trace_that_is_not_of_the_block_is_not_believed(kind: str) -> None:
    case = await begun("trace_block")
    case.ledger.mine(tx("a", pays(1)))
    assert await case.poll(2) == ["1"]
    case.view.fail(kind, method="trace_block", times=1)
    case.ledger.mine(tx("b", pays(2)))
    await case.poll(3)
    assert await case.settle() == ["1", "2"]


async def test_a_transaction_whose_calls_nest_too_deep_hides_no_other() -> None:
    case = await begun("callTracer")
    deep = pays(1)
    for _ in range(520):
        deep = Inner(SAFE, SAFE, 0, calls=(deep,))
    case.ledger.mine(tx("deep", deep), tx("good", pays(9)))
    assert await case.poll(2) == ["9"]
    assert await case.settle() == ["9"]
    flat = await begun("flatCallTracer")
    flat.ledger.mine(tx("deep", deep))
    assert await flat.poll(2) == ["1"], "a flat trace has no depth"


async def test_an_upstream_that_refuses_to_trace_is_still_asked_for_everything_else() -> None:
    case = await begun("callTracer")
    case.view.fail("http402", method="trace_block", times=1)
    case.ledger.mine(tx("a", pays(1)), Tx(digest("plain"), sender=ALICE, to=BOB, value=9))
    assert sorted(await case.poll(2)) == ["1", "9"]
    assert not [one for one in case.source.report()[1]["upstreams"] if one["isResting"]]
