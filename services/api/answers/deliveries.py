"""What is sent to addresses outside, and who is told."""

from typing import Any, Literal

from services.api.answers.base import Answer


class Delivery(Answer, frozen=True, kw_only=True):
    """One delivery; secret headers are masked. `endpointId` is the execution webhook, empty for one of send-webhook."""

    id: str
    organization_id: str
    workflow_id: str
    run_id: str
    node_id: str
    endpoint_id: str
    event_type: str
    url: str
    method: str
    status: Literal["pending", "success", "failure", "retrying"]
    request_headers: dict[str, str]
    request_body: Any
    response_status: int | None
    response_headers: dict[str, str] | None
    response_body: str | None
    error_message: str | None
    duration_ms: int | None
    retry_count: int
    max_retries: int
    next_retry_at: str | None
    replay_of: str | None
    created_at: str
    updated_at: str


class ExecutionWebhook(Answer, frozen=True, kw_only=True):
    """An address that is told of runs; with a `workflowId`, of that workflow's only."""

    id: str
    organization_id: str
    name: str
    url: str
    description: str
    subscribed_event_types: list[
        Literal["run.completed", "run.failed", "run.cancelled", "event.finalized", "event.removed"]
    ]
    workflow_id: str | None
    max_retries: int
    status: Literal["active", "disabled"]
    created_by: str
    created_at: str
    updated_at: str
    disabled_at: str | None


class ExecutionWebhookSecret(Answer, frozen=True, kw_only=True):
    """An execution webhook and the secret that signs what it is sent, shown only here."""

    endpoint: ExecutionWebhook
    signing_secret: str
