"""Reverted transactions and every Nth block, through forks, downtime and confirmations."""

from typing import Any

import msgspec
import pytest

from b3os.detect.catalog import check_trigger
from b3os.errors import BadInput
from tests.emulators.chain import ALICE, BOB, TOKEN
from tests.emulators.ledger import Tx, digest
from tests.services.chain_case import Case
from tests.simulation.chains import CHAIN_ID


def results(case: Case, workflow: str = "wf") -> list[dict[str, Any]]:
    events = [case.book.runs[run].event for run in case.book.started]
    return [event.result for event in events if event.row.workflow_id == workflow]


def blocks(case: Case, workflow: str = "wf") -> list[int]:
    return [one["blockNumber"] for one in results(case, workflow)]


def call(name: str, *, sender: str = ALICE, to: str | None = TOKEN, status: int = 0, **more: Any) -> Tx:
    return Tx(digest("call", name), sender=sender, to=to, status=status, **more)


async def test_every_nth_block_fires_once() -> None:
    case = Case()
    case.watch(type="evm-block", every=5)
    case.watch("each", type="evm-block")
    await case.poll()
    begun = case.ledger.head
    case.ledger.grow(13)
    await case.poll(3)
    assert [number for number in blocks(case) if number > begun] == [25, 30]
    assert [number for number in blocks(case, "each") if number > begun] == list(range(begun + 1, begun + 14))
    header = case.ledger.canonical[30]
    found = results(case)[-1]
    assert {name: found[name] for name in ("chainId", "blockHash", "blockTimestamp")} == {
        "chainId": CHAIN_ID, "blockHash": header.hash, "blockTimestamp": header.time_s
    }  # fmt: skip
    assert not [method for method, _ in case.view.calls if method == "eth_getLogs"], "headers are enough"


async def test_no_block_is_missed_in_a_downtime_nor_told_twice_by_a_fork() -> None:
    case = Case()
    case.watch(type="evm-block", every=4)
    await case.poll()
    case.ledger.grow(100)
    case.master()
    await case.poll(2)
    case.ledger.fork(7)
    case.ledger.grow(9)
    await case.settle()
    fired = sorted(number for number in blocks(case) if number > 20)
    assert fired == list(range(24, case.ledger.head + 1, 4))
    assert "removed" not in {notice for told in case.notices() for notice in told}


async def test_a_block_waits_for_its_confirmations() -> None:
    case = Case()
    case.watch(type="evm-block", every=10, confirmations=3)
    await case.poll()
    case.ledger.grow(12)
    await case.poll(2)
    assert 30 not in blocks(case)
    case.ledger.grow(1)
    await case.poll(2)
    assert 30 in blocks(case)


async def test_only_what_reverted_fires_with_what_was_called() -> None:
    case = Case()
    case.watch(type="evm-revert", address=TOKEN, walletAddress="")
    case.watch("from", type="evm-revert", walletAddress=BOB)
    case.watch("both", type="evm-revert", address=TOKEN, walletAddress=BOB)
    await case.poll()
    case.ledger.mine(
        call("fails", input="0xa9059cbb00", value=7),
        call("succeeds", status=1),
        call("elsewhere", to="0x" + "33" * 20),
        call("deploys", sender=BOB, to=None),
        call("both", sender=BOB),
    )
    await case.poll(2)
    fired = {name: [one["txHash"] for one in results(case, name)] for name in ("wf", "from", "both")}
    both = digest("call", "both")
    assert fired == {
        "wf": [digest("call", "fails"), both], "from": [digest("call", "deploys"), both], "both": [both]
    }  # fmt: skip
    found = results(case)[0]
    assert {name: found[name] for name in ("amount", "input", "methodId", "gasUsed", "blockNumber")} == {
        "amount": "7", "input": "0xa9059cbb00", "methodId": "0xa9059cbb", "gasUsed": "21000", "blockNumber": 21
    }  # fmt: skip
    assert found["to"].lower() == TOKEN
    assert results(case, "from")[0]["to"] is None, "a contract that was not made"


async def test_a_transaction_that_succeeds_after_a_fork_is_taken_back() -> None:
    case = Case()
    case.watch(type="evm-revert", address=TOKEN, walletAddress="")
    await case.poll()
    case.ledger.mine(call("a"), call("b"))
    await case.poll(2)
    case.ledger.fork(1)
    case.ledger.mine(msgspec.structs.replace(call("a"), status=1), call("b"))
    await case.settle()
    told = {one["txHash"]: notice for one, notice in zip(results(case), case.notices(), strict=True)}
    assert told == {digest("call", "a"): ["removed"], digest("call", "b"): ["finalized"]}


@pytest.mark.parametrize(
    ("kind", "payload", "code"),
    [
        ("evm-block", {}, 400337),
        ("evm-block", {"chainId": 1, "every": 0}, 400439),
        ("evm-block", {"chainId": 1, "every": "1.5"}, 400439),
        ("evm-block", {"chainId": 1, "every": True}, 400439),
        ("evm-block", {"chainId": 1, "every": 10**8 + 1}, 400439),
        ("evm-revert", {"chainId": 1}, 400335),
        ("evm-revert", {"chainId": 1, "address": [ALICE, BOB]}, 400335),
        ("evm-revert", {"chainId": 1, "address": "any"}, 400335),
    ],
)
def test_what_cannot_be_listened_to_is_refused(kind: str, payload: dict[str, Any], code: int) -> None:
    with pytest.raises(BadInput) as caught:
        check_trigger(kind, payload)
    assert caught.value.code == code


@pytest.mark.parametrize("fault", ["", "internal", "null", "malformed", "rate", "http402", "other_receipts"])
async def test_a_busy_contracts_receipts_come_by_block_or_one_by_one(fault: str) -> None:
    case = Case()
    case.watch(type="evm-revert", address=TOKEN, walletAddress="")
    await case.poll()
    if fault:
        case.view.fail(fault, method="eth_getBlockReceipts")
    txs = [call(f"busy {number}", status=number % 3) for number in range(60)]
    case.ledger.mine(*txs)
    await case.poll(2)
    assert [one["txHash"] for one in results(case)] == [tx.hash for tx in txs if not tx.status]
    alone = sum(method == "eth_getTransactionReceipt" for method, _ in case.view.calls)
    assert alone == (60 if fault else 0)
    assert not case.errors


async def test_an_upstream_without_receipts_of_blocks_is_asked_for_them_once() -> None:
    case = Case()
    case.watch(type="evm-revert", address=TOKEN, walletAddress="")
    case.view.has_block_receipts = False
    await case.poll()
    for block in range(4):
        case.ledger.mine(*(call(f"{block} {number}") for number in range(25)))
        await case.poll()
    assert len(results(case)) == 100
    assert sum(method == "eth_getBlockReceipts" for method, _ in case.view.calls) == 1


async def test_few_receipts_of_a_block_are_asked_for_alone() -> None:
    case = Case()
    case.watch(type="evm-revert", address=TOKEN, walletAddress="")
    await case.poll()
    case.ledger.mine(*(call(str(number)) for number in range(5)), *(Tx(digest("other", n)) for n in range(100)))
    await case.poll()
    assert len(results(case)) == 5
    assert sum(method == "eth_getBlockReceipts" for method, _ in case.view.calls) == 0
