"""What counted units cost, what of them is held, and what is due beyond what was reported."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from royalty.platforms import Licence
from royalty.terms import (
    Held,
    Item,
    Terms,
    amount_nano,
    difference,
    held_rows,
)
from royalty.usage import Kind, Tariff, WorkRef, units_of

DAY = 20_000
WORK = WorkRef(1, 0)
PRICES = Tariff(3, 500, 7)


@dataclass(frozen=True)
class Deal:
    catalogue: int
    version: int
    tariff: Tariff
    since: int
    until: int | None

    def in_force(self, day: int) -> bool:
        return self.since <= day and (self.until is None or day < self.until)


DEALS = {
    1: (
        Deal(1, 1, PRICES, DAY - 5, DAY),
        Deal(1, 2, Tariff(4, 500, 7), DAY, DAY + 5),
        Deal(1, 3, PRICES, DAY + 5, None),
    )
}


def terms(
    maximum: Tariff = PRICES, *, despite_rival: bool = False, rivals: tuple[WorkRef, ...] = ()
) -> Terms:
    return Terms(DEALS, {1: Licence(maximum, despite_rival)}, rivals)


def item(units: int, kind: Kind = Kind.VIEW, *, index: int = 0, held: Held | None = None) -> Item:
    return Item(DAY, WorkRef(1, index), kind, 1, units, PRICES.price(kind), held)


def test_a_price_is_that_of_the_deal_in_force_on_the_day_of_the_usage() -> None:
    found = {day: terms().item(day, WORK, Kind.VIEW, 10) for day in (DAY - 1, DAY, DAY + 5)}
    assert {day: (one.version, one.amount_nano) for day, one in found.items() if one} == {
        DAY - 1: (1, 30),
        DAY: (2, 40),
        DAY + 5: (3, 30),
    }
    assert terms().item(DAY - 6, WORK, Kind.VIEW, 10) is None


def test_only_the_kind_that_is_dearer_than_accepted_is_held() -> None:
    found = {kind: terms().item(DAY, WORK, kind, 1) for kind in Kind}
    assert {kind: one.held for kind, one in found.items() if one} == {
        Kind.VIEW: Held.DEARER_THAN_ACCEPTED,
        Kind.DOWNLOAD: None,
        Kind.EXCERPT: None,
    }


def test_a_rival_is_held_first_and_unless_accepted_despite_it() -> None:
    held = terms(rivals=(WORK,)).item(DAY, WORK, Kind.VIEW, 1)
    accepted = terms(Tariff(4, 500, 7), despite_rival=True, rivals=(WORK,))
    free = accepted.item(DAY, WORK, Kind.VIEW, 1)
    assert held is not None
    assert free is not None
    assert (held.held, free.held) == (Held.RIVAL_CATALOGUE, None)


def test_what_is_due_is_the_count_less_what_was_reported() -> None:
    counted = [item(5), item(2, Kind.DOWNLOAD), item(4, index=1, held=Held.RIVAL_CATALOGUE)]
    reported = {
        (1, 1, Kind.VIEW, 0): 3,
        (1, 1, Kind.DOWNLOAD, 0): 2,
        (1, 1, Kind.VIEW, 1): 1,
        (1, 1, Kind.EXCERPT, 2): 9,
    }
    found = difference(DAY, counted, reported)
    assert found.due == (item(2),)
    assert found.held == (item(3, index=1, held=Held.RIVAL_CATALOGUE),)
    assert [(one.work.index, one.kind, one.units) for one in found.negative] == [
        (2, Kind.EXCERPT, -9)
    ]


def test_too_much_of_a_held_work_is_negative_not_held() -> None:
    found = difference(DAY, [item(1, held=Held.RIVAL_CATALOGUE)], {(1, 1, Kind.VIEW, 0): 3})
    assert (found.due, found.held) == ((), ())
    assert [one.units for one in found.negative] == [-2]


keys = st.tuples(st.integers(0, 3), st.sampled_from(list(Kind)))
unit_tables = st.dictionaries(keys, st.integers(1, 9), max_size=8)


@given(unit_tables, unit_tables)
def test_due_and_negative_together_are_the_difference(
    counts: dict[tuple[int, Kind], int], before: dict[tuple[int, Kind], int]
) -> None:
    counted = [item(units, kind, index=index) for (index, kind), units in counts.items()]
    reported = {(1, 1, kind, index): units for (index, kind), units in before.items()}
    found = difference(DAY, counted, reported)
    assert all(one.units > 0 for one in found.due)
    assert all(one.units < 0 for one in found.negative)
    change = {one.key: one.units for one in (*found.due, *found.negative)}
    for index, kind in counts.keys() | before.keys():
        expected = counts.get((index, kind), 0) - before.get((index, kind), 0)
        assert change.get((1, 1, kind, index), 0) == expected


@given(st.lists(unit_tables, max_size=4))
def test_reports_of_growing_counts_add_up_to_the_last(
    steps: list[dict[tuple[int, Kind], int]],
) -> None:
    counts: dict[tuple[int, Kind], int] = {}
    reported: dict[tuple[int, int, Kind, int], int] = {}
    for step in steps:
        for key, units in step.items():
            counts[key] = counts.get(key, 0) + units
        counted = [item(units, kind, index=index) for (index, kind), units in counts.items()]
        for due in difference(DAY, counted, reported).due:
            reported[due.key] = reported.get(due.key, 0) + due.units
    assert reported == {(1, 1, kind, index): units for (index, kind), units in counts.items()}


def test_units_amounts_and_held_rows_add_up() -> None:
    items = [item(2), item(3, Kind.EXCERPT), item(5, index=1, held=Held.RIVAL_CATALOGUE)]
    assert units_of(items) == {"view": 7, "download": 0, "excerpt": 3}
    assert amount_nano(items) == 2 * 3 + 3 * 7 + 5 * 3
    assert held_rows(items) == [
        {
            "reason": "rival_catalogue",
            "work": "1/1",
            "units": {"view": 5, "download": 0, "excerpt": 0},
            "amount_nano": 15,
        }
    ]
