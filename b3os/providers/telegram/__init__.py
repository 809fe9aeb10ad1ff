"""Provider telegram: messages by a bot. Source: the Telegram Bot API reference."""

from typing import Annotated

import msgspec
from msgspec import Meta

from b3os.actions.spec import ActionSpec, ConnectorSpec, HealthProbe, HttpCall, Operation, Provider


class BotSecret(msgspec.Struct, frozen=True, rename="camel"):
    """Credential of a telegram-bot connector."""

    bot_token: Annotated[str, Meta(description="Token from BotFather", pattern=r"^[0-9]+:[A-Za-z0-9_-]{20,}$")]


class MessagePayload(msgspec.Struct, frozen=True, rename="camel"):
    """Settings of the telegram messages."""

    chat_id: Annotated[str, Meta(description="Id of a chat, or @name of a public one", min_length=1)]
    text: Annotated[str, Meta(description="Message", min_length=1, max_length=4096)]
    parse_mode: Annotated[
        str, Meta(description="Empty, HTML or MarkdownV2", pattern="^(HTML|MarkdownV2|Markdown)?$")
    ] = ""


class MessageSent(msgspec.Struct, frozen=True, rename="camel"):
    """Result of the telegram messages."""

    message_id: Annotated[int, Meta(description="Id of the message in its chat")]


def send(action_type: str) -> ActionSpec:
    """Declare the message action under one of its two names."""
    return ActionSpec(
        type=action_type,
        title="Send Telegram message",
        description="Send a message to a Telegram chat.",
        payload=MessagePayload,
        result=MessageSent,
        operation=Operation.WRITE,
        category="messaging",
        call=HttpCall(
            method="POST",
            path="/bot{secret:botToken}/sendMessage",
            body={"chat_id": "chat_id", "text": "text", "parse_mode": "parse_mode"},
            fields={"messageId": "result.message_id"},
            ok="ok",
            error_at="description",
        ),
        connector="telegram-bot",
        health=HealthProbe(waived="sends a message"),
        tags=("telegram", "message"),
    )


TELEGRAM = Provider(
    name="telegram",
    title="Telegram",
    base_url="https://api.telegram.org",
    connectors=(
        ConnectorSpec(
            type="telegram-bot",
            title="Telegram bot",
            description="A bot of your own.",
            secret=BotSecret,
        ),
    ),
    actions=(send("telegram-send-message"), send("send-telegram-message")),
)
