"""The forms of an inbound address, and what each answers; whoever listens answers through these.

POST /v1/webhooks/{secret}
POST /v1/orgs/{org}/integrations/webhook?secret=
POST /v1/orgs/{org}/integrations/{provider}
"""

from typing import Any

from b3os.errors import BadInput
from b3os.ids import new_id
from b3os.inbound.receive import Call, Fired, Inbox
from b3os.inbound.resume import check_workflow, resume_node
from b3os.queue.broker import Broker
from b3os.store.pool import Pool
from b3os.wire import Bare, Incoming

#: The forms, each for POST; the second takes its secret as `?secret=`, the third may.
ADDRESS = "/v1/webhooks/{secret}"
ORG_ADDRESS = "/v1/orgs/{org}/integrations/webhook"
PROVIDER_ADDRESS = "/v1/orgs/{org}/integrations/{provider}"
BAD_FIELD = 400410


class Desk:
    """What answers calls: the inbox, and what resumes nodes that wait."""

    def __init__(self, pool: Pool, broker: Broker, master_key: str) -> None:
        self.inbox = Inbox(pool, broker, master_key)
        self._pool = pool
        self._broker = broker

    async def by_secret(self, request: Incoming, secret: str) -> Any:
        """Answer ADDRESS."""
        fired = await self.inbox.receive(secret, _call(request))
        if fired.challenge:
            return Bare({"challenge": fired.challenge})
        return {"runId": fired.run_id, "status": fired.status}

    async def by_organization(self, request: Incoming, org_id: str) -> Any:
        """Answer ORG_ADDRESS."""
        secret = request.first("secret")
        (target, *_) = await self.inbox.targets(secret, org_id)
        fields = _fields(request)
        run_id, node = _id(fields, "runId"), _id(fields, "nodeId")
        if run_id and node:
            await check_workflow(self._pool, org_id, target.workflow_id, run_id)
            answer = await resume_node(self._pool, self._broker, org_id, run_id, node, fields)
            return {**answer, "eventId": new_id("evt"), "runIds": [run_id]}
        fired = await self.inbox.receive(secret, _call(request), org_id=org_id, has_data=True)
        return Bare({"challenge": fired.challenge}) if fired.challenge else received([fired])

    async def by_provider(self, request: Incoming, org_id: str, provider: str) -> Any:
        """Answer PROVIDER_ADDRESS."""
        fired = await self.inbox.receive_for(org_id, provider, _call(request), secret=request.first("secret"))
        return received(fired)


def received(fired: list[Fired]) -> dict[str, Any]:
    """Write what calls did."""
    runs = [one.run_id for one in fired if one.run_id is not None]
    reason = next((one.reason or one.status for one in fired if one.run_id is None), "")
    action = "triggered" if runs else "skipped"
    return {"action": action, "eventId": new_id("evt"), "reason": "" if runs else reason, "runIds": runs}


def _call(request: Incoming) -> Call:
    return Call(request.headers, request.body)


def _fields(request: Incoming) -> dict[str, Any]:
    """Return the members of a body; a form has none here, and what cannot be read is refused by the inbox."""
    try:
        return request.fields()
    except BadInput:
        return {}


def _id(fields: dict[str, Any], name: str) -> str:
    found = fields.get(name)
    if found is None:
        return ""
    if not isinstance(found, str) or len(found) > 1000 or "\x00" in found:
        raise BadInput(f"`{name}` is a string of at most 1000 characters, none of them U+0000", code=BAD_FIELD)
    return found
