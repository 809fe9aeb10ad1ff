"""A sample of what each trigger type gives its workflow: made by the code that makes real results. Pure.

A sample obeys what a payload names exactly: accounts, contracts, arguments that must equal something, the target of a
price. It is in no block: its number is 0 and its hashes are zeros, so that nobody takes it for something that happened.
"""

from typing import Any

import msgspec

from b3os.abi.units import units
from b3os.detect.catalog import TRIGGER_TYPES, check_trigger
from b3os.detect.evm import (
    BLOCK_TYPE,
    EVM_TYPES,
    NATIVE_TYPES,
    REVERT_TYPE,
    Call,
    Watch,
    log_result,
    native_result,
    parse_watch,
    revert_result,
)
from b3os.detect.gmail import GMAIL_TYPES, RECEIVED, SEARCHED, parse_gmail_watch
from b3os.detect.polymarket import (
    MARKET_CLOSE,
    MARKET_TRADE,
    NEW_MARKET,
    POLYMARKET_TYPES,
    USER_BET,
    parse_polymarket_watch,
)
from b3os.detect.prices import PRICE_TYPE, parse_price_watch, price_number
from b3os.detect.sample_calls import CALLS
from b3os.detect.sample_logs import NOWHERE, OTHER, sample_log
from b3os.detect.sample_markets import sample_of_polymarket
from b3os.detect.sample_messages import sample_mail, sample_mention
from b3os.detect.sample_states import sample_outputs
from b3os.detect.schedules import next_slots, slot_text
from b3os.detect.slack import SLACK_TYPE, parse_slack_watch
from b3os.detect.thresholds import BALANCE_TYPE, STATE_TYPES, VIEW_TYPE, parse_state_watch, state_result
from b3os.detect.webhooks import INBOUND, call_result, parse_webhook, read_call, webhook_result
from b3os.errors import NotFound

_WALLET, _TOKEN = "0x" + "b0" * 20, "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"
_SIGNED = {"signingSecret": "sample"}
_MAILBOX = {"connector": {"type": "gmail", "id": "conn_sample"}}
_TRANSFERS = {"chainId": 8453, "walletAddress": _WALLET}
#: What is tried when no payload is given.
EXAMPLES: dict[str, dict[str, Any]] = {
    "manual": {},
    "webhook": {},
    "cronjob": {"schedule": "0 9 * * 1-5"},
    "evm-log": {
        "chainId": 8453,
        "address": _TOKEN,
        "eventSignature": "Transfer(address indexed from, address indexed to, uint256 value)",
    },
    "erc20-receive": {**_TRANSFERS, "tokenAddress": _TOKEN},
    "erc20-send": {**_TRANSFERS, "tokenAddress": _TOKEN},
    "eth-receive": _TRANSFERS,
    "eth-send": _TRANSFERS,
    REVERT_TYPE: {"chainId": 8453, "address": _TOKEN},
    BLOCK_TYPE: {"chainId": 8453, "every": 100},
    VIEW_TYPE: {
        "chainId": 8453,
        "address": _TOKEN,
        "functionSignature": "totalSupply() view returns (uint256 supply)",
        "operator": "$gte",
        "value": "5000000000000000",
    },
    BALANCE_TYPE: {"chainId": 8453, "walletAddress": _WALLET, "operator": "$lt", "value": "100000000000000000"},
    PRICE_TYPE: {"asset": "BTCUSD", "targetPrice": "100000", "operation": "cross-up"},
    SLACK_TYPE: {"channelId": "C0123ABCD", "connector": {"type": "slack", "id": "conn_sample"}},
    RECEIVED: _MAILBOX,
    SEARCHED: {**_MAILBOX, "q": "from:ada@example.com"},
    MARKET_TRADE: {"marketId": "will-it-rain-in-lisbon-tomorrow", "minSize": 100},
    USER_BET: {"user": _WALLET, "minSize": 500, "side": "BUY"},
    NEW_MARKET: {"keywords": ["bitcoin"]},
    MARKET_CLOSE: {"marketId": "will-it-rain-in-lisbon-tomorrow"},
    **dict.fromkeys(INBOUND, _SIGNED),
}
_NOWHERE: dict[str, Any] = {"blockNumber": 0, "blockHash": NOWHERE}
#: An example of each type that an input of a manual trigger may have; of a text its own name.
_OF_TYPE: dict[str, Any] = {"number": 1, "integer": 1, "boolean": True, "array": [], "object": {}}


