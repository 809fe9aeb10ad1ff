"""The profiler's command on a real installation: what it writes, that it leaves nothing running, and what it says."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.profile import CannotProfile, find_spy, parse, profile, why_failed

DENIED = "Permission Denied: Try running again with elevated permissions by going 'sudo env \"PATH=$PATH\" !!'"
DEADLINE_S = 100.0


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "bench.profile", *arguments]
    environ = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)


@pytest.fixture(scope="module")
def may_look() -> bool:
    """Whether the kernel lets a process look into one that is not its child; asked without the sampler."""
    with subprocess.Popen(["sleep", "60"]) as other:
        look = f"open('/proc/{other.pid}/mem', 'rb').close()"
        done = subprocess.run([sys.executable, "-c", look], capture_output=True, check=False)
        other.kill()
    return done.returncode == 0


def left_over(folder: Path) -> list[str]:
    """What is left of a profile: its files, and processes that name its folder."""
    found = [str(path) for path in folder.iterdir()]
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = place.read_text()
        except OSError:  # it ended meanwhile
            continue
        if f"{folder}/" in command:
            found.append(command)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "t"
    made.mkdir()
    return made


def test_a_profile_shows_our_functions(folder: Path, tmp_path: Path, may_look: bool) -> None:
    process = start(folder, "webhook-burst", "--seconds", "3", "--out", str(tmp_path / "out"))
    printed, said = process.communicate(timeout=DEADLINE_S)
    if not may_look:
        assert (process.returncode, "(ptrace)" in said) == (1, True), said
        assert left_over(folder) == []
        return
    assert process.returncode == 0, said
    top, svg = (tmp_path / "out" / "top.txt").read_text(), (tmp_path / "out" / "flame.svg").read_text()
    assert "Api.__call__ (services/api/app.py:" in top
    assert top.splitlines()[2] == "   own  total  function"
    assert printed.startswith("webhook-burst: the api for 3 s, ")
    drawn = "".join(ElementTree.fromstring(svg).itertext())
    assert "Api.__call__ (services/api/app.py:" in drawn
    assert left_over(folder) == []


def test_a_profile_that_is_stopped_leaves_nothing(folder: Path, tmp_path: Path, may_look: bool) -> None:
    process = start(folder, "webhook-burst", "--seconds", "600", "--out", str(tmp_path / "out"))
    assert process.stderr is not None
    while not process.stderr.readline().startswith("sampling"):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=DEADLINE_S)
    ended = (process.returncode, said.splitlines()[-1])
    # Where sampling is forbidden the command may have given up before it was stopped.
    assert ended == (130, "stopped; nothing was written") or (not may_look and ended[0] == 1 and "(ptrace)" in said)
    assert left_over(folder) == []


@pytest.mark.parametrize(
    ("said", "scope", "fix"),
    [
        (DENIED, "1\n", "sysctl kernel.yama.ptrace_scope=0"),
        (DENIED, "3\n", "which only a boot changes"),
        (DENIED, "0\n", "--cap-add SYS_PTRACE"),
        ("Error: Operation not permitted (os error 1)", "", "--cap-add SYS_PTRACE"),
        ("Error: Failed to find python version", "1", "py-spy failed: Error: Failed to find python version"),
    ],
)
def test_a_refusal_of_the_kernel_names_its_fix(said: str, scope: str, fix: str) -> None:
    assert fix in why_failed(said, scope)


def test_a_missing_sampler_is_said_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sysconfig.get_path", lambda _: "/nowhere")
    with pytest.raises(CannotProfile, match="make setup"):
        find_spy()


def test_a_folder_that_cannot_be_made_is_said_before_anything_is_started(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotProfile, match=r"file/out cannot be written into .*choose another --out"):
        profile(parse(["worker-run", "--out", str(tmp_path / "file" / "out")]))


@pytest.mark.parametrize("arguments", [["nothing"], ["worker-run", "--seconds", "0"], ["worker-run", "--size", "-1"]])
def test_what_cannot_be_profiled_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(arguments)
    assert "error: argument" in capsys.readouterr().err


def test_files_go_where_the_scenario_says() -> None:
    assert parse(["sse-fanout"]).out == Path("profile/sse-fanout")
