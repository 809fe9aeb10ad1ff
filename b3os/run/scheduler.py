"""Every rule of execution. Events in, commands out; no clock, no I/O, no randomness. The table: transitions.py.

A run is restored by giving the stored records (`Recorded`) and then `Resume`: the scheduler walks the graph again and
takes a stored result where there is one, so that nothing with a recorded result runs twice.

A failure that nothing handles ends the run, after the calls in flight have answered: what they did is stored, and a
retry does not do it again. Nothing new begins meanwhile.

Sequence numbers: a record has the next one. The completion of a waiting node is written by the database, which gives
it the next one there and moves what the owner stores afterwards.
"""

from collections import deque
from typing import Any

import msgspec

from b3os.errors import B3osError, BadInput, BudgetExceeded
from b3os.run.builtins.pure import PURE
from b3os.run.builtins.state import STATE, RunState
from b3os.run.commands import CallAction, Command, FinishRun, Record, StartDeadline, StartTimer, WriteState
from b3os.run.deadlines import CALL_MS, RUN_MS, run_too_long
from b3os.run.events import Answered, Cancel, NodeDone, Recorded, Resume, RunInput, Start, Tick
from b3os.run.kept import kept_error, kept_input
from b3os.run.loops import Loop, items_begun, items_of
from b3os.run.records import NodeError, NodeRecord, label_of
from b3os.run.retries import backoff_ms, due_ms, scheduled_result, wants_retry
from b3os.run.scope import Scope
from b3os.run.sizes import bounded
from b3os.run.times import rfc3339
from b3os.run.transitions import NODE_FINAL
from b3os.run.waits import CheckTrigger, delay_ms, wait_timeout_ms, wait_trigger
from b3os.workflow.compiled import Compiled

#: Calls of one run in flight at once; the others wait for their turn, in order.
PARALLEL_CALLS = 10

#: Types that the scheduler carries out itself; every other one is a call.
INLINE = PURE.keys() | STATE.keys() | {"log", "delay", "wait", "for-each"}

Key = tuple[str, str]


class Edited(msgspec.Struct, frozen=True):
    """The input that a retry gives to one node instead of its rendered payload."""

    node_id: str
    path: str
    input: dict[str, Any]


class Attempt(msgspec.Struct, frozen=True):
    """A call in flight."""

    number: int
    input: Any
    started_ms: int
    attempt: int


