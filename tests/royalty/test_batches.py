"""Dividing a day's usage into batches that fit a transaction."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.batches import (
    MAX_USAGE_BYTES,
    Draft,
    drafts,
    fitted,
    lines_cost,
    split_lines,
)
from royalty.errors import InputError
from royalty.usage import (
    Kind,
    Line,
    Tariff,
    group_lines,
    lines_of,
    pack_usage,
    unpack_usage,
)

DAY = 20_000
TARIFFS = {
    (catalogue, version): Tariff(10 + version, 210 + version, version)
    for catalogue in range(1, 41)
    for version in (1, 2)
}

keys = st.tuples(
    st.integers(1, 40), st.integers(1, 2), st.sampled_from(list(Kind)), st.integers(0, 300)
)
lines = st.dictionaries(keys, st.integers(0, 2**25), max_size=120).map(
    lambda units: [Line(*key, count) for key, count in units.items()]
)


def _again(runs: list[list[Line]]) -> list[Line]:
    return sorted(line for run in runs for line in run)


@given(lines, st.integers(110_000, 600_000))
def test_every_line_is_in_exactly_one_batch(usage: list[Line], gas: int) -> None:
    runs = split_lines(usage, gas_limit=gas)
    assert _again(runs) == sorted(line for line in usage if line.units)
    assert all(runs)


@given(lines, st.integers(110_000, 600_000), st.integers(60, 900))
def test_no_batch_is_above_the_limits(usage: list[Line], gas: int, size: int) -> None:
    for run in split_lines(usage, gas_limit=gas, max_bytes=size):
        bytes_bound, gas_bound = lines_cost(run)
        packed = pack_usage(group_lines(run))
        assert len(packed) == bytes_bound <= size
        assert gas_bound <= gas
        assert lines_of(group_lines(run)) == run


def test_usage_too_large_for_one_transaction_is_divided() -> None:
    usage = [Line(1, 1, Kind.VIEW, index, 1) for index in range(60_000)]
    runs = split_lines(usage)
    assert len(runs) == 3
    assert all(len(pack_usage(group_lines(run))) <= MAX_USAGE_BYTES for run in runs)


def test_many_deals_are_divided_by_their_gas() -> None:
    usage = [Line(catalogue, 1, Kind.VIEW, 0, 1) for catalogue in range(1, 5_001)]
    assert len(split_lines(usage)) == 4
    assert len(split_lines(usage, gas_limit=8_000_000)) == 7


def test_a_line_that_fits_no_transaction_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="work 3/4 alone"):
        split_lines([Line(3, 1, Kind.VIEW, 4, 1)], gas_limit=80_000)


@given(lines.filter(lambda usage: any(line.units for line in usage)), st.integers(1, 5))
def test_halving_loses_neither_units_nor_money(usage: list[Line], most: int) -> None:
    usage = sorted(line for line in usage if line.units)
    whole = Draft.of(DAY, usage, TARIFFS)
    parts = fitted(whole, TARIFFS, lambda draft: 7 if len(draft.lines) <= most else None)
    assert [line for part, _ in parts for line in part.lines] == usage
    assert sum(part.total_nano for part, _ in parts) == whole.total_nano
    assert all(len(part.lines) <= most and part.day == DAY and gas == 7 for part, gas in parts)


def test_halving_refuses_a_line_that_never_fits() -> None:
    draft = Draft.of(DAY, [Line(3, 1, Kind.VIEW, 4, 1)], TARIFFS)
    with pytest.raises(InputError, match="work 3/4 alone"):
        fitted(draft, TARIFFS, lambda _: None)


def test_a_draft_costs_what_its_deals_say() -> None:
    usage = [Line(1, 1, Kind.VIEW, 0, 3), Line(1, 2, Kind.DOWNLOAD, 0, 5)]
    (draft,) = drafts(DAY, usage, TARIFFS, gas_limit=10**7)
    assert draft.total_nano == 3 * 11 + 5 * 212
    assert lines_of(unpack_usage(draft.usage)) == usage
