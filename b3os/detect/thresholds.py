"""Triggers on a chain's state as watches: what a view function returns, or an account holds, against a value. Pure.

A watch is one call, whose answer is decoded, and a condition on one of its outputs, with the operators of `if` that fit
its type. An answer that is short, long or no value of its type is refused: nothing fires for it, and nothing is armed.
"""

import hashlib
from typing import Any

import msgspec

from b3os.abi.codec import decode, encode
from b3os.abi.signature import Parameter, Signature, checksum, parse_address, parse_signature, signature_from_abi
from b3os.abi.types import AbiType, parse_type
from b3os.abi.units import units
from b3os.detect.arguments import ArgumentFilter, parse_filter
from b3os.detect.evm import parse_chain_id, parse_policy
from b3os.errors import BadInput
from b3os.workflow.conditions import field_of, number

VIEW_TYPE, BALANCE_TYPE = "evm-view", "evm-balance"
STATE_TYPES = frozenset({VIEW_TYPE, BALANCE_TYPE})
#: Codes: the function, the condition, the hysteresis; an answer that cannot be read.
FUNCTION, CONDITION, HYSTERESIS, ANSWER = 400450, 400451, 400452, 400453
#: Bytes that one trigger may send along, and get back.
MAX_CALL, MAX_ANSWER = 4096, 32_768
BALANCE_OF = parse_signature("balanceOf(address) view returns (uint256 balance)")
_AMOUNT = (Parameter(parse_type("uint256"), "balance"),)
#: How far away the value must be before a trigger can fire again: on which side, by operator.
_BACK = {"$gt": -1, "$gte": -1, "$lt": 1, "$lte": 1}

#: The contract, and what it is called with; without that, the coins of an account.
Call = tuple[bytes, bytes]


class StateWatch(msgspec.Struct, frozen=True, kw_only=True):
    """What one trigger asks of a chain's state. `about` is the part of its results that never changes.

    `keeps` is the condition under which a trigger that fired stays so: `holds`, but for the hysteresis. `bound` is the
    whole number that the output is compared with, if it is one.
    """

    type: str
    chain_id: int
    policy: int | str | None
    call: Call
    outputs: tuple[Parameter, ...]
    path: str
    holds: ArgumentFilter
    keeps: ArgumentFilter
    bound: int | None
    about: dict[str, Any]

    @property
    def mark(self) -> str:
        """What its state belongs to: another call or condition has another."""
        types = ",".join(output.type.canonical for output in self.outputs)
        said = b"|".join((*self.call, self.holds.text, self.keeps.text, f"{types} {self.policy!r}".encode()))
        return hashlib.sha256(said).hexdigest()[:16]


def parse_state_watch(kind: str, payload: dict[str, Any]) -> StateWatch:
    """Read the payload of a trigger on state; raises BadInput that names the field."""
    parsed = _parse_balance(payload) if kind == BALANCE_TYPE else _parse_view(payload)
    call, outputs, path, about = parsed
    if len(call[1]) > MAX_CALL:
        raise BadInput(f"`args` are more than {MAX_CALL} bytes", code=FUNCTION)
    chain_id = parse_chain_id(payload)
    holds, keeps = _conditions(outputs, path, payload)
    return StateWatch(
        type=kind,
        chain_id=chain_id,
        policy=parse_policy(payload.get("confirmations")),
        call=call,
        outputs=outputs,
        path=path,
        holds=holds,
        keeps=keeps,
        bound=_whole(_first(payload, "value", "threshold")),
        about={"chainId": chain_id, **about},
    )


_Parsed = tuple[Call, tuple[Parameter, ...], str, dict[str, Any]]


def _parse_balance(payload: dict[str, Any]) -> _Parsed:
    account = parse_address(_first(payload, "walletAddress", "address", "accountAddress"), "walletAddress")
    token, about = payload.get("tokenAddress"), {"walletAddress": checksum(account)}
    if token in (None, ""):
        return (account, b""), _AMOUNT, "balance", {**about, "tokenAddress": None}
    contract = parse_address(token, "tokenAddress")
    data = BALANCE_OF.selector + account.rjust(32, b"\0")
    return (contract, data), _AMOUNT, "balance", {**about, "tokenAddress": checksum(contract)}


def _parse_view(payload: dict[str, Any]) -> _Parsed:
    contract = parse_address(_first(payload, "address", "contractAddress"), "address")
    function, args = _function(payload), payload.get("args")
    args = [] if args in (None, "") else args
    if not isinstance(args, list):
        raise BadInput("`args` is the list of the function's arguments, in order", code=FUNCTION)
    data = function.selector + encode([parameter.type for parameter in function.inputs], args)
    names = function.output_names
    outputs = tuple(
        # One of two with the same name is called by its place, since they could not be told apart.
        Parameter(kind, name if name and names.index(name) == n else f"out{n}")
        for n, (kind, name) in enumerate(zip(function.outputs, names, strict=True))
    )
    address = checksum(contract)
    about = {"address": address, "contractAddress": address, "functionName": function.name, "args": args}
    return (contract, data), outputs, _path(outputs, payload.get("output")), about


