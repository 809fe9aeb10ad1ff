"""The process that runs user JavaScript: frames in on stdin, frames out on stdout, nothing else.

A frame is four bytes of length, big endian, and JSON. Each call gets a QuickJS context of its own, with limits on
memory, stack and time; the parent's kill on the wall clock is the limit of these limits.
"""

import json
import re
import sys
import time
from typing import Any, BinaryIO

import quickjs

from b3os.sandbox.confine import confine

MEMORY = 32 << 20
STACK = 256 << 10
OUTPUT_LIMIT = 8 << 20
MESSAGE_LIMIT = 2000
#: A frame's name in QuickJS's stack traces, so that a line of ours is never shown as the user's.
_HARNESS = "b3os_harness"
_FRAME = re.compile(r"at (?:(\S+) )?\(?<input>:(\d+)")

#: Taken before the user's code runs, which may replace what it likes.
_PREPARE = f"""(function() {{
    const parse = JSON.parse, text = JSON.stringify, apply = Reflect.apply;
    const resolve = Promise.resolve.bind(Promise), then = Promise.prototype.then;
    const state = {{done: false, failed: false, value: undefined}};
    return function {_HARNESS}(step, f, input) {{
        if (step === "take") {{ if (state.failed) throw state.value; return state.done ? state.value : null; }}
        if (step === "done") return state.done || state.failed;
        if (typeof f !== "function") throw new TypeError("transform is not a function");
        const value = f(parse(input));
        if (value !== null && typeof value === "object" && typeof value.then === "function")
            apply(then, resolve(value), [function {_HARNESS}(v) {{ state.value = text(v); state.done = true; }},
                function {_HARNESS}(e) {{ state.value = e; state.failed = true; }}]);
        else {{ state.value = text(value); state.done = true; }}
    }};
}})()"""


def transform(code: str, input_text: str, timeout_s: float) -> dict[str, Any]:
    """Run one call; returns `output` as JSON text, or `kind`, `message` and `line` of what went wrong."""
    deadline = time.monotonic() + timeout_s
    context = quickjs.Context()
    context.set_memory_limit(MEMORY)
    context.set_max_stack_size(STACK)
    try:
        harness = context.eval(_PREPARE)
        context.set_time_limit(timeout_s)
        context.eval(code)
        harness("run", context.eval("transform"), input_text)
        while not harness("done") and context.execute_pending_job():
            if time.monotonic() > deadline:
                return {"kind": "time", "message": "the time is up", "line": None}
        if not harness("done"):
            return {"kind": "error", "message": "transform returned a promise that never settles", "line": None}
        output = harness("take")
    except quickjs.JSException as error:
        return _failure(str(error))
    if output is not None and len(output) > OUTPUT_LIMIT:
        return {"kind": "size", "message": f"the output is larger than {OUTPUT_LIMIT} characters", "line": None}
    return {"output": "null" if output is None else output}


def _failure(text: str) -> dict[str, Any]:
    message = text.split("\n    at ", 1)[0].removesuffix("\nundefined").strip()[:MESSAGE_LIMIT]
    line = next((int(number) for name, number in _FRAME.findall(text) if name != _HARNESS), None)
    kind = "error"
    if message == "InternalError: interrupted":
        kind, message = "time", "the time is up"
    elif message in ("InternalError: out of memory", "InternalError: string too long"):
        kind, message = "memory", f"the memory of {MEMORY >> 20} MB is used up"
    elif message == "null":  # also what is left of an error that found no memory
        kind, message = "memory", f"null was thrown, or the memory of {MEMORY >> 20} MB is used up"
    elif message.startswith("RangeError: Maximum call stack"):
        kind = "stack"
    return {"kind": kind, "message": message, "line": line}


def _read(stream: BinaryIO) -> bytes:
    head = stream.read(4)
    return stream.read(int.from_bytes(head)) if len(head) == 4 else b""


def main() -> None:
    """Answer frames until stdin ends."""
    confine()
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while frame := _read(stdin):
        call = json.loads(frame)
        try:
            answer = transform(call["code"], call["input"], call["timeoutS"])
        except MemoryError:
            answer = {"kind": "memory", "message": f"the memory of {MEMORY >> 20} MB is used up", "line": None}
        except (ValueError, TypeError, RuntimeError) as error:
            answer = {"kind": "error", "message": str(error)[:MESSAGE_LIMIT], "line": None}
        data = json.dumps(answer).encode()
        stdout.write(len(data).to_bytes(4) + data)
        stdout.flush()


if __name__ == "__main__":
    main()
