"""A whole installation: how soon it is ready, and what its idle processes hold."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import msgspec

from b3os.embedded.supervisor import free_port
from bench.report import Gate

PROCESSES = ("api", "master", "worker", "actions", "watchdog")


class Installation(msgspec.Struct, frozen=True):
    """Seconds until ready, and resident MB by process."""

    starts: list[float]
    resident: dict[str, float]


@cache
def measured() -> Installation:
    """Start B3OS twice in one folder; the first start includes initdb."""
    starts: list[float] = []
    resident: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="b3b") as folder:
        for _ in range(2):
            began = time.monotonic()
            up = subprocess.Popen(
                [sys.executable, "-m", "b3os.cli", "up", "--json", "--port", str(free_port()), "--data-dir", folder],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert up.stdout is not None
            assert "ready" in json.loads(up.stdout.readline())
            starts.append(time.monotonic() - began)
            resident = memory(up.pid)
            up.send_signal(signal.SIGTERM)
            up.wait()
            up.stdout.close()
    return Installation(starts, resident)


def memory(parent: int) -> dict[str, float]:
    """Return the resident MB of each process of ours."""
    found = {}
    for task in Path(f"/proc/{parent}/task").iterdir():
        for pid in (task / "children").read_text().split():
            command = Path(f"/proc/{pid}/cmdline").read_text()
            if "services." not in command:
                continue
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            size = next(int(line.split()[1]) for line in lines if "VmRSS" in line)
            found[command.split("services.")[1].strip("\0")] = size / 1024
    return found


def _start(number: int) -> float:
    return measured().starts[number]


def _resident(process: str) -> float:
    return measured().resident[process]


GATES = (
    Gate(name="first start", unit="s", bar=5, measure=lambda: _start(0), reason="`make up` feels slow"),
    Gate(name="second start", unit="s", bar=5, measure=lambda: _start(1), reason="`make up` feels slow"),
    *(
        Gate(
            name=f"idle {process}", unit="MB", bar=100, measure=lambda name=process: _resident(name),
            reason="a small machine cannot hold the five processes",
        )
        for process in PROCESSES
    ),
)  # fmt: skip
