"""A log that a watch looks for, with plain values where it does not care. Pure."""

from typing import Any

from b3os.abi.codec import encode
from b3os.abi.signature import Parameter, Signature
from b3os.abi.types import AbiType
from b3os.detect.event_logs import LogEvent, is_hashed
from b3os.detect.evm import TRANSFER, Watch
from b3os.errors import BadInput

#: The hash of what is in no block, and who stands for anybody.
NOWHERE, OTHER = "0x" + "00" * 32, bytes.fromhex("11" * 20)
#: Values of one sample: types can ask for any number of them.
MAX_VALUES = 1000


def sample_log(watch: Watch) -> LogEvent:
    """Write the log; raises BadInput for an event of more values than a sample has."""
    event = watch.event or Signature("", anonymous=True)
    if sum(count_values(parameter.type) for parameter in event.inputs) > MAX_VALUES:
        raise BadInput(f"a sample of {event.name} would have more than {MAX_VALUES} values: it has none", code=400389)
    topics = [] if event.anonymous else [event.topic]
    topics += [_word(parameter) for parameter in event.inputs if parameter.indexed]
    for place, topic in enumerate(watch.topics[: len(topics)]):
        topics[place] = topic or topics[place]
    plain = [parameter.type for parameter in event.inputs if not parameter.indexed]
    values = [max(watch.min_amount, 10**18)] if event == TRANSFER else [sample_value(kind) for kind in plain]
    return LogEvent(
        address="0x" + (watch.addresses[0] if watch.addresses else OTHER).hex(),
        topics=tuple("0x" + topic.hex() for topic in topics),
        data="0x" + encode(plain, values).hex(),
        block_number="0x0",
        block_hash=NOWHERE,
        transaction_hash=NOWHERE,
        log_index="0x0",
    )


def count_values(kind: AbiType) -> int:
    """Count what a sample of a type holds."""
    inside = sum(count_values(item) for item in kind.items)
    return max(1, inside) * (kind.size or 1) if kind.kind == "array" else max(1, inside)


def _word(parameter: Parameter) -> bytes:
    return bytes(32) if is_hashed(parameter) else encode([parameter.type], [sample_value(parameter.type)])


def sample_value(kind: AbiType) -> Any:
    """Make a plain value of a type."""
    match kind.kind:
        case "tuple":
            return [sample_value(item) for item in kind.items]
        case "array":
            return [sample_value(kind.items[0]) for _ in range(1 if kind.size is None else kind.size)]
        case "address":
            return OTHER
        case "string":
            return "text"
        case "bytes":
            return b"\x01"
        case "bytesN":
            return bytes(kind.size or 0)
    return kind.kind == "bool" or 1
