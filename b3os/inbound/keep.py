"""What was received, kept for a look and a replay: a bounded number for each organization, credentials masked.

Kept behind the answer and in batches, so that no call waits for it: what a process had not written when it died is not
there to be looked at. Its run is.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping

from asyncpg import InterfaceError, PostgresError

from b3os.detect.webhooks import HIDDEN_HEADERS
from b3os.ids import new_id
from b3os.store import webhooks as store
from b3os.store.pool import Pool
from b3os.store.webhooks import Call, Target

log = logging.getLogger("b3os.inbound")

#: A larger body is noted and not kept: it cannot be replayed.
BODY_LIMIT = 64 * 1024
HEADERS_LIMIT = 64
HEADER_LIMIT = 2000
#: One call in so many also removes the oldest of its organization.
PRUNE_EVERY = 50
BATCH = 200
#: Calls that may wait to be written; more are not kept.
WAITING = 2000
MASK = "•••"
#: A signature is good for a replay against us or others.
MASKED_HEADERS = HIDDEN_HEADERS | {
    "stripe-signature",
    "x-pd-signature",
    "x-hook0-signature",
    "x-shopify-hmac-sha256",
    "x-hub-signature-256",
    "x-slack-signature",
    "webhook-signature",
    "x-neynar-signature",
}
REFUSED = "refused"


class Keeper:
    """Keeps calls."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._counts: dict[str, int] = {}
        self._waiting: deque[Call] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._last_ms = 0

    def keep(
        self, target: Target, headers: Mapping[str, str], body: bytes, *, status: str, reason: str, run_id: str | None
    ) -> None:
        """Keep one call, soon."""
        if len(self._waiting) >= WAITING:
            return
        has_body = status != REFUSED and len(body) <= BODY_LIMIT
        self._waiting.append(
            Call(
                org_id=target.org_id,
                id=self._next_id(),
                workflow_id=target.workflow_id,
                node_id=target.node_id,
                received_at=None,
                status=status,
                reason=reason,
                run_id=run_id,
                headers=masked(headers),
                body=body if has_body else None,
                size=len(body),
            )
        )
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())

    def _next_id(self) -> str:
        """Make an id that sorts after all before it: a list is in the order of arrival, within a millisecond too."""
        self._last_ms = max(self._last_ms + 1, time.time_ns() // 1_000_000)
        return new_id("call", now_ms=lambda: self._last_ms)

    async def settle(self) -> None:
        """Wait until everything that was kept is written."""
        while self._writing is not None and not self._writing.done():
            await asyncio.wait([self._writing])

    async def _write(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH))]
            try:
                await store.add_calls(self._pool, batch)
                for org_id in {call.org_id for call in batch}:
                    if self._is_pruning(org_id, sum(call.org_id == org_id for call in batch)):
                        await store.prune_calls(self._pool, org_id)
            except (OSError, PostgresError, InterfaceError, TimeoutError) as error:
                log.warning("calls not kept", extra={"count": len(batch), "error": str(error)})

    def _is_pruning(self, org_id: str, count: int) -> bool:
        """Also at an organization's first calls here: processes come and go."""
        if len(self._counts) > 10_000:
            self._counts.clear()
        before = self._counts.get(org_id, PRUNE_EVERY)
        is_due = before + count >= PRUNE_EVERY
        self._counts[org_id] = 0 if is_due else before + count
        return is_due


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers as they are kept: credentials and signatures masked, number and length bounded."""
    kept = list(headers.items())[:HEADERS_LIMIT]
    return {name: MASK if name in MASKED_HEADERS else value[:HEADER_LIMIT] for name, value in kept}
