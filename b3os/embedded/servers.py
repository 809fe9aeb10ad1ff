"""PostgreSQL and two Valkeys as direct children that die with us.

Each child gets a parent-death signal, so `kill -9` of this process leaves no server. PostgreSQL refuses root: as root
it runs in a user namespace where we are an ordinary user, or as `nobody` where namespaces are refused; which one made
the data folder is written beside it, since the files belong to different users.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from b3os.embedded.locate import postgres_bin, valkey_server
from b3os.errors import BadInput, Unavailable

#: The kernel's limit is 107 bytes; PostgreSQL appends `/.s.PGSQL.5432.lock`.
SOCKET_FOLDER_LIMIT = 85
START_LIMIT_S = 20.0
STOP_LIMIT_S = 4.0
NAMESPACE = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]


class Urls(msgspec.Struct, frozen=True):
    """Where the servers listen."""

    database_url: str
    redis_ops_url: str
    redis_data_url: str


def socket_folder(data_dir: Path) -> Path:
    """Return a folder short enough for Unix sockets: the data folder, else one of our own under the temp folder."""
    if len(str(data_dir)) <= SOCKET_FOLDER_LIMIT:
        return data_dir
    digest = hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"b3os-{os.getuid()}-{digest}"


def too_long(folder: Path) -> str:
    """Say that a folder cannot hold Unix sockets."""
    return (
        f"{folder} is too long for a Unix socket ({len(str(folder))} characters, {SOCKET_FOLDER_LIMIT} at most): "
        "choose a shorter --data-dir, or set TMPDIR to a short folder"
    )


#: Everything that a data folder may hold.
ALL = ("postgres", "ops", "data")


class EmbeddedServers:
    """The servers of one data folder; `wanted` names those that are not elsewhere."""

    def __init__(self, data_dir: Path, *, fsync: bool = True, wanted: Sequence[str] = ALL) -> None:
        self.data_dir = data_dir.resolve()
        self.sockets = socket_folder(self.data_dir)
        self._wanted = wanted
        self._fsync = fsync
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._mode = "user"
        self._has_begun = False
        self._making: subprocess.Popen[str] | None = None

    def begin(self) -> None:
        """Begin to make what a new folder lacks, for `start` to wait for. Raises BadInput with what to do."""
        if len(str(self.sockets)) > SOCKET_FOLDER_LIMIT:
            raise BadInput(too_long(self.sockets))
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.sockets.mkdir(parents=True, exist_ok=True, mode=0o700)
        if "postgres" in self._wanted:
            self._mode = self._choose_mode()
            self._making = self._make_cluster()
        self._has_begun = True

    def start(self) -> Urls:
        """Start what is wanted; returns when it answers. Raises Unavailable or BadInput with what to do."""
        if not self._has_begun:
            self.begin()
        if "postgres" in self._wanted:
            self._await_cluster()
            self._start_postgres()
        for name in self._wanted:
            if name != "postgres":
                self._start_valkey(name)
        return self.urls()

    def urls(self) -> Urls:
        """Where they listen, once they are started."""
        return Urls(
            database_url=f"postgresql://b3os@/postgres?host={self.sockets}",
            redis_ops_url=f"unix://{self.sockets}/ops.sock",
            redis_data_url=f"unix://{self.sockets}/data.sock",
        )

    def stop(self) -> None:
        """Stop what was started, PostgreSQL by a fast shutdown; kills what does not leave."""
        if self._making is not None:
            self._making.kill()
            self._making.communicate()
            self._making = None
        for name, child in self._children.items():
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
        for child in self._children.values():
            try:
                child.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._children.clear()
        if self.sockets != self.data_dir:
            shutil.rmtree(self.sockets, ignore_errors=True)

    def pids(self) -> dict[str, int]:
        """Process ids by server name."""
        return {name: child.pid for name, child in self._children.items()}

    def dead(self) -> list[str]:
        """Names of servers that have ended by themselves."""
        return [name for name, child in self._children.items() if child.poll() is not None]

    def restart(self, name: str) -> None:
        """Start a server that has ended by itself."""
        if name == "postgres":
            self._start_postgres()
        else:
            self._start_valkey(name)

    def _choose_mode(self) -> str:
        mark = self.data_dir / "postgres-user"
        if os.getuid() != 0:
            return "user"
        if mark.exists():
            return mark.read_text().strip()
        works = subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
        mode = "namespace" if works else "nobody"
        mark.write_text(mode)
        return mode

    def _postgres_prefix(self) -> list[str]:
        if self._mode == "namespace":
            return [*NAMESPACE, "setpriv", "--pdeathsig", "INT", "--"]
        if self._mode == "nobody":
            return ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--pdeathsig", "INT", "--"]
        return death_signal("INT")

    def _start_postgres(self) -> None:
        binaries, cluster = postgres_bin(), self.data_dir / "pg"
        fsync = "on" if self._fsync else "off"
        command = [
            *self._postgres_prefix(), str(binaries / "postgres"), "-D", str(cluster), "-c", "listen_addresses=",
            "-c", f"unix_socket_directories={self.sockets}", "-c", "unix_socket_permissions=0700",
            "-c", "max_connections=200", "-c", "shared_buffers=128MB", "-c", f"fsync={fsync}",
            "-c", "log_min_messages=fatal", "-c", "timezone=UTC",
        ]  # fmt: skip
        path = self.sockets / ".s.PGSQL.5432"
        # After a crash the children of the old server may still be leaving: try again for a while.
        limit = time.monotonic() + START_LIMIT_S
        while time.monotonic() < limit:
            child = self._spawn("postgres", command)
            if wait_socket(path, child, limit):
                self._children["postgres"] = child
                return
            time.sleep(0.2)
        raise Unavailable(f"PostgreSQL did not start: see {self.data_dir / 'postgres.log'}")

    def _make_cluster(self) -> "subprocess.Popen[str] | None":
        """Begin to make the database's folder, unless it is there."""
        binaries, cluster = postgres_bin(), self.data_dir / "pg"
        check_version(binaries, cluster)
        if self._mode == "nobody":
            shutil.chown(self.data_dir, "nobody", "nogroup")
            shutil.chown(self.sockets, "nobody", "nogroup")
        if (cluster / "PG_VERSION").exists():
            return None
        prefix = [part for part in self._postgres_prefix() if part not in ("--pdeathsig", "INT")]
        if self._mode == "user":
            prefix = []
        elif self._mode == "namespace":
            prefix = NAMESPACE
        locale = ["--locale=C"]
        help_text = subprocess.run([binaries / "initdb", "--help"], capture_output=True, text=True, check=False).stdout
        if "--builtin-locale" in help_text:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return subprocess.Popen(
            [*prefix, str(binaries / "initdb"), "-D", str(cluster), "-U", "b3os", "-A", "trust", "-E", "UTF8",
             *locale, "--no-sync", "--no-instructions"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def _await_cluster(self) -> None:
        if self._making is not None:
            _, said = self._making.communicate()
            if self._making.returncode:
                raise Unavailable(f"initdb failed: {said.strip()[-500:]}")
            self._making = None

    def _start_valkey(self, name: str) -> None:
        folder = self.data_dir / name
        folder.mkdir(exist_ok=True, mode=0o700)
        path = self.sockets / f"{name}.sock"
        keep = (
            ["--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"]
            if name == "ops"
            else ["--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lfu"]
        )
        command = [
            *death_signal("TERM"), str(valkey_server()), "--port", "0", "--unixsocket", str(path),
            "--unixsocketperm", "700", "--dir", str(folder), "--daemonize", "no", "--save", "", *keep,
        ]  # fmt: skip
        limit = time.monotonic() + START_LIMIT_S
        child = self._spawn(name, command)
        if not wait_socket(path, child, limit):
            raise Unavailable(f"Valkey did not start: see {self.data_dir / (name + '.log')}")
        self._children[name] = child

    def _spawn(self, name: str, command: list[str]) -> "subprocess.Popen[bytes]":
        with (self.data_dir / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
            )


def check_version(binaries: Path, cluster: Path) -> None:
    """Raise BadInput for a cluster that another PostgreSQL version made."""
    version_file = cluster / "PG_VERSION"
    if not version_file.exists():
        return
    answer = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    ours, theirs = answer.split()[2].split(".")[0], version_file.read_text().strip()
    if ours != theirs:
        raise BadInput(
            f"{cluster} was made by PostgreSQL {theirs}, the binaries here are {ours}: "
            "dump it with the old version and restore, or use another --data-dir"
        )


def death_signal(name: str) -> list[str]:
    """Return the command prefix that makes a child get a signal when its parent dies (Linux)."""
    return ["setpriv", "--pdeathsig", name, "--"] if shutil.which("setpriv") else []


def wait_socket(path: Path, child: "subprocess.Popen[bytes]", limit: float) -> bool:
    """Wait until a Unix socket accepts; False when the child ended first or time is over."""
    while time.monotonic() < limit:
        if child.poll() is not None:
            return False
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(path))
            return True
        time.sleep(0.01)
    return False
