"""Carries out what the scheduler asks for. Every await of a run is here, and no rule."""

import asyncio
import logging
import time
from typing import Any

import msgspec
from asyncpg import Pool

from b3os.auth.connectors import open_credential
from b3os.errors import ActionFailed, B3osError, InvalidDefinition, NotFound, StaleEpoch
from b3os.run.builtins.state import StateWrite
from b3os.run.commands import CallAction, Command, FinishRun, Record, StartDeadline, StartTimer, WriteState
from b3os.run.deadlines import call_too_long
from b3os.run.events import Answered, NodeDone, Recorded, Resume, RunInput, Start, Tick
from b3os.run.kept import kept_error
from b3os.run.records import NodeError, NodeRecord
from b3os.run.scheduler import Edited, RunScheduler, failure_of
from b3os.run.waits import CheckTrigger
from b3os.store import runs, state
from b3os.store.waits import WaitRow
from b3os.stream.events import RunEvent
from b3os.stream.tell import node_events, passing, run_finished, run_started
from b3os.workflow.compiled import Compiled
from b3os.workflow.definition import normalise
from b3os.workflow.variables import variables_of
from services.worker.commit import CommitGroup
from services.worker.dispatch import ActionsClient
from services.worker.effects.call import EffectCall, EffectHouse
from services.worker.effects.registry import EFFECTS
from services.worker.effects.trigger_workflow import depth_of

log = logging.getLogger("b3os.run")

#: Compiled workflow versions kept, by (org, workflow, version).
CACHE_LIMIT = 2000
#: How often a run that is in hand and has waiting nodes looks whether the store has completed one.
ANSWERS_S = 1.0
DAY_S = 86_400.0


class Broken(Exception):
    """The scheduler itself failed: the same records would make it fail again, with any owner."""


def now_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


