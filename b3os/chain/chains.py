"""Chains are data: one JSON file per public chain beside this module, more from the setting B3OS_CHAINS."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from b3os.errors import BadInput

DATA = Path(__file__).parent / "data"

MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"


class Chain(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One EVM chain.

    `confirmations` is how many blocks must lie on a block before its events fire, unless a trigger says otherwise.
    `finality_depth` is after how many blocks one is final; 0: its nodes know the tag `finalized`. `rpc_weights` are
    the shares of the addresses, in their order; without them the first is asked as long as it is well.
    """

    id: Annotated[int, Meta(ge=1, le=2**53)]
    name: str
    rpc_urls: Annotated[tuple[str, ...], Meta(min_length=1)]
    confirmations: Annotated[int, Meta(ge=0, le=10_000)] = 0
    symbol: str = "ETH"
    block_time_ms: Annotated[int, Meta(ge=10, le=600_000)] = 1000
    multicall: str = MULTICALL3
    finality_depth: Annotated[int, Meta(ge=0, le=100_000)] = 0
    rpc_weights: tuple[Annotated[int, Meta(ge=0, le=1000)], ...] = ()
    #: Whether headers carry a bloom that can be trusted to name every log.
    has_bloom: bool = True
    #: Whether blocks are traced, by upstreams that do, for the coins that calls inside transactions move.
    traces: bool = True
    #: Addresses that tell of new blocks over a WebSocket (eth_subscribe newHeads), so that they are looked for at once.
    ws_urls: tuple[str, ...] = ()

    @property
    def poll_s(self) -> float:
        """How often to look for a new block: half a block time, between 0.25 and 4 seconds."""
        return min(4.0, max(0.25, self.block_time_ms / 2000))


def load_chains(configured: str = "") -> dict[int, Chain]:
    """Return all chains by id; a configured one replaces the public one of the same id. Raises BadInput."""
    chains = {
        chain.id: chain
        for path in sorted(DATA.glob("*.json"))
        for chain in [msgspec.json.decode(path.read_bytes(), type=Chain)]
    }
    if configured:
        try:
            more = msgspec.json.decode(configured, type=list[Chain])
        except msgspec.DecodeError as error:
            raise BadInput(f"B3OS_CHAINS is not valid: {error}. See docs/settings.md.", code=400001) from error
        wrong = [url for chain in more for url in chain.rpc_urls if not url.startswith(("http://", "https://"))]
        if wrong:
            raise BadInput("B3OS_CHAINS: rpcUrls begin with http:// or https://. See docs/settings.md.", code=400001)
        wrong = [url for chain in more for url in chain.ws_urls if not url.startswith(("ws://", "wss://"))]
        if wrong:
            raise BadInput("B3OS_CHAINS: wsUrls begin with ws:// or wss://. See docs/settings.md.", code=400001)
        chains.update({chain.id: chain for chain in more})
    return chains


def egress_of(chains: Iterable[Chain]) -> str:
    """Return the allow list of a client for nodes: their addresses are the operator's own, never a tenant's."""
    hosts = {urlsplit(url) for chain in chains for url in (*chain.rpc_urls, *chain.ws_urls)}
    named = sorted(f"{parts.hostname}:{parts.port}" for parts in hosts if parts.port)
    return ",".join(["0.0.0.0/0", "::/0", *named])
