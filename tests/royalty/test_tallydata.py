"""A tally's data: the file gives back the very leaves, and whatever is no such file is refused in one line."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from royalty.errors import InputError
from royalty.merkle import Claim, DayLine, leaves_of, make_tree
from royalty.tallydata import (
    data_bytes,
    digest_of,
    file_name,
    find_data,
    read_claims,
    read_tree,
    rows_of,
    write_data,
)
from royalty.usage import Kind, Tariff

TARIFF = Tariff(10_000_000, 30_000_000, 5)


def usage(seed: int) -> list[DayLine]:
    """Random usage: several deals, days and kinds, units of one pair, of several, and next to their bounds."""
    dice = random.Random(seed)
    places = {
        (
            dice.randint(1, 6),
            dice.randint(1, 2),
            dice.randint(20_700, 20_760),
            dice.choice(list(Kind)),
            dice.randint(0, 2**24 - 1),
        )
        for _ in range(400)
    }
    units = (1, 7, 2**24 - 2, 2**24 - 1, 2**24, 2**26 + 5)
    return [DayLine(*place, dice.choice(units)) for place in sorted(places)]


def claims(lines: list[DayLine], most: int) -> list[Claim]:
    return [Claim(leaf.pack(), leaf.cost(TARIFF)) for leaf in leaves_of(lines, most)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("most", [40, 500, 24_000])
def test_the_file_gives_back_the_leaves_and_so_the_root(
    tmp_path: Path, seed: int, most: int
) -> None:
    lines = usage(seed)
    leaves = list(leaves_of(lines, most))
    tariffs = {(leaf.catalogue, leaf.version): TARIFF for leaf in leaves}
    content = data_bytes(rows_of(leaves, tariffs))
    path = tmp_path / file_name(7, b"\xab" * 32)
    write_data(path, content)
    expected = claims(lines, most)
    assert list(read_claims(path)) == expected
    assert read_tree(path).root == make_tree(claim.node for claim in expected).root
    assert find_data([tmp_path], digest_of(path)) == path
    assert find_data([tmp_path], b"\0" * 32) is None


def table() -> pa.Table:
    lines = usage(1)
    leaves = list(leaves_of(lines))
    tariffs = {(leaf.catalogue, leaf.version): TARIFF for leaf in leaves}
    return pq.read_table(pa.BufferReader(data_bytes(rows_of(leaves, tariffs))))


def changed(name: str, at: int, value: object) -> pa.Table:
    good = table()
    values = good.column(name).to_pylist()
    values[at] = value
    return good.set_column(
        good.schema.get_field_index(name),
        good.schema.field(name),
        pa.array(values, good.schema.field(name).type),
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("kind", "rent", "row 3: kind"),
        ("units", None, "row 3: units"),
        ("units", 2**40 + 1, "row 3: units"),
        ("price_nano", 2**40, "row 3: price_nano"),
        ("work", 2**24, "row 3: work"),
        ("units", 0, "leaf 0"),
        ("leaf", 2, "leaf 2 stands where leaf 1"),
        ("catalogue", 9, "leaf 0 is of two deals"),
    ],
)
def test_a_row_that_cannot_be_is_named(tmp_path: Path, name: str, value: object, said: str) -> None:
    path = tmp_path / "tally-1-00000000.parquet"
    pq.write_table(changed(name, 3, value), path)
    with pytest.raises(InputError, match=said):
        list(read_claims(path))


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    text, other = tmp_path / "a.parquet", tmp_path / "b.parquet"
    text.write_text("no parquet")
    pq.write_table(table().drop_columns(["leaf"]), other)
    cut = tmp_path / "c.parquet"
    cut.write_bytes(
        data_bytes(
            rows_of(
                leaves_of(usage(1)),
                dict.fromkeys({(line.catalogue, line.version) for line in usage(1)}, TARIFF),
            )
        )[:-200]
    )
    for path in (text, other, cut, tmp_path / "absent.parquet"):
        with pytest.raises(InputError) as refused:
            list(read_claims(path))
        assert "\n" not in str(refused.value)
        assert path.name in str(refused.value)
