"""Which mail a trigger listens to, what a run sees of it, and how far a mailbox has been read."""

import base64
from typing import Any

import msgspec
import pytest

from b3os.detect.catalog import TRIGGER_TYPES, check_trigger
from b3os.detect.gmail import DATA_LIMIT, DEPTH, RECEIVED, SEARCHED, Mail, mail_result, parse_gmail_watch, text_of
from b3os.detect.gmail_place import (
    MARGIN_MS,
    OLDER_MS,
    REMEMBER_MS,
    SETTLE_MS,
    Place,
    Recent,
    from_plain,
    is_news,
    moved,
    noted,
    of_account,
    resync_since_ms,
    search_text,
    settled,
)
from b3os.errors import BadInput

BOX = {"connector": {"type": "gmail", "id": "conn_1"}}
NOW = 1_780_000_000_000


def takes(has: list[str], kind: str = RECEIVED, **payload: Any) -> bool:
    return parse_gmail_watch(kind, {**BOX, **payload}).takes(has)


@pytest.mark.parametrize(
    ("labels", "payload", "expected"),
    [
        (["INBOX", "UNREAD"], {}, True),
        (["UNREAD"], {}, False),
        (["UNREAD"], {"labels": []}, True),
        (["Label_7"], {"labels": ["INBOX", "Label_7"]}, True),
        (["INBOX"], {"labels": "Label_7"}, False),
        (["INBOX", "CATEGORY_PROMOTIONS"], {"excludeLabels": ["CATEGORY_PROMOTIONS"]}, False),
        (["DRAFT"], {"labels": []}, False),
        (["DRAFT"], {"labels": ["DRAFT"]}, True),
        (["SPAM"], {"labels": []}, False),
        (["TRASH", "INBOX"], {}, False),
        (["SENT"], {"labels": []}, False),
        (["SENT", "INBOX"], {}, True),
        (["SENT"], {"labels": ["SENT"]}, True),
    ],
)
def test_labels_say_which_mail_fires(labels: list[str], payload: dict[str, Any], expected: bool) -> None:
    assert takes(labels, **payload) is expected


def test_a_search_wants_all_its_labels() -> None:
    assert takes(["INBOX", "Label_7"], SEARCHED, q="x", labels=["INBOX", "Label_7"])
    assert not takes(["INBOX"], SEARCHED, q="x", labels=["INBOX", "Label_7"])
    assert takes(["Label_7"], SEARCHED, q="x")
    assert not takes(["SPAM"], SEARCHED, q="x")


@pytest.mark.parametrize(
    ("kind", "payload", "code"),
    [
        (RECEIVED, {}, 400394),
        (RECEIVED, {"connector": {"type": "gmail", "id": ""}}, 400394),
        (RECEIVED, {"connector": {"type": "slack", "id": "conn_1"}}, 400394),
        (RECEIVED, {**BOX, "labels": 7}, 400392),
        (RECEIVED, {**BOX, "excludeLabels": [""]}, 400392),
        (RECEIVED, {**BOX, "labels": ["x"] * 101}, 400392),
        (SEARCHED, BOX, 400393),
        (SEARCHED, {**BOX, "q": "  "}, 400393),
        (SEARCHED, {**BOX, "q": ["x"]}, 400393),
        (SEARCHED, {**BOX, "q": "x" * 1001}, 400393),
    ],
)
def test_a_trigger_that_cannot_listen_is_refused(kind: str, payload: dict[str, Any], code: int) -> None:
    with pytest.raises(BadInput) as refused:
        check_trigger(kind, payload)
    assert refused.value.code == code


def coded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def test_the_text_is_the_first_plain_part_that_is_no_attachment() -> None:
    attached = {"mimeType": "text/plain", "filename": "a.txt", "body": {"data": coded("attached")}}
    plain = {"mimeType": "text/plain", "filename": "", "body": {"data": coded("héllo")}}
    html = {"mimeType": "text/html", "body": {"data": coded("<b>")}}
    nested = {"mimeType": "multipart/alternative", "parts": [html, plain]}
    assert text_of({"mimeType": "multipart/mixed", "parts": [attached, nested]}) == "héllo"
    assert text_of({"mimeType": "text/plain", "body": {"data": "!"}}) == ""
    assert text_of({"mimeType": "text/plain", "body": None, "parts": {}}) == ""


