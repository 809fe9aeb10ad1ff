"""Symbol and decimals of ERC-20 tokens, read once per token and kept."""

from typing import Any

from b3os.abi.units import units
from b3os.chain.abi import decode_text
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import RpcError
from b3os.errors import BadInput

SYMBOL, DECIMALS = bytes.fromhex("95d89b41"), bytes.fromhex("313ce567")
#: Tokens that are remembered; the oldest leave first.
LIMIT = 10_000


class Tokens:
    """The tokens of one chain."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._known: dict[str, tuple[str | None, int | None]] = {}

    async def name(self, results: list[dict[str, Any]]) -> None:
        """Add symbol, decimals and amountFormatted to transfer results; null where the token does not tell."""
        for result in results:
            symbol, decimals = await self._of(result["tokenAddress"])
            result["symbol"], result["decimals"] = symbol, decimals
            amount = int(result["amount"])
            result["amountFormatted"] = None if decimals is None else units(amount, decimals)

    async def _of(self, token: str) -> tuple[str | None, int | None]:
        if token not in self._known:
            if len(self._known) >= LIMIT:
                self._known.pop(next(iter(self._known)))
            symbol, decimals = await self._read(token, SYMBOL), await self._read(token, DECIMALS)
            number = int.from_bytes(decimals[:32], "big") if len(decimals) >= 32 else None
            self._known[token] = (_text(symbol), number if number is not None and number < 256 else None)
        return self._known[token]

    async def _read(self, token: str, selector: bytes) -> bytes:
        try:
            return await self._rpc.eth_call(token, selector)
        except RpcError:
            return b""  # the token has no such function


def _text(data: bytes) -> str | None:
    try:
        return decode_text(data)
    except BadInput:
        return None
