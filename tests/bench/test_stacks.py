"""Folded stacks: what is left out, what is merged, and how functions are counted."""

import pytest

from bench.stacks import Line, Stack, read, top, top_text

RUN, TICK, PUT = (
    "Runner.run (asyncio/runners.py:86)",
    "Refresh.tick (services/master/refresh.py:62)",
    "put (b3os/a.py:1)",
)
CORE = "TriggerIndex_add (b3os/_speedups/trigger_index.cpython-311-x86_64-linux-gnu.so)"


def stack(*frames: str, count: int = 1) -> Stack:
    return Stack(frames, count)


@pytest.mark.parametrize(
    "frames",
    [
        (RUN, "uv__io_poll (linux.c:1452)", "epoll_pwait (libc.so.6)"),
        (RUN, "pthread_cond_timedwait (libc.so.6)", "0x7fd5ab2a3f16 (libc.so.6)"),
        ("0x7fd5a996c5f5 (granian/_granian.cpython-311-x86_64-linux-gnu.so)", "write (libc.so.6)"),
    ],
    ids=["waits for a socket", "waits for a lock", "never ran Python"],
)
def test_what_is_no_work_of_ours_is_left_out(frames: tuple[str, ...]) -> None:
    assert read(f"{';'.join(frames)} 7\n{RUN};{TICK} 2\n") == [stack(RUN, TICK, count=2)]


def test_c_between_python_is_left_out_and_c_at_the_end_is_kept_without_its_lines() -> None:
    text = f"{RUN};Loop__run (loop.c:20313);{TICK};{CORE};memcpy (string.c:7) 3"
    short = "TriggerIndex_add (b3os/_speedups/trigger_index.so)"
    assert read(text) == [stack(RUN, TICK, short, "memcpy (string.c)", count=3)]


def test_a_core_that_calls_python_stays_between() -> None:
    assert [found.frames for found in read(f"{TICK};{CORE};{PUT} 1")] == [
        (TICK, "TriggerIndex_add (b3os/_speedups/trigger_index.so)", PUT)
    ]


def test_stacks_that_differ_only_by_lines_and_addresses_of_c_are_one() -> None:
    text = f"{TICK};skip (core.c:1);skip (core.c:9);0x7f01 (libc.so.6) 1\n{TICK};skip (core.c:5);0x7f02 (libc.so.6) 2\n"
    assert read(text) == [stack(TICK, "skip (core.c)", "? (libc.so.6)", count=3)]


def test_a_function_that_calls_itself_counts_once_in_a_stack() -> None:
    assert top([stack(RUN, PUT, PUT, count=3), stack(RUN, count=1)]) == [Line(PUT, 3, 3), Line(RUN, 1, 4)]


def test_own_shares_make_a_whole() -> None:
    lines = top([stack(RUN, TICK, count=5), stack(RUN, TICK, PUT, count=2), stack(RUN, count=1)])
    assert sum(line.own for line in lines) == 8
    assert lines[0] == Line(TICK, 5, 7)


def test_the_list_has_shares_and_leaves_small_ones_out() -> None:
    assert top_text([stack(RUN, TICK, count=996), stack(RUN, count=1), stack(RUN, PUT, count=3)]) == (
        f"   own  total  function\n 99.6%  99.6%  {TICK}\n  0.1% 100.0%  {RUN}\n"
    )
