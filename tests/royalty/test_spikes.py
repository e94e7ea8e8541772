"""Spikes: what is far above the usual is held until it is released, and never reported meanwhile."""

from __future__ import annotations

from decimal import Decimal
from statistics import median as reference

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.due import compare
from royalty.errors import InputError
from royalty.logs import Policy
from royalty.spikes import format_release, hold_spikes, median, parse_release
from royalty.store import UsageStore
from royalty.terms import Held, Item, difference
from royalty.usage import Kind, WorkRef

DAY = 20_000
WORK = WorkRef(1, 0)
POLICY = Policy(spike_multiple=Decimal(3), spike_above=10, spike_days=5)


def item(units: int, day: int = DAY, kind: Kind = Kind.VIEW, **changes) -> Item:
    return Item(day, changes.pop("work", WORK), kind, 1, units, 3, **changes)


def of(counts: dict[int, int]):
    """What was reported of each day: views of the work, under two versions of the deal."""

    def reported(day: int) -> dict[tuple[int, int, Kind, int], int]:
        units = counts.get(day, 0)
        found = {(1, 1, Kind.VIEW, 0): units - units // 3, (1, 2, Kind.VIEW, 0): units // 3}
        return {key: count for key, count in found.items() if count}

    return reported


def held(items: list[Item]) -> list[tuple[int, Held | None]]:
    return [(one.units, one.held) for one in items]


def test_what_lies_beyond_a_multiple_of_the_median_is_held() -> None:
    reported = of({DAY - 1: 100, DAY - 2: 20, DAY - 4: 30})
    found = hold_spikes([item(101)], POLICY, reported=reported)
    assert held(found) == [(100, None), (1, Held.SPIKE_HOLD)]
    assert hold_spikes([item(100)], POLICY, reported=reported) == [item(100)]


def test_days_before_the_window_and_days_without_units_do_not_count() -> None:
    reported = of({DAY - 6: 1000, DAY - 5: 4})
    assert held(hold_spikes([item(23)], POLICY, reported=reported)) == [
        (22, None),
        (1, Held.SPIKE_HOLD),
    ]


def test_a_work_without_a_past_has_what_lies_above() -> None:
    found = hold_spikes([item(11)], POLICY, reported=of({}))
    assert held(found) == [(10, None), (1, Held.SPIKE_HOLD)]
    strict = Policy(spike_multiple=Decimal(3), spike_above=0)
    assert held(hold_spikes([item(11)], strict, reported=of({}))) == [(11, Held.SPIKE_HOLD)]


def test_kinds_and_works_are_compared_with_their_own_past() -> None:
    items = [item(50), item(50, kind=Kind.DOWNLOAD), item(50, work=WorkRef(1, 1))]
    found = hold_spikes(items, POLICY, reported=of({DAY - 1: 40}))
    assert held(found) == [
        (50, None),
        (10, None),
        (40, Held.SPIKE_HOLD),
        (10, None),
        (40, Held.SPIKE_HOLD),
    ]


def test_what_was_released_is_let_go_on_its_day_alone() -> None:
    items = [item(50), item(50, DAY + 1, work=WorkRef(1, 1))]
    found = hold_spikes(items, POLICY, reported=of({}), released={(DAY, WORK)})
    assert held(found) == [(50, None), (10, None), (40, Held.SPIKE_HOLD)]


def test_what_is_held_for_another_reason_stays_so() -> None:
    rival = item(500, held=Held.RIVAL_CATALOGUE)
    assert hold_spikes([rival], POLICY, reported=of({})) == [rival]


def test_without_the_step_nothing_is_held() -> None:
    assert hold_spikes([item(10**6)], Policy(), reported=of({})) == [item(10**6)]


counts = st.lists(st.integers(0, 60), min_size=1, max_size=9)


@given(counts, st.sets(st.integers(0, 8)))
def test_days_come_to_the_same_one_by_one_and_at_once(units: list[int], let_go: set[int]) -> None:
    items = [item(count, DAY + at) for at, count in enumerate(units) if count]
    released = {(DAY + at, WORK) for at in let_go}
    days = range(DAY, DAY + len(units))
    at_once = hold_spikes(items, POLICY, reported=of({}), released=released, counted=days)
    landed: dict[int, int] = {}
    one_by_one: list[Item] = []
    for one in items:
        made = hold_spikes([one], POLICY, reported=of(landed), released=released, counted=[one.day])
        landed[one.day] = sum(part.units for part in made if not part.held)
        one_by_one += made
    assert at_once == one_by_one
    assert sum(one.units for one in at_once) == sum(units)


@given(st.lists(st.integers(1, 99), min_size=1))
def test_the_median_is_exact(numbers: list[int]) -> None:
    assert median(sorted(numbers)) == reference(map(Decimal, numbers))


@given(st.integers(1, 30), st.integers(0, 30), st.integers(0, 70))
def test_of_an_item_in_two_parts_each_unit_is_due_held_or_reported_once(
    usual: int, beyond: int, before: int
) -> None:
    parts = [item(usual), *([item(beyond, held=Held.SPIKE_HOLD)] if beyond else [])]
    found = difference(DAY, parts, {item(1).key: before})
    total = usual + beyond
    assert sum(one.units for one in found.due) == max(0, usual - before)
    assert sum(one.units for one in found.held) == min(beyond, max(0, total - before))
    assert sum(one.units for one in found.negative) == min(0, total - before)
    due = compare(
        parts,
        [DAY],
        closed=(),
        reported=lambda _: {},
        reported_before=lambda _: {item(1).key: before},
    )
    assert sum(one.units for one in due.already) == min(before, total)


def test_a_release_is_written_as_work_and_day() -> None:
    assert parse_release("12/3:1970-01-02") == (1, WorkRef(12, 3))
    assert format_release((1, WorkRef(12, 3))) == "12/3:1970-01-02"


@pytest.mark.parametrize(
    "text", ["12/3", "12/3:", "12:1970-01-02", "film:1970-01-02", "12/3:yesterday"]
)
def test_what_is_no_release_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_release(text)


def test_a_store_keeps_what_was_released(tmp_path) -> None:
    store = UsageStore(tmp_path / "store")
    assert store.released() == frozenset()
    store.release([(DAY, WORK)])
    store.release([(DAY + 1, WorkRef(2, 5))])
    assert UsageStore(store.folder).released() == {(DAY, WORK), (DAY + 1, WorkRef(2, 5))}
    (store.folder / "released.json").write_text("[[1]]")
    with pytest.raises(InputError, match="damaged"):
        store.released()


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ({"above": 3}, "needs a multiple"),
        ({"multiple": -1}, "0 or more"),
        ({"multiple": 3, "days": 0}, "1 to 366"),
        ({"multiple": 3, "above": -1}, "0 or more"),
    ],
)
def test_a_hold_that_cannot_be_meant_is_refused(section, why) -> None:
    with pytest.raises(InputError, match=why):
        Policy.of({"spike": section})


def test_the_digest_has_every_number_of_the_hold() -> None:
    full = {"multiple": 3, "above": 100, "days": 28}
    assert Policy.of({"spike": {"multiple": 3}}).digest == Policy.of({"spike": full}).digest
    others = [full | {"multiple": 4}, full | {"above": 99}, full | {"days": 27}]
    digests = {Policy.of({"spike": one}).digest for one in [full, *others]} | {Policy().digest}
    assert len(digests) == 5
