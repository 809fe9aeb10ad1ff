"""EVM triggers as watches: what to look for on a chain, and what a log or transfer becomes as a result. Pure."""

from typing import Any

import msgspec

from b3os.abi.signature import Signature, checksum, parse_address, parse_signature, signature_from_abi
from b3os.abi.units import units
from b3os.detect.arguments import ArgumentFilter, parse_filter
from b3os.detect.event_logs import LogEvent, decode_event
from b3os.detect.keys import KeyKind
from b3os.errors import BadInput

TRANSFER = parse_signature("Transfer(address indexed from, address indexed to, uint256 value)")
#: Contracts that one trigger may name.
MAX_ADDRESSES = 1000
#: More blocks than any chain takes to be final: 10,000 of 0.25 s are 40 minutes.
MAX_CONFIRMATIONS = 10_000
LOG_TYPES = frozenset({"evm-log", "erc20-receive", "erc20-send"})
NATIVE_TYPES = frozenset({"eth-receive", "eth-send"})
REVERT_TYPE, BLOCK_TYPE = "evm-revert", "evm-block"
EVM_TYPES = LOG_TYPES | NATIVE_TYPES | {REVERT_TYPE, BLOCK_TYPE}
#: A block in so many is months on any chain.
MAX_EVERY = 100_000_000

