"""A whole installation: `b3os up` in a folder of its own, its API, its database, what its processes use."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from b3os.embedded.supervisor import free_port
from bench.load import Fired, Load, send, webhook

TICKS_S = os.sysconf("SC_CLK_TCK")
WAIT_S = 60.0
QUIET = {"B3OS_LOG_LEVEL": "error"}


class Running:
    """One installation that is up."""

    def __init__(self, folder: str, *arguments: str, **environ: str) -> None:
        self.folder = folder
        self.database_url = f"postgresql://b3os@/postgres?host={folder}"
        self.port = free_port()
        began = time.monotonic()
        command = [sys.executable, "-m", "b3os.cli", "up", "--json", "--port", str(self.port), "--data-dir", folder]
        self._up = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, text=True, env={**os.environ, **QUIET, **environ}
        )
        assert self._up.stdout is not None
        try:
            if "ready" not in self._up.stdout.readline():
                raise RuntimeError("the installation did not start: the lines above say why")
        except BaseException:
            self.stop()
            raise
        #: Seconds until every process was ready.
        self.start_s = time.monotonic() - began
        #: The API key of the organization that `publish` made.
        self.key = ""

    def stop(self) -> None:
        """Stop everything."""
        self._up.send_signal(signal.SIGTERM)
        self._up.wait()
        assert self._up.stdout is not None
        self._up.stdout.close()

    def call(self, path: str, body: dict[str, Any]) -> Any:
        """POST to the API; returns the answer's data."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", msgspec.json.encode(body))
        request.add_header("content-type", "application/json")
        request.add_header("authorization", f"Bearer {self.key}")
        with urllib.request.urlopen(request) as answer:
            return msgspec.json.decode(answer.read())["data"]

    def publish(self, nodes: dict[str, Any]) -> str:
        """Publish a workflow of an organization of its own; returns the secret of its webhook."""
        self.key = self.key or self.call("/v1/bootstrap", {})["apiKey"]
        workflow = self.call("/v1/workflows", {"name": "bench", "definition": {"nodes": nodes}})
        secret: str = self.call(f"/v1/workflows/{workflow['id']}/publish", {})["triggerSecret"]
        return secret

    def fire(self, secret: str, count: int, *, connections: int = 1, rate: float = 0.0, follow: bool = False) -> Fired:
        """Fire webhooks from another process."""
        ops = f"{self.folder}/ops.sock" if follow else ""
        path = webhook(secret)
        return send(Load(port=self.port, path=path, count=count, connections=connections, rate=rate, ops=ops))

    def fire_and_hear(self, secret: str, count: int, *, connections: int) -> Fired:
        """Fire webhooks from another process; each counts until the API has told that its run has ended."""
        return send(Load(port=self.port, path=webhook(secret), count=count, connections=connections, key=self.key))

    def ask(self, query: str, *values: Any) -> list[Any]:
        """Read rows of the database."""
        return asyncio.run(self._on_database(lambda db: db.fetch(query, *values)))

    def tell(self, *statements: str) -> None:
        """Change the database, each statement by itself."""
        for statement in statements:
            asyncio.run(self._on_database(partial(execute, statement=statement)))

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[Any]:
        """A connection to the database."""
        db = await asyncpg.connect(self.database_url)
        try:
            yield db
        finally:
            await db.close()

    async def _on_database(self, act: Callable[[Any], Awaitable[Any]]) -> Any:
        async with self.database() as db:
            return await act(db)

    def settle(self) -> None:
        """Wait until every run has ended."""
        limit = time.monotonic() + WAIT_S
        while self.ask("select 1 from runs where status = 'running' limit 1"):
            if time.monotonic() > limit:
                raise RuntimeError("runs did not end")
            time.sleep(0.1)

    def kill(self, name: str) -> None:
        """Kill the process of a name as a machine that dies does."""
        os.kill(self.pid_of(name), signal.SIGKILL)

    def pid_of(self, name: str) -> int:
        """Return the process id of a name."""
        return next(pid for pid, found in self.processes().items() if found == name)

    def processes(self) -> dict[int, str]:
        """Return what runs below `b3os up`: worker, api, postgres and so on, by process id."""
        found: dict[int, str] = {}
        todo = [self._up.pid]
        while todo:
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{todo.pop()}/task").iterdir():
                    for pid in map(int, (task / "children").read_text().split()):
                        todo.append(pid)
                        found[pid] = name_of(Path(f"/proc/{pid}/cmdline").read_text())
        return found

    def resident_mb(self) -> dict[str, float]:
        """Return the resident memory of each kind of process of ours."""
        found: dict[str, float] = {}
        for pid, name in self.processes().items():
            with contextlib.suppress(OSError, StopIteration):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                found[name] = next(int(line.split()[1]) for line in lines if "VmRSS" in line) / 1024
        return found

    def cpu(self) -> dict[str, float]:
        """Return the CPU seconds that each kind of process has used."""
        used: dict[str, float] = {}
        for pid, name in self.processes().items():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                used[name] = used.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / TICKS_S
        return used


def name_of(command: str) -> str:
    """Name a process after its command line."""
    if "services." in command:
        return command.split("services.")[1].strip("\0")
    return "postgres" if "postgres" in command else "valkey" if "valkey" in command else "other"


async def execute(db: Any, statement: str) -> Any:
    """Run one statement."""
    return await db.execute(statement)


@contextlib.contextmanager
def up_in(folder: str, *arguments: str, **environ: str) -> Iterator[Running]:
    """An installation over the data of a folder; `arguments` are those of `b3os up`."""
    up = Running(folder, *arguments, **environ)
    try:
        yield up
    finally:
        up.stop()


@contextlib.contextmanager
def running(**environ: str) -> Iterator[Running]:
    """A new installation whose database notes when each transaction was committed, as it does from its second start."""
    with tempfile.TemporaryDirectory(prefix="b3e") as folder:
        with up_in(folder) as first:
            first.tell("alter system set track_commit_timestamp = on")
        with up_in(folder, **environ) as up:
            yield up
