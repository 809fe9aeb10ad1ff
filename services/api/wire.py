"""What a request of the API is beyond what every service reads: whose it is, its place in the path, its page."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from b3os.auth.principal import Principal
from b3os.errors import BadInput
from b3os.wire import Incoming

PAGE_DEFAULT, PAGE_MAX = 20, 100
#: PostgreSQL counts rows in 64 bits; nobody pages this far.
OFFSET_MAX = 2**31 - 1


class Request(Incoming, kw_only=True):
    """One request, its body read; `org_id` is the principal's."""

    params: Mapping[str, str] = {}
    principal: Principal | None = None

    @property
    def org_id(self) -> str:
        assert self.principal is not None, "the route table requires a principal here"
        return self.principal.org_id

    @property
    def by(self) -> str:
        assert self.principal is not None
        return self.principal.user_id or self.principal.key_id

    def page(self) -> tuple[int, int]:
        """Return limit and offset, clamped rather than refused."""
        try:
            limit, offset = int(self.first("limit") or PAGE_DEFAULT), int(self.first("offset") or 0)
        except ValueError as error:
            raise BadInput("limit and offset are whole numbers", code=400411) from error
        return max(1, min(limit, PAGE_MAX)), max(0, min(offset, OFFSET_MAX))

    def many(self, name: str) -> list[str]:
        """Return a query parameter's values, repeated or with commas."""
        return [one for value in self.query.get(name, []) for one in value.split(",") if one]


def page_of(items: list[Any], limit: int, offset: int) -> dict[str, Any]:
    """Make a page from one item more than it shows."""
    return {"items": items[:limit], "limit": limit, "offset": offset, "hasMore": len(items) > limit}


def time_text(moment: datetime | None) -> str | None:
    """Write a time as RFC 3339 in UTC."""
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
