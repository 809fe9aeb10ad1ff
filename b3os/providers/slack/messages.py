"""Sending messages and listing channels. Slack answers 200 for nearly everything; `ok` tells."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from b3os.actions.spec import ActionSpec, HealthProbe, HttpCall, Operation

WAIVED = "needs a workspace's own token"

#: What Slack's error codes mean; one that is not here is the payload's fault.
ERRORS = {
    **dict.fromkeys(
        (
            "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "missing_scope",
            "restricted_action", "not_in_channel",
        ),
        "auth",
    ),
    **dict.fromkeys(("channel_not_found", "user_not_found", "thread_not_found"), "missing"),
    **dict.fromkeys(("ratelimited", "rate_limited"), "rate"),
    **dict.fromkeys(("fatal_error", "internal_error", "service_unavailable", "request_timeout"), "service"),
}  # fmt: skip


class Returned(msgspec.Struct, frozen=True):
    """What Slack answered."""

    ret: Annotated[dict[str, Any], Meta(description="The answer as Slack sends it")]


class SlackResult(msgspec.Struct, frozen=True):
    """Result of the slack actions."""

    data: Annotated[Returned, Meta(description="Holds the answer under ret")]


class MessagePayload(msgspec.Struct, frozen=True, rename="camel"):
    """Settings of slack-send-message."""

    conversation: Annotated[str, Meta(description="Id of a channel, direct message or user", min_length=1)]
    text: Annotated[str, Meta(description="Message in Slack's markup", min_length=1, max_length=40_000)]
    thread_ts: Annotated[str, Meta(description="ts of the message whose thread is answered")] = ""


class ChannelsPayload(msgspec.Struct, frozen=True):
    """Settings of slack-list-channels."""

    limit: Annotated[int, Meta(description="Channels at most", ge=1, le=1000)] = 1000
    cursor: Annotated[str, Meta(description="next_cursor of the page before")] = ""


SEND_MESSAGE = ActionSpec(
    type="slack-send-message",
    title="Send Slack message",
    description="Post a message to a Slack conversation.",
    payload=MessagePayload,
    result=SlackResult,
    operation=Operation.WRITE,
    category="integration",
    call=HttpCall(
        method="POST",
        path="/chat.postMessage",
        body={"channel": "conversation", "text": "text", "thread_ts": "thread_ts"},
        fields={"data.ret": ""},
        ok="ok",
        error_at="error",
        reasons=ERRORS,
    ),
    connector="slack",
    health=HealthProbe(waived=WAIVED),
    tags=("slack", "message"),
)

LIST_CHANNELS = ActionSpec(
    type="slack-list-channels",
    title="List Slack channels",
    description="List the public and private channels that the bot may see.",
    payload=ChannelsPayload,
    result=SlackResult,
    operation=Operation.READ,
    category="integration",
    call=HttpCall(
        method="GET",
        path="/conversations.list",
        query={"limit": "limit", "cursor": "cursor"},
        fixed={"types": "public_channel,private_channel"},
        fields={"data.ret": ""},
        ok="ok",
        error_at="error",
        reasons=ERRORS,
    ),
    connector="slack",
    health=HealthProbe(waived=WAIVED),
    tags=("slack",),
)
