"""Provider discord: messages by a bot. Source: the Discord API v10 reference."""

from typing import Annotated

import msgspec
from msgspec import Meta

from b3os.actions.spec import ActionSpec, ConnectorSpec, HealthProbe, HttpCall, Operation, Provider


class BotSecret(msgspec.Struct, frozen=True, rename="camel"):
    """Credential of a discord connector."""

    bot_token: Annotated[str, Meta(description="Token of the bot", min_length=20)]


class MessagePayload(msgspec.Struct, frozen=True, rename="camel"):
    """Settings of discord-send-message."""

    channel_id: Annotated[str, Meta(description="Id of the channel", pattern="^[0-9]{1,20}$")]
    content: Annotated[str, Meta(description="Message", min_length=1, max_length=2000)]


class MessageSent(msgspec.Struct, frozen=True):
    """Result of discord-send-message."""

    id: Annotated[str, Meta(description="Id of the message")]


SEND_MESSAGE = ActionSpec(
    type="discord-send-message",
    title="Send Discord message",
    description="Post a message to a Discord channel.",
    payload=MessagePayload,
    result=MessageSent,
    operation=Operation.WRITE,
    category="integration",
    call=HttpCall(
        method="POST",
        path="/channels/{channel_id}/messages",
        body={"content": "content"},
        fields={"id": "id"},
    ),
    connector="discord",
    health=HealthProbe(waived="sends a message"),
    tags=("discord", "message"),
)

DISCORD = Provider(
    name="discord",
    title="Discord",
    base_url="https://discord.com/api/v10",
    connectors=(
        ConnectorSpec(
            type="discord",
            title="Discord bot",
            description="A bot that may send messages in your server.",
            secret=BotSecret,
            headers={"authorization": "Bot {secret:botToken}"},
        ),
    ),
    actions=(SEND_MESSAGE,),
)
