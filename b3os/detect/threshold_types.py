"""The trigger types on a chain's state, as the API lists them. Pure."""

from typing import Any

from b3os.detect.thresholds import BALANCE_TYPE, VIEW_TYPE
from b3os.detect.trigger_spec import TriggerSpec, object_of

_TEXT = {"type": "string"}
_ADDRESS = {"type": "string", "description": "0x and 40 hexadecimal digits"}
_SETTINGS: dict[str, Any] = {
    "chainId": {"type": ["integer", "string"], "description": "EVM chain id, such as 8453 for Base"},
    "confirmations": {
        "type": ["integer", "string"],
        "description": "The block that is read: latest, so many below the newest, safe or finalized; empty: as many "
        "as the chain's settings say",
    },
    "operator": {"type": "string", "description": "One of `if` that fits the type, such as $gte or $ne"},
    "value": {"description": "What it is compared with; large integers as strings"},
    "hysteresis": {
        "type": ["integer", "string"],
        "description": "How far a number goes back before the trigger can fire again; 0 if absent",
    },
}
_PLACE = {
    "chainId": {"type": "integer"},
    "blockNumber": {"type": "integer"},
    "blockHash": _TEXT,
    "blockTimestamp": {"type": "integer", "description": "Seconds since 1970"},
    "triggeredAt": _TEXT,
}

STATE_SPECS = (
    TriggerSpec(
        VIEW_TYPE,
        "Contract state",
        "Runs when what a view function returns begins to meet a condition, or does so when the workflow is published.",
        object_of(
            "chainId", "operator", "value",
            **_SETTINGS,
            address={**_ADDRESS, "description": "Contract; also accepted as `contractAddress`"},
            functionSignature={
                "type": "string",
                "description": "Such as latestAnswer() view returns (int256 answer)",
            },
            functionName={"type": "string", "description": "Name of a function of `abi`"},
            abi={"description": "JSON ABI that has the function"},
            args={"type": "array", "description": "Arguments in order; large integers as strings"},
            output={
                "type": ["string", "integer"],
                "description": "Name or place of the output that is compared, such as answer, 1 or order.amount; "
                "of one output it is not needed",
            },
        ),
        object_of(
            **_PLACE,
            address=_ADDRESS,
            contractAddress=_ADDRESS,
            functionName=_TEXT,
            args={"type": "array"},
            value={"description": "The output that was compared; integers as strings"},
            outputs={"type": "object", "description": "All outputs by name, out0 and so on where they have none"},
        ),
        ("evm",),
    ),
    TriggerSpec(
        BALANCE_TYPE,
        "Balance",
        "Runs when what an account holds begins to meet a condition, or does so when the workflow is published.",
        object_of(
            "chainId", "operator", "value",
            **{**_SETTINGS, "value": {"type": ["integer", "string"], "description": "Base units (wei)"}},
            walletAddress={**_ADDRESS, "description": "Account; also accepted as `address`"},
            tokenAddress={**_ADDRESS, "description": "ERC-20 token; empty: the native coin"},
        ),
        object_of(
            **_PLACE,
            walletAddress=_ADDRESS,
            tokenAddress={"type": ["string", "null"]},
            amount={"type": "string", "description": "Base units"},
            amountFormatted={"type": ["string", "null"], "description": "Coins or tokens"},
            symbol={"type": ["string", "null"]},
            decimals={"type": ["integer", "null"]},
        ),
        ("evm",),
    ),
)  # fmt: skip
