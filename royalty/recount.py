"""What a report goes by: new rows of a log counted alone, and each day counted whole with the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from royalty.days import Period
from royalty.questions import Question
from royalty.store import Staged, UsageStore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from royalty.logs import Count, WorkTable

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Counted:
    """The sources alone over the period, as `usage check` counts them, and each of its days whole."""

    alone: Count
    days: Mapping[int, Count]


@contextmanager
def counted(
    question: Question,
    matcher: WorkTable,
    store: UsageStore,
    *,
    area: Path | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Staged, Counted]]:
    """Yield the rows of a question staged beside the store, and what they come to.

    `area` is a folder to stage in where the store must not be touched. Raises InputError where a
    file cannot be read as a whole, or where an id of the period stands for two works.
    """
    from royalty.logs import GOOD_ROWS, Counting, engine, read_rows

    with engine() as connection:
        sources = read_rows(connection, question.sources, progress)
        counting = Counting(connection, matcher, question.policy, question.period)
        counting.add(GOOD_ROWS)
        alone = counting.result(sources, *_rows_read(connection))
        with store.staged(connection, "rows", question.period, area=area) as staged:
            days = {
                day: count_day(connection, staged, day, matcher, question)
                for day in question.period
            }
            yield staged, Counted(alone, days)


def count_day(
    connection: DuckDBPyConnection,
    staged: Staged,
    day: int,
    matcher: WorkTable,
    question: Question,
) -> Count:
    """Return the count of a whole day, stored rows and staged ones together.

    Equal rows are one row here, so `duplicate` is smaller than where a log is counted alone; all else
    is as if every row that ever came were counted at once.
    """
    from royalty.logs import REASONS, Count, Counting

    if not staged.has_rows(day):
        return Count(0, 0, dict.fromkeys(REASONS, 0), 0, [], [], [], 0, [])
    only = Period(day, day)
    counting = Counting(connection, matcher, question.policy, only)
    counting.add(staged.recount_query(day, resend=question.columns.resend == "last"), only)
    return counting.result([])


def _rows_read(connection: DuckDBPyConnection) -> tuple[int, int]:
    """Return how many rows were read, and how many of them are malformed."""
    found = connection.execute("SELECT count(*), count(malformed) FROM rows").fetchone()
    return (int(found[0]), int(found[1])) if found else (0, 0)