class RunScheduler:
    """The state of one run between events."""

    def __init__(
        self,
        compiled: Compiled,
        *,
        run_id: str,
        org_id: str,
        workflow_id: str,
        trigger_node: str,
        trigger_result: dict[str, Any],
        started_ms: int = 0,
        storage: dict[str, Any] | None = None,
        variables: dict[str, Any] | None = None,
        edited: Edited | None = None,
        check_trigger: CheckTrigger = lambda kind, payload: None,
    ) -> None:
        self._check_trigger = check_trigger
        self._compiled = compiled
        self._graph = compiled.graph
        self._cursor = compiled.cursor(trigger_node)
        self._run_id = run_id
        self._state = RunState(storage or {}, variables or {}, compiled.definition.variable_defs)
        inputs = trigger_result.get("inputs", {})
        payload = compiled.definition.nodes[trigger_node].payload
        trigger = {"result": trigger_result, "payload": payload, "input": inputs}
        self._scope = Scope(
            {
                trigger_node: trigger,
                "root": trigger,
                "trigger": trigger,
                "$trigger": trigger_result,
                "$props": compiled.definition.props,
                "$inputs": inputs,
                "$vars": self._state.variables,
                "$storage": self._state.storage,
                "$workflow": {"id": workflow_id},
                "$workflowId": workflow_id,
            }
        )
        self._edited = edited
        self._lasts_ms = compiled.definition.timeout_ms or RUN_MS
        self._deadline_ms = started_ms + self._lasts_ms
        #: Loops in progress by their node; -1 is the run itself.
        self._loops: dict[int, Loop | None] = {-1: None}
        self._stored: dict[Key, NodeRecord] = {}
        #: Nodes that wait for the store to complete them.
        self._waiting: dict[Key, int] = {}
        #: Nodes that wait for their next attempt.
        self._scheduled: dict[Key, NodeRecord] = {}
        self._calls: dict[Key, Attempt] = {}
        #: Nodes that are ready to call and have no slot.
        self._queued: deque[int] = deque()
        self._is_failing = False
        self._seq = 0
        self.status: str | None = None

    @property
    def wake_ms(self) -> int:
        """When a Tick is due at the latest."""
        return min([self._deadline_ms, *(due_ms(record) for record in self._scheduled.values())])

    @property
    def waiting(self) -> list[Key]:
        """The nodes that the store will complete."""
        return list(self._waiting)

    def apply(self, event: RunInput) -> list[Command]:
        """Take one event and return what to do, in order; nothing more comes after FinishRun."""
        if self.status is not None:
            return []
        out: list[Command] = []
        match event:
            case Recorded(record):
                self._recorded(record)
                return out
            case Start(now_ms) | Resume(now_ms):
                self._go_on(self._cursor.start(), now_ms, out)
            case NodeDone(_, _, now_ms):
                self._called(event, out)
            case Answered(record, now_ms):
                self._answered(record, now_ms, out)
            case Tick(now_ms):
                self._go_on([], now_ms, out)
            case Cancel(now_ms):
                self._finish("cancelled", now_ms, out)
                return out
        self._look_at_the_clock(now_ms, out)
        return out

    def _recorded(self, record: NodeRecord) -> None:
        key = (record.node_id, record.path)
        self._seq = max(self._seq, record.seq)
        kept = self._stored.get(key)
        if kept is None or kept.status not in NODE_FINAL:
            self._stored[key] = record

    def _called(self, event: NodeDone, out: list[Command]) -> None:
        call = self._calls.pop((event.node_id, event.path), None)
        if call is None:
            return
        retries = 0 if self._is_failing else self._compiled.nodes[call.number].max_retries
        if event.error is not None and wants_retry(event.error, call.attempt, retries):
            self._schedule(call, event.error, event.now_ms, out)
            ready: list[int] = []
        else:
            ready = self._complete(
                call.number, event.result, event.error, call.input, call.started_ms, event.now_ms, out, call.attempt
            )
        self._go_on(ready, event.now_ms, out)

    def _answered(self, record: NodeRecord, now_ms: int, out: list[Command]) -> None:
        number = self._waiting.pop((record.node_id, record.path), None)
        if number is not None and not self._is_failing:
            self._go_on(self._replay(number, record, now_ms, out), now_ms, out)

    def _go_on(self, ready: list[int], now_ms: int, out: list[Command]) -> None:
        """Run everything that is ready until only calls and waits are left; iterative, however deep the graph."""
        todo = deque([*ready, *self._due(now_ms)])
        while not self._is_failing:
            if not todo:
                if not self._queued or len(self._calls) >= PARALLEL_CALLS:
                    break
                todo.append(self._queued.popleft())
            todo.extendleft(reversed(self._begin_node(todo.popleft(), now_ms, out)))
        if self._is_failing:
            self._queued.clear()
            if not self._calls:
                self._finish("failure", now_ms, out)
        elif self._cursor.is_done:
            self._finish("success", now_ms, out)

    def _due(self, now_ms: int) -> list[int]:
        """Take the nodes whose back-off is over."""
        due = [key for key, record in self._scheduled.items() if due_ms(record) <= now_ms]
        for key in due:
            del self._scheduled[key]
        return [self._graph.number(node_id) for node_id, _ in due]

    def _begin_node(self, number: int, now_ms: int, out: list[Command]) -> list[int]:
        node = self._compiled.nodes[number]
        stored = self._stored.get(self._key(number))
        if stored is not None and stored.status == "scheduled" and due_ms(stored) > now_ms:
            return self._go_on_waiting(number, stored, now_ms, out)
        is_told = stored is not None and stored.status not in ("scheduled", "running")
        if stored is not None and is_told and (node.type != "for-each" or stored.status == "failure"):
            return self._replay(number, stored, now_ms, out)
        if now_ms >= self._deadline_ms:
            return self._fail(number, run_too_long(self._lasts_ms), now_ms, out)
        if node.type not in INLINE and len(self._calls) >= PARALLEL_CALLS:
            self._queued.append(number)
            return []
        input_: Any = None
        try:
            if node.type == "for-each":
                return self._enter_loop(number, stored, now_ms, out)
            input_ = self._input(number)
            return self._execute(number, input_, now_ms, out)
        except B3osError as error:
            if self._cursor.is_spent:
                return self._fail(number, failure_of(error), now_ms, out)
            return self._complete(number, None, failure_of(error), input_, now_ms, now_ms, out)

    def _input(self, number: int) -> Any:
        """Render a node's payload, or take the input that a retry gave it."""
        if self._edited is not None and (self._edited.node_id, self._edited.path) == self._key(number):
            return self._edited.input
        return self._compiled.render(number, self._scope.seen_from(self._around(number)))

    def _execute(self, number: int, input_: dict[str, Any], now_ms: int, out: list[Command]) -> list[int]:
        node = self._compiled.nodes[number]
        if node.type in PURE:
            return self._complete(number, PURE[node.type](input_), None, input_, now_ms, now_ms, out)
        if node.type == "log":
            result = {"message": input_.get("message"), "loggedAt": rfc3339(now_ms)}
            return self._complete(number, result, None, input_, now_ms, now_ms, out)
        if node.type in STATE:
            return self._keep(number, input_, now_ms, out)
        if node.type in ("delay", "wait"):
            return self._wait(number, input_, now_ms, out)
        return self._call(number, input_, now_ms, out)

    def _call(self, number: int, input_: Any, now_ms: int, out: list[Command]) -> list[int]:
        node_id, path = key = self._key(number)
        node, stored = self._compiled.nodes[number], self._stored.get(key)
        started_ms, attempt = (stored.started_ms, stored.attempt) if stored else (now_ms, 1)
        call = self._calls[key] = Attempt(number, input_, started_ms, attempt)
        out.append(
            CallAction(
                node_id, path, node.type, call.input, node.connector, f"{self._run_id}:{path}:{node_id}",
                call.attempt, node.timeout_ms or CALL_MS,
            )
        )  # fmt: skip
        return []

    def _wait(self, number: int, input_: dict[str, Any], now_ms: int, out: list[Command]) -> list[int]:
        node_id, path = key = self._key(number)
        kind = self._compiled.nodes[number].type
        wake = delay_ms(input_) if kind == "delay" else wait_timeout_ms(input_)
        trigger = wait_trigger(input_, self._check_trigger) if kind == "wait" else None
        result = {"status": "waiting"} if kind == "delay" else {"status": "waiting", "timeoutMs": wake}
        if kind == "wait" and not self._graph.has_label(number, "timed_out"):
            kind = "wait_fail"
        record = self._record(number, "waiting", input_, result, None, now_ms, None)
        self._stored[key] = record
        self._waiting[key] = number
        out.append(StartTimer(node_id, path, kind, wake, record, trigger))
        self._mind_deadline(now_ms + wake, now_ms, out)
        return []

    def _schedule(self, call: Attempt, error: NodeError, now_ms: int, out: list[Command]) -> None:
        """Store when a failed call is tried again; its input stays as it is."""
        node_id, path = key = self._key(call.number)
        pause = backoff_ms(self._run_id, node_id, path, call.attempt)
        result = scheduled_result(kept_error(error), now_ms + pause)
        record = self._record(
            call.number, "scheduled", call.input, result, None, call.started_ms, None, call.attempt + 1
        )
        self._stored[key] = self._scheduled[key] = record
        out.append(StartTimer(node_id, path, "retry", pause, record))
        self._mind_deadline(now_ms + pause, now_ms, out)

    def _go_on_waiting(self, number: int, stored: NodeRecord, now_ms: int, out: list[Command]) -> list[int]:
        """Wait for an attempt that an earlier owner scheduled; the timer is there already unless it has fired."""
        node_id, path = key = self._key(number)
        self._scheduled[key] = stored
        out.append(StartTimer(node_id, path, "retry", due_ms(stored) - now_ms, stored))
        self._mind_deadline(due_ms(stored), now_ms, out)
        return []

    def _mind_deadline(self, wake_ms: int, now_ms: int, out: list[Command]) -> None:
        """Whatever waits past the run's deadline is woken at it; a wake-up before it looks at the clock anyway."""
        if wake_ms > self._deadline_ms:
            out.append(StartDeadline(max(0, self._deadline_ms - now_ms)))

    def _look_at_the_clock(self, now_ms: int, out: list[Command]) -> None:
        """End a run whose deadline has passed, with everything in it that has not ended."""
        if self.status is not None or now_ms < self._deadline_ms:
            return
        too_long = run_too_long(self._lasts_ms)
        for call in self._calls.values():
            self._record_failure(call.number, too_long, call.input, call.started_ms, now_ms, out, call.attempt)
        for node_id, path in (*self._waiting, *self._scheduled):
            open_ = self._stored[node_id, path]
            number = self._graph.number(node_id)
            self._record_failure(number, too_long, open_.input, open_.started_ms, now_ms, out, open_.attempt)
        self._finish("failure", now_ms, out)

    def _keep(self, number: int, input_: dict[str, Any], now_ms: int, out: list[Command]) -> list[int]:
        result, write = STATE[self._compiled.nodes[number].type](input_, self._state)
        place = len(out)
        ready = self._complete(number, result, None, input_, now_ms, now_ms, out)
        recorded = out[place]
        if write is not None and isinstance(recorded, Record):
            out[place] = WriteState(write, recorded.record)
        return ready

    def _enter_loop(self, number: int, stored: NodeRecord | None, now_ms: int, out: list[Command]) -> list[int]:
        items = items_begun(stored)
        if items is None:
            items = items_of(self._input(number))
        ready = self._cursor.enter(number, len(items))
        loop = self._loops[number] = Loop(self._graph.ids[number], items, self._around(number), now_ms)
        if not ready:
            return self._leave_loop(number, loop, now_ms, out)
        if stored is None:
            out.append(Record(self._record(number, "running", {"array": items}, None, None, now_ms, None)))
        else:
            loop.started_ms = stored.started_ms
        loop.at(0)
        return ready

    def _advance(self, number: int, now_ms: int, out: list[Command]) -> list[int]:
        loop = self._loops[number]
        assert loop is not None, "an iteration ends inside a loop"
        self._scope.leave_iteration(loop)
        try:
            ready = self._cursor.advance(number)
        except BudgetExceeded as error:
            return self._fail(number, failure_of(error), now_ms, out)
        if not ready:
            return self._leave_loop(number, loop, now_ms, out)
        loop.at(self._cursor.iteration(number))
        return ready

    def _leave_loop(self, number: int, loop: Loop, now_ms: int, out: list[Command]) -> list[int]:
        record = self._stored.get(self._key(number))
        if record is None or record.status not in NODE_FINAL:
            input_ = {"array": loop.items}
            record = self._record(number, "success", input_, loop.result(), None, loop.started_ms, now_ms)
            out.append(Record(record))
        return self._settle(number, record, now_ms, out, loop)

    def _replay(self, number: int, stored: NodeRecord, now_ms: int, out: list[Command]) -> list[int]:
        if stored.status == "waiting":
            self._waiting[self._key(number)] = number
            return []
        self._state.replay(self._compiled.nodes[number].type, stored.result)
        return self._settle(number, stored, now_ms, out)

    def _complete(
        self, number: int, result: Any, error: NodeError | None, input_: Any, started_ms: int, now_ms: int,
        out: list[Command], attempt: int = 1,
    ) -> list[int]:  # fmt: skip
        if error is None:
            try:
                result = bounded(result)
            except BadInput as refused:
                error = failure_of(refused)
        if error is not None:
            result = kept_error(error)
        status = "success" if error is None else "failure"
        branches = self._compiled.nodes[number].type in ("if", "wait")
        branch = result.get("branch") if branches and isinstance(result, dict) else None
        record = self._record(number, status, input_, result, branch, started_ms, now_ms, attempt)
        out.append(Record(record))
        if self._is_failing:
            return []
        return self._settle(number, record, now_ms, out)

    def _settle(
        self, number: int, record: NodeRecord, now_ms: int, out: list[Command], own: Loop | None = None
    ) -> list[int]:
        """Make a finished node visible, and go on to its children or its loop's next iteration."""
        node = self._compiled.nodes[number]
        self._scope.put(node, record, self._around(number), own)
        if record.status == "failure" and node.on_error not in ("continue", "branch"):
            self._is_failing = True
            return []
        label = label_of(node, record.status, record.branch)
        try:
            ready, skipped, ended = self._cursor.complete([number], [label])
            for each in skipped:
                self._skip(each, now_ms, out)
            for loop in ended:
                ready += self._advance(loop, now_ms, out)
        except BudgetExceeded as error:
            return self._fail(self._graph.number(error.node), failure_of(error), now_ms, out)
        return ready

    def _skip(self, number: int, now_ms: int, out: list[Command]) -> None:
        record = self._stored.get(self._key(number))
        if record is None or record.status != "skipped":
            record = self._record(number, "skipped", None, None, None, now_ms, now_ms)
            out.append(Record(record))
        around = self._around(number)
        if around is not None:
            around.note(record)

    def _fail(self, number: int, error: NodeError, now_ms: int, out: list[Command]) -> list[int]:
        """Fail the run at a node that may not begin, whatever its onError says."""
        self._record_failure(number, error, None, now_ms, now_ms, out)
        self._is_failing = True
        return []

    def _record_failure(
        self, number: int, error: NodeError, input_: Any, started_ms: int, now_ms: int, out: list[Command],
        attempt: int = 1,
    ) -> None:  # fmt: skip
        record = self._record(number, "failure", input_, kept_error(error), None, started_ms, now_ms, attempt)
        out.append(Record(record))

    def _finish(self, status: str, now_ms: int, out: list[Command]) -> None:
        self.status = status
        self._calls.clear()
        out.append(FinishRun(status, now_ms))

    def _record(
        self, number: int, status: str, input_: Any, result: Any, branch: str | None, started_ms: int,
        finished_ms: int | None, attempt: int = 1,
    ) -> NodeRecord:  # fmt: skip
        self._seq += 1
        node_id, path = self._key(number)
        kind = self._compiled.nodes[number].type
        seen = kept_input(kind, input_)
        return NodeRecord(
            self._seq, node_id, path, kind, status, seen, result, branch, started_ms, finished_ms, attempt
        )

    def _around(self, number: int) -> Loop | None:
        return self._loops[self._graph.loop_of(number)]

    def _key(self, number: int) -> Key:
        around = self._around(number)
        return self._graph.ids[number], around.path if around else ""


def failure_of(error: B3osError) -> NodeError:
    """Turn an error of ours into what its node stores."""
    return NodeError(code=str(error.code), message=error.message, category="validation")
