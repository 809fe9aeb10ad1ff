"""Provider webhook: the secrets that inbound calls are signed with. It has no actions of its own."""

from typing import Annotated

import msgspec
from msgspec import Meta

from b3os.actions.spec import ConnectorSpec, Provider


class SigningSecret(msgspec.Struct, frozen=True, rename="camel"):
    """Credential of a webhook-secret connector."""

    signing_secret: Annotated[
        str,
        Meta(description="As the service shows it: Stripe and Standard Webhooks with their whsec_", min_length=8),
    ]


WEBHOOK = Provider(
    name="webhook",
    title="Inbound webhooks",
    connectors=(
        ConnectorSpec(
            type="webhook-secret",
            title="Webhook signing secret",
            description="The secret that a service signs its webhooks with.",
            secret=SigningSecret,
        ),
    ),
    actions=(),
)
