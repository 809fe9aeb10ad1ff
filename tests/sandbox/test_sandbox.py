"""code-transform's processes under attack: every attack ends in a named error, and the next call works."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from b3os.errors import BadInput
from b3os.sandbox.pool import INPUT_LIMIT, SandboxPool


@pytest.fixture
async def pool() -> AsyncIterator[SandboxPool]:
    pool = SandboxPool(2)
    yield pool
    await pool.close()


async def run(pool: SandboxPool, code: str, input_text: bytes = b'{"a": 1}', *, org: str = "o", ms: int = 300) -> Any:
    return await pool.run(org, code, input_text, timeout_ms=ms)


def body(text: str) -> str:
    return f"function transform(input) {{ {text} }}"


@pytest.mark.parametrize(
    ("code", "output"),
    [
        (body("return {...input, b: [...'ab'].map(c => c.toUpperCase())}"), {"a": 1, "b": ["A", "B"]}),
        ("const transform = ({a}) => `${a + 1}`", "2"),
        ("async function transform(input) { await null; return input.a ?? 0 }", 1),
        ("class T { static f(i) { return i.a } }\nconst transform = T.f", 1),
        (body("return undefined"), None),
        (body("return [typeof require, typeof process, typeof fetch, typeof std, typeof os, typeof setTimeout]"),
         ["undefined"] * 6),
        (body("return new Function('return 6 * 7')()"), 42),
        ("JSON.stringify = () => 'x'; JSON.parse = null; Promise.resolve = null;" + body("return input"), {"a": 1}),
        ("Object.prototype.toJSON = function () { return 'mine' };" + body("return input"), "mine"),
        ("Object.prototype.polluted = 1;" + body("return ({}).polluted"), 1),
        (body("return Object.getOwnPropertyNames(globalThis).filter(n => n.startsWith('b3os'))"), []),
    ],
)  # fmt: skip
async def test_output(pool: SandboxPool, code: str, output: Any) -> None:
    assert await run(pool, code) == output


@pytest.mark.parametrize(
    ("code", "number", "words"),
    [
        ("function transform(input) {\n  const x = 1;\n  return y.z;\n}", 400367,
         "(line 3): ReferenceError: y is not defined"),
        ("\nlet a = ;", 400367, "(line 2): SyntaxError"),
        ("1", 400367, "transform is not defined"),
        ("const transform = 5", 400367, "transform is not a function"),
        (body("return 2n"), 400367, "BigInt"),
        (body("const o = {}; o.o = o; return o"), 400367, "circular"),
        (body("return '\\ud800'"), 400367, "no JSON"),
        (body("throw 'text'"), 400367, "text"),
        (body("throw new Error('x'.repeat(1e6))"), 400367, "Error: xxx"),
        (body("return new Promise(() => {})"), 400367, "never settles"),
        ("async function transform() {\n throw new Error('later') }", 400367, "(line 2): Error: later"),
        (body("while (true) {}"), 400368, "the time is up"),
        ("while (true) {}", 400368, "the time is up"),
        (body("for (;;) { try { for (;;) {} } catch (e) {} }"), 400368, "the time is up"),
        ("async function transform() { for (;;) await null }", 400368, "the time is up"),
        (body("return /(a+)+$/.test('a'.repeat(40) + 'b')"), 400368, "the time is up"),
        (body("const a = []; for (;;) a.push(new Array(1000).fill(1))"), 400368, "memory"),
        (body("let s = 'x'; for (;;) s += s"), 400368, "memory"),
        (body("return new Uint8Array(1e9)"), 400368, "memory"),
        (body("return 'x'.repeat(9e6)"), 400368, "larger than"),
        (body("const f = () => f() + 1; return f()"), 400368, "call stack"),
        (body("let o = {}, c = o; for (let i = 0; i < 1e5; i++) c = c.a = {}; return o"), 400368, "call stack"),
        (body("throw null"), 400368, "null was thrown"),
    ],
)  # fmt: skip
async def test_an_attack_is_named_and_the_next_call_works(
    pool: SandboxPool, code: str, number: int, words: str
) -> None:
    began = time.monotonic()
    with pytest.raises(BadInput) as caught:
        await run(pool, code, ms=300 if "time" in words else 9000)
    assert (caught.value.code, words in caught.value.message) == (number, True), caught.value.message
    assert len(caught.value.message) < 3000
    assert time.monotonic() - began < 20
    assert await run(pool, body("return input.a"), ms=5000) == 1


async def test_contexts_share_nothing(pool: SandboxPool) -> None:
    await run(pool, "globalThis.left = 1; Array.prototype.map = null;" + body("return 1"))
    assert await run(pool, body("return [typeof left, [1].map(x => x + 1)]")) == ["undefined", [2]]


def processes(pool: SandboxPool) -> list[int]:
    return [child.process.pid for child in (*pool._idle, *pool._busy)]


async def test_one_organization_to_a_process(pool: SandboxPool) -> None:
    await run(pool, body("return 1"), org="a")
    (first,) = processes(pool)
    await run(pool, body("return 1"), org="a")
    assert processes(pool) == [first]
    await run(pool, body("return 1"), org="b")
    await run(pool, body("return 1"), org="c")
    assert first not in processes(pool)
    assert len(processes(pool)) == 2


async def test_a_killed_process_is_a_named_error_and_is_replaced(pool: SandboxPool) -> None:
    await run(pool, body("return 1"))
    (pid,) = processes(pool)
    call = asyncio.create_task(run(pool, body("while (true) {}"), ms=10_000))
    while not pool._busy:
        await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(BadInput, match="the process died"):
        await call
    assert await run(pool, body("return 2"), ms=5000) == 2


async def test_a_process_that_does_not_stop_is_killed_on_the_wall_clock(pool: SandboxPool) -> None:
    await run(pool, body("return 1"))
    (pid,) = processes(pool)
    os.kill(pid, signal.SIGSTOP)  # whatever the limits inside are worth
    with pytest.raises(BadInput, match="the process was killed"):
        await run(pool, body("return 1"), ms=50)
    assert pid not in processes(pool)


async def test_a_cancelled_call_leaves_no_process_at_work(pool: SandboxPool) -> None:
    call = asyncio.create_task(run(pool, body("while (true) {}"), ms=10_000))
    while not pool._busy:
        await asyncio.sleep(0.001)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert processes(pool) == []


async def test_the_child_has_an_empty_environment_three_descriptors_and_a_filter(pool: SandboxPool) -> None:
    os.environ["B3OS_CANARY"] = "secret"
    await run(pool, body("return 1"))
    (pid,) = processes(pool)
    process = Path(f"/proc/{pid}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    assert (status["Seccomp"].strip(), status["NoNewPrivs"].strip()) == ("2", "1")
    if os.getuid() != 0:  # not even its own user may look into it
        with pytest.raises(PermissionError):
            (process / "environ").read_bytes()
        return
    assert (process / "environ").read_bytes() == b""
    assert sorted(path.name for path in (process / "fd").iterdir()) == ["0", "1", "2"]


CONFINED = """
import os, socket, subprocess, sys, threading
from b3os.sandbox.confine import confine
confine()
def tried(act):
    try:
        act()
    except (OSError, RuntimeError, MemoryError) as error:
        return type(error).__name__
    return "done"
