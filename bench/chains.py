"""Chains under load: what twelve busy ones cost, what an idle one costs, and an hour of downtime that is caught up.

The chains are those of `bench/node.py`, served from this process, so that what they cost is not the master's: counted
is its own processor time, for reading, matching and admitting. No worker runs.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache

import msgspec

from b3os.chain.chains import Chain
from b3os.chain.rpc import Rpc
from bench import million
from bench.engine import percentile
from bench.node import Line, Watcher, served
from bench.report import Gate, remark
from bench.running import Running, up_in
from services.master.chain.place import read_place
from services.master.sources.chain import FRONT, ChainSource
from tests.emulators.chain import Network, transfer
from tests.emulators.ledger import Ledger, Tx, digest
from tests.simulation.book import MemoryBook
from tests.simulation.chains import listening
from tests.trigger_records import compiled

CHAINS = tuple(range(9001, 9013))
TRIGGERS = 100_000
#: Logs of each chain in a second, and how many of them start a run.
LOGS, AWAITED = 1000, 10
#: The second reads begin when the first blocks are final.
WARM_S, WATCH_S = 20.0, 30.0
#: An hour of a chain with four blocks a second, and how long it is watched once it is caught up.
DOWN_S, BLOCK_S, ALONE_S = 3600, 0.25, 30.0
CATCH_UP_LIMIT_S = 240.0
#: What a request takes to a provider that is near.
DELAY_S = 0.02
#: Workflows of one chain whose calls are counted, for so many seconds.
WORKFLOWS, COUNTED_S = 100, 600

RUNS = """
    select (r.trigger_result->>'chainId')::bigint as chain, (r.trigger_result->>'blockNumber')::bigint as block,
        extract(epoch from pg_xact_commit_timestamp(c.xmin))::float8 as at
    from receipts c join runs r on r.org_id = c.org_id and r.id = c.run_id where r.trigger_result ? 'blockNumber'
