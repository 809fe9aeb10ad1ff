"""The worker on one screen: take tasks, hold runs under a lease, sweep when it leads, be seen.

PostgreSQL owns liveness: the queue may lose everything and no run is lost. A worker that stops takes nothing new, gives
the runs in hand a grace period, and hands back what is left, so that another goes on with it at once.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from b3os.chain.chains import load_chains
from b3os.databases.engine import Databases
from b3os.detect.catalog import check_trigger
from b3os.errors import B3osError
from b3os.handover import Started, hand_over
from b3os.ids import new_id
from b3os.net.guard import AllowList
from b3os.net.http import GuardedClient
from b3os.queue.broker import Broker
from b3os.queue.servers import Register, Server
from b3os.run.builtins.catalog import BUILTINS
from b3os.run.queued import RunTask
from b3os.sandbox.pool import SandboxPool
from b3os.settings import Settings
from b3os.store.pool import Pool
from b3os.stream.publish import Publisher
from b3os.stream.tell import run_finished
from services.worker.commit import CommitGroup
from services.worker.deliveries import Deliverer
from services.worker.dispatch import ActionsClient
from services.worker.effects.call import EffectHouse
from services.worker.ending import end_all
from services.worker.hands import LEASE_S, RENEW_S, Hands
from services.worker.ports import FAILURES, EngineStore, PostgresStore, Queue
from services.worker.presence import Presence
from services.worker.runner import Runner, now_ms
from services.worker.sweeper import SWEEP_S, Sweeper, run_task
from services.worker.taker import Taker

log = logging.getLogger("b3os.worker")

#: Runs in hand at once; a run that only waits on an action costs a coroutine and little else.
CONCURRENCY = 200


class Engine:
    """One worker's roles over a store and a queue; owns its leases under `owner` until it stops."""

    def __init__(
        self, *, store: EngineStore, queue: Queue, runner: Runner, commits: CommitGroup, owner: str, grace_s: float,
        stop: asyncio.Event, concurrency: int = CONCURRENCY,
    ) -> None:  # fmt: skip
        self._store = store
        self._queue = queue
        self._commits = commits
        self._owner = owner
        self._grace_s = grace_s
        self._stop = stop
        self.hands = Hands(store, runner, owner=owner, limit=concurrency)
        self.sweeper = Sweeper(store, queue, owner, asyncio.get_running_loop().time)
        self.taker = Taker(store, queue, self.sweeper, self.hands, owner=owner, lease_s=LEASE_S)
        commits.claims = self.taker

    async def serve(self) -> None:
        """Run until `stop`; leaves no lease behind."""
        async with asyncio.TaskGroup() as group:
            committing = group.create_task(self._commits.serve())
            background = [
                group.create_task(self._every(RENEW_S, self._renew)),
                group.create_task(self._every(RENEW_S, self.taker.extend)),
                group.create_task(self._every(SWEEP_S, self.sweeper.step)),
            ]
            await self.taker.take(self._stop)
            await self.hands.empty(self._grace_s)
            self._commits.close()
            await committing
            await end_all(background)
        try:
            await self.taker.finish()
            await self.taker.give_back()
        except FAILURES as error:
            log.warning("tasks left to lapse", extra={"error": str(error)})
        await self._hand_back()

    async def _renew(self) -> None:
        ready = await self.hands.renew()
        if ready:
            log.warning("runs astray", extra={"count": len(ready)})
            await self._queue.restore([run_task(one) for one in ready])

    async def _hand_back(self) -> None:
        try:
            await self.sweeper.stop()
            ready = await self._store.give_back(self._owner)
            if ready:
                log.info("runs handed back", extra={"count": len(ready)})
                await self._queue.restore([run_task(one) for one in ready])
        except FAILURES as error:
            log.warning("leases left to lapse", extra={"error": str(error)})

    async def _every(self, period_s: float, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except FAILURES as error:
                log.warning("step failed", extra={"error": str(error)})
            await asyncio.sleep(period_s)


class Worker:
    """One worker process: the engine on PostgreSQL and Redis."""

    def __init__(self, *, pool: Pool, settings: Settings, stop: asyncio.Event) -> None:
        owner = new_id("worker")
        self._store = PostgresStore(pool)
        self._broker = Broker(settings.redis_ops_url, lane_limit=settings.queue_limit)
        self._publisher = Publisher(settings.redis_ops_url, untold=BUILTINS)
        commits = CommitGroup(self._store.commit, self._publisher)
        self._actions = ActionsClient(settings.actions_url, settings.internal_key)
        self._http = GuardedClient(settings.egress_allow)
        self._deliverer = Deliverer(pool, self._http, settings.master_key)
        self._effects = EffectHouse(
            pool=pool,
            databases=Databases(Path(settings.data_dir)),
            sandbox=SandboxPool(),
            allow=AllowList(settings.egress_allow),
            master_key=settings.master_key,
            now_ms=now_ms,
            hand_over=self._hand_over,
            nudge=self._deliverer.nudge,
        )
        runner = Runner(
            pool=pool,
            commits=commits,
            actions=self._actions,
            effects=self._effects,
            master_key=settings.master_key,
            check_trigger=partial(check_trigger, chains=frozenset(load_chains(settings.chains))),
        )
        self._engine = Engine(
            store=self._store, queue=self._broker, runner=runner, commits=commits, owner=owner,
            grace_s=settings.grace_s, stop=stop,
        )  # fmt: skip
        server = Server(
            host=socket.gethostname(), pid=os.getpid(), id=owner, concurrency=CONCURRENCY, started_ns=time.time_ns()
        )
        self._presence = Presence(Register(settings.redis_ops_url, server), self._engine.hands.working)
        self._stop = stop

    async def serve(self) -> None:
        """Run until the stop event; then close everything."""
        async with asyncio.TaskGroup() as group:
            seen = [
                group.create_task(self._presence.tell()),
                group.create_task(self._presence.listen(self._cancel)),
                group.create_task(self._tell_stop()),
                group.create_task(self._deliverer.serve()),
            ]
            await self._engine.serve()
            await end_all(seen)
        await self._presence.leave()
        await self._effects.close()
        await self._http.close()
        await self._actions.close()
        await self._broker.close()
        await self._publisher.close()

    async def _hand_over(self, org_id: str, run_id: str, is_queued: bool) -> None:
        """Queue a run that another one triggered."""
        await hand_over(self._broker, [Started(RunTask(org_id, run_id), "workflow", is_queued)])

    async def _tell_stop(self) -> None:
        await self._stop.wait()
        self._presence.status = "stopped"

    async def _cancel(self, task_id: str) -> None:
        """Cancel a run in hand, as asynqmon and `asynq task cancel` ask; any other is another worker's."""
        try:
            row = await self._engine.hands.cancel(task_id)
            if row is not None:
                await self._publisher.publish([run_finished(row, "cancelled", now_ms())])
        except B3osError as error:
            log.warning("not cancelled", extra={"run": task_id, "error": error.message})
