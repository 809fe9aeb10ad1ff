"""A process that cannot start says why in one line, without secrets."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.house import free_port

DEAD = {
    "DATABASE_URL": "postgresql://user:secret-password@127.0.0.1:9/x",
    "REDIS_OPS_URL": "redis://127.0.0.1:9",
    "REDIS_DATA_URL": "redis://127.0.0.1:9",
}


def start(*command: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "b3os.cli", *command],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("command", ["api", "master", "worker", "watchdog", "migrate"])
def test_a_dead_database_is_named(command: str) -> None:
    done = start(command, **DEAD)
    assert done.returncode == 1
    assert "PostgreSQL at 127.0.0.1:9 cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret-password" not in done.stderr


def test_up_names_a_dead_database_and_starts_nothing(tmp_path: Path) -> None:
    done = start("up", "--port", str(free_port()), "--data-dir", str(tmp_path / "d"), **DEAD)
    assert done.returncode == 1
    assert "PostgreSQL at 127.0.0.1:9 cannot be reached" in done.stderr
    assert "nothing was started" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_database_is_named() -> None:
    done = start("worker", DATABASE_URL="")
    assert (done.returncode, "DATABASE_URL is not set" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"B3OS_PORT": "eighty"}, "B3OS_PORT"),
        ({"B3OS_CHAINS": "{"}, "B3OS_CHAINS"),
        ({"B3OS_PROVIDER_URLS": "[]"}, "B3OS_PROVIDER_URLS"),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], text: str) -> None:
    done = start("actions", **environ)
    assert done.returncode == 1
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = start("up", "--port", port, "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1 is taken" in done.stderr
