"""The world around the processes: two servers, a network that loses and delays, actions with a ledger, and clients.

Worker, keeper, cron source and admitter are the shipped code. What they reach by module name (their stores, their
wall clock) is put in its place by `seams`; everything else is passed in.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import Context
from types import SimpleNamespace
from typing import Any

from b3os.errors import Unavailable
from b3os.run.commands import CallAction
from b3os.store import runs as real_runs
from b3os.store import source_states
from b3os.stream.events import RunEvent
from services.master import admit, keeper
from services.master.sources import cron
from services.worker import runner
from tests.simulation.loop import WHO, Process, VirtualLoop
from tests.simulation.queue import ModelQueue, QueueState
from tests.simulation.store import START_S, ModelStore, Violation

#: A lost answer is noticed after this long.
DEADLINE_S = 2.0
TRACE_LIMIT = 400


class World:
    """Everything that is not a process."""

    def __init__(self, loop: VirtualLoop, seed: int, *, window: int, is_fenced: bool) -> None:
        self.loop = loop
        self.rng = random.Random(seed + 1)
        self.store = ModelStore(loop.time, window=window, is_fenced=is_fenced)
        self.queue = QueueState()
        self.down: dict[str, bool] = {"postgres": False, "redis": False}
        #: Chances that a request, or its answer, is lost.
        self.loss = 0.0
        self.trace: list[str] = []
        self.events: dict[str, list[tuple[int, int]]] = {}
        self.effects: dict[str, tuple[str, str, str]] = {}
        self.calls = 0

    def note(self, text: str) -> None:
        """Add to the history."""
        who = WHO.get()
        self.trace.append(f"{self.loop.time():8.3f} {who.name if who else 'world':10} {text}")
        del self.trace[:-TRACE_LIMIT]

    async def ask(self, server: str, act: Callable[[], Any], what: str = "") -> Any:
        """One request to a server: it may come late, be lost, or be done while its answer is lost."""
        answer: asyncio.Future[Any] = self.loop.create_future()
        there, back = (self.rng.uniform(0.0002, 0.004) for _ in range(2))
        is_lost, is_unanswered = (self.rng.random() < self.loss for _ in range(2))

        def arrive() -> None:
            if is_lost or self.down[server]:
                reply(Unavailable(f"{server} lost"), DEADLINE_S)
                return
            try:
                value = act()
            except Violation:
                raise
            except Exception as error:  # the server's answer, whatever it is
                value = error
            if is_unanswered:
                reply(Unavailable(f"{server} answered into the void"), DEADLINE_S)
            else:
                reply(value, back)

        def reply(value: Any, after: float) -> None:
            self.loop.call_later(after, settle, value, context=outside)

        def settle(value: Any) -> None:
            if answer.done():
                return
            if isinstance(value, Exception):
                answer.set_exception(value)
            else:
                answer.set_result(value)

        outside = Context()
        self.loop.call_later(there, arrive, context=outside)
        return await answer

    def wall_ns(self, process: Process | None) -> Callable[[], int]:
        """The clock on a process's wall."""
        skew = process.skew_s if process else 0.0
        return lambda: int((START_S + self.loop.time() + skew) * 1e9)

    def broker(self, process: Process | None) -> ModelQueue:
        """A process's connection to the queue."""
        return ModelQueue(self.queue, self.wall_ns(process), ask=lambda act: self.ask("redis", act))


class Client:
    """A process's connection to the store: every method of the model, over the network."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._world.store, name)

        async def call(*args: Any, **more: Any) -> Any:
            return await self._world.ask("postgres", lambda: method(*args, **more), name)

        return call


class Publisher:
    """Run events, kept to see that none is told before it is stored."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def publish(self, events: Sequence[RunEvent]) -> None:
        def act() -> None:
            for event in events:
                self._world.events.setdefault(event.run_id, []).append((event.seq, event.sub))

        await self._world.ask("redis", act)


class Actions:
    """The actions process: every call is an effect in the ledger, under its idempotency key."""

    def __init__(self, world: World, epoch_of: Callable[[str], int]) -> None:
        self._world = world
        self._epoch_of = epoch_of

    async def execute(self, command: CallAction, *, org_id: str, run_id: str, credential: Any, **_: Any) -> Any:
        world, epoch = self._world, self._epoch_of(run_id)

        def act() -> dict[str, int]:
            world.calls += 1
            place = (run_id, command.node_id, command.path)
            if world.effects.setdefault(command.idempotency_key, place) != place:
                raise Violation(f"I4: two nodes share the key {command.idempotency_key}")
            recorded = world.store.nodes[run_id].get((command.node_id, command.path, True))
            if recorded is not None and world.store.runs[run_id].epoch == epoch:
                raise Violation(f"I3: {place} was called by the run's owner after its result was recorded")
            return {"n": world.calls}

        await asyncio.sleep(world.rng.choice((0.002, 0.05, 0.3, 2.5)))
        answer: asyncio.Future[Any] = world.loop.create_future()
        # What arrives is done, whether or not the caller lives to hear of it.
        world.loop.call_later(0.001, lambda: answer.done() or answer.set_result(act()), context=Context())
        return await answer


@contextlib.contextmanager
def seams(world: World) -> Iterator[None]:
    """Put the world's stores and clock where the shipped modules look for theirs."""

    def later(name: str) -> Callable[..., Awaitable[Any]]:
        return lambda client, *args, **more: getattr(client, name)(*args, **more)

    def wall_s() -> float:
        return world.wall_ns(WHO.get())() / 1e9

    leases = SimpleNamespace(
        acquire_free=later("acquire_free"), renew=later("renew_leases"), release=later("release"), leave=later("leave"),
        others=later("others"), ask=later("ask"), forget_dead=later("forget_dead"),
    )  # fmt: skip
    engine = SimpleNamespace(**vars(real_runs))
    for name in ("load_records", "load_answers", "load_definition"):
        setattr(engine, name, later(name))
    places: list[tuple[Any, str, Any]] = [
        (runner, "runs", engine),
        (runner, "state", SimpleNamespace(load_storage=later("load_storage"), load_variables=later("load_variables"))),
        (runner, "now_ms", lambda: int(wall_s() * 1000)),
        (keeper, "leases", leases),
        (keeper, "source_states", SimpleNamespace(keep_only=later("keep_only"), Told=source_states.Told)),
        (keeper, "time", SimpleNamespace(time=wall_s, monotonic=world.loop.time)),
        (cron, "read_cursor", later("read_cursor")),
        (cron, "time", SimpleNamespace(time=wall_s, monotonic=world.loop.time)),
        (admit, "accept", later("accept")),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in places]
    for module, name, value in places:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
