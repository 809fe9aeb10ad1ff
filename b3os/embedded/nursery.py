"""Processes that begin as copies of this one: their modules are loaded once, while the servers start, not five times.

A copy is what `python -m services.NAME` is, and is called so: own session, own signals, own environment, none of our
pipes. Nothing may have started a thread or an event loop before. One that has died is started the long way.
"""

import contextlib
import ctypes
import importlib
import os
import random
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import setproctitle

_PR_SET_PDEATHSIG = 1
#: How often a copy is looked at while somebody waits for its end.
LOOK_S = 0.01


def load(modules: Iterable[str]) -> None:
    """Load what copies will need."""
    for name in modules:
        importlib.import_module(name)


def end_with_parent() -> None:
    """Let the kernel send this process SIGTERM when its parent dies (Linux)."""
    with contextlib.suppress(OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


class Copy:
    """A running copy; it is used as a subprocess.Popen is."""

    def __init__(self, module: str, environ: Mapping[str, str], keep: Iterable[int]) -> None:
        self.returncode: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _live(module, environ, frozenset(keep), parent)

    def poll(self) -> int | None:
        """Return how it ended (minus the signal that ended it), or None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raises subprocess.TimeoutExpired."""
        limit = float("inf") if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > limit:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(LOOK_S)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def _live(module: str, environ: Mapping[str, str], keep: frozenset[int], parent: int) -> None:
    """Be the process; never returns."""
    code = 1
    try:
        _part_from(parent, keep)
        # Before the environment is changed: the title is written where the command line was, and that is found by it.
        setproctitle.setproctitle(f"{sys.executable} -m {module}")
        os.environ.clear()
        os.environ.update(environ)
        sys.argv = [module]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _part_from(parent: int, keep: frozenset[int]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    end_with_parent()
    if os.getppid() != parent:  # it died before its death could reach us
        os._exit(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for fd in [int(found.name) for found in Path("/proc/self/fd").iterdir()]:
        if fd > 2 and fd not in keep:
            with contextlib.suppress(OSError):
                os.close(fd)
    random.seed()
