"""The `data` of every answer, as types: what /openapi.json promises. A test holds real answers against them.

Times are RFC 3339 text in UTC. A member that an answer may leave out has the default UNSET; one that may be null says
so. Which answer belongs to which route: descriptions.py.
"""

from typing import Any, Generic, Literal, TypeVar

from msgspec import UNSET, Struct, UnsetType

from b3os.workflow.problems import Problem

Item = TypeVar("Item")
Scope = Literal["read", "read-write"]
RunStatus = Literal["running", "waiting", "success", "partial", "failure", "cancelled"]


class Answer(Struct, frozen=True, kw_only=True, rename="camel"):
    """The base of all: members are camelCase on the wire."""


class Page(Answer, Generic[Item], frozen=True, kw_only=True):
    """One page of a list; `hasMore` says that there is another behind it."""

    items: list[Item]
    limit: int
    offset: int
    has_more: bool


class Status(Answer, frozen=True, kw_only=True):
    """The process is well."""

    status: Literal["ok"]


class Deleted(Answer, frozen=True, kw_only=True):
    """What is gone."""

    id: str


class Bootstrapped(Answer, frozen=True, kw_only=True):
    """A new organization; `apiKey` is shown here and never again."""

    org_id: str
    org_slug: str
    api_key: str
    initial_cu_grant: int
    expires_at: str | None
    claim_url: str | None
    status: Literal["created"]


class Caller(Answer, frozen=True, kw_only=True):
    """Whose key it is, and what it may do."""

    organization_id: str
    user_id: str | None
    key_id: str
    scope: Scope


class Organization(Answer, frozen=True, kw_only=True):
    """A tenant."""

    id: str
    name: str
    slug: str
    description: str
    photo: str
    tier: str
    cu_min_threshold: float
    created_by: str
    created_at: str
    updated_at: str


class Member(Answer, frozen=True, kw_only=True):
    """A person's place in an organization."""

    id: str
    organization_id: str
    user_id: str
    user_email: str
    role: Literal["owner", "developer"]
    invited_by: str
    created_at: str
    updated_at: str


class ApiKey(Answer, frozen=True, kw_only=True):
    """An API key without its secret."""

    id: str
    organization_id: str
    name: str
    description: str
    key_prefix: str
    scope: Scope
    service_account_id: str | None
    user_id: str | None
    created_by: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    last_used_ip: str | None
    last_used_user_agent: str | None


class NewApiKey(ApiKey, frozen=True, kw_only=True):
    """An API key with its secret, `key`, which is shown here and never again."""

    key: str


class Workflow(Answer, frozen=True, kw_only=True):
    """A workflow with the definition of its newest version."""

    id: str
    organization_id: str
    name: str
    description: str
    status: Literal["draft", "active", "paused", "archived"]
    type: str
    version: int
    definition: dict[str, Any]
    cooldown_ms: int
    max_runs: int | None
    remain_runs: int | None
    paused_reason: str | None
    visibility: str
    trigger_secret: str | None
    ui_metadata: dict[str, Any]
    has_draft: bool
    has_live_version: bool
    created_by: str
    updated_by: str
    created_at: str
    updated_at: str
    last_triggered_at: str | None


class Schedule(Answer, frozen=True, kw_only=True):
    """The slots of a workflow's cron triggers; `nextRuns` are in `timezone`, also while nothing listens."""

    next_run_at: str | None
    last_run_at: str | None
    next_runs: list[str]
    timezone: str
    server_time: str


class TriggerProblem(Answer, frozen=True, kw_only=True):
    """Why a published trigger listens to nothing: `reason` is pattern, payload, trigger, or source for a refusal."""

    node_id: str
    reason: str
    message: str
    found_at: str


class WorkflowInFull(Workflow, frozen=True, kw_only=True):
    """A workflow, and what the masters cannot read of its published triggers."""

    trigger_problems: list[TriggerProblem]


class Refilled(Answer, frozen=True, kw_only=True):
    """How many runs a workflow has left."""

    workflow_id: str
    remain_runs: int


class Verdict(Answer, frozen=True, kw_only=True):
    """Every problem of a definition."""

    valid: bool
    errors: list[Problem]


class Version(Answer, frozen=True, kw_only=True):
    """One line of a workflow's history; `version` and `versionNumber` are the same."""

    version: int
    version_number: int
    name: str
    status: Literal["live", "draft"]
    created_by: str
    created_at: str
    published_at: str | None


class Versions(Page[Version], frozen=True, kw_only=True):
    """A workflow's history, and its newest version."""

    current_version: int


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


