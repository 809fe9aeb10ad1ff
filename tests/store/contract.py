"""What the engine's store must do: PostgreSQL and the simulation's model pass the same tests.

A subclass gives the fixture `house`: `store` with the methods of EngineStore and `accept`, `resume_wait` and
`load_records` beside them, `window` runs of room for each organization, and `later(seconds)`, which lets time pass.
"""

from typing import Any

import msgspec

from b3os.ids import receipt_key, run_id_for
from b3os.store.admission import Proposal
from b3os.store.runs import Claim, RunCommit, RunRow, TimerRow

WINDOW = 4


class Record(msgspec.Struct, frozen=True):
    """A node's record, as the scheduler makes them."""

    seq: int
    node_id: str
    status: str = "success"
    result: Any = None
    path: str = ""
    type: str = "log"
    input: Any = None
    branch: str | None = None
    started_ms: int = 1
    finished_ms: int | None = 2
    attempt: int = 1


def event(number: int, org: str = "org_a") -> Proposal:
    workflow = f"wf_{org}"
    key = receipt_key(workflow, "root", str(number))
    return Proposal(org, workflow, 1, "root", key, run_id_for(key), "webhook", {"n": number}, 1_000 + number)


def part(run: RunRow, *records: Record, **more: Any) -> RunCommit:
    return RunCommit(org_id=run.org_id, run_id=run.id, epoch=run.epoch, records=records, **more)


async def taken(house: Any, number: int = 1, owner: str = "w1") -> RunRow:
    proposal = event(number)
    await house.store.accept([proposal])
    [run] = await house.store.claim([proposal.run_id], owner, 6.0)
    return run