"""
PAUSE = "update triggers set active = false, revision = nextval('trigger_revisions'), xid = pg_current_xact_id()"


@contextlib.contextmanager
def installed(lines: Sequence[Line], triggers: int, *statements: str) -> Iterator[Running]:
    """An installation without workers whose triggers listen to some chains."""
    with tempfile.TemporaryDirectory(prefix="b3c") as folder, served(lines) as chains:
        with up_in(folder) as first:
            first.tell("alter system set track_commit_timestamp = on")
            asyncio.run(million.fill(first.database_url, triggers, [line.chain_id for line in lines]))
            first.tell(*statements)
        with up_in(folder, "--workers", "0", B3OS_CHAINS=chains) as up:
            yield up


def watchers(place: int, chains: int, triggers: int) -> list[Watcher]:
    """Who awaits transfers on one of some chains."""
    mine = [n for n in range(place, triggers, chains) if million.type_of(n) == "erc20-receive"]
    return [Watcher(million.token_of(n), million.account_of(n)) for n in mine]


def busy(triggers: int) -> list[Line]:
    """Twelve chains with a block a second."""
    return [
        Line(chain, watchers(place, len(CHAINS), triggers), block_s=1.0, foreign=LOGS - AWAITED, awaited=AWAITED)
        for place, chain in enumerate(CHAINS)
    ]


def used_s(up: Running, seconds: float) -> float:
    """Let time go by; returns the processor seconds of the master in it."""
    before = up.cpu()["master"]
    time.sleep(seconds)
    return up.cpu()["master"] - before


def sustained() -> float:
    """The share of a core that twelve busy chains take of the master."""
    lines = busy(TRIGGERS)
    with installed(lines, TRIGGERS) as up:
        time.sleep(WARM_S)
        first = [line.height for line in lines]
        spent = used_s(up, WATCH_S)
        last = [line.height for line in lines]
        time.sleep(2.0)  # a poll is half a second: every block up to now is read by then
        found = up.ask(f"select chain, block, count(*) n from ({RUNS}) x group by 1, 2")
    runs = {(row["chain"], row["block"]): row["n"] for row in found}
    for chain, since, until in zip(CHAINS, first, last, strict=True):
        assert {runs.get((chain, block)) for block in range(since, until + 1)} == {AWAITED}, "the master fell behind"
    logs = len(CHAINS) * LOGS * WATCH_S
    remark(f"{len(CHAINS)} chains x {LOGS:,} logs/s, each read twice: {logs / spent:,.0f} logs a CPU second")
    return spent / WATCH_S


def idle() -> float:
    """Processor seconds of the master a minute for a chain whose blocks nobody waits for."""
    lines = [Line(chain, [], block_s=1.0, awaited=0) for chain in CHAINS]
    with installed(lines, 100 * len(lines)) as up:
        time.sleep(WARM_S)
        with_chains = used_s(up, WATCH_S)
        up.tell(PAUSE)
        time.sleep(5.0)
        without = used_s(up, WATCH_S)
    return (with_chains - without) / len(lines) * 60 / WATCH_S


def spread(times: Sequence[float]) -> str:
    """Say how long something took, in milliseconds."""
    return f"p50 {percentile(list(times), 0.5) * 1e3:.0f}, p99 {percentile(list(times), 0.99) * 1e3:.0f} ms"


class CaughtUp(msgspec.Struct, frozen=True):
    """Blocks a second that were caught up, and the milliseconds from a new block to its run, meanwhile and after."""

    blocks_s: float
    meanwhile_ms: float
    alone_ms: float


@cache
def caught_up() -> CaughtUp:
    """A master comes back to a chain that went on for an hour, each of whose blocks starts a run."""
    line = Line(CHAINS[0], watchers(0, 1, 1000), block_s=BLOCK_S, age_s=DOWN_S, final_depth=64, delay_s=DELAY_S)
    with installed(
        [line],
        1000,
        "delete from triggers where type = 'eth-receive'",
        f"update triggers set active_since = now() - interval '{DOWN_S - 30} s'",
    ) as up:
        limit = time.monotonic() + CATCH_UP_LIMIT_S
        while missing(up, line):
            if time.monotonic() > limit:
                raise RuntimeError(f"not caught up in {CATCH_UP_LIMIT_S:g} s")
            time.sleep(0.2)
        time.sleep(ALONE_S)
        runs = sorted((row["block"], row["at"]) for row in up.ask(RUNS))
    blocks = [block for block, _ in runs]
    assert blocks == list(range(blocks[0], blocks[-1] + 1)), "each block is one run"
    back = min(at for _, at in runs)
    missed = [(block, at) for block, at in runs if line.time_of(block) < back]
    level = max(at for _, at in missed)
    new = [(line.time_of(block), at - line.time_of(block)) for block, at in runs if line.time_of(block) >= back]
    meanwhile = [late for since, late in new if since < level]
    alone = [late for since, late in new if since > level + 1.0]
    remark(f"{len(missed):,} blocks caught up in {level - back:.1f} s, requests of {DELAY_S * 1e3:.0f} ms")
    for when, times in (("meanwhile", meanwhile), ("alone", alone)):
        remark(f"from a new block to its run, {when}: {spread(times)}, of {len(times)} blocks")
    return CaughtUp(len(missed) / (level - back), percentile(meanwhile, 0.99) * 1e3, percentile(alone, 0.99) * 1e3)


def missing(up: Running, line: Line) -> bool:
    """Whether blocks of a chain are still to be read, other than the newest."""
    found = up.ask("select position from cursors where source = $1", f"chain:{line.chain_id}")
    place = read_place(msgspec.json.decode(found[0]["position"])) if found else None
    return place is None or bool(place.gaps) or place.head < line.height - FRONT


def calls() -> float:
    """Calls of one chain with many workflows, ours over those of one poller for each; in virtual time."""
    ours, theirs = asyncio.run(Counted().ours()), asyncio.run(Counted().pollers())
    remark(f"{WORKFLOWS} workflows, a block a second: {ours:.0f} calls a minute, one poller each {theirs:,.0f}")
    return ours / theirs


class Counted:
    """A chain with a block a second, each with a transfer that one of the workflows waits for."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.ledger = Ledger(CHAINS[0], block_s=1)
        self.ledger.grow(100)
        self.network = Network(self.ledger)
        self.chain = Chain(id=CHAINS[0], name="counted", rpc_urls=self.network.urls, block_time_ms=1000)

    @property
    def a_minute(self) -> float:
        """Calls a minute."""
        return len(self.network.views[0].calls) * 60 / COUNTED_S

    def wait(self, seconds: float) -> None:
        """Let time go by."""
        due = int(self.clock + seconds) - int(self.clock)
        self.clock += seconds
        for _ in range(due):
            number = self.ledger.head + 1
            log = transfer(payload_of(0)["tokenAddress"], "0x" + "a1" * 20, payload_of(number)["walletAddress"], 5000)
            self.ledger.mine(Tx(digest("tx", number), (log,)))

    async def ours(self) -> float:
        """The calls of a master."""
        book = MemoryBook()
        table, matcher = listening(self.network, book)
        for number in range(WORKFLOWS):
            table.apply(compiled(f"wf_{number}", "erc20-receive", payload_of(number)))
        rpc = Rpc(self.chain, self.network, now=lambda: self.clock)
        source = ChainSource(rpc, table=table, matcher=matcher, book=book, now=lambda: self.clock)
        while self.clock < COUNTED_S:
            self.wait(await source.poll(1))
        assert len(book.runs) >= COUNTED_S - 1, "the calls are those of a master that misses nothing"
        return self.a_minute

    async def pollers(self) -> float:
        """The calls of a poller for each workflow that asks no more than it must: the height, and new blocks' logs."""
        rpc, head = Rpc(self.chain, self.network, now=lambda: self.clock), self.ledger.head
        while self.clock < COUNTED_S:
            for number in range(WORKFLOWS):
                height = await rpc.height()
                if height > head:
                    place = {"fromBlock": hex(head + 1), "toBlock": hex(height)}
                    await rpc.call("eth_getLogs", {"address": [payload_of(number)["tokenAddress"]], **place})
            head = height
            self.wait(self.chain.poll_s)
        return self.a_minute


def payload_of(number: int) -> dict[str, str]:
    """What a workflow of those counted waits for."""
    return million.payload_of("erc20-receive", million.account_of(number % WORKFLOWS), 0, CHAINS[0])


GATES = (
    Gate(
        name="calls of a chain with 100 workflows, ours / one poller each", bar=0.05, measure=calls, is_quick=True,
        reason="a provider's quota would bound how many workflows there are",
    ),
    Gate(
        name="12 chains x 1,000 logs/s at 100,000 triggers, of one core", bar=0.5, measure=sustained,
        reason="a master would fall behind busy chains",
    ),
    Gate(
        name="an idle chain, CPU seconds a minute", bar=0.3, measure=idle,
        reason="a chain that nothing happens on would cost a machine",
    ),
    Gate(
        name="an hour of downtime of a 0.25 s chain, blocks caught up", unit="/s", bar=200, at_least=True,
        measure=lambda: caught_up().blocks_s, forget=caught_up.cache_clear,
        reason="what happened in a downtime fires late",
    ),
    Gate(
        name="new block to run, p99, while an hour is caught up / alone", bar=1.5,
        measure=lambda: caught_up().meanwhile_ms / caught_up().alone_ms, forget=caught_up.cache_clear,
        reason="a downtime would be felt after it is over",
    ),
)  # fmt: skip
