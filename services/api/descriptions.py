"""What each route is for, in words and shapes: the source of /openapi.json and docs/api.md."""

from typing import Any, get_origin

import msgspec

from b3os.run.why import Why
from services.api.answers.base import Deleted, Page, Status
from services.api.answers.catalogs import Action, Backtest, Connector, ConnectorType, NodeType
from services.api.answers.databases import DatabaseAnswer, DatabaseColumns, DatabaseTables
from services.api.answers.deliveries import Delivery, ExecutionWebhook, ExecutionWebhookSecret
from services.api.answers.identity import ApiKey, Bootstrapped, Caller, Member, NewApiKey, Organization
from services.api.answers.runs import Fired, Received, Resumed, Retried, Rotated, Run, Started, WebhookCall, WholeRun
from services.api.answers.watching import ChainList, CheckHistory, Checks, SourceList
from services.api.answers.workflows import Refilled, Schedule, Verdict, Versions, Workflow, WorkflowInFull


class Described(msgspec.Struct, frozen=True):
    """A route's tag and summary; `body` has the request's members, `query` the parameters beyond paging.

    `data` is the type of the answer's `data`; None for an answer without an envelope.
    """

    tag: str
    summary: str
    body: dict[str, Any] | None = None
    needed: tuple[str, ...] = ()
    query: dict[str, str] = {}
    data: Any = None

    @property
    def is_paged(self) -> bool:
        """Whether the route takes `limit` and `offset`."""
        kind = get_origin(self.data) or self.data
        return isinstance(kind, type) and issubclass(kind, Page)


def _text(about: str) -> dict[str, Any]:
    return {"type": "string", "description": about}


def _whole(about: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "description": about}


_DEFINITION = {"type": "object", "description": "Workflow definition, of either generation"}
_WORKFLOW = {
    "name": _text("Name"),
    "description": _text("Description"),
    "definition": _DEFINITION,
    "cooldownMs": _whole("Milliseconds between two runs"),
    "maxRuns": _whole("Runs after which the workflow pauses"),
    "uiMetadata": {"type": "object", "description": "What an editor keeps; never read by the engine"},
}
_CHANGE = {**_WORKFLOW, "expectedCurrentVersion": _whole("Refuse unless this is the newest")}
_DELIVERIES = {"workflowId": "Only this workflow", "status": "Only these, with commas"}
_CONNECTOR = {
    "name": _text("Name"),
    "type": _text("Connector type"),
    "description": _text("Description"),
    "data": {"type": "object", "description": "Credential, as the type's dataSchema says; never returned"},
}
_TRYING = {
    "inputs": {"type": "object", "description": "Payload of the trigger; also accepted as `payload`"},
    "connector": {"type": "object", "description": "Connector of the trigger, {type, id}"},
}
_ANY = {"type": "object", "description": "Any JSON"}