class Runner:
    """Goes on with runs whose lease this worker holds, or takes with the first commit."""

    def __init__(
        self,
        *,
        pool: Pool,
        commits: CommitGroup,
        actions: ActionsClient,
        effects: EffectHouse,
        master_key: str,
        check_trigger: CheckTrigger,
    ) -> None:
        self._pool = pool
        self._commits = commits
        self._actions = actions
        self._effects = effects
        self._check_trigger = check_trigger
        self._master_key = master_key
        self._compiled: dict[tuple[str, str, int], Compiled] = {}
        #: Variables that a run begins with and that its first commit will keep.
        self._snapshots: dict[tuple[str, str], dict[str, Any]] = {}
        #: Claims that a run's first commit will make.
        self._claims: dict[tuple[str, str], runs.Claim] = {}

    async def go_on(self, row: runs.RunRow) -> None:
        """Drive one run until it ends, waits, or another owner takes it."""
        if row.claim is not None:
            self._claims[row.org_id, row.id] = row.claim
        try:
            scheduler, commands, events = await self._restore(row)
            await self._drive(row, scheduler, commands, events)
        except StaleEpoch:
            log.info("lease lost")
        except InvalidDefinition as error:
            await self._refuse(row, failure_of(error))
        except NotFound as error:
            await self._refuse(row, NodeError(code=str(error.code), message=error.message, category="config"))
        except Broken as error:
            log.exception("run cannot go on")
            await self._refuse(row, NodeError(code="500000", message=f"this is our fault and it is logged: {error}"))
        finally:
            self._snapshots.pop((row.org_id, row.id), None)
            self._claims.pop((row.org_id, row.id), None)

    async def _refuse(self, row: runs.RunRow, error: NodeError) -> None:
        """End a run that no owner can go on with; its trigger node says why."""
        at = now_ms()
        record = NodeRecord(1, row.trigger_node, "", "", "failure", None, kept_error(error), None, at, at)
        item = runs.RunCommit(
            org_id=row.org_id, run_id=row.id, epoch=row.epoch, records=[record], status="failure", release=True,
            claim=self._claims.pop((row.org_id, row.id), None),
        )  # fmt: skip
        await self._commits.add(item, [*node_events(row, [record]), run_finished(row, "failure", at)])

    async def _restore(self, row: runs.RunRow) -> tuple[RunScheduler, list[Command], list[RunEvent]]:
        compiled = await self._version(row)
        stored, storage, variables = await asyncio.gather(
            no_records() if row.is_fresh else runs.load_records(self._pool, row.org_id, row.id),
            self._storage(row, compiled),
            self._variables(row, compiled),
        )
        scheduler = RunScheduler(
            compiled,
            run_id=row.id,
            org_id=row.org_id,
            workflow_id=row.workflow_id,
            trigger_node=row.trigger_node,
            trigger_result=row.trigger_result,
            started_ms=int(row.started_at.timestamp() * 1000),
            storage=storage,
            edited=None if row.edited is None else msgspec.convert(row.edited, Edited),
            variables=variables,
            check_trigger=self._check_trigger,
        )
        records = [msgspec.convert(record, NodeRecord) for record in stored]
        for record in records:
            scheduler.apply(Recorded(record))
        if records:
            # What a timer, a callback or a dead owner stored is told again: events that are there already stay single.
            told = [msgspec.structs.replace(event, is_repeat=True) for event in node_events(row, records)]
            if has_resumed(records):
                told.append(passing(row, "run_resumed", after=records[-1].seq + 1, sub=1, now_ms=now_ms()))
            return scheduler, applied(scheduler, Resume(now_ms())), told
        return scheduler, applied(scheduler, Start(now_ms())), [run_started(row, now_ms())]

    async def _storage(self, row: runs.RunRow, compiled: Compiled) -> dict[str, Any]:
        """Return the workflow's storage, empty for a version that never looks at it."""
        return await state.load_storage(self._pool, row.org_id, row.workflow_id) if compiled.uses_storage else {}

    async def _variables(self, row: runs.RunRow, compiled: Compiled) -> dict[str, Any]:
        """Return the persistent variables as they were when the run began, whoever wrote them since."""
        if row.variables is not None:
            return row.variables
        if all(one.lifetime != "persist" for one in variables_of(compiled.definition.variable_defs).values()):
            return {}
        found = await state.load_variables(self._pool, row.org_id, row.workflow_id)
        self._snapshots[row.org_id, row.id] = found
        return found

    async def _version(self, row: runs.RunRow) -> Compiled:
        if row.definition is not None:
            return Compiled(normalise(row.definition))
        key = (row.org_id, row.workflow_id, row.workflow_version)
        found = self._compiled.get(key)
        if found is None:
            raw = await runs.load_definition(self._pool, *key)
            if len(self._compiled) >= CACHE_LIMIT:
                self._compiled.pop(next(iter(self._compiled)))
            found = self._compiled[key] = Compiled(normalise(raw))
        return found

    async def _drive(
        self, row: runs.RunRow, scheduler: RunScheduler, commands: list[Command], events: list[RunEvent]
    ) -> None:
        calls: set[asyncio.Task[NodeDone]] = set()
        try:
            while True:
                wanted = [c for c in commands if isinstance(c, CallAction)]
                is_idle = not wanted and not calls
                item, more = self._gather(row, commands, events, release=is_idle)
                # The effect barrier: nothing leaves the house before everything behind it is stored.
                told = events + more
                told += passed(row, commands, after=last_seq(told), now_ms=now_ms())
                await self._commits.add(item, told)
                if is_idle:
                    return
                events = []
                calls.update(asyncio.create_task(self._call(row, command)) for command in wanted)
                finished, calls = await asyncio.wait(
                    calls, timeout=self._patience_s(scheduler), return_when=asyncio.FIRST_COMPLETED
                )
                happened: list[RunInput] = [task.result() for task in finished]
                happened += await self._answers(row, scheduler)
                commands = [c for event in [*happened, Tick(now_ms())] for c in applied(scheduler, event)]
                if any(isinstance(c, FinishRun) for c in commands):
                    await cancel_all(calls)
                    calls = set()
        finally:
            await cancel_all(calls)

    def _patience_s(self, scheduler: RunScheduler) -> float:
        """How long calls may be awaited before the scheduler has to be asked again."""
        pause_s = max(0.0, (scheduler.wake_ms - now_ms()) / 1000)
        return min(pause_s, ANSWERS_S if scheduler.waiting else DAY_S)

    async def _answers(self, row: runs.RunRow, scheduler: RunScheduler) -> list[RunInput]:
        """Ask what the store completed meanwhile: one branch's callback does not wait for another's call."""
        waiting = scheduler.waiting
        if not waiting:
            return []
        found = await runs.load_answers(self._pool, row.org_id, row.id, waiting)
        return [Answered(msgspec.convert(record, NodeRecord), now_ms()) for record in found]

    def _gather(
        self, row: runs.RunRow, commands: list[Command], before: list[RunEvent], *, release: bool
    ) -> tuple[runs.RunCommit, list[RunEvent]]:
        records: list[NodeRecord] = []
        timers: list[runs.TimerRow] = []
        writes: list[StateWrite] = []
        waits: list[WaitRow] = []
        status: str | None = None
        for command in commands:
            match command:
                case Record(record):
                    records.append(record)
                case StartTimer(node_id, path, kind, wake_in_ms, record, trigger):
                    records.append(record)
                    if trigger is not None:
                        waits.append(WaitRow(node_id, path, trigger.type, trigger.payload))
                    timers.append(runs.TimerRow(node_id=node_id, path=path, kind=kind, wake_in_ms=wake_in_ms))
                case StartDeadline(wake_in_ms):
                    timers.append(runs.TimerRow(node_id="", path="", kind="deadline", wake_in_ms=wake_in_ms))
                case WriteState(write, record):
                    records.append(record)
                    writes.append(write)
                case FinishRun(status_, _):
                    status = status_
        for record in records:
            if record.status == "failure":
                log.info("node failed", extra={"node": record.node_id, "type": record.type, **record.result})
        events = node_events(row, records)
        if release and status is None:
            status = "waiting"
            events.append(passing(row, "run_waiting", after=last_seq([*before, *events]), sub=1, now_ms=now_ms()))
        elif status is not None:
            events.append(run_finished(row, status, now_ms()))
        item = runs.RunCommit(
            org_id=row.org_id,
            run_id=row.id,
            epoch=row.epoch,
            records=records,
            timers=timers,
            state=writes,
            waits=waits,
            variables=self._snapshots.pop((row.org_id, row.id), None),
            status=status,
            release=release or status is not None,
            claim=self._claims.pop((row.org_id, row.id), None),
        )
        return item, events

    async def _call(self, row: runs.RunRow, command: CallAction) -> NodeDone:
        try:
            async with asyncio.timeout(command.timeout_ms / 1000):
                data = await self._carry_out(row, command)
        except TimeoutError:
            return NodeDone(command.node_id, command.path, now_ms(), error=call_too_long(command.timeout_ms))
        except ActionFailed as error:
            return NodeDone(command.node_id, command.path, now_ms(), error=failure(error))
        except B3osError as error:
            return NodeDone(
                command.node_id,
                command.path,
                now_ms(),
                error=NodeError(code=str(error.code), message=error.message, category="config"),
            )
        return NodeDone(command.node_id, command.path, now_ms(), result=data)

    async def _carry_out(self, row: runs.RunRow, command: CallAction) -> Any:
        effect = EFFECTS.get(command.type)
        if effect is not None:
            return await effect(self._effects, effect_call(row, command))
        credential = await self._credential(row, command)
        return await self._actions.execute(
            command, org_id=row.org_id, workflow_id=row.workflow_id, run_id=row.id, credential=credential
        )

    async def _credential(self, row: runs.RunRow, command: CallAction) -> dict[str, Any] | None:
        reference = command.connector
        if reference is None or not reference.id:
            return None
        return await open_credential(self._pool, row.org_id, reference.id, self._master_key)


