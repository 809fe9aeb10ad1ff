"""Provider coingecko: prices, candles and token data. Source: the CoinGecko API v3 reference."""

from typing import Annotated

import msgspec
from msgspec import Meta

from b3os.actions.spec import ConnectorSpec, Provider
from b3os.providers.coingecko.coins import GET_MARKET_CHART, GET_OHLC_RANGE, GET_TOKEN_PRICE
from b3os.providers.coingecko.onchain import GET_POOL_OHLCV, GET_TOKEN_DATA


class CoingeckoSecret(msgspec.Struct, frozen=True, rename="camel"):
    """Credential of a coingecko connector."""

    api_key: Annotated[str, Meta(description="Demo API key", min_length=8)]


COINGECKO = Provider(
    name="coingecko",
    title="CoinGecko",
    base_url="https://api.coingecko.com/api/v3",
    connectors=(
        ConnectorSpec(
            type="coingecko",
            title="CoinGecko",
            description="An API key raises the rate limit; without one the public limit holds.",
            secret=CoingeckoSecret,
            headers={"x-cg-demo-api-key": "{secret:apiKey}"},
            optional=True,
        ),
    ),
    actions=(GET_TOKEN_PRICE, GET_MARKET_CHART, GET_OHLC_RANGE, GET_POOL_OHLCV, GET_TOKEN_DATA),
)
