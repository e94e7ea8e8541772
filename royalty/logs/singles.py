"""Single rows of a log as the rules judge them: drawn by a stated seed, or found by their ids.

Rows are judged with all others of the log, as when it is counted: that is what makes a duplicate, a
double click, or one too many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from royalty.days import Period
from royalty.logs.counting import GOOD_ROWS, batches_of_days
from royalty.logs.explaining import Rule, tell
from royalty.logs.matching import WorkTable
from royalty.logs.policy import Policy
from royalty.logs.reading import engine, one_row, read_rows
from royalty.logs.rules import apply_rules, drop_judged
from royalty.logs.sources import Source
from royalty.usage import Kind, WorkRef

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Judged(NamedTuple):
    """One row of a log: `reason` is why it does not count, None where it does.

    `written` is the work as the log writes it. Times are microseconds. Who saw it is left out.
    """

    source: Source
    line: int
    usage_id: str | None
    written: str
    work: WorkRef | None
    kind: Kind
    started_us: int
    day: int
    watched_us: int | None
    duration_us: int | None
    units: int
    reason: str | None

    @property
    def started_at(self) -> str:
        """When it started, RFC 3339 in UTC."""
        return instant(self.started_us)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Rows that count, drawn out of `qualified` of them; `sources` carry SHA-256 and rows.

    `rules` says of each row what every rule and step of the policy said of it, in their order.
    """

    rows: tuple[Judged, ...]
    rules: tuple[tuple[Rule, ...], ...]
    qualified: int
    sources: tuple[Source, ...]


def draw(
    sources: Sequence[Source],
    period: Period,
    matcher: WorkTable,
    policy: Policy,
    *,
    seed: str,
    number: int,
) -> Drawn:
    """Return the rows that count whose SHA-256 of `<seed>|<usage_id>` (UTF-8, hex) are the smallest, in order.

    In a log without ids the id is `<viewer>|<work as written>|<kind>|<microseconds since 1970>`. Equal
    digests (one id on two days that are not neighbours) are ordered by time. Raises InputError where
    the log cannot be read.
    """
    with engine() as con:
        read = read_rows(con, sources, policy=policy)
        con.execute(f"CREATE TEMP TABLE drawn ({_COLUMNS}, digest VARCHAR)")
        qualified = 0
        for _ in _each_judged(con, period, matcher, policy):
            con.execute(_draw_sql(number), [seed])
            (found,) = one_row(con, "SELECT count(*) FROM judged WHERE reason IS NULL")
            qualified += int(found)
        rows = con.execute(
            f"SELECT * EXCLUDE (digest) FROM drawn ORDER BY {_ORDER} LIMIT {int(number)}"
        ).fetchall()
        drawn = tuple(_judged(row, read) for row in rows)
        places = [(row[0], row[1], one.day) for row, one in zip(rows, drawn, strict=True)]
        stories = tell(con, read, places, period, matcher, policy)
        rules = tuple(stories[file, line].rules for file, line, _ in places)
        return Drawn(drawn, rules, qualified, tuple(read))


def find(
    sources: Sequence[Source],
    period: Period,
    matcher: WorkTable,
    policy: Policy,
    wanted: Sequence[Judged] | None = None,
    *,
    within_us: int = 0,
) -> list[Judged]:
    """Return the rows of a log that have the ids of `wanted`, or (None) all that can be read.

    With `within_us` also rows of the same work and kind that started at most so much earlier or later.
    """
    with engine() as con:
        read = read_rows(con, sources, policy=policy)
        con.execute(f"CREATE TEMP TABLE found ({_COLUMNS})")
        if wanted is not None:
            con.execute(_WANTED)
            if wanted:
                con.executemany(
                    "INSERT INTO wanted VALUES (?, ?, ?, ?, ?)",
                    [
                        (
                            one.usage_id,
                            one.work and one.work.catalogue,
                            one.work and one.work.index,
                            int(one.kind),
                            one.started_us,
                        )
                        for one in wanted
                    ],
                )
        for _ in _each_judged(con, period, matcher, policy):
            con.execute(_find_sql(None if wanted is None else within_us))
        rows = con.execute("SELECT * FROM found ORDER BY file, line").fetchall()
        return [_judged(row, read) for row in rows]


def instant(micro: int) -> str:
    """Return microseconds since 1970 as RFC 3339 in UTC."""
    at = EPOCH + timedelta(microseconds=micro)
    return at.isoformat().replace("+00:00", "Z")


def _each_judged(
    con: DuckDBPyConnection, period: Period, matcher: WorkTable, policy: Policy
) -> Iterator[None]:
    """Yield once for each lot of days, whose rows then stand in `judged`."""
    matcher.install(con)
    for some in batches_of_days(con, GOOD_ROWS):
        apply_rules(con, GOOD_ROWS, some, policy, matcher, asked=period)
        yield
        drop_judged(con)


_NAMES = (
    "file, line, usage_id, work, catalogue, index, kind, started_us, day, watched_us, duration_us"
)
_COLUMNS = (
    "file INTEGER, line BIGINT, usage_id VARCHAR, work VARCHAR, catalogue BIGINT, index BIGINT,"
    " kind UTINYINT, started_us BIGINT, day INTEGER, watched_us BIGINT, duration_us BIGINT, units HUGEINT,"
    " reason VARCHAR"
)
_ORDER = "digest, started_us, file, line"
_WORD = " ".join(f"WHEN {kind.value} THEN '{kind.word}'" for kind in Kind)
_ID = (
    f"coalesce(usage_id, concat(identity, '|', work, '|', CASE kind {_WORD} END, '|', started_us))"
)
_WANTED = """
CREATE TEMP TABLE wanted (usage_id VARCHAR, catalogue BIGINT, index BIGINT, kind UTINYINT, started_us BIGINT)"""


def _draw_sql(number: int) -> str:
    """The smallest digests of a lot of days."""
    return f"""
INSERT INTO drawn
SELECT {_NAMES}, units, reason, sha256(? || '|' || {_ID}) AS digest FROM judged WHERE reason IS NULL
ORDER BY {_ORDER} LIMIT {int(number)}"""


def _find_sql(within_us: int | None) -> str:
    test = "TRUE"
    if within_us is not None:
        test = f"""usage_id IN (SELECT usage_id FROM wanted WHERE usage_id IS NOT NULL)
  OR EXISTS (SELECT 1 FROM wanted WHERE wanted.catalogue = judged.catalogue AND wanted.index = judged.index
    AND wanted.kind = judged.kind AND {int(within_us)} > 0
    AND abs(wanted.started_us - judged.started_us) <= {int(within_us)})"""
    return f"INSERT INTO found SELECT {_NAMES}, units, reason FROM judged WHERE {test}"


def _judged(row: Sequence[Any], read: Sequence[Source]) -> Judged:
    file, line, usage_id, written, catalogue, index, kind, started, day, watched, duration = row[
        :11
    ]
    units, reason = row[11:]
    return Judged(
        source=read[file],
        line=line,
        usage_id=usage_id,
        written=written,
        work=None if catalogue is None else WorkRef(catalogue, index),
        kind=Kind(kind),
        started_us=started,
        day=day,
        watched_us=watched,
        duration_us=duration,
        units=0 if units is None else int(units),
        reason=reason,
    )
