"""The trigger types: name, description and schemas; what the API lists and validation checks against."""

from collections.abc import Collection
from typing import Any

from b3os.detect.evm import BLOCK_TYPE, EVM_TYPES, REVERT_TYPE, parse_watch
from b3os.detect.gmail import GMAIL_TYPES, parse_gmail_watch
from b3os.detect.gmail_types import GMAIL_SPECS
from b3os.detect.polymarket import POLYMARKET_TYPES, parse_polymarket_watch
from b3os.detect.polymarket_types import POLYMARKET_SPECS
from b3os.detect.prices import OPERATIONS, PRICE_TYPE, parse_price_watch
from b3os.detect.schedules import POLICIES, parse_missed, parse_schedule
from b3os.detect.slack import SLACK_TYPE, parse_slack_watch
from b3os.detect.slack_type import SLACK_SPEC
from b3os.detect.threshold_types import STATE_SPECS
from b3os.detect.thresholds import STATE_TYPES, parse_state_watch
from b3os.detect.trigger_spec import TriggerSpec
from b3os.detect.webhook_types import WEBHOOK_PAYLOAD, WEBHOOK_SPECS
from b3os.detect.webhooks import WEBHOOK_TYPES, parse_webhook
from b3os.errors import BadInput

_RESULT = {
    "type": "object",
    "properties": {"triggeredAt": {"type": "string"}, "body": {}, "headers": {"type": "object"}},
}

_CHAIN = {"description": "EVM chain id, such as 8453 for Base", "type": ["integer", "string"]}
_CONFIRMATIONS = {
    "type": ["integer", "string"],
    "description": "When an event fires: latest, a number of blocks on top of its own, safe or finalized; empty: as "
    "many blocks as the chain's settings say",
}
_ADDRESS = {"type": "string", "description": "0x and 40 hexadecimal digits"}
_WALLET = {**_ADDRESS, "description": "Watched account; also accepted as `address`"}
_TOKENS = {"type": ["string", "array"], "description": "Token contract, or a list of them; empty: any token"}
_MINIMUM = {"type": ["integer", "string"], "description": "Smallest amount in base units"}
_PLACE = {
    "chainId": {"type": "integer"},
    "blockNumber": {"type": "integer"},
    "blockHash": {"type": "string"},
    "blockTimestamp": {"type": "integer", "description": "Seconds since 1970"},
    "transactionHash": {"type": "string"},
    "txHash": {"type": "string"},
    "triggeredAt": {"type": "string"},
}
_MOVED = {
    "from": {"type": "string"},
    "to": {"type": "string"},
    "amount": {"type": "string", "description": "Base units"},
    "amountFormatted": {"type": ["string", "null"], "description": "Coins or tokens"},
    "symbol": {"type": ["string", "null"]},
}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


