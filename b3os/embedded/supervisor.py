"""`b3os up`: servers and processes under one roof. Whatever dies is restarted with back-off, and it is said loudly."""

import base64
import contextlib
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from b3os.embedded.nursery import Copy, load
from b3os.embedded.servers import EmbeddedServers, death_signal
from b3os.errors import Unavailable

READY_LIMIT_S = 60.0
STOP_LIMIT_S = 3.5
BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
#: A child that lived this long starts its back-off from the beginning.
STEADY_S = 30.0
POLL_S = 0.05
#: The server that stands in for each setting that is missing.
SERVERS = {"DATABASE_URL": "postgres", "REDIS_OPS_URL": "ops", "REDIS_DATA_URL": "data"}
#: The chain of `make demo-chain`; only `b3os up` knows it by itself.
DEMO_CHAIN = '[{"id":31337,"name":"Anvil","rpcUrls":["http://127.0.0.1:8545"],"blockTimeMs":500}]'


class Options(msgspec.Struct, frozen=True):
    """What `b3os up` was asked for; counts are processes."""

    host: str = "127.0.0.1"
    port: int = 8080
    data_dir: Path = Path(".b3os")
    workers: int = 1
    masters: int = 1
    actions: int = 1
    api: int = 1
    as_json: bool = False


