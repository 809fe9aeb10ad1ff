"""How long `delay` and `wait` last, and what a `wait` listens for."""

import re
from collections.abc import Callable
from typing import Any, TypeAlias

from b3os.errors import BadInput
from b3os.run.commands import WaitTrigger

WEEK_MS = 7 * 24 * 3600 * 1000
WAIT_DEFAULT_MS = 300_000
WAIT_MIN_MS = 1000
UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
#: Trigger types whose events can end a wait, and those that mean a callback.
WAIT_TYPES = frozenset(
    {
        *("evm-log", "erc20-receive", "erc20-send", "eth-receive", "eth-send", "evm-revert", "evm-block"),
        "token-price-cexes",
    }
)
CALLBACKS = frozenset({"manual", "webhook", "callback"})
CheckTrigger: TypeAlias = Callable[[str, dict[str, Any]], None]
_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d)", re.ASCII)


def delay_ms(payload: dict[str, Any]) -> int:
    """Read `delayMs`, or `duration` such as "15m"; 0 to 7 days."""
    raw = payload.get("delayMs")
    if raw is None:
        match = _DURATION.fullmatch(str(payload.get("duration", "")))
        if match is None:
            raise BadInput('`delayMs` is missing: give milliseconds, or `duration` such as "15m"', code=400315)
        raw = int(match[1]) * UNITS_MS[match[2]]
    return _bounded("delayMs", raw, 0)


def wait_timeout_ms(payload: dict[str, Any]) -> int:
    """Read `timeoutMs`: 1 s to 7 days, 5 minutes unless said."""
    return _bounded("timeoutMs", payload.get("timeoutMs", WAIT_DEFAULT_MS), WAIT_MIN_MS)


def wait_trigger(payload: dict[str, Any], check: CheckTrigger) -> WaitTrigger | None:
    """Read `triggerType` and `triggerConfig`; None: only a callback ends the wait. `check` refuses what cannot fire."""
    kind = payload.get("triggerType") or "manual"
    if not isinstance(kind, str):
        raise BadInput("`triggerType` is the name of a trigger type", code=400371)
    if kind in CALLBACKS:
        return None
    config = payload.get("triggerConfig")
    if kind not in WAIT_TYPES:
        known = ", ".join(sorted(WAIT_TYPES))
        raise BadInput(f"`triggerType` {kind[:100]!r} cannot end a wait: use one of {known}", code=400371)
    if not isinstance(config, dict):
        raise BadInput(f"`triggerConfig` is the payload of a {kind} trigger, an object", code=400371)
    check(kind, config)
    return WaitTrigger(kind, config)


def _bounded(name: str, raw: Any, least: int) -> int:
    try:
        value = int(raw)
    except (TypeError, ValueError, OverflowError):
        value = -1
    if not least <= value <= WEEK_MS:
        raise BadInput(f"`{name}` is a whole number of milliseconds from {least} to {WEEK_MS}", code=400315)
    return value
