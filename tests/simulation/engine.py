"""One simulated installation: three workers, two masters, workflows, events, faults, and what must hold at the end."""

import asyncio
import contextlib
import gc
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from b3os.handover import Started, hand_over, started_by
from b3os.ids import receipt_key, run_id_for
from b3os.run.queued import RunTask
from b3os.store.admission import Limit, Proposal
from b3os.store.triggers import TriggerRow
from services.master.admit import Admitter
from services.master.keeper import Keeper
from services.master.sources.cron import Cron
from services.worker.app import Engine
from services.worker.commit import CommitGroup
from services.worker.runner import Runner
from tests.simulation.faults import HEALED_S, Fault
from tests.simulation.loop import WHO, Process, Stuck, VirtualLoop
from tests.simulation.store import ENDED, START_S, Violation
from tests.simulation.world import Actions, Client, Publisher, World, seams

ORG = "org_sim"
WORKERS, MASTERS = 3, 2
EVENTS = 20
#: Sources that the masters share, beside the clock.
STALLS = 5
#: After the faults, everything must have ended by then; the longest workflow waits 20 s.
END_S = HEALED_S + 60.0
#: After the faults, the masters must have shared the sources by then: a lease, two renewals and some looks.
SHARED_S = 10.0
#: I6, and how often it is looked at.
IDLE_S, LOOK_S = 10.0, 0.5
MAX_RUNS = 3


def node(kind: str, *children: str, **more: Any) -> dict[str, Any]:
    """A node of a definition."""
    return {"type": kind, "payload": more.pop("payload", {}), "children": list(children), **more}


def log(*children: str, **more: Any) -> dict[str, Any]:
    """A node that tells its trigger's number."""
    return node("log", *children, payload={"message": "{{root.result.n}}"}, **more)


#: Every five seconds; virtual second 0 is 14:13:20.
SLOTS = TriggerRow(
    org_id=ORG, workflow_id="wf_slots", version=1, node_id="root", type="cronjob",
    payload={"rrule": "DTSTART:20260921T141320Z\nRRULE:FREQ=SECONDLY;INTERVAL=5"}, active_since_ms=START_S * 1000,
)  # fmt: skip


