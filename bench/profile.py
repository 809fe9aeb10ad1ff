"""`python -m bench.profile <scenario>`: where the time of a process goes, as a flame graph and a list of functions.

A whole installation is started, one of its processes is made busy from outside, and py-spy looks a hundred times a
second at what it does; waiting is left out. Everything that was started is stopped, however this ends.
"""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import sysconfig
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import uvloop

from bench.flame import draw
from bench.running import Running
from bench.scenarios import SCENARIOS
from bench.stacks import Stack, read, top_text

RATE = 100
#: The first seconds of a load belong to its start.
WARM_S = 2.0
SHOWN = 15
SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")


class Options(msgspec.Struct, frozen=True):
    """What was asked for."""

    scenario: str
    seconds: int
    size: int
    out: Path
    python_only: bool


class CannotProfile(RuntimeError):
    """The profiler cannot do its work; the message says what to do."""


def tell(text: str) -> None:
    """Say how it goes, beside the result."""
    print(text, file=sys.stderr, flush=True)


def positive(text: str) -> int:
    """Read a number from 1 up."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line."""
    lines = "\n".join(f"  {name:14} {one.process + ':':8} {one.about}" for name, one in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench.profile",
        description="Show where the time of a B3OS process goes. Starts an installation of its own, makes one of its "
        "processes busy,\nsamples that one, and writes flame.svg (open it in a browser), top.txt (own and total share "
        f"of each function) and\nstacks.txt (folded stacks, for other tools).\n\nscenarios:\n{lines}",
        epilog="example: python -m bench.profile worker-run --seconds 30",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", choices=SCENARIOS, metavar="scenario", help="one of the above")
    parser.add_argument("--seconds", type=positive, default=10, help="how long to sample (default: 10)")
    parser.add_argument("--size", type=positive, default=100_000, help="triggers of the master (default: 100000)")
    parser.add_argument("--out", type=Path, help="folder to write into (default: profile/<scenario>)")
    parser.add_argument("--python-only", action="store_true", help="no C and Cython functions: their callers count")
    found = parser.parse_args(arguments)
    out = found.out or Path("profile") / found.scenario
    return Options(found.scenario, found.seconds, found.size, out, found.python_only)


def find_spy() -> str:
    """Return the sampler's path; raises CannotProfile."""
    found = shutil.which("py-spy", path=sysconfig.get_path("scripts") + os.pathsep + os.environ.get("PATH", ""))
    if found is None:
        raise CannotProfile("py-spy is not installed: run `make setup`, or `pip install py-spy` into this environment")
    return found


def why_failed(said: str, scope: str) -> str:
    """Say what to do about a failure of the sampler; `scope` is the kernel's ptrace_scope, empty where it has none."""
    if "permission denied" not in said.lower() and "not permitted" not in said.lower():
        return f"py-spy failed: {said.strip()[-500:]}"
    if scope.strip() in ("1", "2"):
        fix = "run `sudo sysctl kernel.yama.ptrace_scope=0` (until the next boot), or run this command as root"
    elif scope.strip() == "3":
        fix = "kernel.yama.ptrace_scope is 3, which only a boot changes: set it to 0 in /etc/sysctl.d and boot"
    else:
        fix = "in a container start it with `docker run --cap-add SYS_PTRACE`; elsewhere run this command as root"
    return f"the kernel does not let py-spy look into another process (ptrace): {fix}"


async def sample(up: Running, load: Callable[[], Awaitable[None]], options: Options) -> str:
    """Sample a process of an installation under a load; returns folded stacks."""
    loop, me = asyncio.get_running_loop(), asyncio.current_task()
    assert me is not None, "a coroutine runs in a task"
    for number in (signal.SIGTERM, signal.SIGINT):
        # An exception out of a signal may come at any line, also in those that clean up; a cancellation does not.
        loop.add_signal_handler(number, me.cancel)
    name = SCENARIOS[options.scenario].process
    pid, written = up.pid_of(name), Path(up.folder) / "stacks.txt"
    command = [find_spy(), "record", "--pid", str(pid), "--format", "raw", "--function", "--output", str(written)]
    command += ["--rate", str(RATE), "--duration", str(options.seconds)]
    task = asyncio.ensure_future(load())
    try:
        await asyncio.wait({task}, timeout=WARM_S)
        tell(f"sampling the {name}, process {pid}, for {options.seconds} s")
        await run_beside(task, command if options.python_only else [*command, "--native"])
    finally:
        task.cancel()
        await asyncio.wait({task})
    return written.read_text()


async def run_beside(load: "asyncio.Future[None]", command: list[str]) -> None:
    """Run the sampler while the load goes on; raises CannotProfile."""
    spy = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    end = asyncio.ensure_future(spy.communicate())
    try:
        await asyncio.wait((load, end), return_when=asyncio.FIRST_COMPLETED)
        if load.done():
            raise CannotProfile(f"the load broke off, so there is nothing to see: {load.exception()!r}")
        _, said = await end
    finally:
        if spy.returncode is None:
            spy.kill()
            await end
    if spy.returncode:
        raise CannotProfile(why_failed(said.decode(errors="replace"), SCOPE.read_text() if SCOPE.exists() else ""))


def write(options: Options, stacks: list[Stack]) -> None:
    """Write the files, and print the head of the list."""
    samples = sum(stack.count for stack in stacks)
    process = SCENARIOS[options.scenario].process
    title = (
        f"{options.scenario}: the {process} for {options.seconds} s, {samples:,} samples, "
        f"busy {samples / options.seconds / RATE:.0%} of the time"
    )
    text = f"{title}\n\n{top_text(stacks)}"
    for name, content in (
        ("flame.svg", draw(stacks, title)),
        ("top.txt", text),
        ("stacks.txt", "".join(f"{';'.join(stack.frames)} {stack.count}\n" for stack in stacks)),
    ):
        (options.out / name).write_text(content)
    print("\n".join(text.splitlines()[: SHOWN + 3]))
    print(f"\nwrote flame.svg, top.txt and stacks.txt into {options.out}")


def profile(options: Options) -> None:
    """Carry out one profile; raises CannotProfile."""
    find_spy()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotProfile(f"{options.out} cannot be written into ({error.strerror}): choose another --out") from error
    scenario = SCENARIOS[options.scenario]
    tell(f"starting an installation for: {scenario.about}")
    with scenario.open(options.size) as (up, load):
        try:
            folded = uvloop.run(sample(up, load, options))
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what follows is stopping anyway
    stacks = read(folded)
    if not stacks:
        raise CannotProfile(f"the {scenario.process} did nothing in {options.seconds} s: try more --seconds")
    write(options, stacks)


def interrupted(_number: int, _frame: object) -> None:
    """Leave as on Ctrl-C, so that what was started is stopped."""
    raise KeyboardInterrupt


def main(arguments: Sequence[str]) -> int:
    """Profile what the command line says; returns the exit status."""
    signal.signal(signal.SIGTERM, interrupted)
    try:
        profile(parse(arguments))
    except RuntimeError as error:
        tell(f"error: {error}")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        tell("stopped; nothing was written")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
