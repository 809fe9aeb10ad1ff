"""Carrying an action out: payload checked, errors turned into what the node stores."""

import logging
from typing import Any

import msgspec

from b3os.actions.spec import ActionContext, ActionSpec
from b3os.errors import ActionFailed, B3osError

log = logging.getLogger("b3os.actions")


async def execute(spec: ActionSpec, inputs: Any, context: ActionContext) -> dict[str, Any]:
    """Return {success, data} or {success, error}; never raises for what an action or its upstream does."""
    try:
        payload: msgspec.Struct = msgspec.convert(inputs, spec.payload, strict=False)
    except msgspec.ValidationError as error:
        return _failure("INVALID_INPUT", str(error), "validation", "correct the node's payload", retryable=False)
    try:
        return {"success": True, "data": msgspec.to_builtins(await spec.run(payload, context))}
    except ActionFailed as error:
        return _failure(error.error_code, error.message, error.category, error.remediation, retryable=error.retryable)
    except B3osError as error:
        return _failure(str(error.code), error.message, "config", "correct the node's payload", retryable=False)
    except Exception:
        log.exception("action broke", extra={"action": spec.type, "run": context.run_id})
        return _failure("INTERNAL", "the action broke; it is logged", "internal", "report it", retryable=False)


def _failure(code: str, message: str, category: str, remediation: str, *, retryable: bool) -> dict[str, Any]:
    error = {
        "code": code,
        "message": message,
        "category": category,
        "remediation": remediation,
        "retryable": retryable,
    }
    return {"success": False, "error": error}
