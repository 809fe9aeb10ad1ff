"""Deliveries of send-webhook and of execution webhooks: claimed when due, each tells how it went. At least once."""

from collections.abc import Callable
from datetime import date, datetime

import msgspec

from b3os.errors import BadInput, NotFound
from b3os.store.pool import Db, Pool
from b3os.store.statements import load

_SQL = load("deliveries")

#: At most so many of an organization are in flight, with all workers together: a receiver that answers nobody holds
#: each for as long as an attempt may take.
EACH = 10
#: What has been due for so long is given up: a receiver too slow for what it is sent would let the rest grow forever.
LATE_S = 86_400.0


class NewDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent; `headers` show secret ones masked, `secret_headers` hold them sealed."""

    org_id: str
    id: str
    workflow_id: str
    run_id: str
    node_id: str
    url: str
    method: str
    headers: dict[str, str]
    secret_headers: bytes | None
    body: bytes
    max_retries: int


class Due(msgspec.Struct, frozen=True):
    """A claimed delivery; `sealed_as` is the id that its secret headers were sealed under.

    `endpoint_id` is the execution webhook that it is for, or empty, and `hook_secret` what signs it, sealed. One that
    `is_late`, or whose webhook `is_disabled`, is to be given up: a commit that does not see yet that its webhook is
    disabled still stores one.
    """

    org_id: str
    id: str
    url: str
    method: str
    headers: dict[str, str]
    secret_headers: bytes | None
    body: bytes
    retry_count: int
    max_retries: int
    sealed_as: str
    endpoint_id: str
    hook_secret: bytes | None
    is_disabled: bool
    is_late: bool


class Delivery(msgspec.Struct, frozen=True):
    """One line of the log, without secrets."""

    org_id: str
    id: str
    workflow_id: str
    run_id: str
    node_id: str
    url: str
    method: str
    headers: dict[str, str]
    body: bytes
    status: str
    retry_count: int
    max_retries: int
    next_retry_at: datetime | None
    response_status: int | None
    response_headers: dict[str, str] | None
    response_body: str | None
    error_message: str | None
    duration_ms: int | None
    replay_of: str | None
    created_at: datetime
    updated_at: datetime
    endpoint_id: str
    event_type: str


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt went, and what follows: `retry_in_s` None is the end."""

    is_success: bool
    retry_in_s: float | None = None
    response_status: int | None = None
    response_headers: dict[str, str] | None = None
    response_body: str | None = None
    error_message: str | None = None
    duration_ms: int = 0

    @property
    def status(self) -> str:
        """The wire's status after it."""
        if self.is_success:
            return "success"
        return "failure" if self.retry_in_s is None else "retrying"


async def add(db: Db, new: NewDelivery) -> None:
    """Store a delivery that is due at once; the same id again changes nothing."""
    await db.execute(_SQL["add"], *msgspec.structs.astuple(new))


async def claim_due(pool: Pool, limit: int, hold_s: float) -> list[Due]:
    """Take deliveries that are due, in turn between organizations, for so long; no other claims them meanwhile."""
    rows = await pool.fetch(_SQL["claim_due"], limit, float(hold_s), EACH, LATE_S)
    return [Due(*row.values()) for row in rows]


async def finish(db: Db, due: Due, attempt: Attempt) -> None:
    """Note an attempt."""
    retries = due.retry_count + (attempt.status == "retrying")
    await db.execute(
        _SQL["finish"],
        *(due.org_id, due.id, attempt.status, retries, attempt.retry_in_s, attempt.response_status),
        *(attempt.response_headers, attempt.response_body, attempt.error_message, attempt.duration_ms),
    )


async def get_delivery(db: Db, org_id: str, delivery_id: str) -> Delivery:
    """Return one delivery."""
    row = await db.fetchrow(_SQL["get"], org_id, delivery_id)
    if row is None:
        raise NotFound(f"delivery {delivery_id[:100]} was not found: check the id")
    return Delivery(*row.values())


async def list_deliveries(
    db: Db,
    org_id: str,
    *,
    workflow_id: str | None = None,
    statuses: list[str] | None = None,
    is_of_hooks: bool = False,
    endpoint_id: str | None = None,
    limit: int = 20,
    offset: int = 0,
) -> list[Delivery]:
    """Return the deliveries of send-webhook nodes, or those of execution webhooks, newest first."""
    log = _SQL["list_of_hooks" if is_of_hooks else "list_of_nodes"]
    rows = await db.fetch(log, org_id, workflow_id, statuses, limit, offset, endpoint_id)
    return [Delivery(*row.values()) for row in rows]


async def replay_delivery(db: Db, org_id: str, delivery_id: str, new_id: str) -> Delivery:
    """Send again what an old delivery sent, as a new one, whatever became of the old."""
    if await db.fetchval(_SQL["replay"], org_id, delivery_id, new_id) is None:
        raise _disabled(await get_delivery(db, org_id, delivery_id))
    return await get_delivery(db, org_id, new_id)


async def retry_delivery(db: Db, org_id: str, delivery_id: str) -> Delivery:
    """Make a failed delivery due again, with all its retries."""
    if await db.fetchval(_SQL["retry"], org_id, delivery_id) is None:
        found = await get_delivery(db, org_id, delivery_id)
        if found.status == "failure":
            raise _disabled(found)
        raise BadInput(f"delivery {found.id} is {found.status}: only a failed one is retried; replay it", code=400372)
    return await get_delivery(db, org_id, delivery_id)


def _disabled(found: Delivery) -> BadInput:
    return BadInput(f"execution webhook {found.endpoint_id} is disabled: enable it first", code=400378)


async def remove_deliveries(db: Db, before: date, limit: int) -> int:
    """Remove up to `limit` ended deliveries of days before `before`; returns how many."""
    removed: int = await db.fetchval(_SQL["remove_deliveries"], before, limit)
    return removed


async def webhook_secret(db: Db, org_id: str, new_secret: Callable[[], str]) -> str:
    """Return the secret that signs the organization's webhooks; made at the first one."""
    found = await db.fetchval(_SQL["webhook_secret"], org_id)
    if not found:
        await db.execute(_SQL["put_webhook_secret"], org_id, new_secret())
        found = await db.fetchval(_SQL["webhook_secret"], org_id)
    return str(found or "")
