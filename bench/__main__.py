"""`make bench`: start time and idle memory of a whole installation, and every core against its bar."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from b3os._speedups.expression import compile_template
from b3os.embedded.supervisor import free_port
from bench import index
from bench.report import gate, medians, report
from tests.reference.expression import walk

READY_BAR_S = 5.0
MEMORY_BAR_MB = 100.0
#: Compiled whole-payload rendering over walking the same paths in plain Python.
EXPRESSION_BAR = 1.5


def installation() -> bool:
    """Start B3OS twice in one folder; the first start includes initdb."""
    good = True
    with tempfile.TemporaryDirectory(prefix="b3b") as folder:
        for name in ("first start", "second start"):
            began = time.monotonic()
            up = subprocess.Popen(
                [sys.executable, "-m", "b3os.cli", "up", "--json", "--port", str(free_port()), "--data-dir", folder],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert up.stdout is not None
            assert "ready" in json.loads(up.stdout.readline())
            took = time.monotonic() - began
            good &= report(f"{name}, s", took, f"<= {READY_BAR_S}", is_good=took <= READY_BAR_S)
            if name == "second start":
                good &= memory(up.pid)
            up.send_signal(signal.SIGTERM)
            up.wait()
            up.stdout.close()
    return good


def memory(parent: int) -> bool:
    """Print the resident memory of each process of ours."""
    good = True
    for task in Path(f"/proc/{parent}/task").iterdir():
        for pid in (task / "children").read_text().split():
            command = Path(f"/proc/{pid}/cmdline").read_text()
            if "services." not in command:
                continue
            resident = next(
                int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line
            )
            name, size = command.split("services.")[1].strip("\0"), resident / 1024
            good &= report(f"idle {name}, MB", size, f"<= {MEMORY_BAR_MB:.0f}", is_good=size <= MEMORY_BAR_MB)
    return good


def expressions() -> bool:
    """Compare rendering a payload of 20 references with the reference model, rounds interleaved."""
    scope: dict[str, Any] = {f"n{i}": {"result": {"rows": [{"field": i}]}} for i in range(20)}
    paths = [[f"n{i}", "result", "rows", "0", "field"] for i in range(20)]
    template = compile_template({path[0]: "{{" + ".".join(path) + "}}" for path in paths})

    def ours() -> None:
        for _ in range(2000):
            template.render(scope)

    def plain() -> None:
        for _ in range(2000):
            {path[0]: walk(path, scope) for path in paths}

    def ratio() -> float:
        fast, slow = medians(15, ours, plain)
        return slow / fast

    return gate("expressions, times the reference", EXPRESSION_BAR, ratio, at_least=True)


if __name__ == "__main__":
    results = [installation(), expressions(), index.run()]
    sys.exit(0 if all(results) else 1)
