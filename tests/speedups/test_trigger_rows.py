"""The held triggers against their model over generated histories, and their reader against anything."""

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from b3os._speedups.trigger_rows import TriggerRows
from tests.reference.trigger_rows import Name, TriggerRowsModel
from tests.trigger_records import packed_record, record

# Few values, so that histories collide; names whose joined bytes are equal.
NAMES = st.tuples(
    st.sampled_from(["o", "oo"]), st.sampled_from(["", "o", "w", "ow", "é"]), st.sampled_from(["", "n", "wn"])
)
BODIES = st.sampled_from([(b"p1", None), (b"p2\0", None), (b"", b"{}"), (b"", b'{"a":1}'), (b"", b"")])
ROWS = st.tuples(
    st.sampled_from(["cronjob", "evm-log"]),
    st.integers(1, 2),
    st.sampled_from([0, 5]),
    BODIES,
    st.sampled_from([None, b"run"]),
)
BATCHES = st.dictionaries(NAMES, st.none() | ROWS, max_size=12)


def written(name: Name, row: Any) -> bytes:
    kind, version, since_us, (pattern, payload), wait = row or ("gone", 1, 0, (b"", b""), None)
    return packed_record(
        [
            *(part.encode() for part in name),
            kind.encode(),
            struct.pack(">i", version),
            struct.pack(">q", since_us),
            bytes([row is not None]),
            pattern,
            None if payload is None else b"\x01" + payload,
            wait,
        ]
    )


class Histories(RuleBasedStateMachine):
    """Batches in any order; after each step both hold the same, and slots stay their triggers' own."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.model = TriggerRows(), TriggerRowsModel()
        self.slots: dict[Name, int] = {}

    @rule(batch=BATCHES)
    def apply(self, batch: dict[Name, Any]) -> None:
        changes = self.rows.apply(b"".join(written(name, row) for name, row in batch.items()))
        put, dropped = self.model.apply(batch)
        assert {(kind, slot) for kind, slots in changes.drops.items() for slot in slots} == {
            (kind, self.slots[name]) for kind, name in dropped
        }
        for name, row in batch.items():
            if row is None:
                self.slots.pop(name, None)
        slots = {name: self.rows.slot_of(*name) for name in put}
        for name, slot in slots.items():
            assert slot is not None
            assert self.slots.setdefault(name, slot) == slot
        assert len(set(self.slots.values())) == len(self.slots)
        bare = {slots[name] for name in put if not batch[name][3][0]}
        assert {slot for found in changes.puts.values() for slot in found} == bare
        expected = {slots[name]: batch[name][3][0] for name in put if batch[name][3][0]}
        assert unpacked(changes.patterns) == expected

    @rule()
    def begin_check(self) -> None:
        self.rows.clear_marks()
        self.model.met.clear()

    @rule()
    def forget_the_unmet(self) -> None:
        found = self.rows.unmarked(1000)
        assert set(found) == {self.slots[name] for name in self.model.rows.keys() - self.model.met}
        assert self.rows.drop([*found, 10**6]).slots == found
        for name in self.model.rows.keys() - self.model.met:
            del self.model.rows[name], self.slots[name]

    @invariant()
    def hold_the_same(self) -> None:
        assert len(self.rows) == len(self.model.rows)
        for name, (kind, version, since_us, (pattern, payload), wait) in self.model.rows.items():
            slot = self.slots[name]
            since_ms = since_us // 1000 + 946_684_800_000
            assert self.rows.get(slot) == (
                *name,
                kind,
                version,
                since_ms,
                pattern or None,
                None if pattern else payload,
                wait,
            )
            assert self.rows.since(slot) == since_ms
        kinds = [row[0] for row in self.model.rows.values()]
        assert self.rows.sizes() == {kind: kinds.count(kind) for kind in set(kinds)}


def unpacked(patterns: bytes | bytearray) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(patterns):
        slot, size = struct.unpack_from("<II", patterns, at)
        found[slot] = bytes(patterns[at + 8 : at + 8 + size])
        at += 8 + size
    return found


TestHistories = Histories.TestCase
TestHistories.settings = settings(stateful_step_count=30)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_rows_are_refused(data: bytes) -> None:
    rows = TriggerRows()
    if data:
        with pytest.raises(ValueError, match="record_send"):
            rows.apply(data)
    assert len(rows) == 0


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_damaged_row_never_reads_beyond_its_bytes(at: int, value: int) -> None:
    data = bytearray(record("wf", "cronjob", {"schedule": "* * * * *"}))
    data[at % len(data)] = value
    rows = TriggerRows()
    try:
        rows.apply(data)
    except ValueError:
        return
    for slot in range(2):
        rows.get(slot)


def test_many_rows_come_and_go_and_memory_is_given_back() -> None:
    rows = TriggerRows()
    names = [f"wf_{number}" for number in range(20_000)]
    rows.apply(b"".join(record(name) for name in names))
    full = rows.memory()
    assert len({rows.slot_of("org_a", name, "root") for name in names}) == len(names)
    rows.apply(b"".join(record(name, active=False) for name in names[::2]))
    assert rows.slot_of("org_a", names[0], "root") is None
    assert rows.slot_of("org_a", names[1], "root") is not None
    assert rows.memory() < full
    rows.apply(b"".join(record(f"new_{number}") for number in range(10_000)))
    assert rows.memory() <= full + 10_000


def test_columns_that_a_later_version_adds_are_passed_over() -> None:
    rows = TriggerRows()
    one = record("wf", "cronjob", {"a": 1})
    longer = struct.pack(">i", 11) + one[4:] + struct.pack(">Ii", 25, 3) + b"new"
    assert rows.apply(longer + record("other")).slots == [0, 1]
    assert rows.apply(one).slots == []
