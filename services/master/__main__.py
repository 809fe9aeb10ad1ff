"""Entry of the master process."""

import asyncio

from b3os import metrics
from b3os.logs import setup
from b3os.process import run, tell_ready
from b3os.settings import load_settings
from b3os.store.pool import CALLER_S, open_pool
from services.master.app import Master


async def main(stop: asyncio.Event) -> None:
    settings = load_settings()
    setup(settings.log_level, "master")
    metrics.expose(settings.host, settings.metrics_port)
    pool = await open_pool(settings.database_url, max_size=6)
    # Calls wait for none of the sources' connections, and sources for none of theirs.
    calls = await open_pool(settings.database_url, max_size=6, answer_s=CALLER_S) if settings.webhook_port else pool
    master = Master(pool=pool, calls=calls, settings=settings, stop=stop)
    try:
        await master.start()
        await master.serve(lambda: tell_ready(settings.ready_fd))
    finally:
        await master.close()
        await calls.close()
        await pool.close()


run(main)
