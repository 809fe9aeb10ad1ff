"""Entry of the actions process."""

import asyncio

from b3os.actions.catalog import Catalog
from b3os.logs import setup
from b3os.net.http import GuardedClient
from b3os.process import run, serve_asgi, tell_ready
from b3os.providers import PROVIDERS
from b3os.settings import load_settings
from services.actions.app import ActionsApp


async def main(stop: asyncio.Event) -> None:
    settings = load_settings()
    setup(settings.log_level, "actions")
    http = GuardedClient(settings.egress_allow)
    app = ActionsApp(Catalog(PROVIDERS), http, settings.internal_key)
    try:
        await serve_asgi(app, "127.0.0.1", settings.actions_port, stop, on_ready=lambda: tell_ready(settings.ready_fd))
    finally:
        await http.close()


run(main)
