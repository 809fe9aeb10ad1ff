"""Redis Cluster: all keys that a script touches share one slot."""

import re
from binascii import crc_hqx
from collections.abc import Callable

import pytest

from b3os.queue import calls
from b3os.queue.calls import Call
from b3os.queue.keys import LANES, server_keys
from b3os.queue.lua import FOLDER, text_of
from b3os.queue.task import Task

NOW_NS = 1_790_000_000_000_000_000


def slot(key: str) -> int:
    """The slot of a key, as the cluster specification says: CRC16 (XMODEM) of the hash tag, modulo 16384."""
    tag = re.search(r"\{(.+?)\}", key)
    return crc_hqx((tag[1] if tag else key).encode(), 0) % 16384


def test_slot_is_the_specifications() -> None:
    assert (slot("123456789"), slot("foo{bar}baz"), slot("bar")) == (0x31C3, 5061, 5061)


def register() -> Call:
    return Call("register", server_keys("host", 7, "id"), [10, b"info"])


MAKERS: dict[str, Callable[[str, list[Task]], Call]] = {
    "enqueue": lambda lane, tasks: calls.enqueue(lane, tasks, NOW_NS, 10),
    "restore": lambda lane, tasks: calls.restore(lane, tasks, NOW_NS, 10),
    "schedule": lambda lane, tasks: calls.schedule(lane, tasks, 5),
    "dequeue": lambda lane, tasks: calls.dequeue(lane, 5, 5),
    "extend": lambda lane, tasks: calls.extend(lane, tasks, 5),
    "requeue": lambda lane, tasks: calls.requeue(lane, tasks, NOW_NS),
    "done": lambda lane, tasks: calls.done(lane, tasks, NOW_NS),
    "retry": lambda lane, tasks: calls.retry(lane, tasks, NOW_NS, "e", 5),
    "archive": lambda lane, tasks: calls.archive(lane, tasks, NOW_NS, "e"),
    "forward": lambda lane, tasks: calls.forward(lane, NOW_NS),
    "recover": lambda lane, tasks: calls.recover(lane, NOW_NS),
    "janitor": lambda lane, tasks: calls.tidy(lane, NOW_NS),
    "register": lambda lane, tasks: register(),
}


def test_every_script_has_a_caller_here() -> None:
    assert set(MAKERS) == {path.stem for path in FOLDER.glob("*.lua")}


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("name", sorted(MAKERS))
def test_keys_of_a_script_share_a_slot(name: str, lane: str) -> None:
    call = MAKERS[name](lane, [Task("x", "wf:run", b"{}", lane)])
    assert call.name == name
    # Arguments that are key prefixes count: the script appends an id to them.
    prefixes = [arg for arg in call.args if isinstance(arg, str) and arg.startswith("asynq:")]
    assert len({slot(key) for key in [*call.keys, *prefixes]}) == 1


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_header_names_every_key_and_what_comes_back(name: str) -> None:
    header = [line for line in text_of(name).splitlines() if line.startswith("--")]
    text = " ".join(header)
    used = {int(number) for number in re.findall(r"KEYS\[(\d+)\]", text_of(name))}
    assert used <= {int(number) for number in re.findall(r"KEYS\[(\d+)\]", text)}
    assert "ARGV" in text
    assert "Returns" in text


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_script_spells_no_key(name: str) -> None:
    assert "asynq:" not in text_of(name)
