"""Entry of the API process."""

import asyncio

from b3os.logs import setup
from b3os.process import run, serve_asgi, tell_ready
from b3os.settings import load_settings
from b3os.store.pool import open_pool
from services.api.app import Api
from services.api.house import House

#: Somebody waits for each of the API's statements: a silent database is told after at most twice this.
ANSWER_S = 10.0


async def main(stop: asyncio.Event) -> None:
    settings = load_settings()
    setup(settings.log_level, "api")
    house = House(await open_pool(settings.database_url, max_size=12, answer_s=ANSWER_S), settings, stop)
    try:
        await serve_asgi(Api(house), settings.host, settings.port, stop, on_ready=lambda: tell_ready(settings.ready_fd))
    finally:
        await house.close()


run(main)
