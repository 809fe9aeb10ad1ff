"""Built-ins that keep something: storage, set-variable, org-storage-set. Pure: what they write is handed back.

A write is stored in the same transaction as its node's result. What a run sees begins as it was loaded, and moves with
the run's own writes; replaying a stored result moves it in the same way.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from b3os.errors import BadInput
from b3os.run.builtins.payloads import a_text, kind_of
from b3os.run.sizes import VALUE_LIMIT, encoded
from b3os.workflow.variables import VariableDef, is_of, variables_of

KEY_LIMIT = 512
DEFAULT_STORE = "default"


class StateWrite(msgspec.Struct, frozen=True):
    """A value to store beside a node's result; `store` names a store of the organization, for its table only."""

    table: Literal["storage", "org_storage", "variables"]
    key: str
    value: Any
    store: str = ""


Done = tuple[dict[str, Any], StateWrite | None]


class RunState:
    """What a run sees of storage and variables; `kept` are the persistent variables as they were at its start."""

    def __init__(
        self, storage: Mapping[str, Any], kept: Mapping[str, Any], variable_defs: list[dict[str, Any]]
    ) -> None:
        self.storage = dict(storage)
        self.definitions: dict[str, VariableDef] = variables_of(variable_defs)
        self.variables: dict[str, Any] = {
            one.name: kept.get(one.name, one.default) if one.lifetime == "persist" else one.default
            for one in self.definitions.values()
        }

    def replay(self, kind: str, result: Any) -> None:
        """Take over what a stored result of a state node says it wrote or read."""
        if not isinstance(result, dict) or "value" not in result:
            return
        if kind == "storage":
            self.storage[str(result.get("key"))] = result["value"]
        elif kind == "set-variable":
            self.variables[str(result.get("name"))] = result["value"]


def key_in(payload: dict[str, Any]) -> str:
    """Return the `key` of a storage node."""
    key = a_text(payload, "key", code=400314)
    if len(key) > KEY_LIMIT or "\0" in key:
        raise BadInput(f"`key` has at most {KEY_LIMIT} characters, and no NUL", code=400314)
    return key


def store_in(payload: dict[str, Any]) -> str:
    """Return the `store` of an organization storage node."""
    store = a_text(payload, "store", code=400314, default=DEFAULT_STORE) or DEFAULT_STORE
    if len(store) > KEY_LIMIT or "\0" in store:
        raise BadInput(f"`store` has at most {KEY_LIMIT} characters, and no NUL", code=400314)
    return store


def _value(payload: dict[str, Any]) -> Any:
    value = payload.get("value")
    size = len(encoded(value, "`value`"))
    if size > VALUE_LIMIT:
        raise BadInput(f"`value` has {size} bytes as JSON, at most {VALUE_LIMIT} are kept", code=400361)
    return value


def run_storage(payload: dict[str, Any], state: RunState) -> Done:
    """Write a value of the workflow's storage, or read one when there is no `value`."""
    key = key_in(payload)
    previous = state.storage.get(key)
    if "value" not in payload:
        return {"key": key, "value": previous}, None
    value = _value(payload)
    state.storage[key] = value
    return {"key": key, "value": value, "previous": previous}, StateWrite("storage", key, value)


def run_set_variable(payload: dict[str, Any], state: RunState) -> Done:
    """Give a declared variable a value of its type."""
    name = a_text(payload, "name", code=400364)
    definition = state.definitions.get(name)
    if definition is None:
        known = ", ".join(sorted(state.definitions)) or "none is"
        raise BadInput(f"the variable {name[:100]!r} is not declared in variableDefs: {known}", code=400364)
    value = _value(payload)
    if not is_of(definition.type, value):
        raise BadInput(f"the variable {name} holds a {definition.type}, not {kind_of(value)}", code=400364)
    previous, state.variables[name] = state.variables[name], value
    write = StateWrite("variables", name, value) if definition.lifetime == "persist" else None
    return {"name": name, "value": value, "previous": previous}, write


def run_org_storage_set(payload: dict[str, Any], _state: RunState) -> Done:
    """Write a value that all workflows of the organization share."""
    key, store, value = key_in(payload), store_in(payload), _value(payload)
    return {"key": key, "store": store, "value": value}, StateWrite("org_storage", key, value, store)


STATE: dict[str, Callable[[dict[str, Any], RunState], Done]] = {
    "storage": run_storage,
    "set-variable": run_set_variable,
    "org-storage-set": run_org_storage_set,
}
