"""What can be used: trigger and logic types; and whether the process is well."""

from typing import Any

from b3os.detect.catalog import TRIGGER_TYPES
from b3os.errors import NotFound
from b3os.run.builtins.catalog import BUILTINS
from b3os.run.waits import WAIT_TYPES
from services.api.house import House
from services.api.openapi import document
from services.api.wire import Request, page_of
from services.api.workflows import CATALOG


def _described(spec: Any, category: str) -> dict[str, Any]:
    return {
        "type": spec.type,
        "name": spec.name,
        "description": spec.description,
        "category": category,
        "tags": list(getattr(spec, "tags", ())),
        "payloadSchema": spec.payload_schema,
        "resultSchema": spec.result_schema,
        **({"waitPayloadSchema": spec.payload_schema} if spec.type in WAIT_TYPES else {}),
    }


def _listed(request: Request, specs: Any, category: str) -> dict[str, Any]:
    limit, offset = request.page()
    items = [_described(spec, category) for spec in specs]
    if request.first("summary") == "true":
        items = [{k: v for k, v in item.items() if not k.endswith("Schema")} for item in items]
    return page_of(items[offset : offset + limit + 1], limit, offset)


async def triggers(_house: House, request: Request) -> Any:
    """GET /v1/triggers"""
    return _listed(request, TRIGGER_TYPES.values(), "trigger")


async def trigger(_house: House, request: Request) -> Any:
    """GET /v1/triggers/{type}"""
    spec = TRIGGER_TYPES.get(request.params["type"])
    if spec is None:
        raise NotFound(f"no trigger type {request.params['type']}: see GET /v1/triggers")
    return _described(spec, "trigger")


async def logic_actions(_house: House, request: Request) -> Any:
    """GET /v1/logic-actions"""
    return _listed(request, BUILTINS.values(), "logic")


async def actions(_house: House, request: Request) -> Any:
    """GET /v1/actions"""
    limit, offset = request.page()
    items = [CATALOG.definition(name) for name in CATALOG.specs]
    if request.first("summary") == "true":
        items = [{k: v for k, v in item.items() if not k.endswith("Schema")} for item in items]
    return page_of(items[offset : offset + limit + 1], limit, offset)


async def action(_house: House, request: Request) -> Any:
    """GET /v1/actions/{type}"""
    return CATALOG.definition(request.params["type"])


async def healthz(_house: House, _request: Request) -> Any:
    """GET /healthz"""
    return {"status": "ok"}


async def readyz(house: House, _request: Request) -> Any:
    """GET /readyz"""
    async with house.pool.acquire(timeout=2):
        return {"status": "ok"}


async def openapi(_house: House, _request: Request) -> Any:
    """GET /openapi.json"""
    return document()