DESCRIBED: dict[tuple[str, str], Described] = {
    ("GET", "/healthz"): Described("service", "Say that the process is alive.", data=Status),
    ("GET", "/readyz"): Described("service", "Say that the process reaches its database.", data=Status),
    ("GET", "/metrics"): Described("service", "Prometheus metrics of the process."),
    ("GET", "/openapi.json"): Described("service", "This document."),
    ("POST", "/v1/bootstrap"): Described(
        "organizations", "Make an organization and its first key.", {}, data=Bootstrapped
    ),
    ("GET", "/v1/whoami"): Described("organizations", "Say whose key this is.", data=Caller),
    ("GET", "/v1/organizations"): Described(
        "organizations", "List the caller's organizations.", data=Page[Organization]
    ),
    ("GET", "/v1/organizations/{id}"): Described("organizations", "Read an organization.", data=Organization),
    ("PUT", "/v1/organizations/{id}"): Described(
        "organizations",
        "Change what is given.",
        {"name": _text("Name"), "description": _text("Description"), "photo": _text("Address of a picture")},
        data=Organization,
    ),
    ("GET", "/v1/orgs/{org}/members"): Described("organizations", "List members, oldest first.", data=Page[Member]),
    ("GET", "/v1/api-keys"): Described("organizations", "List API keys, without their secrets.", data=Page[ApiKey]),
    ("POST", "/v1/api-keys"): Described(
        "organizations",
        "Make an API key; its secret is shown once.",
        {
            "name": _text("Name"),
            "scope": {"enum": ["read", "read-write"], "default": "read-write"},
            "description": _text("Description"),
            "expiresAt": {"type": "string", "format": "date-time", "description": "Until when it is valid"},
        },
        ("name",),
        data=NewApiKey,
    ),
    ("GET", "/v1/api-keys/{id}"): Described("organizations", "Read an API key, without its secret.", data=ApiKey),
    ("DELETE", "/v1/api-keys/{id}"): Described("organizations", "Revoke an API key.", data=Deleted),
    ("POST", "/v1/workflows"): Described(
        "workflows", "Create a draft.", _WORKFLOW, ("name", "definition"), data=Workflow
    ),
    ("GET", "/v1/workflows"): Described(
        "workflows",
        "List workflows, newest change first.",
        query={
            "status": "Only these statuses, with commas",
            "q": "Only names that contain this",
            "_fields_filter": "Only these members of each item, with commas",
        },
        data=Page[Workflow],
    ),
    ("POST", "/v1/workflows/validate"): Described(
        "workflows",
        "Return every problem of a definition.",
        {"name": _text("Name"), "definition": _DEFINITION},
        ("definition",),
        data=Verdict,
    ),
    ("GET", "/v1/workflows/{id}"): Described("workflows", "Read a workflow.", data=WorkflowInFull),
    ("PUT", "/v1/workflows/{id}"): Described(
        "workflows", "Change what is given; a new definition is a new version.", _CHANGE, data=Workflow
    ),
    ("DELETE", "/v1/workflows/{id}"): Described("workflows", "Archive a workflow; its runs stay.", data=Workflow),
    ("POST", "/v1/workflows/{id}/unarchive"): Described(
        "workflows", "Bring an archived workflow back as a draft.", {}, data=Workflow
    ),
    ("POST", "/v1/workflows/{id}/publish"): Described(
        "workflows",
        "Make the newest version live.",
        {"expectedVersion": _whole("Refuse unless this is the newest")},
        data=Workflow,
    ),
    ("POST", "/v1/workflows/{id}/pause"): Described("workflows", "Stop listening.", {}, data=Workflow),
    ("POST", "/v1/workflows/{id}/resume"): Described("workflows", "Listen again.", {}, data=Workflow),
    ("POST", "/v1/workflows/{id}/refill"): Described(
        "workflows",
        "Set the runs that are left; a workflow that paused for want of them goes on.",
        {"remainRuns": _whole("Runs that are left")},
        ("remainRuns",),
        data=Refilled,
    ),
    ("GET", "/v1/workflows/{id}/versions"): Described("workflows", "List versions, newest first.", data=Versions),
    ("GET", "/v1/workflows/{id}/schedule"): Described(
        "workflows",
        "Say when its cron triggers ran last and run next, and the next five times; 404 without such a trigger.",
        query={"timezone": "IANA name of the zone to show times in; that of the first trigger when left out"},
        data=Schedule,
    ),
    ("POST", "/v1/workflows/{id}/rollback"): Described(
        "workflows",
        "Make an older version the newest draft.",
        {
            "versionNumber": _whole("Version to go back to"),
            "targetVersion": _whole("Another name of versionNumber"),
            "expectedCurrentVersion": _whole("Refuse unless this is the newest"),
        },
        data=Workflow,
    ),
    ("POST", "/v1/workflows/{id}/run"): Described(
        "runs",
        "Start a run by hand.",
        {
            "payload": _ANY,
            "runId": _text("A run id of the caller's choice"),
            "version": _whole("Another version than the live one"),
            "triggerNodeId": _text("Which trigger node"),
        },
        data=Started,
    ),
    ("GET", "/v1/runs"): Described(
        "runs",
        "List runs, newest first.",
        query={"workflowId": "Only this workflow", "status": "Only these, with commas"},
        data=Page[Run],
    ),
    ("GET", "/v1/runs/{id}"): Described(
        "runs",
        "Read a run with the state of each node.",
        query={"summary": "true leaves the nodes out", "nodeIds": "Only these nodes, with commas"},
        data=WholeRun,
    ),
    ("GET", "/v1/runs/{id}/stream"): Described(
        "runs", "Follow a run as server-sent events, until its last; Last-Event-ID resumes."
    ),
    ("GET", "/v1/workflows/{id}/runs/stream"): Described(
        "runs", "Watch how a workflow's runs begin and end, as server-sent events from now on."
    ),
    ("GET", "/v1/workflow-runs/stream"): Described(
        "runs",
        "Watch the runs of up to 24 workflows at once; those that are not yours are left out.",
        query={"ids": "Workflow ids, with commas"},
    ),
    ("GET", "/v1/activity/stream"): Described(
        "runs", "Watch what the organization's runs and their actions do, as server-sent events from now on."
    ),
    ("POST", "/v1/runs/{id}/cancel"): Described("runs", "Cancel a run.", {}, data=Run),
    ("POST", "/v1/runs/{id}/retry"): Described(
        "runs",
        "Run an ended run again, as a new run; what finished is kept, from a chosen node what was before it.",
        {
            "fromNodeId": _text("Run this node and everything after it again"),
            "path": _text("Which iteration of the loops around it, as loop:3/inner:0; the first unless said"),
            "input": {
                "type": "object",
                "description": "Input of that node, or result of the trigger, instead of its own",
            },
            "version": {"type": ["integer", "string"], "description": "A version of the workflow, or latest"},
        },
        data=Retried,
    ),
    ("GET", "/v1/runs/{id}/why"): Described(
        "runs", "Say in one line why a run does not move, or what ended it.", data=Why
    ),
    ("POST", "/v1/runs/{id}/nodes/{node}/resume"): Described(
        "runs",
        "Answer a waiting node, with a key or ?secret= of the workflow.",
        {"data": _ANY, "forEachContext": _ANY},
        query={"secret": "The workflow's trigger secret"},
        data=Resumed,
    ),
    ("POST", "/v1/webhooks/{secret}"): Described(
        "webhooks", "Fire a workflow by its secret; Idempotency-Key makes a repeat harmless.", _ANY, data=Fired
    ),
    ("POST", "/v1/orgs/{org}/integrations/webhook"): Described(
        "webhooks",
        "Fire a workflow of an organization, or answer its waiting node.",
        {"data": _ANY, "runId": _text("Run of the waiting node"), "nodeId": _text("The waiting node")},
        query={"secret": "The workflow's trigger secret"},
        data=Received,
    ),
    ("POST", "/v1/orgs/{org}/integrations/{provider}"): Described(
        "webhooks",
        "Take a signed event of stripe, shopify, coinbase, telegram or farcaster, for one workflow or all that listen.",
        _ANY,
        query={"secret": "The trigger secret of one workflow; absent: every trigger whose secret signed the call"},
        data=Received,
    ),
    ("GET", "/v1/workflows/{id}/webhook-calls"): Described(
        "webhooks", "List the calls that a workflow received, newest first.", data=Page[WebhookCall]
    ),
    ("POST", "/v1/workflows/{id}/webhook-calls/{call}/replay"): Described(
        "webhooks", "Take a received call again, as a new event.", {}, data=Received
    ),
    ("POST", "/v1/workflows/{id}/rotate-secret"): Described(
        "webhooks",
        "Give a workflow's address a new secret; the old one is taken for a while.",
        {"graceSeconds": _whole("Seconds that the old secret is still taken: 86400 if absent, 604800 at most")},
        data=Rotated,
    ),
    ("GET", "/v1/actions"): Described(
        "catalog", "List actions.", query={"summary": "true leaves schemas out"}, data=Page[Action]
    ),
    ("GET", "/v1/actions/{type}"): Described("catalog", "Read an action with its schemas.", data=Action),
    ("GET", "/v1/triggers"): Described(
        "catalog", "List triggers.", query={"summary": "true leaves schemas out"}, data=Page[NodeType]
    ),
    ("GET", "/v1/triggers/{type}"): Described("catalog", "Read a trigger with its schemas.", data=NodeType),
    ("POST", "/v1/triggers/{type}/test"): Described(
        "catalog",
        "Give a result of a trigger: of a chain's the newest of the last 60 blocks where that is quick, else a sample, "
        "whose block is 0. Without `inputs`: a sample of the type.",
        _TRYING,
        data=dict[str, Any],
    ),
    ("POST", "/v1/triggers/{type}/backtest"): Described(
        "catalog",
        "List when a trigger of a chain would have fired over the newest blocks, confirmations and filters included; "
        "nothing runs. One at a time for an organization.",
        {
            **_TRYING,
            "blocks": _whole("How many blocks to read: 1 to 5,000, 1,000 unless told"),
            "limit": _whole("After how many events to stop: 1 to 1,000, 100 unless told"),
        },
        ("inputs",),
        data=Backtest,
    ),
    ("GET", "/v1/logic-actions"): Described(
        "catalog", "List built-in nodes.", query={"summary": "true leaves schemas out"}, data=Page[NodeType]
    ),
    ("GET", "/v1/connector-types"): Described(
        "connectors", "List connector types with their dataSchema.", data=list[ConnectorType]
    ),
    ("GET", "/v1/connector-types/{type}"): Described("connectors", "Read a connector type.", data=ConnectorType),
    ("GET", "/v1/connectors"): Described(
        "connectors", "List connectors, masked.", query={"type": "Only this type"}, data=Page[Connector]
    ),
    ("POST", "/v1/connectors"): Described(
        "connectors", "Store a credential, encrypted.", _CONNECTOR, ("name", "type", "data"), data=Connector
    ),
    ("GET", "/v1/connectors/{id}"): Described("connectors", "Read a connector, masked.", data=Connector),
    ("PUT", "/v1/connectors/{id}"): Described(
        "connectors", "Change name, description or credential; the type stays.", _CONNECTOR, data=Connector
    ),
    ("DELETE", "/v1/connectors/{id}"): Described("connectors", "Delete a connector and its credential.", data=Deleted),
    ("GET", "/v1/chains"): Described(
        "sources", "List the chains, and which of their blocks have been read.", data=ChainList
    ),
    ("GET", "/v1/sources"): Described(
        "sources", "List the event sources: who reads each, how far behind it is, its last error.", data=SourceList
    ),
    ("GET", "/v1/outbound-webhook/deliveries"): Described(
        "deliveries", "List what send-webhook nodes sent, newest first.", query=_DELIVERIES, data=Page[Delivery]
    ),
    ("GET", "/v1/outbound-webhook/deliveries/{id}"): Described("deliveries", "Read a delivery.", data=Delivery),
    ("POST", "/v1/outbound-webhook/deliveries/{id}/replay"): Described(
        "deliveries", "Send again as a new delivery, whatever became of the old.", {}, data=Delivery
    ),
    ("POST", "/v1/outbound-webhook/deliveries/{id}/retry"): Described(
        "deliveries", "Make a failed delivery due again.", {}, data=Delivery
    ),
    ("GET", "/v1/execution-webhooks"): Described(
        "deliveries", "List the addresses that are told of runs, newest first.", data=Page[ExecutionWebhook]
    ),
    ("POST", "/v1/execution-webhooks"): Described(
        "deliveries",
        "Register an address that is told how runs end and what becomes of their events.",
        {
            "name": _text("Name"),
            "url": _text("https, at a public address"),
            "description": _text("Description"),
            "subscribedEventTypes": {"type": "array", "items": {"type": "string"}, "description": "All if left out"},
            "workflowId": _text("Only this workflow's runs"),
            "maxRetries": _whole("At most 10; 3 if left out"),
        },
        ("name", "url"),
        data=ExecutionWebhookSecret,
    ),
    ("GET", "/v1/execution-webhooks/{id}"): Described(
        "deliveries", "Read an execution webhook.", data=ExecutionWebhook
    ),
    ("POST", "/v1/execution-webhooks/{id}/disable"): Described(
        "deliveries", "Send it nothing more; what was still to be sent fails.", {}, data=ExecutionWebhook
    ),
    ("POST", "/v1/execution-webhooks/{id}/enable"): Described(
        "deliveries", "Send it what comes from now on.", {}, data=ExecutionWebhook
    ),
    ("POST", "/v1/execution-webhooks/{id}/regenerate-secret"): Described(
        "deliveries", "Give it another secret; the old one signs nothing more.", {}, data=ExecutionWebhookSecret
    ),
    ("GET", "/v1/execution-webhooks/deliveries"): Described(
        "deliveries",
        "List what execution webhooks were sent, newest first.",
        query={**_DELIVERIES, "endpointId": "Only this execution webhook"},
        data=Page[Delivery],
    ),
    ("GET", "/v1/execution-webhooks/deliveries/{id}"): Described("deliveries", "Read a delivery.", data=Delivery),
    ("POST", "/v1/execution-webhooks/deliveries/{id}/replay"): Described(
        "deliveries", "Send again as a new delivery, whatever became of the old.", {}, data=Delivery
    ),
    ("POST", "/v1/execution-webhooks/deliveries/{id}/retry"): Described(
        "deliveries", "Make a failed delivery due again.", {}, data=Delivery
    ),
    ("GET", "/v1/organizations/{org}/database/tables"): Described(
        "database", "List tables and views.", data=DatabaseTables
    ),
    ("GET", "/v1/organizations/{org}/database/tables/{table}"): Described(
        "database", "Read the columns of a table.", data=DatabaseColumns
    ),
    ("POST", "/v1/organizations/{org}/database/query"): Described(
        "database",
        "Run one statement; what does not begin with SELECT needs a read-write key. Tables are made here.",
        {"sql": _text("One statement with ? or $1"), "params": {"type": "array", "items": {}}},
        ("sql",),
        data=DatabaseAnswer,
    ),
    ("GET", "/v1/health/checks"): Described(
        "health",
        "List health checks with their last result.",
        query={"kind": "component, chain or action", "status": "Only this status"},
        data=Checks,
    ),
    ("GET", "/v1/health/checks/{id}"): Described("health", "Read a health check with its history.", data=CheckHistory),
}
