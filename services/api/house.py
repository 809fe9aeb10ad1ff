"""What every handler of the API shares: the pool, the queue, the streams, the stop signal."""

import asyncio
from pathlib import Path

from b3os.chain.chains import egress_of, load_chains
from b3os.chain.registry import Chains
from b3os.databases.engine import Databases
from b3os.inbound.forms import Desk
from b3os.net.http import GuardedClient
from b3os.queue.broker import Broker
from b3os.settings import Settings
from b3os.store.pool import Pool
from b3os.stream.follow import Follower
from b3os.stream.publish import Publisher
from b3os.stream.watch import Watcher
from services.api.limits import Turns


class House:
    """The open connections of one API process."""

    def __init__(self, pool: Pool, settings: Settings, stop: asyncio.Event) -> None:
        self.pool = pool
        self.settings = settings
        self.stop = stop
        chains = load_chains(settings.chains)
        self.chains = frozenset(chains)
        self._http = GuardedClient(allow=egress_of(chains.values()))
        self.nodes = Chains(chains, self._http)
        self.turns = Turns()
        self.databases = Databases(Path(settings.data_dir))
        self.broker = Broker(settings.redis_ops_url, lane_limit=settings.queue_limit)
        self.desk = Desk(pool, self.broker, settings.master_key)
        self.inbox = self.desk.inbox
        self.follower = Follower(settings.redis_ops_url)
        self.watcher = Watcher(settings.redis_ops_url)
        self.publisher = Publisher(settings.redis_ops_url)

    async def close(self) -> None:
        """Close what is open, the pool last."""
        await self.inbox.close()
        await self._http.close()
        self.databases.close()
        await self.follower.close()
        await self.watcher.close()
        await self.publisher.close()
        await self.broker.close()
        await self.pool.close()
