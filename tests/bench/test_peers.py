"""What measures the peers: their processes end with us, failures are said, and our side does what it is timed for."""

import asyncio
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from b3os.embedded.servers import EmbeddedServers
from bench.engine import FOUR
from bench.load import Load, fire
from bench.peers import children, install, queues
from bench.peers.__main__ import main
from bench.peers.children import Child, PeerFailed
from bench.peers.install import CannotInstall
from bench.running import up_in

#: Starts a process of its own, and tells its id when it is asked.
PARENT = """
import subprocess, sys
other = subprocess.Popen(["sleep", "600"])
print("ready", flush=True)
for line in sys.stdin:
    print(other.pid, flush=True)
"""
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{PARENT}"


DEADLINE_S = 10.0


class Watched:
    """A process whose end can be waited for."""

    def __init__(self, pid: float) -> None:
        self._fd = os.pidfd_open(int(pid))

    def has_ended(self, within_s: float) -> bool:
        return bool(select.select([self._fd], [], [], within_s)[0])


def start(program: str, folder: Path) -> Child:
    return Child("peer", [sys.executable, "-c", program], folder, is_asked=True)


@pytest.mark.parametrize("program", [PARENT, STUBBORN])
def test_a_peer_ends_with_all_that_it_started(tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "STOP_LIMIT_S", 0.5)
    child = start(program, tmp_path)
    child.await_ready()
    other = Watched(child.ask())
    assert not other.has_ended(0)
    child.stop()
    assert other.has_ended(DEADLINE_S)


def test_a_paused_peer_ends_as_well(tmp_path: Path) -> None:
    child = start(PARENT, tmp_path)
    child.await_ready()
    other = Watched(child.ask())
    child.pause()
    child.stop()
    assert other.has_ended(DEADLINE_S)


def test_a_peer_that_gives_up_is_told_with_what_it_said(tmp_path: Path) -> None:
    child = start("raise SystemExit('no database')", tmp_path)
    with pytest.raises(PeerFailed, match="peer did not start; it said last:\nno database"):
        child.await_ready()
    child.stop()


def test_a_peer_that_answers_no_figure_has_failed(tmp_path: Path) -> None:
    child = start("print('ready', flush=True); input(); print('oops')", tmp_path)
    child.await_ready()
    with pytest.raises(PeerFailed, match="answered b'oops'"):
        child.ask()
    child.stop()


def test_without_node_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main([]) == 2
    assert "install Node.js 20 with npm" in capsys.readouterr().out


def test_peers_are_installed_again_only_when_their_file_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "FOLDER", tmp_path)
    wanted, installed = tmp_path / "wanted.txt", []
    for text in ("1", "1", "2"):
        wanted.write_text(text)
        install.once(wanted, lambda path: installed.append(path.read_text()))
    assert installed == ["1", "2"]


def test_an_installation_that_failed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "FOLDER", tmp_path)
    wanted = tmp_path / "wanted.txt"
    wanted.touch()
    for _ in range(2):
        with pytest.raises(CannotInstall, match="`false` failed"):
            install.once(wanted, lambda _: install.run(["false"]))


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Path]:
    servers = EmbeddedServers(tmp_path / "v", fsync=False, wanted=("ops",))
    try:
        servers.start()
        yield servers.sockets / "ops.sock"
    finally:
        servers.stop()


@pytest.mark.parametrize("way", ["batches", "one"])
def test_a_round_of_our_queue_ends_when_every_task_is_done(tmp_path: Path, valkey: Path, way: str) -> None:
    child = queues.start("ours", str(valkey), 0, tmp_path)
    try:
        child.await_ready()
        assert child.ask(way=way, total=700) > 0
        assert child.ask(way=way, total=700) > 0
    finally:
        child.stop()
    left = [key for key in redis.Redis(unix_socket_path=str(valkey)).scan_iter() if b":t:" in key]
    assert left == []


def test_a_run_that_was_heard_to_its_end_is_stored(tmp_path: Path) -> None:
    with up_in(str(tmp_path)) as up:
        fired = up.fire_and_hear(up.publish(FOUR), 40, connections=8)
        assert len(fired.each_s) == 40
        assert [tuple(row) for row in up.ask("select status, count(*) from runs group by status")] == [("success", 40)]


async def test_a_load_whose_stream_ends_fails_instead_of_waiting_for_ends_that_nobody_tells() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = b": watching\n\n" if head.startswith(b"GET") else b'{"data":{"runId":"run_1"}}'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        load = Load(port=server.sockets[0].getsockname()[1], path="/", count=1, key="key")
        with pytest.raises(ExceptionGroup) as failed:
            await fire(load)
    assert failed.group_contains(RuntimeError, match="the activity stream ended")
