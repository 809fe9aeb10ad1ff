"""Carrying an action out: payload checked, errors turned into what the node stores, no secret in any of them."""

import logging
import traceback
from collections.abc import Mapping
from typing import Any

import msgspec

from b3os.actions import contract_call, http_call
from b3os.actions.catalog import Catalog
from b3os.actions.spec import ActionContext, ActionSpec, ContractCall, HttpCall
from b3os.errors import ActionFailed, B3osError

log = logging.getLogger("b3os.actions")


async def execute(catalog: Catalog, action_type: str, inputs: Any, context: ActionContext) -> dict[str, Any]:
    """Return {success, data} or {success, error}; raises NotFound for a type that is none, and nothing else."""
    spec = catalog.get(action_type)
    try:
        payload: msgspec.Struct = msgspec.convert(inputs, spec.payload, strict=False)
    except msgspec.ValidationError as error:
        return _failure("INVALID_INPUT", str(error), "validation", "correct the node's payload", retryable=False)
    try:
        return {"success": True, "data": msgspec.to_builtins(await carry_out(catalog, spec, payload, context))}
    except ActionFailed as error:
        message, remediation = redact(error.message, context.credential), redact(error.remediation, context.credential)
        return _failure(error.error_code, message, error.category, remediation, retryable=error.retryable)
    except B3osError as error:
        message = redact(error.message, context.credential)
        return _failure(str(error.code), message, "config", "correct the node's payload", retryable=error.retryable)
    except Exception:
        trace = redact(traceback.format_exc(), context.credential)
        log.error("action broke", extra={"action": spec.type, "trace": trace})
        return _failure("INTERNAL", "the action broke; it is logged", "internal", "report it", retryable=False)


async def carry_out(catalog: Catalog, spec: ActionSpec, payload: Any, context: ActionContext) -> Any:
    """Carry out a declaration or a function; raises ActionFailed."""
    match spec.call:
        case HttpCall() as call:
            connector = catalog.connectors.get(spec.connector or catalog.optional_connector(spec.type))
            return await http_call.carry_out(spec, call, catalog.provider(spec.type), connector, payload, context)
        case ContractCall() as call:
            return await contract_call.carry_out(spec, call, payload, context)
    assert spec.run is not None, "the catalog refuses a spec with neither"
    return await spec.run(payload, context)


def redact(text: str, credential: Mapping[str, Any]) -> str:
    """Take every secret of a credential out of a text."""
    for value in credential.values():
        if isinstance(value, str) and len(value) >= 4:
            text = text.replace(value, "•••")
    return text


def _failure(code: str, message: str, category: str, remediation: str, *, retryable: bool) -> dict[str, Any]:
    error = {
        "code": code,
        "message": message,
        "category": category,
        "remediation": remediation,
        "retryable": retryable,
    }
    return {"success": False, "error": error}
