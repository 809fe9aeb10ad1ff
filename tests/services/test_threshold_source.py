"""Triggers on a chain's state: edges, batches, calls that fail, forks, other masters."""

from typing import Any

import pytest

from b3os.abi.signature import parse_signature
from b3os.chain.chains import MULTICALL3, load_chains
from b3os.detect.catalog import check_trigger
from b3os.detect.thresholds import parse_state_watch
from b3os.errors import BadInput, StaleEpoch
from tests.emulators.chain import ALICE, BOB, TOKEN, word
from tests.emulators.contracts import BURNS, HANGS, REVERTS
from tests.services.threshold_case import BALANCE, Case
from tests.simulation.chains import CHAIN_ID

ANSWER = "latestAnswer() view returns (int256 answer)"
PRICE = f"{TOKEN}:0x50d25bcd"


async def test_a_balance_that_reaches_its_threshold_fires_once_until_it_has_fallen() -> None:
    case = Case()
    case.watch()
    assert await case.poll() == []
    await case.step(case.hold(99))
    assert await case.step(case.hold(100)) == ["wf 22"]
    await case.step(case.hold(500))
    assert await case.step() == ["wf 22"]
    await case.step(case.hold(1))
    assert await case.step(case.hold(100)) == ["wf 22", "wf 26"]
    found = case.results()[0]
    assert (found["amount"], found["walletAddress"].lower(), found["tokenAddress"].lower()) == ("100", BOB, TOKEN)
    assert (found["blockHash"], found["blockTimestamp"]) == (
        case.ledger.canonical[22].hash,
        case.ledger.canonical[22].time_s,
    )


async def test_what_is_true_when_a_trigger_is_published_fires_at_once() -> None:
    case = Case()
    await case.step(case.hold(100))
    case.watch()
    assert await case.poll() == ["wf 21"]
    case.watch("later")
    assert await case.poll() == ["wf 21", "later 21"], "no new block is waited for"
    assert await case.step() == ["wf 21", "later 21"]


async def test_a_new_version_that_says_the_same_has_fired_already_and_another_threshold_has_not() -> None:
    case = Case()
    case.watch()
    await case.step(case.hold(100))
    case.watch()
    assert await case.step() == ["wf 21"]
    case.watch(value="90")
    assert await case.step() == ["wf 21", "wf 23"]
    case.watch(value="90", since_ms=1)
    assert await case.step() == ["wf 21", "wf 23", "wf 24"], "published anew"


async def test_hysteresis_keeps_a_trigger_from_firing_again_too_soon() -> None:
    case = Case()
    case.watch(hysteresis="20")
    for amount in (100, 81, 100, 80, 100, 79, 100):
        await case.step(case.hold(amount))
    assert case.fired() == ["wf 21", "wf 27"]


async def test_coins_and_what_functions_return_are_read_too() -> None:
    case = Case()
    case.watch("coins", tokenAddress="", operator="lt", value="5")
    case.watch("price", "evm-view", functionSignature=ANSWER, value="-3", operator="$lte")
    pair = "reserves(address) view returns (uint112 a, uint112 b)"
    case.watch("second", "evm-view", functionSignature=pair, args=[ALICE], output=1, value=7, operator="$eq")
    reserves = f"{TOKEN}:0x{parse_signature(pair).selector.hex()}{ALICE[2:].rjust(64, '0')}"
    await case.step(case.sets((BOB, hex(9)), (PRICE, word(0)), (reserves, word(1) + word(2)[2:])))
    assert case.fired() == []
    await case.step(case.sets((BOB, hex(4)), (PRICE, word(2**256 - 3)), (reserves, word(1) + word(7)[2:])))
    assert sorted(case.fired()) == ["coins 22", "price 22", "second 22"]
    by_name = {one.get("functionName", "coins"): one for one in case.results()}
    assert (by_name["coins"]["amount"], by_name["coins"]["symbol"], by_name["coins"]["tokenAddress"]) == (
        "4",
        "ETH",
        None,
    )
    assert (by_name["latestAnswer"]["value"], by_name["latestAnswer"]["outputs"]) == ("-3", {"answer": "-3"})
    assert (by_name["reserves"]["value"], by_name["reserves"]["args"]) == ("7", [ALICE])


