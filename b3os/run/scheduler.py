"""Every rule of execution. Events in, commands out; no clock, no I/O, no randomness.

A run is restored by giving the stored records (`Recorded`) and then `Resume`: the scheduler walks the graph again and
takes a stored result where there is one, so that nothing with a recorded result runs twice.

Sequence numbers: a record has the next one. The completion of a waiting node is written by the database, which gives
it the next one there and moves what the owner stores afterwards.
"""

from collections import deque
from typing import Any

from b3os._speedups.expression import Template, compile_template
from b3os.errors import B3osError, BadInput, BudgetExceeded
from b3os.run.builtins.pure import PURE
from b3os.run.commands import CallAction, Command, FinishRun, Record, StartTimer, WriteStorage
from b3os.run.events import Cancel, NodeDone, Recorded, Resume, RunInput, Start
from b3os.run.frame import Frame
from b3os.run.records import NodeError, NodeRecord
from b3os.run.times import rfc3339
from b3os.run.waits import delay_ms, wait_timeout_ms
from b3os.workflow.definition import Definition

MAX_ITERATIONS = 100
MAX_NODES = 10_000
MAX_DEPTH = 10

Key = tuple[str, str]


class RunScheduler:
    """The state of one run between events."""

    def __init__(
        self,
        definition: Definition,
        *,
        run_id: str,
        org_id: str,
        workflow_id: str,
        trigger_node: str,
        trigger_result: dict[str, Any],
        storage: dict[str, Any] | None = None,
        variables: dict[str, Any] | None = None,
    ) -> None:
        self._definition = definition
        self._run_id = run_id
        self._trigger_node = trigger_node
        self._storage = dict(storage or {})
        trigger = {"result": trigger_result, "payload": definition.nodes[trigger_node].payload}
        self._scope: dict[str, Any] = {
            trigger_node: trigger,
            "root": trigger,
            "trigger": trigger,
            "$trigger": trigger_result,
            "$props": definition.props,
            "$inputs": trigger_result.get("inputs", {}),
            "$vars": variables or {},
            "$storage": self._storage,
            "$workflow": {"id": workflow_id},
            "$workflowId": workflow_id,
        }
        self._templates: dict[str, Template] = {}
        self._frames: dict[str, Frame] = {}
        self._loops: dict[Key, list[Any]] = {}
        self._stored: dict[Key, NodeRecord] = {}
        self._waiting: dict[Key, NodeRecord] = {}
        self._calls: dict[Key, tuple[Any, int]] = {}
        self._seq = 0
        self._nodes_run = 0
        self.status: str | None = None

    def apply(self, event: RunInput) -> list[Command]:
        """Take one event and return what to do, in order; nothing more comes after FinishRun."""
        if self.status is not None:
            return []
        match event:
            case Recorded(record):
                self._seq = max(self._seq, record.seq)
                kept = self._stored.get((record.node_id, record.path))
                if kept is None or kept.status == "waiting":
                    self._stored[(record.node_id, record.path)] = record
                return []
            case Start(now_ms) | Resume(now_ms):
                return self._begin(now_ms)
            case NodeDone():
                return self._answered(event)
            case Cancel(now_ms):
                return self._finish("cancelled", now_ms, [])

    def _begin(self, now_ms: int) -> list[Command]:
        root = Frame(self._definition, self._definition.nodes[self._trigger_node].children, "", {})
        self._frames[""] = root
        out: list[Command] = []
        if root.is_done:
            return self._finish("success", now_ms, out)
        self._go_on([(node_id, "") for node_id in root.first()], now_ms, out)
        return out

    def _answered(self, event: NodeDone) -> list[Command]:
        out: list[Command] = []
        key = (event.node_id, event.path)
        found = self._calls.pop(key, None)
        if found is None:
            return out
        input_, started_ms = found
        ready = self._complete(key, event.result, event.error, input_, started_ms, event.now_ms, out)
        self._go_on(ready, event.now_ms, out)
        return out

    def _go_on(self, ready: list[Key], now_ms: int, out: list[Command]) -> None:
        """Run everything that is ready until only calls and waits are left; iterative, however deep the graph."""
        todo = deque(ready)
        while todo and self.status is None:
            todo.extendleft(reversed(self._begin_node(todo.popleft(), now_ms, out)))

    def _begin_node(self, key: Key, now_ms: int, out: list[Command]) -> list[Key]:
        stored = self._stored.get(key)
        node_id, path = key
        node = self._definition.nodes[node_id]
        if stored is not None and node.type != "for-each":
            return self._replay(key, stored, now_ms, out)
        self._nodes_run += 1
        input_: Any = None
        try:
            if self._nodes_run > MAX_NODES:
                raise BudgetExceeded(limit="nodes", allowed=MAX_NODES, node=node_id)
            input_ = self._template(node_id).render(self._view(path))
            if node.type == "for-each":
                return self._enter_loop(key, input_, now_ms, out)
            return self._execute(key, input_, now_ms, out)
        except B3osError as error:
            failed = NodeError(code=str(error.code), message=error.message, category="validation")
            return self._complete(key, None, failed, input_, now_ms, now_ms, out)

    def _execute(self, key: Key, input_: dict[str, Any], now_ms: int, out: list[Command]) -> list[Key]:
        node_id, path = key
        node = self._definition.nodes[node_id]
        if node.type in PURE:
            return self._complete(key, PURE[node.type](input_), None, input_, now_ms, now_ms, out)
        if node.type == "log":
            result = {"message": input_.get("message"), "loggedAt": rfc3339(now_ms)}
            return self._complete(key, result, None, input_, now_ms, now_ms, out)
        if node.type == "storage":
            return self._store(key, input_, now_ms, out)
        if node.type in ("delay", "wait"):
            wake = delay_ms(input_) if node.type == "delay" else wait_timeout_ms(input_)
            record = self._record(key, "waiting", input_, {"status": "waiting"}, None, now_ms, None)
            self._waiting[key] = record
            out.append(StartTimer(node_id, path, node.type, wake, record))
            return []
        self._calls[key] = (input_, now_ms)
        idempotency_key = f"{self._run_id}:{path}:{node_id}"
        out.append(CallAction(node_id, path, node.type, input_, node.connector, idempotency_key))
        return []

    def _store(self, key: Key, input_: dict[str, Any], now_ms: int, out: list[Command]) -> list[Key]:
        name = input_.get("key")
        if not isinstance(name, str) or not name:
            raise BadInput("`key` is a non-empty string", code=400314)
        previous = self._storage.get(name)
        if "value" not in input_:
            return self._complete(key, {"key": name, "value": previous}, None, input_, now_ms, now_ms, out)
        result = {"key": name, "value": input_["value"], "previous": previous}
        ready = self._complete(key, result, None, input_, now_ms, now_ms, out)
        self._storage[name] = input_["value"]
        for index, command in enumerate(out):
            if isinstance(command, Record) and (command.record.node_id, command.record.path) == key:
                out[index] = WriteStorage(name, input_["value"], command.record)
        return ready

    def _enter_loop(self, key: Key, input_: dict[str, Any], now_ms: int, out: list[Command]) -> list[Key]:
        node_id, path = key
        items = input_.get("array")
        if not isinstance(items, list):
            raise BadInput(f"`array` is not a list: it is {type(items).__name__}. Check the expression.", code=400311)
        if len(items) > MAX_ITERATIONS:
            raise BudgetExceeded(limit="iterations", allowed=MAX_ITERATIONS, node=node_id)
        if path.count("/") + (1 if path else 0) >= MAX_DEPTH:
            raise BudgetExceeded(limit="depth", allowed=MAX_DEPTH, node=node_id)
        self._loops[key] = items
        return self._iterate(key, 0, now_ms, out)

    def _iterate(self, key: Key, index: int, now_ms: int, out: list[Command]) -> list[Key]:
        node_id, path = key
        items = self._loops[key]
        body = self._definition.nodes[node_id].loop_body
        if index >= len(items) or not body:
            result = {
                "iterations": [{"index": i} for i in range(len(items))],
                "iterationCount": len(items),
                "lastAdvancedIteration": len(items) - 1,
                "status": "completed",
            }
            stored = self._stored.get(key)
            if stored is not None:
                return self._replay(key, stored, now_ms, out)
            return self._complete(key, result, None, {"array": items}, now_ms, now_ms, out)
        outer = self._frames[path].scope
        loops = {**outer.get("$for", {}), node_id: {"item": items[index], "index": index}}
        scope = {"$item": items[index], "$index": index, "$for": loops}
        if "$item" in outer:
            scope |= {"$parent_item": outer["$item"], "$parent_index": outer["$index"]}
        inner = f"{path}/{node_id}:{index}" if path else f"{node_id}:{index}"
        frame = self._frames[inner] = Frame(self._definition, body, inner, scope)
        return [(first, inner) for first in frame.first()]

    def _replay(self, key: Key, stored: NodeRecord, now_ms: int, out: list[Command]) -> list[Key]:
        if stored.status == "waiting":
            self._waiting[key] = stored
            return []
        node = self._definition.nodes[key[0]]
        if node.type == "storage" and isinstance(stored.result, dict) and "value" in stored.result:
            self._storage[stored.result["key"]] = stored.result["value"]
        return self._settle(key, stored, now_ms, out)

    def _complete(
        self, key: Key, result: Any, error: NodeError | None, input_: Any, started_ms: int, now_ms: int,
        out: list[Command],
    ) -> list[Key]:  # fmt: skip
        status = "success" if error is None else "failure"
        if error is not None:
            result = {"error": {k: getattr(error, k) for k in NodeError.__struct_fields__}}
        branch = result.get("branch") if isinstance(result, dict) and self._branches(key[0]) else None
        record = self._record(key, status, input_, result, branch, started_ms, now_ms)
        out.append(Record(record))
        return self._settle(key, record, now_ms, out)

    def _settle(self, key: Key, record: NodeRecord, now_ms: int, out: list[Command]) -> list[Key]:
        """Make a finished node visible, go on to its children, its loop's next iteration, or the end of the run."""
        node_id, path = key
        frame = self._frames[path]
        seen = {"result": record.result, "input": record.input, "payload": self._definition.nodes[node_id].payload}
        if record.status == "failure":
            seen["error"] = (record.result or {}).get("error")
        frame.scope[node_id] = seen
        if record.status == "failure" and self._definition.nodes[node_id].on_error != "continue":
            self._finish("failure", now_ms, out)
            return []
        ready, skipped = frame.finish(node_id, record.branch)
        for skipped_id in skipped:
            if (skipped_id, path) not in self._stored:
                out.append(Record(self._record((skipped_id, path), "skipped", None, None, None, now_ms, now_ms)))
        if not frame.is_done:
            return [(ready_id, path) for ready_id in ready]
        if not path:
            self._finish("success", now_ms, out)
            return []
        outer, _, step = path.rpartition("/")
        loop_id, _, index = step.rpartition(":")
        return self._iterate((loop_id, outer), int(index) + 1, now_ms, out)

    def _finish(self, status: str, now_ms: int, out: list[Command]) -> list[Command]:
        self.status = status
        self._calls.clear()
        out.append(FinishRun(status, now_ms))
        return out

    def _record(
        self, key: Key, status: str, input_: Any, result: Any, branch: str | None, started_ms: int,
        finished_ms: int | None,
    ) -> NodeRecord:  # fmt: skip
        self._seq += 1
        node_id, path = key
        kind = self._definition.nodes[node_id].type
        return NodeRecord(self._seq, node_id, path, kind, status, input_, result, branch, started_ms, finished_ms)

    def _branches(self, node_id: str) -> bool:
        return self._definition.nodes[node_id].type in ("if", "wait")

    def _template(self, node_id: str) -> Template:
        found = self._templates.get(node_id)
        if found is None:
            found = self._templates[node_id] = compile_template(self._definition.nodes[node_id].payload)
        return found

    def _view(self, path: str) -> dict[str, Any]:
        """Return what expressions of a scope see: the run, then each enclosing iteration, innermost last."""
        view = dict(self._scope)
        steps = path.split("/") if path else []
        for depth in range(len(steps) + 1):
            view.update(self._frames["/".join(steps[:depth])].scope)
        view["$nodes"] = view
        return view
