"""Every Redis key of the queue, with its type. Asynq's names; the braces are literal (cluster hash tags)."""

#: SET of queue names
QUEUES = "asynq:queues"
CRITICAL, DEFAULT = "critical", "default"
LANES = (CRITICAL, DEFAULT)


def prefix(lane: str) -> str:
    """Return the prefix of a lane's keys. Scripts append pending (LIST), active (LIST), lease (ZSET), t:<id> (HASH),
    processed (STRING) and processed:<day> (STRING)."""
    return f"asynq:{{{lane}}}:"


def wake(lane: str) -> str:
    """LIST that workers block on: one element says that the lane has something."""
    return f"b3os:wake:{{{lane}}}"
