"""Entry of the master process."""

import asyncio

from b3os import metrics
from b3os.logs import setup
from b3os.process import run, tell_ready
from b3os.settings import load_settings
from b3os.store.pool import open_pool
from services.master.app import Master


async def main(stop: asyncio.Event) -> None:
    settings = load_settings()
    setup(settings.log_level, "master")
    metrics.expose(settings.host, settings.metrics_port)
    pool = await open_pool(settings.database_url, max_size=12 if settings.webhook_port else 6)
    master = Master(pool=pool, settings=settings, stop=stop)
    try:
        await master.start()
        await master.serve(lambda: tell_ready(settings.ready_fd))
    finally:
        await master.close()
        await pool.close()


run(main)
