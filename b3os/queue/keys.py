"""Every Redis key of the queue, with its type. Asynq's names; the braces are literal (cluster hash tags).

All keys of one lane share a slot, and so do the two of one server. A script touches keys of one slot only; what spans
lanes (the set of queues, the lists of servers, the wake list) is written by plain commands.
"""

#: SET of queue names
QUEUES = "asynq:queues"
#: ZSET of server keys and ZSET of their workers keys, each with its expiry in unix s
SERVERS, WORKERS = "asynq:servers", "asynq:workers"
#: Pub/sub channel; a message is the id of a task to cancel
CANCEL = "asynq:cancel"
#: LIST that workers block on, by why: see lua.py
WAKE = "b3os:wake"

CRITICAL, DEFAULT = "critical", "default"
LANES = (CRITICAL, DEFAULT)


class LaneKeys:
    """The keys of one lane."""

    def __init__(self, lane: str) -> None:
        own = f"asynq:{{{lane}}}:"
        #: LIST of ids, taken from the right; LIST of ids being worked on; ZSET of them by lease expiry in unix s
        self.pending, self.active, self.lease = own + "pending", own + "active", own + "lease"
        #: ZSETs of ids by the unix s when their time comes
        self.scheduled, self.retry = own + "scheduled", own + "retry"
        #: ZSET of ids by the unix s when they died; ZSET of ids by the unix s when they are forgotten
        self.archived, self.completed = own + "archived", own + "completed"
        #: STRING, unix s; there while the lane is paused
        self.paused = own + "paused"
        #: STRING counters; processed counts failures too
        self.processed, self.failed = own + "processed", own + "failed"
        #: prefix of HASH t:<id> with msg, state, pending_since (ns), unique_key, group, result
        self.task = own + "t:"
        #: prefix of ZSET g:<group>
        self.group = own + "g:"

    def processed_on(self, day: str) -> str:
        """STRING counter of a day, YYYY-MM-DD in UTC."""
        return f"{self.processed}:{day}"

    def failed_on(self, day: str) -> str:
        """STRING counter of a day, YYYY-MM-DD in UTC."""
        return f"{self.failed}:{day}"


def server_keys(host: str, pid: int, server_id: str) -> tuple[str, str]:
    """STRING of a server's ServerInfo, and HASH of task id to WorkerInfo."""
    tag = f"{{{host}:{pid}:{server_id}}}"
    return f"{SERVERS}:{tag}", f"{WORKERS}:{tag}"