async def test_all_thresholds_of_a_block_are_one_request_and_equal_calls_one_call() -> None:
    case = Case()
    for number in range(40):
        case.watch(f"wf{number}", value=str(number + 1))
    for number in range(60):
        case.watch(f"other{number}", walletAddress=f"0x{number + 1:040x}", tokenAddress="")
    await case.poll()
    case.view.calls.clear()
    case.view.requests = 0
    await case.step(case.hold(20))
    assert len(case.fired()) == 20
    assert len([params for method, params in case.view.calls if params and MULTICALL3 in str(params[0])]) == 1
    assert case.view.requests == 5, "the head, the block, the state; symbol and decimals of the token once"


async def test_a_chain_without_multicall_is_read_in_batches_of_calls() -> None:
    case = Case()
    case.view.has_multicall = False
    case.watch()
    case.watch("coins", tokenAddress="")
    await case.poll()
    case.view.requests = 0
    await case.step(case.sets((BALANCE, word(100)), (BOB, hex(100))))
    assert sorted(case.fired()) == ["coins 21", "wf 21"]
    assert case.view.requests == 5


async def test_a_head_that_stands_still_is_not_read_again_and_a_fast_one_not_more_than_once_a_second() -> None:
    case = Case(block_time_ms=250)
    case.watch()
    await case.poll()
    before = case.asked("eth_call")
    await case.poll(10)
    assert case.asked("eth_call") == before
    case.ledger.grow(1)
    for _ in range(20):
        case.ledger.grow(1)
        case.clock += 0.1
        await case.source.poll(1)
    assert case.asked("eth_call") - before <= 3


@pytest.mark.parametrize("fault", [REVERTS, BURNS, HANGS, "0x", "0x01", "0x" + "00" * 31])
@pytest.mark.parametrize("has_multicall", [True, False])
async def test_a_call_that_fails_is_its_own_triggers_error_and_stops_no_other(fault: str, has_multicall: bool) -> None:
    case = Case()
    case.view.has_multicall = has_multicall
    case.watch("bad", "evm-view", functionSignature=ANSWER, value="5")
    case.watch()
    await case.step(case.sets((PRICE, fault)))
    assert set(case.book.problems) == {("org", "bad", "root")}
    await case.step(case.hold(100))
    assert case.fired() == ["wf 22"]
    await case.step(case.sets((PRICE, word(6))))
    await case.poll(10)
    case.ledger.grow(1)
    assert (await case.poll(2))[1:], "it is asked again"
    assert case.book.problems == {}


@pytest.mark.parametrize("has_multicall", [True, False])
async def test_calls_that_nobody_waits_for_stop_no_other_threshold(has_multicall: bool) -> None:
    case = Case(2)
    for view in case.network.views:
        view.has_multicall = has_multicall
    for number in range(150):
        case.watch(f"wf{number}", value=str(100 + number))
    slow = [f"slow{number}() view returns (uint256)" for number in range(3)]
    for text in slow:
        case.watch(text[:5], "evm-view", functionSignature=text, value="1")
    keys = [f"{TOKEN}:0x{parse_signature(text).selector.hex()}" for text in slow]
    await case.step(case.sets(*((key, HANGS) for key in keys)))
    assert sorted(case.book.problems) == [("org", text[:5], "root") for text in slow]
    assert case.errors == []
    assert await case.step(case.hold(100)) == ["wf0 22"]
    await case.step(case.sets(*((key, word(1)) for key in keys)))
    await case.poll(10)
    assert case.book.problems == {}


@pytest.mark.parametrize(("kind", "left"), [("silence", 98), ("rate", 99)])
async def test_a_node_that_reads_no_state_at_all_is_left_alone_and_no_trigger_is_blamed(kind: str, left: int) -> None:
    case = Case()
    for number in range(150):
        case.watch(f"wf{number}", walletAddress=f"0x{number + 1:040x}")
    fault = case.view.fail(kind, method="eth_call", times=100)
    await case.poll()
    assert fault.times == left, "the batch; and where nothing was said, a call of who has no code"
    assert case.book.problems == {}
    assert len(case.errors) == 1


