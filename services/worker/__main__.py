"""Entry of the worker process."""

import asyncio

from b3os import metrics
from b3os.logs import setup
from b3os.process import run, tell_ready
from b3os.settings import load_settings
from b3os.store.pool import open_pool
from services.worker.app import Worker


async def main(stop: asyncio.Event) -> None:
    settings = load_settings()
    setup(settings.log_level, "worker")
    metrics.expose(settings.host, settings.metrics_port)
    pool = await open_pool(settings.database_url, max_size=8)
    worker = Worker(pool=pool, settings=settings, stop=stop)
    tell_ready(settings.ready_fd)
    try:
        await worker.serve()
    finally:
        await pool.close()


run(main)
