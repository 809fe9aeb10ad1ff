"""Reads of coins by their CoinGecko id."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from b3os.actions.spec import ActionSpec, HealthProbe, HttpCall, Operation

CoinId = Annotated[str, Meta(description="CoinGecko id, such as bitcoin", min_length=1, max_length=100)]
Currency = Annotated[str, Meta(description="Quote currency, such as usd", min_length=1, max_length=20)]
Points = list[tuple[float, float | None]]


class PricePayload(msgspec.Struct, frozen=True, rename="camel"):
    """Settings of coingecko-get-token-price."""

    coin_ids: Annotated[list[str], Meta(description="CoinGecko ids", min_length=1, max_length=250)]
    vs_currencies: Annotated[list[str], Meta(description="Quote currencies", min_length=1, max_length=50)]


class Prices(msgspec.Struct, frozen=True):
    """Result of coingecko-get-token-price."""

    prices: Annotated[dict[str, dict[str, float | None]], Meta(description="Price by coin and currency")]


class ChartPayload(msgspec.Struct, frozen=True, rename="camel"):
    """Settings of coingecko-get-market-chart."""

    coin_id: CoinId
    vs_currency: Currency
    days: Annotated[int | str, Meta(description="Days back, or max")]
    interval: Annotated[str, Meta(description="5m, hourly or daily; empty: chosen by the range")] = ""
    precision: Annotated[Annotated[int, Meta(ge=0, le=18)] | None, Meta(description="Decimals of prices")] = None


class Chart(msgspec.Struct, frozen=True, rename="camel"):
    """Result of coingecko-get-market-chart."""

    coin_id: Annotated[str, Meta(description="CoinGecko id")]
    vs_currency: Annotated[str, Meta(description="Quote currency")]
    prices: Annotated[Points, Meta(description="Pairs of milliseconds since 1970 and price")]
    market_caps: Annotated[Points, Meta(description="Pairs of milliseconds and market capitalisation")]
    total_volumes: Annotated[Points, Meta(description="Pairs of milliseconds and traded volume")]


class OhlcPayload(
    msgspec.Struct, frozen=True, rename={"coin_id": "coinId", "vs_currency": "vsCurrency", "start": "from"}
):
    """Settings of coingecko-get-ohlc-range."""

    coin_id: CoinId
    vs_currency: Currency
    start: Annotated[int | str, Meta(description="First day, as a date or seconds since 1970")]
    to: Annotated[int | str, Meta(description="Last day, as a date or seconds since 1970")]
    interval: Annotated[Literal["daily", "hourly"], Meta(description="Length of a candle")]


class Candles(msgspec.Struct, frozen=True, rename="camel"):
    """Result of coingecko-get-ohlc-range."""

    coin_id: Annotated[str, Meta(description="CoinGecko id")]
    vs_currency: Annotated[str, Meta(description="Quote currency")]
    candles: Annotated[
        list[tuple[float, float, float, float, float]], Meta(description="Milliseconds, open, high, low, close")
    ]


GET_TOKEN_PRICE = ActionSpec(
    type="coingecko-get-token-price",
    title="Get token prices",
    description="Read the current prices of several coins in several currencies.",
    payload=PricePayload,
    result=Prices,
    operation=Operation.READ,
    category="blockchain-data",
    call=HttpCall(
        method="GET",
        path="/simple/price",
        query={"ids": "coin_ids", "vs_currencies": "vs_currencies"},
        fields={"prices": ""},
    ),
    health=HealthProbe(sample={"coinIds": ["bitcoin"], "vsCurrencies": ["usd"]}),
    tags=("price",),
)

GET_MARKET_CHART = ActionSpec(
    type="coingecko-get-market-chart",
    title="Get market chart",
    description="Read price, market capitalisation and volume of a coin over a range of days.",
    payload=ChartPayload,
    result=Chart,
    operation=Operation.READ,
    category="blockchain-data",
    call=HttpCall(
        method="GET",
        path="/coins/{coin_id}/market_chart",
        query={"vs_currency": "vs_currency", "days": "days", "interval": "interval", "precision": "precision"},
        fields={"prices": "prices", "marketCaps": "market_caps", "totalVolumes": "total_volumes"},
        echo={"coinId": "coin_id", "vsCurrency": "vs_currency"},
    ),
    health=HealthProbe(sample={"coinId": "bitcoin", "vsCurrency": "usd", "days": 1}),
    tags=("price", "chart"),
)

GET_OHLC_RANGE = ActionSpec(
    type="coingecko-get-ohlc-range",
    title="Get candles of a coin",
    description="Read candles of a coin between two dates; CoinGecko asks for a paid plan.",
    payload=OhlcPayload,
    result=Candles,
    operation=Operation.READ,
    category="blockchain-data",
    call=HttpCall(
        method="GET",
        path="/coins/{coin_id}/ohlc/range",
        query={"vs_currency": "vs_currency", "from": "start", "to": "to", "interval": "interval"},
        fields={"candles": ""},
        echo={"coinId": "coin_id", "vsCurrency": "vs_currency"},
    ),
    health=HealthProbe(waived="needs a paid plan"),
    tags=("price", "chart"),
)
