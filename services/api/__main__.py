"""Entry of the API process."""

import asyncio

from b3os.logs import setup
from b3os.process import run, serve_asgi, tell_ready
from b3os.settings import load_settings
from b3os.store.pool import CALLER_S, open_pool
from services.api.app import Api
from services.api.house import House


async def main(stop: asyncio.Event) -> None:
    settings = load_settings()
    setup(settings.log_level, "api")
    house = House(await open_pool(settings.database_url, max_size=12, answer_s=CALLER_S), settings, stop)
    try:
        await serve_asgi(Api(house), settings.host, settings.port, stop, on_ready=lambda: tell_ready(settings.ready_fd))
    finally:
        await house.close()


run(main)
