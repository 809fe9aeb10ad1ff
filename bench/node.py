"""Busy chains over HTTP for very little: a load generator that answers JSON-RPC with bytes made beforehand.

A chain is a function of time: block n is there since `began + n * block_s`, and everything in it follows from its
number, so that nothing is mined and nothing is kept. Of each block some logs are awaited by triggers; the others are
one text, in which block number and hash are put in place. The scripted node of the tests needs more of a core for this
than the master that is measured.
"""

import asyncio
import contextlib
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import cast

import msgspec
import uvloop

from b3os.abi.signature import keccak

#: The first block after the start: a number of so many digits that they stay as many.
BASE = 0x1000000
#: What is replaced in the texts that blocks share; of the length of a hash and of a number.
HASH, NUMBER = b"@" * 64, b"#" * 7
SYMBOL = keccak(b"symbol()")[:4].hex().encode()
TRANSFER = b"0x" + keccak(b"Transfer(address,address,uint256)").hex().encode()
NO_BLOOM, FULL_BLOOM = b"0x" + b"0" * 512, b"0x" + b"f" * 512
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Call(msgspec.Struct):
    """A JSON-RPC call."""

    id: int
    method: str
    params: list[msgspec.Raw]


class Asked(msgspec.Struct, rename="camel"):
    """What of an eth_getLogs filter is read: the logs of a chain are those that its triggers' filter lets through."""

    from_block: str = ""
    to_block: str = ""
    block_hash: str = ""


class Watcher(msgspec.Struct, frozen=True):
    """Who awaits a transfer: the token's address and the receiver's, as bytes."""

    token: bytes
    receiver: bytes


