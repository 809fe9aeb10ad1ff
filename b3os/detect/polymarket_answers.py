"""What Polymarket's services say, as plain data: answers, and what its sockets tell of. Pure.

JSON that holds NaN (read as null) or half a character is read all the same, so that one bad row spoils no other. What
a socket tells is only ever a reason to read: whom it concerns, and the transaction that should be found.
"""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from b3os.detect.polymarket import seconds_of
from b3os.errors import BadInput

#: What the market channel calls a trade, a market that was made, and one that was settled.
TRADED, CREATED, RESOLVED = "last_trade_price", "new_market", "market_resolved"


def list_of(body: bytes) -> list[Any]:
    """Read a JSON array; raises BadInput."""
    try:
        found = _lenient(body)
    except (ValueError, RecursionError) as error:
        raise BadInput("it is no JSON") from error
    if not isinstance(found, list):
        raise BadInput("it is no list")
    return found


def object_in(body: bytes) -> dict[str, Any]:
    """Read a JSON object; raises BadInput."""
    found = list_of(b"[" + body + b"]")
    if len(found) != 1 or not isinstance(found[0], dict):
        raise BadInput("it is no object")
    return found[0]


def _lenient(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        found = json.loads(body.decode(errors="replace"), parse_constant=lambda _: None)
        return msgspec.json.decode(json.dumps(found, ensure_ascii=False).encode(errors="replace"))


def channel_events(message: bytes, *kinds: str) -> Iterator[tuple[str, str, str, int]]:
    """Read a message of the market channel, one event or a list: kind, market, transaction and time of each of these.

    Nearly all messages are of the order book; they are told apart before they are decoded. Raises BadInput.
    """
    if not any(kind.encode() in message for kind in kinds):
        return
    found = list_of(message if message.lstrip()[:1] == b"[" else b"[" + message + b"]")
    for event in found:
        if isinstance(event, dict) and event.get("event_type") in kinds and isinstance(event.get("market"), str):
            at_s = seconds_of(event.get("timestamp"))
            yield event["event_type"], event["market"].lower(), _hash(event.get("transaction_hash")), at_s


def trader_in(message: bytes) -> tuple[str, str, int] | None:
    """Read a message of the live feed: wallet, transaction and time of a trade; None for any other. Raises BadInput."""
    found = object_in(message)
    said = found.get("payload")
    if found.get("topic") != "activity" or not isinstance(said, dict) or not isinstance(said.get("proxyWallet"), str):
        return None
    return said["proxyWallet"].lower(), _hash(said.get("transactionHash")), seconds_of(said.get("timestamp"))


def _hash(value: Any) -> str:
    return value.lower()[:66] if isinstance(value, str) else ""
