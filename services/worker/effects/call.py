"""What an effect is given: the worker's open things, and the call with its idempotency key.

An effect is an async function of both that returns the node's result. It begins only after everything before it is
stored, and may begin again after a crash: what it does outside must happen once per key. It raises BadInput for what
the payload has wrong, ActionFailed for what failed outside.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec

from b3os.databases.engine import Databases
from b3os.net.guard import AllowList
from b3os.sandbox.pool import SandboxPool
from b3os.store.pool import Pool


class EffectHouse:
    """The open things that effects share; `hand_over` queues a run, `nudge` wakes the sender of deliveries."""

    def __init__(
        self,
        *,
        pool: Pool,
        databases: Databases,
        sandbox: SandboxPool,
        allow: AllowList,
        master_key: str,
        now_ms: Callable[[], int],
        hand_over: Callable[[str, str, bool], Awaitable[None]],
        nudge: Callable[[], None],
    ) -> None:
        self.pool = pool
        self.databases = databases
        self.sandbox = sandbox
        self.allow = allow
        self.master_key = master_key
        self.now_ms = now_ms
        self.hand_over = hand_over
        self.nudge = nudge

    async def close(self) -> None:
        """Kill what runs user code, and end the threads."""
        await self.sandbox.close()
        self.databases.close()


class EffectCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call. `depth` counts the workflows that triggered each other up to this run."""

    org_id: str
    workflow_id: str
    run_id: str
    node_id: str
    input: dict[str, Any]
    idempotency_key: str
    depth: int = 0


Effect: TypeAlias = Callable[[EffectHouse, EffectCall], Awaitable[Any]]