@pytest.mark.parametrize(
    ("returns", "answer"),
    [
        ("uint8", word(300)),
        ("bool", word(2)),
        ("address", word(2**160)),
        ("bytes4", word(1)),
        ("uint256", word(1) + word(1)[2:]),
        ("string", word(32) + word(2**200)[2:]),
        ("uint256[]", word(32) + word(2**64)[2:]),
        ("string", "0x" + "00" * 40_000),
    ],
)
async def test_an_answer_that_is_no_value_of_its_type_is_refused(returns: str, answer: str) -> None:
    case = Case()
    operator = "$ne" if returns != "uint256[]" else "$notContains"
    value = {"bool": True, "address": ALICE, "bytes4": "0x00000000"}.get(returns, "1")
    text = f"latestAnswer() view returns ({returns})"
    case.watch("bad", "evm-view", functionSignature=text, operator=operator, value=value)
    await case.step(case.sets((PRICE, answer)))
    assert case.fired() == []
    assert len(case.book.problems) == 1


async def test_a_node_that_takes_no_hash_is_asked_by_number_and_the_block_looked_at_again() -> None:
    case = Case()
    case.view.takes_hashes = False
    case.watch()
    await case.poll()
    assert await case.step(case.hold(100)) == ["wf 21"]
    wheres = [params[1] for method, params in case.view.calls if method == "eth_call"]
    assert hex(21) in wheres


@pytest.mark.parametrize(("policy", "head"), [("latest", 21), (3, 24), ("safe", 25), ("finalized", 29)])
async def test_a_policy_is_read_at_its_own_block(policy: str | int, head: int) -> None:
    case = Case()
    case.watch(confirmations=policy)
    await case.poll()
    txs = [case.hold(0), case.hold(100)]
    while not case.fired() and case.ledger.head < 60:
        await case.step(*txs[-1:])
        del txs[-1:]
    assert (case.fired(), case.ledger.head) == (["wf 21"], head)


async def test_a_master_that_takes_over_neither_repeats_nor_loses_an_edge() -> None:
    case = Case()
    case.watch()
    await case.step(case.hold(100))
    case.master()
    assert await case.step() == ["wf 21"]
    case.master()
    await case.step(case.hold(0))
    case.master()
    assert await case.step(case.hold(100)) == ["wf 21", "wf 24"]


async def test_a_write_that_is_done_without_its_answer_arriving_is_taken_up_and_repeats_no_edge() -> None:
    case = Case()
    case.watch()
    await case.poll()
    case.book.loses_answer = True
    await case.step(case.hold(100))
    await case.step()
    await case.step(case.hold(0))
    case.book.loses_answer = True
    assert await case.settle() == ["wf 21"]
    assert await case.step(case.hold(100)) == ["wf 21", f"wf {case.ledger.head}"]
    await case.settle()
    assert case.errors == ["the connection was lost"] * 2
    assert case.notices() == [["finalized"], ["finalized"]]


async def test_an_upstream_that_lags_neither_arms_nor_fires_a_trigger() -> None:
    case = Case()
    case.watch()
    await case.poll()
    await case.step(case.hold(100))
    for _ in range(3):
        case.view.lag = 5
        case.master()
        await case.poll(2)
        case.view.lag = 0
        assert await case.poll(2) == ["wf 21"]


async def test_a_stale_master_writes_nothing() -> None:
    case = Case()
    case.watch()
    await case.poll()
    case.book.inner.epoch = 2
    case.ledger.mine(case.hold(100))
    case.clock += 2
    with pytest.raises(StaleEpoch):
        await case.source.poll(1)
    assert case.book.edges == {}


async def test_an_edge_that_a_fork_moves_is_one_event() -> None:
    case = Case()
    case.watch()
    await case.poll()
    tx = case.hold(100)
    await case.step(tx)
    await case.step()
    case.ledger.fork(2)
    case.ledger.grow(2)
    await case.step()
    assert case.fired() == ["wf 21"]
    await case.step(tx)
    assert await case.settle() == ["wf 21"], "the same edge, in a later block"
    assert case.notices() == [["finalized"]]


