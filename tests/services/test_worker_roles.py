"""Workers on real servers: all lost from Redis under load, a graceful stop, and nobody taking more than it may."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.asyncio

from b3os.handover import hand_over, started_by
from b3os.ids import receipt_key, run_id_for
from b3os.queue.broker import Broker
from b3os.store.admission import Proposal, accept
from b3os.store.pool import Pool, open_pool
from b3os.stream.publish import Publisher
from services.worker.app import Engine
from services.worker.commit import CommitGroup
from services.worker.ports import PostgresStore
from services.worker.runner import Runner, now_ms
from services.worker.sweeper import Sweeper
from tests.store.rows import make_workflow

ACT = {"type": "act", "payload": {}, "children": ["end"]}
NODES = {
    "root": {"type": "manual", "payload": {}, "children": ["act"]},
    "act": ACT,
    "end": {"type": "log", "payload": {"message": "done"}, "children": []},
}


def no_check(*_: Any) -> None:
    """These workflows wait for no trigger."""


class Ledger:
    """The actions process: notes every call, and answers when it is let."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.open = asyncio.Event()
        self.open.set()

    async def execute(self, command: Any, **_: Any) -> dict[str, int]:
        self.calls.append(command.idempotency_key)
        await self.open.wait()
        return {"n": 1}


class Site:
    """Servers, a workflow, and the workers that a test starts."""

    def __init__(self, pool: Pool, redis_url: str) -> None:
        self.pool = pool
        self.redis_url = redis_url
        self.broker = Broker(redis_url)
        self.publisher = Publisher(redis_url)
        self.ledger = Ledger()
        self.working: list[tuple[asyncio.Event, asyncio.Task[None]]] = []

    def start(self, owner: str, grace_s: float = 5.0) -> asyncio.Event:
        store, stop = PostgresStore(self.pool), asyncio.Event()
        commits = CommitGroup(store.commit, self.publisher)
        runner = Runner(
            pool=self.pool, commits=commits, actions=self.ledger, effects=None, master_key="", check_trigger=no_check
        )  # type: ignore[arg-type]
        engine = Engine(
            store=store, queue=self.broker, runner=runner, commits=commits, owner=owner, grace_s=grace_s, stop=stop
        )
        self.working.append((stop, asyncio.create_task(engine.serve())))
        return stop

    async def admit(self, count: int, org: str = "org_a", *, is_queued: bool = True) -> None:
        keys = [receipt_key("wf", org, str(n)) for n in range(count)]
        proposals = [
            Proposal(org, f"wf_{org}", 1, "root", key, run_id_for(key), "webhook", {"n": n}, now_ms())
            for n, key in enumerate(keys)
        ]
        outcomes = await accept(self.pool, proposals)
        if is_queued:
            await hand_over(self.broker, [started_by(p, o) for p, o in zip(proposals, outcomes, strict=True)])

    async def count(self, condition: str) -> int:
        return int(await self.pool.fetchval(f"select count(*) from runs where {condition}"))

    async def until(self, holds: Callable[[], Any], what: str, limit_s: float = 40.0) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not await holds():
                    await asyncio.sleep(0.05)
                return
        raise AssertionError(f"not within {limit_s} s: {what}")

    async def close(self) -> None:
        for stop, _ in self.working:
            stop.set()
        self.ledger.open.set()
        await asyncio.gather(*(task for _, task in self.working))
        await self.broker.close()
        await self.publisher.close()
        await self.pool.close()


@pytest.fixture
async def site(pg_url: str, redis_url: str) -> AsyncIterator[Site]:
    pool = await open_pool(pg_url, max_size=8)
    for org in ("org_a", "org_b"):
        await make_workflow(pool, f"wf_{org}", org)
        # A published version is immutable: the tests' own is put in its place before anything runs.
        await pool.execute("alter table workflow_versions disable trigger all")
        await pool.execute("update workflow_versions set definition = $1 where org_id = $2", {"nodes": NODES}, org)
        await pool.execute("alter table workflow_versions enable trigger all")
    found = Site(pool, redis_url)
    yield found
    await found.close()


