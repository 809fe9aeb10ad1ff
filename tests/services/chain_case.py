"""A chain, its upstreams and a source over them in virtual time: what a test of one failure needs."""

from typing import Any

from b3os.chain.chains import Chain
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import ChainUnreachable, RpcError
from services.master.sources.chain import ChainSource
from tests.emulators.chain import ALICE, BOB, TOKEN, Network, View, transfer
from tests.emulators.ledger import Emitted, Ledger, Tx, digest
from tests.simulation.book import MemoryBook
from tests.simulation.chains import CHAIN_ID, Fuse, Mortal, MortalBook, listening
from tests.trigger_records import compiled, record


class Case:
    """The network begins with 20 blocks, of which 12 are final."""

    def __init__(self, views: int = 1, **chain: Any) -> None:
        self.ledger = Ledger(CHAIN_ID)
        self.ledger.grow(20)
        self.network = Network(self.ledger, views)
        self.chain = Chain(id=CHAIN_ID, name="emulated", rpc_urls=self.network.urls, **chain)
        self.clock = 0.0
        self.book = MemoryBook()
        self.table, self.matcher = listening(self.network, self.book)
        self.source = self.master()
        self.errors: list[str] = []

    @property
    def view(self) -> View:
        """The first upstream."""
        return self.network.views[0]

    def master(self, dies_after: int | None = None) -> ChainSource:
        """Another master's source, without any memory; it may die after so many calls."""
        fuse = Fuse()
        fuse.left = dies_after
        rpc = Rpc(self.chain, Mortal(self.network, fuse), now=lambda: self.clock)
        book = MortalBook(self.book, fuse, lambda *_: None)
        self.source = ChainSource(
            rpc, table=self.table, matcher=self.matcher, book=book, now=lambda: self.clock, now_ms=lambda: 0
        )
        return self.source

    def watch(self, workflow: str = "wf", *, since_ms: int = 0, **payload: Any) -> None:
        """Listen to transfers to BOB, or to what the payload says."""
        whole = {"chainId": CHAIN_ID, "walletAddress": BOB, "tokenAddress": TOKEN, "confirmations": "latest", **payload}
        kind = str(whole.pop("type", "erc20-receive"))
        self.table.apply(compiled(workflow, kind, whole, since_ms=since_ms))

    def unwatch(self, workflow: str = "wf") -> None:
        """Listen no more."""
        self.table.apply(record(workflow, "erc20-receive", active=False))

    def tx(self, name: object, *amounts: int, before: int = 0) -> Tx:
        """A transaction with transfers to BOB, after logs that nobody asked for."""
        others = [Emitted("0x" + "0e" * 20, (digest("other"),)) for _ in range(before)]
        return Tx(digest("case", name), (*others, *(transfer(TOKEN, ALICE, BOB, amount) for amount in amounts)))

    async def poll(self, times: int = 1) -> list[str]:
        """Poll as the keeper does; returns what has fired, as amounts in order."""
        for _ in range(times):
            try:
                self.clock += await self.source.poll(self.book.epoch)
            except (ChainUnreachable, RpcError, ValueError) as error:
                self.errors.append(str(error))
                self.clock += self.source.failed(error)
        return self.amounts()

    async def settle(self) -> list[str]:
        """Mine and read until all that has happened is final; returns what has fired."""
        self.ledger.grow(30)
        for _ in range(80):
            self.clock += 5.0
            await self.poll()
        return self.amounts()

    def amounts(self) -> list[str]:
        """What has fired, in order; a block moves nothing."""
        return [self.book.runs[run].event.result.get("amount", "") for run in self.book.started]

    def notices(self) -> list[list[str]]:
        """What each run was told, in the order of the runs."""
        return [self.book.notices[run] for run in self.book.started]
