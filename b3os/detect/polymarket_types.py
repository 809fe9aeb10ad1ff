"""The trigger types of Polymarket, as the API lists them. Pure."""

from b3os.detect.polymarket import MARKET_CLOSE, MARKET_TRADE, NEW_MARKET, USER_BET
from b3os.detect.trigger_spec import TriggerSpec, object_of

_TEXT = {"type": "string"}
_NUMBER = {"type": ["number", "string"]}
_MARKET_ID = {"type": "string", "description": "Condition id or slug of a market"}
_SIDE = {"type": "string", "enum": ["BUY", "SELL"], "description": "Absent: both"}
_LIST = {"type": ["array", "string"], "items": _TEXT}
_KEYWORDS = {**_LIST, "description": "Any of these, in question, slug or description, whatever the case"}
_TRADE = object_of(
    proxyWallet={"type": "string", "description": "The user's wallet"},
    side=_TEXT,
    size={"type": "number", "description": "Shares"},
    price={"type": "number", "description": "US dollars a share, 0 to 1"},
    usdcSize={"type": "number", "description": "US dollars in all"},
    outcome=_TEXT,
    outcomeIndex={"type": "integer"},
    title={"type": "string", "description": "The market's question"},
    slug=_TEXT,
    eventSlug=_TEXT,
    conditionId=_TEXT,
    asset={"type": "string", "description": "Token id of the outcome"},
    timestamp={"type": "integer", "description": "Seconds since 1970"},
    transactionHash=_TEXT,
    name=_TEXT,
    pseudonym=_TEXT,
)
_ABOUT = {
    "conditionId": _TEXT,
    "id": _TEXT,
    "question": _TEXT,
    "slug": _TEXT,
    "description": _TEXT,
    "outcomes": {"type": "array", "items": _TEXT},
    "tokenIds": {"type": "array", "items": _TEXT},
    "endDate": _TEXT,
    "createdAt": _TEXT,
}
_ROW = {"type": "object", "description": "The market as Polymarket gave it"}

POLYMARKET_SPECS = (
    TriggerSpec(
        MARKET_TRADE,
        "Polymarket trade",
        "Runs when somebody trades in a market of Polymarket.",
        object_of(
            "marketId",
            marketId=_MARKET_ID,
            outcome={"type": "string", "description": "Such as Yes; absent: any"},
            minSize={**_NUMBER, "description": "Smallest number of shares"},
            side=_SIDE,
        ),
        object_of(
            market=object_of(conditionId=_TEXT, slug=_TEXT, title=_TEXT, eventSlug=_TEXT, icon=_TEXT),
            trade=_TRADE,
            triggeredAt=_TEXT,
        ),
        ("markets",),
    ),
    TriggerSpec(
        USER_BET,
        "Polymarket bet",
        "Runs when a user of Polymarket buys or sells, as taker or as maker.",
        object_of(
            "user",
            user={"type": "string", "description": "Wallet address, or name on Polymarket"},
            minSize={**_NUMBER, "description": "Smallest amount in US dollars"},
            side=_SIDE,
            marketIds={**_LIST, "description": "Condition ids or slugs of markets; absent: any"},
            keywords={**_LIST, "description": "Any of these, in title, slug or outcome, whatever the case"},
            minPrice={**_NUMBER, "description": "From 0 to 1"},
            maxPrice={**_NUMBER, "description": "From 0 to 1"},
        ),
        object_of(trade=_TRADE, triggeredAt=_TEXT),
        ("markets",),
    ),
    TriggerSpec(
        NEW_MARKET,
        "Polymarket market opened",
        "Runs when a market is made on Polymarket.",
        object_of(keywords=_KEYWORDS),
        object_of(market=object_of(**_ABOUT), event=_ROW, triggeredAt=_TEXT),
        ("markets",),
    ),
    TriggerSpec(
        MARKET_CLOSE,
        "Polymarket market closed",
        "Runs when a market of Polymarket is closed.",
        object_of(marketId={**_MARKET_ID, "description": "Absent: any market"}, keywords=_KEYWORDS),
        object_of(
            market=object_of(
                **_ABOUT,
                closedTime=_TEXT,
                winner={"type": ["string", "null"], "description": "The outcome that pays, where one does"},
            ),
            event=_ROW,
            triggeredAt=_TEXT,
        ),
        ("markets",),
    ),
)
