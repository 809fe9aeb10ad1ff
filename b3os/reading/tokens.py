"""Symbol and decimals of ERC-20 tokens, read once per token and kept."""

import asyncio
from typing import Any, TypeAlias

from b3os.abi.units import units
from b3os.chain.abi import decode_text
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import RpcError
from b3os.errors import BadInput

SYMBOL, DECIMALS = bytes.fromhex("95d89b41"), bytes.fromhex("313ce567")
#: Tokens that are remembered; the oldest leave first.
LIMIT = 10_000
#: A contract may answer whatever it likes: bytes that are read as a symbol, and characters that are kept of it.
MAX_BYTES, MAX_CHARACTERS = 4096, 64
#: Tokens that are asked at once: what a batch of old blocks brings would else keep the new blocks waiting.
AT_ONCE = 16

#: Symbol and decimals; None where the token does not tell.
Name: TypeAlias = tuple[str | None, int | None]


class Tokens:
    """The tokens of one chain."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._known: dict[str, Name] = {}

    async def name(self, results: list[dict[str, Any]]) -> None:
        """Add symbol, decimals and amountFormatted to transfer results; null where the token does not tell."""
        names = await self._names(list(dict.fromkeys(result["tokenAddress"] for result in results)))
        for result in results:
            symbol, decimals = names[result["tokenAddress"]]
            result["symbol"], result["decimals"] = symbol, decimals
            amount = int(result["amount"])
            result["amountFormatted"] = None if decimals is None else units(amount, decimals)

    async def _names(self, tokens: list[str]) -> dict[str, Name]:
        names = {token: self._known[token] for token in tokens if token in self._known}
        unknown = [token for token in tokens if token not in names]
        for start in range(0, len(unknown), AT_ONCE):
            part = unknown[start : start + AT_ONCE]
            found = await asyncio.gather(*map(self._ask, part), return_exceptions=True)
            for token, name in zip(part, found, strict=True):
                if isinstance(name, BaseException):
                    raise name
                names[token] = name
                self._keep(token, name)
        return names

    def _keep(self, token: str, name: Name) -> None:
        if len(self._known) >= LIMIT:
            self._known.pop(next(iter(self._known)))
        self._known[token] = name

    async def _ask(self, token: str) -> Name:
        symbol, decimals = await self._read(token, SYMBOL), await self._read(token, DECIMALS)
        number = int.from_bytes(decimals[:32], "big") if len(decimals) >= 32 else None
        return _text(symbol), number if number is not None and number < 256 else None

    async def _read(self, token: str, selector: bytes) -> bytes:
        try:
            return await self._rpc.eth_call(token, selector)
        except RpcError:
            return b""  # the token has no such function


def _text(data: bytes) -> str | None:
    try:
        text = decode_text(data) if len(data) <= MAX_BYTES else None
    except BadInput:
        return None
    return text[:MAX_CHARACTERS] if text is not None else None
