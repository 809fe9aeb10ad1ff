"""A scripted EVM node: several upstreams with views of their own over one forking chain, in the wire format of geth.

An upstream may lag, be pruned, know another chain, limit ranges in a provider's words, and lie as in `faults.py`. By
hand: `python -m tests.emulators.chain tests/emulators/plans/forks.json --port 8600` serves upstream n at /n and carries
the plan's steps out, one a block time.
"""

import argparse
import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from b3os.abi.signature import keccak
from b3os.chain.chains import MULTICALL3
from tests.emulators.contracts import called
from tests.emulators.dialects import DIALECTS, TOO_MANY_LOGS
from tests.emulators.faults import Fault, Reply, Said, Silence, reply_fault, result_fault
from tests.emulators.ledger import Block, Emitted, Ledger, Tx, digest, has_topics
from tests.emulators.serving import Served
from tests.emulators.tracing import traced


class View:
    """One upstream: what it knows of a ledger, and how it answers."""

    def __init__(self, ledger: Ledger, *, lag: int = 0, dialect: str = "", max_range: int = 0) -> None:
        self.ledger = ledger
        self.chain_id = ledger.chain_id
        #: Blocks that it is behind the ledger's head.
        self.lag = lag
        #: Blocks that the backend which answers for logs is behind its head, and what that says of blocks beyond: an
        #: error, nothing at all (empty), or what it has (clamped).
        self.log_lag = 0
        self.beyond = "error"
        #: It has no logs, receipts or transactions below this block.
        self.oldest = 0
        self.dialect = dialect
        self.max_range = max_range
        #: Logs of one answer; more is an error.
        self.max_logs = 0
        self.max_addresses = 0
        self.takes_batches = True
        #: How it traces: trace_block, flatCallTracer, callTracer.
        self.tracers: set[str] = set()
        self.has_multicall = True
        self.has_block_receipts = True
        #: Whether it reads the state of a block that is named by its hash.
        self.takes_hashes = True
        self.faults: list[Fault] = []
        self.contracts: dict[tuple[str, str], str] = {}
        self.calls: list[tuple[str, list[Any]]] = []
        self.requests = 0

    @property
    def head(self) -> int:
        """The newest block that it has."""
        return max(0, self.ledger.head - self.lag)

    def fail(self, kind: str, **about: Any) -> Fault:
        """Let it fail from now on, for as often as `times` says."""
        fault = msgspec.convert({"kind": kind, **about}, Fault)
        self.faults.append(fault)
        return fault

    def answer(self, body: bytes) -> Reply:
        """Answer the body of one HTTP request."""
        self.requests += 1
        asked = msgspec.json.decode(body)
        calls = asked if isinstance(asked, list) else [asked]
        for fault in self._active([call["method"] for call in calls]):
            found = reply_fault(fault, calls)
            if found is not None:
                return found
        if isinstance(asked, list) and not self.takes_batches:
            return Reply(msgspec.json.encode(_error(None, Said(-32600, "batch requests are not supported"))))
        try:
            return Reply(
                msgspec.json.encode(
                    [self._one(call) for call in reversed(asked)] if isinstance(asked, list) else self._one(asked)
                )
            )
        except Silence:
            return Reply(b"", 0)

    def _active(self, methods: list[str]) -> Iterator[Fault]:
        for fault in list(self.faults):
            if fault.times == 0:
                self.faults.remove(fault)
            elif not fault.method or fault.method in methods:
                yield fault

    def _one(self, call: dict[str, Any]) -> dict[str, Any]:
        method, params = call["method"], call["params"]
        self.calls.append((method, params))
        try:
            result = self._result(method, params)
            for fault in self._active([method]):
                result = result_fault(fault, method, params, result)
        except Said as error:
            return _error(call["id"], error)
        return {"jsonrpc": "2.0", "id": call["id"], "result": result}

    def _result(self, method: str, params: list[Any]) -> Any:
        match method:
            case "eth_chainId":
                return hex(self.chain_id)
            case "eth_blockNumber":
                return hex(self.head)
            case "eth_getBlockByNumber":
                block = self._by_number(params[0])
                return None if block is None else block.header(full=params[1])
            case "eth_getLogs":
                return self._logs(params[0])
            case "eth_getTransactionReceipt":
                place = self.ledger.place_of(params[0])
                return None if place is None or not self._has(place[0]) else place[0].receipt(place[1])
            case "eth_getBlockReceipts" if self.has_block_receipts:
                block = self._by_hash(params[0]) if len(params[0]) == 66 else self._by_number(params[0])
                return None if block is None else [block.receipt(order) for order in range(len(block.txs))]
            case "trace_block" | "debug_traceBlockByHash" | "debug_traceTransaction":
                return self._traces(method, params)
            case "eth_call" | "eth_getBalance" | "eth_getCode":
                return self._state(method, params)
        raise Said(-32601, f"the method {method} does not exist/is not available")

    def _traces(self, method: str, params: list[Any]) -> Any:
        options = params[1] if len(params) > 1 else None
        if (options["tracer"] if options else method) not in self.tracers:
            raise Said(-32601, f"the method {method} does not exist/is not available")
        if method == "debug_traceTransaction":
            place = self.ledger.place_of(params[0])
            if place is None:
                raise Said(-32000, "transaction not found")
            return traced("debug_traceBlockByHash", options, place[0], (place[1],))[0]["result"]
        block = self._by_hash(params[0]) if options else self._by_number(params[0])
        if block is None:
            raise Said(-32000, "block not found")
        return traced(method, options, block)

    def _state(self, method: str, params: list[Any]) -> str:
        if method == "eth_getCode":
            return "0x6001" if self.has_multicall and params[0].lower() == MULTICALL3.lower() else "0x"
        where = params[1] if len(params) > 1 else "latest"
        if isinstance(where, dict) and not self.takes_hashes:
            raise Said(-32602, "invalid argument 1: json: cannot unmarshal object into Go value of type string")
        block = self._by_hash(where["blockHash"]) if isinstance(where, dict) else self._by_number(where)
        if block is None or block.number < self.oldest:
            raise Said(-32000, "header not found" if block is None else "missing trie node 1f2e (path )")
        if method == "eth_getBalance":
            return block.state.get(params[0].lower(), "0x0")
        return called(params[0], block.state, self.contracts, has_multicall=self.has_multicall)

    def _has(self, block: Block) -> bool:
        return self.oldest <= block.number <= self.head and self.ledger.canonical[block.number] is block

    def _by_number(self, text: str) -> Block | None:
        if text in ("safe", "finalized"):
            if self.ledger.final_depth is None:
                raise Said(-32000, f"{text} block not found")
            final = self.ledger.final if text == "finalized" else (self.ledger.final + self.ledger.head) // 2
            return self.ledger.known[self.ledger.canonical[min(final, self.head)].hash]
        number = self.head if text == "latest" else int(text, 16)
        block = self.ledger.canonical[number] if 0 <= number <= self.head else None
        return None if block is None or block.is_left_out else block

    def _by_hash(self, hash_: str) -> Block | None:
        block = self.ledger.known.get(hash_)
        return block if block is not None and block.number <= self.head else None

    def _logs(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        blocks = self._blocks(wanted)
        if blocks and blocks[0].number < self.oldest:
            raise Said(4444, "Pruned history unavailable")
        addresses = {address.lower() for address in wanted.get("address") or ()}
        if self.max_addresses and len(addresses) > self.max_addresses:
            raise Said(-32602, f"{len(addresses)} filters, the current limit is {self.max_addresses}")
        topics = wanted.get("topics") or []
        found = [
            log
            for block in blocks
            for log in block.logs
            if (not addresses or log["address"] in addresses) and has_topics(log, topics)
        ]
        if self.max_logs and len(found) > self.max_logs:
            raise Said(-32005, TOO_MANY_LOGS.get(self.dialect, TOO_MANY_LOGS["infura"]))
        return found

    def _blocks(self, wanted: dict[str, Any]) -> list[Block]:
        head = self.head - self.log_lag
        if "blockHash" in wanted:
            block = self._by_hash(wanted["blockHash"])
            if block is None or (block.number > head and self.beyond == "error"):
                raise Said(-32000, "unknown block")
            return [block] if block.number <= head else []
        first, last = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
        if last > head and self.beyond == "error":
            raise Said(-32602, "block range extends beyond current head block")
        if last > head:
            last = head if self.beyond == "clamped" else -1
        if self.max_range and last - first >= self.max_range:
            dialect = DIALECTS[self.dialect or "reth"]
            raise Said(dialect.code, dialect.words(first, last, self.max_range))
        return self.ledger.canonical[first : last + 1]


def _error(id_: Any, said: Said) -> dict[str, Any]:
    about = {"code": said.code, "message": said.message} | ({"data": said.data} if said.data else {})
    return {"jsonrpc": "2.0", "id": id_, "error": about}


class Network(Served):
    """Upstreams over HTTP at /0, /1, …; or in process, as the client that a test hands to the JSON-RPC client."""

    def __init__(self, ledger: Ledger, views: int = 1) -> None:
        self.ledger = ledger
        self.views = [View(ledger) for _ in range(views)]
        self.base = "http://emulated.invalid"

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses of the upstreams."""
        return tuple(f"{self.base}/{number}" for number in range(len(self.views)))

    async def request(
        self, method: str, url: str, *, headers: dict[str, str], body: bytes, timeout_s: float, max_bytes: int
    ) -> Reply:
        """Answer without a socket; raises as a client does when the upstream does not answer."""
        reply = self.views[int(url.rsplit("/", 1)[1])].answer(body)
        if reply.status == 0:
            raise TimeoutError
        return reply

    async def start(self, port: int = 0) -> "Network":
        """Serve over HTTP on loopback."""
        self.base = f"http://{await self.listen(port, [web.post('/{number}', self._serve)])}"
        return self

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        reply = self.views[int(request.match_info["number"])].answer(await request.read())
        if reply.status == 0:
            assert request.transport is not None, "a request that is read has a connection"
            request.transport.close()
        return web.Response(
            status=reply.status or 500, body=reply.body, headers={"content-type": "application/json", **reply.headers}
        )


TOKEN, ALICE, BOB = "0x" + "aa" * 20, "0x" + "a1" * 20, "0x" + "b0" * 20
TRANSFER = "0x" + keccak(b"Transfer(address,address,uint256)").hex()


def word(value: int | str) -> str:
    """Return 32 bytes as a log holds them."""
    return "0x" + (f"{value:064x}" if isinstance(value, int) else value[2:].rjust(64, "0"))


def transfer(token: str, sender: str, to: str, amount: int) -> Emitted:
    """Make the log of an ERC-20 transfer."""
    return Emitted(token, (TRANSFER, word(sender), word(to)), word(amount))


def carry_out(network: Network, step: dict[str, Any], number: int) -> None:
    """Do one step of a plan: a fork, faults that begin or end, new blocks."""
    if "fork" in step:
        network.ledger.fork(step["fork"])
    for about in step.get("faults", ()):
        view = network.views[about.pop("upstream", 0)]
        view.faults.clear() if about["kind"] == "none" else view.faults.append(msgspec.convert(about, Fault))
    for name, value in step.get("upstream", {}).items():
        for key, setting in value.items():
            setattr(network.views[int(name)], key, setting)
    for block in range(step.get("mine", 1)):
        logs = tuple(transfer(TOKEN, ALICE, BOB, n + 1) for n in range(step.get("logs", 0)))
        network.ledger.mine(Tx(digest("plan", number, block), logs))


def load_plan(path: Path) -> tuple[Network, dict[str, Any]]:
    """Make the network of a plan file."""
    plan = json.loads(path.read_text())
    ledger = Ledger(plan.get("chainId", 31337))
    ledger.final_depth = plan.get("finalDepth", 8)
    network = Network(ledger, len(plan["upstreams"]))
    for view, about in zip(network.views, plan["upstreams"], strict=True):
        for name, value in about.items():
            setattr(view, name, value)
    return network, plan


async def main(path: Path, port: int) -> None:
    """Serve a plan until stopped; its steps are repeated."""
    network, plan = load_plan(path)
    await network.start(port)
    print("\n".join(network.urls), flush=True)
    number = 0
    while True:
        carry_out(network, json.loads(json.dumps(plan["steps"][number % len(plan["steps"])])), number)
        number += 1
        await asyncio.sleep(plan.get("blockTimeMs", 1000) / 1000)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--port", type=int, default=8600)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.plan, arguments.port))