async def no_records() -> list[dict[str, Any]]:
    """Return what a run that nobody held before has stored."""
    return []


def effect_call(row: runs.RunRow, command: CallAction) -> EffectCall:
    """Make what an effect is given of a run and its command."""
    return EffectCall(
        org_id=row.org_id,
        workflow_id=row.workflow_id,
        run_id=row.id,
        node_id=command.node_id,
        input=command.input,
        idempotency_key=command.idempotency_key,
        depth=depth_of(row.trigger_source, row.trigger_result),
    )


def has_resumed(records: list[NodeRecord]) -> bool:
    """Say whether the newest record completes a node that waited: the run was asleep until then."""
    last = records[-1]
    earlier = records[:-1]
    return any((one.node_id, one.path, one.status) == (last.node_id, last.path, "waiting") for one in earlier)


def last_seq(events: list[RunEvent]) -> int:
    """Return the number of the newest stored event among these."""
    return max((event.seq for event in events), default=1)


def applied(scheduler: RunScheduler, event: RunInput) -> list[Command]:
    """Apply an event; whatever is raised is a fault of the engine, and not one of the moment."""
    try:
        return scheduler.apply(event)
    except Exception as error:
        raise Broken(f"{type(error).__name__}: {error}") from error


def passed(row: runs.RunRow, commands: list[Command], *, after: int, now_ms: int) -> list[RunEvent]:
    """Tell which actions are called now and which are tried again later; 1 is the place of what the run itself does."""
    found: list[tuple[str, str, CallAction | NodeRecord]] = []
    for command in commands:
        if isinstance(command, CallAction):
            found.append(("node_started", "running", command))
        elif isinstance(command, StartTimer) and command.kind == "retry":
            found.append(("node_scheduled", "scheduled", command.record))
    return [
        msgspec.structs.replace(
            passing(row, name, after=after, sub=2 + number, now_ms=now_ms),
            status=status,
            node_id=about.node_id,
            path=about.path,
            node_type=about.type,
        )
        for number, (name, status, about) in enumerate(found)
    ]


def failure(error: ActionFailed) -> NodeError:
    """Turn an action's failure into what its node stores."""
    return NodeError(
        code=error.error_code,
        message=error.message,
        category=error.category,
        remediation=error.remediation,
        retryable=error.retryable,
    )


async def cancel_all(calls: "set[asyncio.Task[NodeDone]]") -> None:
    """Cancel calls whose answers nobody will read."""
    for task in calls:
        task.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
