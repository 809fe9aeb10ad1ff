"""Random definitions with random outcomes end once, alike wherever their owner dies, and move by the table only."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from b3os.run.events import Start
from b3os.run.frontier import head_of, open_nodes
from b3os.run.transitions import NODE, NODE_FINAL, RUN, RUN_FINAL
from b3os.workflow.compiled import Compiled
from b3os.workflow.definition import normalise
from tests.examples import examples
from tests.unit.run.world import World

ARMS = {"if": ["then", "else"], "wait": ["resumed", "timed_out"]}
PAYLOADS: dict[str, dict[str, Any]] = {
    "if": {"condition": {"$and": [{"{{$trigger.n}}": {"$gt": 3}}]}},
    "wait": {"timeoutMs": 5000},
    "delay": {"delayMs": 2000},
    "log": {"message": "{{$index}}"},
    "storage": {"key": "k", "value": 1},
    "act": {"x": "{{$item}}"},
}


@st.composite
def definitions(draw: st.DrawFn) -> Compiled:
    """Nested scopes, each a random DAG; branches where a parent has them."""
    nodes: dict[str, dict[str, Any]] = {}

    def scope(depth: int) -> list[str]:
        own = [f"n{len(nodes) + place}" for place in range(draw(st.integers(1, 4)))]
        nodes.update({name: {} for name in own})
        for place, name in enumerate(own):
            kinds = ["act", "act", "act", "log", "if", "wait", "delay", "storage"] + ["for-each"] * (depth < 2)
            kind = draw(st.sampled_from(kinds))
            node: dict[str, Any] = {"type": kind, "payload": PAYLOADS.get(kind, {})}
            node["onError"] = draw(st.sampled_from(["fail", "continue", "branch", "continue"]))
            node["maxRetries"] = draw(st.sampled_from([0, 1, 3]))
            later = own[place + 1 :]
            node["children"] = draw(st.lists(st.sampled_from(later), max_size=2, unique=True)) if later else []
            if kind == "for-each":
                node["payload"] = {"array": draw(st.sampled_from([[], [1], [1, 2, 3], "no list"]))}
                node["loopBody"] = scope(depth + 1)
            branch = draw(st.sampled_from([None, "then", "else", "resumed", "timed_out", "error"]))
            if branch:
                node["branch"] = branch
            nodes[name] |= node
        return own

    top = scope(0)
    entries = draw(st.lists(st.sampled_from(top), min_size=1, max_size=3, unique=True))
    return Compiled(normalise({"nodes": {"root": {"type": "manual", "children": entries}, **nodes}}))


def told(world: World) -> dict[tuple[str, str], tuple[str, str | None]]:
    return {key: (record.status, record.branch) for key, record in world.final.items()}


@settings(max_examples=examples(150))
@given(definitions(), st.integers(0, 1000), st.integers(0, 9))
def test_every_history_of_a_definition_has_one_end(compiled: Compiled, salt: int, n: int) -> None:
    straight = World(compiled, salt=salt, n=n).run()
    assert straight.moves <= NODE.keys()
    assert straight.run_moves <= RUN.keys()
    assert straight.most_calls <= 10
    if straight.status == "success":
        assert {key for key, state in straight.states.items() if state not in NODE_FINAL} == set()
    for cut in range(1, straight.stored):
        again = World(compiled, salt=salt, cut=cut, n=n).run()
        assert again.status == straight.status, cut
        assert again.moves <= NODE.keys()
        if straight.status == "success":
            assert told(again) == told(straight), cut


@settings(max_examples=examples(60))
@given(definitions(), st.integers(0, 1000))
def test_records_have_numbers_of_their_own(compiled: Compiled, salt: int) -> None:
    world = World(compiled, salt=salt).run()
    numbers = [record.seq for record in (*world.open.values(), *world.final.values())]
    assert len(numbers) == len(set(numbers))


@settings(max_examples=examples(100))
@given(definitions(), st.integers(0, 1000), st.data())
def test_what_is_open_follows_from_what_is_stored(compiled: Compiled, salt: int, data: st.DataObject) -> None:
    """At any moment of a run the walk over its records finds the calls in flight, the waits and the retries."""
    world = World(compiled, salt=salt)
    world.tell(Start(world.now_ms))
    for _ in range(data.draw(st.integers(0, 12))):
        if world.status in RUN_FINAL:
            return
        world.step()
    if world.status in RUN_FINAL or any(r.status == "failure" for r in world.final.values()):
        return
    heads = [head_of(record) for record in (*world.open.values(), *world.final.values())]
    found = {(one.node_id, one.path): one.state for one in open_nodes(compiled, "root", heads)}
    waits = {key: record.status for key, record in world.open.items() if key not in world.final}
    assert {key: state for key, state in found.items() if state != "running"} == {
        key: state for key, state in waits.items() if state != "running"
    }
    assert set(world.calls) <= set(found)
