"""A chain whose state changes, its upstreams and a source of thresholds over them, in virtual time."""

from typing import Any

from b3os.chain.chains import Chain
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import ChainUnreachable, RpcError
from b3os.detect.thresholds import parse_state_watch
from b3os.store.triggers import TriggerRow
from services.master.sources.thresholds import ThresholdSource
from tests.emulators.chain import BOB, TOKEN, Network, View, word
from tests.emulators.ledger import Ledger, Tx, digest
from tests.simulation.book import MemoryEdgeBook
from tests.simulation.chains import CHAIN_ID

BALANCE = f"{TOKEN}:0x70a08231{BOB[2:].rjust(64, '0')}"


class Case:
    """The network begins with 20 blocks, of which 12 are final; every poll is a second after the one before."""

    def __init__(self, views: int = 1, **chain: Any) -> None:
        self.ledger = Ledger(CHAIN_ID)
        self.ledger.mine(Tx(digest("first"), sets=((BALANCE, word(0)),)))
        self.ledger.grow(19)
        self.network = Network(self.ledger, views)
        self.chain = Chain(id=CHAIN_ID, name="emulated", rpc_urls=self.network.urls, **chain)
        self.clock = 0.0
        self.book = MemoryEdgeBook()
        self.errors: list[str] = []
        self.rows: dict[int, TriggerRow] = {}
        self.made = 0
        self.source = self.master()

    @property
    def view(self) -> View:
        """The first upstream."""
        return self.network.views[0]

    def master(self) -> ThresholdSource:
        """Another master's source, without any memory."""
        rpc = Rpc(self.chain, self.network, now=lambda: self.clock)
        self.source = ThresholdSource(rpc, book=self.book, now=lambda: self.clock, now_ms=lambda: 0)
        for slot, row in self.rows.items():
            self.source.holding.put(slot, row, parse_state_watch(row.type, row.payload))
        return self.source

    def watch(self, workflow: str = "wf", kind: str = "evm-balance", *, since_ms: int = 0, **payload: Any) -> None:
        """Watch BOB's tokens reach 100, or what the payload says."""
        whole = {"chainId": CHAIN_ID, "confirmations": "latest", "operator": "$gte", "value": "100"}
        whole |= {"walletAddress": BOB, "tokenAddress": TOKEN} if kind == "evm-balance" else {"address": TOKEN}
        row = TriggerRow("org", workflow, 1, "root", kind, {**whole, **payload}, since_ms)
        slot = next((slot for slot, one in self.rows.items() if one.workflow_id == workflow), len(self.rows))
        self.rows[slot] = row
        self.source.holding.put(slot, row, parse_state_watch(row.type, row.payload))

    def sets(self, *changes: tuple[str, str]) -> Tx:
        """A transaction that changes the state."""
        self.made += 1
        return Tx(digest("sets", self.made), sets=changes)

    def hold(self, amount: int, key: str = BALANCE) -> Tx:
        """A transaction after which a number is so."""
        return self.sets((key, word(amount)))

    async def step(self, *txs: Tx) -> list[str]:
        """Mine a block and poll."""
        self.ledger.mine(*txs)
        return await self.poll()

    async def poll(self, times: int = 1) -> list[str]:
        """Poll as the keeper does; returns what has fired, as workflow and block, in order."""
        for _ in range(times):
            self.clock += 1.0
            try:
                self.clock += await self.source.poll(self.book.inner.epoch)
            except (ChainUnreachable, RpcError, ValueError, ConnectionError) as error:
                self.errors.append(str(error))
                self.clock += self.source.failed(error)
        return self.fired()

    async def settle(self) -> list[str]:
        """Mine and read until all that has happened is final."""
        self.ledger.grow(10)
        await self.poll(4)
        return self.fired()

    def fired(self) -> list[str]:
        """What has fired."""
        events = [self.book.inner.runs[run].event for run in self.book.inner.started]
        return [f"{event.row.workflow_id} {event.result['blockNumber']}" for event in events]

    def results(self) -> list[dict[str, Any]]:
        """What the runs were given."""
        return [self.book.inner.runs[run].event.result for run in self.book.inner.started]

    def notices(self) -> list[list[str]]:
        """What each run was told, in the order of the runs."""
        return [self.book.inner.notices[run] for run in self.book.inner.started]

    def asked(self, method: str) -> int:
        """How often a method was called."""
        return sum(name == method for view in self.network.views for name, _ in view.calls)