class Stall:
    """A source beside the clock; it only moves its cursor, and each is polled by one master at a time."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    async def poll(self, epoch: int) -> float:
        """Move the cursor."""
        await self._client.accept([], cursor=(self.name, epoch, {}))
        return 0.3

    def failed(self, error: Exception) -> float:
        """Wait a little."""
        return 0.5

    async def forget(self) -> None:
        """Nothing is held."""


class Market:
    """A family of sources."""

    types: frozenset[str] = frozenset()

    def __init__(self, client: Client) -> None:
        self._stalls = [Stall(client, f"stall:{n}") for n in range(STALLS)]

    def wanted(self) -> list[Stall]:
        """All of them."""
        return self._stalls


class OneTrigger:
    """A table of one trigger."""

    def row(self, slot: int) -> TriggerRow | None:
        """Return the trigger of a slot."""
        return SLOTS if slot == 0 else None


ITEMS = {"array": [1, 2, 3]}
WORKFLOWS: dict[str, dict[str, Any]] = {
    "line": {"root": node("manual", "a"), "a": log("b"), "b": node("act", "c"), "c": log()},
    "fork": {"root": node("manual", "a", "b"), "a": node("act", "c"), "b": node("act", "c"), "c": log()},
    "loop": {"root": node("manual", "l"), "l": node("for-each", "z", payload=ITEMS, loopBody=["x"]),
             "x": node("act"), "z": log()},
    "sleep": {"root": node("manual", "d", "s"), "d": node("delay", "e", payload={"delayMs": 1500}), "e": log(),
              "s": node("act")},
    "wait": {"root": node("manual", "w"), "w": node("wait", "yes", "no", payload={"timeoutMs": 20_000}),
             "yes": node("act", branch="resumed"), "no": log(branch="timed_out")},
    "keep": {"root": node("manual", "k"), "k": node("storage", "m", payload={"key": "x", "value": "{{root.result.n}}"}),
             "m": node("act")},
    "limited": {"root": node("manual", "a"), "a": node("act")},
    "slots": {"root": node("cronjob", "a"), "a": node("act")},
}  # fmt: skip


class Simulation:
    """One seed."""

    def __init__(self, seed: int, faults: Sequence[Fault], *, is_fenced: bool = True) -> None:
        self.loop = VirtualLoop(seed)
        self.world = World(self.loop, seed, window=4 if seed % 3 == 0 else 500, is_fenced=is_fenced)
        self.faults = faults
        #: Runs that a worker holds at once; few, so that its hands are full now and then.
        self.concurrency = 2 if seed % 4 == 0 else 200
        self.workers: list[Process] = []
        self.masters: list[Process] = []
        self.stops: dict[str, asyncio.Event] = {}
        self.accepted: dict[str, str] = {}
        self.broken: list[BaseException] = []
        self._started = 0
        self._idle_since: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self) -> None:
        """Run to the end; raises Violation with what did not hold."""
        asyncio.set_event_loop(self.loop)
        self.loop.set_exception_handler(self._note_broken)
        logging.disable(logging.CRITICAL)
        try:
            with seams(self.world):
                self.loop.run_until_complete(self._play())
        except Stuck as error:
            raise Violation(str(error)) from error
        finally:
            self._abandon()
            logging.disable(logging.NOTSET)
        self._check()

    def _note_broken(self, loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Violation):
            self.broken.append(error)

    def _abandon(self) -> None:
        """Forget what is still going on, as if the machine were switched off."""
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            while not is_closed(task.get_coro()):
                continue
        self.loop._ready.clear()  # type: ignore[attr-defined]
        self.loop._scheduled.clear()  # type: ignore[attr-defined]
        self.loop.close()
        asyncio.set_event_loop(None)

    async def _play(self) -> None:
        for name, nodes in WORKFLOWS.items():
            self.world.store.definitions[ORG, f"wf_{name}", 1] = {"nodes": nodes}
        self.world.store.limits["wf_limited"] = Limit(0, MAX_RUNS, None, "active")
        for _ in range(WORKERS):
            self._start_worker()
        for _ in range(MASTERS):
            self._start_master()
        for act in (self._events(), self._callbacks(), self._watch(), *(self._suffer(fault) for fault in self.faults)):
            self._keep(self.loop.create_task(act))
        while self.loop.time() < END_S and not self._is_over():
            await asyncio.sleep(LOOK_S)
            if self.broken:
                return

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._kept)

    def _kept(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.broken += violations(error)

    def _is_over(self) -> bool:
        runs = self.world.store.runs.values()
        return self.loop.time() > HEALED_S + SHARED_S and all(run.status in ENDED for run in runs)

    def _process(self, kind: str) -> Process:
        self._started += 1
        return Process(f"{kind}{self._started}", self.world.rng.uniform(-1.5, 1.5))

    def _start_worker(self) -> None:
        process = self._process("worker")
        self.workers.append(process)
        self._in(process, self._work(process))

    def _start_master(self) -> None:
        process = self._process("master")
        self.masters.append(process)
        self._in(process, self._lead(process))

    def _in(self, process: Process, act: Any) -> None:
        token = WHO.set(process)
        self._keep(self.loop.create_task(act))
        WHO.reset(token)

    async def _work(self, process: Process) -> None:
        client, stop = Client(self.world), asyncio.Event()
        commits = CommitGroup(client.commit, Publisher(self.world))

        def epoch_of(run_id: str) -> int:
            return engine.hands.row(run_id).epoch

        runner = Runner(
            pool=client,
            commits=commits,
            actions=Actions(self.world, epoch_of),
            effects=None,
            master_key="",
            check_trigger=no_check,  # type: ignore[arg-type]
        )
        engine = Engine(
            store=client, queue=self.world.broker(process), runner=runner, commits=commits, owner=process.name,
            grace_s=1.0, stop=stop, concurrency=self.concurrency,
        )  # type: ignore[arg-type]  # fmt: skip
        self.stops[process.name] = stop
        await engine.serve()

    async def _lead(self, process: Process) -> None:
        client = Client(self.world)
        source = Cron(Admitter(client, self.world.broker(process)), client, OneTrigger())  # type: ignore[arg-type]
        source.put(0, SLOTS)
        await Keeper(client, process.name, [source, Market(client)]).serve()  # type: ignore[list-item,arg-type]

    async def _events(self) -> None:
        """Events that come twice, late and while servers are down; each accepted one must become one run."""
        rng = self.world.rng
        broker = self.world.broker(None)
        client = Client(self.world)
        for number in range(EVENTS):
            await asyncio.sleep(rng.uniform(0.05, HEALED_S / EVENTS))
            workflow = rng.choice(sorted(set(WORKFLOWS) - {"slots"}))
            key = receipt_key(f"wf_{workflow}", "root", f"event:{number}")
            at = int((START_S + self.loop.time()) * 1000)
            proposal = Proposal(ORG, f"wf_{workflow}", 1, "root", key, run_id_for(key), "webhook", {"n": number}, at)
            for _ in range(rng.choice((1, 1, 2))):
                await self._admit(client, broker, proposal)

    async def _admit(self, client: Client, broker: Any, proposal: Proposal) -> None:
        with contextlib.suppress(Exception):
            [outcome] = await client.accept([proposal])
            self.world.note(f"event {proposal.run_id} of {proposal.workflow_id}: {outcome.status}")
            if outcome.status == "accepted":
                self.accepted[outcome.run_id] = proposal.workflow_id
                await hand_over(broker, [started_by(proposal, outcome)])

    async def _callbacks(self) -> None:
        """Answers to waiting nodes, each sent two times at once; some come too late."""
        client, broker, rng = Client(self.world), self.world.broker(None), self.world.rng
        while True:
            await asyncio.sleep(rng.uniform(1.0, 6.0))
            waiting = [key for key, timer in self.world.store.timers.items() if timer.kind == "wait"]
            for run_id, node_id, path in waiting:
                both = (client.resume_wait(ORG, run_id, node_id, path, {"n": n}) for n in range(2))
                answers = await asyncio.gather(*both, return_exceptions=True)
                won = [answer for answer in answers if answer is not None and not isinstance(answer, BaseException)]
                if len(won) > 1:
                    raise Violation(f"two answers won the wait of {run_id}")
                if won and won[0].is_queued:
                    with contextlib.suppress(Exception):
                        await hand_over(broker, [Started(RunTask(ORG, run_id), "webhook", True)])

    async def _watch(self) -> None:
        """I6: once everything works again, no run is idle for long without lease, timer or wait."""
        store = self.world.store
        while True:
            await asyncio.sleep(LOOK_S)
            for run in list(store.runs.values()):
                held = run.owner is not None and store.workers.get(run.owner, -1.0) > self.loop.time()
                waits_for_room = run.queued_at is None and not store.room(run.org_id)
                if run.status != "running" or held or waits_for_room or self.loop.time() < HEALED_S:
                    self._idle_since.pop(run.id, None)
                elif self.loop.time() - self._idle_since.setdefault(run.id, self.loop.time()) > IDLE_S:
                    raise Violation(f"I6: {run.id} of {run.workflow_id} is idle for more than {IDLE_S} s")

    async def _suffer(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at)
        self.world.note(f"fault: {fault.kind} {fault.place}")
        what, _, whom = fault.kind.partition(" ")
        if whom in ("worker", "master"):
            await self._hurt(what, self.workers if whom == "worker" else self.masters, fault)
        elif fault.kind == "flush redis":
            self.world.queue.clear()
        elif fault.kind == "lossy network":
            self.world.loss = 0.15
            await asyncio.sleep(fault.lasts)
            self.world.loss = 0.0
        else:
            server = fault.kind.partition(" ")[0]
            self.world.down[server] = True
            await asyncio.sleep(fault.lasts)
            self.world.down[server] = False
        self.world.note(f"over: {fault.kind} {fault.place}")

    async def _hurt(self, what: str, among: list[Process], fault: Fault) -> None:
        alive = [process for process in among if not process.is_dead and not process.is_paused]
        if not alive:
            return
        process = alive[fault.place % len(alive)]
        if what == "pause":
            process.is_paused = True
            await asyncio.sleep(fault.lasts)
            self.loop.go_on(process)
            return
        if what == "stop" and process.name in self.stops:
            self.stops[process.name].set()
            await asyncio.sleep(3.0)
        process.is_dead = True
        process.kept.clear()
        await asyncio.sleep(fault.lasts)
        if among is self.workers:
            self._start_worker()
        else:
            self._start_master()

    def _check(self) -> None:
        if self.broken:
            raise self.broken[0]
        store = self.world.store
        for run_id, workflow in self.accepted.items():
            if run_id not in store.runs:
                raise Violation(f"I1: {run_id} of {workflow} was accepted and is gone")
        for run in store.runs.values():
            if run.status != "success":
                raise Violation(f"I5: {run.id} of {run.workflow_id} is {run.status} when all should have succeeded")
        by_receipt = [run_id for run_id in store.receipts.values() if run_id is not None]
        if sorted(by_receipt) != sorted(store.runs):
            raise Violation("I2: runs and receipts are not one to one")
        limited = sum(run.workflow_id == "wf_limited" for run in store.runs.values())
        if limited > MAX_RUNS:
            raise Violation(f"I8: {limited} runs of a workflow that may run {MAX_RUNS} times")
        self._check_slots()
        self._check_shares()

    def _check_shares(self) -> None:
        """Every source is in the hands of a master that lives, and each has its share of them."""
        now, leases = self.loop.time(), self.world.store.leases
        holders = Counter({process.name: 0 for process in self.masters if not process.is_dead})
        for name in ("cron", *(f"stall:{n}" for n in range(STALLS))):
            owner, _, until = leases.get(name, ("", 0, 0.0))
            if until <= now or owner not in holders:
                raise Violation(f"{name} is read by nobody at the end")
            holders[owner] += 1
        if max(holders.values()) - min(holders.values()) > 1:
            raise Violation(f"the masters do not share the sources: {dict(holders)}")

    def _check_slots(self) -> None:
        """I11: a slot fires once. Of the slots that an outage covers only the newest fires; the last one is no such."""
        slots = sorted(
            run.result["triggeredAt"] for run in self.world.store.runs.values() if run.workflow_id == "wf_slots"
        )
        if len(set(slots)) != len(slots):
            raise Violation("I11: a cron slot fired twice")
        if not slots or slots[-1] < "2026-09-21T14:13:40Z":
            raise Violation(f"I11: no cron slot fired any more: {slots}")


def no_check(*_: Any) -> None:
    """Trigger-backed waits are not simulated: their sources are."""


def is_closed(coroutine: Any) -> bool:
    """Close a coroutine where it stands; False when it awaits once more in a `finally`."""
    try:
        coroutine.close()
    except RuntimeError:
        return False
    except BaseException:  # whatever a task group makes of being closed
        return True
    return True


def violations(error: BaseException) -> list[BaseException]:
    """What is ours of an error, or of a group of them."""
    if isinstance(error, BaseExceptionGroup):
        return [found for inner in error.exceptions for found in violations(inner)]
    return [error if isinstance(error, Violation) else Violation(f"a process ended by itself: {error!r}")]


def play(seed: int, faults: Sequence[Fault], *, is_fenced: bool = True) -> tuple[Violation | None, list[str]]:
    """Run one seed under these faults; returns what was violated, and the end of the history."""
    simulation = Simulation(seed, faults, is_fenced=is_fenced)
    gc.disable()
    try:
        simulation.run()
    except Violation as error:
        return error, simulation.world.trace
    finally:
        gc.enable()
    return None, simulation.world.trace


def shrunk(seed: int, faults: list[Fault], *, is_fenced: bool = True) -> list[Fault]:
    """Drop faults for as long as the seed still fails without them."""
    for fault in list(faults):
        fewer = [other for other in faults if other is not fault]
        if play(seed, fewer, is_fenced=is_fenced)[0] is not None:
            faults = fewer
    return faults


class Report(msgspec.Struct, frozen=True):
    """A failing seed: what broke, the faults that it takes, and the end of the history."""

    seed: int
    what: str
    faults: list[Fault]
    trace: list[str]

    def __str__(self) -> str:
        faults = "\n".join(f"    {fault}" for fault in self.faults) or "    none"
        trace = "\n".join(f"    {line}" for line in self.trace[-40:])
        return f"seed {self.seed}: {self.what}\n  faults\n{faults}\n  history\n{trace}"


def report(seed: int, faults: list[Fault], *, is_fenced: bool = True) -> Report | None:
    """Run a seed; a failing one is shortened."""
    found, trace = play(seed, faults, is_fenced=is_fenced)
    if found is None:
        return None
    fewer = shrunk(seed, faults, is_fenced=is_fenced)
    again, trace = play(seed, fewer, is_fenced=is_fenced)
    return Report(seed, str(again or found), fewer, trace)