def test_parts_inside_parts_end_somewhere() -> None:
    part: dict[str, Any] = {"mimeType": "text/plain", "body": {"data": coded("deep")}}
    for _ in range(DEPTH + 1):
        part = {"mimeType": "multipart/mixed", "parts": [part]}
    assert text_of(part) == ""


def test_the_result_has_what_one_reads_first() -> None:
    payload = {
        "mimeType": "text/plain",
        "headers": [
            {"name": "SUBJECT", "value": "hi"},
            {"name": "From", "value": "a"},
            {"name": "From", "value": "b"},
            7,
        ],
        "body": {"data": coded("text")},
    }
    raw = {"id": "m1", "threadId": "t1", "labelIds": ["INBOX"], "snippet": "te", "payload": payload}
    watch = parse_gmail_watch(RECEIVED, BOX)
    result = mail_result(watch, raw, "now")
    assert (result["subject"], result["from"], result["text"], result["to"]) == ("hi", "a", "text", "")
    assert result["event"] == raw
    assert set(result) == set(TRIGGER_TYPES[RECEIVED].result_schema["properties"])
    plain = mail_result(msgspec.structs.replace(watch, has_text_only=True), raw, "now")
    assert plain["event"]["payload"] == "text"


def test_a_body_that_is_too_large_for_a_run_is_left_out_of_the_event() -> None:
    small = {"mimeType": "text/plain", "body": {"size": 5, "data": coded("small")}}
    large = {"mimeType": "text/html", "body": {"size": DATA_LIMIT, "data": "A" * DATA_LIMIT}}
    raw = {"id": "m1", "payload": {"mimeType": "multipart/mixed", "parts": [small, large, small]}}
    event = mail_result(parse_gmail_watch(RECEIVED, BOX), raw, "now")["event"]
    assert event["payload"]["parts"] == [
        small, {"mimeType": "text/html", "body": {"size": DATA_LIMIT, "data": None, "isLeftOut": True}}, small,
    ]  # fmt: skip
    assert raw["payload"]["parts"][1] is large


@pytest.mark.parametrize("raw", [{}, {"payload": 7}, {"payload": {"headers": {}, "parts": 7}}, {"labelIds": None}])
def test_an_odd_message_still_makes_a_result(raw: dict[str, Any]) -> None:
    assert mail_result(parse_gmail_watch(RECEIVED, BOX), raw, "now")["text"] == ""
    assert Mail("m", "soon").at_ms == 0


def test_a_list_begins_before_the_mailbox_was_last_read() -> None:
    assert resync_since_ms(Place(), NOW) == NOW - MARGIN_MS
    assert resync_since_ms(Place(read_ms=NOW + 7), NOW) == NOW + 7 - MARGIN_MS
    assert resync_since_ms(Place(), 0) == 0


def test_another_account_is_read_from_when_the_one_before_was_left() -> None:
    place = Place("apn_1", "77", NOW, {"m": Recent(NOW, NOW, [])})
    assert of_account(place, "apn_1") is place
    turned = of_account(place, "apn_2")
    assert (turned.account, turned.history, turned.recent) == ("apn_2", "", {})
    assert resync_since_ms(turned, 0) == NOW
    assert resync_since_ms(of_account(Place(), "apn_1"), NOW) == NOW - MARGIN_MS


def test_new_messages_are_looked_at_again_for_a_while() -> None:
    first = noted(Place(), {"a": Recent(NOW, NOW - OLDER_MS, ["INBOX"])})
    both = noted(first, {"a": Recent(NOW + 5, NOW, []), "b": Recent(NOW + 5, NOW, [])})
    assert both.recent["a"].labels == ["INBOX"]
    assert settled(both, NOW + SETTLE_MS).recent.keys() == {"b"}
    assert search_text("from:x OR y", both.recent.values()) == f"(from:x OR y) after:{(NOW - OLDER_MS) // 1000}"


def test_a_later_time_alone_is_stored_now_and_then() -> None:
    place = Place("a", "7", NOW)
    assert not is_news(place, moved(place, "7", NOW + REMEMBER_MS - 1))
    assert is_news(place, moved(place, "7", NOW + REMEMBER_MS))
    assert is_news(place, moved(place, "8", NOW))
    assert moved(place, "8", NOW - 5).read_ms == NOW


def test_a_place_survives_the_cursor() -> None:
    place = Place("apn_1", "77", NOW, {"m": Recent(NOW, NOW - 1, ["INBOX"])})
    assert from_plain(msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(place)))) == place
    assert from_plain(None) == from_plain({"history": 7}) == Place()
