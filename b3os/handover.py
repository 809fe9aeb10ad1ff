"""From a stored run to a queued task: what every process that starts or wakes runs does after its commit.

The queue may be down or full: nothing is lost, since the sweeper finds runs that nobody holds. A run that found no room
in its organization's window waits in the database; a worker with nothing to do is told so.
"""

import logging
from collections.abc import Sequence
from typing import Protocol

import msgspec

from b3os.errors import TooMany, Unavailable
from b3os.queue.task import Task
from b3os.run.queued import TYPE, RunTask, lane_of, payload_of
from b3os.store.admission import Outcome, Proposal

log = logging.getLogger("b3os.handover")


class Started(msgspec.Struct, frozen=True):
    """A run to go on with: what its task carries, what started it, and whether it has room in the queue."""

    run: RunTask
    source: str
    is_queued: bool


class HandsOver(Protocol):
    """What is needed of the queue."""

    async def call_feeder(self) -> None: ...
    async def enqueue(self, tasks: Sequence[Task]) -> list[bool]: ...


def task_of(run: RunTask, source: str) -> Task:
    """Make the task that hands a run to whichever worker is free."""
    return Task(run.run_id, TYPE, payload_of(run), lane_of(source))


def started_by(proposal: Proposal, outcome: Outcome) -> Started:
    """Tell what a proposal started; a run whose node was waited for has a trigger already, and it was another."""
    if proposal.wait is not None:
        run = RunTask(proposal.org_id, proposal.run_id)
    else:
        run = RunTask(
            proposal.org_id, outcome.run_id, proposal.workflow_id, proposal.version, proposal.node_id, proposal.source,
            proposal.now_ms, proposal.result,
        )  # fmt: skip
    return Started(run, proposal.source, outcome.is_queued)


async def hand_over(queue: HandsOver, started: Sequence[Started]) -> None:
    """Queue runs, or tell a worker that some wait for room."""
    try:
        if any(not one.is_queued for one in started):
            await queue.call_feeder()
        await queue.enqueue([task_of(one.run, one.source) for one in started if one.is_queued])
    except (Unavailable, TooMany) as error:
        log.warning("runs not queued", extra={"error": error.message})
