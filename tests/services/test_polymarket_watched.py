"""Whose turn it is, with whom, and from where: the state of a source of trades between two calls."""

from b3os.detect.polymarket import MARKET_TRADE, TradeWatch
from services.master.sources.polymarket_watched import (
    AWAIT_S,
    LATE_S,
    POLL_S,
    RECENT_S,
    RECHECK_S,
    Batch,
    Track,
    Watched,
)

NOW_S = 1_790_000_000


def watched(*names: str, size: int = 20) -> Watched:
    found = Watched(size)
    for slot, name in enumerate(names):
        found.add(slot, TradeWatch(MARKET_TRADE, name))
        found.resolve(name, f"key of {name}", ())
    return found


def read(found: Watched, now: float, top: int = NOW_S) -> Batch | None:
    """Read what is due, in one page."""
    batch = found.next(now, 0, lambda track: track.newest or NOW_S - 60)
    if batch is not None:
        found.ended(batch, {track.key: track.place_after(top, (), now) for track in batch.tracks}, now)
    return batch


def names_in(batch: Batch | None) -> list[str]:
    return [] if batch is None else [track.key.removeprefix("key of ") for track in batch.tracks]


def test_a_place_waits_for_what_was_told_and_is_not_listed() -> None:
    track = Track("m")
    track.newest = 100
    track.hint("0xa", 150, 0.0)
    assert track.place_after(200, (), 1.0) == 150
    assert track.place_after(200, {"0xa"}, 1.0) == 200
    assert track.place_after(200, (), AWAIT_S + 1) == 200
    track.newest = 180
    assert track.place_after(200, (), 1.0) == 180


def test_what_was_told_is_looked_for_every_moment_until_it_is_listed() -> None:
    found = watched("a")
    assert names_in(read(found, 0.0)) == ["a"]
    assert read(found, POLL_S - 0.1) is None
    found.tracks["key of a"].hint("0xa", NOW_S, 5.0)
    for now in (5.0, 5.0 + RECHECK_S):
        assert names_in(read(found, now)) == ["a"]
    batch = found.next(5.0 + 2 * RECHECK_S, 0, lambda track: track.newest or 0)
    assert batch is not None
    batch.seen = {"0xa"}
    found.ended(batch, {"key of a": NOW_S}, 7.0)
    assert read(found, 7.0 + RECHECK_S) is None
    assert names_in(read(found, 7.0 + POLL_S)) == ["a"]


def test_a_feed_that_tells_of_what_was_read_long_ago_is_no_reason_to_read() -> None:
    found = watched("a")
    read(found, 0.0)
    found.tracks["key of a"].hint("0xa", NOW_S - RECENT_S - 1, 5.0)
    assert read(found, 6.0) is None
    assert found.tracks["key of a"].awaited == {}


def test_whoever_has_waited_longest_is_read_first() -> None:
    found = watched("a", "b", "c", size=1)
    order = [names_in(read(found, now))[0] for now in (0.0, 1.0, 2.0)]
    found.tracks[f"key of {order[2]}"].hint("0xa", NOW_S, 14.0)
    assert [names_in(read(found, now)) for now in (15.0, 15.1, 16.0)] == [[order[2]], [order[0]], [order[1]]]


def test_one_that_was_read_long_ago_is_not_read_with_others() -> None:
    found = watched("a", "b", "c")
    found.tracks["key of b"].newest = NOW_S - 86_400
    batches = [sorted(names_in(read(found, 0.0))) for _ in range(2)]
    assert sorted(batches) == [["a", "c"], ["b"]]


def test_a_sweep_goes_further_back() -> None:
    found = watched("a")
    sweep, short = read(found, 0.0), read(found, POLL_S)
    assert sweep is not None
    assert short is not None
    assert (sweep.is_sweep, sweep.walk.floor) == (True, NOW_S - 60 - LATE_S)
    assert (short.is_sweep, short.walk.floor) == (False, NOW_S - RECENT_S)


def test_a_batch_that_went_too_deep_is_read_one_by_one_from_where_it_was() -> None:
    found = watched("a", "b")
    batch = found.next(0.0, 0, lambda _: NOW_S - 60)
    assert batch is not None
    found.goes_on(batch, batch.walk, 0.0)
    found.parted(batch, 0.0)
    assert sorted([names_in(read(found, 0.0)), names_in(read(found, 0.0))]) == [["a"], ["b"]]
    assert names_in(read(found, POLL_S)) == ["a", "b"]


def test_a_batch_that_is_not_answered_twice_is_read_one_by_one_until_each_is() -> None:
    found = watched("a", "b", "c")
    for now in (0.0, 2.0):
        batch = found.next(now, 0, lambda _: NOW_S - 60)
        assert sorted(names_in(batch)) == ["a", "b", "c"]
        assert batch is not None
        found.goes_on(batch, batch.walk, now)
        found.put_back(batch, now + 2)
    failing = found.next(4.0, 0, lambda _: NOW_S - 60)
    assert names_in(failing) == ["a"]
    assert failing is not None
    found.put_back(failing, 6.0)
    assert [names_in(read(found, 4.0)) for _ in range(2)] == [["b"], ["c"]]
    assert sorted(names_in(read(found, 4.0 + POLL_S))) == ["a"], "it has waited longest"
    assert sorted(names_in(read(found, 4.0 + POLL_S))) == ["b", "c"]


def test_one_that_is_read_again_from_earlier_is_not_ended_by_a_way_that_began_later() -> None:
    found = watched("a", "b")
    batch = found.next(0.0, 0, lambda _: NOW_S - 60)
    assert batch is not None
    found.goes_on(batch, batch.walk, 0.0)
    found.reach_back("key of a", NOW_S - 86_400)
    again = read(found, 1.0)
    assert again is not None
    assert (names_in(again), again.walk.floor) == (["a"], NOW_S - 86_400 - LATE_S)
    assert names_in(read(found, 1.0)) == ["b"]
    assert read(found, 1.0) is None


def test_what_nobody_watches_any_more_is_gone() -> None:
    found = watched("a", "b")
    found.remove(0)
    found.remove(0)
    assert names_in(read(found, 0.0)) == ["b"]
    assert set(found.names) == {"b"}
    found.remove(1)
    assert read(found, 100.0) is None
    assert not found.watches
