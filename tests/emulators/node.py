"""An EVM node over real HTTP: a small chain that tests grow, fork and let lie, in the wire format of geth."""

import hashlib
from collections.abc import Callable
from typing import Any

from aiohttp import web

from b3os.abi.signature import keccak
from tests.emulators.ledger import has_topics
from tests.emulators.serving import Served

Personality = Callable[[str, list[Any]], Any]


class NoAnswer(Exception):
    """Raised by a personality: the HTTP answer has this status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Said(Exception):
    """Raised by a personality: a JSON-RPC error."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message} | ({"data": data} if data else {})


def digest(*parts: object) -> str:
    return "0x" + hashlib.sha256(repr(parts).encode()).hexdigest()


def bloom_of(logs: list[dict[str, Any]]) -> str:
    bits = bytearray(256)
    for log in logs:
        for item in (log["address"], *log["topics"]):
            hashed = keccak(bytes.fromhex(item[2:]))
            for at in (0, 2, 4):
                bit = int.from_bytes(hashed[at : at + 2], "big") & 2047
                bits[255 - bit // 8] |= 1 << (bit % 8)
    return "0x" + bits.hex()


class Node(Served):
    """A chain of blocks; `personality(method, params)` may answer, raise, or return None to let the node answer."""

    def __init__(
        self, chain_id: int = 31337, genesis_s: int = 1_700_000_000, *, now: Callable[[], float] | None = None
    ) -> None:  # fmt: skip
        self.chain_id = chain_id
        #: The clock that blocks carry; without one each is two seconds after the one before.
        self._now = now
        self.blocks: list[dict[str, Any]] = []
        self.personality: Personality | None = None
        self.calls: list[tuple[str, list[Any]]] = []
        self.contracts: dict[tuple[str, str], str] = {}
        self._time = genesis_s
        self.url = ""
        self.mine()

    async def start(self) -> "Node":
        self.url = f"http://{await self.listen(0, [web.post('/', self._answer)])}"
        return self

    def mine(
        self, logs: list[dict[str, Any]] | None = None, *, txs: list[dict[str, Any]] | None = None, salt: str = ""
    ) -> int:
        """Add a block; logs are {address, topics, data, tx}; returns its number."""
        number = len(self.blocks)
        parent = self.blocks[-1]["hash"] if self.blocks else "0x" + "0" * 64
        self._time = self._time + 2 if self._now is None else int(self._now())
        hash_ = digest("block", number, parent, salt, repr(logs), repr(txs))
        found = [
            {
                "address": log["address"],
                "topics": log["topics"],
                "data": log.get("data", "0x"),
                "blockNumber": hex(number),
                "blockHash": hash_,
                "transactionHash": log.get("tx") or digest("tx", number, index, salt),
                "transactionIndex": "0x0",
                "logIndex": hex(index + log.get("skip", 0)),
                "removed": False,
            }
            for index, log in enumerate(logs or [])
        ]
        self.blocks.append(
            {
                "number": hex(number),
                "hash": hash_,
                "parentHash": parent,
                "timestamp": hex(self._time),
                "logsBloom": bloom_of(found),
                "transactions": list(txs or []),
                "_logs": found,
            }
        )
        return number

    def drop(self, count: int) -> None:
        """Take the newest blocks away, as before a fork."""
        del self.blocks[-count:]

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        try:
            if isinstance(body, list):
                return web.json_response([self._one(call) for call in reversed(body)])
            return web.json_response(self._one(body))
        except NoAnswer as error:
            return web.Response(status=error.status, text=error.text)

    def _one(self, call: dict[str, Any]) -> dict[str, Any]:
        method, params = call["method"], call["params"]
        self.calls.append((method, params))
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": call["id"]}
        try:
            found = self.personality(method, params) if self.personality else None
            return {**answer, "result": self._result(method, params) if found is None else found}
        except Said as error:
            return {**answer, "error": error.error}

    def _result(self, method: str, params: list[Any]) -> Any:
        match method:
            case "eth_chainId":
                return hex(self.chain_id)
            case "eth_blockNumber":
                return self.blocks[-1]["number"]
            case "eth_getBlockByNumber":
                if params[0] in ("safe", "finalized"):
                    raise Said(-39001, "Unknown block")
                number = len(self.blocks) - 1 if params[0] == "latest" else int(params[0], 16)
                if number >= len(self.blocks):
                    return None
                block = {name: value for name, value in self.blocks[number].items() if name != "_logs"}
                return block if params[1] else {**block, "transactions": [tx["hash"] for tx in block["transactions"]]}
            case "eth_getLogs":
                return self._logs(params[0])
            case "eth_getTransactionReceipt":
                return self._receipt(params[0])
            case "eth_getCode":
                return "0x"
            case "eth_call":
                found = self.contracts.get((params[0]["to"].lower(), params[0]["data"][:10]))
                if found is None:
                    raise Said(3, "execution reverted")
                return found
        raise Said(-32601, f"the method {method} does not exist/is not available")

    def _logs(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        if "blockHash" in wanted:
            blocks = [block for block in self.blocks if block["hash"] == wanted["blockHash"]]
            if not blocks:
                raise Said(-32000, "unknown block")
        else:
            first, last = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
            if last >= len(self.blocks):
                raise Said(-32602, "block range extends beyond current head block")
            blocks = self.blocks[first : last + 1]
        addresses = [address.lower() for address in wanted.get("address", [])]
        topics = wanted.get("topics") or []
        return [
            log
            for block in blocks
            for log in block["_logs"]
            if (not addresses or log["address"].lower() in addresses) and has_topics(log, topics)
        ]

    def _receipt(self, hash_: str) -> dict[str, Any] | None:
        for block in self.blocks:
            logs = [log for log in block["_logs"] if log["transactionHash"] == hash_]
            txs = [tx for tx in block["transactions"] if tx["hash"] == hash_]
            if logs or txs:
                return {
                    "transactionHash": hash_,
                    "blockHash": block["hash"],
                    "blockNumber": block["number"],
                    "status": txs[0].get("_status", "0x1") if txs else "0x1",
                    "gasUsed": "0x5208",
                    "logs": logs,
                }
        return None