_LOG_PAYLOAD = _object(
    chainId=_CHAIN,
    confirmations=_CONFIRMATIONS,
    address={"type": ["string", "array"], "description": "Contract, or a list of them; empty: any contract"},
    contractAddress={"type": ["string", "array"], "description": "The same as `address`"},
    addresses={"type": "array", "items": _ADDRESS},
    eventSignature={
        "type": "string",
        "description": "Such as Transfer(address indexed from, address indexed to, uint256 value)",
    },
    eventName={"type": "string", "description": "Name of an event of `abi`"},
    abi={"description": "JSON ABI that has the event"},
    filter={
        "type": ["object", "array"],
        "description": 'What its arguments must be, with the operators of `if`, such as {"value": {"$gt": "1000000"}}',
    },
)
_TOKEN_PAYLOAD = _object(
    chainId=_CHAIN,
    confirmations=_CONFIRMATIONS,
    walletAddress=_WALLET,
    address=_WALLET,
    tokenAddress=_TOKENS,
    minAmount=_MINIMUM,
)
_COIN_PAYLOAD = _object(
    chainId=_CHAIN, confirmations=_CONFIRMATIONS, walletAddress=_WALLET, address=_WALLET, minAmount=_MINIMUM
)
_LOG_RESULT = _object(
    **_PLACE,
    address=_ADDRESS,
    contractAddress=_ADDRESS,
    eventName={"type": ["string", "null"]},
    args={"type": "object", "description": "Decoded arguments by name; integers as strings"},
    topics={"type": "array"},
    data={"type": "string"},
    logIndex={"type": "integer"},
)
_TOKEN_RESULT = _object(
    **_PLACE, **_MOVED, tokenAddress=_ADDRESS, decimals={"type": ["integer", "null"]}, logIndex={"type": "integer"}
)
_COIN_RESULT = _object(
    **_PLACE,
    **_MOVED,
    internal={"type": "boolean", "description": "Whether a call inside the transaction moved them"},
)
_REVERT_PAYLOAD = _object(
    chainId=_CHAIN,
    confirmations=_CONFIRMATIONS,
    address={**_ADDRESS, "description": "Contract or account that is called; also accepted as `contractAddress`"},
    walletAddress={**_ADDRESS, "description": "Account that sends; also accepted as `fromAddress`"},
)
_REVERT_RESULT = _object(
    **_PLACE,
    **{"from": {"type": "string"}, "to": {"type": ["string", "null"]}},
    amount={"type": "string", "description": "Base units that were sent along, and came back"},
    input={"type": "string", "description": "What was called, 0x and hexadecimal digits"},
    methodId={"type": "string", "description": "The first four bytes of `input`"},
    gasUsed={"type": "string"},
)
_BLOCK_PAYLOAD = _object(
    chainId=_CHAIN,
    confirmations=_CONFIRMATIONS,
    every={
        "type": ["integer", "string"],
        "description": "How many blocks apart: numbers that it divides; 1 if absent",
    },
)
_BLOCK_RESULT = _object(**{name: _PLACE[name] for name in ("chainId", "blockNumber", "blockHash", "blockTimestamp",
                                                            "triggeredAt")})  # fmt: skip
_PRICE = {"type": ["number", "string"]}
_OPERATION = {
    "type": "string",
    "enum": list(OPERATIONS),
    "description": "cross-up and cross-down: the price reaches the target from the other side; above, below and equal: "
    "the condition becomes true, or is so when the workflow is published",
}
_PRICE_PAYLOAD = _object(
    asset={"type": "string", "description": "Pair of the price feed, such as BTCUSD; BTC means BTCUSD"},
    targetPrice={**_PRICE, "description": "US dollars; a string keeps up to 18 decimal places exactly"},
    threshold={**_PRICE, "description": "The same as `targetPrice`"},
    operation=_OPERATION,
    condition={**_OPERATION, "description": "The same as `operation`"},
    hysteresis={**_PRICE, "description": "How far the price goes back before the trigger can fire again; 0 if absent"},
    maxTriggers={"type": ["string", "integer"], "description": "Runs after which the workflow pauses; empty: no limit"},
)
_PRICE_RESULT = _object(
    price={"type": "number", "description": "US dollars"},
    asset={"type": "string"},
    timestamp={"type": "string", "description": "When the oracle made the price"},
    rawResponse={"type": "object", "description": "The oracle's answer with its signatures"},
    triggeredAt={"type": "string"},
)