acts = (lambda: open("/etc/passwd"), lambda: socket.socket(), os.fork, lambda: os.execv("/bin/true", ["true"]),
        lambda: threading.Thread(target=print).start(), lambda: os.kill(os.getppid(), 0), lambda: bytearray(1 << 30),
        lambda: os.mkdir("/tmp/b3os-sandbox"), lambda: os.ptrace if hasattr(os, "ptrace") else os.stat("/etc/shadow"))
sys.stdout.write(" ".join(tried(act) for act in acts))
"""


def test_a_confined_process_can_reach_nothing() -> None:
    done = subprocess.run([sys.executable, "-I", "-c", CONFINED], capture_output=True, text=True, check=True, env={})
    assert "done" not in done.stdout.split(), done.stdout
    assert len(done.stdout.split()) == 9


async def test_calls_beyond_the_pool_wait_their_turn(pool: SandboxPool) -> None:
    code = body("return input.n")
    answers = await asyncio.gather(*(run(pool, code, b'{"n": %d}' % n, ms=5000) for n in range(20)))
    assert answers == list(range(20))
    assert len(processes(pool)) <= 2


async def test_an_input_that_is_too_large_is_named(pool: SandboxPool) -> None:
    with pytest.raises(BadInput, match="`input` is larger"):
        await run(pool, body("return 1"), b'"' + b"x" * INPUT_LIMIT + b'"')
