"""Members of a request body, checked one by one: what is not named here is never read, so it is never applied."""

from datetime import UTC, datetime
from typing import Any

from b3os.errors import BadInput

NAME_LIMIT, TEXT_LIMIT = 200, 10_000
#: The largest whole number that every JSON reader keeps exactly.
WHOLE_LIMIT = 2**53 - 1
#: Versions and such are 32-bit integers in the store.
SMALL_LIMIT = 2**31 - 1
#: A member is of another type, or out of its bounds.
CODE = 400410


def text(fields: dict[str, Any], name: str, limit: int = TEXT_LIMIT, *, is_needed: bool = False) -> str | None:
    """Return a text of at most `limit` characters; None when it is absent and not needed."""
    value = fields.get(name)
    if value is None and not is_needed:
        return None
    if not isinstance(value, str) or len(value) > limit or "\x00" in value or (is_needed and not value.strip()):
        least = "1" if is_needed else "0"
        raise BadInput(f"`{name}` is a string of {least} to {limit} characters, none of them U+0000", code=CODE)
    return value


def name_of(fields: dict[str, Any]) -> str:
    """Return the `name` that something new must have."""
    return str(text(fields, "name", NAME_LIMIT, is_needed=True))


def whole(fields: dict[str, Any], name: str, limit: int = WHOLE_LIMIT) -> int | None:
    """Return a whole number from 0 to `limit`; None when it is absent."""
    value = fields.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limit):
        raise BadInput(f"`{name}` is a whole number from 0 to {limit}", code=CODE)
    return value


def record(fields: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Return a JSON object; None when it is absent."""
    value = fields.get(name)
    if value is not None and not isinstance(value, dict):
        raise BadInput(f"`{name}` is a JSON object", code=CODE)
    return value


def moment(fields: dict[str, Any], name: str) -> datetime | None:
    """Return a time; None when it is absent. One without an offset is UTC."""
    value = text(fields, name, 64)
    if not value:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError as error:
        raise BadInput(f"`{name}` is a time such as 2030-01-31T12:00:00Z", code=CODE) from error
    return found.replace(tzinfo=found.tzinfo or UTC)
