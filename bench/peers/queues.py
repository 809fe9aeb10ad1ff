"""The queues: tasks that do nothing, sent by one process and done by one worker process, on one Valkey.

Each has a database of its own there. Who polls stands still while it is not its turn; the others cost nothing then.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import redis

from b3os.embedded.servers import EmbeddedServers
from bench.peers.children import Child
from bench.peers.install import PROGRAMS, ROOT, program, python_of
from bench.peers.rounds import Round

#: Tasks of a round: a second or two for each.
MANY, FEW = 20_000, 5000
PYTHON_QUEUES = ("arq", "taskiq", "taskiq-stream", "celery", "dramatiq")
#: Waiting for nothing takes 4 % of a core.
POLLING = ("arq",)


def start(name: str, socket: str, db: int, folder: Path) -> Child:
    """Start the producer of a queue, which starts its worker."""
    url = f"unix://{socket}?db={db}"
    redis.Redis.from_url(url).flushdb()
    environ = {"QUEUE": name, "QUEUE_URL": url}
    if name == "ours":
        command = [sys.executable, "-m", "bench.peers.programs.our_queue", url]
        environ["PYTHONPATH"] = os.pathsep.join([str(ROOT.parent.parent), os.environ.get("PYTHONPATH", "")])
    elif name == "BullMQ":
        command = ["node", str(program("bullmq.mjs")), socket, str(db)]
    else:
        python = python_of("arq" if name == "arq" else "python")
        command = [str(python), str(PROGRAMS / "queue_producer.py")]
    return Child(name, command, folder, environ=environ, is_asked=True)


@contextlib.contextmanager
def queues() -> Iterator[dict[str, Round]]:
    """All queues, each with its worker."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="b3q")))
        servers = EmbeddedServers(folder / "valkey", wanted=("ops",))
        stack.callback(servers.stop)
        servers.start()
        rounds: dict[str, Round] = {}
        for db, name in enumerate(("ours", "BullMQ", *PYTHON_QUEUES)):
            child = start(name, str(servers.sockets / "ops.sock"), db, folder)
            stack.callback(child.stop)
            child.await_ready()
            if name in POLLING:
                child.pause()
            if name in PYTHON_QUEUES:
                rounds[f"{name}, tasks"] = partial(round_of, child, "one", FEW)
            else:
                rounds[f"{name}, tasks in batches"] = partial(round_of, child, "batches", MANY)
                rounds[f"{name}, tasks one by one"] = partial(round_of, child, "one", MANY)
        yield rounds


def round_of(child: Child, way: str, total: int) -> float:
    """Return tasks a second of one round."""
    if child.name not in POLLING:
        return total / child.ask(way=way, total=total)
    child.resume()
    rate = total / child.ask(way=way, total=total)
    child.pause()
    return rate
