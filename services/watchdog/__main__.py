"""Entry of the watchdog process."""

import asyncio

from b3os import metrics
from b3os.actions.catalog import Catalog
from b3os.actions.spec import ActionContext
from b3os.actions.upstreams import Upstreams
from b3os.chain.chains import egress_of, load_chains
from b3os.chain.registry import Chains
from b3os.logs import setup
from b3os.net.http import GuardedClient
from b3os.process import run, tell_ready
from b3os.providers import PROVIDERS
from b3os.settings import load_settings
from b3os.store.pool import open_pool
from services.watchdog.app import Watchdog
from services.watchdog.checks import Places
from services.watchdog.upkeep import Upkeep


async def main(stop: asyncio.Event) -> None:
    settings = load_settings()
    setup(settings.log_level, "watchdog")
    metrics.expose(settings.host, settings.metrics_port)
    pool = await open_pool(settings.database_url, max_size=3)
    chains = load_chains(settings.chains)
    http, nodes = GuardedClient(settings.egress_allow), GuardedClient(egress_of(chains.values()))
    upstreams = Upstreams(http, settings.provider_urls)
    # Probes are nobody's: no organization, no credential, no signer.
    context = ActionContext(http=http, upstreams=upstreams, chains=Chains(chains, nodes))
    places = Places(pool, settings, catalog=Catalog(PROVIDERS), context=context)
    watchdog = Watchdog(pool, list(places.checks()), stop)
    try:
        tell_ready(settings.ready_fd)
        async with asyncio.TaskGroup() as roles:
            roles.create_task(watchdog.serve())
            roles.create_task(Upkeep(pool, settings, stop).serve())
    finally:
        await watchdog.close()
        await places.close()
        for client in (upstreams, http, nodes, pool):
            await client.close()


run(main)
