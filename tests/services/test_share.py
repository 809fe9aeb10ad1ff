"""How masters share the sources, played out among masters that look in any order."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.master.share import Elsewhere, Plan, View, kind_of, plan, shares

KINDS = ("cron", "chain", "price", "gmail", "slack")


class Masters:
    """Masters and leases; every look is carried out at once, and what is given is free."""

    def __init__(self, counts: tuple[int, ...], seed: int) -> None:
        self.wanted = [f"{kind}:{n}" for kind, count in zip(KINDS, counts, strict=True) for n in range(count)]
        self.alive: list[str] = []
        self.owners: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self.moves = 0
        self.random = random.Random(seed)
        #: Masters that do not want some kind.
        self.refuses: dict[str, str] = {}

    def look(self, me: str) -> Plan:
        wanted = [name for name in self.wanted if kind_of(name) != self.refuses.get(me)]
        held = {name for name, owner in self.owners.items() if owner == me}
        others = {name: owner for name, owner in self.owners.items() if owner != me and name in wanted}
        decided = plan(
            View(
                me=me,
                masters=sorted(self.alive),
                wanted=wanted,
                held=held,
                asked={name: self.asks[name] for name in held & self.asks.keys()},
                elsewhere={name: Elsewhere(owner, self.asks.get(name, "")) for name, owner in others.items()},
            )
        )
        for name in decided.take:
            assert name not in self.owners
            self.owners[name] = me
            self.asks.pop(name, None)
            self.moves += 1
        for name in decided.give:
            assert self.owners.pop(name) == me
        self.asks |= dict.fromkeys(decided.ask, me)
        return decided

    def settle(self) -> None:
        """Look in any order until nobody does anything; what is still free then is nobody's."""
        for _ in range(20):
            looks = [self.look(me) for me in self.random.sample(self.alive, len(self.alive))]
            if not any(one.take or one.ask or one.give for one in looks):
                return
        raise AssertionError("the masters do not come to rest")

    def die(self, me: str) -> None:
        self.alive.remove(me)
        self.owners = {name: owner for name, owner in self.owners.items() if owner != me}

    def check(self) -> None:
        assert set(self.owners) == set(self.wanted)
        for names in (self.wanted, *([n for n in self.wanted if kind_of(n) == kind] for kind in KINDS)):
            counts = Counter(dict.fromkeys(self.alive, 0))
            counts.update(self.owners[name] for name in names)
            assert max(counts.values()) - min(counts.values()) <= 1


sizes = st.tuples(*(st.integers(0, 9) for _ in KINDS))


@given(sizes, st.integers(1, 6), st.integers(0, 10**6))
def test_masters_that_come_and_go_share_every_kind(counts: tuple[int, ...], many: int, seed: int) -> None:
    house = Masters(counts, seed)
    for number in range(many):
        house.alive.append(f"m{number}")
        house.settle()
        house.check()
    while len(house.alive) > 1:
        house.die(house.random.choice(house.alive))
        house.settle()
        house.check()


@given(sizes, st.integers(1, 5), st.integers(0, 10**6))
def test_one_that_comes_takes_its_share_and_moves_nothing_else(counts: tuple[int, ...], many: int, seed: int) -> None:
    house = Masters(counts, seed)
    house.alive = [f"m{number}" for number in range(many)]
    house.settle()
    before, house.moves = dict(house.owners), 0
    house.alive.append("m9")
    house.settle()
    moved = [name for name, owner in house.owners.items() if owner != before[name]]
    assert house.moves == len(moved), "what moved, moved once"
    kinds = sum(count > 0 for count in counts)
    assert len(moved) <= -(-len(house.wanted) // (many + 1)) + kinds, "its share, and one of a kind for the new deal"


def test_the_longest_alive_keeps_what_there_is_one_of() -> None:
    house = Masters((1, 0, 0, 0, 0), 1)
    house.alive = ["m1"]
    house.settle()
    house.alive.append("m2")
    house.settle()
    assert house.owners == {"cron:0": "m1"}


def test_who_does_not_want_a_kind_is_given_none_of_it() -> None:
    house = Masters((1, 2, 0, 4, 0), 1)
    house.alive, house.refuses = ["m1"], {"m2": "gmail"}
    house.settle()
    house.alive.append("m2")
    house.settle()
    assert {house.owners[name] for name in house.wanted if kind_of(name) == "gmail"} == {"m1"}
    assert Counter(house.owners[name] for name in house.wanted)["m2"] == 1


def test_what_waits_for_a_master_with_room_is_anybodys_after_a_while() -> None:
    view = View(me="m1", masters=["m1", "m2"], wanted=["chain:1", "chain:2"], held={"chain:1"}, asked={}, elsewhere={})
    assert plan(view) == Plan([], [], [], ["chain:2"])
    spare = View(
        me="m1", masters=["m1", "m2"], wanted=view.wanted, held={"chain:1"}, asked={}, elsewhere={}, spare={"chain:2"}
    )
    assert plan(spare) == Plan(["chain:2"], [], [], [])


def test_a_question_of_a_dead_master_is_not_answered_and_asked_again() -> None:
    wanted, masters = ["chain:1", "chain:2"], ["m1", "m2"]
    asked = View(me="m1", masters=["m1"], wanted=wanted, held=set(wanted), asked={"chain:1": "m0"}, elsewhere={})
    assert plan(asked).give == []
    elsewhere = {"chain:1": Elsewhere("m1", "m0"), "chain:2": Elsewhere("m1", "m0")}
    new = View(me="m2", masters=masters, wanted=wanted, held=set(), asked={}, elsewhere=elsewhere)
    assert len(plan(new).ask) == 1


@pytest.mark.parametrize("many", [1, 2, 3, 7])
def test_the_deal_gives_everything_to_somebody(many: int) -> None:
    wanted = [f"chain:{n}" for n in range(12)] + ["price"]
    dealt = shares(wanted, [f"m{n}" for n in range(many)])
    assert sum(sum(one.values()) for one in dealt.values()) == len(wanted)
