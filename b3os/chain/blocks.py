"""Headers, blocks, logs and receipts as JSON-RPC sends them; only the fields that are used. Amounts stay hex or int."""

import msgspec


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
