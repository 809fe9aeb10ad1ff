"""The trigger types of Gmail, as the API lists them. Pure."""

from typing import Any

from b3os.detect.gmail import RECEIVED, SEARCHED
from b3os.detect.trigger_spec import TriggerSpec, object_of

_TEXT = {"type": "string"}
_LABELS: dict[str, Any] = {"type": ["array", "string"], "items": _TEXT}
_EXCLUDED = {**_LABELS, "description": "Mail with one of these labels does not fire"}
_ONLY_TEXT = {"type": "boolean", "description": "Give the text of the mail in place of its parts in `event`"}
_RESULT = object_of(
    id={"type": "string", "description": "Id of the message in its mailbox"},
    threadId=_TEXT,
    labelIds={"type": "array", "items": _TEXT},
    snippet=_TEXT,
    **{"from": _TEXT},
    to=_TEXT,
    subject=_TEXT,
    date={"type": "string", "description": "As the sender wrote it"},
    messageId={"type": "string", "description": "Message-ID of the mail, the same in every mailbox"},
    text={"type": "string", "description": "Plain text, cut at 200,000 characters; empty where the mail has none"},
    event={"type": "object", "description": "The message as Gmail gave it, attachments by id"},
    triggeredAt=_TEXT,
)

GMAIL_SPECS = (
    TriggerSpec(
        RECEIVED,
        "Gmail: new mail",
        "Runs when mail comes into a Gmail mailbox.",
        object_of(
            labels={**_LABELS, "description": "Label ids, one of which the mail must have; absent: INBOX, empty: any"},
            excludeLabels=_EXCLUDED,
            withTextPayload=_ONLY_TEXT,
        ),
        _RESULT,
        ("communication",),
    ),
    TriggerSpec(
        SEARCHED,
        "Gmail: new mail that a search finds",
        "Runs when mail comes into a Gmail mailbox that a search finds.",
        object_of(
            "q",
            q={"type": "string", "description": "As in Gmail's search box, such as from:bank subject:invoice"},
            labels={**_LABELS, "description": "Label ids, all of which the mail must have"},
            excludeLabels=_EXCLUDED,
            withTextPayload=_ONLY_TEXT,
        ),
        _RESULT,
        ("communication",),
    ),
)
