"""Usage: references, packed groups and what they cost."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.errors import InputError
from royalty.usage import (
    MAX_PAIRS,
    MAX_UNITS,
    Group,
    Kind,
    Line,
    Tariff,
    WorkRef,
    group_lines,
    lines_of,
    pack_usage,
    total_nano,
    unpack_usage,
)

kinds = st.sampled_from(Kind)
lines = st.builds(
    Line,
    catalogue=st.integers(1, 2**32 - 1) | st.integers(1, 3),
    version=st.integers(1, 2**16 - 1) | st.integers(1, 2),
    kind=kinds,
    index=st.integers(0, 2**24 - 1) | st.integers(0, 3),
    units=st.integers(0, 3 * MAX_UNITS) | st.integers(0, 5),
)


VECTORS = json.loads((Path(__file__).parents[1] / "vectors/usage.json").read_text())
GOOD = VECTORS["cases"] + VECTORS["readable_only"]


@pytest.mark.parametrize("case", GOOD, ids=[case["name"] for case in GOOD])
def test_vector_of_the_contracts_reads_and_costs_alike(case: dict[str, Any]) -> None:
    packed = bytes.fromhex(case["packed"][2:])
    groups = list(unpack_usage(packed))
    assert pack_usage(groups) == packed
    pairs = [
        (group.catalogue, group.version, int(group.kind), index, units)
        for group in groups
        for index, units in group.pairs
    ]
    words = ("catalogues", "versions", "kinds", "indexes", "units")
    assert pairs == list(zip(*(case[word] for word in words), strict=True))
    if "total" in case:
        tariff = Tariff(*map(int, case["tariff"]))
        deals = {(group.catalogue, group.version): tariff for group in groups}
        assert total_nano(groups, deals) == int(case["total"])
    if "units_by_kind" in case:
        of_kind = Counter[int]()
        for _, _, kind, _, units in pairs:
            of_kind[kind] += units
        assert [of_kind[kind] for kind in Kind] == case["units_by_kind"]


@pytest.mark.parametrize("case", VECTORS["malformed"], ids=lambda case: case["name"])
def test_vector_that_the_contracts_refuse_is_refused_or_holds_nothing(case: dict[str, Any]) -> None:
    packed = bytes.fromhex(case["packed"][2:])
    if not packed:  # a report of nothing; the contracts want at least one group
        assert list(unpack_usage(packed)) == []
        return
    with pytest.raises(InputError, match=f"malformed at byte {case['offset']}"):
        list(unpack_usage(packed))


def added_up(found: list[Line]) -> Counter[tuple[int, int, Kind, int]]:
    total: Counter[tuple[int, int, Kind, int]] = Counter()
    for line in found:
        if line.units:
            total[line.catalogue, line.version, line.kind, line.index] += line.units
    return total


@given(st.lists(lines, max_size=40))
def test_packed_usage_comes_back_with_every_unit(given_lines: list[Line]) -> None:
    groups = group_lines(given_lines)
    assert list(unpack_usage(pack_usage(groups))) == groups
    assert added_up(lines_of(groups)) == added_up(given_lines)


@given(st.lists(lines, max_size=20), st.randoms())
def test_equal_usage_packs_alike_whatever_its_order(
    given_lines: list[Line], random: object
) -> None:
    shuffled = list(given_lines)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert pack_usage(group_lines(shuffled)) == pack_usage(group_lines(given_lines))


@given(st.lists(lines, max_size=20))
def test_no_pair_holds_more_than_its_three_bytes(given_lines: list[Line]) -> None:
    for group in group_lines(given_lines):
        assert 1 <= len(group.pairs) <= MAX_PAIRS
        assert all(0 < units <= MAX_UNITS for _, units in group.pairs)


def test_more_pairs_than_a_group_can_count_go_into_the_next() -> None:
    groups = group_lines(Line(1, 1, Kind.VIEW, index, 1) for index in range(MAX_PAIRS + 1))
    assert [len(group.pairs) for group in groups] == [MAX_PAIRS, 1]


def test_packed_group_is_the_bytes_that_the_protocol_names() -> None:
    group = Group(258, 3, Kind.DOWNLOAD, ((5, 7), (65_536, MAX_UNITS)))
    assert group.pack().hex() == "000001020003010002000005000007010000ffffff"


@given(st.lists(lines, max_size=20), st.data())
def test_total_is_the_sum_of_units_times_price(
    given_lines: list[Line], data: st.DataObject
) -> None:
    prices = st.integers(0, 2**40 - 1)
    tariffs = {
        deal: Tariff(data.draw(prices), data.draw(prices), data.draw(prices))
        for deal in {(line.catalogue, line.version) for line in given_lines}
    }
    expected = sum(
        line.units * tariffs[line.catalogue, line.version].price(line.kind) for line in given_lines
    )
    assert total_nano(group_lines(given_lines), tariffs) == expected


@given(st.lists(lines.filter(lambda line: line.units > 0), min_size=1, max_size=5), st.data())
def test_cut_usage_is_refused_or_ends_at_a_group(found: list[Line], data: st.DataObject) -> None:
    packed = pack_usage(group_lines(found))
    cut = packed[: data.draw(st.integers(0, len(packed) - 1))]
    try:
        groups = list(unpack_usage(cut))
    except InputError as error:
        assert "malformed at byte" in str(error)
    else:
        assert pack_usage(groups) == cut


@given(st.binary(max_size=200))
def test_unpack_usage_never_fails_otherwise(packed: bytes) -> None:
    with contextlib.suppress(InputError):
        assert pack_usage(unpack_usage(packed)) == packed


@pytest.mark.parametrize(
    "packed",
    [
        Group(1, 1, Kind.VIEW, ()).pack(),
        b"\0\0\0\1\0\1\3\0\1" + bytes(6),
        b"\0",
    ],
)
def test_malformed_usage_is_refused(packed: bytes) -> None:
    with pytest.raises(InputError, match="malformed"):
        list(unpack_usage(packed))


def test_negative_units_are_a_bug_and_not_packed() -> None:
    with pytest.raises(ValueError, match="negative"):
        group_lines([Line(1, 1, Kind.VIEW, 0, -1)])


@given(st.integers(1, 2**32 - 1), st.integers(0, 2**24 - 1))
def test_every_work_comes_back_from_its_reference(catalogue: int, index: int) -> None:
    work = WorkRef(catalogue, index)
    assert WorkRef.parse(str(work)) == work
    assert divmod(work.work_id, 2**32) == (catalogue, index)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12",
        "12/",
        "/3",
        "0/3",
        "012/3",
        "12/03",
        "12/-1",
        "12/3 ",
        "4294967296/0",
        "1/16777216",
    ],
)
def test_what_is_no_canonical_reference_is_no_work(text: str) -> None:
    assert WorkRef.match(text) is None
    with pytest.raises(InputError, match="is not a work"):
        WorkRef.parse(text)


@pytest.mark.parametrize("prices", [(-1, 0, 0), (0, 2**40, 0), (0, 0, 2**40)])
def test_tariff_out_of_range_is_refused(prices: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="out of range"):
        Tariff(*prices)