async def test_flushing_redis_under_load_loses_no_run(site: Site) -> None:
    for owner in ("w1", "w2"):
        site.start(owner)
    client: Any = redis.asyncio.Redis.from_url(site.redis_url)
    for _ in range(4):
        await client.flushall()
        await asyncio.sleep(0)
    await site.admit(900)
    await client.flushall()

    async def ended() -> bool:
        done = await site.count("status = 'success'")
        if 0 < done < 600:
            await client.flushall()
        return done == 900

    await site.until(ended, "900 runs ended")
    await client.aclose()
    assert len(set(site.ledger.calls)) == 900
    assert len(site.ledger.calls) == 900


async def test_a_stopping_worker_hands_its_runs_over_at_once(site: Site) -> None:
    site.ledger.open.clear()
    stop = site.start("w1", grace_s=0.1)
    await site.admit(5)

    async def called() -> bool:
        return len(site.ledger.calls) == 5

    await site.until(called, "five calls")
    stop.set()
    await site.working[0][1]
    assert await site.count("owner is null and status = 'running'") == 5
    assert await site.pool.fetchval("select count(*) from workers") == 0
    site.ledger.open.set()
    site.start("w2")

    async def ended() -> bool:
        return await site.count("status = 'success' and epoch = 2") == 5

    # Well before the four seconds after which a lost run would be looked for.
    await site.until(ended, "the other worker went on", limit_s=3.5)
    assert len(set(site.ledger.calls)) == 5


async def test_a_stopping_worker_lets_runs_end_within_the_grace_period(site: Site) -> None:
    site.ledger.open.clear()
    stop = site.start("w1")
    await site.admit(3)

    async def called() -> bool:
        return len(site.ledger.calls) == 3

    await site.until(called, "three calls")
    stop.set()
    await site.admit(2, "org_b")
    site.ledger.open.set()
    await site.working[0][1]
    assert await site.count("status = 'success'") == 3
    assert await site.count("org_id = 'org_b' and epoch > 0") == 0


async def test_an_organization_holds_its_window_and_no_more(site: Site) -> None:
    await site.pool.execute("update organizations set run_window = 3 where org_id = 'org_a'")
    site.ledger.open.clear()
    site.start("w1")
    await site.admit(10)
    await site.admit(2, "org_b")

    async def called() -> bool:
        return len(site.ledger.calls) == 5

    await site.until(called, "three of one organization and two of the other")
    await site.broker.call_feeder()
    assert await site.count("org_id = 'org_a' and queued_at is not null") == 3
    site.ledger.open.set()

    async def ended() -> bool:
        return await site.count("status = 'success'") == 12

    await site.until(ended, "all ended, though seven were never queued by who admitted them")


async def test_a_run_that_ends_lets_the_next_of_its_organization_begin_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: Sweeper) -> None: ...

    monkeypatch.setattr(Sweeper, "step", never)
    await site.pool.execute("update organizations set run_window = 1 where org_id = 'org_a'")
    site.start("w1")
    await site.admit(60)

    async def ended() -> bool:
        return await site.count("status = 'success'") == 60

    await site.until(ended, "all ended one after the other, and nobody swept")


async def test_a_task_that_is_not_ours_is_left_to_others(site: Site) -> None:
    client: Any = redis.asyncio.Redis.from_url(site.redis_url)
    from b3os.queue.task import Task

    await site.broker.enqueue([Task("m", "mail:send", b"{}", "default"), Task("b", "wf:run", b"nonsense", "default")])
    site.start("w1")

    async def sorted_out() -> bool:
        retried = await client.zcard("asynq:{default}:retry")
        return bool(retried == 1 and await client.zcard("asynq:{default}:archived") == 1)

    await site.until(sorted_out, "one for another worker, one for a person")
    await client.aclose()
