"""A whole B3OS started by `b3os up` in a folder of its own, and a small HTTP client for it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

READY_LIMIT_S = 60.0


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(read: Callable[[], Any], limit_s: float = 30.0, what: str = "") -> Any:
    """Ask `read` until it answers something true; a failure names what was awaited."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = read()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {limit_s} s: {what or read}")


class Client:
    """Calls a running B3OS with the key of its bootstrapped organization."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.key = ""
        self.org_id = ""

    def bootstrap(self) -> None:
        """Make the organization and keep its key."""
        answer = self.call("POST", "/v1/bootstrap")
        self.key, self.org_id = answer["data"]["apiKey"], answer["data"]["orgId"]

    def raw(self, method: str, path: str, body: bytes | None) -> tuple[int, Any]:
        """One call as it is; returns status and answer."""
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.key}"}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def call(self, method: str, path: str, body: Any = None, more: dict[str, str] | None = None) -> Any:
        """One JSON call; raises AssertionError with the answer on an error status."""
        headers = {"content-type": "application/json", **(more or {})}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()[:800]}") from error

    def publish(self, name: str, definition: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Create and publish a workflow; returns it."""
        made = self.call("POST", "/v1/workflows", {"name": name, "definition": definition, **more})["data"]
        self.call("POST", f"/v1/workflows/{made['id']}/publish")
        return dict(self.call("GET", f"/v1/workflows/{made['id']}")["data"])

    def runs(self, workflow_id: str, offset: int = 0) -> list[dict[str, Any]]:
        """Up to 100 runs of a workflow, newest first."""
        return list(self.call("GET", f"/v1/runs?workflowId={workflow_id}&limit=100&offset={offset}")["data"]["items"])

    def finished_run(self, run_id: str) -> dict[str, Any]:
        """Wait for the end of a run and return it."""

        def read() -> Any:
            with contextlib.suppress(AssertionError):
                run = self.call("GET", f"/v1/runs/{run_id}")["data"]
                return run if run["status"] not in ("running", "waiting") else None
            return None

        return dict(until(read, what=f"end of {run_id}"))

    def follow(self, run_id: str) -> list[dict[str, Any]]:
        """Read the whole stream of a run; the server ends it after the terminal event."""
        request = urllib.request.Request(
            f"{self.url}/v1/runs/{run_id}/stream", headers={"authorization": f"Bearer {self.key}"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            lines = response.read().decode().split("\n")
        return [json.loads(line[5:]) for line in lines if line.startswith("data:")]


class House(Client):
    """A running B3OS, started by `b3os up`."""

    def __init__(self, data_dir: Path, *options: str, **environ: str) -> None:
        super().__init__(free_port())
        self.log = data_dir.parent / "up.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "b3os.cli",
                    "up",
                    "--port",
                    str(self.port),
                    "--data-dir",
                    str(data_dir),
                    *options,
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **environ},
                text=True,
            )
        self.metrics_port = 0

    def await_ready(self) -> None:
        """Read stdout up to the ready line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("ready "):
                return
        raise AssertionError(f"b3os up ended with {self.process.wait()}: {self.log.read_text()[-4000:]}")

    def children(self) -> list[int]:
        """Process ids of everything that the supervisor started, directly or not."""
        found, todo = [], [self.process.pid]
        while todo:
            path = Path(f"/proc/{todo.pop()}/task")
            for task in path.iterdir() if path.exists() else ():
                more = [int(pid) for pid in (task / "children").read_text().split()]
                found += more
                todo += more
        return found

    def _close(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()

    def copies(self, name: str) -> list[int]:
        """Process ids of all copies of the service `name`."""
        found = []
        for pid in self.children():
            with contextlib.suppress(OSError):
                if f"services.{name}" in Path(f"/proc/{pid}/cmdline").read_text():
                    found.append(pid)
        return found

    def child(self, name: str) -> int:
        """Process id of the service `name`."""
        found = self.copies(name)
        assert found, f"no process services.{name}"
        return found[0]

    def stop(self, signal_number: int = signal.SIGTERM) -> float:
        """Stop and return the seconds it took; every process is gone afterwards."""
        before = self.children()
        began = time.monotonic()
        self.process.send_signal(signal_number)
        self.process.wait(30)
        self._close()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before), 10, "every child gone")
        return time.monotonic() - began


@contextlib.contextmanager
def house(data_dir: Path, *options: str, **environ: str) -> Iterator[House]:
    """Start a B3OS, bootstrap it, stop it."""
    running = House(data_dir, *options, **environ)
    try:
        running.await_ready()
        running.bootstrap()
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()
        running._close()
