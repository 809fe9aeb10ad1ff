"""Filters of `evm-log` on the arguments of its event, with the operators of `if`: read, checked, split in two. Pure.

What an indexed argument must equal becomes a topic, which the index looks up. The rest is a condition on the decoded
arguments of logs that already match. Right sides are brought into the form in which arguments are decoded (addresses
with their checksum, integers as decimal strings, bytes in lower case), so that a value that no log can have is refused
when the filter is written, and not found out by silence. An indexed text, list or tuple is its hash in a log: a text is
hashed here, of the others the hash is written.
"""

from typing import Any

import msgspec

from b3os.abi.codec import decode, encode
from b3os.abi.signature import Parameter, Signature, keccak, parse_address
from b3os.abi.types import AbiType
from b3os.detect.event_logs import argument_names, is_hashed
from b3os.errors import BadInput
from b3os.workflow.conditions import MAX_DEPTH, OPERATORS, compile_condition, local_field, number

#: Values on right sides, all in all: a longer list belongs into the workflow.
MAX_VALUES = 1000
MAX_TOPICS = 4
#: Codes: an argument that the event lacks, an operator that does not fit its type, a value that is none of its type.
UNKNOWN, UNFIT, WRONG, SHAPE = 400386, 400387, 400388, 400310

_EQUAL, _ORDER = ("$eq", "$ne"), ("$gt", "$gte", "$lt", "$lte")
_AMONG, _HOLDS, _ENDS = ("$in", "$nin", "$notIn"), ("$contains", "$notContains"), ("$startsWith", "$endsWith")
_FITS = {
    "uint": (*_EQUAL, *_ORDER, *_AMONG),
    "int": (*_EQUAL, *_ORDER, *_AMONG),
    "address": (*_EQUAL, *_AMONG),
    "bool": (*_EQUAL, *_AMONG),
    "bytesN": (*_EQUAL, *_AMONG, "$startsWith"),
    "bytes": (*_EQUAL, *_AMONG, "$startsWith"),
    "string": (*_EQUAL, *_ORDER, *_AMONG, *_HOLDS, *_ENDS),
    "array": _HOLDS,
    "tuple": (),
}
#: What can be said of a value of which a log holds the hash.
_FITS_HASH = (*_EQUAL, *_AMONG)
_encode = msgspec.json.Encoder().encode