_SPECS = (
    TriggerSpec("manual", "Manual", "Runs by hand, over the API, or by the workflow's webhook address.",
                {"type": "object", "properties": {"inputSchema": {}}}, _RESULT, ("manual",)),
    TriggerSpec("webhook", "Webhook", "Runs when the workflow's webhook address is called.",
                WEBHOOK_PAYLOAD, _RESULT, ("manual",)),
    TriggerSpec("cronjob", "Schedule", "Runs at the slots of a cron schedule in a time zone, or of an RRULE.",
                {"type": "object", "properties": {"schedule": {"type": "string"}, "cron": {"type": "string"},
                 "rrule": {"type": "string"}, "timezone": {"type": "string"},
                 "missed": {"enum": list(POLICIES), "description": "What becomes of slots missed in a downtime"}}},
                {"type": "object", "properties": {"triggeredAt": {"type": "string"}}}, ("schedule",)),
    TriggerSpec("evm-log", "Contract event", "Runs when a contract emits an event.",
                {**_LOG_PAYLOAD, "required": ["chainId"]}, _LOG_RESULT, ("evm",)),
    TriggerSpec("erc20-receive", "Token received", "Runs when an account receives ERC-20 tokens.",
                {**_TOKEN_PAYLOAD, "required": ["chainId"]}, _TOKEN_RESULT, ("evm",)),
    TriggerSpec("erc20-send", "Token sent", "Runs when an account sends ERC-20 tokens.",
                {**_TOKEN_PAYLOAD, "required": ["chainId"]}, _TOKEN_RESULT, ("evm",)),
    TriggerSpec("eth-receive", "Coin received", "Runs when an account receives the native coin of a chain; from "
                "contracts where the chain's nodes trace blocks.",
                {**_COIN_PAYLOAD, "required": ["chainId"]}, _COIN_RESULT, ("evm",)),
    TriggerSpec("eth-send", "Coin sent", "Runs when an account sends the native coin of a chain; a contract "
                "where the chain's nodes trace blocks.",
                {**_COIN_PAYLOAD, "required": ["chainId"]}, _COIN_RESULT, ("evm",)),
    TriggerSpec(REVERT_TYPE, "Transaction reverted", "Runs when a transaction of an account, or to a contract, fails.",
                {**_REVERT_PAYLOAD, "required": ["chainId"]}, _REVERT_RESULT, ("evm",)),
    TriggerSpec(BLOCK_TYPE, "Block", "Runs at every block of a chain, or at every Nth, whose number N divides.",
                {**_BLOCK_PAYLOAD, "required": ["chainId"]}, _BLOCK_RESULT, ("evm",)),
    *STATE_SPECS,
    TriggerSpec(PRICE_TYPE, "Token price", "Runs when the price of an asset crosses, exceeds or meets a target.",
                {**_PRICE_PAYLOAD, "required": ["asset"]}, _PRICE_RESULT, ("price",)),
    SLACK_SPEC,
    *GMAIL_SPECS,
    *POLYMARKET_SPECS,
    *WEBHOOK_SPECS,
)  # fmt: skip


def check_trigger(kind: str, payload: dict[str, Any], chains: Collection[int] | None = None) -> None:
    """Raise BadInput for a payload that no source could listen to; `chains` are the configured ones, if known."""
    if kind == "cronjob":
        parse_schedule(payload)
        parse_missed(payload)
    elif kind in EVM_TYPES | STATE_TYPES:
        parse = parse_watch if kind in EVM_TYPES else parse_state_watch
        chain_id = parse(kind, payload).chain_id
        if chains is not None and chain_id not in chains:
            raise BadInput(f"chain {chain_id} is not configured: add it to B3OS_CHAINS", code=400337)
    elif kind == PRICE_TYPE:
        parse_price_watch(payload)
    elif kind == SLACK_TYPE:
        parse_slack_watch(payload)
    elif kind in GMAIL_TYPES:
        parse_gmail_watch(kind, payload)
    elif kind in POLYMARKET_TYPES:
        parse_polymarket_watch(kind, payload)
    elif kind in WEBHOOK_TYPES:
        parse_webhook(kind, payload)


def run_limit(kind: str, payload: dict[str, Any]) -> int | None:
    """Return after how many runs the workflow pauses, where its trigger says so itself; raises BadInput."""
    return parse_price_watch(payload).max_triggers if kind == PRICE_TYPE else None


TRIGGER_TYPES: dict[str, TriggerSpec] = {spec.type: spec for spec in _SPECS}
