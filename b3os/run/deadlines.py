"""How long a node may call, and how long a run may last. Pure."""

from b3os.run.records import NodeError

#: Of one attempt of a node that calls something; `timeoutMs` of the node changes it.
CALL_MS = 60_000
#: Of a whole run, waits included: four of the longest waits in a row; `timeoutMs` of the definition changes it.
RUN_MS = 30 * 24 * 3600 * 1000


def call_too_long(timeout_ms: int) -> NodeError:
    """Describe a call that was given up; its effect may still have happened, under its idempotency key."""
    return NodeError(
        code="400352",
        message=f"no answer within {timeout_ms} ms, the node's deadline: the effect may still have happened",
        category="network",
        remediation="raise the node's `timeoutMs`, or give it `maxRetries`",
        retryable=True,
    )


def run_too_long(timeout_ms: int) -> NodeError:
    """Describe a node that was open when its run's deadline passed."""
    return NodeError(
        code="400351",
        message=f"the run lasted over {timeout_ms} ms, its deadline, and this node had not ended",
        category="config",
        remediation="raise `timeoutMs` of the definition, or wait for less",
    )
