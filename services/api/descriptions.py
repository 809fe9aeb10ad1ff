"""What each route is for, in words and shapes: the source of /openapi.json and docs/api.md."""

from typing import Any

import msgspec


class Described(msgspec.Struct, frozen=True):
    """A route's tag and summary; `body` has the request's members, `query` the parameters beyond paging."""

    tag: str
    summary: str
    body: dict[str, Any] | None = None
    needed: tuple[str, ...] = ()
    query: dict[str, str] = {}
    is_list: bool = False


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
}
_CONNECTOR = {
    "name": _text("Name"),
    "type": _text("Connector type"),
    "description": _text("Description"),
    "data": {"type": "object", "description": "Credential, as the type's dataSchema says; never returned"},
}
_ANY = {"type": "object", "description": "Any JSON"}

DESCRIBED: dict[tuple[str, str], Described] = {
    ("GET", "/healthz"): Described("service", "Say that the process is alive."),
    ("GET", "/readyz"): Described("service", "Say that the process reaches its database."),
    ("GET", "/metrics"): Described("service", "Prometheus metrics of the process."),
    ("GET", "/openapi.json"): Described("service", "This document."),
    ("POST", "/v1/bootstrap"): Described("organizations", "Make an organization and its first key.", {}),
    ("GET", "/v1/whoami"): Described("organizations", "Say whose key this is."),
    ("GET", "/v1/organizations"): Described("organizations", "List the caller's organizations.", is_list=True),
    ("GET", "/v1/api-keys"): Described("organizations", "List API keys, without their secrets.", is_list=True),
    ("POST", "/v1/api-keys"): Described(
        "organizations",
        "Make an API key; its secret is shown once.",
        {"name": _text("Name"), "scope": {"enum": ["read", "read-write"]}, "description": _text("Description")},
        ("name",),
    ),
    ("DELETE", "/v1/api-keys/{id}"): Described("organizations", "Revoke an API key."),
    ("POST", "/v1/workflows"): Described("workflows", "Create a draft.", _WORKFLOW, ("name", "definition")),
    ("GET", "/v1/workflows"): Described(
        "workflows",
        "List workflows, newest change first.",
        query={"status": "Only these statuses, with commas"},
        is_list=True,
    ),
    ("POST", "/v1/workflows/validate"): Described(
        "workflows",
        "Return every problem of a definition.",
        {"name": _text("Name"), "definition": _DEFINITION},
        ("definition",),
    ),
    ("GET", "/v1/workflows/{id}"): Described("workflows", "Read a workflow."),
    ("PUT", "/v1/workflows/{id}"): Described(
        "workflows", "Change what is given; a new definition is a new version.", _WORKFLOW
    ),
    ("DELETE", "/v1/workflows/{id}"): Described("workflows", "Archive a workflow; its runs stay."),
    ("POST", "/v1/workflows/{id}/publish"): Described(
        "workflows",
        "Make the newest version live.",
        {"expectedVersion": _whole("Refuse unless this is the newest")},
    ),
    ("POST", "/v1/workflows/{id}/pause"): Described("workflows", "Stop listening.", {}),
    ("POST", "/v1/workflows/{id}/resume"): Described("workflows", "Listen again.", {}),
    ("GET", "/v1/workflows/{id}/versions"): Described("workflows", "List versions, newest first.", is_list=True),
    ("POST", "/v1/workflows/{id}/rollback"): Described(
        "workflows",
        "Make an older version the newest draft.",
        {
            "versionNumber": _whole("Version to go back to"),
            "expectedCurrentVersion": _whole("Refuse unless this is live"),
        },
        ("versionNumber",),
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
    ),
    ("GET", "/v1/runs"): Described(
        "runs",
        "List runs, newest first.",
        query={"workflowId": "Only this workflow", "status": "Only these, with commas"},
        is_list=True,
    ),
    ("GET", "/v1/runs/{id}"): Described(
        "runs",
        "Read a run with the state of each node.",
        query={"summary": "true leaves the nodes out", "nodeIds": "Only these nodes, with commas"},
    ),
    ("GET", "/v1/runs/{id}/stream"): Described(
        "runs",
        "Follow a run as server-sent events, until its last; Last-Event-ID resumes.",
    ),
    ("POST", "/v1/runs/{id}/cancel"): Described("runs", "Cancel a run.", {}),
    ("POST", "/v1/runs/{id}/retry"): Described("runs", "Run a failed run again; what succeeded is kept.", {}),
    ("POST", "/v1/runs/{id}/nodes/{node}/resume"): Described(
        "runs",
        "Answer a waiting node, with a key or ?secret= of the workflow.",
        {"data": _ANY, "forEachContext": _ANY},
        query={"secret": "The workflow's trigger secret"},
    ),
    ("POST", "/v1/webhooks/{secret}"): Described(
        "webhooks",
        "Fire a workflow by its secret; Idempotency-Key makes a repeat harmless.",
        _ANY,
    ),
    ("POST", "/v1/orgs/{org}/integrations/webhook"): Described(
        "webhooks",
        "Fire a workflow of an organization, or answer its waiting node.",
        {"data": _ANY, "runId": _text("Run of the waiting node"), "nodeId": _text("The waiting node")},
        query={"secret": "The workflow's trigger secret"},
    ),
    ("GET", "/v1/actions"): Described(
        "catalog", "List actions.", query={"summary": "true leaves schemas out"}, is_list=True
    ),
    ("GET", "/v1/actions/{type}"): Described("catalog", "Read an action with its schemas."),
    ("GET", "/v1/triggers"): Described(
        "catalog", "List triggers.", query={"summary": "true leaves schemas out"}, is_list=True
    ),
    ("GET", "/v1/triggers/{type}"): Described("catalog", "Read a trigger with its schemas."),
    ("GET", "/v1/logic-actions"): Described(
        "catalog",
        "List built-in nodes.",
        query={"summary": "true leaves schemas out"},
        is_list=True,
    ),
    ("GET", "/v1/connector-types"): Described("connectors", "List connector types with their dataSchema."),
    ("GET", "/v1/connector-types/{type}"): Described("connectors", "Read a connector type."),
    ("GET", "/v1/connectors"): Described(
        "connectors", "List connectors, masked.", query={"type": "Only this type"}, is_list=True
    ),
    ("POST", "/v1/connectors"): Described(
        "connectors",
        "Store a credential, encrypted.",
        _CONNECTOR,
        ("name", "type", "data"),
    ),
    ("GET", "/v1/connectors/{id}"): Described("connectors", "Read a connector, masked."),
    ("PUT", "/v1/connectors/{id}"): Described(
        "connectors",
        "Change name, description or credential; the type stays.",
        _CONNECTOR,
    ),
    ("DELETE", "/v1/connectors/{id}"): Described("connectors", "Delete a connector and its credential."),
    ("GET", "/v1/health/checks"): Described(
        "health",
        "List health checks with their last result.",
        query={"kind": "component, chain or action", "status": "Only this status"},
    ),
    ("GET", "/v1/health/checks/{id}"): Described("health", "Read a health check with its history."),
}
