"""Every rule of execution. Events in, commands out; no clock, no I/O, no randomness.

A run is restored by giving the stored records (`Recorded`) and then `Resume`: the scheduler walks the graph again and
takes a stored result where there is one, so that nothing with a recorded result runs twice.

Sequence numbers: a record has the next one. The completion of a waiting node is written by the database, which gives
it the next one there and moves what the owner stores afterwards.
"""

from collections import deque
from typing import Any

from b3os._speedups.dag import Cursor
from b3os.errors import B3osError, BadInput, BudgetExceeded
from b3os.run.builtins.pure import PURE
from b3os.run.commands import CallAction, Command, FinishRun, Record, StartTimer, WriteStorage
from b3os.run.events import Cancel, NodeDone, Recorded, Resume, RunInput, Start
from b3os.run.records import NodeError, NodeRecord
from b3os.run.scope import Loop, Scope
from b3os.run.times import rfc3339
from b3os.run.waits import delay_ms, wait_timeout_ms
from b3os.workflow.compiled import Compiled

Key = tuple[str, str]


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
        storage: dict[str, Any] | None = None,
        variables: dict[str, Any] | None = None,
    ) -> None:
        self._compiled = compiled
        self._graph = compiled.graph
        self._cursor = Cursor(compiled.graph, compiled.graph.number(trigger_node))
        self._run_id = run_id
        self._storage = dict(storage or {})
        trigger = {
            "result": trigger_result,
            "payload": compiled.definition.nodes[trigger_node].payload,
            "input": trigger_result.get("inputs", {}),
        }
        self._scope = Scope(
            {
                trigger_node: trigger,
                "root": trigger,
                "trigger": trigger,
                "$trigger": trigger_result,
                "$props": compiled.definition.props,
                "$inputs": trigger_result.get("inputs", {}),
                "$vars": variables or {},
                "$storage": self._storage,
                "$workflow": {"id": workflow_id},
                "$workflowId": workflow_id,
            }
        )
        #: Loops in progress by their node; -1 is the run itself.
        self._loops: dict[int, Loop | None] = {-1: None}
        self._stored: dict[Key, NodeRecord] = {}
        self._waiting: dict[Key, NodeRecord] = {}
        self._calls: dict[Key, tuple[Any, int]] = {}
        self._seq = 0
        self.status: str | None = None

    def apply(self, event: RunInput) -> list[Command]:
        """Take one event and return what to do, in order; nothing more comes after FinishRun."""
        if self.status is not None:
            return []
        out: list[Command] = []
        match event:
            case Recorded(record):
                self._recorded(record)
            case Start(now_ms) | Resume(now_ms):
                self._go_on(self._cursor.start(), now_ms, out)
            case NodeDone():
                self._answered(event, out)
            case Cancel(now_ms):
                self._finish("cancelled", now_ms, out)
        return out

    def _recorded(self, record: NodeRecord) -> None:
        key = (record.node_id, record.path)
        self._seq = max(self._seq, record.seq)
        kept = self._stored.get(key)
        if kept is None or kept.status == "waiting":
            self._stored[key] = record

    def _answered(self, event: NodeDone, out: list[Command]) -> None:
        found = self._calls.pop((event.node_id, event.path), None)
        if found is not None:
            number = self._graph.number(event.node_id)
            ready = self._complete(number, event.result, event.error, *found, event.now_ms, out)
            self._go_on(ready, event.now_ms, out)

    def _go_on(self, ready: list[int], now_ms: int, out: list[Command]) -> None:
        """Run everything that is ready until only calls and waits are left; iterative, however deep the graph."""
        todo = deque(ready)
        while todo and self.status is None:
            todo.extendleft(reversed(self._begin_node(todo.popleft(), now_ms, out)))
        if self.status is None and self._cursor.is_done:
            self._finish("success", now_ms, out)

    def _begin_node(self, number: int, now_ms: int, out: list[Command]) -> list[int]:
        node = self._compiled.nodes[number]
        key = self._key(number)
        stored = self._stored.get(key)
        if stored is not None and node.type != "for-each":
            return self._replay(number, stored, now_ms, out)
        input_: Any = None
        try:
            input_ = self._compiled.render(number, self._scope.seen_from(self._around(number)))
            if node.type == "for-each":
                return self._enter_loop(number, input_, now_ms, out)
            return self._execute(number, input_, now_ms, out)
        except B3osError as error:
            return self._complete(number, None, failure_of(error), input_, now_ms, now_ms, out)

    def _execute(self, number: int, input_: dict[str, Any], now_ms: int, out: list[Command]) -> list[int]:
        node_id, path = key = self._key(number)
        node = self._compiled.nodes[number]
        if node.type in PURE:
            return self._complete(number, PURE[node.type](input_), None, input_, now_ms, now_ms, out)
        if node.type == "log":
            result = {"message": input_.get("message"), "loggedAt": rfc3339(now_ms)}
            return self._complete(number, result, None, input_, now_ms, now_ms, out)
        if node.type == "storage":
            return self._store(number, input_, now_ms, out)
        if node.type in ("delay", "wait"):
            wake = delay_ms(input_) if node.type == "delay" else wait_timeout_ms(input_)
            record = self._record(number, "waiting", input_, {"status": "waiting"}, None, now_ms, None)
            self._waiting[key] = record
            out.append(StartTimer(node_id, path, node.type, wake, record))
            return []
        self._calls[key] = (input_, now_ms)
        idempotency_key = f"{self._run_id}:{path}:{node_id}"
        out.append(CallAction(node_id, path, node.type, input_, node.connector, idempotency_key))
        return []

    def _store(self, number: int, input_: dict[str, Any], now_ms: int, out: list[Command]) -> list[int]:
        name = input_.get("key")
        if not isinstance(name, str) or not name:
            raise BadInput("`key` is a non-empty string", code=400314)
        previous = self._storage.get(name)
        if "value" not in input_:
            return self._complete(number, {"key": name, "value": previous}, None, input_, now_ms, now_ms, out)
        result = {"key": name, "value": input_["value"], "previous": previous}
        record = self._record(number, "success", input_, result, None, now_ms, now_ms)
        self._storage[name] = input_["value"]
        out.append(WriteStorage(name, input_["value"], record))
        return self._settle(number, record, now_ms, out)

    def _enter_loop(self, number: int, input_: dict[str, Any], now_ms: int, out: list[Command]) -> list[int]:
        items = input_.get("array")
        if not isinstance(items, list):
            raise BadInput(f"`array` is not a list: it is {type(items).__name__}. Check the expression.", code=400311)
        ready = self._cursor.enter(number, len(items))
        loop = self._loops[number] = Loop(self._graph.ids[number], items, self._around(number))
        if not ready:
            return self._leave_loop(number, now_ms, out)
        loop.at(0)
        return ready

    def _advance(self, number: int, now_ms: int, out: list[Command]) -> list[int]:
        loop = self._loops[number]
        assert loop is not None
        self._scope.leave_iteration(loop)
        ready = self._cursor.advance(number)
        if not ready:
            return self._leave_loop(number, now_ms, out)
        loop.at(self._cursor.iteration(number))
        return ready

    def _leave_loop(self, number: int, now_ms: int, out: list[Command]) -> list[int]:
        loop = self._loops[number]
        assert loop is not None
        stored = self._stored.get(self._key(number))
        if stored is None:
            count = len(loop.items)
            result = {
                "iterations": [{"index": index} for index in range(count)],
                "iterationCount": count,
                "lastAdvancedIteration": count - 1,
                "status": "completed",
            }
            stored = self._record(number, "success", {"array": loop.items}, result, None, now_ms, now_ms)
            out.append(Record(stored))
        return self._settle(number, stored, now_ms, out, loop)

    def _replay(self, number: int, stored: NodeRecord, now_ms: int, out: list[Command]) -> list[int]:
        if stored.status == "waiting":
            self._waiting[self._key(number)] = stored
            return []
        is_storage = self._compiled.nodes[number].type == "storage"
        if is_storage and isinstance(stored.result, dict) and "value" in stored.result:
            self._storage[stored.result["key"]] = stored.result["value"]
        return self._settle(number, stored, now_ms, out)

    def _complete(
        self, number: int, result: Any, error: NodeError | None, input_: Any, started_ms: int, now_ms: int,
        out: list[Command],
    ) -> list[int]:  # fmt: skip
        status = "success" if error is None else "failure"
        if error is not None:
            result = {"error": {k: getattr(error, k) for k in NodeError.__struct_fields__}}
        branches = self._compiled.nodes[number].type in ("if", "wait")
        branch = result.get("branch") if branches and isinstance(result, dict) else None
        record = self._record(number, status, input_, result, branch, started_ms, now_ms)
        out.append(Record(record))
        return self._settle(number, record, now_ms, out)

    def _settle(
        self, number: int, record: NodeRecord, now_ms: int, out: list[Command], own: Loop | None = None
    ) -> list[int]:
        """Make a finished node visible, go on to its children, its loop's next iteration, or the end of the run."""
        node = self._compiled.nodes[number]
        self._scope.put(node, record, self._around(number), own)
        if record.status == "failure" and node.on_error == "fail":
            self._finish("failure", now_ms, out)
            return []
        label = "error" if record.status == "failure" and node.on_error == "branch" else record.branch
        try:
            ready, skipped, ended = self._cursor.complete([number], [label])
            for each in skipped:
                self._skip(each, now_ms, out)
            for loop in ended:
                ready += self._advance(loop, now_ms, out)
        except BudgetExceeded as error:
            self._over_budget(error, now_ms, out)
            return []
        return ready

    def _skip(self, number: int, now_ms: int, out: list[Command]) -> None:
        record = self._stored.get(self._key(number))
        if record is None:
            record = self._record(number, "skipped", None, None, None, now_ms, now_ms)
            out.append(Record(record))
        around = self._around(number)
        if around is not None:
            around.iterations[-1][record.node_id] = {"status": "skipped", "result": None}

    def _over_budget(self, error: BudgetExceeded, now_ms: int, out: list[Command]) -> None:
        """End the run at the node that it may not run any more."""
        result = {"error": {k: getattr(failure_of(error), k) for k in NodeError.__struct_fields__}}
        number = self._graph.number(error.node)
        out.append(Record(self._record(number, "failure", None, result, None, now_ms, now_ms)))
        self._finish("failure", now_ms, out)

    def _finish(self, status: str, now_ms: int, out: list[Command]) -> None:
        self.status = status
        self._calls.clear()
        out.append(FinishRun(status, now_ms))

    def _record(
        self, number: int, status: str, input_: Any, result: Any, branch: str | None, started_ms: int,
        finished_ms: int | None,
    ) -> NodeRecord:  # fmt: skip
        self._seq += 1
        node_id, path = self._key(number)
        kind = self._compiled.nodes[number].type
        return NodeRecord(self._seq, node_id, path, kind, status, input_, result, branch, started_ms, finished_ms)

    def _around(self, number: int) -> Loop | None:
        return self._loops[self._graph.loop_of(number)]

    def _key(self, number: int) -> Key:
        around = self._around(number)
        return self._graph.ids[number], around.path if around else ""


def failure_of(error: B3osError) -> NodeError:
    """Turn an error of ours into what its node stores."""
    return NodeError(code=str(error.code), message=error.message, category="validation")
