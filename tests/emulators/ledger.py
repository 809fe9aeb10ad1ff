"""A chain that forks: blocks of transactions with logs, as every node of the network would know them.

What was mined stays known by its hash, also after a fork took it out of the canonical chain. A transaction may be mined
again in another block, where its logs get other places.
"""

import hashlib
from functools import cached_property
from typing import Any

import msgspec

from b3os.abi.signature import keccak

ZERO = "0x" + "0" * 64


def digest(*parts: object) -> str:
    """Return a hash that follows from its parts, as 0x and 64 digits."""
    return "0x" + hashlib.sha256(repr(parts).encode()).hexdigest()


def bloom_of(items: list[str]) -> str:
    """Return the bloom of addresses and topics."""
    bits = bytearray(256)
    for item in items:
        hashed = keccak(bytes.fromhex(item[2:]))
        for at in (0, 2, 4):
            bit = int.from_bytes(hashed[at : at + 2], "big") & 2047
            bits[255 - bit // 8] |= 1 << (bit % 8)
    return "0x" + bits.hex()


def has_topics(log: dict[str, Any], wanted: list[Any]) -> bool:
    """Say whether a log has the topics of an eth_getLogs filter: at each place none, one or any of a list."""
    return len(log["topics"]) >= len(wanted) and all(
        one is None or topic in one for one, topic in zip(wanted, log["topics"], strict=False)
    )


class Emitted(msgspec.Struct, frozen=True):
    """What a contract logs."""

    address: str
    topics: tuple[str, ...]
    data: str = "0x"


class Inner(msgspec.Struct, frozen=True):
    """A call inside a transaction, and those that it makes."""

    sender: str
    to: str
    value: int
    type: str = "CALL"
    error: str = ""
    calls: tuple["Inner", ...] = ()


class Tx(msgspec.Struct, frozen=True):
    """A transaction: its hash, its logs, the coins that it moves. `inner` are the internal calls that move coins.

    `sets` is what it changes of the state: what a call of `contract:data` returns, or the coins of an account.
    """

    hash: str
    logs: tuple[Emitted, ...] = ()
    sender: str = "0x" + "11" * 20
    to: str | None = "0x" + "22" * 20
    value: int = 0
    status: int = 1
    inner: tuple["Inner", ...] = ()
    input: str = "0x"
    sets: tuple[tuple[str, str], ...] = ()


class Block:
    """One block. Its hash follows from its parent, its transactions and a salt.

    Of a height that the chain left out there is no block: it goes by the hash of the one before.
    """

    is_left_out = False

    def __init__(
        self, number: int, parent: str, time_s: int, txs: tuple[Tx, ...], salt: str, state: dict[str, str] | None = None
    ) -> None:
        self.number = number
        self.parent = parent
        self.time_s = time_s
        self.txs = txs
        self.hash = digest("block", number, parent, salt, [(tx.hash, tx.logs, tx.value, tx.status) for tx in txs])
        #: The state after it.
        self.state = {**(state or {}), **{key: value for tx in txs if tx.status for key, value in tx.sets}}

    @cached_property
    def logs(self) -> list[dict[str, Any]]:
        """The logs as nodes send them, in order."""
        found: list[dict[str, Any]] = []
        for order, tx in enumerate(self.txs):
            for log in tx.logs if tx.status else ():
                found.append(
                    {
                        "address": log.address,
                        "topics": list(log.topics),
                        "data": log.data,
                        "blockNumber": hex(self.number),
                        "blockHash": self.hash,
                        "transactionHash": tx.hash,
                        "transactionIndex": hex(order),
                        "logIndex": hex(len(found)),
                        "removed": False,
                    }
                )
        return found

    @cached_property
    def bloom(self) -> str:
        return bloom_of([item for log in self.logs for item in (log["address"], *log["topics"])])

    def header(self, *, full: bool) -> dict[str, Any]:
        """The block as eth_getBlockByNumber sends it."""
        return {
            "number": hex(self.number),
            "hash": self.hash,
            "parentHash": self.parent,
            "timestamp": hex(self.time_s),
            "logsBloom": self.bloom,
            "transactions": [self._transaction(i) if full else tx.hash for i, tx in enumerate(self.txs)],
        }

    def _transaction(self, order: int) -> dict[str, Any]:
        tx = self.txs[order]
        place = {"blockHash": self.hash, "blockNumber": hex(self.number), "transactionIndex": hex(order)}
        ends = {"from": tx.sender, "to": tx.to, "value": hex(tx.value), "input": tx.input}
        return {"hash": tx.hash, **ends, **place}

    def receipt(self, order: int) -> dict[str, Any]:
        """The receipt of a transaction of this block."""
        tx = self.txs[order]
        return {
            "transactionHash": tx.hash,
            "transactionIndex": hex(order),
            "blockHash": self.hash,
            "blockNumber": hex(self.number),
            "from": tx.sender,
            "to": tx.to,
            "status": hex(tx.status),
            "gasUsed": "0x5208",
            "logs": [log for log in self.logs if log["transactionHash"] == tx.hash],
        }


class Ledger:
    """The canonical chain, and every block that ever was."""

    def __init__(self, chain_id: int = 31337, *, genesis_s: int = 1_700_000_000, block_s: int = 2) -> None:
        self.chain_id = chain_id
        self.block_s = block_s
        #: How many blocks below the head are still open to a fork; None: the tag is not known.
        self.final_depth: int | None = 8
        self.canonical: list[Block] = []
        self.known: dict[str, Block] = {}
        self._time = genesis_s
        self._salt = 0
        self.mine()

    @property
    def head(self) -> int:
        """The number of the newest block."""
        return len(self.canonical) - 1

    @property
    def final(self) -> int:
        """The number of the newest block that no fork takes away."""
        return max(0, self.head - (self.final_depth or 0))

    def mine(self, *txs: Tx) -> Block:
        """Add a block on top."""
        parent = self.canonical[-1].hash if self.canonical else ZERO
        self._time += self.block_s
        state = self.canonical[-1].state if self.canonical else None
        block = Block(len(self.canonical), parent, self._time, txs, str(self._salt), state)
        self.canonical.append(block)
        self.known[block.hash] = block
        return block

    def leave_out(self, count: int) -> None:
        """Pass heights by, as some chains do: the next block names the last one as its parent."""
        for _ in range(count):
            before = self.canonical[-1]
            passed = Block(before.number + 1, before.parent, before.time_s, (), "")
            passed.hash, passed.is_left_out = before.hash, True
            self.canonical.append(passed)

    def grow(self, count: int) -> None:
        """Add empty blocks."""
        for _ in range(count):
            self.mine()

    def fork(self, depth: int) -> list[Block]:
        """Take the newest blocks out of the canonical chain and return them; what is mined next has other hashes."""
        depth = min(depth, self.head)
        gone = self.canonical[len(self.canonical) - depth :]
        del self.canonical[len(self.canonical) - depth :]
        self._salt += 1
        return gone

    def restore(self, blocks: list[Block]) -> None:
        """Put blocks of an earlier fork back in place of what followed their parent: A, B, and A again."""
        del self.canonical[blocks[0].number :]
        self.canonical += blocks

    def place_of(self, tx_hash: str) -> tuple[Block, int] | None:
        """Return the canonical block of a transaction and its place there."""
        for block in reversed(self.canonical):
            for order, tx in enumerate(block.txs):
                if tx.hash == tx_hash:
                    return block, order
        return None
