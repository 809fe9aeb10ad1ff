"""A world for one run: stores what it is told as the database does, answers calls and waits, kills owners at will.

What a call or a wait comes to depends on node, iteration and attempt only, so that every history of one definition
must have the same end. Every transition is noted.
"""

import hashlib
from typing import Any

import msgspec

from b3os.run.commands import CallAction, Command, FinishRun, Record, StartDeadline, StartTimer, WriteState
from b3os.run.events import Answered, NodeDone, Recorded, Resume, RunInput, Start, Tick
from b3os.run.records import NodeError, NodeRecord
from b3os.run.scheduler import RunScheduler
from b3os.run.transitions import NODE_FINAL, RUN_FINAL
from b3os.workflow.compiled import Compiled

Key = tuple[str, str]


def luck(*about: object) -> float:
    """A number in [0, 1) that is always the same for the same question."""
    told = repr(about).encode()
    return int.from_bytes(hashlib.blake2b(told, digest_size=4).digest(), "big") / 2**32


class World:
    """`salt` chooses outcomes, `cut` is the number of stored records after which the owner dies, once."""

    def __init__(self, compiled: Compiled, *, salt: int = 0, cut: int = -1, **trigger: Any) -> None:
        self.compiled, self.salt, self.cut, self.trigger = compiled, salt, cut, trigger
        self.now_ms = 1000
        self.final: dict[Key, NodeRecord] = {}
        self.open: dict[Key, NodeRecord] = {}
        self.timers: dict[Key, tuple[int, str]] = {}
        self.calls: dict[Key, CallAction] = {}
        self.most_calls = 0
        self.status = "running"
        self.states: dict[Key, str] = {}
        self.moves: set[tuple[str, str]] = set()
        self.run_moves: set[tuple[str, str]] = set()
        self.stored = 0
        self.seq = 0
        self.shift = 0
        self.owner = self.new_owner()

    def new_owner(self) -> RunScheduler:
        self.shift = 0
        self.calls.clear()
        return RunScheduler(
            self.compiled, run_id="run_1", org_id="org_1", workflow_id="wf_1", trigger_node="root",
            trigger_result=self.trigger, started_ms=1000,
        )  # fmt: skip

    def run(self, steps: int = 3000) -> "World":
        """Bring the run to its end."""
        self.tell(Start(self.now_ms))
        for _ in range(steps):
            if self.status in RUN_FINAL:
                return self
            self.step()
        raise AssertionError("the run does not end")

    def step(self) -> None:
        """Let one thing happen: a call comes back, or time passes to the next timer."""
        if self.calls and (not self.timers or luck(self.salt, self.stored, "which") < 0.6):
            self.answer(sorted(self.calls)[int(luck(self.salt, self.stored, "call") * len(self.calls))])
        elif self.timers:
            self.fire(min(self.timers, key=lambda key: self.timers[key][0]))
        else:
            raise AssertionError("nothing will ever happen to this run")

    def answer(self, key: Key) -> None:
        """Let a call come back."""
        call = self.calls.pop(key)
        chance = luck(self.salt, *key, call.attempt)
        error = NodeError("X", "no", retryable=chance < 0.25) if chance < 0.4 else None
        self.tell(NodeDone(*key, self.now_ms, None if error else {"n": call.attempt}, error))

    def fire(self, key: Key) -> None:
        """Let a timer fire, or the callback before it: the store completes the node, or wakes the run."""
        due, kind = self.timers.pop(key)
        self.now_ms = max(self.now_ms, due)
        if kind in ("retry", "deadline"):
            self.wake(Tick(self.now_ms))
            return
        waiting = self.open[key]
        late = kind == "delay" or luck(self.salt, *key) < 0.5
        result: Any = {"status": "timed_out" if late else "resumed"}
        branch = None if kind == "delay" else result["status"]
        status = "failure" if late and kind == "wait_fail" else "success"
        self.seq += 1
        record = msgspec.structs.replace(
            waiting, seq=self.seq, status=status, result=result, branch=branch, finished_ms=self.now_ms
        )
        self.shift += 1
        self.end(record)
        self.wake(Answered(record, self.now_ms))

    def wake(self, event: RunInput) -> None:
        """Tell the owner that has the run in hand, or give it to a new one."""
        if self.status == "waiting":
            self.run_move("running")
            self.restore()
        else:
            self.tell(event)

    def restore(self) -> None:
        self.owner = self.new_owner()
        for record in sorted([*self.open.values(), *self.final.values()], key=lambda record: record.seq):
            self.owner.apply(Recorded(record))
        self.tell(Resume(self.now_ms))

    def tell(self, event: RunInput) -> None:
        """Apply an event and carry the commands out; the owner may die in the middle."""
        for command in self.owner.apply(event):
            if self.stored == self.cut:
                self.cut = -1
                self.restore()
                return
            self.carry_out(command)
        self.most_calls = max(self.most_calls, len(self.calls))
        if self.status == "running" and not self.calls:
            self.run_move("waiting")

    def carry_out(self, command: Command) -> None:
        match command:
            case Record(record) | WriteState(_, record):
                self.store(record)
            case StartTimer(node_id, path, kind, wake, record):
                self.store(record)
                self.timers[node_id, path] = (self.now_ms + wake, kind)
            case StartDeadline(wake):
                self.timers.setdefault(("", ""), (self.now_ms + wake, "deadline"))
            case CallAction(node_id, path):
                self.move((node_id, path), "running")
                self.calls[node_id, path] = command
            case FinishRun(status):
                self.timers.clear()
                self.run_move(status)

    def store(self, record: NodeRecord) -> None:
        """Keep a record as the database does: the first end stays, a later attempt replaces an earlier one."""
        record = msgspec.structs.replace(record, seq=record.seq + self.shift)
        self.seq = max(self.seq, record.seq)
        self.stored += 1
        key = (record.node_id, record.path)
        if record.status in NODE_FINAL:
            self.end(record)
        elif key not in self.open or self.open[key].attempt < record.attempt:
            self.open[key] = record
            self.move(key, record.status)

    def end(self, record: NodeRecord) -> None:
        key = (record.node_id, record.path)
        assert key not in self.final, f"{key} ended twice"
        self.final[key] = record
        self.move(key, record.status)

    def move(self, key: Key, to: str) -> None:
        """Note a transition; a new owner's call of a node that was in flight is the same state again."""
        now = self.states.get(key, "pending")
        if now == "pending" and to not in ("running", "skipped"):
            self.moves.add((now, "running"))
            now = "running"
        if now != to:
            self.moves.add((now, to))
        self.states[key] = to

    def run_move(self, to: str) -> None:
        self.run_moves.add((self.status, to))
        self.status = to
