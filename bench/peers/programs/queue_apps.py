"""A task that does nothing, in each of four Python queues; QUEUE says which, QUEUE_URL where its Redis is.

Workers are started with this module by their own commands; `queue_producer` sends. The worker tells the producer when
the last task of a round is done, so that measuring costs nothing before.
"""

import itertools
import os
from typing import Any

import redis

QUEUE, URL = os.environ["QUEUE"], os.environ["QUEUE_URL"]
#: Where the worker says that a round is over.
DONE = "bench:done"

_turns = itertools.count(1)
_redis = redis.Redis.from_url(URL, socket_timeout=None)


def count(total: int) -> None:
    """Count one task; the last of a round is told. The counter is safe between threads."""
    global _turns
    if next(_turns) == total:
        _turns = itertools.count(1)
        _redis.rpush(DONE, total)


if QUEUE == "arq":
    from arq.connections import RedisSettings

    async def noop(ctx: Any, total: int) -> None:
        """Do nothing."""
        count(total)

    #: Its worker says two lines about each task, unless it is told not to.
    QUIET = {"version": 1, "disable_existing_loggers": False}

    class WorkerSettings:
        """What `arq` reads. Its worker polls: every 10 ms is as often as it is sensible, the default is 500."""

        functions = (noop,)
        redis_settings = RedisSettings.from_dsn(URL)
        max_jobs = 100
        keep_result = 0
        poll_delay = 0.01

elif QUEUE.startswith("taskiq"):
    from taskiq_redis import ListQueueBroker, RedisStreamBroker

    async def nothing(total: int) -> None:
        """Do nothing."""
        count(total)

    # By redis-py's own default an idle worker would be thrown out of its waiting read after some seconds.
    broker = (RedisStreamBroker if QUEUE == "taskiq-stream" else ListQueueBroker)(URL, socket_timeout=None)
    task = broker.task(task_name="noop")(nothing)

elif QUEUE == "celery":
    from celery import Celery

    app = Celery("bench", broker=URL.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host="))
    app.conf.update(
        task_ignore_result=True,
        worker_prefetch_multiplier=64,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
    )
    task = app.task(count, name="noop")

else:
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker
    from dramatiq.middleware import default_middleware

    # Prometheus would start processes of its own.
    wanted = [one() for one in default_middleware if one.__name__ != "Prometheus"]
    broker = RedisBroker(url=URL, middleware=wanted)
    dramatiq.set_broker(broker)
    task = dramatiq.actor(count, actor_name="noop", max_retries=0)
