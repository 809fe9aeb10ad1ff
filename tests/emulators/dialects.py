"""How providers say that eth_getLogs asks for too much: code and words of twelve of them, as seen on the wire."""

from collections.abc import Callable

import msgspec

Words = Callable[[int, int, int], str]


class Dialect(msgspec.Struct, frozen=True):
    """The error code, and the text for a range (first block, last block) under a limit."""

    code: int
    words: Words


DIALECTS: dict[str, Dialect] = {
    "alchemy": Dialect(
        -32600,
        lambda first, last, limit: (
            f"You can make eth_getLogs requests with up to a {limit} block range. Based on your parameters, this block "
            f"range should work: [{hex(first)}, {hex(first + limit - 1)}]"
        ),
    ),
    "infura": Dialect(-32602, lambda first, last, limit: f"range {last - first + 1} exceeds limit of {limit}"),
    "thirdweb": Dialect(-32000, lambda first, last, limit: f"Maximum allowed number of requested blocks is {limit}"),
    "quicknode": Dialect(-32614, lambda first, last, limit: f"eth_getLogs is limited to a {limit:,} range"),
    "ankr": Dialect(-32062, lambda first, last, limit: "block range is too wide"),
    "1rpc": Dialect(-32000, lambda first, last, limit: f"eth_getLogs is limited to 0 - {limit} blocks range"),
    "chainstack": Dialect(-32000, lambda first, last, limit: "Block range limit exceeded."),
    "coinbase": Dialect(-32000, lambda first, last, limit: f"please limit the query to at most {limit} blocks"),
    "publicnode": Dialect(-32000, lambda first, last, limit: f"maximum block range: {limit}"),
    "avalanche": Dialect(
        -32000,
        lambda first, last, limit: f"requested too many blocks from {first} to {last}, maximum is set to {limit}",
    ),
    "drpc": Dialect(35, lambda first, last, limit: f"ranges over {limit} blocks are not supported on freetier"),
    "reth": Dialect(-32602, lambda first, last, limit: f"query exceeds max block range {limit}"),
}

#: What they say of too many logs, whatever the range.
TOO_MANY_LOGS = {
    "infura": "query returned more than 10000 results. Try with this block range [0x1, 0x1].",
    "optimism": "backend response too large",
    "jsonrpsee": "Response is too big",
    "llama": "query exceeds max results",
}
