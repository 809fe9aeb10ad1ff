"""The worker's client of the actions process: one POST per action, with its idempotency key."""

from typing import Any

import aiohttp
import msgspec

from b3os.errors import ActionFailed
from b3os.run.commands import CallAction


class Failure(msgspec.Struct, frozen=True, rename="camel"):
    """Why an action failed, in the words of the execute protocol."""

    code: str = "API_ERROR"
    message: str = "the action failed"
    category: str = "service"
    remediation: str | None = None
    retryable: bool = False


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    """What `POST /execute` answers."""

    success: bool
    data: Any = None
    error: Failure | None = None


class ActionsClient:
    """Calls `POST {url}/execute`; one session for the life of the worker."""

    def __init__(self, url: str, internal_key: str) -> None:
        self._url = f"{url.rstrip('/')}/execute"
        self._headers = {"x-internal-key": internal_key, "content-type": "application/json"}
        self._session: aiohttp.ClientSession | None = None

    async def execute(
        self, command: CallAction, *, org_id: str, workflow_id: str, run_id: str, credential: dict[str, Any] | None
    ) -> Any:
        """Run one action and return its data; raises ActionFailed with category and remediation.

        The deadline is the caller's: it is the node's.
        """
        if self._session is None:
            # How many calls there are is the hands' to say: a limit here would let runs in hand wait for each other.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
            )
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
        try:
            async with self._session.post(self._url, data=body, headers=self._headers) as response:
                answer = msgspec.json.decode(await response.read(), type=Answer)
        except (aiohttp.ClientError, OSError) as error:
            raise ActionFailed(
                f"the actions process cannot be reached: {type(error).__name__}",
                category="network",
                remediation="start `b3os actions`, then retry the run",
                retryable=True,
            ) from error
        except msgspec.DecodeError as error:
            raise ActionFailed("the actions process answered nonsense", category="internal") from error
        if not answer.success:
            failure = answer.error or Failure()
            raise ActionFailed(
                failure.message,
                error_code=failure.code,
                category=failure.category,
                remediation=failure.remediation or "",
                retryable=failure.retryable,
            )
        return answer.data

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
