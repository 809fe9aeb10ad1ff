"""A B3OS whose every connection can be cut: processes of our own on a database of the test's own, a proxy on each link.

`plant(...)` starts the API and the actions process; a test starts the workers and masters that it will hurt. Proxies,
ledger and the checker's own connection live on one thread with a loop, so that tests read plainly.
"""

import asyncio
import base64
import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import asyncpg
import redis

from tests.faults.ledger import Ledger
from tests.faults.proxy import Proxy
from tests.system.house import Client, free_port, until

T = TypeVar("T")
READY_LIMIT_S = 60.0
SOCKET = ".s.PGSQL.5432"


class Process:
    """One process of B3OS, with a proxy on each of its links: `postgres`, `ops`, `data`, `actions`."""

    def __init__(self, name: str, environ: dict[str, str], links: dict[str, Proxy], log: Path) -> None:
        self.name = name
        self.links = links
        self.log = log
        ours, theirs = os.pipe()
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"services.{name}"],
                env={**os.environ, **environ, "B3OS_READY_FD": str(theirs)},
                pass_fds=(theirs,), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        os.close(theirs)
        self._ready = ours
        self.pid = self._process.pid

    def await_ready(self) -> "Process":
        """Wait for the ready line."""
        if self._ready >= 0:
            heard = select.select([self._ready], [], [], READY_LIMIT_S)[0] and os.read(self._ready, 16)
            os.close(self._ready)
            self._ready = -1
            assert heard == b"ready\n", f"{self.name} is not ready: {self.log.read_text()[-3000:]}"
        return self

    def signal(self, number: int) -> None:
        """Send a signal; nothing if the process is gone."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """`kill -9`."""
        self._process.kill()

    def ended(self, limit_s: float = 30.0) -> int:
        """Wait for the end; returns the exit code."""
        return self._process.wait(limit_s)

    def close(self) -> None:
        """Leave nothing behind."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
        self._process.wait()
        if self._ready >= 0:
            os.close(self._ready)


class Plant(Client):
    """The processes of one test, its ledger, and a view of its database that no fault touches."""

    def __init__(self, folder: Path, pg_url: str, ops_url: str, data_url: str, **environ: str) -> None:
        super().__init__(free_port())
        self._folder = folder
        self.servers = {
            "postgres": Path(parse_qs(urlsplit(pg_url).query)["host"][0]) / SOCKET,
            "ops": Path(urlsplit(ops_url).path),
            "data": Path(urlsplit(data_url).path),
        }
        self._pg_url = pg_url
        self._actions_port = free_port()
        self._environ = {
            "B3OS_INTERNAL_KEY": "only-for-this-test", "B3OS_MASTER_KEY": base64.b64encode(bytes(32)).decode(),
            "B3OS_KEYSTORE_PASSWORD": "only-for-this-test", "B3OS_KEYSTORE_DIR": str(folder / "keystore"),
            "B3OS_PORT": str(self.port), "B3OS_ACTIONS_PORT": str(self._actions_port), **environ,
        }  # fmt: skip
        self.processes: list[Process] = []
        self.redis = redis.Redis.from_url(ops_url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.ledger = self.wait(self._open())

    def wait(self, work: Coroutine[Any, Any, T], limit_s: float = 120.0) -> T:
        """Run a coroutine on the plant's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(limit_s)

    def ask(self, sql: str, *args: object) -> list[Any]:
        """Read (or spoil) the database, beside every proxy."""
        return self.wait(self._db.fetch(sql, *args))

    def start(self, name: str, **environ: str) -> Process:
        """Start one process; it says when it is ready."""
        return self.begin(name, **environ).await_ready()

    def begin(self, name: str, **environ: str) -> Process:
        """Start one process and do not wait for it."""
        links = self.wait(self._link())
        folder = self._links_folder(len(self.processes))
        port = links["actions"]._listen
        given = {
            "DATABASE_URL": f"{self._pg_url.split('?')[0]}?host={folder}", "REDIS_OPS_URL": f"unix://{folder}/ops",
            "REDIS_DATA_URL": f"unix://{folder}/data", "B3OS_ACTIONS_URL": f"http://127.0.0.1:{port}",
            "B3OS_EGRESS_ALLOW": self.ledger.url.split("/")[2],
        }  # fmt: skip
        log = self._folder / f"{name}-{len(self.processes)}.log"
        process = Process(name, {**self._environ, **given, **environ}, links, log)
        self.processes.append(process)
        return process

    def pause(self, seconds: float) -> None:
        """Let a fault last; the time that it takes is the fault itself."""
        self.wait(asyncio.sleep(seconds))

    def owner_of(self, worker: Process) -> str:
        """Return the name under which a worker holds its runs; its entry among the queue's servers has it."""

        def read() -> Any:
            entries = [entry.decode() for entry in self.redis.zrange("asynq:servers", 0, -1)]
            return next((e.split(":")[-1].rstrip("}") for e in entries if f":{worker.pid}:" in e), None)

        return str(until(read, what="the worker among the servers"))

    def close(self) -> None:
        """Kill everything and leave nothing."""
        for process in self.processes:
            process.close()
        self.wait(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.redis.close()

    def _links_folder(self, number: int) -> Path:
        return self._folder / str(number)

    async def _open(self) -> Ledger:
        self._db = await asyncpg.create_pool(self._pg_url, min_size=1, max_size=2)
        ledger = Ledger(self._folder / "ledger.jsonl")
        await ledger.start()
        return ledger

    async def _link(self) -> dict[str, Proxy]:
        folder = self._links_folder(len(self.processes))
        folder.mkdir()
        links = {
            "postgres": Proxy(folder / SOCKET, self.servers["postgres"]),
            "ops": Proxy(folder / "ops", self.servers["ops"]),
            "data": Proxy(folder / "data", self.servers["data"]),
            "actions": Proxy(free_port(), self._actions_port),
        }
        for proxy in links.values():
            await proxy.start()
        return links

    async def _shut(self) -> None:
        for process in self.processes:
            for proxy in process.links.values():
                await proxy.stop()
        await self.ledger.stop()
        await self._db.close()


@contextlib.contextmanager
def planted(folder: Path, pg_url: str, ops_url: str, data_url: str, *names: str, **environ: str) -> Iterator[Plant]:
    """Start an API, an actions process and what `names` says; stop it all."""
    plant = Plant(folder, pg_url, ops_url, data_url, **environ)
    try:
        for process in [plant.begin(name) for name in ("api", "actions", *names)]:
            process.await_ready()
        plant.bootstrap()
        yield plant
    finally:
        plant.close()
