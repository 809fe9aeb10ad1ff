"""What a page of Slack's history yields, given how far the channel has been read."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3os.detect.catalog import TRIGGER_TYPES, check_trigger
from b3os.detect.slack import Bot, Page, channel_key, mention_result, micros, parse_slack_watch, ts_text
from b3os.detect.slack_history import (
    OVERLAP,
    THREADS,
    US,
    Place,
    Walk,
    begin,
    from_plain,
    history_step,
    read_all,
    replies_step,
    threads_read,
    to_plain,
)
from b3os.errors import BadInput

BOT = Bot("UBOT", "BBOT")
NOW = 1_780_000_000 * US
PLACE = Place(NOW, NOW)


def said(at: int, text: str = "hi <@UBOT>", **more: Any) -> dict[str, Any]:
    return {"type": "message", "ts": ts_text(at), "user": "U1", "text": text, **more}


def page(*messages: Any, cursor: str = "", has_more: bool | None = None) -> Page:
    more = bool(cursor) if has_more is None else has_more
    answer = {"ok": True, "messages": messages, "has_more": more, "response_metadata": {"next_cursor": cursor}}
    return msgspec.json.decode(msgspec.json.encode(answer), type=Page)


def texts(found: Page, place: Place = PLACE, walk: Walk | None = None) -> list[str]:
    step = history_step(place, walk or begin(place, is_sweep=False), found, BOT)
    return [one.message.text or "" for one in step.mentions]


@pytest.mark.parametrize("text", ["<@UBOT>", "hey <@UBOT|bot>!", "<@U1> and <@UBOT>"])
def test_a_mention_names_the_bot(text: str) -> None:
    assert texts(page(said(NOW + 1, text))) == [text]


@pytest.mark.parametrize(
    "message",
    [said(NOW + 1, "<@UBOTTOM>"), said(NOW + 1, "UBOT"), said(NOW + 1, ""), said(NOW + 1, user="UBOT"),
     said(NOW + 1, bot_id="BBOT"), said(NOW + 1, subtype="channel_join"), said(NOW + 1, subtype="bot_message"),
     said(NOW + 1, subtype="message_changed"), said(NOW + 1, text=None)],
)  # fmt: skip
def test_other_messages_and_its_own_are_no_mentions(message: dict[str, Any]) -> None:
    assert texts(page(message)) == []


@pytest.mark.parametrize(
    "odd", [7, None, "x", {}, {"ts": 1780000000.0001}, {"ts": "soon", "text": "<@UBOT>"}, {"ts": "1.2", "text": 5}]
)
def test_a_message_that_cannot_be_read_spoils_no_other(odd: Any) -> None:
    assert texts(page(odd, said(NOW + 1, "<@UBOT> a"), odd)) == ["<@UBOT> a"]


def test_mentions_come_oldest_first_and_the_newest_moves_only_at_the_end() -> None:
    walk = begin(PLACE, is_sweep=False)
    first = history_step(PLACE, walk, page(said(NOW + 3, "<@UBOT> 3"), said(NOW + 2, "<@UBOT> 2"), cursor="a"), BOT)
    assert [one.message.text for one in first.mentions] == ["<@UBOT> 2", "<@UBOT> 3"]
    assert (first.is_last, first.walk.cursor) == (False, "a")
    last = history_step(PLACE, first.walk, page(said(NOW + 1, "<@UBOT> 1")), BOT)
    assert last.is_last
    assert read_all(PLACE, last.walk) == Place(NOW + 3, NOW)


def test_what_is_a_little_older_than_the_newest_is_looked_at_again() -> None:
    place = Place(NOW, NOW)
    assert texts(page(said(NOW - OVERLAP + 1), said(NOW - OVERLAP))) == ["hi <@UBOT>"]
    assert begin(place, is_sweep=False).oldest == NOW - OVERLAP
    assert begin(place, is_sweep=True).oldest == NOW - THREADS


def test_a_place_never_goes_back() -> None:
    assert read_all(PLACE, Walk(0, top=NOW - 5)) == PLACE
    assert threads_read(PLACE, Walk(0, first=-1)) == PLACE


def test_a_parent_tells_of_replies_that_were_not_read() -> None:
    old = said(NOW - 9, "x", reply_count=2, latest_reply=ts_text(NOW - 1))
    new = said(NOW - 8, "y", reply_count=3, latest_reply=ts_text(NOW + 7))
    step = history_step(PLACE, begin(PLACE, is_sweep=True), page(new, old), BOT)
    assert step.threads == {new["ts"]: (NOW + 7, 3)}
    # What the first page told of was there when the sweep began; a minute is left for what shows up late.
    assert threads_read(PLACE, msgspec.structs.replace(step.walk, first=NOW + 2 * OVERLAP)).replies == NOW + OVERLAP
    assert step.walk.first == NOW + 7


def test_only_the_first_page_says_how_far_the_threads_are_read() -> None:
    first = history_step(PLACE, begin(PLACE, is_sweep=True), page(said(NOW + 1), cursor="a"), BOT)
    late = said(NOW - 5, latest_reply=ts_text(NOW + 50 * OVERLAP), reply_count=1)
    assert history_step(PLACE, first.walk, page(late), BOT).walk.first == NOW + 1


def test_a_thread_yields_its_replies_and_not_its_parent() -> None:
    parent = said(NOW + 1, "<@UBOT> parent")
    found = page(parent, said(NOW + 2, "<@UBOT> reply", thread_ts=parent["ts"]), said(NOW, "<@UBOT> old"))
    step = replies_step(PLACE, Walk(NOW), found, BOT, parent["ts"])
    assert [one.message.text for one in step.mentions] == ["<@UBOT> reply"]


@pytest.mark.parametrize(("cursor", "before"), [("", ""), ("a", "a")])
def test_a_page_that_does_not_say_how_it_goes_on_is_refused(cursor: str, before: str) -> None:
    walk = msgspec.structs.replace(begin(PLACE, is_sweep=False), cursor=before)
    with pytest.raises(BadInput, match="nothing is skipped"):
        history_step(PLACE, walk, page(said(NOW + 1), cursor=cursor, has_more=True), BOT)


@given(st.integers(0, 10**12 * US - 1))
def test_a_ts_is_exact(at: int) -> None:
    assert micros(ts_text(at)) == at


@pytest.mark.parametrize("text", ["", "x", "1", "1.", ".1", "-1.0", "1e3.0", "1.0000001", " 1.0", "1.0\n"])
def test_what_is_no_ts_is_none(text: str) -> None:
    assert micros(text) == -1


def test_a_place_survives_the_cursor() -> None:
    assert to_plain(Place(NOW + 1, NOW)) == {"newest": "1780000000.000001", "replies": "1780000000.000000"}
    assert from_plain(to_plain(Place(NOW + 1, NOW))) == Place(NOW + 1, NOW)
    assert from_plain(None) is from_plain({"newest": "x"}) is None


def test_the_result_keeps_ts_as_text() -> None:
    reply = said(NOW + 10, "<@UBOT> why", thread_ts=ts_text(NOW))
    (mention,) = history_step(PLACE, begin(PLACE, is_sweep=False), page(reply), BOT).mentions
    result = mention_result("C1", mention, "now")
    assert result == {
        "channelId": "C1", "userId": "U1", "text": "<@UBOT> why", "timestamp": "1780000000.000010",
        "threadTs": "1780000000.000000", "event": reply, "triggeredAt": "now",
    }  # fmt: skip
    assert set(result) == set(TRIGGER_TYPES["slack-mentions"].result_schema["properties"])


@pytest.mark.parametrize(
    ("payload", "code"),
    [({}, 400390), ({"channelId": "#general"}, 400390), ({"channelId": 5}, 400390), ({"channelId": "c1"}, 400390),
     ({"channelId": "C1"}, 400391), ({"channelId": "C1", "botToken": 5}, 400391),
     ({"channelId": "C1", "connector": {"type": "slack", "id": ""}}, 400391),
     ({"channelId": "C1", "connector": {"type": "discord", "id": "conn_1"}}, 400391)],
)  # fmt: skip
def test_a_trigger_that_cannot_listen_is_refused(payload: dict[str, Any], code: int) -> None:
    with pytest.raises(BadInput) as refused:
        check_trigger("slack-mentions", payload)
    assert refused.value.code == code


def test_what_is_read_with_another_credential_has_another_key() -> None:
    def key(org: str, **more: Any) -> bytes:
        return channel_key(org, parse_slack_watch({"channelId": "C1", **more}))

    connector = {"type": "slack", "id": "conn_1"}
    keys = {key("a", connector=connector), key("b", connector=connector), key("a", botToken="xoxb-1")}
    assert len(keys | {key("a", botToken="xoxb-2")}) == 4
    assert key("a", connector=connector, botToken="xoxb-1") == key("a", connector=connector)
    assert b"xoxb" not in key("a", botToken="xoxb-1")
