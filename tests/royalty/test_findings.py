"""Findings out of two tables: sums are exact and every fault is found under its own reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.findings import (
    Cell,
    ChainLine,
    Context,
    Deals,
    Reason,
    Terms,
    compare,
    credited_nano,
    expected_nano,
    is_over,
    reported_twice,
    reused_evidence,
    sentence,
    shortfall_percent,
    summary,
    unmatched,
)
from royalty.usage import Kind, Tariff, WorkRef

PLATFORM = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
FIRST, CHANGE, LAST = 20_000, 20_003, 20_006
# Catalogue 1 changes its price on day CHANGE; excerpts in catalogue 2 are free.
DEALS = Deals(
    (
        Terms(1, 1, FIRST, CHANGE, Tariff(3_000_000, 500_000_000, 100_000)),
        Terms(1, 2, CHANGE, None, Tariff(4_000_001, 500_000_000, 100_007)),
        Terms(2, 1, FIRST - 100, None, Tariff(7, 2**40 - 1, 0)),
    )
)
WORKS = {1: 4, 2: 3}
CONTEXT = Context(deals=DEALS, works=WORKS)

works = st.sampled_from([WorkRef(c, i) for c, count in WORKS.items() for i in range(count)])
cells = st.builds(Cell, works, st.integers(FIRST, LAST), st.sampled_from(list(Kind)))
units = st.integers(1, 2**40)
logs = st.dictionaries(cells, units, max_size=25)


def lines_of(log: dict[Cell, int], batch: int = 1) -> list[ChainLine]:
    """What an honest platform reports for a log."""
    return [line(cell, count, batch) for cell, count in log.items()]


def line(cell: Cell, count: int, batch: int = 1) -> ChainLine:
    deal = DEALS.on(cell.work.catalogue, cell.day)
    assert deal is not None
    return ChainLine(batch, cell.day, cell.work, deal.version, cell.kind, count)


@st.composite
def chains(draw: st.DrawFn) -> list[ChainLine]:
    """Any lines at all: several batches a cell, wrong versions, indexes never registered."""
    found = []
    for cell in draw(st.lists(cells, max_size=25)):
        index = draw(st.sampled_from([cell.work.index, cell.work.index, 9]))
        version = draw(st.integers(1, 2)) if cell.work.catalogue == 1 else 1
        batch = draw(st.integers(1, 4))
        work = WorkRef(cell.work.catalogue, index)
        found.append(ChainLine(batch, cell.day, work, version, cell.kind, draw(units)))
    return found


@given(log=logs)
def test_a_clean_pair_has_no_findings(log: dict[Cell, int]) -> None:
    assert compare(PLATFORM, log, lines_of(log), CONTEXT) == []


@given(log=logs, split=st.integers(1, 3))
def test_a_cell_reported_in_several_batches_is_clean(log: dict[Cell, int], split: int) -> None:
    parts = [line(c, n // split, b) for c, n in log.items() for b in range(1, split + 1)]
    rest = [line(c, n % split, 9) for c, n in log.items()]
    assert compare(PLATFORM, log, [*parts, *rest], CONTEXT) == []


@given(log=logs, chain=chains())
def test_differences_sum_to_the_difference_of_the_totals(
    log: dict[Cell, int], chain: list[ChainLine]
) -> None:
    rows = compare(PLATFORM, log, chain, CONTEXT)
    worth = sum(expected_nano(cell, count, DEALS) for cell, count in log.items())
    credited = sum(credited_nano(found, DEALS) for found in chain)
    assert sum(row.difference_nano or 0 for row in rows) == worth - credited
    assert sum(money for _, _, money in summary(rows)) == worth - credited


@given(log=logs, chain=chains())
def test_each_cell_that_differs_has_exactly_one_row_and_no_other_has_any(
    log: dict[Cell, int], chain: list[ChainLine]
) -> None:
    on_chain: dict[Cell, int] = defaultdict(int)
    for found in chain:
        on_chain[found.cell] += found.units
    must = {c for c in {*log, *on_chain} if log.get(c, 0) != on_chain.get(c, 0)}
    may = must | {
        found.cell
        for found in chain
        if found.work.index == 9
        or found.version != DEALS.on(found.work.catalogue, found.day).version  # type: ignore[union-attr]
    }
    rows = compare(PLATFORM, log, chain, CONTEXT)
    seen = [(row.work, row.day, row.kind) for row in rows]
    assert len(seen) == len(set(seen))
    assert {(str(c.work), c.day, c.kind) for c in must} <= set(seen)
    assert set(seen) <= {(str(c.work), c.day, c.kind) for c in may}


@given(log=logs, lines=chains(), data=st.data())
def test_what_waits_in_open_leaves_changes_no_sum_and_explains_no_unit_twice(
    log: dict[Cell, int], lines: list[ChainLine], data: st.DataObject
) -> None:
    some = st.sampled_from(
        sorted({*log, *(one.cell for one in lines)}) or [Cell(WorkRef(1, 0), FIRST, Kind.VIEW)]
    )
    pending = [
        line(cell, data.draw(units), batch)
        for cell in data.draw(st.lists(some, max_size=6))
        if cell.work.index < WORKS[cell.work.catalogue]
        for batch in data.draw(st.lists(st.integers(5, 7), max_size=3))
    ]
    rows = compare(PLATFORM, log, lines, CONTEXT, pending)
    waiting = [row for row in rows if row.reason == Reason.UNSETTLED]
    total = sum(expected_nano(cell, count, DEALS) for cell, count in log.items())
    total -= sum(credited_nano(one, DEALS) for one in lines)
    assert sum(row.difference_nano or 0 for row in rows) == total
    reported = Counter[Cell]()
    for one in lines:
        reported[one.cell] += one.units
    for cell in {one.cell for one in pending}:
        mine = [
            row for row in waiting if (row.work, row.day, row.kind) == (str(cell.work), *cell[1:])
        ]
        held = sum(one.units for one in pending if one.cell == cell)
        missing = max(0, log.get(cell, 0) - reported[cell])
        assert sum(row.logged_units or 0 for row in mine) == min(held, missing)
        assert {row.batch for row in mine} == {one.batch for one in pending if one.cell == cell}
        assert {(row.chain_units, row.credited_nano) for row in mine} == {(0, 0)}


@given(log=logs, batch=st.integers(1, 4))
def test_a_log_that_waits_in_open_leaves_is_unsettled_and_nothing_else(
    log: dict[Cell, int], batch: int
) -> None:
    rows = compare(PLATFORM, log, [], CONTEXT, lines_of(log, batch))
    assert {row.reason for row in rows} <= {Reason.UNSETTLED}
    assert [(row.logged_units, row.batch) for row in rows] == [
        (log[cell], batch) for cell in sorted(log)
    ]


@given(log=logs.filter(bool), data=st.data())
def test_what_is_withheld_is_found_as_missing_with_its_exact_price(
    log: dict[Cell, int], data: st.DataObject
) -> None:
    cell = data.draw(st.sampled_from(sorted(log)))
    chain = [found for found in lines_of(log) if found.cell != cell]
    (row,) = compare(PLATFORM, log, chain, CONTEXT)
    assert row.reason == Reason.MISSING_ON_CHAIN
    assert (row.work, row.day, row.kind) == (str(cell.work), cell.day, cell.kind)
    assert (row.logged_units, row.chain_units, row.batch) == (log[cell], 0, None)
    deal = DEALS.on(cell.work.catalogue, cell.day)
    assert deal is not None
    assert row.difference_nano == log[cell] * deal.tariff.price(cell.kind) == row.expected_nano
    assert row.version == deal.version


@given(log=logs.filter(bool), data=st.data())
def test_what_the_log_lacks_is_found_as_not_in_log(
    log: dict[Cell, int], data: st.DataObject
) -> None:
    cell = data.draw(st.sampled_from(sorted(log)))
    shorter = {other: count for other, count in log.items() if other != cell}
    (row,) = compare(PLATFORM, shorter, lines_of(log), CONTEXT)
    assert row.reason == Reason.NOT_IN_LOG
    assert (row.logged_units, row.chain_units) == (0, log[cell])
    assert row.difference_nano == -expected_nano(cell, log[cell], DEALS)


@given(log=logs.filter(bool), data=st.data())
def test_too_few_and_too_many_units_are_told_apart(
    log: dict[Cell, int], data: st.DataObject
) -> None:
    cell = data.draw(st.sampled_from(sorted(log)))
    change = data.draw(st.integers(1, 1_000))
    longer = {**log, cell: log[cell] + change}
    (less,) = compare(PLATFORM, longer, lines_of(log), CONTEXT)
    (more,) = compare(PLATFORM, log, lines_of(longer), CONTEXT)
    assert (less.reason, more.reason) == (Reason.UNDER_REPORTED, Reason.OVER_REPORTED)
    assert less.difference_nano == expected_nano(cell, change, DEALS)
    assert more.difference_nano == -expected_nano(cell, change, DEALS)


@given(log=logs.filter(bool), data=st.data())
def test_units_that_stand_on_another_day_are_wrong_day_on_both(
    log: dict[Cell, int], data: st.DataObject
) -> None:
    cell = data.draw(st.sampled_from(sorted(log)))
    day = data.draw(st.integers(FIRST, LAST).filter(lambda day: day != cell.day))
    moved = cell._replace(day=day)
    chain = [found for found in lines_of(log) if found.cell != cell]
    rows = compare(PLATFORM, log, [*chain, line(moved, log[cell], 2)], CONTEXT)
    assert [row.reason for row in rows] == [Reason.WRONG_DAY] * 2
    assert {row.day for row in rows} == {cell.day, day}
    assert sum(row.difference_nano or 0 for row in rows) == expected_nano(
        cell, log[cell], DEALS
    ) - expected_nano(moved, log[cell], DEALS)


def test_numbers_that_do_not_fit_are_not_called_a_wrong_day() -> None:
    missing, extra = Cell(WorkRef(1, 0), FIRST, Kind.VIEW), Cell(WorkRef(1, 0), LAST, Kind.VIEW)
    rows = compare(PLATFORM, {missing: 10}, [line(extra, 6)], CONTEXT)
    assert [row.reason for row in rows] == [Reason.MISSING_ON_CHAIN, Reason.NOT_IN_LOG]


def test_two_days_reported_as_one_are_wrong_day() -> None:
    work = WorkRef(1, 0)
    log = {Cell(work, FIRST, Kind.VIEW): 3, Cell(work, FIRST + 1, Kind.VIEW): 4}
    rows = compare(PLATFORM, log, [line(Cell(work, FIRST + 2, Kind.VIEW), 7)], CONTEXT)
    assert [row.reason for row in rows] == [Reason.WRONG_DAY] * 3


def test_another_work_or_kind_does_not_explain_a_missing_day() -> None:
    log = {Cell(WorkRef(1, 0), FIRST, Kind.VIEW): 5}
    for other in (Cell(WorkRef(1, 1), LAST, Kind.VIEW), Cell(WorkRef(1, 0), LAST, Kind.DOWNLOAD)):
        rows = compare(PLATFORM, log, [line(other, 5)], CONTEXT)
        assert {row.reason for row in rows} == {Reason.MISSING_ON_CHAIN, Reason.NOT_IN_LOG}


def test_equal_units_under_a_version_not_in_force_are_wrong_deal_with_the_price_gap() -> None:
    cell = Cell(WorkRef(1, 2), CHANGE, Kind.VIEW)
    chain = [ChainLine(4, cell.day, cell.work, 1, cell.kind, 10)]
    (row,) = compare(PLATFORM, {cell: 10}, chain, CONTEXT)
    assert row.reason == Reason.WRONG_DEAL
    assert (row.version, row.price_nano, row.batch) == (2, 4_000_001, 4)
    assert row.difference_nano == 10 * (4_000_001 - 3_000_000)


def test_units_credited_to_another_catalogues_copy_of_the_file_are_wrong_deal() -> None:
    right, wrong = WorkRef(1, 0), WorkRef(2, 1)
    twins = frozenset({right, wrong})
    context = Context(deals=DEALS, works=WORKS, twins={right: twins, wrong: twins}, held={right})
    log = {Cell(right, FIRST, Kind.VIEW): 8}
    rows = compare(PLATFORM, log, [line(Cell(wrong, FIRST, Kind.VIEW), 8)], context)
    assert [row.reason for row in rows] == [Reason.WRONG_DEAL] * 2
    assert [row.difference_nano for row in rows] == [24_000_000, -56]


def test_an_index_that_was_never_registered_is_unknown_work() -> None:
    chain = [ChainLine(1, FIRST, WorkRef(2, 3), 1, Kind.VIEW, 5)]
    (row,) = compare(PLATFORM, {}, chain, CONTEXT)
    assert (row.reason, row.difference_nano) == (Reason.UNKNOWN_WORK, -35)


def test_what_is_held_for_a_rival_is_explained_by_it_and_nothing_else_is() -> None:
    held, other = WorkRef(2, 0), WorkRef(2, 1)
    context = Context(deals=DEALS, works=WORKS, held={held})
    log = {Cell(held, FIRST, Kind.VIEW): 8, Cell(other, FIRST, Kind.VIEW): 8}
    rows = compare(PLATFORM, log, [], context)
    assert [row.reason for row in rows] == [Reason.RIVAL_CATALOGUE, Reason.MISSING_ON_CHAIN]
    (paid,) = compare(PLATFORM, {}, lines_of({Cell(held, FIRST, Kind.VIEW): 8}), context)
    assert paid.reason == Reason.NOT_IN_LOG


def test_a_free_kind_that_differs_is_a_row_without_money() -> None:
    (row,) = compare(PLATFORM, {Cell(WorkRef(2, 0), FIRST, Kind.EXCERPT): 9}, [], CONTEXT)
    assert (row.reason, row.difference_nano) == (Reason.MISSING_ON_CHAIN, 0)


def test_unmatched_rows_are_counted_without_money() -> None:
    (row,) = unmatched(PLATFORM, [("nobody's film", FIRST, Kind.VIEW, 12)])
    assert (row.reason, row.work, row.logged_units) == ("unmatched_work", "nobody's film", 12)
    assert row.catalogue is row.difference_nano is row.expected_nano is row.price_nano is None


def test_too_much_from_rows_in_two_batches_is_reported_twice() -> None:
    cell, short = Cell(WorkRef(1, 0), FIRST, Kind.VIEW), Cell(WorkRef(1, 1), FIRST, Kind.VIEW)
    rows = compare(PLATFORM, {cell: 4, short: 3}, [line(cell, 4), line(cell, 4, 2)], CONTEXT)
    twice = reported_twice(rows, {cell, short})
    assert [row.reason for row in twice] == [Reason.REPORTED_TWICE, Reason.MISSING_ON_CHAIN]
    assert [row.difference_nano for row in twice] == [row.difference_nano for row in rows]


def test_one_digest_in_two_batches_names_both_but_no_platform_that_it_was_copied_from() -> None:
    digests = {("0xa", 1): b"1", ("0xa", 2): b"2", ("0xa", 7): b"2", ("0xb", 1): b"2"}
    assert reused_evidence(digests) == {("0xa", 2), ("0xa", 7)}
    assert reused_evidence({("0xa", 1): b"1", ("0xb", 1): b"1"}) == set()


@pytest.mark.parametrize(
    ("logged", "credited", "percent"),
    [
        (0, 0, None),
        (0, 5, None),
        (100, 100, "0.0000"),
        (100, 97, "3.0000"),
        (3, 2, "33.3333"),
        (3, 1, "66.6667"),
        (2_000_000, 1_999_999, "0.0001"),  # 0.00005: a half goes away from zero
        (2_000_000, 2_000_001, "-0.0001"),
        (2_000_001, 2_000_002, "0.0000"),  # -0.000049...: no minus zero
        (100, 250, "-150.0000"),
        (10**30, 0, "100.0000"),
    ],
)
def test_shortfall_is_rounded_half_away_from_zero(
    logged: int, credited: int, percent: str | None
) -> None:
    assert shortfall_percent(logged, credited) == percent


@given(st.integers(1, 10**30), st.integers(0, 10**30))
def test_shortfall_is_within_half_of_its_last_digit(logged: int, credited: int) -> None:
    exact = Fraction(100 * (logged - credited), logged)
    shown = shortfall_percent(logged, credited)
    assert shown is not None
    assert abs(Fraction(shown) - exact) <= Fraction(1, 20_000)


def test_the_threshold_looks_at_the_exact_shortfall() -> None:
    three = Fraction(3)
    assert not is_over(100, 97, three)
    assert is_over(10**9, 97 * 10**7 - 1, three)  # shown as 3.0000, and above it
    assert not is_over(100, 200, three)
    assert not is_over(0, 200, three)


def test_the_sentence_says_who_is_owed() -> None:
    assert "to the last nano-token" in sentence(0, 0, "TUSD")
    assert sentence(5_000_000, 1, "TUSD") == (
        "The log is worth 0.005 TUSD more than the chain credited."
    )
    assert "credited 0.000000001 TUSD more" in sentence(-1, 1, "TUSD")
    assert "totals agree" in sentence(0, 2, "TUSD")
