"""Random histories of a forking chain, its lying upstreams and dying masters, and what must have fired in the end.

A history follows from its seed: blocks of transfers and other logs, forks that drop, move and change transactions,
faults of one upstream at a time, masters that are paused, or killed at any call they make. The clock is virtual. At
the end all is calm; then the runs must be the matching logs of the canonical chain, in some histories its reverted
transactions, the coins that calls inside transactions moved and every third block too: none missing, none twice, each
told that its event is final, and every other run that its event was removed; and the coverage must say that all was
read. By hand: `python -m tests.simulation.chains --seeds 1000`; a wrong history is printed.
"""

import argparse
import asyncio
import logging
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from b3os.chain.chains import Chain
from b3os.chain.rpc import HttpAnswer, HttpClient, Rpc
from b3os.chain.rpc_errors import ChainUnreachable, RpcError
from b3os.detect.matcher import Matcher
from b3os.errors import StaleEpoch
from b3os.reading.traces import DIALECTS
from b3os.store.trigger_notices import Sighting
from b3os.store.triggers import TriggerRow
from services.master.chain.book import Book, Fate, Written
from services.master.chain.reading import Found
from services.master.sources.chain import ChainSource
from services.master.sources.chains import Chains
from services.master.table import Table
from tests.emulators.chain import ALICE, BOB, TOKEN, Network, transfer
from tests.emulators.ledger import Emitted, Inner, Ledger, Tx, digest
from tests.simulation.book import MemoryBook
from tests.trigger_records import compiled

CHAIN_ID = 31337
FINAL_DEPTH = 12
EVERY = 3
OTHER = "0x" + "0e" * 20
POLICIES: tuple[int | str, ...] = ("latest", 1, 3, 7, "safe", "finalized")
#: Lies that a second upstream or the bloom exposes, refusals, and views that disagree.
FAULTS = (
    "empty", "truncated", "repeated", "shuffled", "removed", "outside", "other_fork", "null", "one_limited", "missing",
    "http429", "http502", "malformed", "wrong_id", "rate", "internal", "silence", "zero",
)  # fmt: skip


#: What is told of runs that begin: the head that was read, their events, and whether they were known to be final.
Note: TypeAlias = Callable[[int, Sequence[Found], str], None]
#: Workflow, and what makes the event: transaction, order of the log in it and its data, or what stands for them.
Key = tuple[str, str, int, str]


class Killed(BaseException):
    """The master is gone: nothing of it goes on, no handler and no `finally` that would write."""


class Fuse:
    """How many calls a master still makes before it dies; None: it lives."""

    left: int | None = None

    def burn(self) -> None:
        """Make a call, or die."""
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed


class Mortal:
    """A client of the upstreams that dies with its master."""

    def __init__(self, network: Network, fuse: Fuse) -> None:
        self._network = network
        self._fuse = fuse

    async def request(self, *about: Any, **more: Any) -> HttpAnswer:
        """Ask, and die before it or with the answer."""
        self._fuse.burn()
        return await self._network.request(*about, **more)


class MortalBook:
    """A book that a master dies at: before its transaction, or when it is committed and nobody heard of it."""

    def __init__(self, book: MemoryBook, fuse: Fuse, note: Note) -> None:
        self._book = book
        self._fuse = fuse
        self._note = note

    async def position(self, source: str) -> dict[str, Any] | None:
        """Read."""
        self._fuse.burn()
        return await self._book.position(source)

    async def pending(self, source: str, until: int) -> list[Sighting]:
        """Read."""
        self._fuse.burn()
        return await self._book.pending(source, until)

    async def write(
        self, cursor: tuple[str, int, dict[str, Any]], found: Sequence[Found], *, state: str, fates: Sequence[Fate] = ()
    ) -> Written:
        """Write."""
        self._fuse.burn()
        written = await self._book.write(cursor, found, state=state, fates=fates)
        begun = [one for one, o in zip(found, written.outcomes, strict=True) if o.status == "accepted"]
        self._note(cursor[2]["recent"][-1][0], begun, state)
        self._fuse.burn()
        return written


