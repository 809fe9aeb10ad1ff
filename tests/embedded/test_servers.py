"""The embedded servers: data survives, a killed owner leaves nothing, a wrong data folder is named."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from b3os.embedded.servers import EmbeddedServers, socket_folder
from b3os.errors import BadInput


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="b3t") as name:
        yield Path(name)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def wait_gone(pids: list[int]) -> None:
    limit = time.monotonic() + 10
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() < limit, f"still alive: {[p for p in pids if not gone(p)]}"
        time.sleep(0.01)


async def execute(url: str, sql: str) -> object:
    db = await asyncpg.connect(url)
    try:
        return await db.fetchval(sql)
    finally:
        await db.close()


def test_data_survives_a_restart(folder: Path) -> None:
    servers = EmbeddedServers(folder)
    url = servers.start().database_url
    asyncio.run(execute(url, "create table kept as select 42 as answer"))
    servers.stop()
    again = EmbeddedServers(folder)
    assert asyncio.run(execute(again.start().database_url, "select answer from kept")) == 42
    again.stop()


def test_killed_owner_leaves_no_server(folder: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from b3os.embedded.servers import EmbeddedServers; "
        "s = EmbeddedServers(Path(sys.argv[1])); s.start(); print(*s.pids().values(), flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pids = [int(pid) for pid in owner.stdout.readline().split()]
    assert len(pids) == 3
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    wait_gone(pids)


def test_data_of_another_version_is_named(folder: Path) -> None:
    (folder / "pg").mkdir()
    (folder / "pg/PG_VERSION").write_text("11\n")
    with pytest.raises(BadInput, match="made by PostgreSQL 11"):
        EmbeddedServers(folder).start()


def test_long_folder_gets_short_sockets() -> None:
    assert len(str(socket_folder(Path("/" + "x" * 120)))) < 60


def test_a_folder_that_can_hold_no_socket_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder / ("t" * 100)))
    with pytest.raises(BadInput, match="too long for a Unix socket"):
        EmbeddedServers(folder / ("d" * 100)).start()


def test_only_what_is_wanted_is_started(folder: Path) -> None:
    servers = EmbeddedServers(folder, wanted=["ops"])
    servers.start()
    try:
        assert set(servers.pids()) == {"ops"}
        assert not (folder / "pg").exists()
    finally:
        servers.stop()
