"""Provider slack: messages and channels of a workspace. Source: Slack's Web API reference."""

from typing import Annotated

import msgspec
from msgspec import Meta

from b3os.actions.spec import ConnectorSpec, Provider
from b3os.providers.slack.messages import LIST_CHANNELS, SEND_MESSAGE


class SlackSecret(msgspec.Struct, frozen=True, rename="camel"):
    """Credential of a slack connector."""

    bot_token: Annotated[str, Meta(description="Bot token, begins with xoxb-", min_length=10)]


SLACK = Provider(
    name="slack",
    title="Slack",
    base_url="https://slack.com/api",
    connectors=(
        ConnectorSpec(
            type="slack",
            title="Slack",
            description="A bot of your workspace with chat:write, channels:read and groups:read; to fire triggers, "
            "channels:history and groups:history too.",
            secret=SlackSecret,
            headers={"authorization": "Bearer {secret:botToken}"},
        ),
    ),
    actions=(SEND_MESSAGE, LIST_CHANNELS),
)
