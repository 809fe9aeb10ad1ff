"""A B3OS whose every connection can be cut: processes of our own on a database of its own, a proxy on each link.

Tests share one: `become` gives each the processes it asks for, none of which was ever hurt, and an empty ledger.
Proxies, ledger and the checker's own connection live on one thread with a loop, so that tests read plainly.
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
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import asyncpg
import redis

from b3os.embedded.servers import Urls
from tests.faults.ledger import Ledger
from tests.faults.proxy import Proxy
from tests.system.house import Client, free_port, until

T = TypeVar("T")
READY_LIMIT_S = 60.0
STOP_LIMIT_S = 15.0
SOCKET = ".s.PGSQL.5432"


class Process:
    """One process of B3OS, with a proxy on each of its links: `postgres`, `ops`, `data`, `actions`."""

    def __init__(self, name: str, environ: dict[str, str], links: dict[str, Proxy], log: Path) -> None:
        self.name = name
        self.links = links
        self._was_signalled = False
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

    @property
    def is_sound(self) -> bool:
        """Whether it lives, was never signalled, and none of its links was touched."""
        touched = self._was_signalled or any(link.was_touched for link in self.links.values())
        return not touched and self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal; nothing if the process is gone."""
        self._was_signalled = True
        self._process.send_signal(number)

    def kill(self) -> None:
        """`kill -9`."""
        self.signal(signal.SIGKILL)

    def ended(self, limit_s: float = 30.0) -> int:
        """Wait for the end; returns the exit code."""
        return self._process.wait(limit_s)

    def close(self) -> None:
        """Leave nothing behind; one that is sound leaves by itself."""
        if self.is_sound:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_LIMIT_S)
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
        self._process.wait()
        if self._ready >= 0:
            os.close(self._ready)


class Plant(Client):
    """An installation, its ledger, and a view of its database that no fault touches."""

    def __init__(self, folder: Path, servers: Urls, template: str) -> None:
        super().__init__(free_port())
        self._folder = folder
        self._admin_url = servers.database_url
        self._database = f"b3os_{folder.name}".lower()
        self._pg_url = servers.database_url.replace("/postgres?", f"/{self._database}?")
        self.servers = {
            "postgres": Path(parse_qs(urlsplit(self._pg_url).query)["host"][0]) / SOCKET,
            "ops": Path(urlsplit(servers.redis_ops_url).path),
            "data": Path(urlsplit(servers.redis_data_url).path),
        }
        self._actions_port = free_port()
        self._environ = {
            "B3OS_INTERNAL_KEY": "only-for-this-test", "B3OS_MASTER_KEY": base64.b64encode(bytes(32)).decode(),
            "B3OS_KEYSTORE_PASSWORD": "only-for-this-test", "B3OS_KEYSTORE_DIR": str(folder / "keystore"),
            "B3OS_PORT": str(self.port), "B3OS_ACTIONS_PORT": str(self._actions_port),
            "B3OS_DATA_DIR": str(folder / "data"),
        }  # fmt: skip
        #: Settings of the present test's processes.
        self._more: dict[str, str] = {}
        self._begun = 0
        self.processes: list[Process] = []
        self.redis = redis.Redis.from_url(servers.redis_ops_url)
        self.redis.flushall()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.ledger = self.wait(self._open(template))

    def become(self, *names: str, **environ: str) -> "Plant":
        """Have the API, the actions process and what `names` says, in this order, with these settings, and no more."""
        kept = {} if environ != self._more else {p.name: p for p in self.processes if p.is_sound}
        for process in self.processes:
            if kept.get(process.name) is not process:
                self._end(process)
        self.processes, self._more = [], environ
        for name in ("api", "actions", *names):
            sound = kept.pop(name, None)
            self.processes.append(sound) if sound else self.begin(name)
        for process in kept.values():
            self._end(process)
        # What dead ones held has lapsed, as it had if a while lay between the tests.
        self.ask("update leases set until = now()")
        self.ask("update organizations set run_window = null")
        for process in self.processes:
            process.await_ready()
        self.ledger.begin_anew()
        if not self.key:
            self.bootstrap()
        return self

    @property
    def is_quiet(self) -> bool:
        """Whether the last test left nothing that could move by itself."""
        sql = """select exists (select 1 from runs where status in ('running', 'waiting'))
            or exists (select 1 from triggers where active and type = 'cronjob') as moves"""
        return not self.ask(sql)[0]["moves"]

    def wait(self, work: Coroutine[Any, Any, T], limit_s: float = 120.0) -> T:
        """Run a coroutine on the plant's loop."""
        return self.spawn(work).result(limit_s)

    def spawn(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begin a coroutine on the plant's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call_soon(self, act: Callable[[], object]) -> None:
        """Call something on the plant's loop."""
        self._loop.call_soon_threadsafe(act)

    def ask(self, sql: str, *args: object) -> list[Any]:
        """Read (or spoil) the database, beside every proxy."""
        return self.wait(self._db.fetch(sql, *args))

    def start(self, name: str, **environ: str) -> Process:
        """Start one process; it says when it is ready."""
        return self.begin(name, **environ).await_ready()

    def begin(self, name: str, **environ: str) -> Process:
        """Start one process and do not wait for it."""
        self._begun += 1
        folder = self._folder / str(self._begun)
        links = self.wait(self._link(folder))
        port = links["actions"]._listen
        given = {
            "DATABASE_URL": f"{self._pg_url.split('?')[0]}?host={folder}", "REDIS_OPS_URL": f"unix://{folder}/ops",
            "REDIS_DATA_URL": f"unix://{folder}/data", "B3OS_ACTIONS_URL": f"http://127.0.0.1:{port}",
            "B3OS_EGRESS_ALLOW": self.ledger.url.split("/")[2],
        }  # fmt: skip
        log = self._folder / f"{name}-{self._begun}.log"
        process = Process(name, {**self._environ, **self._more, **given, **environ}, links, log)
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
            self._end(process)
        self.wait(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.redis.close()

    def _end(self, process: Process) -> None:
        process.close()
        self.wait(self._unlink(process))

    async def _open(self, template: str) -> Ledger:
        await self._administer(f"create database {self._database} template {template}")
        self._db = await asyncpg.create_pool(self._pg_url, min_size=1, max_size=2)
        ledger = Ledger(self._folder / "ledger.jsonl")
        await ledger.start()
        return ledger

    async def _link(self, folder: Path) -> dict[str, Proxy]:
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

    async def _unlink(self, process: Process) -> None:
        for proxy in process.links.values():
            await proxy.stop()

    async def _shut(self) -> None:
        await self.ledger.stop()
        await self._db.close()
        await self._administer(f"drop database {self._database} with (force)")

    async def _administer(self, statement: str) -> None:
        db = await asyncpg.connect(self._admin_url)
        await db.execute(statement)
        await db.close()
