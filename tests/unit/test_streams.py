"""What a reader of a run's stream is sent: each event once, in order, up to the end."""

from b3os.stream.events import RunEvent
from services.api.streams import fresh_of, in_order, is_torn


def event(seq: int, sub: int = 0, type_: str = "node_completed", org: str = "org_a") -> RunEvent:
    return RunEvent(type=type_, run_id="run_1", org_id=org, workflow_id="wf_1", seq=seq, sub=sub, timestamp=0)


def places(events: list[RunEvent]) -> list[tuple[int, int]]:
    return [(one.seq, one.sub) for one in events]


def test_each_event_once_and_none_after_the_end() -> None:
    events = [event(1), event(2), event(2), event(2, 1), event(3, type_="run_completed"), event(4)]
    assert places(fresh_of(events, (1, 0), "org_a")) == [(2, 0), (2, 1), (3, 0)]
    assert fresh_of(events, (0, 0), "org_b") == []


def test_missing_numbers_are_noticed_wherever_they_are() -> None:
    assert not is_torn(1, [event(2), event(2, 1), event(3)])
    assert is_torn(1, [event(3)])
    assert is_torn(1, [event(2), event(4)])


def test_stored_events_come_between_live_ones() -> None:
    assert places(in_order([event(1), event(2), event(3), event(1, 1), event(3, 1)])) == [
        (1, 0), (1, 1), (2, 0), (3, 0), (3, 1),
    ]  # fmt: skip