class ArgumentFilter:
    """A condition on decoded arguments, compiled once; two are equal when their text is."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._test = compile_condition(msgspec.json.decode(text), of_item=True)

    def holds(self, arguments: dict[str, Any]) -> bool:
        """Say whether it holds for the arguments of a log."""
        return self._test(arguments)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArgumentFilter) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


def parse_filter(event: Signature | None, written: Any) -> tuple[dict[int, bytes], ArgumentFilter | None]:
    """Return what a filter binds, as topics by position, and what is left to test; raises BadInput."""
    if written in (None, {}, []):
        return {}, None
    if event is None:
        raise BadInput("`filter` needs the event: add eventSignature, or `eventName` with `abi`", code=UNKNOWN)
    checked = _Checker(event).part(written, 0)
    bound: dict[int, bytes] = {}
    rest = [left for part in _conjuncts(checked) if (left := _without_bound(event, part, bound))]
    if not rest:
        return bound, None
    return bound, ArgumentFilter(_encode(rest[0] if len(rest) == 1 else {"$and": rest}))


class _Checker:
    """Brings one filter of one event into its checked form: `$and`, `$or`, `$not`, and {path: {operator: value}}."""

    def __init__(self, event: Signature) -> None:
        self._arguments = dict(zip(argument_names(event), event.inputs, strict=True))
        self._event = event
        self._values = 0

    def part(self, written: Any, depth: int) -> dict[str, Any]:
        if depth > MAX_DEPTH:
            raise BadInput(f"a filter nests at most {MAX_DEPTH} levels", code=SHAPE)
        if isinstance(written, list):
            return {"$and": [self.part(one, depth + 1) for one in written]}
        if not isinstance(written, dict) or not written:
            raise BadInput('a filter is an object such as {"value": {"$gt": "1000000"}}', code=SHAPE)
        parts = [self._key(key, value, depth + 1) for key, value in written.items()]
        return parts[0] if len(parts) == 1 else {"$and": parts}

    def _key(self, key: str, value: Any, depth: int) -> dict[str, Any]:
        if key == "$not":
            return {key: self.part(value, depth)}
        if key in ("$and", "$or"):
            if not isinstance(value, list) or not value:
                raise BadInput(f"{key} takes a list of conditions", code=SHAPE)
            return {key: [self.part(one, depth) for one in value]}
        if key in OPERATORS:
            path = local_field(value[0]) if isinstance(value, list) and len(value) == 2 else None
            if path is None:
                raise BadInput(f'{key} takes an argument and a value: {{"{key}": ["{{{{@value}}}}", 1]}}', code=SHAPE)
            return {path: {key: self._right(path, key, value[1])}}
        path = local_field(key) or key
        tests = value if isinstance(value, dict) else {"$eq": value}
        if not tests:
            raise BadInput(f"{path}: say what it is compared with", code=SHAPE)
        return {path: {operator: self._right(path, operator, right) for operator, right in tests.items()}}

    def _find(self, path: str) -> Parameter:
        """Return what a dotted path leads to: an argument, a member of a tuple, an item of a list."""
        head, *rest = path.split(".")
        found = self._arguments.get(head)
        if found is None:
            known = ", ".join(self._arguments) or "none"
            raise BadInput(f"{self._event.name} has no argument {head[:100]!r}; it has: {known}", code=UNKNOWN)
        if rest and is_hashed(found):
            raise BadInput(f"{path}: a log holds only the hash of {head}, which is indexed", code=UNKNOWN)
        kind = found.type
        for step in rest:
            kind = _inside(kind, step, path)
        return Parameter(kind, path, found.indexed)

    def _right(self, path: str, operator: str, right: Any) -> Any:
        left = self._find(path)
        fitting = _FITS_HASH if is_hashed(left) else _FITS[left.type.kind]
        if operator not in fitting:
            takes = ", ".join(fitting) or "none of its own: name a member, such as order.amount"
            raise BadInput(f"{path} is {left.type.canonical}, and takes {takes}; not {operator[:50]}", code=UNFIT)
        other = local_field(right)
        if other is not None:
            self._compare(left, self._find(other), operator)
            return right
        if operator in _AMONG:
            if not isinstance(right, list):
                raise BadInput(f"{path}: {operator} takes a list", code=WRONG)
            return [self._value(left, operator, one) for one in right]
        return self._value(left, operator, right)

    def _compare(self, left: Parameter, right: Parameter, operator: str) -> None:
        numbers = ("uint", "int")
        alike = left.type.canonical == right.type.canonical and is_hashed(left) == is_hashed(right)
        if operator not in (*_EQUAL, *_ORDER) or not (
            alike or (left.type.kind in numbers and right.type.kind in numbers)
        ):
            message = f"{left.name} {operator} {right.name}: two arguments of one type can be equal, or ordered"
            raise BadInput(message, code=UNFIT)

    def _value(self, left: Parameter, operator: str, value: Any) -> Any:
        self._values += 1
        if self._values > MAX_VALUES:
            raise BadInput(f"a filter has at most {MAX_VALUES} values: filter the others in the workflow", code=WRONG)
        try:
            if is_hashed(left):
                return _hash(left.type, value)
            return _plain(left.type.items[0] if left.type.kind == "array" else left.type, operator, value)
        except BadInput as error:
            raise BadInput(f"{left.name}: {error.message}", code=WRONG) from error


def _inside(kind: AbiType, step: str, path: str) -> AbiType:
    if kind.kind == "array" and step.isascii() and step.isdigit() and len(step) < 10:
        if kind.size is None or int(step) < kind.size:
            return kind.items[0]
    elif kind.kind == "tuple" and kind.names and all(kind.names):
        if step in kind.names:
            return kind.items[kind.names.index(step)]
    elif kind.kind == "tuple" and step.isascii() and step.isdigit() and int(step) < len(kind.items):
        return kind.items[int(step)]
    raise BadInput(f"{path[:200]}: {kind.canonical} has no {step[:100]!r}", code=UNKNOWN)


def _hash(kind: AbiType, value: Any) -> str:
    """Return the hash of an indexed text or bytes; of lists and tuples it is written as it is."""
    if kind.kind == "string" and isinstance(value, str):
        return "0x" + keccak(value.encode()).hex()
    if kind.kind == "bytes":
        (data,) = decode([kind], encode([kind], [value]))
        return "0x" + keccak(bytes.fromhex(data[2:])).hex()
    word = AbiType("string" if kind.kind == "string" else "bytesN", 32)
    return str(decode([word], encode([word], [value]))[0])


def _plain(kind: AbiType, operator: str, value: Any) -> Any:
    """Return a value as decoding gives it."""
    if kind.kind in ("uint", "int"):
        value = _whole(value)
    elif kind.kind == "address":
        parse_address(value)
    elif kind.kind == "string" and operator in _ORDER and number(value) is not None:
        return value
    elif kind.kind == "bytesN" and operator == "$startsWith":
        kind = AbiType("bytes")
    return decode([kind], encode([kind], [value]))[0]


def _whole(value: Any) -> Any:
    """Read a numeric string as `if` does, `1e18` too; other forms are the codec's to read or refuse."""
    found = number(value)
    if found is None or found != found.to_integral_value() or abs(found.adjusted()) > 80:
        return value
    return int(found)


def _conjuncts(checked: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts that must all hold."""
    if list(checked) != ["$and"]:
        return [checked]
    return [one for part in checked["$and"] for one in _conjuncts(part)]


def _without_bound(event: Signature, part: dict[str, Any], bound: dict[int, bytes]) -> dict[str, Any]:
    """Move an equality with an indexed argument into `bound`; returns what is left of the part."""
    ((path, tests),) = part.items()
    names = argument_names(event)
    if path not in names or not event.inputs[names.index(path)].indexed or "$eq" not in tests:
        return part
    parameter, value = event.inputs[names.index(path)], tests["$eq"]
    if local_field(value) is not None:
        return part
    before = [one for one in event.inputs[: names.index(path)] if one.indexed]
    place = len(before) + (0 if event.anonymous else 1)
    if place >= MAX_TOPICS:
        raise BadInput(f"{path}: a log has {MAX_TOPICS} topics, {event.name} has more indexed arguments", code=UNKNOWN)
    topic = bytes.fromhex(value[2:]) if is_hashed(parameter) else encode([parameter.type], [value])
    if bound.setdefault(place, topic) != topic:
        return part  # two values at once: no log has them, and the test says so
    left = {operator: right for operator, right in tests.items() if operator != "$eq"}
    return {path: left} if left else {}
