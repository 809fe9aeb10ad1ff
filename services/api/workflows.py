"""Workflows over REST: create, read, change, validate, publish, pause, resume, archive, versions, rollback."""

from collections.abc import Collection
from functools import partial
from typing import Any

import msgspec

from b3os.actions.catalog import Catalog, schema_of
from b3os.detect.catalog import TRIGGER_TYPES, check_trigger, run_limit
from b3os.detect.patterns import compile_pattern
from b3os.errors import BadInput, InvalidDefinition
from b3os.ids import WORKFLOW, new_id, new_secret
from b3os.providers import PROVIDERS
from b3os.run.builtins.catalog import BUILTINS
from b3os.run.waits import wait_trigger
from b3os.store import workflows as store
from b3os.store.connectors import get_connector
from b3os.store.pool import as_org
from b3os.store.triggers import problems_of as stored_problems
from b3os.workflow.definition import Definition, Node, normalise, to_wire, trigger_payload
from b3os.workflow.problems import Problem
from b3os.workflow.validation import TypeInfo, validate
from services.api.fields import CODE, NAME_LIMIT, SMALL_LIMIT, name_of, record, text, whole
from services.api.house import House
from services.api.wire import Request, page_of, time_text

CATALOG = Catalog(PROVIDERS)
TYPES = {
    **{name: TypeInfo("trigger", spec.payload_schema) for name, spec in TRIGGER_TYPES.items()},
    **{name: TypeInfo("logic", spec.payload_schema) for name, spec in BUILTINS.items()},
    **{name: TypeInfo("action", schema_of(spec.payload), spec.connector) for name, spec in CATALOG.specs.items()},
}


def shown(row: store.Workflow) -> dict[str, Any]:
    """Write a workflow as the wire shows it."""
    return {
        "id": row.id,
        "organizationId": row.org_id,
        "name": row.name,
        "description": row.description,
        "status": row.status,
        "type": row.type,
        "version": row.shown_version,
        "definition": row.definition,
        "cooldownMs": row.cooldown_ms,
        "maxRuns": row.max_runs,
        "remainRuns": row.remain_runs,
        "pausedReason": row.paused_reason,
        "visibility": row.visibility,
        "triggerSecret": row.trigger_secret,
        "uiMetadata": row.ui_metadata,
        "hasDraft": row.has_draft,
        "hasLiveVersion": row.has_live_version,
        "createdBy": row.created_by,
        "updatedBy": row.updated_by,
        "createdAt": time_text(row.created_at),
        "updatedAt": time_text(row.updated_at),
        "lastTriggeredAt": time_text(row.last_triggered_at),
    }


def _definition(fields: dict[str, Any]) -> Definition:
    return normalise(fields.get("definition"))


def _type_of(definition: Definition) -> str:
    root = definition.nodes.get(definition.trigger_node_ids[0])
    return root.type if root else ""


def problems_of(definition: Definition, name: str, chains: Collection[int]) -> list[Problem]:
    """Validate a definition, and what its triggers listen to."""
    problems = validate(definition, TYPES, name)
    listening: dict[tuple[str, bytes], str] = {}
    for node_id, node in definition.nodes.items():
        try:
            if node.type in TRIGGER_TYPES:
                check_trigger(node.type, trigger_payload(node), chains)
                first = listening.setdefault((node.type, _listens_to(node)), node_id)
                if first != node_id:
                    message = f"listens to the same as trigger {first!r}: every event would make two runs; remove one"
                    problems.append(Problem("nodes", message, node_id, node_id, "payload", "trigger_duplicate"))
            elif node.type == "wait" and "{{" not in str(node.payload):
                wait_trigger(node.payload, partial(check_trigger, chains=chains))
        except BadInput as error:
            problems.append(Problem("nodes", error.message, node_id, node_id, "payload", "trigger_invalid"))
    return problems


def _listens_to(node: Node) -> bytes:
    """What makes two triggers of a type the same: their pattern, however it was written, else their payload."""
    return compile_pattern(node.type, node.payload) or msgspec.json.encode(trigger_payload(node), order="sorted")


async def create(house: House, request: Request) -> Any:
    """POST /v1/workflows"""
    fields = request.fields()
    definition = _definition(fields)
    async with as_org(house.pool, request.org_id) as db:
        row = await store.create_workflow(
            db,
            request.org_id,
            new_id(WORKFLOW),
            name=name_of(fields),
            description=text(fields, "description") or "",
            definition=to_wire(definition),
            by=request.by,
            type=_type_of(definition),
            cooldown_ms=whole(fields, "cooldownMs") or 0,
            max_runs=whole(fields, "maxRuns"),
            ui_metadata=record(fields, "uiMetadata"),
        )
    return shown(row)


async def get(house: House, request: Request) -> Any:
    """GET /v1/workflows/{id}"""
    async with as_org(house.pool, request.org_id) as db:
        row = await store.get_workflow(db, request.org_id, request.params["id"])
        problems = await stored_problems(db, request.org_id, row.id)
    told = [
        {"nodeId": one.node_id, "reason": one.reason, "message": one.message, "foundAt": time_text(one.found_at)}
        for one in problems
    ]
    return {**shown(row), "triggerProblems": told}


async def many(house: House, request: Request) -> Any:
    """GET /v1/workflows"""
    limit, offset = request.page()
    statuses, wanted = request.many("status") or None, request.many("_fields_filter")
    search = request.first("q") or None
    async with as_org(house.pool, request.org_id) as db:
        rows = await store.list_workflows(
            db, request.org_id, statuses=statuses, search=search, limit=limit + 1, offset=offset
        )
    items = [shown(row) for row in rows]
    if wanted:
        items = [{name: item[name] for name in wanted if name in item} for item in items]
    return page_of(items, limit, offset)


