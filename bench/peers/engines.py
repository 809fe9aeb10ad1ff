"""The engines, all up at the same time, and one round of each: what it does in a second, in two shapes of work.

Chains are many short runs, each of four nodes one after the other. A loop is one run of many nodes.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg

from bench.engine import FOUR, LOOP_NODES, LOOPS
from bench.load import Fired
from bench.peers.children import Child
from bench.peers.install import PROGRAMS, python_of
from bench.peers.n8n import DATABASE, N8n
from bench.peers.restate import Restate
from bench.peers.rounds import Round
from bench.running import Running, running

NODES = 4
#: Nodes of a peer's loop; ours has the ten thousand that a run may have.
STEPS = 1000
#: Steps of a loop that do not wait for each other: Restate stores fewer a second with 1, 200 or 1,000.
ABREAST = 50
#: One alone would be over too soon to be timed well.
LOOPS_A_ROUND = 3


def in_loops(nodes: int, send: Callable[[], Fired]) -> float:
    """Return nodes a second of some runs of so many nodes, one after the other."""
    return nodes * LOOPS_A_ROUND / sum(send().took_s for _ in range(LOOPS_A_ROUND))


def ours(up: Running) -> dict[str, Round]:
    """Our rounds: in chains up to the commit of the last end, in a loop, and runs whose caller is told of the end."""
    four, loop = up.publish(FOUR), up.publish(LOOPS)

    def chains() -> float:
        fired = up.fire(four, 4000, connections=64)
        up.settle()
        query = "select extract(epoch from max(pg_xact_commit_timestamp(xmin))) from runs"
        return 4000 * NODES / (float(up.ask(query)[0][0]) - fired.began_at)

    def loops() -> float:
        return in_loops(LOOP_NODES, lambda: up.fire(loop, 1, follow=True))

    def answered() -> float:
        return 3000 / up.fire_and_hear(four, 3000, connections=32).took_s

    return {"ours, nodes in chains": chains, "ours, nodes in a loop": loops, "ours, runs answered": answered}


def of_restate(peer: Restate) -> dict[str, Round]:
    """Rounds of Restate."""
    return {
        "Restate, nodes in chains": lambda: 2000 * NODES / peer.chains(2000, connections=128).took_s,
        "Restate, nodes in a loop": lambda: in_loops(STEPS, peer.loop),
    }


def of_n8n(peer: N8n) -> dict[str, Round]:
    """Rounds of n8n. A round of its loop is two nodes."""
    return {
        "n8n, runs answered": lambda: 400 / peer.fours(400, connections=32).took_s,
        "n8n, nodes in a loop": lambda: in_loops(STEPS, peer.loop),
    }


def of_dbos(peer: Child) -> dict[str, Round]:
    """Rounds of DBOS."""
    return {
        "DBOS, nodes in chains": lambda: 400 * NODES / peer.ask(way="chain", runs=400, steps=NODES),
        "DBOS, nodes in a loop": lambda: STEPS / peer.ask(way="loop", steps=STEPS, abreast=ABREAST),
    }


@contextlib.contextmanager
def dbos(folder: Path, url: str) -> Iterator[Child]:
    """DBOS in its process."""
    child = Child("dbos", [python_of("python"), PROGRAMS / "dbos_steps.py", url], folder, is_asked=True)
    try:
        child.await_ready()
        yield child
    finally:
        child.stop()


@contextlib.contextmanager
def engines() -> Iterator[dict[str, Round]]:
    """All engines, on one PostgreSQL in a database each; Restate has a disk format of its own."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="b3p")))
        up = stack.enter_context(running())
        for name in (DATABASE, "dbos"):
            asyncio.run(create_database(up.database_url, name))
        restate = Restate(folder, STEPS, ABREAST)
        stack.callback(restate.stop)
        n8n = N8n(folder, up.folder, STEPS // 2)
        stack.callback(n8n.stop)
        steps = stack.enter_context(dbos(folder, up.database_url.replace("/postgres?", "/dbos?")))
        yield ours(up) | of_restate(restate) | of_n8n(n8n) | of_dbos(steps)


async def create_database(url: str, name: str) -> None:
    """Give a peer a database of its own."""
    db = await asyncpg.connect(url)
    try:
        await db.execute(f"create database {name}")
    finally:
        await db.close()
