"""Random histories of Polymarket: what ran is what was traded, none twice, through faults and changing masters."""

import random
import time
from collections import Counter
from collections.abc import Awaitable
from typing import Any

import pytest

from tests.emulators.polymarket import FAULTS, wallet_of
from tests.services.polymarket_case import Place, emulated

STEPS = 100
USERS = ("ada", "bob", "eve")
TRADED, BET = "polymarket-market-trade", "polymarket-user-bet"
NEW, CLOSED = "polymarket-new-market", "polymarket-market-close"


class History:
    """One random history of a market that is watched, one that is not, and markets that come and go."""

    def __init__(self, place: Place, seed: int) -> None:
        self.place, self.service, self.random = place, place.service, random.Random(seed)
        self.slugs: list[str] = []
        self.settled: list[str] = []
        self.sometimes = {
            "drop": self.service.drop, "list": self.service.list_all, "quiet": self.quiet, "fail": self.fail,
            "change": self.change, "garbage": self.garbage, "close": self.close, "hand over": self.pause,
        }  # fmt: skip

    async def play(self) -> None:
        often = [self.trade, self.trade, self.trade, self.market, self.settle, self.poll, self.poll, self.poll]
        for _ in range(STEPS):
            act: Any = self.random.choice([*often, *self.sometimes.values()])
            done: Awaitable[None] | None = act()
            if done is not None:
                await done

    async def trade(self) -> None:
        """A fill that may be told or not, listed at once or later, minutes old, and alike with others."""
        chance, made = self.random, []
        for _ in range(chance.choice([1, 1, 1, 12])):
            user = chance.choice(USERS)
            others = [other for other in USERS if other != user]
            makers = tuple(chance.choice(others) for _ in range(chance.choice([0, 1, 3])))
            late_s = chance.randint(0, 200) if chance.random() < 0.2 else 0
            made.append(await self.service.trade(
                chance.choice(["rain", "rain", "snow"]), user, size=chance.choice([3, 6, 9.5]), price=0.5,
                side=chance.choice(["BUY", "SELL"]), makers=makers, at_s=int(time.time()) - late_s,
                is_told=chance.random() < 0.7, is_listed=chance.random() < 0.7,
            ))  # fmt: skip
        if chance.random() < 0.3:
            await self.service.repeat()

    async def market(self) -> None:
        slug = f"m{len(self.slugs)}"
        told = self.random.random() < 0.5
        await self.service.market(slug, is_told=told, is_listed=self.random.random() < 0.7)
        self.slugs.append(slug)

    async def settle(self) -> None:
        left = [slug for slug in self.slugs if slug not in self.settled]
        if left:
            slug = self.random.choice(left)
            await self.service.settle(slug, is_told=self.random.random() < 0.5)
            self.settled.append(slug)

    async def poll(self) -> None:
        for _ in range(self.random.randint(1, 30)):
            await self.place.master.step()

    async def change(self) -> None:
        await self.place.change_master()

    async def pause(self) -> None:
        """Let a master stop in the middle; nobody reads for a while."""
        await self.place.change_master()
        for _ in range(self.random.randint(1, 3)):
            await self.trade()

    async def close(self) -> None:
        await self.service.close(1011)

    async def garbage(self) -> None:
        await self.service.send(self.random.choice(["{", '[{"event_type":"last_trade_price","market":7}]', "null"]))

    def quiet(self) -> None:
        self.service.silence(self.random.random() < 0.3)
        self.service.deafen(self.random.random() < 0.3)

    def fail(self) -> None:
        kind, path = self.random.choice(FAULTS), self.random.choice(["", "/trades", "/markets"])
        self.service.fault(kind, path=path, times=self.random.randint(1, 3))

    def settle_down(self) -> None:
        self.service.silence(False)
        self.service.deafen(False)
        self.service.list_all()


async def ran(place: Place, workflow: str) -> Counter[Any]:
    """What ran: fills by all that makes them one, markets by name."""
    results = await place.results(workflow)
    fills = [result["trade"] for result in results if "trade" in result]
    found = Counter(_fill(one) for one in fills)
    return found + Counter(one["market"]["slug"] for one in results if "trade" not in one)


def _fill(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row["transactionHash"], row["proxyWallet"], row["conditionId"], row["side"], float(row["size"]))


@pytest.mark.parametrize("seed", range(5))
async def test_what_ran_is_what_was_traded(seed: int, pg_url: str, redis_url: str) -> None:
    async with emulated(pg_url, redis_url) as place:
        service, now = place.service, time.time()
        condition = await service.market("rain", at_s=now - 10_000)
        await service.market("snow", at_s=now - 10_000)
        service.user("ada")
        since = int(now - 600) * 1000
        await place.publish("market", TRADED, {"marketId": "rain"}, since_ms=since)
        await place.publish("user", BET, {"user": "ada"}, since_ms=since)
        await place.publish("new", NEW, {}, since_ms=since)
        await place.publish("closed", CLOSED, {}, since_ms=since)
        history = History(place, seed)
        await history.play()
        history.settle_down()
        fills = service.fills
        wanted = {
            "market": Counter(_fill(one) for one in fills if one["_taker"] and one["conditionId"] == condition),
            "user": Counter(_fill(one) for one in fills if one["proxyWallet"] == wallet_of("ada")),
            "new": Counter(history.slugs),
            "closed": Counter(history.settled),
        }

        await place.master.for_s(250)
        for name, found in wanted.items():
            have = await ran(place, name)
            assert (name, have - found, found - have) == (name, Counter(), Counter())