class StoreContract:
    """One suite, two implementations."""

    async def test_an_event_is_one_run(self, house: Any) -> None:
        [first] = await house.store.accept([event(1)])
        [again] = await house.store.accept([event(1)])
        assert (first.status, first.is_queued, again.status, again.run_id) == (
            "accepted", True, "duplicate", first.run_id,
        )  # fmt: skip

    async def test_a_window_full_waits_and_is_handed_over_in_turn(self, house: Any) -> None:
        noisy = [event(n, "org_a") for n in range(20)]
        queued = [(await house.store.accept([one]))[0].is_queued for one in noisy]
        assert queued == [True] * WINDOW + [False] * 16
        assert [o.is_queued for o in await house.store.accept([event(1, "org_b")])] == [True]
        assert (await house.store.look()).is_waiting
        page = await house.store.feed("", orgs=10, limit=100)
        assert (page.ready, page.is_waiting) == ([], True)
        runs = await house.store.claim([one.run_id for one in noisy[:2]], "w1", 6.0)
        await house.store.commit([part(run, status="success", release=True) for run in runs])
        page = await house.store.feed("", orgs=10, limit=100)
        assert [ready.id for ready in page.ready] == [one.run_id for one in noisy[4:6]]

    async def test_a_held_run_is_not_taken_again(self, house: Any) -> None:
        run = await taken(house)
        assert (run.epoch, run.is_fresh, run.trigger_result) == (1, True, {"n": 1})
        assert await house.store.claim([run.id], "w2", 6.0) == []
        await house.later(4)
        assert await house.store.renew("w1", 6.0) == {(run.org_id, run.id)}
        await house.later(4)
        assert await house.store.claim([run.id], "w2", 6.0) == []
        await house.later(4)
        [stolen] = await house.store.claim([run.id], "w2", 6.0)
        assert (stolen.epoch, stolen.is_fresh, stolen.trigger_result) == (2, False, {"n": 1})
        assert await house.store.renew("w1", 6.0) == set()

    async def test_the_first_commit_claims_a_run_that_nobody_held(self, house: Any) -> None:
        proposal = event(1)
        await house.store.accept([proposal])
        where = {"org_id": proposal.org_id, "run_id": proposal.run_id, "epoch": 1}
        first = RunCommit(**where, records=[Record(1, "a", result=1)], claim=Claim("w1", 6.0))
        other = RunCommit(**where, records=[Record(1, "a", result=2)], claim=Claim("w2", 6.0))
        assert await house.store.commit([first]) == [0]
        assert await house.store.commit([other]) == [None]
        assert await house.store.commit([first]) == [None], "a task that is given twice is begun twice, and stored once"
        assert await house.store.renew("w1", 6.0) == {(proposal.org_id, proposal.run_id)}
        assert await house.store.claim([proposal.run_id], "w2", 6.0) == []
        assert await house.store.commit([RunCommit(**where, records=[Record(2, "b")])]) == [0]
        assert [row["result"] for row in await house.store.load_records(proposal.org_id, proposal.run_id)] == [1, None]
        await house.later(7)
        [stolen] = await house.store.claim([proposal.run_id], "w2", 6.0)
        assert (stolen.epoch, stolen.is_fresh) == (2, False)
        assert await house.store.commit([RunCommit(**where, status="success", release=True)]) == [None]

    async def test_a_claimed_run_is_no_other_commits_first(self, house: Any) -> None:
        run = await taken(house)
        late = RunCommit(
            org_id=run.org_id, run_id=run.id, epoch=1, claim=Claim("w2", 6.0), status="success", release=True
        )
        assert await house.store.commit([late]) == [None]
        assert await house.store.commit([part(run, status="success", release=True)]) == [0]

    async def test_a_first_commit_may_end_its_run(self, house: Any) -> None:
        proposal = event(1)
        await house.store.accept([proposal])
        whole = RunCommit(
            org_id=proposal.org_id, run_id=proposal.run_id, epoch=1, claim=Claim("w1", 6.0), status="success",
            records=[Record(1, "a")], release=True,
        )  # fmt: skip
        assert await house.store.commit([whole]) == [0]
        assert await house.store.commit([whole]) == [None]
        assert await house.store.claim([proposal.run_id], "w2", 6.0) == []

    async def test_a_stale_epoch_writes_nothing(self, house: Any) -> None:
        run = await taken(house)
        await house.later(7)
        [stolen] = await house.store.claim([run.id], "w2", 6.0)
        late = part(run, Record(1, "late"), timers=[TimerRow("late", "", "delay", 0)], status="failure", release=True)
        assert await house.store.commit([late, part(stolen, Record(1, "a", result=1))]) == [None, 0]
        assert await house.store.commit([late]) == [None]
        assert [row["node_id"] for row in await house.store.load_records(run.org_id, run.id)] == ["a"]
        assert not (await house.store.look()).is_due
        assert await house.store.renew("w2", 6.0) == {(run.org_id, run.id)}

    async def test_the_first_result_stays_and_an_ended_run_takes_no_more(self, house: Any) -> None:
        run = await taken(house)
        assert await house.store.commit([part(run, Record(1, "a", result=1))]) == [0]
        assert await house.store.commit([part(run, Record(2, "b"), status="success", release=True)]) == [0]
        assert await house.store.commit([part(run, Record(3, "c"))]) == [None]
        assert [row["node_id"] for row in await house.store.load_records(run.org_id, run.id)] == ["a", "b"]

    async def test_a_dead_owners_runs_are_freed(self, house: Any) -> None:
        run = await taken(house)
        assert not (await house.store.look()).is_dead
        await house.later(7)
        assert (await house.store.look()).is_dead
        assert [ready.id for ready in await house.store.take_from_the_dead(10)] == [run.id]
        assert not (await house.store.look()).is_dead

    async def test_a_stopping_owner_frees_its_runs_at_once(self, house: Any) -> None:
        one, two = await taken(house, 1), await taken(house, 2)
        assert [ready.id for ready in await house.store.let_go("w1", [two.id])] == [two.id]
        assert [ready.id for ready in await house.store.give_back("w1")] == [one.id]
        [again] = await house.store.claim([one.id], "w2", 6.0)
        assert again.epoch == 2

    async def test_a_run_the_queue_lost_is_found_and_then_left_for_a_while(self, house: Any) -> None:
        await house.store.accept([event(1), event(2, "org_b")])
        assert not (await house.store.look()).is_lost
        await house.later(5)
        assert (await house.store.look()).is_lost
        first = await house.store.lost("", orgs=1, each=5)
        rest = await house.store.lost(first.last, orgs=1, each=5)
        assert [ready.org_id for ready in [*first.ready, *rest.ready]] == ["org_a", "org_b"]
        assert not (await house.store.look()).is_lost

    async def test_a_timer_fires_once_and_a_late_commit_moves_up(self, house: Any) -> None:
        run = await taken(house)
        timers = [TimerRow("d", "", "delay", 2000)]
        await house.store.commit([part(run, Record(1, "d", "waiting", type="delay"), timers=timers)])
        assert not (await house.store.look()).is_due
        await house.later(3)
        assert await house.store.fire_due_timers(10) == ([], 1)  # its owner holds the run, and hears of it there
        assert await house.store.fire_due_timers(10) == ([], 0)
        assert await house.store.commit([part(run, Record(2, "x"), status="waiting", release=True)]) == [1]
        rows = await house.store.load_records(run.org_id, run.id)
        assert [(row["seq"], row["node_id"]) for row in rows] == [(1, "d"), (2, "d"), (3, "x")]
        [again] = await house.store.claim([run.id], "w2", 6.0)
        assert again.epoch == 2

    async def test_one_of_two_answers_wins_and_queues_the_run(self, house: Any) -> None:
        run = await taken(house)
        waiting = Record(1, "w", "waiting", type="wait")
        timers = [TimerRow("w", "", "wait", 60_000)]
        await house.store.commit([part(run, waiting, timers=timers, status="waiting", release=True)])
        assert not (await house.store.look()).is_lost
        won = await house.store.resume_wait(run.org_id, run.id, "w", "", {"n": 1})
        assert won is not None
        assert won.is_queued
        assert await house.store.resume_wait(run.org_id, run.id, "w", "", {"n": 2}) is None
        last = (await house.store.load_records(run.org_id, run.id))[-1]
        assert (last["branch"], last["result"]["data"]) == ("resumed", {"n": 1})

    async def test_one_leads_until_it_lets_go_or_its_lease_ends(self, house: Any) -> None:
        assert await house.store.lead("w1", 6.0)
        assert not await house.store.lead("w2", 6.0)
        await house.store.abdicate("w1")
        assert await house.store.lead("w2", 6.0)
        await house.later(7)
        assert await house.store.lead("w1", 6.0)
