"""Trying an action for its health: its sample is carried out and its time taken; writes are never tried."""

import time

import msgspec

from b3os.actions.catalog import Catalog
from b3os.actions.execute import execute
from b3os.actions.spec import ActionContext, ActionSpec, Operation


class ProbeResult(msgspec.Struct, frozen=True):
    """What came of a probe; `error` is empty when it is well."""

    ok: bool
    latency_ms: float
    error: str = ""


def is_probed(spec: ActionSpec) -> bool:
    """Whether the watchdog may try an action."""
    return not spec.health.waived and spec.operation is Operation.READ


async def probe(catalog: Catalog, spec: ActionSpec, context: ActionContext) -> ProbeResult:
    """Carry the sample of an action out."""
    began = time.monotonic()
    answer = await execute(catalog, spec.type, spec.health.sample, context)
    took = (time.monotonic() - began) * 1000
    if answer["success"]:
        return ProbeResult(True, took)
    return ProbeResult(False, took, f"{answer['error']['code']}: {answer['error']['message']}")