async def update(house: House, request: Request) -> Any:
    """PUT /v1/workflows/{id}"""
    fields = request.fields()
    definition = _definition(fields) if fields.get("definition") is not None else None
    async with as_org(house.pool, request.org_id) as db:
        row = await store.update_workflow(
            db,
            request.org_id,
            request.params["id"],
            by=request.by,
            expected_version=whole(fields, "expectedCurrentVersion"),
            name=text(fields, "name", NAME_LIMIT),
            description=text(fields, "description"),
            definition=to_wire(definition) if definition else None,
            type=_type_of(definition) if definition else None,
            cooldown_ms=whole(fields, "cooldownMs"),
            max_runs=whole(fields, "maxRuns"),
            ui_metadata=record(fields, "uiMetadata"),
        )
    return shown(row)


async def check(house: House, request: Request) -> Any:
    """POST /v1/workflows/validate"""
    fields = request.fields()
    if not isinstance(fields.get("definition"), dict):
        raise BadInput("`definition` is missing: send {name, definition}")
    try:
        problems = problems_of(_definition(fields), str(fields.get("name") or "Untitled"), house.chains)
    except InvalidDefinition as error:
        return {"valid": False, "errors": [{"type": "nodes", "message": error.message, "code": "malformed"}]}
    return {"valid": not problems, "errors": problems}


def _published(node_id: str, node: Node) -> store.PublishedTrigger:
    return store.PublishedTrigger(node_id, node.type, trigger_payload(node), compile_pattern(node.type, node.payload))


async def publish(house: House, request: Request) -> Any:
    """POST /v1/workflows/{id}/publish"""
    fields = request.fields()
    workflow_id = request.params["id"]
    async with as_org(house.pool, request.org_id) as db:
        row = await store.get_workflow(db, request.org_id, workflow_id)
        definition = normalise(row.definition)
        problems = problems_of(definition, row.name, house.chains)
        if problems:
            first = f"{problems[0].message} (node {problems[0].node_id or '-'})"
            raise InvalidDefinition(f"{len(problems)} problems, first: {first}. See details.", details=list(problems))
        roots = [(node_id, definition.nodes[node_id]) for node_id in definition.trigger_node_ids]
        triggers = [_published(node_id, node) for node_id, node in roots]
        for _, node in roots:
            if node.connector is not None and node.connector.id:
                await get_connector(db, request.org_id, node.connector.id)
        expected = whole(fields, "expectedVersion")
        row = await store.publish(
            db,
            request.org_id,
            workflow_id,
            triggers=triggers,
            by=request.by,
            new_secret=new_secret,
            expected_version=row.version if expected is None else expected,
            max_runs=min((n for t in triggers if (n := run_limit(t.type, t.payload)) is not None), default=None),
        )
    return shown(row)


async def pause(house: House, request: Request) -> Any:
    """POST /v1/workflows/{id}/pause"""
    async with as_org(house.pool, request.org_id) as db:
        return shown(await store.pause(db, request.org_id, request.params["id"], by=request.by))


async def resume(house: House, request: Request) -> Any:
    """POST /v1/workflows/{id}/resume"""
    async with as_org(house.pool, request.org_id) as db:
        return shown(await store.resume(db, request.org_id, request.params["id"], by=request.by))


async def archive(house: House, request: Request) -> Any:
    """DELETE /v1/workflows/{id}"""
    async with as_org(house.pool, request.org_id) as db:
        return shown(await store.archive(db, request.org_id, request.params["id"], by=request.by))


async def unarchive(house: House, request: Request) -> Any:
    """POST /v1/workflows/{id}/unarchive"""
    async with as_org(house.pool, request.org_id) as db:
        return shown(await store.unarchive(db, request.org_id, request.params["id"], by=request.by))


async def refill(house: House, request: Request) -> Any:
    """POST /v1/workflows/{id}/refill"""
    runs = whole(request.fields(), "remainRuns")
    if runs is None:
        raise BadInput("`remainRuns` is missing: say how many runs are left", code=CODE)
    async with as_org(house.pool, request.org_id) as db:
        row = await store.refill(db, request.org_id, request.params["id"], remain_runs=runs, by=request.by)
    return {"workflowId": row.id, "remainRuns": row.remain_runs}


async def versions(house: House, request: Request) -> Any:
    """GET /v1/workflows/{id}/versions"""
    limit, offset = request.page()
    async with as_org(house.pool, request.org_id) as db:
        head = await store.get_workflow(db, request.org_id, request.params["id"])
        rows = await store.list_versions(db, request.org_id, head.id, limit=limit + 1, offset=offset)
    items = [
        {
            "version": row.version,
            "versionNumber": row.version,
            "name": row.name,
            "status": "live" if row.version == head.live_version else "draft",
            "createdBy": row.created_by,
            "createdAt": time_text(row.created_at),
            "publishedAt": time_text(row.published_at),
        }
        for row in rows
    ]
    return {**page_of(items, limit, offset), "currentVersion": head.version}


async def rollback(house: House, request: Request) -> Any:
    """POST /v1/workflows/{id}/rollback"""
    fields = request.fields()
    version = whole(fields, "versionNumber", SMALL_LIMIT) or whole(fields, "targetVersion", SMALL_LIMIT)
    if version is None:
        raise BadInput("`versionNumber` is missing: name the version to go back to")
    expected = whole(fields, "expectedCurrentVersion")
    async with as_org(house.pool, request.org_id) as db:
        row = await store.rollback(
            db, request.org_id, request.params["id"], version, by=request.by, expected_version=expected
        )
    return shown(row)
