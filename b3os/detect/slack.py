"""Slack mentions as watches: a trigger's payload, which messages mention the bot, and a mention's result. Pure.

The `ts` of a message is its identity in its channel: text, kept and shown as it came. To compare, it is read as whole
microseconds, never as a float. A message that cannot be read is passed over; it spoils no other of its page.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from b3os.detect.keys import exact_key
from b3os.errors import BadInput

SLACK_TYPE = "slack-mentions"
BAD_CHANNEL, NO_CREDENTIAL = 400390, 400391
#: Messages that people and bots write; the others (joins, topics, edits) only tell of something.
SPOKEN = frozenset({"", "thread_broadcast", "file_share", "me_message"})

_CHANNEL = re.compile(r"[CDG][A-Z0-9]{1,40}")
_TS = re.compile(r"([0-9]{1,12})\.([0-9]{1,6})")


class SlackWatch(msgspec.Struct, frozen=True):
    """What one trigger listens to. `token` is set only where the payload brings one of its own."""

    channel: str
    connector_id: str = ""
    token: str = ""

    @property
    def access(self) -> str:
        """What the channel is read with: the connector, or a name of the token that does not tell it."""
        return self.connector_id or f"token-{hashlib.sha256(self.token.encode()).hexdigest()[:24]}"


class Bot(msgspec.Struct, frozen=True):
    """Whose mentions count, and whose own messages do not."""

    user_id: str
    bot_id: str = ""


class Message(msgspec.Struct, frozen=True):
    """What matters of a message."""

    ts: str
    text: str | None = None
    user: str | None = None
    bot_id: str | None = None
    subtype: str | None = None
    thread_ts: str | None = None
    latest_reply: str | None = None
    reply_count: int | None = None


class Metadata(msgspec.Struct):
    """Where an answer goes on."""

    next_cursor: str | None = None


class Page(msgspec.Struct):
    """An answer of the Web API; its messages are not looked at yet."""

    ok: bool
    error: str = ""
    messages: list[msgspec.Raw] = []
    has_more: bool = False
    response_metadata: Metadata | None = None

    @property
    def next_cursor(self) -> str:
        """Where the next page begins; empty at the last one."""
        return (self.response_metadata.next_cursor or "") if self.response_metadata else ""


class Mention(msgspec.Struct, frozen=True):
    """A message that mentions the bot, and its place in time."""

    at: int
    message: Message
    raw: dict[str, Any]


def parse_slack_watch(payload: Mapping[str, Any]) -> SlackWatch:
    """Read a trigger's payload; raises BadInput that names the field."""
    channel = payload.get("channelId")
    if not isinstance(channel, str) or not _CHANNEL.fullmatch(channel := channel.strip()):
        raise BadInput("`channelId` is the id of a conversation, such as C0123ABCD, not its name", code=BAD_CHANNEL)
    connector, token = payload.get("connector"), payload.get("botToken") or ""
    named = connector if isinstance(connector, dict) else {}
    connector_id = named.get("id") or ""
    if named.get("type", "slack") != "slack" or not isinstance(token, str) or not (connector_id or token):
        raise BadInput(f"{SLACK_TYPE} needs a bot's token: choose a connector of type slack", code=NO_CREDENTIAL)
    return SlackWatch(channel, connector_id, "" if connector_id else token.strip())


def channel_key(org_id: str, watch: SlackWatch) -> bytes:
    """Return the key by which the index finds the triggers of a channel."""
    return exact_key(org_id, watch.access, watch.channel)


def micros(ts: str | None) -> int:
    """Return a `ts` as microseconds since 1970; -1 for what is none."""
    found = _TS.fullmatch(ts or "")
    return int(found[1]) * 10**6 + int(found[2].ljust(6, "0")) if found else -1


def ts_text(at: int) -> str:
    """Return microseconds as Slack writes them."""
    return f"{at // 10**6}.{at % 10**6:06d}"


def messages_of(page: Page) -> list[tuple[int, Message, msgspec.Raw]]:
    """Return the messages of a page that can be read, oldest first, each with its time."""
    found = []
    for raw in page.messages:
        try:
            message = msgspec.json.decode(raw, type=Message)
        except (msgspec.DecodeError, RecursionError):
            continue
        if (at := micros(message.ts)) >= 0:
            found.append((at, message, raw))
    return sorted(found, key=lambda one: one[0])


def mentions_in(page: Page, bot: Bot, after: int) -> list[Mention]:
    """Return the messages that mention the bot and are later than `after`, oldest first."""
    wanted = [(at, message, raw) for at, message, raw in messages_of(page) if at > after and is_mention(message, bot)]
    return [Mention(at, message, msgspec.json.decode(raw)) for at, message, raw in wanted]


def is_mention(message: Message, bot: Bot) -> bool:
    """Whether a message is somebody else's and names the bot."""
    if (message.subtype or "") not in SPOKEN or message.user == bot.user_id:
        return False
    if bot.bot_id and message.bot_id == bot.bot_id:
        return False
    text = message.text or ""
    return f"<@{bot.user_id}>" in text or f"<@{bot.user_id}|" in text


def mention_result(channel: str, mention: Mention, triggered_at: str) -> dict[str, Any]:
    """Make what a run sees of a mention; `threadTs` is null outside threads."""
    message = mention.message
    return {
        "channelId": channel,
        "userId": message.user or message.bot_id or "",
        "text": message.text or "",
        "timestamp": message.ts,
        "threadTs": message.thread_ts,
        "event": mention.raw,
        "triggeredAt": triggered_at,
    }
