"""The parent of the JavaScript processes: a few children, started when needed, killed on the wall clock.

A child serves one organization at a time: before it would serve another it is replaced, so that not even a fault of
the engine carries anything across. It gets an empty environment, two pipes and no other descriptor.
"""

import asyncio
import contextlib
import sys
from typing import Any

import msgspec

from b3os.errors import ActionFailed, BadInput

#: Children of one worker; each is about 20 MB.
SIZE = 4
#: A child that was idle for so long is ended.
IDLE_S = 60.0
#: Calls wait so long for a child.
QUEUE_S = 60.0
#: Time for frames and for QuickJS's own limit to answer by name, before the child is killed.
GRACE_S = 0.5
START_S = 10.0
INPUT_LIMIT, ANSWER_LIMIT = 8 << 20, 64 << 20


class Answer(msgspec.Struct, frozen=True):
    """What a child answers: `output` as JSON text, or what went wrong."""

    output: str | None = None
    kind: str = ""
    message: str = ""
    line: int | None = None


class _Child:
    """One process and whom it serves."""

    def __init__(self, process: asyncio.subprocess.Process, org_id: str) -> None:
        self.process = process
        self.org_id = org_id
        self.ends: asyncio.TimerHandle | None = None

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None

    async def ask(self, frame: bytes) -> Answer:
        """Send a frame and read the answer; raises OSError or EOFError when the process is gone."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(len(frame).to_bytes(4) + frame)
        await stdin.drain()
        size = int.from_bytes(await stdout.readexactly(4))
        if size > ANSWER_LIMIT:
            raise EOFError("a frame of a child that is no longer ours")
        return msgspec.json.decode(await stdout.readexactly(size), type=Answer)

    def kill(self) -> None:
        if self.ends is not None:
            self.ends.cancel()
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()


class SandboxPool:
    """Runs `transform` of user code; nothing is started before the first call."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._slots = asyncio.Semaphore(size)
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()

    async def run(self, org_id: str, code: str, input_text: bytes, *, timeout_ms: int) -> Any:
        """Return what transform(input) returned; raises BadInput naming line or limit, ActionFailed when busy."""
        if len(input_text) > INPUT_LIMIT:
            raise BadInput(f"`input` is larger than {INPUT_LIMIT} bytes: pass less", code=400361)
        timeout_s = timeout_ms / 1000
        frame = msgspec.json.encode({"code": code, "input": input_text.decode(), "timeoutS": timeout_s})
        try:
            await asyncio.wait_for(self._slots.acquire(), QUEUE_S)
        except TimeoutError as error:
            raise ActionFailed("no JavaScript process became free", category="service", retryable=True) from error
        try:
            return _result(await self._ask(org_id, frame, timeout_s + GRACE_S))
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Kill every child, and wait until it is gone."""
        children = [*self._idle, *self._busy]
        for child in children:
            child.kill()
        await asyncio.gather(*(child.process.wait() for child in children))
        self._idle.clear()

    async def _ask(self, org_id: str, frame: bytes, wall_s: float) -> Answer:
        child = await self._take(org_id)
        self._busy.add(child)
        try:
            async with asyncio.timeout(wall_s):
                answer = await child.ask(frame)
        except TimeoutError:
            return Answer(kind="time", message="the time is up, and the process was killed")
        except (OSError, EOFError, msgspec.DecodeError):
            return Answer(kind="memory", message="the process died: most likely it used up its memory")
        else:
            self._keep(child)
            return answer
        finally:
            self._busy.discard(child)
            if child not in self._idle:  # timed out, died or cancelled: what it still does is nobody's
                child.kill()

    async def _take(self, org_id: str) -> _Child:
        """Return an idle child of the organization, or a new one; the oldest idle one of others makes room."""
        self._idle = [child for child in self._idle if child.is_alive]
        for child in reversed(self._idle):
            if child.org_id == org_id:
                self._idle.remove(child)
                assert child.ends is not None, "_keep sets it"
                child.ends.cancel()
                return child
        if len(self._idle) + len(self._busy) >= self._size and self._idle:
            self._end(self._idle[0])
        async with asyncio.timeout(START_S):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-m", "b3os.sandbox.child"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,
            )
        return _Child(process, org_id)

    def _keep(self, child: _Child) -> None:
        self._idle.append(child)
        child.ends = asyncio.get_running_loop().call_later(IDLE_S, self._end, child)

    def _end(self, child: _Child) -> None:
        if child in self._idle:
            self._idle.remove(child)
        child.kill()


def _result(answer: Answer) -> Any:
    if answer.output is not None:
        try:
            return msgspec.json.decode(answer.output.encode(errors="replace"))
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadInput(f"the output is no JSON: {error}", code=400367) from error
    where = f" (line {answer.line})" if answer.line else ""
    if answer.kind == "error":
        raise BadInput(f"JavaScript{where}: {answer.message}", code=400367)
    raise BadInput(f"JavaScript{where}: {answer.message}. Do less, or split the work.", code=400368)