async def test_an_edge_that_a_fork_took_for_good_is_told() -> None:
    case = Case()
    case.watch()
    await case.poll()
    await case.step(case.hold(100))
    case.ledger.fork(1)
    case.ledger.grow(2)
    assert await case.settle() == ["wf 21"]
    assert case.notices() == [["removed"]]
    assert await case.step(case.hold(100)) == ["wf 21", f"wf {case.ledger.head}"], "armed again"


async def test_a_trigger_that_was_armed_in_blocks_that_a_fork_took_does_not_fire_again() -> None:
    case = Case()
    case.watch()
    await case.step(case.hold(100))
    await case.step(case.hold(0))
    case.ledger.fork(1)
    case.ledger.grow(1)
    assert await case.step() == ["wf 21"]
    assert await case.settle() == ["wf 21"]
    assert case.notices() == [["finalized"]]


async def test_a_fork_while_no_master_runs_is_met_by_the_next() -> None:
    case = Case()
    case.watch()
    await case.step(case.hold(100))
    case.ledger.fork(1)
    case.ledger.grow(3)
    case.master()
    await case.poll(2)
    await case.step(case.hold(100))
    assert await case.settle() == ["wf 21"]
    assert case.notices() == [["finalized"]]


async def test_what_is_settled_is_not_kept() -> None:
    case = Case()
    case.watch()
    await case.step(case.hold(100))
    await case.step(case.hold(0))
    assert len(case.book.edges) == 1
    await case.settle()
    assert case.book.edges == {}
    writes = case.book.writes
    await case.settle()
    assert case.book.writes == writes, "nothing changed, nothing is written"


async def test_a_policy_whose_state_is_pruned_is_told_and_holds_no_other_up() -> None:
    case = Case()
    case.view.oldest = 15
    case.watch("deep", confirmations=10)
    case.watch()
    await case.poll(2)
    assert case.book.problems == {}, "a backend that lags says the same for a moment"
    await case.poll(6)
    assert list(case.book.problems) == [("org", "deep", "root")]
    assert await case.step(case.hold(100)) == ["wf 21"]
    case.view.oldest = 0
    await case.poll(8)
    assert case.book.problems == {}


async def test_an_upstream_that_fails_is_no_reading() -> None:
    case = Case(2)
    case.watch()
    await case.poll()
    for view in case.network.views:
        view.fail("internal", method="eth_call", times=4)
    case.ledger.mine(case.hold(100))
    assert await case.poll(30) == ["wf 21"]


@pytest.mark.parametrize("liar", [0, 1])
async def test_an_answer_that_another_upstream_contradicts_neither_fires_nor_arms(liar: int) -> None:
    case = Case(2)
    for view in case.network.views:
        view.has_multicall = False
    case.watch()
    await case.poll()
    case.network.views[liar].fail("hundreds", method="eth_call")
    await case.step(case.hold(liar))
    assert case.fired() == []
    assert list(case.book.problems) == ([] if liar else [("org", "wf", "root")])
    case.network.views[liar].faults.clear()
    assert await case.step(case.hold(100)) == ["wf 22"]
    assert case.book.problems == {}
    case.network.views[1].fail("internal", method="eth_call")
    await case.step(case.hold(0))
    assert await case.step(case.hold(100)) == ["wf 22", "wf 24"], "a second opinion that is not to be had"


PAYLOAD = {"chainId": CHAIN_ID, "operator": "$gte", "value": "1"}
VIEW = {**PAYLOAD, "address": TOKEN, "functionSignature": ANSWER}
HELD = {**PAYLOAD, "walletAddress": BOB}


