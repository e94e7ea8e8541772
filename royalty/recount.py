"""What a report goes by: new rows of a log counted alone, and each day counted whole with the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from royalty import ingest
from royalty.days import Period
from royalty.questions import Question
from royalty.store import Staged, UsageStore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from royalty.logs import Count, WorkTable

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Counted:
    """The sources alone over the period, as `usage check` counts them, and each of its days whole.

    `resend` says of each day which row of an id counts: `first` or `last`. Of `closed` days only what came
    late is counted. `released` are spikes of the period that a person let go, None where none are held.
    """

    alone: Count
    days: Mapping[int, Count]
    resend: Mapping[int, str]
    closed: Collection[int] = ()
    released: tuple[str, ...] | None = None


@contextmanager
def counted(
    question: Question,
    matcher: WorkTable,
    store: UsageStore,
    *,
    first_reported: Callable[[int], tuple[str, str] | None] = lambda _: None,
    area: Path | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Staged, Counted]]:
    """Yield the rows of a question staged beside the store, and what they come to.

    What was recorded counts too. `first_reported` gives the policy and the way to resend that a day
    was first reported with. `area` is a folder to stage in where the store must not be touched.
    Raises InputError where a file cannot be read as a whole, or where an id of the period stands for
    two works; StoreFailed where another process is at the store.
    """
    from royalty.logs import GOOD_ROWS, Counting, engine, make_rows, read_rows

    if area is None:
        ingest.flush(store, whole=True)
    with engine(question.memory) as connection:
        make_rows(connection)
        sources = []
        if question.sources:
            sources = read_rows(connection, question.sources, progress, question.policy)
        counting = Counting(connection, matcher, question.policy, question.period)
        counting.add(GOOD_ROWS)
        alone = counting.result(sources, *_rows_read(connection))
        recorded = None if area is None else ingest.load(connection, store)
        with store.staged(
            connection, "rows", question.period, area=area, recorded=recorded
        ) as staged:
            resend = {
                day: _resend(staged, day, question, first_reported(day)) for day in question.period
            }
            days = {
                day: count_day(connection, staged, day, matcher, question, resend[day])
                for day in question.period
            }
            closed = {day for day in question.period if staged.is_closed(day)}
            yield staged, Counted(alone, days, resend, closed)


def _resend(staged: Staged, day: int, question: Question, first: tuple[str, str] | None) -> str:
    """Return which row of an id counts on a day: as it was first reported, else as its rows came."""
    if first is not None:
        return first[1]
    return "last" if staged.last_counts(day) else question.columns.resend


def count_day(
    connection: DuckDBPyConnection,
    staged: Staged,
    day: int,
    matcher: WorkTable,
    question: Question,
    resend: str | None = None,
) -> Count:
    """Return the count of a whole day, stored rows and staged ones together.

    Equal rows are one row here, so `duplicate` is smaller than where a log is counted alone; all else
    is as if every row that ever came were counted at once.
    """
    from royalty.logs import Count, Counting

    if not staged.has_rows(day):
        return Count(0, 0, dict.fromkeys(question.policy.reasons, 0), 0, [], [], [], 0, [])
    only = Period(day, day)
    counting = Counting(connection, matcher, question.policy, only)
    last = (resend or question.columns.resend) == "last"
    counting.add(staged.recount_query(day, resend=last), only)
    return counting.result([])


def _rows_read(connection: DuckDBPyConnection) -> tuple[int, int]:
    """Return how many rows were read, and how many of them are malformed."""
    found = connection.execute("SELECT count(*), count(malformed) FROM rows").fetchone()
    return (int(found[0]), int(found[1])) if found else (0, 0)