Topics = tuple[bytes | None, ...]


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What one trigger looks for. `addresses` empty: any contract. `account` is the watched side of a transfer.

    `filter` is what its arguments must be beyond `topics`; `every` so many blocks one is wanted.

    `policy` is how sure an event must be: a number of blocks on top of its own, `safe` or `finalized`; None: as the
    chain says.
    """

    type: str
    chain_id: int
    addresses: tuple[bytes, ...] = ()
    topics: Topics = ()
    event: Signature | None = None
    account: bytes = b""
    min_amount: int = 0
    policy: int | str | None = None
    filter: ArgumentFilter | None = None
    every: int = 0


class Call(msgspec.Struct, frozen=True):
    """A transaction as it was sent: addresses and hash as 0x strings, value in wei.

    `input` is JSON still: of most transactions nobody asks for it, and many are long.
    """

    hash: str
    sender: str
    to: str | None
    value: int
    input: msgspec.Raw
    place: dict[str, Any]


def parse_watch(kind: str, payload: dict[str, Any]) -> Watch:
    """Read the payload of an EVM trigger, whatever generation wrote it; raises BadInput that names the field."""
    return msgspec.structs.replace(_parse_what(kind, payload), policy=parse_policy(payload.get("confirmations")))


def parse_policy(value: Any) -> int | str | None:
    """Read `confirmations`: how many blocks lie on an event's before it fires, or a tag; None: as the chain says."""
    if value in (None, ""):
        return None
    if value == "latest":
        return 0
    if value in ("safe", "finalized"):
        return str(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_CONFIRMATIONS:
        raise BadInput(
            f"`confirmations` is latest, safe, finalized or a number of blocks up to {MAX_CONFIRMATIONS}", code=400385
        )
    return value


def _parse_what(kind: str, payload: dict[str, Any]) -> Watch:
    chain_id = parse_chain_id(payload)
    if kind == "evm-log":
        event = _event(payload)
        topics: Topics = () if event is None or event.anonymous else (event.topic,)
        addresses = _addresses(payload, "addresses", "address", "contractAddress")
        if not topics and not addresses:
            raise BadInput("evm-log needs `eventSignature`, `eventName` with `abi`, or `address`", code=400336)
        bound, rest = parse_filter(event, payload.get("filter"))
        return Watch(
            type=kind,
            chain_id=chain_id,
            addresses=addresses,
            topics=_with_bound(topics, bound),
            event=event,
            filter=rest,
        )
    if kind == BLOCK_TYPE:
        return Watch(type=kind, chain_id=chain_id, every=_every(payload.get("every")))
    if kind == REVERT_TYPE:
        return _parse_revert(chain_id, payload)
    minimum = _amount(payload.get("minAmount", payload.get("minimumAmount", 0)))
    if kind in NATIVE_TYPES:
        account = _account(payload, kind)
        if not account:
            raise BadInput(f"{kind} needs `walletAddress`", code=400335)
        return Watch(type=kind, chain_id=chain_id, account=account, min_amount=minimum)
    account, tokens = _account(payload, kind), _addresses(payload, "tokenAddress")
    if not account and not tokens:
        raise BadInput(f"{kind} needs `walletAddress`, `tokenAddress` or both", code=400335)
    side = account.rjust(32, b"\0") if account else None
    topics = (TRANSFER.topic, None, side) if kind == "erc20-receive" else (TRANSFER.topic, side)
    return Watch(
        type=kind,
        chain_id=chain_id,
        addresses=tokens,
        topics=topics,
        event=TRANSFER,
        account=account,
        min_amount=minimum,
    )


def _parse_revert(chain_id: int, payload: dict[str, Any]) -> Watch:
    called = _addresses(payload, "address", "contractAddress", "toAddress")
    sender = _addresses(payload, "walletAddress", "fromAddress")
    if len(called) > 1 or len(sender) > 1 or not (called or sender):
        message = f"{REVERT_TYPE} needs one `address` that is called, one `walletAddress` that sends, or both"
        raise BadInput(message, code=400335)
    return Watch(type=REVERT_TYPE, chain_id=chain_id, addresses=called, account=sender[0] if sender else b"")


def _every(value: Any) -> int:
    if value in (None, ""):
        return 1
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_EVERY:
        raise BadInput(f"`every` is a whole number of blocks from 1 to {MAX_EVERY}", code=400439)
    return value


def _with_bound(topics: Topics, bound: dict[int, bytes]) -> Topics:
    if not bound:
        return topics
    return tuple(topics[at] if at < len(topics) else bound.get(at) for at in range(max(bound) + 1))


def parse_chain_id(payload: dict[str, Any]) -> int:
    """Read `chainId`; raises BadInput."""
    value = payload.get("chainId")
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 17:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 2**53:
        raise BadInput("`chainId` is a positive number, such as 8453 for Base", code=400337)
    return value


def _event(payload: dict[str, Any]) -> Signature | None:
    text, name, abi = payload.get("eventSignature"), payload.get("eventName"), payload.get("abi")
    if isinstance(text, str) and text.strip():
        return parse_signature(text)
    if isinstance(name, str) and "(" in name:
        return parse_signature(name)
    if abi:
        return signature_from_abi(abi, "event", str(name or ""))
    if name:
        raise BadInput("`eventName` alone does not say the event's types: add `abi`, or eventSignature", code=400332)
    return None


def _addresses(payload: dict[str, Any], *names: str) -> tuple[bytes, ...]:
    for name in names:
        value = payload.get(name)
        listed = value if isinstance(value, list) else [value]
        listed = [one for one in listed if one not in (None, "", "*", "any")]
        if len(listed) > MAX_ADDRESSES:
            raise BadInput(f"{name}: at most {MAX_ADDRESSES} addresses in one trigger", code=400335)
        if listed:
            return tuple(dict.fromkeys(parse_address(one, name) for one in listed))
    return ()


def _account(payload: dict[str, Any], kind: str) -> bytes:
    side = "toAddress" if kind.endswith("receive") else "fromAddress"
    for name in ("walletAddress", "address", side):
        if payload.get(name) not in (None, "", "*", "any"):
            return parse_address(payload[name], name)
    return b""


def _amount(value: Any) -> int:
    if value in (None, ""):
        return 0
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 78:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**256:
        raise BadInput("`minAmount` is a whole number of base units (wei), without a decimal point", code=400313)
    return value


def log_result(watch: Watch, log: LogEvent) -> dict[str, Any] | None:
    """Make the result of a log trigger, or None when the log is not what the watch asks for."""
    args = decode_event(watch.event, log) if watch.event is not None else {}
    if args is None or (watch.filter is not None and not watch.filter.holds(args)):
        return None
    place = {
        "chainId": watch.chain_id,
        "blockNumber": int(log.block_number, 16),
        "blockHash": log.block_hash,
        "transactionHash": log.transaction_hash,
        "txHash": log.transaction_hash,
        "logIndex": int(log.log_index, 16),
    }
    address = checksum(bytes.fromhex(log.address[2:]))
    if watch.type == "evm-log":
        name = watch.event.name if watch.event is not None else None
        about = {"address": address, "contractAddress": address, "eventName": name, "args": args}
        return {**args, **place, **about, "topics": list(log.topics), "data": log.data}
    if int(args["value"]) < watch.min_amount:
        return None
    return {"from": args["from"], "to": args["to"], "amount": args["value"], "tokenAddress": address, **place}


def native_result(watch: Watch, *, sender: str, to: str, value: int, place: dict[str, Any]) -> dict[str, Any] | None:
    """Make the result of a native transfer, or None when it is smaller than the watch asks for."""
    if value <= 0 or value < watch.min_amount:
        return None
    ends = {"from": checksum(bytes.fromhex(sender[2:])), "to": checksum(bytes.fromhex(to[2:]))}
    return {**ends, "amount": str(value), "amountFormatted": units(value, 18), "chainId": watch.chain_id, **place}


def revert_result(watch: Watch, call: Call) -> dict[str, Any] | None:
    """Make the result of a transaction that reverted, or None when it is not from or to whom the watch says."""
    sender, to = bytes.fromhex(call.sender[2:]), bytes.fromhex(call.to[2:]) if call.to else None
    if (watch.account and watch.account != sender) or (watch.addresses and to not in watch.addresses):
        return None
    sent: str = msgspec.json.decode(call.input, type=str | None) or "0x"
    about = {"amount": str(call.value), "input": sent, "methodId": sent[:10]}
    ends = {"from": checksum(sender), "to": None if to is None else checksum(to)}
    hashes = {"transactionHash": call.hash, "txHash": call.hash}
    return {**ends, **about, "chainId": watch.chain_id, **hashes, **call.place}


def watch_key(watch: Watch) -> tuple[KeyKind, bytes]:
    """Return the kind and the index key of a watch that is none of logs."""
    if watch.type == BLOCK_TYPE:
        return KeyKind.BLOCK, block_key(watch.chain_id, watch.every)
    if watch.type == REVERT_TYPE:
        kind = KeyKind.REVERTED_TO if watch.addresses else KeyKind.REVERTED_FROM
        return kind, native_key(watch.chain_id, watch.addresses[0] if watch.addresses else watch.account)
    kind = KeyKind.NATIVE_TO if watch.type == "eth-receive" else KeyKind.NATIVE_FROM
    return kind, native_key(watch.chain_id, watch.account)


def native_key(chain_id: int, account: bytes) -> bytes:
    """The index key of one end of transactions on a chain."""
    return chain_id.to_bytes(8, "big") + account


def block_key(chain_id: int, every: int) -> bytes:
    """The index key of every so many blocks of a chain."""
    return chain_id.to_bytes(8, "big") + every.to_bytes(8, "big")
