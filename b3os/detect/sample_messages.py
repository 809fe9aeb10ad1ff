"""Samples of messages: a Slack mention and a mail, as their services give them, made into results. Pure."""

from typing import Any

from b3os.detect.gmail import GmailWatch, mail_result
from b3os.detect.slack import Bot, Mention, Message, SlackWatch, mention_result, ts_text

BOT = Bot("U0SAMPLEBOT")


def sample_mention(watch: SlackWatch, now_s: int, triggered_at: str) -> dict[str, Any]:
    """Return what a workflow gets of a mention in the watched channel."""
    at = now_s * 10**6
    raw = {"type": "message", "user": "U0SAMPLE", "text": f"<@{BOT.user_id}> hello", "ts": ts_text(at)}
    message = Message(ts=raw["ts"], text=raw["text"], user=raw["user"])
    return mention_result(watch.channel, Mention(at, message, dict(raw)), triggered_at)


def sample_mail(watch: GmailWatch, now_s: int, triggered_at: str) -> dict[str, Any]:
    """Return what a workflow gets of a mail with the labels that the trigger wants."""
    headers = {
        "From": "Ada <ada@example.com>",
        "To": "you@example.com",
        "Subject": "A sample",
        "Date": "Thu, 1 Jan 2026 00:00:00 +0000",
        "Message-ID": "<sample@example.com>",
    }
    raw = {
        "id": "0" * 16,
        "threadId": "0" * 16,
        "labelIds": sorted(watch.labels),
        "snippet": "hello",
        "internalDate": str(now_s * 1000),
        "payload": {
            "mimeType": "text/plain",
            "headers": [{"name": name, "value": value} for name, value in headers.items()],
            "body": {"size": 5, "data": "aGVsbG8="},
        },
    }
    return mail_result(watch, raw, triggered_at)
