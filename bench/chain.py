"""A busy chain for a master: the emulated node over HTTP, its blocks full of transfers that few wait for.

It mines in the time of this machine, since a trigger fires for nothing that happened before it was published.
"""

import asyncio
import itertools
import json
import random
import time

from bench import million
from tests.emulators.chain import Network, transfer
from tests.emulators.ledger import Emitted, Ledger, Tx, digest

BLOCK_S = 0.25
#: Logs that nobody waits for, the transactions that they are in, and transfers that somebody waits for, in a block.
FOREIGN, SHARED, AWAITED = 5000, 100, 100
#: Blocks that are kept whole; a long profile would fill the memory otherwise.
KEPT = 40
#: As nodes of chains without blooms send it.
NO_BLOOM = "0x" + "0" * 512


class Feed:
    """The chain of `bench.million`, whose watchers of tokens are those of the first `size` triggers."""

    def __init__(self, port: int, size: int) -> None:
        self._port = port
        # Older than any trigger: the master looks for the block before the oldest one.
        self._ledger = Ledger(million.CHAIN, genesis_s=int(time.time()) - 3600)
        self._watchers = itertools.cycle(n for n in range(size) if million.type_of(n) == "erc20-receive")
        rng = random.Random(5)
        self._foreign = [_to("0x" + rng.randbytes(20).hex(), "0x" + rng.randbytes(20).hex()) for _ in range(FOREIGN)]

    @property
    def chains(self) -> str:
        """The chain as the setting B3OS_CHAINS takes it."""
        urls = [f"http://127.0.0.1:{self._port}/0"]
        about = {"id": million.CHAIN, "name": "bench", "rpcUrls": urls, "blockTimeMs": 500, "hasBloom": False}
        return json.dumps([about])

    async def serve(self) -> None:
        """Answer, and mine until cancelled."""
        network = await Network(self._ledger).start(self._port)
        try:
            while True:
                self._mine()
                await asyncio.sleep(BLOCK_S)
        finally:
            await network.stop()

    def _mine(self) -> None:
        number = self._ledger.head + 1
        step = FOREIGN // SHARED
        shared = [
            Tx(digest("shared", number, at), tuple(self._foreign[at : at + step])) for at in range(0, FOREIGN, step)
        ]
        single = [Tx(digest("single", number, n), (_awaited(next(self._watchers)),)) for n in range(AWAITED)]
        self._ledger.block_s = max(0, int(time.time()) - self._ledger.canonical[-1].time_s)
        self._ledger.mine(*shared, *single).bloom = NO_BLOOM
        if number > KEPT:
            old = self._ledger.canonical[number - KEPT]
            old.txs, old.logs = (), []


def _to(token: str, receiver: str) -> Emitted:
    return transfer(token, "0x" + "a1" * 20, receiver, 10**18)


def _awaited(number: int) -> Emitted:
    return _to("0x" + million.token_of(number).hex(), "0x" + million.account_of(number).hex())