def _function(payload: dict[str, Any]) -> Signature:
    text, name, abi = payload.get("functionSignature"), payload.get("functionName"), payload.get("abi")
    if isinstance(text, str) and text.strip():
        found = parse_signature(text)
    elif isinstance(name, str) and "(" in name and not abi:
        found = parse_signature(name)
    elif abi:
        found = signature_from_abi(abi, "function", str(name or ""))
    else:
        raise BadInput(f"{VIEW_TYPE} needs `functionSignature`, or `functionName` with `abi`", code=FUNCTION)
    if not found.outputs:
        raise BadInput(f"{found.canonical} returns nothing: write what it does, `returns (uint256)`", code=FUNCTION)
    return found


def _path(outputs: tuple[Parameter, ...], written: Any) -> str:
    """Return the path of the output that is compared; its place may be written instead of its name."""
    if written in (None, ""):
        if len(outputs) > 1:
            names = ", ".join(one.name for one in outputs)
            raise BadInput(f"`output` says which of the function's outputs is compared: {names}", code=CONDITION)
        return outputs[0].name
    if isinstance(written, int) and not isinstance(written, bool):
        written = str(written)
    if not isinstance(written, str):
        raise BadInput("`output` is the name or place of an output, such as answer, 1 or order.amount", code=CONDITION)
    head, dot, rest = written.partition(".")
    if head.isascii() and head.isdigit() and len(head) < 4 and int(head) < len(outputs):
        head = outputs[int(head)].name
    return f"{head}{dot}{rest}"


def _conditions(
    outputs: tuple[Parameter, ...], path: str, payload: dict[str, Any]
) -> tuple[ArgumentFilter, ArgumentFilter]:
    operator, value = payload.get("operator"), _first(payload, "value", "threshold")
    if not isinstance(operator, str) or not operator:
        raise BadInput('`operator` is one of `if`, such as "$gte"', code=CONDITION)
    if value is None:
        raise BadInput("`value` is what the output is compared with", code=CONDITION)
    operator = operator if operator.startswith("$") else f"${operator}"
    back = _distance(payload.get("hysteresis"), operator, value)
    holds = _condition(outputs, path, operator, value)
    bound = _whole(value)
    if not back or bound is None:
        return holds, holds
    try:
        return holds, _condition(outputs, path, operator, str(bound + back))
    except BadInput as error:
        raise BadInput(f"`hysteresis` is too large: {error.message}", code=HYSTERESIS) from error


def _condition(outputs: tuple[Parameter, ...], path: str, operator: str, value: Any) -> ArgumentFilter:
    _, found = parse_filter(Signature("the function", outputs), {path: {operator: value}})
    assert found is not None, "no output is indexed, so nothing is bound"
    return found


def _distance(written: Any, operator: str, value: Any) -> int:
    """Return by how much `value` moves for a trigger that fired; 0 without hysteresis."""
    distance = 0 if written in (None, "") else _whole(written)
    if distance == 0:
        return 0
    if distance is None or distance < 0:
        raise BadInput("`hysteresis` is a whole number of 0 or more, in units of the output", code=HYSTERESIS)
    if operator not in _BACK or _whole(value) is None:
        raise BadInput(f"`hysteresis` goes with {', '.join(_BACK)} and a whole number", code=HYSTERESIS)
    return _BACK[operator] * distance


def _whole(value: Any) -> int | None:
    """Read a whole number as conditions do, `1e18` too; None for what is none, or larger than a contract counts."""
    found = number(value)
    is_whole = found is not None and found.adjusted() <= 80 and found == found.to_integral_value()
    return int(found) if found is not None and is_whole else None


def _first(payload: dict[str, Any], *names: str) -> Any:
    return next((payload[name] for name in names if payload.get(name) not in (None, "")), None)


def read_outputs(watch: StateWatch, data: bytes) -> dict[str, Any]:
    """Decode an answer, by the names of the outputs; raises BadInput for what no such function returns."""
    types = [output.type for output in watch.outputs]
    if not data:
        raise BadInput("the answer is empty: is there a contract, and has it this function?", code=ANSWER)
    if len(data) > MAX_ANSWER:
        raise BadInput(f"the answer has {len(data)} bytes, and is read up to {MAX_ANSWER}", code=ANSWER)
    values = decode(types, data)
    if not any(kind.is_dynamic for kind in types) and not _is_exact(types, values, data):
        raise BadInput("the answer is none of the types that the function declares: compare its signature", code=ANSWER)
    return {output.name: value for output, value in zip(watch.outputs, values, strict=True)}


def _is_exact(types: list[AbiType], values: list[Any], data: bytes) -> bool:
    """Say whether values are what their bytes say: a uint8 of 300, or more bytes than its types have, is garbage."""
    try:
        return encode(types, values) == data
    except BadInput:
        return False


def state_result(watch: StateWatch, outputs: dict[str, Any], place: dict[str, Any]) -> dict[str, Any]:
    """Make the result of a trigger that fires; `amount` of a token is named by who knows its decimals."""
    if watch.type == VIEW_TYPE:
        return {**watch.about, "value": field_of(outputs, watch.path), "outputs": outputs, **place}
    amount = str(outputs["balance"])
    formatted = units(int(amount), 18) if watch.about["tokenAddress"] is None else None
    return {**watch.about, "amount": amount, "amountFormatted": formatted, "symbol": None, "decimals": None, **place}