class History:
    """One history: the network, the masters and what happened."""

    def __init__(self, seed: int, book: MemoryBook | None = None) -> None:
        self.random = random.Random(seed)
        self.log: list[str] = []
        self.clock = 0.0
        ledger = Ledger(CHAIN_ID)
        ledger.final_depth = FINAL_DEPTH
        ledger.grow(FINAL_DEPTH + 8)
        self.network = Network(ledger, self.random.choice((1, 2, 3)))
        for view in self.network.views:
            view.max_range = self.random.choice((0, 0, 3, 10))
            view.dialect = self.random.choice(("alchemy", "reth", "ankr", "drpc", "infura"))
            view.takes_batches = self.random.random() > 0.1
        #: Whether triggers listen to blocks and transactions too, which are then read whole.
        self.is_whole = self.random.random() < 0.3
        for view in self.network.views:
            view.tracers = {self.random.choice(DIALECTS)}
        self.book = book or MemoryBook()
        self.epoch = 1
        self.fuse = Fuse()
        self.source = self.master()
        #: In some histories nothing goes wrong but forks, and every event fires as soon as its policy allows.
        self.is_quiet = self.random.random() < 0.2
        #: Events that fired before their policy allowed it, and those that only the second read found.
        self.early: list[str] = []
        self.late: list[str] = []
        #: The highest blocks that were final, and safe.
        self.final = self.safe = 0
        self.rise()
        self.pool: list[Tx] = []
        self.made = 0
        #: Masters that lost their lease without knowing, and the epoch that they had.
        self.paused: list[tuple[ChainSource, int]] = []

    def master(self) -> ChainSource:
        """A new master's view of the chain."""
        chain = Chain(id=CHAIN_ID, name="emulated", rpc_urls=self.network.urls)
        self.fuse = Fuse()
        http, book = Mortal(self.network, self.fuse), MortalBook(self.book, self.fuse, self.note)
        table, matcher = listening(http, book)
        for policy in POLICIES:
            table.apply(row(f"wf_{policy}", policy))
            if self.is_whole:
                about = {"chainId": CHAIN_ID, "confirmations": policy}
                table.apply(compiled(f"blocks_{policy}", "evm-block", {**about, "every": EVERY}))
                table.apply(compiled(f"reverts_{policy}", "evm-revert", {**about, "address": TOKEN}))
                table.apply(compiled(f"coins_{policy}", "eth-receive", {**about, "walletAddress": BOB}))
        return ChainSource(
            Rpc(chain, http, now=lambda: self.clock),
            table=table,
            matcher=matcher,
            book=book,
            now=lambda: self.clock,
            now_ms=lambda: int(self.clock * 1000),
        )

    def rise(self) -> None:
        """Remember what was ever final, and safe."""
        ledger = self.network.ledger
        self.final, self.safe = max(self.final, ledger.final), max(self.safe, (ledger.final + ledger.head) // 2)

    def note(self, head: int, begun: Sequence[Found], state: str) -> None:
        """Judge when events fired."""
        for one in begun:
            limits = {"safe": self.safe, "finalized": self.final}
            limit = head - one.policy if isinstance(one.policy, int) else limits[one.policy]
            where = f"{one.event.row.workflow_id} of block {one.block} at head {head}"
            self.early += [where] if one.block > max(limit, self.final) else []
            self.late += [where] if state == "finalized" != one.policy and one.block <= limit else []

    def tx(self) -> Tx:
        """A new transaction: transfers, other logs, or none."""
        self.made += 1
        logs = [
            transfer(TOKEN, ALICE, self.random.choice((BOB, BOB, OTHER)), self.random.randint(1, 9))
            for _ in range(self.random.choice((0, 1, 1, 2, 3)))
        ]
        if self.random.random() < 0.3:
            logs.insert(0, Emitted(OTHER, (digest("topic"),)))
        status = int(self.random.random() > 0.1)
        return Tx(digest("tx", self.made), tuple(logs), to=TOKEN, status=status, inner=self.inner())

    def inner(self) -> tuple[Inner, ...]:
        """Calls inside a transaction, of which the last may fail."""
        amounts = [self.random.randint(1, 3) for _ in range(self.random.choice((0, 0, 1, 2)))]
        error = self.random.choice(("", "", "execution reverted"))
        return (*(Inner(TOKEN, BOB, amount) for amount in amounts), Inner(TOKEN, BOB, 4, error=error))

    def mine(self) -> None:
        """A block of new and waiting transactions."""
        waiting, self.pool = self.pool[:2], self.pool[2:]
        fresh = [self.tx() for _ in range(self.random.choice((0, 0, 1, 2)))]
        block = self.network.ledger.mine(*waiting, *fresh)
        self.rise()
        self.log.append(f"mine {block.number} {block.hash[:8]} {[tx.hash[:8] for tx in block.txs]}")

    def fork(self) -> None:
        """A fork: its transactions are lost, mined again elsewhere, or say something else; or the old blocks win."""
        depth = self.random.choice((1, 1, 2, 3, 7, FINAL_DEPTH - 1))
        gone = self.network.ledger.fork(depth)
        self.log.append(f"fork {depth} to {self.network.ledger.head}")
        kept = [tx for block in gone for tx in block.txs if self.random.random() < 0.7]
        self.pool = [self.changed(tx) for tx in kept] + self.pool
        for _ in range(depth + self.random.choice((0, 1, 2))):
            self.mine()
        if gone and self.random.random() < 0.2:
            self.log.append("the old blocks win")
            self.network.ledger.restore(gone)
            again = {tx.hash for block in gone for tx in block.txs}
            self.pool = [tx for tx in self.pool if tx.hash not in again]

    def changed(self, tx: Tx) -> Tx:
        """The same transaction, with other effects now and then."""
        if self.random.random() < 0.8 or not tx.logs:
            return tx
        logs = (*tx.logs[:-1], transfer(TOKEN, ALICE, BOB, self.random.randint(10, 19)))
        return Tx(tx.hash, logs, to=TOKEN, status=int(self.random.random() > 0.3), inner=self.inner())

    def fault(self) -> None:
        """A fault of one upstream, while the others are well."""
        for view in self.network.views:
            view.faults.clear()
            view.lag = 0
        number = self.random.randrange(len(self.network.views))
        view = self.network.views[number]
        if self.random.random() < 0.2:
            view.lag = self.random.choice((1, 3, 20))
            self.log.append(f"upstream {number} lags by {view.lag}")
            return
        kind = self.random.choice(FAULTS)
        if kind == "truncated" and len(self.network.views) == 1:
            kind = "empty"  # half an answer of the only upstream cannot be told from a whole one
        method = self.random.choice(("", "eth_getLogs", "eth_getBlockByNumber", "eth_getTransactionReceipt"))
        if kind in ("null", "missing"):
            method = self.random.choice(("eth_getBlockByNumber", "eth_getTransactionReceipt"))
        if kind == "zero":
            method = "eth_blockNumber"
        view.fail(kind, method=method, times=self.random.choice((1, 2, 5)))
        self.log.append(f"upstream {number}: {kind} {method}")

    def kill(self) -> None:
        """The master is about to die, at one of its next calls; or it is paused, and another takes over."""
        if self.random.random() < 0.5:
            self.fuse.left = self.random.randrange(15)
            return
        self.paused.append((self.source, self.epoch))
        self.take_over("paused")

    def take_over(self, why: str) -> None:
        """Another master takes over."""
        self.epoch += 1
        self.book.epoch = self.epoch
        self.source = self.master()
        self.log.append(f"master {self.epoch}: the last one is {why}")

    async def poll(self, source: ChainSource, epoch: int) -> bool:
        """One poll as the keeper does it; returns whether it ended well."""
        try:
            self.clock += await source.poll(epoch)
        except (ChainUnreachable, RpcError, StaleEpoch, ValueError) as error:
            if isinstance(error, StaleEpoch):
                return False
            self.clock += source.failed(error)
            return False
        except Killed:
            if source is self.source:
                self.take_over("dead")
            return False
        return True

    async def run(self, steps: int) -> None:
        """Play the history, then let all be calm until everything is final and read."""
        if not self.is_quiet and self.random.random() < 0.5:
            self.fault()
        await self.poll(self.source, self.epoch)
        acts: list[tuple[Callable[[], None], int]] = [(self.mine, 12), (self.fork, 3), (self.fault, 4), (self.kill, 2)]
        acts = acts[:2] if self.is_quiet else acts
        for _ in range(steps):
            (act,) = self.random.choices([act for act, _ in acts], [weight for _, weight in acts])
            act()
            self.clock += 1.0
            for _ in range(3 if self.is_quiet else self.random.choice((0, 1, 1, 2))):
                await self.poll(self.source, self.epoch)
                if self.paused and self.random.random() < 0.5:
                    await self.poll(*self.paused.pop())
        await self.calm()

    async def calm(self) -> None:
        """End every fault, mine until all is final, and read it."""
        self.fuse.left = None
        for view in self.network.views:
            view.faults.clear()
            view.lag = 0
        while self.pool:
            self.mine()
        for _ in range(FINAL_DEPTH + 2):
            self.network.ledger.grow(1)
            self.rise()
            if self.is_quiet:
                await self.poll(self.source, self.epoch)
        for _ in range(400):
            self.clock += 5.0
            await self.poll(self.source, self.epoch)
            if self.source.is_level(self.network.ledger.final):
                return
        raise AssertionError(f"never caught up: {self.source.report()}")

    def expected(self) -> set[Key]:
        """What must have fired."""
        ledger = self.network.ledger
        txs = [tx for block in ledger.canonical for tx in block.txs]
        logs = [(tx.hash, n, log) for tx in txs if tx.status for n, log in enumerate(tx.logs)]
        wanted = [(h, n, log.data) for h, n, log in logs if log.address == TOKEN and log.topics[2].endswith(BOB[2:])]
        found: set[Key] = {(f"wf_{policy}", *which) for policy in POLICIES for which in wanted}
        if self.is_whole:
            reverted = [tx.hash for tx in txs if not tx.status]
            found |= {(f"reverts_{policy}", tx, 0, "reverted") for policy in POLICIES for tx in reverted}
            found |= {(f"coins_{policy}", *which) for policy in POLICIES for tx in txs for which in moved(tx)}
            turns = range(EVERY, ledger.final + 1, EVERY)
            found |= {(f"blocks_{policy}", "block", number, "") for policy in POLICIES for number in turns}
        return found


def moved(tx: Tx) -> list[tuple[str, int, str]]:
    """The coins that calls inside a transaction moved to BOB: which of the same amount each is, and the amount."""
    values = [call.value for call in tx.inner if tx.status and not call.error]
    return [(tx.hash, values[:at].count(value), str(value)) for at, value in enumerate(values)]


def listening(http: HttpClient, book: Book) -> tuple[Table, Matcher[TriggerRow]]:
    """A master's table of triggers, and what matches them."""
    table = Table()
    family = Chains([], http=http, table=table, book=book)
    table.follow([family])
    return table, family.matcher


def row(workflow: str, policy: int | str) -> bytes:
    """A trigger of transfers to BOB under a policy, as the store reads it."""
    payload: dict[str, object] = {
        "chainId": CHAIN_ID,
        "walletAddress": BOB,
        "tokenAddress": TOKEN,
        "confirmations": policy,
    }
    return compiled(workflow, "erc20-receive", payload)


def key_of(found: Found) -> Key:
    """Return what a run began with."""
    workflow, parts = found.event.row.workflow_id, found.event.identity.split(":")
    match found.event.row.type:
        case "evm-block":
            return workflow, "block", int(parts[3]), ""
        case "eth-receive":
            return workflow, parts[2], int(parts[7]), parts[6]
        case "evm-revert":
            return workflow, parts[2], 0, parts[3]
    return workflow, parts[2], int(parts[3]), f"0x{int(found.event.result['amount']):064x}"


def faults_of(history: History, book: MemoryBook) -> list[str]:
    """Say what is wrong with what fired."""
    expected = history.expected()
    fired: dict[Key, list[str]] = {}
    for run_id, found in book.runs.items():
        if found.event.row.type != "evm-block" or found.block <= history.network.ledger.final:
            fired.setdefault(key_of(found), []).append(run_id)
    wrong = [f"missing {key}" for key in expected - set(fired)]
    wrong += [f"fired twice {key}" for key, runs in fired.items() if len(runs) > 1]
    wrong += ["a run was started twice"] if len(book.started) != len(set(book.started)) else []
    wrong += [f"never told what became of it: {one}" for one in book.undecided(history.network.ledger.final)]
    wrong += [f"fired too early: {one}" for one in history.early]
    wrong += [f"fired too late: {one}" for one in history.late if history.is_quiet]
    covered = history.source.report()[1]
    if (covered["seen"], covered["missing"], covered["gaps"]) != (covered["head"], 0, []):
        wrong.append(f"not what was covered: {covered}")
    for key, (run_id, *_) in fired.items():
        notices = book.notices[run_id]
        if len(notices) != len(set(notices)):
            wrong.append(f"told twice {key}: {notices}")
        elif key in expected and notices and notices[-1] != "finalized":
            wrong.append(f"told to be gone, and is there {key}: {notices}")
        elif key not in expected and notices != ["removed"]:
            wrong.append(f"not told to be gone {key}: {notices}")
    return wrong


async def play(seed: int, steps: int = 40) -> list[str]:
    """Play one history; returns what is wrong, and the history with it."""
    history = History(seed)
    wrong = await judged(history, steps)
    return [f"seed {seed}", *wrong, *history.log] if wrong else []


async def judged(history: History, steps: int) -> list[str]:
    """Play a history; returns what is wrong."""
    try:
        await history.run(steps)
    except AssertionError as error:
        return [str(error)]
    return faults_of(history, history.book)


def main() -> int:
    """Play as many histories as asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--steps", type=int, default=40)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    failed = 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        if wrong := asyncio.run(play(seed, arguments.steps)):
            failed += 1
            print("\n".join(wrong), flush=True)
    print(f"{arguments.seeds} histories, {failed} wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
