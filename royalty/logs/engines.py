"""Which engine counts: DuckDB on this machine, or Spark where one machine is not enough."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from royalty.days import Period
from royalty.errors import InputError
from royalty.logs.columns import Columns
from royalty.logs.counting import Count, count
from royalty.logs.matching import WorkTable
from royalty.logs.policy import Policy
from royalty.logs.reading import MEMORY, Progress
from royalty.logs.sources import Source

ENGINES = ("duckdb", "spark")


class Counter(Protocol):
    """What counts a log, as `royalty.logs.count` does."""

    def __call__(
        self,
        sources: Sequence[Source],
        period: Period,
        matcher: WorkTable,
        policy: Policy | None = None,
        *,
        columns: Columns | None = None,
        excluded_to: Path | None = None,
        memory: str = MEMORY,
        progress: Progress | None = None,
    ) -> Count:
        """Return the qualified units of a log's period, and the other rows by reason."""


def counter(engine: str = "duckdb", master: str | None = None) -> Counter:
    """Return what counts on an engine; `master` is Spark's (`local[2]`, `spark://host:7077`).

    Raises InputError for an engine that is not known, or a master without Spark.
    """
    if engine not in ENGINES:
        raise InputError(f"engine '{engine[:40]}' is unknown; write duckdb or spark")
    if engine == "spark":
        from royalty.logs.sparkengine import counter_on

        return counter_on(master)
    if master is not None:
        raise InputError("--master is Spark's; add --engine spark, or leave it out")
    return count
