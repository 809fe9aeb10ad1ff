"""The trigger type of Slack mentions, as the API lists it. Pure."""

from b3os.detect.slack import SLACK_TYPE
from b3os.detect.trigger_spec import TriggerSpec, object_of

_TEXT = {"type": "string"}

SLACK_SPEC = TriggerSpec(
    SLACK_TYPE,
    "Slack mention",
    "Runs when somebody mentions the bot in a Slack channel, or in a thread of it.",
    object_of(
        "channelId",
        channelId={"type": "string", "description": "Id of a conversation that the bot is in, such as C0123ABCD"},
        botToken={
            "type": "string",
            "description": "The bot's token, readable by who reads the workflow: prefer a connector of type slack",
        },
    ),
    object_of(
        channelId=_TEXT,
        userId={"type": "string", "description": "Who wrote it; the bot's id where a bot without a user did"},
        text={"type": "string", "description": "In Slack's markup"},
        timestamp={"type": "string", "description": "`ts` of the message: its id in the channel, not a number"},
        threadTs={"type": ["string", "null"], "description": "`ts` of the parent, where the message is in a thread"},
        event={"type": "object", "description": "The message as Slack gave it"},
        triggeredAt=_TEXT,
    ),
    ("communication",),
)
