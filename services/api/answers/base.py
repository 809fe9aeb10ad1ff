"""What all answers have in common: the base of their types, pages, and the shortest of them."""

from typing import Generic, Literal, TypeVar

from msgspec import Struct

Item = TypeVar("Item")
Scope = Literal["read", "read-write"]
RunStatus = Literal["running", "waiting", "success", "partial", "failure", "cancelled"]


class Answer(Struct, frozen=True, kw_only=True, rename="camel"):
    """The base of all: members are camelCase on the wire."""


class Page(Answer, Generic[Item], frozen=True, kw_only=True):
    """One page of a list; `hasMore` says that there is another behind it."""

    items: list[Item]
    limit: int
    offset: int
    has_more: bool


class Status(Answer, frozen=True, kw_only=True):
    """The process is well."""

    status: Literal["ok"]


class Deleted(Answer, frozen=True, kw_only=True):
    """What is gone."""

    id: str