def known_type(kind: str) -> str:
    """Return a trigger type that there is; raises NotFound."""
    if kind not in TRIGGER_TYPES:
        raise NotFound(f"no trigger type {kind[:100]}: see GET /v1/triggers", code=404050)
    return kind


def sample_result(kind: str, payload: dict[str, Any], *, now_s: int, triggered_at: str) -> dict[str, Any]:
    """Return a sample result for a payload, or for the type's example where it is empty; raises BadInput."""
    payload = payload or EXAMPLES[kind]
    check_trigger(kind, payload)
    if kind in EVM_TYPES:
        return {**_chain_result(parse_watch(kind, payload)), "blockTimestamp": now_s, "triggeredAt": triggered_at}
    if kind in STATE_TYPES:
        state = parse_state_watch(kind, payload)
        place = {**_NOWHERE, "blockTimestamp": now_s}
        return {**state_result(state, sample_outputs(state), place), "triggeredAt": triggered_at}
    if kind == "cronjob":
        slots = next_slots(payload, now_s, 1)
        return {"triggeredAt": slot_text(slots[0]) if slots else triggered_at}
    if kind == PRICE_TYPE:
        watch = parse_price_watch(payload)
        about = {"asset": watch.asset, "price": price_number(watch.target), "timestamp": triggered_at}
        return {**about, "rawResponse": {}, "triggeredAt": triggered_at}
    if kind == SLACK_TYPE:
        return sample_mention(parse_slack_watch(payload), now_s, triggered_at)
    if kind in GMAIL_TYPES:
        return sample_mail(parse_gmail_watch(kind, payload), now_s, triggered_at)
    if kind in POLYMARKET_TYPES:
        return sample_of_polymarket(parse_polymarket_watch(kind, payload), now_s, triggered_at)
    if kind in INBOUND:
        return _call_result(kind, triggered_at)
    headers = {"content-type": "application/json"} if kind == "webhook" else {}
    return webhook_result(_inputs(payload.get("inputSchema")), headers, triggered_at)


def _call_result(kind: str, triggered_at: str) -> dict[str, Any]:
    body, headers = CALLS[INBOUND[kind].provider], {"content-type": "application/json"}
    occurrence = read_call(parse_webhook(kind, _SIGNED), body, headers)
    assert occurrence is not None, "a sample call is its provider's"
    return call_result(occurrence, body, headers, triggered_at)


def _inputs(schema: Any) -> dict[str, Any]:
    """Make a body of declared inputs: a JSON schema, or a list of {key, type}."""
    members = schema.get("properties") if isinstance(schema, dict) else None
    if isinstance(schema, list):
        members = {str(one.get("key")): one for one in schema if isinstance(one, dict)}
    if not isinstance(members, dict):
        return {}
    return {name: _input(name, about) for name, about in members.items() if isinstance(about, dict)}


def _input(name: str, about: dict[str, Any]) -> Any:
    given = next((about[key] for key in ("example", "default") if key in about), None)
    return _OF_TYPE.get(str(about.get("type")), name) if given is None else given


def _chain_result(watch: Watch) -> dict[str, Any]:
    place = _NOWHERE
    if watch.type == BLOCK_TYPE:
        return {"chainId": watch.chain_id, **place}
    if watch.type == REVERT_TYPE:
        to = "0x" + (watch.addresses[0] if watch.addresses else OTHER).hex()
        call = Call(NOWHERE, "0x" + (watch.account or OTHER).hex(), to, 0, msgspec.Raw(b'"0x12345678"'), place)
        reverted = revert_result(watch, call)
        assert reverted is not None, "it is from and to whom it must be"
        return {**reverted, "gasUsed": "21000"}
    if watch.type in NATIVE_TYPES:
        ends = ("0x" + OTHER.hex(), "0x" + watch.account.hex())
        sender, to = ends if watch.type == "eth-receive" else ends[::-1]
        place |= {"transactionHash": NOWHERE, "txHash": NOWHERE}
        moved = native_result(watch, sender=sender, to=to, value=max(watch.min_amount, 10**18), place=place)
        assert moved is not None, "it is as large as it must be"
        return {**moved, "symbol": "ETH", "internal": False}
    untested = Watch(type=watch.type, chain_id=watch.chain_id, event=watch.event)
    found = log_result(untested, sample_log(watch))
    assert found is not None, "the log was made for this watch"
    if watch.type == "evm-log":
        return found
    return {**found, "symbol": "TOKEN", "decimals": 18, "amountFormatted": units(int(found["amount"]), 18)}
