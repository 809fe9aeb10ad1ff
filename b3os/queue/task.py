"""A task: what a caller queues, and the message that it is in the queue."""

import msgspec

from b3os.queue.codec import TaskMessage, decode, encode

MAX_RETRY = 25
TIMEOUT_S = 1800


class Task(msgspec.Struct, frozen=True):
    """An item on the queue; the id makes enqueueing idempotent while the task is there.

    `message` is what the queue held, for a task that was taken; one of another program may carry more than ours.
    """

    id: str
    type: str
    payload: bytes
    lane: str
    message: TaskMessage | None = None


def taken(data: bytes, lane: str) -> Task:
    """Read what a lane held."""
    message = decode(data)
    return Task(message.id, message.type, message.payload, lane, message)


def message_of(task: Task) -> TaskMessage:
    """Return the message of a task: the one it was taken with, else a new one."""
    return task.message or TaskMessage(
        type=task.type, payload=task.payload, id=task.id, queue=task.lane, retry=MAX_RETRY, timeout=TIMEOUT_S
    )


def written(task: Task) -> bytes:
    """Return the bytes that the queue holds of a task."""
    return encode(message_of(task))


def failed(task: Task, error: str, now_s: int) -> TaskMessage:
    """Return the message of a task that has failed once more."""
    message = message_of(task)
    return msgspec.structs.replace(message, retried=message.retried + 1, error_msg=error, last_failed_at=now_s)


def is_spent(task: Task) -> bool:
    """Say whether a task has been retried as often as it may."""
    message = message_of(task)
    return message.retried >= message.retry
