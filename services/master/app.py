"""The master on one screen: keep the index fresh, listen to sources and to calls, admit events, hand runs to the queue.

Every master holds all triggers (`table`), kept like the database by a 100 ms tick (`refresh`); the sources are leased
(`keeper`), so that M masters share them.
"""

import asyncio
from collections.abc import Callable

from b3os.actions.upstreams import Upstreams
from b3os.chain.chains import egress_of, load_chains
from b3os.ids import new_id
from b3os.inbound.forms import Desk
from b3os.net.http import GuardedClient
from b3os.process import serve_asgi
from b3os.queue.broker import Broker
from b3os.settings import Settings
from b3os.store.pool import Pool
from b3os.stream.publish import Publisher
from services.master.admit import Admitter
from services.master.chain.book import StoredBook
from services.master.keeper import Keeper
from services.master.listener import Listener
from services.master.refresh import Refresh
from services.master.source import Family
from services.master.sources.chains import Chains, Thresholds
from services.master.sources.cron import Cron
from services.master.sources.gmail import Gmail
from services.master.sources.polymarket import Polymarket
from services.master.sources.prices import Prices
from services.master.sources.slack import Slack
from services.master.table import Table
from services.master.thresholds.book import StoredEdgeBook


class Master:
    """One master process: its index, its leases, its sources; inbound calls are answered from a pool of their own."""

    def __init__(self, *, pool: Pool, calls: Pool, settings: Settings, stop: asyncio.Event) -> None:
        self._stop = stop
        self._settings = settings
        self._broker = Broker(settings.redis_ops_url, lane_limit=settings.queue_limit)
        self._publisher = Publisher(settings.redis_ops_url)
        admitter = Admitter(pool, self._broker)
        chains = list(load_chains(settings.chains).values())
        self._http = GuardedClient(allow=egress_of(chains))
        self._upstreams = Upstreams(self._http, settings.provider_urls)
        table, book = Table(), StoredBook(pool, admitter, self._publisher)
        families: tuple[Family, ...] = (
            Cron(admitter, pool, table),
            Chains(chains, http=self._http, table=table, book=book),
            Thresholds(chains, http=self._http, book=StoredEdgeBook(pool, book)),
            Prices(settings, admitter=admitter, pool=pool, table=table),
            Gmail(settings, upstreams=self._upstreams, admitter=admitter, pool=pool, table=table),
            Slack(settings, upstreams=self._upstreams, admitter=admitter, pool=pool, table=table),
            Polymarket(settings, upstreams=self._upstreams, admitter=admitter, pool=pool, table=table),
        )
        table.follow(families)
        self._keeper = Keeper(pool, new_id("master"), families)
        self._refresh = Refresh(pool, table, self._keeper.wake)
        self._desk = Desk(calls, self._broker, settings.master_key)

    async def start(self) -> None:
        """Read all active triggers once; afterwards only changes are read."""
        await self._refresh.start()

    async def serve(self, on_ready: Callable[[], None]) -> None:
        """Tick, and follow the sources whose leases are ours, until `stop`; `on_ready` is called when all is open."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._refresh.serve()), group.create_task(self._keeper.serve())]
            if self._settings.webhook_port:
                group.create_task(self._listen(on_ready))
            else:
                on_ready()
            await self._stop.wait()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._keeper.close()  # at once: calls that are still answered hold no source up

    async def _listen(self, on_ready: Callable[[], None]) -> None:
        """Take calls until `stop`, and answer those that came."""
        host, port = self._settings.webhook_host, self._settings.webhook_port
        await serve_asgi(Listener(self._desk), host, port, self._stop, on_ready=on_ready)

    async def close(self) -> None:
        """Give the leases back, so that another master goes on at once."""
        await self._keeper.close()
        await self._desk.inbox.close()
        await self._broker.close()
        await self._publisher.close()
        await self._upstreams.close()
        await self._http.close()
