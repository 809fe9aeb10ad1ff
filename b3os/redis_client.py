"""Opens a Redis or Valkey client by URL: one server, one that Sentinels name, or a cluster.

redis://[:password@]host:6379/0       rediss:// for TLS
unix:///path/to.sock
redis+sentinel://[:password@]host:26379,host:26379/mymaster/0
redis+cluster://[:password@]host:6379[,host:6379]
"""

from typing import Any
from urllib.parse import unquote, urlsplit

import redis.asyncio
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from b3os.errors import BadInput

SENTINEL, CLUSTER = "redis+sentinel", "redis+cluster"
SENTINEL_PORT, CLUSTER_PORT = 26379, 6379
#: A Sentinel that does not answer must not hold up the others, and is not asked again before them.
SENTINEL_TIMEOUT_S = 1.0


def open_redis(url: str) -> Any:
    """Return an asyncio client; it connects when it is first used. Raises BadInput for a URL that cannot be read."""
    scheme = url.partition("://")[0]
    if scheme == SENTINEL:
        return _behind_sentinels(url)
    if scheme == CLUSTER:
        nodes = [ClusterNode(host, port) for host, port in _hosts(url, CLUSTER_PORT)]
        return RedisCluster(startup_nodes=nodes, **_credentials(url))
    try:
        return redis.asyncio.Redis.from_url(url)
    except ValueError as error:
        raise BadInput(f"a Redis URL cannot be read: {error}. See docs/settings.md.", code=400001) from error


def is_cluster(url: str) -> bool:
    """Say whether a URL names a cluster."""
    return url.partition("://")[0] == CLUSTER


def watchers_of(url: str) -> tuple[Any, str, dict[str, Any]]:
    """Return the Sentinels of a URL, the master's name, and how to sign in there."""
    name, _, number = urlsplit(url).path.strip("/").partition("/")
    if not name or not (number or "0").isdigit():
        raise BadInput("a Sentinel URL ends with the master's name: redis+sentinel://host:26379/mymaster", code=400001)
    watchers: Any = Sentinel(  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
        _hosts(url, SENTINEL_PORT),
        sentinel_kwargs={"socket_timeout": SENTINEL_TIMEOUT_S, "retry": Retry(NoBackoff(), 0)},
    )
    return watchers, name, {"db": int(number or "0"), **_credentials(url)}


def _behind_sentinels(url: str) -> Any:
    watchers, name, options = watchers_of(url)
    return watchers.master_for(name, **options)


def _hosts(url: str, port: int) -> list[tuple[str, int]]:
    found = []
    for part in urlsplit(url).netloc.rpartition("@")[2].split(","):
        host, _, number = part.rpartition(":") if ":" in part else (part, "", str(port))
        if not host or not number.isdigit():
            raise BadInput("a Redis URL names its hosts as host:port, separated by commas", code=400001)
        found.append((host, int(number)))
    return found


def _credentials(url: str) -> dict[str, Any]:
    user, _, password = urlsplit(url).netloc.rpartition("@")[0].rpartition(":")
    found: dict[str, Any] = {"username": unquote(user), "password": unquote(password)}
    return {key: value for key, value in found.items() if value}
