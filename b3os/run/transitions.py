"""Every transition of a node and of a run, as data; drawn in ARCHITECTURE.md, and held against the scheduler by a test.

A node that only computes passes `running` within one step; nothing is stored of that. What is stored of a node that
has not ended is `waiting`, `scheduled`, and `running` for a loop.
"""

Transitions = dict[tuple[str, str], str]

NODE: Transitions = {
    ("pending", "running"): "an edge to it was taken, and a slot is free if it calls something",
    ("pending", "skipped"): "its edges are settled and none was taken",
    ("running", "success"): "it has its result",
    ("running", "failure"): "it has its error, or the run's deadline passed",
    ("running", "waiting"): "it waits for a timer, a callback or an event",
    ("running", "scheduled"): "its error may be retried, and retries are left",
    ("waiting", "success"): "what it waited for came",
    ("waiting", "failure"): "it timed out with no child for that, or the run's deadline passed",
    ("scheduled", "running"): "its back-off is over",
    ("scheduled", "failure"): "the run's deadline passed",
}

RUN: Transitions = {
    ("running", "waiting"): "nothing is in flight, and a node waits",
    ("waiting", "running"): "a timer, a callback or an event woke it",
    ("running", "success"): "every node is finished or skipped",
    ("running", "failure"): "a node failed and nothing handled it; calls in flight were awaited first",
    ("running", "cancelled"): "somebody cancelled it",
    ("waiting", "cancelled"): "somebody cancelled it",
}


def finals(transitions: Transitions) -> frozenset[str]:
    """Return the states that nothing leaves."""
    return frozenset(to for _, to in transitions) - frozenset(start for start, _ in transitions)


NODE_FINAL = finals(NODE)
RUN_FINAL = finals(RUN)
