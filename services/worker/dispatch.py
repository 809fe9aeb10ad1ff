"""The worker's client of the actions process: a call under its idempotency key, made again until it is answered.

An answer is final, whatever it says. A call that got none (refused, cut, or the process says that it stops) is made
again under the same key, within the node's deadline; that is no retry of the node.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import msgspec

from b3os import metrics
from b3os.errors import ActionFailed
from b3os.run.commands import CallAction

#: Between one call and the next: doubled each time, less up to half of it.
PAUSE_S, PAUSE_MOST_S = 0.05, 1.0
#: Of whoever stands before an actions process, or of one that stops: nobody answered.
UNANSWERED = frozenset({502, 503, 504})
NEVER_ANSWERED = "503051"


class Failure(msgspec.Struct, frozen=True, rename="camel"):
    """Why an action failed, in the words of the execute protocol."""

    code: str = "API_ERROR"
    message: str = "the action failed"
    category: str = "service"
    remediation: str | None = None
    retryable: bool = False


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    """What `POST /execute` answers when the action was tried."""

    success: bool
    data: Any = None
    error: Failure | None = None


class Refusal(msgspec.Struct, frozen=True):
    """What it answers when the call itself is refused."""

    code: int
    message: str


class Unanswered(Exception):
    """A call got no answer; what it was to do may have been done."""


class ActionsClient:
    """Calls `POST {url}/execute`; one session for the life of the worker."""

    def __init__(self, url: str, internal_key: str, *, chance: Callable[[], float] = random.random) -> None:
        self._url = f"{url.rstrip('/')}/execute"
        self._headers = {"x-internal-key": internal_key, "content-type": "application/json"}
        self._chance = chance
        self._session: aiohttp.ClientSession | None = None

    async def execute(
        self, command: CallAction, *, org_id: str, workflow_id: str, run_id: str, credential: dict[str, Any] | None
    ) -> Any:
        """Run one action and return its data; raises ActionFailed with category and remediation.

        The caller ends it at the node's deadline: so long it is asked again, and not longer.
        """
        body = msgspec.json.encode(
            {
                "type": command.type,
                "inputs": command.input,
                "connector": command.connector,
                "credential": credential,
                "orgId": org_id,
                "workflowId": workflow_id,
                "runId": run_id,
                "nodeId": command.node_id,
                "idempotencyKey": command.idempotency_key,
            }
        )
        now = asyncio.get_running_loop().time
        end = now() + command.timeout_ms / 1000
        pauses = self._pauses()
        while True:
            try:
                return result_of(*await self._post(body))
            except Unanswered as error:
                pause_s = next(pauses)
                if now() + pause_s >= end:
                    raise never_answered(command.timeout_ms, error) from error
            metrics.ACTION_REPEATS.inc()
            await asyncio.sleep(pause_s)

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        """Ask once; returns status and body, raises Unanswered."""
        if self._session is None:
            # How many calls there are is the hands' to say: a limit here would let runs in hand wait for each other.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
            )
        try:
            async with self._session.post(self._url, data=body, headers=self._headers) as response:
                status, data = response.status, await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise Unanswered(type(error).__name__) from error
        if status in UNANSWERED:
            raise Unanswered(f"HTTP {status}")
        return status, data

    def _pauses(self) -> Iterator[float]:
        pause_s = PAUSE_S
        while True:
            yield pause_s * (1 - self._chance() / 2)
            pause_s = min(2 * pause_s, PAUSE_MOST_S)


def result_of(status: int, data: bytes) -> Any:
    """Return the data of an answer; raises ActionFailed for any that is no success."""
    try:
        if status != 200:
            raise refused(msgspec.json.decode(data, type=Refusal))
        answer = msgspec.json.decode(data, type=Answer)
    except msgspec.DecodeError as error:
        raise ActionFailed(f"the actions process answered nonsense (HTTP {status})", category="internal") from error
    if answer.success:
        return answer.data
    failure = answer.error or Failure()
    raise ActionFailed(
        failure.message,
        error_code=failure.code,
        category=failure.category,
        remediation=failure.remediation or "",
        retryable=failure.retryable,
    )


def refused(why: Refusal) -> ActionFailed:
    """Make the error of a call that the process did not try."""
    return ActionFailed(
        f"the actions process refuses the call: {why.message}",
        error_code=str(why.code),
        category="config",
        remediation="run workers and actions of one version with one B3OS_INTERNAL_KEY",
    )


def never_answered(timeout_ms: int, last: Unanswered) -> ActionFailed:
    """Make the error of a call that nobody answered within its node's deadline."""
    return ActionFailed(
        f"no actions process answered within {timeout_ms} ms, the node's deadline ({last})",
        error_code=NEVER_ANSWERED,
        category="network",
        remediation="start `b3os actions`, then retry the run",
        retryable=True,
    )
