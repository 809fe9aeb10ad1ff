"""code-transform: the user's transform(input) in a JavaScript process. It needs no key."""

from typing import Any

from b3os.run.builtins.payloads import a_number, a_text
from b3os.run.builtins.shapes import check_shape
from b3os.run.sizes import encoded
from services.worker.effects.call import EffectCall, EffectHouse

TIMEOUT_DEFAULT_MS, TIMEOUT_MOST_MS = 5000, 10_000


async def run_code(house: EffectHouse, call: EffectCall) -> dict[str, Any]:
    """Return {output}."""
    payload = call.input
    code = a_text(payload, "code")
    timeout_ms = a_number(payload, "timeout", default=TIMEOUT_DEFAULT_MS, least=1, most=TIMEOUT_MOST_MS)
    check_shape(payload.get("inputType"), payload.get("input"), "input")
    input_text = encoded(payload.get("input"), "`input`")
    output = await house.sandbox.run(call.org_id, code, input_text, timeout_ms=timeout_ms)
    check_shape(payload.get("outputType"), output, "output")
    return {"output": output}
