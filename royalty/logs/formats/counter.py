"""COUNTER's multimedia item requests (IR_M1, release 5.1, tab-separated): requests of an item in a month."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from royalty.errors import InputError
from royalty.logs.batches import Reading, Rows
from royalty.logs.formats.base import SUMS, Chunks, Format, head_lines, numbered, sums_columns
from royalty.logs.lines import blocks, text_of

REPORT = "IR_M1"
METRIC = "Total_Item_Requests"
DATA_TYPES = ("Audiovisual", "Multimedia", "Sound")
IDS = ("Proprietary_ID", "DOI", "URI")
TOTAL = "Reporting_Period_Total"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_MONTH = re.compile(rf"({'|'.join(MONTHS)})-(\d{{4}})")
_NUMBER = re.compile(r"\d{1,12}")


def read_counter(chunks: Chunks, path: Path, _option: str | None) -> Reading:
    """Return the requests of each item and month; other metrics and kinds of items are passed over."""
    report = _Report(path)
    return Reading(SUMS, report.tables(chunks), report.passed)


@dataclass(slots=True)
class _Report:
    path: Path
    header: list[str] = field(default_factory=list)
    passed: dict[str, int] = field(default_factory=dict)

    def tables(self, chunks: Chunks) -> Iterator[Any]:
        for block in blocks(chunks):
            rows = Rows(len(SUMS))
            for number, line in numbered(block):
                text, why = text_of(line)
                try:
                    if text is None:
                        raise ValueError(why)
                    self._line(text.split("\t"), number, rows)
                except ValueError as error:
                    rows.bad.append((number, str(error)))
            if rows.lines or rows.bad:
                yield rows.table()
        if not self.header:
            raise InputError(f"{self.path}: no line of columns that names Metric_Type and months")

    def _line(self, cells: list[str], number: int, rows: Rows) -> None:
        if not self.header:
            self._head(cells)
        elif len(cells) != len(self.header):
            raise ValueError(f"{len(cells)} cells instead of {len(self.header)}")
        elif any(cells):
            for sums in self._item(dict(zip(self.header, cells, strict=True))):
                rows.lines.append(number)
                rows.cells.append(sums)

    def _head(self, cells: list[str]) -> None:
        if cells[0] == "Report_ID" and cells[1:2] != [REPORT]:
            raise InputError(f"{self.path} is the report {cells[1][:20]}; {REPORT} is read")
        if "Metric_Type" in cells and TOTAL in cells:
            self.header = cells

    def _item(self, row: dict[str, str]) -> Iterator[list[str | None]]:
        for name, wanted in (("Metric_Type", (METRIC,)), ("Data_Type", DATA_TYPES)):
            if row.get(name) not in wanted:
                why = f"another {name}"
                self.passed[why] = self.passed.get(why, 0) + 1
                return
        months = {name: text for name, text in row.items() if _MONTH.fullmatch(name)}
        for name, text in {**months, TOTAL: row[TOTAL]}.items():
            if not _NUMBER.fullmatch(text):
                raise ValueError(f"{name} is not a number")
        sums = sum(map(int, months.values()))
        if sums != int(row[TOTAL]):
            raise ValueError(f"the months come to {sums}, not to the total of {int(row[TOTAL])}")
        work = next((row[name] for name in IDS if row.get(name)), None)
        for name, text in months.items():
            yield [work, "view", *_days(name), text]


def _days(month: str) -> tuple[str, str]:
    """Return the first and the last day of a month such as `Feb-2022`."""
    word, year = month.split("-")
    number = MONTHS.index(word) + 1
    last = monthrange(int(year), number)[1] if int(year) else 28
    return f"{year}-{number:02}-01", f"{year}-{number:02}-{last:02}"


def _looks(head: bytes) -> bool:
    cells = [line.split("\t") for line in head_lines(head)]
    first = {one[0]: one[1] for one in cells if len(one) > 1}
    return "Report_Name" in first and first.get("Report_ID") == REPORT


COUNTER = Format(
    name="counter",
    title="COUNTER 5.1 multimedia item requests (IR_M1): sums",
    columns=sums_columns("counter"),
    looks=_looks,
    read=read_counter,
    sums=True,
)
