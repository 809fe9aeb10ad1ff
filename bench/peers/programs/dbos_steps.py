"""DBOS: workflows of steps on PostgreSQL, in this process; a line of JSON asks for a round and is answered by one."""

import asyncio
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from dbos import DBOS

THREADS = 16


def add(value: int) -> dict[str, int]:
    """One step."""
    return {"value": value + 1}


async def add_async(value: int) -> dict[str, int]:
    """One step."""
    return {"value": value + 1}


def chain(steps: int) -> int:
    """Steps one after the other."""
    value = 0
    for _ in range(steps):
        value = step(value)["value"]
    return value


async def loop(steps: int, abreast: int) -> int:
    """Steps that do not wait for each other."""
    for first in range(0, steps, abreast):
        await asyncio.gather(*[step_async(n) for n in range(first, min(first + abreast, steps))])
    return steps


step = DBOS.step()(add)
step_async = DBOS.step()(add_async)
chain_workflow = DBOS.workflow()(chain)
loop_workflow = DBOS.workflow()(loop)


def main() -> None:
    """Answer each line."""
    url = sys.argv[1]
    DBOS(config={"name": "peer", "system_database_url": url, "log_level": "ERROR", "run_admin_server": False})
    DBOS.launch()
    print("ready", flush=True)
    with ThreadPoolExecutor(THREADS) as pool:
        for line in sys.stdin:
            asked = json.loads(line)
            began = time.perf_counter()
            if asked["way"] == "chain":
                list(pool.map(chain_workflow, [asked["steps"]] * asked["runs"]))
            else:
                asyncio.run(loop_workflow(asked["steps"], asked["abreast"]))
            print(json.dumps(time.perf_counter() - began), flush=True)
    DBOS.destroy()
    os._exit(0)


if __name__ == "__main__":
    main()
