"""Folded stacks of a sampling profiler: read, cleared of what says nothing, and counted by function.

A line is `outermost;…;innermost count`. Pure. Functions in C and Cython are frames as well: their own time is not their
caller's.
"""

import re
from collections import Counter
from collections.abc import Iterable

import msgspec

#: Innermost functions of a thread that waits; a profiler that looks at C frames does not leave these out by itself.
WAITS = frozenset({
    "clock_nanosleep", "epoll_pwait", "epoll_pwait2", "epoll_wait", "futex_wait", "poll", "pthread_cond_timedwait",
    "pthread_cond_wait", "sched_yield", "select", "syscall",
})  # fmt: skip
_PYTHON = re.compile(r"\((?:.+\.py|<.+>):\d+\)$")
_OURS = re.compile(r"\((?:b3os|services)/")
#: `name (file.c:12)`, `0x7f69 (libc.so.6)`, `name (core.cpython-311-x86_64-linux-gnu.so)`.
_LINE = re.compile(r":\d+\)$")
_ADDRESS = re.compile(r"^0x[0-9a-f]+ ")
_BUILD = re.compile(r"\.(?:cpython|abi3)[-\w]*\.so\)$")


class Stack(msgspec.Struct, frozen=True):
    """Frames from the outermost to the innermost, and in how many samples they were."""

    frames: tuple[str, ...]
    count: int


class Line(msgspec.Struct, frozen=True):
    """A function, the samples in which it was the innermost one, and those in which it was anywhere."""

    function: str
    own: int
    total: int


def is_python(frame: str) -> bool:
    """Say whether a frame is of the interpreter."""
    return _PYTHON.search(frame) is not None


def is_ours(frame: str) -> bool:
    """Say whether a frame is of B3OS, Python or compiled."""
    return _OURS.search(frame) is not None


def read(text: str) -> list[Stack]:
    """Read folded stacks; threads that wait or never run Python are left out."""
    found: Counter[tuple[str, ...]] = Counter()
    for line in text.splitlines():
        names, _, count = line.rpartition(" ")
        frames = names.split(";")
        if not _waits(frames) and any(map(is_python, frames)):
            found[tuple(_cleared(frames))] += int(count)
    return [Stack(frames, count) for frames, count in found.items()]


def _waits(frames: list[str]) -> bool:
    """Say whether the innermost function that has a name waits."""
    named = next((frame for frame in reversed(frames) if not frame.startswith("0x")), "")
    return named.partition(" (")[0] in WAITS


def _cleared(frames: list[str]) -> Iterable[str]:
    """Leave out the event loop's C between Python functions, which is the same in every stack, and the lines of C."""
    last = max(place for place, frame in enumerate(frames) if is_python(frame))
    before = ""
    for place, frame in enumerate(frames):
        if not is_python(frame):
            if place < last and not is_ours(frame):
                continue
            frame = _BUILD.sub(".so)", _LINE.sub(")", _ADDRESS.sub("? ", frame)))
            if frame == before:
                continue
        before = frame
        yield frame


def top(stacks: Iterable[Stack]) -> list[Line]:
    """Count by function, the largest own share first; a function that calls itself counts once in a stack."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for stack in stacks:
        own[stack.frames[-1]] += stack.count
        for frame in set(stack.frames):
            total[frame] += stack.count
    lines = [Line(frame, own[frame], count) for frame, count in total.items()]
    return sorted(lines, key=lambda line: (-line.own, -line.total, line.function))


def top_text(stacks: Iterable[Stack]) -> str:
    """Write the top list; functions below half a percent are left out."""
    lines = top(stacks)
    samples = sum(line.own for line in lines)
    rows = [
        f"{line.own / samples:6.1%} {line.total / samples:6.1%}  {line.function}\n"
        for line in lines
        if line.total >= samples / 200
    ]
    return "".join(["   own  total  function\n", *rows])
