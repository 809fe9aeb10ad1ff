"""The organization's SQLite database over REST: where tables are made, and a second way to ask.

What begins with SELECT needs any key; everything else a read-write one, as the route table cannot know before.
"""

from typing import Any

import msgspec

from b3os.errors import BadInput, Forbidden, NotFound
from services.api.house import House
from services.api.wire import Request


def _owned(request: Request) -> str:
    if request.params["org"] != request.org_id:
        raise NotFound(f"organization {request.params['org'][:100]} was not found: check the id")
    return request.org_id


async def query(house: House, request: Request) -> Any:
    """POST /v1/organizations/{org}/database/query"""
    org_id, fields = _owned(request), request.fields()
    sql = fields.get("sql", fields.get("query"))
    if not isinstance(sql, str):
        raise BadInput("`sql` is a string", code=400369)
    assert request.principal is not None, "the route table requires a principal here"
    if not sql.strip().upper().startswith("SELECT ") and request.principal.scope != "read-write":
        raise Forbidden("this key may only read: begin with SELECT, or use a read-write key")
    answer = await house.databases.query(org_id, sql, fields.get("params"), may_change_schema=True)
    return msgspec.to_builtins(answer)


async def tables(house: House, request: Request) -> Any:
    """GET /v1/organizations/{org}/database/tables"""
    return {"tables": [{"name": name} for name in await house.databases.tables(_owned(request))]}


async def columns(house: House, request: Request) -> Any:
    """GET /v1/organizations/{org}/database/tables/{table}"""
    return {"columns": await house.databases.columns(_owned(request), request.params["table"])}
