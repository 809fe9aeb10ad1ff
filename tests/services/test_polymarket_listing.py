"""Which markets a list looks for, and until when: its state between two calls."""

from b3os.detect.polymarket import NEW_MARKET, MarketWatch
from services.master.sources.polymarket_listing import AWAIT_S, RECHECK_S, Listing


def looking_for(*conditions: str) -> Listing:
    listing = Listing("new", {0: MarketWatch(NEW_MARKET)})
    for condition in conditions:
        listing.hint(condition, 1000, 0.0)
    listing.asked_at = 0.0
    return listing


def test_markets_that_were_looked_for_in_vain_go_behind_the_others() -> None:
    listing = looking_for("a", "b", "c")
    listing.looked_for(["a", "b"])
    assert list(listing.awaited) == ["c", "a", "b"]
    listing.looked_for(["c", "a"], {"a"})
    assert list(listing.awaited) == ["b", "c"]
    assert listing.ask_at == RECHECK_S


def test_a_market_is_looked_for_no_longer_than_its_time_though_every_look_fails() -> None:
    listing = looking_for("a")
    listing.asked_at = AWAIT_S - 1
    listing.looked_for(["a"])
    assert list(listing.awaited) == ["a"]
    listing.asked_at = AWAIT_S
    listing.looked_for(["a"])
    assert listing.awaited == {}
    assert listing.ask_at == float("inf")