class Line:
    """One chain. Each block has `awaited` logs for the watchers in turn, and `foreign` others."""

    def __init__(
        self, chain_id: int, watchers: Sequence[Watcher], *, block_s: float, foreign: int = 0, awaited: int = 1,
        final_depth: int = 8, age_s: float = 0.0, delay_s: float = 0.0,
    ) -> None:  # fmt: skip
        self.chain_id = chain_id
        self.block_s = block_s
        #: How long an answer takes, as over a real network.
        self.delay_s = delay_s
        self.began = time.time() - age_s
        self.calls: Counter[str] = Counter()
        self._watchers = watchers
        self._awaited = awaited
        self._depth = final_depth
        self._bloom = FULL_BLOOM if foreign else NO_BLOOM
        rng = random.Random(chain_id)
        self._foreign = b",".join(foreign_log(rng, at) for at in range(foreign))
        self._count = foreign
        self._transactions = b",".join(foreign_transaction(rng) for _ in range(foreign // 5))

    @property
    def height(self) -> int:
        """The newest block."""
        return BASE + int((time.time() - self.began) / self.block_s)

    def time_of(self, number: int) -> float:
        """Since when a block is there."""
        return self.began + (number - BASE) * self.block_s

    def answer(self, call: Call) -> bytes:
        """Answer one call."""
        self.calls[call.method] += 1
        result = self._result(call)
        if result is None:
            return b'{"jsonrpc":"2.0","id":%d,"error":{"code":-32601,"message":"the method does not exist"}}' % call.id
        return b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (call.id, result)

    def _result(self, call: Call) -> bytes | None:
        match call.method:
            case "eth_chainId":
                return b'"0x%x"' % self.chain_id
            case "eth_blockNumber":
                return b'"0x%x"' % self.height
            case "eth_getBlockByNumber":
                text, is_whole = msgspec.json.decode(call.params[0], type=str), bytes(call.params[1]) == b"true"
                number = int(text, 16) if text.startswith("0x") else self.height - self._depth
                return self._block(number, is_whole=is_whole) if number <= self.height else b"null"
            case "eth_getLogs":
                return self._logs(msgspec.json.decode(call.params[0], type=Asked))
            case "eth_getTransactionReceipt":
                return self._receipt(msgspec.json.decode(call.params[0], type=str))
            case "eth_call":
                is_symbol = SYMBOL in bytes(call.params[0])
                return b'"0x%s"' % b"USD".ljust(32, b"\0").hex().encode() if is_symbol else b'"0x%064x"' % 18
        return None

    def _block(self, number: int, *, is_whole: bool) -> bytes:
        transactions = filled(self._transactions, self._hash(number), number) if is_whole else b""
        return (
            b'{"number":"0x%x","hash":"0x%s","parentHash":"0x%s","timestamp":"0x%x","logsBloom":"%s","transactions":[%s]}'
            % (number, self._hash(number), self._hash(number - 1), int(self.time_of(number)), self._bloom, transactions)
        )

    def _logs(self, asked: Asked) -> bytes:
        if asked.block_hash:
            first = last = int(asked.block_hash[34:], 16)
        else:
            first, last = int(asked.from_block, 16), int(asked.to_block, 16)
        bodies = (body for number in range(first, last + 1) for body in self._logs_of(number))
        return b"[%s]" % b",".join(bodies)

    def _logs_of(self, number: int) -> list[bytes]:
        foreign = [filled(self._foreign, self._hash(number), number)] if self._count else []
        return [*foreign, *[self._awaited_log(number, order) for order in range(self._awaited)]]

    def _awaited_log(self, number: int, order: int) -> bytes:
        watcher = self._watchers[(number * self._awaited + order) % len(self._watchers)]
        log = log_of(watcher.token, watcher.receiver, b"%032x%032x" % (number, order), self._count + order)
        return filled(log, self._hash(number), number)

    def _receipt(self, hash_: str) -> bytes:
        number, order = int(hash_[2:34], 16), int(hash_[34:], 16)
        return b'{"transactionHash":"%s","blockHash":"0x%s","blockNumber":"0x%x","status":"0x1","logs":[%s]}' % (
            hash_.encode(), self._hash(number), number, self._awaited_log(number, order),
        )  # fmt: skip

    def _hash(self, number: int) -> bytes:
        return b"%032x%032x" % (self.chain_id, number)


def filled(text: bytes, hash_: bytes, number: int) -> bytes:
    """Put a block's hash and number into a text."""
    return text.replace(HASH, hash_).replace(NUMBER, b"%x" % number)


def log_of(token: bytes, receiver: bytes, transaction: bytes, index: int) -> bytes:
    """A transfer; its block is not named yet."""
    return (
        b'{"address":"0x%s","topics":["%s","0x%s","0x%s"],"data":"0x%064x","blockNumber":"0x%s","blockHash":"0x%s",'
        b'"transactionHash":"0x%s","transactionIndex":"0x1f","logIndex":"0x%x","removed":false}'
    ) % (
        token.hex().encode(), TRANSFER, b"%064x" % 7, receiver.rjust(32, b"\0").hex().encode(), 10**18, NUMBER, HASH,
        transaction, index,
    )  # fmt: skip


def foreign_log(rng: random.Random, index: int) -> bytes:
    """A transfer of which no trigger knows."""
    return log_of(rng.randbytes(20), rng.randbytes(20), rng.randbytes(32).hex().encode(), index)


def foreign_transaction(rng: random.Random) -> bytes:
    """A call of which no trigger knows; every other one moves coins."""
    return (
        b'{"hash":"0x%s","from":"0x%s","to":"0x%s","value":"0x%x","input":"0x%s","blockHash":"0x%s","blockNumber":"0x%s"}'
    ) % (
        rng.randbytes(32).hex().encode(), rng.randbytes(20).hex().encode(), rng.randbytes(20).hex().encode(),
        rng.randrange(2) * 10**17, rng.randbytes(68).hex().encode(), HASH, NUMBER,
    )  # fmt: skip


class Connection(asyncio.Protocol):
    """One connection of HTTP/1.1 that stays open; requests come one after the other."""

    def __init__(self, lines: dict[int, Line]) -> None:
        self._lines = lines
        self._read = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer a request once it is whole."""
        self._read += data
        end = self._read.find(b"\r\n\r\n")
        found = LENGTH.search(self._read, 0, end) if end >= 0 else None
        if found is None or len(self._read) < end + 4 + int(found[1]):
            return
        path, body = self._read.split(b" ", 2)[1], bytes(self._read[end + 4 :])
        self._read.clear()
        line = self._lines[int(path[1:])]
        if body.startswith(b"["):
            answer = b"[%s]" % b",".join(map(line.answer, msgspec.json.decode(body, type=list[Call])))
        else:
            answer = line.answer(msgspec.json.decode(body, type=Call))
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer)
        asyncio.get_running_loop().call_later(line.delay_s, self._send, head, answer)

    def _send(self, head: bytes, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.writelines((head, answer))


@contextlib.contextmanager
def served(lines: Sequence[Line]) -> Iterator[str]:
    """Serve chains from a thread, each at /<its id>; gives them as the setting B3OS_CHAINS takes them."""
    by_id = {line.chain_id: line for line in lines}
    loop = uvloop.new_event_loop()
    listening = socket.create_server(("127.0.0.1", 0))
    server = loop.run_until_complete(loop.create_server(lambda: Connection(by_id), sock=listening))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield configured(lines, listening.getsockname()[1])
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


def configured(lines: Sequence[Line], port: int) -> str:
    """Return the chains as the setting B3OS_CHAINS takes them."""
    return msgspec.json.encode(
        [
            {"id": one.chain_id, "name": f"line {one.chain_id}", "rpcUrls": [f"http://127.0.0.1:{port}/{one.chain_id}"],
             "blockTimeMs": int(one.block_s * 1000)}
            for one in lines
        ]
    ).decode()  # fmt: skip
