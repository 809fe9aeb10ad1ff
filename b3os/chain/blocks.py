"""Headers, blocks, logs and receipts as JSON-RPC sends them; only the fields that are used. Amounts stay hex or int."""

import msgspec

from b3os.abi.signature import keccak


class Header(msgspec.Struct, frozen=True, rename="camel"):
    """A block without its transactions."""

    number: str
    hash: str
    parent_hash: str
    timestamp: str
    logs_bloom: str = "0x"

    @property
    def height(self) -> int:
        """The block number."""
        return int(self.number, 16)

    @property
    def time_ms(self) -> int:
        """The block's own time, milliseconds since 1970."""
        return int(self.timestamp, 16) * 1000


class Transaction(msgspec.Struct, frozen=True, rename="camel"):
    """A transaction inside a block."""

    hash: str
    from_: str = msgspec.field(name="from")
    to: str | None = None
    value: str = "0x0"
    #: As JSON: of most nobody asks for it, and many are long.
    input: msgspec.Raw = msgspec.Raw(b'"0x"')


class Block(Header, frozen=True, rename="camel"):
    """A block with its transactions."""

    transactions: tuple[Transaction, ...] = ()


class Log(msgspec.Struct, frozen=True, rename="camel"):
    """One event log and where it is."""

    address: str
    topics: tuple[str, ...]
    data: str
    block_number: str
    block_hash: str
    transaction_hash: str
    transaction_index: str
    log_index: str
    removed: bool = False

    @property
    def height(self) -> int:
        """The block number."""
        return int(self.block_number, 16)


class ReceiptLog(msgspec.Struct, frozen=True, rename="camel"):
    """A log of a receipt: only its place."""

    log_index: str


class Receipt(msgspec.Struct, frozen=True, rename="camel"):
    """What became of a transaction; `status` is absent before Byzantium."""

    transaction_hash: str
    block_hash: str
    block_number: str
    logs: tuple[ReceiptLog, ...] = ()
    status: str | None = None
    gas_used: str = "0x0"


def bloom_may_contain(bloom: bytes, item: bytes) -> bool:
    """Say whether a 2048-bit bloom may contain an address or topic. Source: Ethereum yellow paper, section 4.4.3."""
    digest = keccak(item)
    for at in (0, 2, 4):
        bit = int.from_bytes(digest[at : at + 2], "big") & 2047
        if not bloom[255 - bit // 8] >> (bit % 8) & 1:
            return False
    return True
