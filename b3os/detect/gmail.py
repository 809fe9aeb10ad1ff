"""Mail triggers as watches: payloads, which mail a trigger listens to by its labels, and what a run sees of it. Pure.

A message's identity is its id in the mailbox. A search cannot be answered here: only Gmail knows what its words find,
so such a trigger says what to ask (`query`), and the labels that the mail must have too.
"""

import base64
import binascii
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from b3os.detect.keys import exact_key
from b3os.errors import BadInput

RECEIVED, SEARCHED = "gmail-new-email-received", "gmail-new-email-matching-search"
GMAIL_TYPES = frozenset({RECEIVED, SEARCHED})
BAD_LABELS, BAD_QUERY, NO_ACCOUNT = 400392, 400393, 400394
LABEL_LIMIT, QUERY_LIMIT = 100, 1000
#: Not received: unless a trigger names the label, such mail fires nothing.
HIDDEN = frozenset({"DRAFT", "SPAM", "TRASH", "CHAT"})
#: Characters of a mail's text that a run sees.
TEXT_LIMIT = 200_000
#: Characters of all parts together, in base64, that `event` holds; a body that does not fit is left out.
DATA_LIMIT = 400_000
#: Parts inside parts; deeper mail is hostile.
DEPTH = 20


class GmailWatch(msgspec.Struct, frozen=True):
    """What one trigger listens to; `query` is empty where labels are all."""

    connector_id: str
    labels: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    query: str = ""
    has_text_only: bool = False

    def takes(self, labels: Collection[str]) -> bool:
        """Whether mail with these labels is the trigger's: one of its labels, or all of them beside a search."""
        has = set(labels)
        if has & self.excluded or not is_received(has, self.labels):
            return False
        return self.labels <= has if self.query else not self.labels or bool(self.labels & has)


class Mail(msgspec.Struct, frozen=True):
    """What matters of a message as Gmail gives it."""

    id: str
    internalDate: str  # noqa: N815 - the wire's word
    labelIds: list[str] = []  # noqa: N815 - the wire's word

    @property
    def at_ms(self) -> int:
        """When Google accepted it."""
        return int(self.internalDate) if self.internalDate.isdecimal() else 0


def parse_gmail_watch(kind: str, payload: Mapping[str, Any]) -> GmailWatch:
    """Read a trigger's payload; raises BadInput that names the field."""
    connector = payload.get("connector")
    named = connector if isinstance(connector, dict) else {}
    if named.get("type") != "gmail" or not named.get("id"):
        raise BadInput(f"{kind} needs a mailbox: choose a connector of type gmail", code=NO_ACCOUNT)
    query = payload.get("q")
    searched = query.strip() if isinstance(query, str) and kind == SEARCHED else ""
    if kind == SEARCHED and not 0 < len(searched) <= QUERY_LIMIT:
        raise BadInput(f"`q` is a search of at most {QUERY_LIMIT} characters, as in Gmail's search box", code=BAD_QUERY)
    return GmailWatch(
        connector_id=str(named["id"]),
        labels=_labels("labels", payload.get("labels"), ("INBOX",) if kind == RECEIVED else ()),
        excluded=_labels("excludeLabels", payload.get("excludeLabels"), ()),
        query=searched,
        has_text_only=payload.get("withTextPayload") is True,
    )


def _labels(name: str, value: Any, default: Iterable[str]) -> frozenset[str]:
    if value is None:
        return frozenset(default)
    found = value if isinstance(value, list) else [value]
    if len(found) > LABEL_LIMIT or not all(isinstance(one, str) and 0 < len(one) <= 200 for one in found):
        raise BadInput(f"`{name}` is a list of at most {LABEL_LIMIT} label ids, such as INBOX", code=BAD_LABELS)
    return frozenset(found)


def mailbox_key(org_id: str, connector_id: str) -> bytes:
    """Return the key by which the index finds the triggers of a mailbox."""
    return exact_key(org_id, connector_id)


def is_received(labels: Collection[str], wanted: Collection[str] = ()) -> bool:
    """Whether mail with these labels came in: no draft, spam, trash or own mail, unless its label is wanted by name."""
    has = set(labels)
    if (has & HIDDEN) - set(wanted):
        return False
    return "SENT" not in has or "INBOX" in has or "SENT" in wanted


def mail_result(watch: GmailWatch, raw: dict[str, Any], triggered_at: str) -> dict[str, Any]:
    """Make what a run sees of a message; with `withTextPayload` its text stands for its parts."""
    payload = raw.get("payload")
    parts = payload if isinstance(payload, dict) else {}
    headers = _headers(parts)
    text = text_of(parts)
    event = {**raw, "payload": text if watch.has_text_only else _bounded(parts, [DATA_LIMIT])}
    return {
        "id": raw.get("id"),
        "threadId": raw.get("threadId"),
        "labelIds": raw.get("labelIds") or [],
        "snippet": raw.get("snippet") or "",
        "from": headers.get("from", ""),
        "to": headers.get("to", ""),
        "subject": headers.get("subject", ""),
        "date": headers.get("date", ""),
        "messageId": headers.get("message-id", ""),
        "text": text,
        "event": event,
        "triggeredAt": triggered_at,
    }


def _bounded(part: Mapping[str, Any], left: list[int], depth: int = 0) -> dict[str, Any]:
    """Copy a part without the bodies that are too large for a run; `left` is what still fits."""
    found = dict(part)
    body = found.get("body")
    if isinstance(body, dict) and isinstance(data := body.get("data"), str):
        if len(data) > left[0]:
            found["body"] = {**body, "data": None, "isLeftOut": True}
        else:
            left[0] -= len(data)
    parts = found.get("parts")
    if isinstance(parts, list):
        inner = [one for one in parts if isinstance(one, dict)] if depth < DEPTH else []
        found["parts"] = [_bounded(one, left, depth + 1) for one in inner]
    return found


def _headers(payload: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers by name in lower case; of a name that comes twice, the first."""
    found: dict[str, str] = {}
    listed = payload.get("headers")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and isinstance(one.get("name"), str):
            found.setdefault(one["name"].lower(), str(one.get("value", "")))
    return found


def text_of(payload: Mapping[str, Any], depth: int = 0) -> str:
    """Return the first plain text of a message and its parts."""
    if depth > DEPTH:
        return ""
    if payload.get("mimeType") == "text/plain" and (text := _body(payload)):
        return text
    parts = payload.get("parts")
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict) and not part.get("filename") and (text := text_of(part, depth + 1)):
            return text
    return ""


def _body(part: Mapping[str, Any]) -> str:
    body = part.get("body")
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, str):
        return ""
    try:
        return base64.urlsafe_b64decode(data + "=" * (-len(data) % 4)).decode("utf-8", "replace")[:TEXT_LIMIT]
    except (binascii.Error, ValueError):
        return ""
