"""Twelve Anvil chains at once: from the moment a node has a block to the commit of the run that it starts.

A bare poller of each chain asks beside ours, as often, for the same blocks: it stores nothing, follows no forks and
answers for one workflow. What it takes is what polling costs; what is above it is ours.
"""

import contextlib
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import msgspec

from b3os.chain.chains import Chain
from b3os.embedded.supervisor import free_port
from bench.chains import RUNS, spread
from bench.engine import percentile
from bench.report import Gate, remark
from bench.running import running
from demo import chain as demo

CHAINS = tuple(range(9101, 9113))
#: How far apart the blocks of a chain are, and how many each chain makes.
APART_S = (1.0, 2.0)
BLOCKS = 30
BLOCK_TIME_MS = 1000
#: Everything is warm, and read, in so long.
WARM_S = 5.0


class Anvil:
    """One chain: it makes a block when it is told to."""

    def __init__(self, chain_id: int, *, is_heard: bool) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        heard = (f"ws://127.0.0.1:{port}",) if is_heard else ()
        self.chain = Chain(id=chain_id, name="anvil", rpc_urls=(self.url,), ws_urls=heard, block_time_ms=BLOCK_TIME_MS)
        self.process = demo.start(port, chain_id=chain_id)
        self.token = demo.deploy(self.url)
        self.friend = demo.call(self.url, "eth_accounts")[1]
        #: When each block was asked for, and when a bare poller had its log: seconds since 1970.
        self.made: dict[int, float] = {}
        self.polled: dict[int, float] = {}
        self._is_over = threading.Event()

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()

    def workflow(self) -> dict[str, object]:
        """What waits for transfers on it."""
        payload = {"chainId": self.chain.id, "walletAddress": self.friend, "tokenAddress": self.token}
        return {
            "root": {"type": "erc20-receive", "payload": payload, "children": ["say"]},
            "say": {"type": "log", "payload": {"message": "{{root.result.amount}}"}, "children": []},
        }

    def make_blocks(self) -> None:
        """Make blocks with a transfer in each, at times that no poll can be in step with."""
        demo.call(self.url, "evm_setAutomine", False)
        rng = random.Random(self.chain.id)
        number = int(demo.call(self.url, "eth_blockNumber"), 16)
        for block in range(number + 1, number + 1 + BLOCKS):
            demo.transfer(self.url, self.token, self.friend, block)
            time.sleep(rng.uniform(*APART_S))
            self.made[block] = time.time()
            demo.call(self.url, "evm_mine")
        time.sleep(WARM_S)
        self._is_over.set()

    def poll(self) -> None:
        """Poll as a program of a few lines would."""
        head = int(demo.call(self.url, "eth_blockNumber"), 16)
        while not self._is_over.wait(self.chain.poll_s):
            height = int(demo.call(self.url, "eth_blockNumber"), 16)
            if height > head:
                place = {"address": self.token, "fromBlock": hex(head + 1), "toBlock": hex(height)}
                for log in demo.call(self.url, "eth_getLogs", place):
                    self.polled[int(log["blockNumber"], 16)] = time.time()
                head = height


@contextlib.contextmanager
def anvils(*, is_heard: bool) -> Iterator[list[Anvil]]:
    """Start the chains."""
    with contextlib.ExitStack() as stack:
        found = []
        for chain_id in CHAINS:
            found.append(Anvil(chain_id, is_heard=is_heard))
            stack.callback(found[-1].stop)
        yield found


class Seen(msgspec.Struct, frozen=True):
    """Seconds from a block to its run, and to a bare poller that has its log."""

    ours: list[float]
    polled: list[float]


@cache
def seen(*, is_heard: bool = False) -> Seen:
    """Measure all chains at once; they are polled, or tell of their blocks over a WebSocket as well."""
    with (
        anvils(is_heard=is_heard) as nodes,
        running(B3OS_CHAINS=msgspec.json.encode([one.chain for one in nodes]).decode()) as up,
    ):
        for one in nodes:
            up.publish(one.workflow())
        time.sleep(WARM_S)
        with ThreadPoolExecutor(2 * len(nodes)) as threads:
            for task in [threads.submit(act) for one in nodes for act in (one.make_blocks, one.poll)]:
                task.result()
        stored = {(row["chain"], row["block"]): row["at"] for row in up.ask(RUNS)}
    made = {(one.chain.id, block): at for one in nodes for block, at in one.made.items()}
    assert set(made) == set(stored), "each block is one run"
    ours = [stored[place] - at for place, at in made.items()]
    polled = [one.polled[block] - at for one in nodes for block, at in one.made.items()]
    for name, times in (("to the committed run", ours), ("to a bare poller", polled)):
        remark(f"{len(nodes)} chains, {len(times)} blocks: from a block {name} {spread(times)}")
    return Seen(ours, polled)


def ms_of(times: Sequence[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    return percentile(list(times), share) * 1e3


GATES = (
    Gate(
        name="12 Anvil chains, block to committed run, p50", unit="ms", bar=350,
        measure=lambda: ms_of(seen().ours, 0.5), forget=seen.cache_clear,
        reason="what happens on a chain is acted upon later than it could be",
    ),
    Gate(
        name="12 Anvil chains, block to committed run, p99", unit="ms", bar=1000,
        measure=lambda: ms_of(seen().ours, 0.99), forget=seen.cache_clear,
        reason="one event in a hundred is acted upon later than anyone expects",
    ),
    Gate(
        name="12 Anvil chains, block to committed run, p50 / a bare poller's", bar=1.5,
        measure=lambda: ms_of(seen().ours, 0.5) / ms_of(seen().polled, 0.5), forget=seen.cache_clear,
        reason="following a chain safely would cost more time than polling it",
    ),
    Gate(
        name="12 Anvil chains with wsUrls, block to committed run, p50", unit="ms", bar=100,
        measure=lambda: ms_of(seen(is_heard=True).ours, 0.5), forget=seen.cache_clear,
        reason="what happens on a chain is acted upon only when it is polled",
    ),
)  # fmt: skip
