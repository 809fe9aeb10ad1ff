"""The processes of the peers: each in a group of its own, so that whatever it starts ends with it."""

import contextlib
import os
import select
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from b3os.embedded.nursery import end_with_parent

START_LIMIT_S = 120.0
ROUND_LIMIT_S = 120.0
STOP_LIMIT_S = 5.0
LOOK_S = 0.05


class PeerFailed(RuntimeError):
    """A peer did not start or did not answer: not a ratio that is too low, nothing was measured."""


class Child:
    """A process of a peer; what it says is in `folder`/`name`.log."""

    def __init__(
        self, name: str, command: Sequence[str | Path], folder: Path, *,
        environ: Mapping[str, str] | None = None, is_asked: bool = False,
    ) -> None:  # fmt: skip
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, bufsize=0, stdin=subprocess.PIPE if is_asked else subprocess.DEVNULL,
                stdout=subprocess.PIPE if is_asked else log, stderr=log, cwd=folder,
                env={**os.environ, **(environ or {})}, start_new_session=True, preexec_fn=end_with_parent,
            )  # fmt: skip

    def await_answer(self, url: str, body: bytes | None = None) -> None:
        """Wait until an address of the process answers well."""
        limit = time.monotonic() + START_LIMIT_S
        while self._process.poll() is None and time.monotonic() < limit:
            with contextlib.suppress(OSError):
                request = urllib.request.Request(url, body, {"content-type": "application/json"})
                with urllib.request.urlopen(request, timeout=START_LIMIT_S):
                    return
            time.sleep(LOOK_S)
        raise self._failed("did not start")

    def await_end(self) -> None:
        """Wait until a command is done."""
        if self._process.wait(START_LIMIT_S):
            raise self._failed("failed")

    def await_ready(self) -> None:
        """Wait until a process that is asked says `ready`."""
        if self._line(START_LIMIT_S) != b"ready":
            raise self._failed("did not start")

    def ask(self, **asked: Any) -> float:
        """Ask for a round; returns its seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(asked) + b"\n")
        line = self._line(ROUND_LIMIT_S)
        try:
            return msgspec.json.decode(line, type=float)
        except msgspec.DecodeError:
            raise self._failed(f"answered {line!r}") from None

    def pause(self) -> None:
        """Let the group stand still, so that a peer that polls takes nothing from the others."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let the group go on."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End the group, at the latest by force."""
        for number in (signal.SIGCONT, signal.SIGTERM):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_LIMIT_S)
        # Those that the first process left behind, too.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _line(self, limit_s: float) -> bytes:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], limit_s)[0]:
            raise self._failed(f"said nothing for {limit_s:.0f} s")
        return self._process.stdout.readline().strip()

    def _failed(self, how: str) -> PeerFailed:
        said = self.log.read_text(errors="replace").strip().splitlines()[-20:]
        return PeerFailed("\n".join([f"{self.name} {how}; it said last:", *said]))
