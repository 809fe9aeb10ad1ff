"""What the peers need, from npm and PyPI into build/peers; nothing of it comes into the repository or our own venv."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
FOLDER = ROOT.parent.parent / "build" / "peers"
NODE_MODULES = FOLDER / "node_modules"
PROGRAMS = ROOT / "programs"
#: n8n brings two thousand packages.
INSTALL_LIMIT_S = 1800.0
#: arq wants a redis-py that taskiq no longer takes, so that it has a venv of its own.
VENVS = ("python", "arq")


class CannotInstall(Exception):
    """What is missing, and what to do."""


def python_of(venv: str) -> Path:
    """Return the interpreter of one of the peers' venvs."""
    return FOLDER / venv / "bin/python"


def program(name: str) -> Path:
    """Return a JavaScript program where Node finds the packages that it imports."""
    return Path(shutil.copy(PROGRAMS / name, FOLDER / name))


def install() -> None:
    """Install what is missing or has another version than its file says."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            raise CannotInstall(f"{tool} is not installed: install Node.js 20 with npm, then run this again")
    FOLDER.mkdir(parents=True, exist_ok=True)
    once(ROOT / "package.json", _install_node)
    for venv in VENVS:
        once(ROOT / f"requirements-{venv}.txt", _install_python)


def once(wanted: Path, act: Callable[[Path], None]) -> None:
    """Install after a file, unless this was done after the same text."""
    done = FOLDER / f"{wanted.name}.installed"
    if done.exists() and done.read_bytes() == wanted.read_bytes():
        return
    print(f"installing {wanted.name} into {FOLDER}: this takes minutes, and is done once", flush=True)
    done.unlink(missing_ok=True)
    act(wanted)
    shutil.copy(wanted, done)


def _install_node(wanted: Path) -> None:
    shutil.copy(wanted, FOLDER / "package.json")
    # Without scripts: none is needed, and those of n8n's packages build or fetch what this bench does not use.
    run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", str(FOLDER / "npm-cache")])


def _install_python(wanted: Path) -> None:
    venv = wanted.stem.removeprefix("requirements-")
    run([sys.executable, "-m", "venv", "--clear", str(FOLDER / venv)])
    run([str(python_of(venv)), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(wanted)])


def run(command: Sequence[str]) -> None:
    """Run a command of a package manager; raises CannotInstall with what it said."""
    try:
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise CannotInstall(f"{command[0]} took over {error.timeout:.0f} s: is its registry reachable?") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise CannotInstall(f"`{' '.join(command)}` failed: is its registry reachable? It said:\n{said}")
