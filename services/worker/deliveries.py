"""The delivery role: sends webhooks that are due, through the guard, signed, and notes how each attempt went.

Any worker may send any delivery; a claim keeps others away while one does. Organizations take turns, so that an address
that never answers holds up its own organization only. Redirects are not followed: the signature and the headers are for
the address that the user gave.
"""

import asyncio
import contextlib
import logging
import time
from typing import Any

import msgspec
from asyncpg import InterfaceError, PostgresError

from b3os import metrics
from b3os.auth.sealing import hook_secret_name, unseal
from b3os.errors import ActionFailed, B3osError
from b3os.ids import new_secret
from b3os.net.http import GuardedClient, Response
from b3os.run.builtins.webhooks import DELIVERY, SIGNATURE, retry_delay_s, sign
from b3os.run.sizes import cut_text
from b3os.store import deliveries
from b3os.store.pool import Pool

log = logging.getLogger("b3os.deliveries")

CONCURRENCY = 50
#: Deliveries of this worker go out at once; those of others, and retries, are found this often.
POLL_S = 1.0
#: The first retry; each later one waits four times as long.
FIRST_RETRY_S = 10.0
TIMEOUT_S = 15.0
#: A claim outlives the attempt and the note of it.
HOLD_S = 2 * TIMEOUT_S
BODY_BYTES, HEADERS_KEPT = 8192, 50
DISABLED = "the execution webhook was disabled"
LATE = "given up: it could not be sent within a day of being due"
FAILURES = (OSError, PostgresError, InterfaceError, B3osError)


class Deliverer:
    """Sends what is due until it is cancelled; an attempt that is cut off is made again by whoever claims it next."""

    def __init__(
        self, pool: Pool, http: GuardedClient, master_key: str, *, first_retry_s: float = FIRST_RETRY_S
    ) -> None:
        self._pool = pool
        self._http = http
        self._master_key = master_key
        self._first_retry_s = first_retry_s
        self._due = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()

    def nudge(self) -> None:
        """Say that something is due now."""
        self._due.set()

    async def serve(self) -> None:
        """Claim, send, wait."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._due.clear()
                if not await self._begin(group):
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._due.wait(), POLL_S)

    async def _begin(self, group: asyncio.TaskGroup) -> bool:
        """Begin what is due as far as there is room; returns whether there may be more."""
        room = CONCURRENCY - len(self._sending)
        if not room:
            return False
        try:
            found = await deliveries.claim_due(self._pool, room, HOLD_S)
        except FAILURES as error:
            log.warning("deliveries not read", extra={"error": str(error)})
            return False
        for due in found:
            task = group.create_task(self._deliver(due))
            self._sending.add(task)
            task.add_done_callback(self._ended)
        return bool(found)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._due.set()  # what did not fit, here or beside others of its organization, may begin

    async def _deliver(self, due: deliveries.Due) -> None:
        try:
            attempt = await self._attempt(due)
            await deliveries.finish(self._pool, due, attempt)
        except FAILURES as error:
            # The claim lapses, and the delivery is made again.
            log.warning("delivery not noted", extra={"org": due.org_id, "delivery": due.id, "error": str(error)})
            return
        metrics.DELIVERIES.labels(attempt.status).inc()

    async def _attempt(self, due: deliveries.Due) -> deliveries.Attempt:
        if due.is_disabled or due.is_late:
            return deliveries.Attempt(is_success=False, error_message=DISABLED if due.is_disabled else LATE)
        headers = await self._headers(due)
        began = time.monotonic()
        try:
            response = await self._http.request(
                *(due.method, due.url), headers=headers, body=due.body, timeout_s=TIMEOUT_S, max_bytes=BODY_BYTES,
                max_redirects=0, may_cut=True,
            )  # fmt: skip
        except ActionFailed as error:
            return self._failed(due, began, cut_text(error.message), None, may_retry=error.retryable)
        except B3osError as error:
            return self._failed(due, began, cut_text(error.message), None, may_retry=False)
        if 200 <= response.status < 300:
            return deliveries.Attempt(is_success=True, duration_ms=_since(began), **_answer(response))
        return self._failed(due, began, f"the receiver answered {response.status}", response, may_retry=True)

    async def _headers(self, due: deliveries.Due) -> dict[str, str]:
        headers = {"user-agent": "b3os", **due.headers, DELIVERY: due.id}
        if due.secret_headers is not None:
            name = f"delivery:{due.sealed_as}"
            plain = await unseal(self._pool, due.org_id, name, self._master_key, due.secret_headers)
            headers |= msgspec.json.decode(plain or b"{}", type=dict[str, str])
        return {**headers, SIGNATURE: sign(await self._secret(due), due.body)}

    async def _secret(self, due: deliveries.Due) -> str:
        """Return what signs a delivery: an execution webhook has a secret of its own."""
        if due.hook_secret is None:
            return await deliveries.webhook_secret(self._pool, due.org_id, new_secret)
        name = hook_secret_name(due.endpoint_id)
        return (await unseal(self._pool, due.org_id, name, self._master_key, due.hook_secret) or b"").decode()

    def _failed(
        self, due: deliveries.Due, began: float, message: str, response: Response | None, *, may_retry: bool
    ) -> deliveries.Attempt:
        retry = due.retry_count + 1
        is_last = not may_retry or retry > due.max_retries
        return deliveries.Attempt(
            is_success=False,
            retry_in_s=None if is_last else retry_delay_s(due.id, retry, self._first_retry_s),
            error_message=message,
            duration_ms=_since(began),
            **({} if response is None else _answer(response)),
        )


def _answer(response: Response) -> dict[str, Any]:
    headers = dict(list(response.headers.items())[:HEADERS_KEPT])
    return {
        "response_status": response.status,
        "response_headers": {name: cut_text(value, 1024) for name, value in headers.items() if name != "set-cookie"},
        "response_body": response.body.decode(errors="replace").replace("\0", "\ufffd"),
    }


def _since(began: float) -> int:
    return int((time.monotonic() - began) * 1000)
