"""Provider gmail: mailboxes that somebody connected through Pipedream. Triggers read them; it has no actions."""

from typing import Annotated

import msgspec
from msgspec import Meta

from b3os.actions.spec import ConnectorSpec, Provider


class MailboxSecret(msgspec.Struct, frozen=True, rename="camel"):
    """Credential of a gmail connector: no token, but the name of an account that Pipedream keeps."""

    account_id: Annotated[
        str,
        Meta(description="Id of the account at Pipedream, begins with apn_", pattern="^apn_[A-Za-z0-9]+$"),
    ]


GMAIL = Provider(
    name="gmail",
    title="Gmail",
    connectors=(
        ConnectorSpec(
            type="gmail",
            title="Gmail mailbox",
            description="A mailbox that was connected through the operator's Pipedream project.",
            secret=MailboxSecret,
        ),
    ),
    actions=(),
)
