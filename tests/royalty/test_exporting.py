"""What was reported as a sales report: read again it comes to what the chain has, whatever titles hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from royalty.days import Period, parse_day
from royalty.errors import InputError
from royalty.exporting import Line, dsr, export
from royalty.logs import add_up, find_sources
from royalty.logs.columns import NATIVE
from royalty.logs.matching import WorkTable
from royalty.usage import Kind, WorkRef
from tests.conftest import Anvil
from tests.usage_world import DAY, NEXT, PRICES, World, world

PERIOD = Period(parse_day(DAY), parse_day(NEXT))


@pytest.fixture
def here(session: Callable[..., Any], folder: Path, anvil: Anvil) -> Iterator[World]:
    with world(session, folder, anvil) as made:
        yield made


def read_again(path: Path, works: dict[int, int]) -> dict[tuple[str, str], int]:
    """The units of a report by (work, kind), as any DSR is read."""
    table = WorkTable([], [(number, 1, 0, None) for number in works], works)
    found = add_up(find_sources([path], NATIVE, None, None), PERIOD, table).aggregates
    assert found is not None
    assert (found.excluded["malformed"], found.unmatched) == (0, [])
    return {(f"{one.catalogue}/{one.index}", one.kind.word): one.units for one in found.units}


@pytest.mark.chain
def test_the_report_read_again_is_what_the_chain_has_directly_and_by_tally(here: World) -> None:
    rows = [
        (f"{day}{index}{kind}", index, kind, day, 40 + index, f"ann {index}")
        for day in (DAY, NEXT)
        for index in range(3)
        for kind in ("view", "download", "excerpt")
    ]
    platform = here.as_platform()
    platform.usage.report(here.log("a.csv", rows[:9]), day=DAY, as_="direct")
    platform.usage.report(here.log("b.csv", rows[9:]), day=NEXT, as_="tally")
    made = export(platform, here.folder / "report.tsv", since=DAY, until=NEXT)
    on_chain: dict[tuple[str, str], int] = {}
    for (_, work, kind), units in here.units_on_chain().items():
        on_chain[work, kind] = on_chain.get((work, kind), 0) + units
    assert len(on_chain) == 9
    assert read_again(made.out, {here.catalogue: 3}) == on_chain
    assert made.document()["amount_nano"] == sum(
        units * PRICES[kind] for (_, kind), units in on_chain.items()
    )
    described = platform.works.show(here.work(1))
    assert described["title"] in made.out.read_text()


def test_titles_of_others_stay_in_their_cell(tmp_path: Path) -> None:
    line = Line(WorkRef(1, 0), Kind.VIEW, 7, 7, "a b", "", "")
    text = dsr([line], PERIOD, "0x1", "TUSD")
    cells = next(row.split("\t") for row in text.splitlines() if row.startswith("SR05"))
    assert len(cells) == 10
    path = tmp_path / "r.tsv"
    path.write_text(text)
    assert read_again(path, {1: 1}) == {("1/0", "view"): 7}


@pytest.mark.chain
def test_where_nothing_was_reported_nothing_is_written(here: World) -> None:
    with pytest.raises(InputError, match=f"nothing was reported .* {DAY} to {NEXT}"):
        export(here.as_platform(), here.folder / "none.tsv", since=DAY, until=NEXT)
    assert not (here.folder / "none.tsv").exists()


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written; give dsr"):
        export(None, tmp_path / "x", since=DAY, until=NEXT, format="cwr")  # type: ignore[arg-type]
