"""The quickstart of the README, typed in as it is written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from b3os.embedded.supervisor import free_port
from demo import chain as demo
from tests.system.house import house

ROOT = Path(__file__).parents[2]


def quickstart() -> list[tuple[str, str]]:
    """The commands, each with the output that the README shows for it; a here-document belongs to its command."""
    text = (ROOT / "README.md").read_text()
    text = text[text.index("## Quickstart") : text.index("Any EVM chain joins")]
    found: list[tuple[str, str]] = []
    is_open = False
    for line in text.splitlines():
        if line.startswith("    $ "):
            found.append((line[6:], ""))
            is_open = "<<'END'" in line
        elif is_open:
            command, shown = found.pop()
            found.append((f"{command}\n{line.strip()}", shown))
            is_open = line.strip() != "END"
        elif line.startswith("    ") and found:
            command, shown = found.pop()
            found.append((command, f"{shown}{line.strip()}\n"))
        elif line.startswith("`make demo-chain`"):
            found.append(("true", ""))  # what follows is the demo chain's own output
    return found


def pattern(shown: str) -> str:
    """Turn shown output into a pattern: … is anything, an id is any id of its kind, a hash any hash."""
    made = re.escape(shown.strip()).replace("…", r"[\s\S]*")
    return re.sub(r"run_[0-9a-v]{20}", "run_[0-9a-v]{20}", made)


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="the quickstart is typed into bash")
def test_every_line_of_the_quickstart_does_what_it_shows(tmp_path: Path) -> None:
    port = free_port()
    chain = demo.start(port)
    try:
        assert demo.deploy(f"http://127.0.0.1:{port}") in (ROOT / "README.md").read_text()
        chains = f'[{{"id":31337,"name":"Anvil","rpcUrls":["http://127.0.0.1:{port}"],"blockTimeMs":500}}]'
        with house(tmp_path / "data", B3OS_CHAINS=chains) as running:
            steps = quickstart()
            assert len(steps) > 20
            script = "set -eo pipefail\n" + "".join(f"{command}\necho '--next--'\n" for command, _ in steps)
            script = script.replace("http://127.0.0.1:8080", running.url).replace(".venv/bin/python", sys.executable)
            typed = subprocess.run(
                ["/bin/bash", "-c", script],
                cwd=tmp_path,
                env={**os.environ, "DEMO_CHAIN_PORT": str(port), "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=100,
            )
            printed = typed.stdout.split("--next--\n")
            assert typed.returncode == 0, typed.stdout[-2000:] + typed.stderr[-2000:]
            for (command, shown), output in zip(steps, printed, strict=False):
                if command != "true":
                    assert re.search(pattern(shown), re.sub("\n+", "\n", output)), (
                        f"{command}\nprinted\n{output}\ninstead of\n{shown}"
                    )
    finally:
        chain.terminate()
        chain.wait()
