"""The engine's store as dictionaries: what the SQL does, in plain words. Passes the contract that PostgreSQL passes.

`is_fenced` off is the known bug that the simulation must find.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from b3os.errors import StaleEpoch
from b3os.store.admission import Limit, Outcome, Proposal, judge
from b3os.store.leases import Held, Others
from b3os.store.runs import RunCommit, RunRow, Woken
from b3os.store.sweep import LOST_AFTER_S, TIMEOUTS, Look, Page, Ready

FINAL = ("success", "failure", "skipped")
LIVE = ("running", "waiting")
ENDED = ("success", "partial", "failure", "cancelled")
WINDOW = 500
#: Virtual second 0, in unix seconds.
START_S = 1_790_000_000


class Violation(AssertionError):
    """An invariant does not hold."""


class Run(msgspec.Struct):
    """A row of runs."""

    org_id: str
    id: str
    workflow_id: str
    version: int
    source: str
    node_id: str
    result: dict[str, Any]
    started: float
    status: str = "running"
    owner: str | None = None
    epoch: int = 0
    shift: int = 0
    woken: bool = False
    queued_at: float | None = None
    variables: dict[str, Any] | None = None


class Stored(msgspec.Struct):
    """A row of node_runs."""

    seq: int
    node_id: str
    path: str
    type: str
    status: str
    input: Any
    result: Any
    branch: str | None
    started_ms: int
    finished_ms: int | None
    attempt: int


class Timer(msgspec.Struct):
    """A row of timers."""

    kind: str
    due: float


class ModelStore:
    """All tables; every method is one transaction."""

    def __init__(self, now: Callable[[], float], *, window: int = WINDOW, is_fenced: bool = True) -> None:
        self.now = now
        self.window = window
        self.is_fenced = is_fenced
        self.definitions: dict[tuple[str, str, int], dict[str, Any]] = {}
        self.runs: dict[str, Run] = {}
        self.nodes: dict[str, dict[tuple[str, str, bool], Stored]] = {}
        self.timers: dict[tuple[str, str, str], Timer] = {}
        self.kept: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.receipts: dict[tuple[str, bytes], str | None] = {}
        self.limits: dict[str, Limit] = {}
        self.workers: dict[str, float] = {}
        self.leases: dict[str, tuple[str, int, float]] = {}
        #: Who asked last for a lease that another holds.
        self.asks: dict[str, str] = {}
        self.cursors: dict[str, dict[str, Any]] = {}

    def _alive(self, owner: str | None) -> bool:
        return owner is not None and self.workers.get(owner, -1.0) > self.now()

    def room(self, org_id: str) -> int:
        """How many more runs of an organization may be handed over."""
        handed = sum(r.org_id == org_id and r.status == "running" and r.queued_at is not None for r in self._all())
        return max(0, self.window - handed)

    def _all(self) -> list[Run]:
        return list(self.runs.values())

    def accept(
        self,
        proposals: Sequence[Proposal],
        *,
        cursor: tuple[str, int, dict[str, Any]] | None = None,
        also: None = None,  # what other sources write beside their cursor
        then: None = None,  # and what chains write once runs are decided
    ) -> list[Outcome]:
        """Receipts, runs, limits and the cursor."""
        if cursor is not None:
            name, epoch, position = cursor
            if self.leases.get(name, ("", 0, 0.0))[1] != epoch:
                raise StaleEpoch(name)
            self.cursors[name] = position
        return [self._admit(p) for p in proposals]

    def _admit(self, p: Proposal) -> Outcome:
        if (p.org_id, p.receipt) in self.receipts:
            return Outcome(self.receipts[p.org_id, p.receipt] or "", "duplicate")
        limit = self.limits.get(p.workflow_id)
        status = "accepted" if limit is None else judge(limit, p)
        if status in ("accepted", "cooldown"):
            self.receipts[p.org_id, p.receipt] = p.run_id if status == "accepted" else None
        if status != "accepted":
            return Outcome(p.run_id, status)
        if p.run_id in self.runs:
            raise Violation(f"I2: a second run {p.run_id}")
        queued_at = self.now() if self.room(p.org_id) else None
        self.runs[p.run_id] = Run(
            p.org_id, p.run_id, p.workflow_id, p.version, p.source, p.node_id, p.result, self.now(), queued_at=queued_at
        )
        self.nodes[p.run_id] = {}
        return Outcome(p.run_id, "accepted", queued_at is not None)

    def claim(self, run_ids: Sequence[str], owner: str, ttl_s: float) -> list[RunRow]:
        """Take runs that are free."""
        self.workers[owner] = self.now() + ttl_s
        taken = []
        for run_id in run_ids:
            run = self.runs.get(run_id)
            if run is None or run.status not in LIVE or self._alive(run.owner):
                continue
            run.owner, run.epoch, run.shift, run.woken, run.status = owner, run.epoch + 1, 0, False, "running"
            run.queued_at = self.now() if run.queued_at is None else run.queued_at
            started_at = datetime.fromtimestamp(START_S + run.started, UTC)
            taken.append(
                RunRow(
                    run.org_id, run.id, run.workflow_id, run.version, run.status, run.node_id, run.source,
                    run.result, None, started_at, None, run.epoch,
                    variables=run.variables,
                )
            )  # fmt: skip
        return taken

    def renew(self, owner: str, ttl_s: float) -> set[tuple[str, str]]:
        """Renew an owner's lease; returns what it holds."""
        self.workers[owner] = self.now() + ttl_s
        return {(r.org_id, r.id) for r in self._all() if r.owner == owner and r.status == "running"}

    def commit(self, batch: Sequence[RunCommit]) -> list[int | None]:
        """Store what runs did, each under its epoch."""
        newest: dict[str, int] = {}
        for item in batch:
            newest[item.run_id] = max(newest.get(item.run_id, item.epoch), item.epoch)
        found: list[int | None] = []
        # The statement sees every run as it was before: what one commit of a batch ends, another may still store for.
        before = {item.run_id: self.runs[item.run_id].status for item in batch if item.run_id in self.runs}
        for item in batch:
            run = self.runs.get(item.run_id)
            is_current = run is not None and self._is_current(run, item) and item.epoch == newest[item.run_id]
            if run is None or (self.is_fenced and (not is_current or before[item.run_id] not in LIVE)):
                found.append(None)
                continue
            if item.claim is not None:
                self.workers[item.claim.owner] = self.now() + item.claim.ttl_s
                run.owner, run.epoch = item.claim.owner, item.epoch
                run.queued_at = self.now() if run.queued_at is None else run.queued_at
            self._store(run, item)
            found.append(run.shift)
        return found

    def _is_current(self, run: Run, item: RunCommit) -> bool:
        if item.claim is not None:
            return run.epoch == 0 and run.owner is None
        return run.epoch == item.epoch

    def _store(self, run: Run, item: RunCommit) -> None:
        nodes = self.nodes[run.id]
        for record in item.records:
            is_final = record.status in FINAL
            key = (record.node_id, record.path, is_final)
            kept = nodes.get(key)
            if kept is None or (not is_final and record.attempt > kept.attempt):
                fields = {name: getattr(record, name) for name in Stored.__struct_fields__}
                nodes[key] = Stored(**{**fields, "seq": record.seq + run.shift})
            elif is_final and kept.result != record.result:
                raise Violation(f"I3: {run.id} {key} ran again after its result was recorded")
        for timer in item.timers:
            key3 = (run.id, timer.node_id, timer.path)
            kept_timer = self.timers.get(key3)
            if kept_timer is None or kept_timer.kind == "retry":
                self.timers[key3] = Timer(timer.kind, self.now() + timer.wake_in_ms / 1000)
        for write in item.state:
            self.kept.setdefault((run.org_id, run.workflow_id, write.table), {})[write.key] = write.value
        if run.variables is None:
            run.variables = item.variables
        if item.status in ENDED:
            self._drop_timers(run.id)
        if item.status == "waiting" and run.woken:
            run.status = "running"
        elif item.status is not None:
            self._end(run, item.status)
        if item.release or item.status in ENDED:
            run.owner = None

    def _end(self, run: Run, status: str) -> None:
        if run.status in ENDED and run.status != status:
            raise Violation(f"I5: {run.id} ended as {run.status} and then as {status}")
        run.status = status

    def _drop_timers(self, run_id: str) -> None:
        for key in [key for key in self.timers if key[0] == run_id]:
            del self.timers[key]

    def load_records(self, org_id: str, run_id: str) -> list[dict[str, Any]]:
        """A run's records in order."""
        rows = sorted(self.nodes[run_id].values(), key=lambda row: row.seq)
        return [msgspec.structs.asdict(row) for row in rows]

    def load_answers(self, org_id: str, run_id: str, waiting: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """The ends of nodes that a worker knows as waiting."""
        found = [self.nodes[run_id].get((node_id, path, True)) for node_id, path in waiting]
        return [msgspec.structs.asdict(row) for row in sorted(filter(None, found), key=lambda row: row.seq)]

    def load_storage(self, org_id: str, workflow_id: str) -> dict[str, Any]:
        """A workflow's storage."""
        return dict(self.kept.get((org_id, workflow_id, "storage"), {}))

    def load_variables(self, org_id: str, workflow_id: str) -> dict[str, Any]:
        """A workflow's persistent variables."""
        return dict(self.kept.get((org_id, workflow_id, "variables"), {}))

    def load_definition(self, org_id: str, workflow_id: str, version: int) -> dict[str, Any]:
        """A version's definition."""
        return self.definitions[org_id, workflow_id, version]

    def complete_node(
        self, run_id: str, node_id: str, path: str, result: Any, branch: str | None, status: str = "success"
    ) -> Woken | None:
        """Complete a waiting node from outside."""
        run, nodes = self.runs[run_id], self.nodes[run_id]
        waiting = nodes.get((node_id, path, False))
        self.timers.pop((run_id, node_id, path), None)
        is_waiting = waiting is not None and waiting.status == "waiting" and (node_id, path, True) not in nodes
        if run.status not in LIVE or waiting is None or not is_waiting:
            return None
        last = max(row.seq for row in nodes.values())
        nodes[node_id, path, True] = msgspec.structs.replace(
            waiting, seq=last + 1, status=status, result=result, branch=branch,
            finished_ms=int((START_S + self.now()) * 1000),
        )  # fmt: skip
        run.shift += 1
        return self._woken(run)

    def wake(self, run_id: str, node_id: str, path: str) -> Woken | None:
        """Take a timer away that completes nothing, and let its run look at the clock."""
        run = self.runs[run_id]
        self.timers.pop((run_id, node_id, path), None)
        return self._woken(run) if run.status in LIVE else None

    def _woken(self, run: Run) -> Woken:
        run.status, run.woken = "running", True
        if run.owner is None:
            run.queued_at = None
            run.queued_at = self.now() if self.room(run.org_id) else None
        return Woken(run.queued_at is not None and run.owner is None, run.source)

    def resume_wait(self, org_id: str, run_id: str, node_id: str, path: str, data: object) -> Woken | None:
        """Answer a waiting node."""
        result = {"status": "resumed", "branch": "resumed", "data": data}
        return self.complete_node(run_id, node_id, path, result, "resumed")

    def cancel(self, org_id: str, run_id: str) -> None:
        """End a run."""
        run = self.runs[run_id]
        if run.status in LIVE:
            run.status, run.epoch, run.owner = "cancelled", run.epoch + 1, None
            self._drop_timers(run_id)

    def give_back(self, owner: str) -> list[Ready]:
        """Free an owner's runs."""
        mine = [r for r in self._all() if r.owner == owner and r.status == "running"]
        self.workers.pop(owner, None)
        return self._free(mine)

    def let_go(self, owner: str, run_ids: Sequence[str]) -> list[Ready]:
        """Free some runs of an owner."""
        return self._free([r for r in self._all() if r.id in run_ids and r.owner == owner and r.status == "running"])

    def _free(self, runs: Sequence[Run]) -> list[Ready]:
        for run in runs:
            run.owner, run.queued_at = None, self.now()
        return [Ready(run.org_id, run.id, run.source) for run in runs]

    def look(self) -> Look:
        """See what is to be done."""
        now = self.now()
        running = [r for r in self._all() if r.status == "running"]
        return Look(
            any(timer.due <= now for timer in self.timers.values()),
            any(r.queued_at is None for r in running),
            any(r.owner is None and r.queued_at is not None and r.queued_at < now - LOST_AFTER_S for r in running),
            any(r.owner is not None and not self._alive(r.owner) for r in running),
        )

    def fire_due_timers(self, limit: int) -> tuple[list[Ready], int]:
        """Complete nodes whose timer is due."""
        due = sorted((t.due, key) for key, t in self.timers.items() if t.due <= self.now())[:limit]
        ready: dict[str, Ready] = {}
        for _, (run_id, node_id, path) in due:
            kind = self.timers[run_id, node_id, path].kind
            if kind in TIMEOUTS:
                woken = self.complete_node(run_id, node_id, path, *TIMEOUTS[kind])
            else:
                woken = self.wake(run_id, node_id, path)
            if woken is not None and woken.is_queued:
                ready[run_id] = Ready(self.runs[run_id].org_id, run_id, woken.source)
        return list(ready.values()), len(due)

    def take_from_the_dead(self, limit: int) -> list[Ready]:
        """Free the runs of dead owners."""
        dead = [r for r in self._all() if r.status == "running" and r.owner is not None and not self._alive(r.owner)]
        return self._free(dead[:limit])

    def lost(self, after: str, *, orgs: int, each: int, lost_after_s: float = LOST_AFTER_S) -> Page:
        """Find runs that the queue lost."""
        unheld = [r for r in self._all() if r.status == "running" and r.owner is None and r.queued_at is not None]
        page, last = self._page(unheld, after, orgs)
        ready: list[Ready] = []
        for org_id in page:
            old = [r for r in unheld if r.org_id == org_id and (r.queued_at or 0.0) <= self.now() - lost_after_s]
            ready += self._free(sorted(old, key=lambda r: r.queued_at or 0.0)[:each])
        return Page(ready, last)

    def feed(self, after: str, *, orgs: int, limit: int) -> Page:
        """Hand over runs that wait, the organizations in turn."""
        waiting = [r for r in self._all() if r.status == "running" and r.queued_at is None]
        page, last = self._page(waiting, after, orgs)
        turns: list[tuple[int, str, Run]] = []
        for org_id in page:
            own = sorted((r for r in waiting if r.org_id == org_id), key=lambda r: r.started)[: self.room(org_id)]
            turns += [(turn, org_id, run) for turn, run in enumerate(own)]
        chosen = [run for _, _, run in sorted(turns, key=lambda t: t[:2])[:limit]]
        for run in chosen:
            run.queued_at = self.now()
        return Page([Ready(run.org_id, run.id, run.source) for run in chosen], last, bool(page))

    def _page(self, runs: Sequence[Run], after: str, orgs: int) -> tuple[list[str], str]:
        page = sorted({r.org_id for r in runs if r.org_id > after})[:orgs]
        return page, page[-1] if len(page) == orgs else ""

    def acquire(self, name: str, owner: str, ttl_s: float) -> int | None:
        """Take or keep a lease."""
        holder, epoch, until = self.leases.get(name, ("", 0, -1.0))
        if until > self.now() and holder != owner:
            return None
        epoch += 0 if holder == owner and until > self.now() else 1
        self.leases[name] = (owner, epoch, self.now() + ttl_s)
        return epoch

    def acquire_free(self, names: Iterable[str], owner: str, ttl_s: float) -> dict[str, int]:
        """Take or keep the leases that no other holds."""
        taken = {name: self.acquire(name, owner, ttl_s) for name in sorted(names)}
        for name, epoch in taken.items():
            if epoch is not None:
                self.asks.pop(name, None)
        return {name: epoch for name, epoch in taken.items() if epoch is not None}

    def others(self, owner: str, presence: str) -> Others:
        """See what others hold, and what is asked of an owner."""
        alive = {name: (o, until - self.now()) for name, (o, _, until) in self.leases.items() if until > self.now()}
        theirs = {name: Held(o, left, self.asks.get(name, "")) for name, (o, left) in alive.items() if o != owner}
        asked = {name: self.asks[name] for name, (o, _) in alive.items() if o == owner and name in self.asks}
        present = [one.owner for name, one in theirs.items() if name.startswith(presence)]
        return Others(present, {name: one for name, one in theirs.items() if not name.startswith(presence)}, asked)

    def ask(self, names: Iterable[str], owner: str) -> None:
        """Ask for leases of others."""
        for name in names:
            holder, _, until = self.leases.get(name, (owner, 0, 0.0))
            if holder != owner and until > self.now():
                self.asks[name] = owner

    def leave(self, name: str, owner: str) -> None:
        """Remove a lease."""
        if self.leases.get(name, ("", 0, 0.0))[0] == owner:
            del self.leases[name]

    def forget_dead(self, presence: str) -> None:
        """Remove what dead owners left; nobody is dead for an hour in a simulation."""

    def keep_only(self, wanted: Sequence[str]) -> None:
        """Forget how unwanted sources fared; nothing is decided by it."""

    def renew_leases(self, owner: str, names: Sequence[str], ttl_s: float, told: Sequence[object]) -> set[str]:
        """Extend leases that are still owned; nothing is decided by what is told of their sources."""
        held = {name for name in names if self.leases.get(name, ("", 0, 0.0))[0] == owner}
        for name in held:
            self.leases[name] = (owner, self.leases[name][1], self.now() + ttl_s)
        return held

    def release(self, name: str, owner: str) -> None:
        """Give a lease up."""
        holder, epoch, _ = self.leases.get(name, ("", 0, 0.0))
        if holder == owner:
            self.leases[name] = (owner, epoch, -1.0)
            self.asks.pop(name, None)

    def lead(self, owner: str, ttl_s: float) -> bool:
        """Become or stay the one that sweeps."""
        return self.acquire("sweeper", owner, ttl_s) is not None

    def abdicate(self, owner: str) -> None:
        """Let another sweep."""
        self.release("sweeper", owner)

    def forget_workers(self) -> None:
        """Drop workers that ended long ago."""
        self.workers = {owner: until for owner, until in self.workers.items() if until > self.now() - 86_400}

    def read_cursor(self, source: str) -> dict[str, Any] | None:
        """The position of a source."""
        return self.cursors.get(source)
