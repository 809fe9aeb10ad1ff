"""The SQLite database of an organization."""

from typing import Any

from services.api.answers.base import Answer


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
