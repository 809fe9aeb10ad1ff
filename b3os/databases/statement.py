"""Reading one SQL statement as far as is needed to refuse it: how many there are, its verb, its placeholders. Pure.

The verb is the first wall and gives the clear error; SQLite's authorizer in engine.py is the second and decides.
"""

import re
from typing import Any

import msgspec

from b3os.errors import BadInput

SQL_LIMIT = 100_000
PARAMS_LIMIT = 1000
#: What begins so is bookkeeping.
OURS = "b3os_"
READ_VERBS = frozenset({"SELECT", "VALUES"})
WRITE_VERBS = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"})
SCHEMA_VERBS = frozenset({"CREATE", "ALTER", "DROP"})
_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|;|\?\d*|[$:@]\w+|\w+|\S""", re.DOTALL
)


class Statement(msgspec.Struct, frozen=True):
    """One statement; `is_read` says that it begins as a read, `by_name` that its placeholders are $1, $2, …"""

    sql: str
    verb: str
    is_read: bool
    by_name: bool


def parse_statement(sql: str, *, may_change_schema: bool = False) -> Statement:
    """Check a statement; raises BadInput that says what is refused and why."""
    if len(sql) > SQL_LIMIT or "\0" in sql:
        raise _refused(f"a statement has at most {SQL_LIMIT} characters, and no NUL")
    verb, placeholders, end = "", set[str](), len(sql)
    for match in _TOKEN.finditer(sql):
        word = match[0]
        if word.startswith(("--", "/*")):
            continue
        if end < len(sql) and word != ";":
            raise _refused("there is more than one statement: give each a node of its own")
        if word.lstrip('"`[').lower().startswith(OURS):
            raise _refused(f"names that begin with {OURS} are ours")
        if word == ";":
            end = min(end, match.start())
        elif word[0] in "?$:@" and len(word) + (word == "?") > 1:
            placeholders.add(_style(word))
        verb = verb or word.upper()
    if len(placeholders) > 1:
        raise _refused("placeholders are either ? or $1, not both")
    allowed = READ_VERBS | WRITE_VERBS | (SCHEMA_VERBS if may_change_schema else frozenset())
    if verb not in allowed:
        advice = "tables are made over the API, not by a node" if verb in SCHEMA_VERBS else "it may begin with "
        words = "" if verb in SCHEMA_VERBS else ", ".join(sorted(allowed))
        raise _refused(f"{verb[:20] or 'an empty statement'} is refused: {advice}{words}")
    return Statement(sql[:end], verb, verb in READ_VERBS, placeholders == {"$"})


def _style(word: str) -> str:
    if word[0] in ":@" or (word[0] == "$" and not word[1:].isdigit()):
        raise _refused(f"the placeholder {word[:30]} has a name: use ? or $1")
    return word[0]


def bound(params: Any, statement: Statement) -> list[Any] | dict[str, Any]:
    """Return parameters as SQLite takes them: objects and lists as JSON, booleans as 0 and 1."""
    if params is None:
        params = []
    if not isinstance(params, list) or len(params) > PARAMS_LIMIT:
        raise _refused(f"`params` is a list of at most {PARAMS_LIMIT} values")
    values = [_value(value) for value in params]
    return {str(n): value for n, value in enumerate(values, 1)} if statement.by_name else values


def _value(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise _refused(f"the number {str(value)[:40]} does not fit into 64 bits: pass it as a string")
    return msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value


def _refused(why: str) -> BadInput:
    return BadInput(f"the statement is refused: {why}", code=400369)