class Child:
    """One supervised process: its command, its life, its next start."""

    def __init__(self, name: str, environ: dict[str, str]) -> None:
        self.name = name
        self._module = module_of(name)
        self._environ = environ
        self.process: subprocess.Popen[bytes] | Copy | None = None
        self.is_ready = False
        self.deaths = 0
        self.starts_at = 0.0
        self._began = 0.0
        self._ready_end = -1

    def start(self, *, is_copy: bool = False) -> None:
        """Start the process, anew or as a copy of this one, with a pipe on which it says that it is ready."""
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        environ = {**self._environ, "B3OS_READY_FD": str(theirs)}
        if is_copy:
            self.process = Copy(self._module, environ, keep=(theirs,))
        else:
            self.process = subprocess.Popen(
                [*death_signal("TERM"), sys.executable, "-m", self._module],
                env=environ,
                pass_fds=(theirs,),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        os.close(theirs)
        self._forget_pipe()
        self._ready_end = ours
        self.is_ready = False
        self._began = time.monotonic()

    def look(self, say: Callable[..., None]) -> None:
        """Note readiness and death; a dead one is started again after its back-off."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.starts_at:
                self.start()
            return
        if not self.is_ready and self._ready_end >= 0 and select.select([self._ready_end], [], [], 0)[0]:
            self.is_ready = os.read(self._ready_end, 16) == b"ready\n"
            self._forget_pipe()
        code = self.process.poll()
        if code is None:
            return
        self.deaths = 1 if now - self._began > STEADY_S else self.deaths + 1
        pause = BACKOFF_S[min(self.deaths, len(BACKOFF_S)) - 1]
        say("process died", process=self.name, exit=code, restart_in_s=pause)
        self.process, self.is_ready, self.starts_at = None, False, now + pause

    def signal(self, number: int) -> None:
        """Send a signal to the process, if there is one."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def _forget_pipe(self) -> None:
        if self._ready_end >= 0:
            os.close(self._ready_end)
            self._ready_end = -1


class Supervisor:
    """Everything that `b3os up` started."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.children: list[Child] = []
        self.servers: EmbeddedServers | None = None
        self._stopping = False

    def run(self) -> int:
        """Start everything, say `ready`, watch until SIGTERM or SIGINT; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            environ = self._prepare()
            children = [Child(name, {**environ, **more}) for name, more in self._plan()]
            load(f"{module_of(child.name)}.app" for child in children)
            self._start_servers(environ)
            for child in children:
                child.start(is_copy=True)
                self.children.append(child)
            self._await_ready()
            while not self._stopping:
                self._watch()
                time.sleep(POLL_S)
        finally:
            self.shut_down()
        return 0

    def shut_down(self) -> None:
        """Stop the processes, then the servers; kills what does not leave in time."""
        for child in self.children:
            child.signal(signal.SIGTERM)
        limit = time.monotonic() + STOP_LIMIT_S
        for child in self.children:
            if child.process is not None:
                try:
                    child.process.wait(max(0.0, limit - time.monotonic()))
                except subprocess.TimeoutExpired:
                    child.process.kill()
                    child.process.wait()
        if self.servers is not None:
            self.servers.stop()

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _prepare(self) -> dict[str, str]:
        environ = dict(os.environ)
        missing = [server for name, server in SERVERS.items() if not environ.get(name)]
        check_port(self.options.host, self.options.port)
        folder = self.options.data_dir.resolve()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if missing:
            self.servers = EmbeddedServers(folder, wanted=missing)
            for name, url in zip(SERVERS, msgspec.structs.astuple(self.servers.urls()), strict=True):
                environ[name] = environ.get(name) or url
            self.servers.begin()
        for name, value in secrets_of(folder).items():
            environ.setdefault(name, value)
        environ.setdefault("B3OS_DATA_DIR", str(folder))
        environ.setdefault("B3OS_CHAINS", DEMO_CHAIN)
        environ["B3OS_HOST"], environ["B3OS_PORT"] = self.options.host, str(self.options.port)
        if not environ.get("B3OS_ACTIONS_URL"):
            port = free_port()
            environ["B3OS_ACTIONS_URL"], environ["B3OS_ACTIONS_PORT"] = f"http://127.0.0.1:{port}", str(port)
        return environ

    def _start_servers(self, environ: dict[str, str]) -> None:
        if self.servers is not None:
            self.servers.start()
        done = subprocess.run([sys.executable, "-m", "b3os.cli", "migrate", "--quiet"], env=environ, check=False)
        if done.returncode:
            raise Unavailable("nothing was started: the line above says why the schema could not be brought up to date")

    def _plan(self) -> list[tuple[str, dict[str, str]]]:
        counts = {
            "api": self.options.api,
            "master": self.options.masters,
            "worker": self.options.workers,
            "actions": self.options.actions,
            "watchdog": 1,
        }
        names = [f"{name}-{n}" if n else name for name, count in counts.items() for n in range(count)]
        planned: list[tuple[str, dict[str, str]]] = [(name, {}) for name in names]
        masters = [one for one in planned if one[0].startswith("master")]
        for setting, among in (("B3OS_METRICS_PORT", planned), ("B3OS_WEBHOOK_PORT", masters)):
            first = int(os.environ.get(setting) or 0)
            for n, (_, environ) in enumerate(among):
                environ[setting] = str(first + n if first else 0)
        return planned

    def _await_ready(self) -> None:
        limit = time.monotonic() + READY_LIMIT_S
        while not self._stopping and not all(child.is_ready for child in self.children):
            if time.monotonic() > limit:
                late = ", ".join(child.name for child in self.children if not child.is_ready)
                raise Unavailable(f"not ready after {READY_LIMIT_S:.0f} s: {late}. Their log is above.")
            self._watch()
            time.sleep(0.01)
        if not self._stopping:
            url = f"http://{self.options.host}:{self.options.port}"
            print(json.dumps({"ready": url}) if self.options.as_json else f"ready {url}", flush=True)  # noqa: T201

    def _watch(self) -> None:
        for child in self.children:
            child.look(self._say)
        if self.servers is not None:
            for name in self.servers.dead():
                self._say("server died", server=name)
                self.servers.restart(name)

    def _say(self, message: str, **fields: object) -> None:
        line = {"time": int(time.time() * 1000), "level": "error", "process": "supervisor", "message": message}
        print(json.dumps({**line, **fields}), file=sys.stderr, flush=True)  # noqa: T201


def module_of(name: str) -> str:
    """Return the package of a process: `worker-2` is one of `services.worker`."""
    return f"services.{name.partition('-')[0]}"


def secrets_of(folder: Path) -> dict[str, str]:
    """Read the installation's secrets, made at first start and kept in a file only its owner can read."""
    path = folder / "secrets.json"
    if not path.exists():
        made = {
            "B3OS_INTERNAL_KEY": secrets.token_urlsafe(32),
            "B3OS_MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "B3OS_KEYSTORE_PASSWORD": secrets.token_urlsafe(32),
            "B3OS_KEYSTORE_DIR": str(folder / "keystore"),
        }
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(made, file)
    return dict(json.loads(path.read_text()))


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_port(host: str, port: int) -> None:
    """Raise Unavailable when something listens there already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Unavailable(f"port {port} of {host} is taken: stop what uses it or choose --port") from error
