"""Runs, and what calls from outside start or resume."""

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from services.api.answers.base import Answer, RunStatus


class Run(Answer, frozen=True, kw_only=True):
    """A run as lists show it."""

    id: str
    workflow_id: str
    workflow_name: str
    workflow_version: int
    status: RunStatus
    trigger_source: str
    trigger_node_id: str
    triggered_by: str
    source_run_id: str | None
    started_at: str
    finished_at: str | None
    is_simulation: bool
    is_dust_test: bool


class NodeState(Answer, frozen=True, kw_only=True):
    """What became of a node; `result` of a failure is its error, `iterations` are those of a loop's body.

    `scheduled` is tried again later; `cancelled` had not ended when its run did.
    """

    type: str
    status: Literal["pending", "running", "waiting", "scheduled", "success", "failure", "skipped", "cancelled"]
    input: Any = UNSET
    result: Any = UNSET
    #: Of a call that was tried again; of a scheduled one the next.
    attempt: int | UnsetType = UNSET
    started_at: str | UnsetType = UNSET
    finished_at: str | UnsetType = UNSET
    iterations: "list[dict[str, NodeState]] | UnsetType" = UNSET


class TriggerFate(Answer, frozen=True, kw_only=True):
    """What became of the chain event that started a run: `state` is pending, finalized or removed."""

    state: str
    block_number: int
    block_hash: str
    settled_at: str | None


class WholeRun(Run, frozen=True, kw_only=True):
    """A run with the state of its nodes by id, and the definition that it ran; a summary leaves them out."""

    organization_id: str | UnsetType = UNSET
    execution_state: dict[str, NodeState] | UnsetType = UNSET
    workflow_definition: dict[str, Any] | UnsetType | None = UNSET
    trigger: TriggerFate | UnsetType = UNSET


class Retried(Run, frozen=True, kw_only=True):
    """The new run; `runId` and `id` are the same."""

    run_id: str


class Started(Answer, frozen=True, kw_only=True):
    """The run that began."""

    run_id: str


class Fired(Answer, frozen=True, kw_only=True):
    """What a webhook did; `runId` is null when nothing ran. `skipped`: the event is none of the trigger's."""

    run_id: str | None
    status: Literal["accepted", "duplicate", "cooldown", "exhausted", "inactive", "skipped"]


class WebhookCall(Answer, frozen=True, kw_only=True):
    """A call as it was received, credentials and signatures masked; `body` is null when it is not kept."""

    id: str
    workflow_id: str
    node_id: str
    received_at: str
    status: Literal["accepted", "duplicate", "cooldown", "exhausted", "inactive", "skipped", "refused"]
    reason: str
    run_id: str | None
    headers: dict[str, str]
    body: Any
    size: int


class Rotated(Answer, frozen=True, kw_only=True):
    """The new secret of a workflow's address, and until when the old one is taken too."""

    workflow_id: str
    trigger_secret: str
    old_secret_until: str | None


class Resumed(Answer, frozen=True, kw_only=True):
    """Whether a waiting node was answered; `skipped` says why not."""

    action: Literal["resumed", "skipped"]
    reason: str


class Received(Answer, frozen=True, kw_only=True):
    """What an inbound call did."""

    action: Literal["triggered", "resumed", "skipped"]
    reason: str
    event_id: str
    run_ids: list[str | None]
