"""The named SQL statements of sql/*.sql, read once: `-- name: x` starts statement x."""

import re
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"
_NAME = re.compile(r"^-- name: (\w+)[ \t]*$", re.MULTILINE)


def parse(text: str) -> dict[str, str]:
    """Split one file into its statements; text before the first name is a comment."""
    parts = _NAME.split(text)
    found = {name: body.strip().rstrip(";") for name, body in zip(parts[1::2], parts[2::2], strict=True)}
    if len(found) * 2 + 1 != len(parts):
        raise ValueError("two statements have the same name")
    return found


@cache
def load(file: str) -> dict[str, str]:
    """Return the statements of sql/<file>.sql by name."""
    return parse((_FOLDER / f"{file}.sql").read_text(encoding="utf-8"))
