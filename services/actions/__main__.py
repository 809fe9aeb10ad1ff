"""Entry of the actions process."""

import asyncio
from pathlib import Path

from b3os import metrics
from b3os.actions.catalog import Catalog
from b3os.actions.upstreams import Upstreams
from b3os.chain.chains import egress_of, load_chains
from b3os.chain.registry import Chains
from b3os.chain.signer import LocalKeystore
from b3os.logs import setup
from b3os.net.http import GuardedClient
from b3os.process import run, serve_asgi, tell_ready
from b3os.providers import PROVIDERS
from b3os.settings import load_settings
from services.actions.app import ActionsApp


async def main(stop: asyncio.Event) -> None:
    settings = load_settings()
    setup(settings.log_level, "actions")
    metrics.expose(settings.host, settings.metrics_port)
    http = GuardedClient(settings.egress_allow)
    chains = load_chains(settings.chains)
    upstreams = Upstreams(http, settings.provider_urls)
    nodes = GuardedClient(egress_of(chains.values()))
    has_keystore = settings.keystore_dir and settings.keystore_password
    app = ActionsApp(
        Catalog(PROVIDERS),
        http=http,
        upstreams=upstreams,
        chains=Chains(chains, nodes),
        signer=LocalKeystore(Path(settings.keystore_dir), settings.keystore_password) if has_keystore else None,
        internal_key=settings.internal_key,
    )
    try:
        await serve_asgi(
            app, "127.0.0.1", settings.actions_port, stop,
            on_ready=lambda: tell_ready(settings.ready_fd), drain=lambda: app.drain(settings.grace_s),
        )  # fmt: skip
    finally:
        await http.close()
        await nodes.close()
        await upstreams.close()


run(main)