@pytest.mark.parametrize(
    ("kind", "payload", "code"),
    [
        ("evm-balance", PAYLOAD, 400335),
        ("evm-balance", {**HELD, "chainId": 0}, 400337),
        ("evm-balance", {**HELD, "tokenAddress": "0x1"}, 400335),
        ("evm-balance", {**HELD, "operator": ""}, 400451),
        ("evm-balance", {**HELD, "operator": "$startsWith"}, 400387),
        ("evm-balance", {**HELD, "value": None}, 400451),
        ("evm-balance", {**HELD, "value": "NaN"}, 400388),
        ("evm-balance", {**HELD, "value": -1}, 400388),
        ("evm-balance", {**HELD, "value": float("inf")}, 400388),
        ("evm-balance", {**HELD, "hysteresis": "2"}, 400452),
        ("evm-balance", {**HELD, "hysteresis": -1}, 400452),
        ("evm-balance", {**HELD, "hysteresis": "0.5"}, 400452),
        ("evm-balance", {**HELD, "operator": "$eq", "hysteresis": "1"}, 400452),
        ("evm-balance", {**HELD, "confirmations": "soon"}, 400385),
        ("evm-view", {**VIEW, "address": "any"}, 400335),
        ("evm-view", {**VIEW, "functionSignature": "f()"}, 400450),
        ("evm-view", {**VIEW, "functionSignature": "", "functionName": "f"}, 400450),
        ("evm-view", {**VIEW, "functionSignature": "f(uint8) returns (uint8)"}, 400333),
        ("evm-view", {**VIEW, "functionSignature": "f() returns (uint8, uint8)"}, 400451),
        ("evm-view", {**VIEW, "args": {}}, 400450),
        ("evm-view", {**VIEW, "functionSignature": "f(bytes) returns (bool)", "args": ["0x" + "00" * 5000]}, 400450),
        ("evm-view", {**VIEW, "output": "price"}, 400386),
        ("evm-view", {**VIEW, "output": 1}, 400386),
        ("evm-view", {**VIEW, "output": {}}, 400451),
    ],
)
def test_a_threshold_that_nothing_could_meet_is_refused(kind: str, payload: dict[str, Any], code: int) -> None:
    with pytest.raises(BadInput) as caught:
        check_trigger(kind, payload)
    assert caught.value.code == code


@pytest.mark.parametrize("output", ["answer", 1, "1"])
def test_an_output_is_named_or_counted(output: Any) -> None:
    text = "latestRoundData() view returns (uint80 round, int256 answer, uint256, uint256 round)"
    watch = parse_state_watch("evm-view", {**VIEW, "functionSignature": text, "output": output, "value": "-1"})
    assert [one.name for one in watch.outputs] == ["round", "answer", "out2", "out3"]
    assert watch.path == "answer"
    with pytest.raises(BadInput, match="out3"):
        parse_state_watch("evm-view", {**VIEW, "functionSignature": text})


def test_a_trigger_that_reads_the_same_bytes_as_another_type_has_a_state_of_its_own() -> None:
    marks = {
        parse_state_watch(
            "evm-view", {**VIEW, "functionSignature": f"latestAnswer() view returns ({kind} answer)"}
        ).mark
        for kind in ("int256", "uint256", "int128")
    }
    assert len(marks) == 3


def test_multicall_is_where_each_chain_says() -> None:
    chains = load_chains()
    assert chains[324].multicall == "0xF9cda624FBC7e059355ce98a31693d299FACd963"
    assert {chain.multicall for chain in chains.values() if chain.id != 324} == {MULTICALL3}


async def test_a_new_version_that_renames_outputs_gives_their_new_names() -> None:
    case = Case()
    text = "reserves() view returns (uint112 {}, uint112 b)"
    key = f"{TOKEN}:0x{parse_signature(text.format('a')).selector.hex()}"
    for name in ("old", "new"):
        case.watch("wf", "evm-view", functionSignature=text.format(name), output="b", value="7")
        await case.step(case.sets((key, word(1) + word(0)[2:])))
    await case.step(case.sets((key, word(1) + word(7)[2:])))
    assert [one["outputs"] for one in case.results()] == [{"new": "1", "b": "7"}]


async def test_a_new_version_of_a_trigger_that_cannot_be_read_is_told_again() -> None:
    case = Case()
    case.watch("bad", "evm-view", functionSignature=ANSWER, value="5")
    await case.step(case.sets((PRICE, "0x01")))
    case.book.problems.clear()
    case.watch("bad", "evm-view", functionSignature=ANSWER, value="5")
    await case.step()
    assert list(case.book.problems) == [("org", "bad", "root")]