class NodeType(Answer, frozen=True, kw_only=True):
    """A kind of node; a summary leaves the schemas out."""

    type: str
    name: str
    description: str
    category: str
    tags: list[str]
    payload_schema: dict[str, Any] | UnsetType = UNSET
    result_schema: dict[str, Any] | UnsetType = UNSET
    wait_payload_schema: dict[str, Any] | UnsetType = UNSET


class Firing(Answer, frozen=True, kw_only=True):
    """An event of the past; `firesAtBlock` is null where its trigger waits for `safe` or `finalized`."""

    block_number: int
    fires_at_block: int | None
    transaction_hash: str | None
    result: dict[str, Any]


class Backtest(Answer, frozen=True, kw_only=True):
    """When a trigger would have fired in the blocks that were read, newest first; docs/chains.md has the rest."""

    chain_id: int
    head_block: int
    from_block: int | None
    to_block: int | None
    ended_by: Literal["blocks", "limit", "time", "history"]
    items: list[Firing]


class ConnectorNeed(Answer, frozen=True, kw_only=True):
    """The type of connector that an action needs."""

    type: str


class Testing(Answer, frozen=True, kw_only=True):
    """Whether an action may be tried, and why not."""

    enabled: bool
    disabled_reason: str


class Action(NodeType, frozen=True, kw_only=True):
    """An action of the catalog."""

    platform: str
    operation_type: str
    connector: ConnectorNeed | None
    requires_gas: bool
    test: Testing


class ConnectorType(Answer, frozen=True, kw_only=True):
    """A kind of credential; `dataSchema` is what its connectors hold."""

    type: str
    name: str
    provider: str
    description: str
    data_schema: dict[str, Any]
    optional: bool
    default_only: bool
    category: str
    categories: list[str]
    tags: list[str]


class Connector(Answer, frozen=True, kw_only=True):
    """A stored credential, masked."""

    id: str
    organization_id: str
    name: str
    type: str
    provider: str
    description: str
    masked_data: dict[str, str]
    created_at: str
    created_by: str
    updated_at: str
    updated_by: str


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


class DatabaseTable(Answer, frozen=True, kw_only=True):
    """A table or view."""

    name: str


class DatabaseTables(Answer, frozen=True, kw_only=True):
    """Tables and views of the organization's database."""

    tables: list[DatabaseTable]


class DatabaseColumn(Answer, frozen=True, kw_only=True):
    """A column; `type` is as it was declared."""

    name: str
    type: str
    not_null: bool
    default_value: Any
    primary_key: bool


class DatabaseColumns(Answer, frozen=True, kw_only=True):
    """The columns of a table."""

    columns: list[DatabaseColumn]


class DatabaseAnswer(Answer, frozen=True, kw_only=True):
    """What a statement answered; `truncated` says that there were more rows."""

    rows: list[dict[str, Any]]
    rows_affected: int
    last_row_id: int | None
    truncated: bool


class Check(Answer, frozen=True, kw_only=True):
    """A health check's last result."""

    id: str
    kind: str
    name: str
    status: Literal["healthy", "degraded", "unhealthy", "waived"]
    is_healthy: bool
    latency_ms: float | None
    last_checked_at: str
    last_error: str | None
    consecutive_failures: int
    waived: str | None


class CheckHistory(Check, frozen=True, kw_only=True):
    """A health check with its earlier results, newest first."""

    history: list[Check]


class SourceItem(Answer, frozen=True, kw_only=True):
    """An event source, as the master that holds it told last."""

    id: str
    holder: str
    lag: str | None
    last_error: str | None
    last_error_at: str | None
    updated_at: str | None


class SourceList(Answer, frozen=True, kw_only=True):
    """The event sources that a master reads or has read: those of all, and the organization's own."""

    items: list[SourceItem]
    total: int


class Coverage(Answer, frozen=True, kw_only=True):
    """Which blocks have been read: once up to `headBlock`, but for `gaps`, and when final again, up to `finalBlock`."""

    announced_block: int
    head_block: int
    final_block: int
    blocks_seen: int
    blocks_missing: int
    blocks_repaired: int
    gaps: list[list[int]]
    ratio: float
    subscribed: bool
    upstreams: list[dict[str, Any]]
    last_error: str | None
    updated_at: str | None


class ChainItem(Answer, frozen=True, kw_only=True):
    """A chain; `coverage` is null while no trigger listens to it."""

    id: int
    name: str
    symbol: str
    confirmations: int
    coverage: Coverage | None


class ChainList(Answer, frozen=True, kw_only=True):
    """All chains of the installation."""

    items: list[ChainItem]
    total: int


class Checks(Answer, frozen=True, kw_only=True):
    """All health checks, and how many have which status."""

    items: list[Check]
    total: int
    counts: dict[str, int]
