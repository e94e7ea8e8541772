"""What every reader yields: rows of a file as texts, with their line and why a row is broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Bad = tuple[int, str]
Texts = Sequence["str | None"]


@dataclass(frozen=True, slots=True)
class Reading:
    """A file being read: the columns it has, and Arrow tables of its rows.

    A table holds `line` (int64), `broken` (why the whole row cannot be read, else null) and one text
    column for each name in `names`: `c0`, `c1`, ...; null is a missing value. `passed` counts, once
    all is read, the lines that say nothing of usage (a request for a picture, an error), by why.
    `parquet` is the open file of one, whose schema and statistics can be looked at.
    """

    names: tuple[str, ...]
    tables: Iterator[Any]
    passed: dict[str, int] = field(default_factory=dict)
    parquet: Any = None


@dataclass(slots=True)
class Rows:
    """Rows collected by a reader, column-wise, and the broken ones beside them."""

    width: int
    lines: list[int] = field(default_factory=list)
    cells: list[Texts] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)

    def table(self) -> Any:
        """Return the rows as an Arrow table of the shape that `Reading` describes."""
        import pyarrow as pa

        columns = list(zip(*self.cells, strict=True)) if self.cells else [()] * self.width
        return with_bad(
            pa.array(self.lines, pa.int64()),
            [pa.array(column, pa.string()) for column in columns],
            self.bad,
        )


def with_bad(lines: Any, columns: Sequence[Any], bad: Sequence[Bad]) -> Any:
    """Return good rows (line numbers and text columns) and broken ones as one Arrow table."""
    import pyarrow as pa

    names = ["line", "broken", *(f"c{at}" for at in range(len(columns)))]
    good = pa.table([lines, pa.nulls(len(lines), pa.string()), *columns], names)
    if not bad:
        return good
    broken = pa.table(
        [
            pa.array([line for line, _ in bad], pa.int64()),
            pa.array([reason for _, reason in bad], pa.string()),
            *(pa.nulls(len(bad), pa.string()) for _ in columns),
        ],
        names,
    )
    return pa.concat_tables([good, broken])
