"""Slack, Telegram, Discord and CoinGecko actions: requests, results, and every way they say no."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from b3os.actions.catalog import Catalog
from b3os.actions.execute import execute
from b3os.actions.probe import is_probed, probe
from b3os.actions.spec import ActionContext
from b3os.actions.upstreams import Upstreams
from b3os.chain.registry import Chains
from b3os.net.http import GuardedClient
from b3os.providers import PROVIDERS
from tests.emulators.services import DISCORD_TOKEN, GECKO_KEY, SLACK_TOKEN, TELEGRAM_TOKEN, Services

CATALOG = Catalog(PROVIDERS)
SLACK, TELEGRAM, DISCORD = {"botToken": SLACK_TOKEN}, {"botToken": TELEGRAM_TOKEN}, {"botToken": DISCORD_TOKEN}


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    found = await Services().start()
    yield found
    await found.stop()


@pytest.fixture
async def context(services: Services) -> AsyncIterator[ActionContext]:
    http = GuardedClient()
    paths = {"slack": "slack", "telegram": "telegram", "discord": "discord", "coingecko": "gecko"}
    urls = msgspec.json.encode({name: f"{services.url}/{path}" for name, path in paths.items()}).decode()
    upstreams = Upstreams(http, urls)
    yield ActionContext(http=http, upstreams=upstreams, chains=Chains({}, http), org_id="org_a")
    await upstreams.close()
    await http.close()


async def act(
    context: ActionContext, kind: str, inputs: Any, credential: dict[str, Any] | None = None
) -> dict[str, Any]:
    return await execute(CATALOG, kind, inputs, msgspec.structs.replace(context, credential=credential or {}))


async def test_slack_posts_and_lists(context: ActionContext, services: Services) -> None:
    sent = await act(context, "slack-send-message", {"conversation": "C1", "text": "hi"}, SLACK)
    assert sent["data"]["data"]["ret"]["ts"] == "1780000000.000100"
    assert services.requests[-1]["body"] == {"channel": "C1", "text": "hi"}
    listed = await act(context, "slack-list-channels", {"limit": 5}, SLACK)
    assert listed["data"]["data"]["ret"]["channels"][0]["name"] == "general"
    assert services.requests[-1]["query"] == {"types": "public_channel,private_channel", "limit": "5"}


async def test_telegram_and_discord_post(context: ActionContext) -> None:
    for kind in ("telegram-send-message", "send-telegram-message"):
        assert (await act(context, kind, {"chatId": "7", "text": "hi"}, TELEGRAM))["data"] == {"messageId": 42}
    sent = await act(context, "discord-send-message", {"channelId": "1", "content": "hi"}, DISCORD)
    assert sent["data"] == {"id": "334385199974967042"}


@pytest.mark.parametrize(
    ("kind", "inputs", "expected"),
    [
        ("coingecko-get-token-price", {"coinIds": ["bitcoin"], "vsCurrencies": ["usd", "eur"]},
         {"prices": {"bitcoin": {"usd": 67187.33, "eur": None}}}),
        ("coingecko-get-market-chart", {"coinId": "bitcoin", "vsCurrency": "usd", "days": "1"},
         {"coinId": "bitcoin", "vsCurrency": "usd", "prices": [(1711843200000, 69702.3)],
          "marketCaps": [(1711843200000, 1370247487960.09)], "totalVolumes": [(1711843200000, 16408802301.83)]}),
        ("coingecko-get-ohlc-range",
         {"coinId": "bitcoin", "vsCurrency": "usd", "from": "2024-03-02", "to": "2024-03-03", "interval": "daily"},
         {"coinId": "bitcoin", "vsCurrency": "usd", "candles": [(1709395200000, 61942, 62211, 61721, 61845)]}),
        ("coingecko-get-pool-ohlcv", {"network": "eth", "poolAddress": "0x88e6", "timeframe": "day"}, None),
        ("coingecko-get-token-data", {"network": "eth", "address": "0xa0b8"},
         {"name": "USD Coin", "symbol": "USDC", "priceUsd": "0.99", "marketCapUsd": None,
          "volumeUsd": {"h24": "12.5"}}),
    ],
)  # fmt: skip
async def test_coingecko_reads(context: ActionContext, kind: str, inputs: Any, expected: Any) -> None:
    answer = await act(context, kind, inputs)
    assert answer["success"], answer
    if expected is None:
        assert answer["data"]["candles"][0][0] == 1712534400
        assert answer["data"]["quoteToken"]["symbol"] == "USDC"
    else:
        assert msgspec.json.decode(msgspec.json.encode(answer["data"])) == msgspec.json.decode(
            msgspec.json.encode(expected)
        )


async def test_coingecko_takes_a_key_and_needs_none(context: ActionContext, services: Services) -> None:
    inputs = {"coinIds": ["bitcoin", "ether"], "vsCurrencies": ["usd"]}
    assert (await act(context, "coingecko-get-token-price", inputs, {"apiKey": GECKO_KEY}))["success"]
    assert services.requests[-1]["headers"]["x-cg-demo-api-key"] == GECKO_KEY
    assert services.requests[-1]["query"]["ids"] == "bitcoin,ether"
    wrong = await act(context, "coingecko-get-token-price", inputs, {"apiKey": "CG-wrong-key"})
    assert (wrong["error"]["code"], wrong["error"]["category"]) == ("AUTH_FAILED", "auth")


@pytest.mark.parametrize(
    ("kind", "inputs", "credential", "code", "category"),
    [
        ("slack-send-message", {"conversation": "C1", "text": "x"}, {"botToken": "xoxb-wrong"}, "AUTH_FAILED", "auth"),
        ("slack-send-message", {"conversation": "C1", "text": "x"}, {}, "AUTH_FAILED", "auth"),
        ("slack-send-message", {"conversation": "C404", "text": "x"}, SLACK, "NOT_FOUND", "validation"),
        ("slack-send-message", {"conversation": "C403", "text": "x"}, SLACK, "AUTH_FAILED", "auth"),
        ("slack-send-message", {"conversation": "C1"}, SLACK, "INVALID_INPUT", "validation"),
        ("telegram-send-message", {"chatId": "0", "text": "x"}, TELEGRAM, "API_ERROR", "validation"),
        ("telegram-send-message", {"chatId": "7", "text": "x"}, {}, "NO_CREDENTIAL", "config"),
        ("telegram-send-message", {"chatId": "7", "text": "x"}, {"botToken": "1:" + "b" * 30}, "AUTH_FAILED", "auth"),
        ("discord-send-message", {"channelId": "404", "content": "x"}, DISCORD, "NOT_FOUND", "validation"),
        ("discord-send-message", {"channelId": "1/../2", "content": "x"}, DISCORD, "INVALID_INPUT", "validation"),
        (
            "coingecko-get-market-chart",
            {"coinId": "../x", "vsCurrency": "e", "days": 1},
            {},
            "NOT_FOUND",
            "validation",
        ),
    ],
)
async def test_refusals_have_category_and_remediation(
    context: ActionContext, kind: str, inputs: Any, credential: dict[str, Any], code: str, category: str
) -> None:
    error = (await act(context, kind, inputs, credential))["error"]
    assert (error["code"], error["category"], error["retryable"]) == (code, category, False)
    assert error["remediation"]


@pytest.mark.parametrize(
    ("kind", "inputs", "credential"),
    [
        ("slack-send-message", {"conversation": "C1", "text": "x"}, SLACK),
        ("telegram-send-message", {"chatId": "7", "text": "x"}, TELEGRAM),
        ("discord-send-message", {"channelId": "1", "content": "x"}, DISCORD),
        ("coingecko-get-token-price", {"coinIds": ["bitcoin"], "vsCurrencies": ["usd"]}, {}),
    ],
)
async def test_rate_limits_are_retryable(
    context: ActionContext, services: Services, kind: str, inputs: Any, credential: dict[str, Any]
) -> None:
    services.limited = True
    error = (await act(context, kind, inputs, credential))["error"]
    assert (error["code"], error["retryable"]) == ("RATE_LIMITED", True)


@pytest.mark.parametrize(("text", "code"), [("<html>", "API_ERROR"), ("not json", "BAD_RESPONSE"), ("[]", "API_ERROR")])
async def test_nonsense_is_the_services_fault(context: ActionContext, services: Services, text: str, code: str) -> None:
    services.broken = text
    error = (await act(context, "slack-send-message", {"conversation": "C1", "text": "x"}, SLACK))["error"]
    assert error["code"] == code


async def test_no_error_and_no_log_shows_a_token(
    context: ActionContext, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await services.stop()
    down = await act(context, "telegram-send-message", {"chatId": "7", "text": "x"}, TELEGRAM)
    await services.start()
    odd = await act(context, "telegram-send-message", {"chatId": "no number", "text": "x"}, TELEGRAM)
    for answer in (down, odd):
        assert not answer["success"]
        assert TELEGRAM_TOKEN not in str(answer)
    assert TELEGRAM_TOKEN not in caplog.text


async def test_a_private_base_url_opens_nothing_else(context: ActionContext, services: Services) -> None:
    answer = await act(context, "http-request", {"url": f"{services.url}/slack/x"})
    assert answer["error"]["code"] in ("400000", "NETWORK_ERROR")
    assert not services.requests


@pytest.mark.parametrize("kind", [k for k, s in CATALOG.specs.items() if is_probed(s) and k.startswith("coingecko")])
async def test_probes_tell_well_from_ill(context: ActionContext, services: Services, kind: str) -> None:
    spec = CATALOG.get(kind)
    sample = spec.health.sample
    if "poolAddress" in sample or "address" in sample:
        sample = {**sample, **{k: "0x88e6" for k in ("poolAddress",) if k in sample}}
        sample = {**sample, **{k: "0xa0b8" for k in ("address",) if k in sample}}
        spec = msgspec.structs.replace(spec, health=msgspec.structs.replace(spec.health, sample=sample))
    assert (await probe(CATALOG, spec, context)).ok
    services.limited = True
    ill = await probe(CATALOG, spec, context)
    assert not ill.ok
    assert ill.error.startswith("RATE_LIMITED")
