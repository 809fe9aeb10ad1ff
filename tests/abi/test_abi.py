"""The ABI codec against eth-abi, the field's own encoder, and against published vectors."""

from collections.abc import Callable
from typing import Any

import eth_abi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3os.abi.codec import decode, encode
from b3os.abi.signature import checksum, keccak, parse_address, parse_signature, signature_from_abi
from b3os.abi.types import parse_type
from b3os.errors import BadInput

ATOMS: dict[str, st.SearchStrategy[Any]] = {
    "uint256": st.integers(0, 2**256 - 1),
    "uint8": st.integers(0, 255),
    "int128": st.integers(-(2**127), 2**127 - 1),
    "bool": st.booleans(),
    "address": st.binary(min_size=20, max_size=20).map(lambda b: "0x" + b.hex()),
    "bytes4": st.binary(min_size=4, max_size=4),
    "bytes": st.binary(max_size=100),
    "string": st.text(max_size=40),
}


@st.composite
def typed(draw: st.DrawFn, depth: int = 3) -> tuple[str, Any]:
    form = draw(st.sampled_from(["atom", "list", "fixed", "tuple"])) if depth else "atom"
    if form == "atom":
        kind = draw(st.sampled_from(sorted(ATOMS)))
        return kind, draw(ATOMS[kind])
    if form == "tuple":
        parts = draw(st.lists(typed(depth=depth - 1), min_size=1, max_size=3))
        return f"({','.join(kind for kind, _ in parts)})", tuple(value for _, value in parts)
    kind, value = draw(typed(depth=depth - 1))
    count = draw(st.integers(1, 3))
    return f"{kind}[{count if form == 'fixed' else ''}]", [value] * count


def code_of(act: Callable[[], Any]) -> int | None:
    """The code of the error that `act` raises, or None."""
    try:
        act()
    except BadInput as error:
        return error.code
    return None


def as_wire(value: Any) -> Any:
    """The JSON form that our decoder gives for a Python value of eth-abi."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, list | tuple):
        return [as_wire(item) for item in value]
    return checksum(bytes.fromhex(value[2:])) if value.startswith("0x") and len(value) == 42 else value


@given(st.lists(typed(), min_size=1, max_size=4))
def test_encodes_and_decodes_as_eth_abi_does(parts: list[tuple[str, Any]]) -> None:
    names = [kind for kind, _ in parts]
    values = [value for _, value in parts]
    kinds = [parse_type(name) for name in names]
    data = eth_abi.encode(names, values)
    assert [kind.canonical for kind in kinds] == names
    assert encode(kinds, values) == data
    assert decode(kinds, data) == [as_wire(value) for value in values]
    assert encode(kinds, decode(kinds, data)) == data


@given(
    st.lists(st.sampled_from(["uint256[]", "string", "(bytes,uint8)[]", "address"]), min_size=1),
    st.binary(max_size=300),
)
def test_decoding_garbage_is_an_error_or_a_value(names: list[str], data: bytes) -> None:
    assert code_of(lambda: decode([parse_type(name) for name in names], data)) in (None, 400334)


@given(st.text(max_size=40))
def test_any_text_is_a_signature_or_a_clear_error(text: str) -> None:
    assert code_of(lambda: parse_signature(text)) in (None, 400332)


def test_a_list_cannot_ask_for_endless_values() -> None:
    data = (32).to_bytes(32, "big") + (2**255).to_bytes(32, "big")
    with pytest.raises(BadInput, match="more than"):
        decode([parse_type("uint8[]")], data)


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("Transfer(address,address,uint256)", "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"),
        (
            "event Transfer(address indexed from, address indexed to, uint value)",
            "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
        ),
        (
            "TransferBatch(address,address,address,uint256[],uint256[])",
            "4a39dc06d4c0dbc64b70af90fd698a233a518aa5d07e595d983b8c0526c8f7fb",
        ),
    ],
)
def test_topic_of_published_events(text: str, topic: str) -> None:
    assert parse_signature(text).topic.hex() == topic


def test_a_function_and_what_it_returns() -> None:
    found = parse_signature(
        "function quote((uint8 kind, address who)[] memory asks, bytes data) view returns (uint256, bool ok)"
    )
    assert found.canonical == "quote((uint8,address)[],bytes)"
    assert [kind.canonical for kind in found.outputs] == ["uint256", "bool"]
    assert parse_signature("balanceOf(address)").selector.hex() == "70a08231"


def test_an_abi_finds_events_by_name_and_refuses_overloads() -> None:
    abi = [
        {
            "type": "event",
            "name": "A",
            "inputs": [{"type": "tuple[]", "name": "p", "components": [{"type": "uint8", "name": "k"}]}],
        },
        {"type": "event", "name": "B", "inputs": []},
        {"type": "event", "name": "B", "inputs": [{"type": "bool", "indexed": True}]},
    ]
    assert signature_from_abi(abi, "event", "A").canonical == "A((uint8)[])"
    assert signature_from_abi(abi, "event", "B(bool)").inputs[0].indexed
    with pytest.raises(BadInput, match="overloaded"):
        signature_from_abi(abi, "event", "B")
    with pytest.raises(BadInput, match="not there"):
        signature_from_abi("[]", "event", "C")


def test_checksummed_addresses_of_eip_55() -> None:
    good = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    assert checksum(parse_address(good)) == good
    assert parse_address(good.lower()) == parse_address(good)
    with pytest.raises(BadInput, match="checksum"):
        parse_address(good.replace("5aA", "5Aa"))
    with pytest.raises(BadInput, match="walletAddress"):
        parse_address("0x12", "walletAddress")


def test_values_out_of_range_name_the_value() -> None:
    assert keccak(b"").hex().startswith("c5d24601")
    for kind, value in [
        ("uint8", 256),
        ("int8", -129),
        ("bool", 1),
        ("address", "0x12"),
        ("bytes2", "0xzz"),
        ("uint8[2]", [1]),
    ]:
        with pytest.raises(BadInput) as caught:
            encode([parse_type(kind)], [value])
        assert caught.value.code == 400333
