"""Reads of pools and tokens on a network."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from b3os.actions.spec import ActionSpec, HealthProbe, HttpCall, Operation

Network = Annotated[str, Meta(description="Network id, such as eth or base", min_length=1, max_length=60)]


class PoolPayload(msgspec.Struct, frozen=True, rename="camel"):
    """Settings of coingecko-get-pool-ohlcv."""

    network: Network
    pool_address: Annotated[str, Meta(description="Address of the pool", min_length=1, max_length=120)]
    timeframe: Annotated[Literal["day", "hour", "minute", "second"], Meta(description="Length of a candle")]
    aggregate: Annotated[str, Meta(description="How many timeframes make a candle")] = ""
    before_timestamp: Annotated[int | None, Meta(description="Only candles before this, seconds since 1970")] = None
    limit: Annotated[int, Meta(description="Candles at most", ge=1, le=1000)] = 100
    currency: Annotated[Literal["usd", "token"], Meta(description="Quote of the prices")] = "usd"
    token: Annotated[str, Meta(description="base, quote, or the address of a token of the pool")] = ""
    include_empty_intervals: Annotated[bool | None, Meta(description="Whether candles without trades are there")] = None


class PoolCandles(msgspec.Struct, frozen=True, rename="camel"):
    """Result of coingecko-get-pool-ohlcv."""

    candles: Annotated[list[list[float]], Meta(description="Seconds, open, high, low, close, volume")]
    base_token: Annotated[dict[str, Any], Meta(description="Base token: address, name, symbol")]
    quote_token: Annotated[dict[str, Any], Meta(description="Quote token: address, name, symbol")]


class TokenPayload(msgspec.Struct, frozen=True):
    """Settings of coingecko-get-token-data."""

    network: Network
    address: Annotated[str, Meta(description="Contract of the token", min_length=1, max_length=120)]


class TokenData(msgspec.Struct, frozen=True, rename="camel"):
    """Result of coingecko-get-token-data."""

    name: Annotated[str, Meta(description="Name")]
    symbol: Annotated[str, Meta(description="Symbol")]
    price_usd: Annotated[str | None, Meta(description="Price in USD")] = None
    market_cap_usd: Annotated[str | None, Meta(description="Market capitalisation in USD")] = None
    volume_usd: Annotated[dict[str, str | None] | None, Meta(description="Volume in USD by period")] = None


GET_POOL_OHLCV = ActionSpec(
    type="coingecko-get-pool-ohlcv",
    title="Get candles of a pool",
    description="Read candles of one pool of a decentralised exchange.",
    payload=PoolPayload,
    result=PoolCandles,
    operation=Operation.READ,
    category="blockchain-data",
    call=HttpCall(
        method="GET",
        path="/onchain/networks/{network}/pools/{pool_address}/ohlcv/{timeframe}",
        query={
            "aggregate": "aggregate",
            "before_timestamp": "before_timestamp",
            "limit": "limit",
            "currency": "currency",
            "token": "token",
            "include_empty_intervals": "include_empty_intervals",
        },
        fields={"candles": "data.attributes.ohlcv_list", "baseToken": "meta.base", "quoteToken": "meta.quote"},
    ),
    health=HealthProbe(
        sample={
            "network": "eth",
            "poolAddress": "0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640",
            "timeframe": "day",
            "limit": 1,
        }
    ),
    tags=("price", "dex"),
)

GET_TOKEN_DATA = ActionSpec(
    type="coingecko-get-token-data",
    title="Get token data",
    description="Read market data of a token on a network.",
    payload=TokenPayload,
    result=TokenData,
    operation=Operation.READ,
    category="blockchain-data",
    call=HttpCall(
        method="GET",
        path="/onchain/networks/{network}/tokens/{address}",
        fields={
            "name": "data.attributes.name",
            "symbol": "data.attributes.symbol",
            "priceUsd": "data.attributes.price_usd",
            "marketCapUsd": "data.attributes.market_cap_usd",
            "volumeUsd": "data.attributes.volume_usd",
        },
    ),
    health=HealthProbe(sample={"network": "eth", "address": "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"}),
    tags=("price", "token"),
)
