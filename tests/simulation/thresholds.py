"""Random histories of a balance on a forking chain, and when its thresholds must have fired in the end.

A history follows from its seed: blocks that change a balance, forks, replicas that lag, upstreams that fail, masters
that die, writes that are done without their answer arriving. At the end all is calm. Of the runs that were not told
that their event was removed, each must be in a block of the canonical chain in which the condition holds, two of them
must have a block between them in which it does not, and one must follow the last reading in which it did not if it
holds at the end: no edge twice, none lost. By hand: `python -m tests.simulation.thresholds --seeds 1000`.
"""

import argparse
import asyncio
import itertools
import logging
import random
import sys

from tests.emulators.ledger import Block
from tests.services.threshold_case import BALANCE, Case

LIMIT = 100
POLICIES: tuple[int | str, ...] = (0, 1, 3, "safe", "finalized")
FAULTS = ("internal", "silence", "http502", "missing", "null", "malformed", "rate")
METHODS = ("", "eth_call", "eth_getBlockByNumber", "eth_blockNumber")


def held(block: Block) -> int:
    """The balance after a block."""
    return int(block.state.get(BALANCE, "0x0"), 16)


class History:
    """One history, and what happened."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.case = Case(self.random.choice((1, 2, 3)))
        self.log: list[str] = []
        #: The highest block that was final: no fork goes below it.
        self.final = 0
        #: Blocks of the canonical chain in which a policy's triggers were read.
        self.sampled: dict[int | str, set[tuple[int, str]]] = {policy: set() for policy in POLICIES}
        for view in self.case.network.views:
            view.has_multicall = self.random.random() < 0.7
            view.takes_hashes = self.random.random() < 0.8
        for policy in POLICIES:
            self.case.watch(f"wf_{policy}", confirmations=policy)

    def mine(self) -> None:
        """A block; the balance is above the threshold or below it."""
        txs = [self.case.hold(self.random.choice((0, 50, 100, 150)))] if self.random.random() < 0.5 else []
        block = self.case.ledger.mine(*txs)
        self.log.append(f"mine {block.number} {block.hash[:8]} {held(block)}")

    def fork(self) -> None:
        """The newest blocks are replaced; or they win after all."""
        self.final = max(self.final, self.case.ledger.final)
        depth = min(self.random.choice((1, 1, 2, 3, 7)), self.case.ledger.head - self.final)
        gone = self.case.ledger.fork(depth)
        self.log.append(f"fork {depth} to {self.case.ledger.head}")
        for _ in range(depth + self.random.choice((0, 1, 2))):
            self.mine()
        self.final = max(self.final, self.case.ledger.final)
        if self.random.random() < 0.2 and gone[0].number > self.final:
            self.log.append("the old blocks win")
            self.case.ledger.restore(gone)

    def fault(self) -> None:
        """One upstream lags or fails, the others are well."""
        for view in self.case.network.views:
            view.faults.clear()
            view.lag = 0
        view = self.random.choice(self.case.network.views)
        if self.random.random() < 0.4:
            view.lag = self.random.choice((1, 3, 9))
        else:
            view.fail(self.random.choice(FAULTS), method=self.random.choice(METHODS), times=self.random.choice((1, 4)))

    def kill(self) -> None:
        """The master dies, and another takes over."""
        self.case.book.inner.epoch += 1
        self.case.master()
        self.log.append("master")

    def lose(self) -> None:
        """The next write is done, and its answer does not arrive."""
        self.case.book.loses_answer = True
        self.log.append("lose")

    async def run(self, steps: int) -> None:
        """Play the history, then let all be calm until everything is final."""
        for _ in range(steps):
            acts = (self.mine, self.fork, self.fault, self.kill, self.lose)
            (act,) = self.random.choices(acts, (12, 3, 4, 1, 1))
            act()
            for _ in range(self.random.choice((0, 1, 1, 2))):
                await self.poll()
        for view in self.case.network.views:
            view.faults.clear()
            view.lag = 0
        self.case.clock += 3600
        for _ in range(4):
            self.case.ledger.grow(6)
            self.case.clock += 100
            for _ in range(6):
                await self.poll()

    async def poll(self) -> None:
        """One poll, and what was read in it; what a fork took meanwhile was not read."""
        await self.case.poll()
        there = {(block.number, block.hash) for block in self.case.ledger.canonical}
        for policy, group in self.case.source.holding.groups.items():
            is_read = group.at is not None and not group.fresh
            self.sampled[policy] = (self.sampled[policy] | ({group.at} if is_read else set())) & there

    def wrong(self, policy: int | str) -> list[str]:
        """Say what is wrong with the runs of one policy."""
        blocks, book = self.case.ledger.canonical, self.case.book.inner
        holds = [held(block) >= LIMIT for block in blocks]
        runs = [run for run, found in book.runs.items() if found.event.row.workflow_id == f"wf_{policy}"]
        told = 0 if policy == "finalized" else 1
        found = [f"told {book.notices[run]}: {run}" for run in runs if len(book.notices[run]) != told]
        kept = sorted(book.sightings[run] for run in runs if "removed" not in book.notices[run])
        gone = [book.sightings[run] for run in runs if "removed" in book.notices[run]]
        found += [
            f"fired where it does not hold: {at}" for at in kept if blocks[at[0]].hash != at[1] or not holds[at[0]]
        ]
        found += [f"told to be gone, and is there: {at}" for at in gone if blocks[at[0]].hash == at[1]]
        for (first, _), (second, _) in itertools.pairwise(kept):
            if all(holds[first : second + 1]):
                found.append(f"fired twice for one edge: {first} and {second}")
        last_false = max((number for number, _ in self.sampled[policy] if not holds[number]), default=0)
        if holds[-1] and not any(number > last_false for number, _ in kept):
            found.append(f"lost the edge after {last_false}: {kept}")
        return [f"{policy}: {one}" for one in found]


async def play(seed: int, steps: int = 40) -> list[str]:
    """Play one history; returns what is wrong, and the history with it."""
    history = History(seed)
    await history.run(steps)
    wrong = [one for policy in POLICIES for one in history.wrong(policy)]
    return [f"seed {seed}", *wrong, *history.log] if wrong else []


def main() -> int:
    """Play as many histories as asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    failed = 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        if wrong := asyncio.run(play(seed)):
            failed += 1
            print("\n".join(wrong), flush=True)
    print(f"{arguments.seeds} histories, {failed} wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
