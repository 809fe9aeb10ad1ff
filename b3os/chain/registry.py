"""The chains of this installation, each with one JSON-RPC client; what actions see of chains."""

from collections.abc import Mapping

from b3os.chain.chains import Chain
from b3os.chain.rpc import HttpClient, Rpc
from b3os.errors import BadInput


class Chains:
    """Clients by chain id, made when they are first asked for."""

    def __init__(self, chains: Mapping[int, Chain], http: HttpClient) -> None:
        self._chains = chains
        self._http = http
        self._clients: dict[int, Rpc] = {}

    def rpc(self, chain_id: int) -> Rpc:
        """Return the client of a chain; BadInput when it is not configured."""
        found = self._clients.get(chain_id)
        if found is None:
            chain = self._chains.get(chain_id)
            if chain is None:
                raise BadInput(f"chain {chain_id} is not configured: add it to B3OS_CHAINS", code=400337)
            found = self._clients[chain_id] = Rpc(chain, self._http)
        return found

    def ids(self) -> list[int]:
        """Return the configured chain ids, ascending."""
        return sorted(self._chains)

    async def call(self, chain_id: int, to: str, data: bytes) -> bytes:
        """Call a contract of a chain without a transaction."""
        return await self.rpc(chain_id).eth_call(to, data)

    async def head(self, chain_id: int) -> int:
        """Return the number of a chain's newest block."""
        return await self.rpc(chain_id).height()
