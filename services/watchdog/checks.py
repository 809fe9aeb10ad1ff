"""Every check of this installation: its components, its configured chains, the probe of every action."""

from collections.abc import Awaitable, Callable, Iterator
from urllib.parse import urlsplit

import msgspec
from redis.asyncio import Redis

from b3os.actions.catalog import Catalog
from b3os.actions.probe import is_probed, probe
from b3os.actions.spec import ActionContext
from b3os.chain.chains import load_chains
from b3os.errors import B3osError, Unavailable
from b3os.net.http import GuardedClient
from b3os.settings import Settings
from b3os.store import health
from b3os.store.pool import Pool

COMPONENT_S = 15
CHAIN_S = 60

Try = Callable[[], Awaitable[None]]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is looked at: `look` returns when it is well, and raises when it is not."""

    id: str
    kind: str
    name: str
    interval_s: float
    look: Try | None = None
    waived: str = ""


class Places:
    """The open connections of the checks."""

    def __init__(self, pool: Pool, settings: Settings, *, catalog: Catalog, context: ActionContext) -> None:
        self.pool = pool
        self.settings = settings
        self.catalog = catalog
        self.context = context
        self.redis = {
            name: Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
            for name, url in (("redis-ops", settings.redis_ops_url), ("redis-data", settings.redis_data_url))
        }
        api, actions = f"http://{settings.host}:{settings.port}", settings.actions_url
        hosts = ",".join(urlsplit(url).netloc for url in (api, actions))
        self._urls = {"api": f"{api}/readyz", "actions": f"{actions}/healthz"}
        self._http = GuardedClient(f"0.0.0.0/0,::/0,{hosts}")

    async def close(self) -> None:
        """Close what is open."""
        for client in self.redis.values():
            await client.aclose()
        await self._http.close()

    def checks(self) -> Iterator[Check]:
        """Return every check."""
        yield self._component("postgres", "PostgreSQL", self._postgres)
        yield self._component("redis-ops", "Redis for the queue and streams", self._ops)
        yield self._component("redis-data", "Redis for the cache", self._data)
        yield self._component("api", "API", lambda: self._get("api"))
        yield self._component("actions", "Actions", lambda: self._get("actions"))
        yield self._component("master", "A master holds the lease of the clock", self._master)
        yield self._component("worker", "Workers take runs up", self._workers)
        if self.settings.chains:
            for chain_id in sorted(set(load_chains(self.settings.chains)) - set(load_chains())):
                yield self._chain(chain_id)
        for name, spec in self.catalog.specs.items():
            yield Check(
                id=f"action:{name}",
                kind="action",
                name=spec.title,
                interval_s=spec.health.interval_s,
                look=self._action(name) if is_probed(spec) else None,
                waived="" if is_probed(spec) else spec.health.waived,
            )

    def _component(self, name: str, title: str, look: Try) -> Check:
        return Check(id=f"component:{name}", kind="component", name=title, interval_s=COMPONENT_S, look=look)

    def _chain(self, chain_id: int) -> Check:
        async def look() -> None:
            await self.context.chains.rpc(chain_id).height()

        return Check(id=f"chain:{chain_id}", kind="chain", name=f"Chain {chain_id}", interval_s=CHAIN_S, look=look)

    def _action(self, name: str) -> Try:
        async def look() -> None:
            found = await probe(self.catalog, self.catalog.get(name), self.context)
            if not found.ok:
                raise Unavailable(found.error)

        return look

    async def _postgres(self) -> None:
        await health.ping(self.pool)

    async def _ops(self) -> None:
        client = self.redis["redis-ops"]
        await client.ping()
        policy = (await client.config_get("maxmemory-policy")).get("maxmemory-policy")
        if policy != "noeviction":
            raise Unavailable(f"its maxmemory-policy is {policy}: set noeviction, or tasks may be dropped")

    async def _data(self) -> None:
        await self.redis["redis-data"].ping()

    async def _get(self, name: str) -> None:
        answer = await self._http.request("GET", self._urls[name], timeout_s=5)
        if answer.status != 200:
            raise Unavailable(f"it answers {answer.status}")

    async def _master(self) -> None:
        if not await health.lease_is_held(self.pool, "cron"):
            raise Unavailable("no master holds the lease: start `b3os master`")

    async def _workers(self) -> None:
        waiting_s = await health.oldest_unclaimed_s(self.pool)
        if waiting_s > 10:
            raise Unavailable(f"a run has waited {waiting_s:.0f} s for a worker: start `b3os worker`, or more of them")


def words_of(error: BaseException) -> str:
    """Say what a failed check means, in one line."""
    text = error.message if isinstance(error, B3osError) else f"{type(error).__name__}: {error}"
    return text.splitlines()[0][:500] if text else type(error).__name__
