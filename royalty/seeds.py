"""Seeded plays: known usage that an auditor performs, and then looks for in log and payouts: `audit seed`.

A plan of plays is written before anybody plays them, by a seed that is told to nobody. What was played is
then a log of the auditor's own, which the platform's must agree with.
"""

from __future__ import annotations

import csv
import hashlib
import io
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.days import Period, format_day, parse_day
from royalty.errors import InputError
from royalty.files import write_whole
from royalty.findings import Cell
from royalty.index.rows import Rows
from royalty.moneypaths import Credit, MoneyPaths
from royalty.openleaves import DataFiles, open_tally
from royalty.proof import need_folder
from royalty.questions import Day, Logs, Question, read_question
from royalty.reconcile import matcher_of, read_book
from royalty.sheets import cell as plain_cell
from royalty.tallybook import terms_of as leaf_terms
from royalty.usage import KINDS, Kind

if TYPE_CHECKING:
    from royalty.client import Royalty
    from royalty.logs import Policy, WorkTable
    from royalty.logs.singles import Judged

HEADER = ("usage_id", "work", "kind", "started_at", "watched_seconds", "duration_seconds", "viewer")
MAX_PLAYS = 100_000
MAX_WITHIN = 3_600
MAX_TEXT = 200
MICRO = 10**6
COLUMNS = (
    "usage_id",
    "state",
    "detail",
    "work",
    "day",
    "kind",
    "started_at",
    "units",
    "seeded_units",
    "logged_units",
    "chain_units",
    "found_by",
    "log",
    "line",
    "batches",
)

STATES: Mapping[str, str] = {
    "paid": "in the log, it counts, and the chain has all that the log has there",
    "on_chain": "the chain has at least the seeded units there; no log was given",
    "control": "it should not count, and does not",
    "unsettled": "in a tally's leaf that nobody has settled",
    "missing_on_chain": "the chain has nothing there",
    "under_reported": "the chain has fewer units there than it should",
    "unmatched_work": "no work of the catalogues that count, or no deal on that day",
    "not_logged": "the log does not have it",
    "altered": "the log has it otherwise than it was played",
    "not_counted": "the log has it, and a rule excludes it there",
    "counted": "it should not count, and the log's row does",
}
GOOD = frozenset({"paid", "on_chain", "control"})


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan of plays that was written to `path`."""

    path: Path
    seed: str
    plays: int
    period: Period
    works: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "out": str(self.path),
            "seed": self.seed,
            "plays": self.plays,
            "since": format_day(self.period.since),
            "until": format_day(self.period.until),
            "works": list(self.works),
        }


# --- writing ---


def plan(
    out: str | Path,
    works: Sequence[str],
    *,
    since: Day,
    until: Day,
    plays: int = 20,
    kind: str = "view",
    watched: str | int = 60,
    duration: str | int | None = None,
    seed: str | None = None,
    policy: str | Path | None = None,
) -> Planned:
    """Write a plan of plays as a native log and return what it is; nothing is asked of a node.

    `works` are references or the platform's own ids, taken in turn; days and times come from SHA-256 of
    `<seed>|<number>`, the same for the same seed (default: a fresh one). Each play has a viewer of its
    own, so that no rule excludes it for another's sake. Raises InputError where a play of `watched`
    seconds would not count under the policy, or the file is there already.
    """
    from royalty.logs import Policy

    path = Path(out)
    period = Period(_number(since, "--since"), _number(until, "--until"))
    _check(works, plays, kind)
    _require_counts(Policy.load(policy), KINDS[kind], watched, duration)
    if path.exists():
        raise InputError(f"{path} is there already; a plan that was played must not be lost")
    secret = secrets.token_hex(16) if seed is None else seed
    if not 1 <= len(secret) <= MAX_TEXT or not secret.isprintable():
        raise InputError(f"a seed is a text of 1 to {MAX_TEXT} characters on one line")
    rows = sorted(
        (
            _play(secret, number, works[number % len(works)], period, kind)
            for number in range(plays)
        ),
        key=lambda row: row[3],
    )
    seconds = "" if kind == "download" else str(watched)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    length = "" if duration is None else str(duration)
    writer.writerows([*row, seconds, length, f"viewer-{row[0]}"] for row in rows)
    try:
        write_whole(path, text.getvalue(), mode=0o600)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from None
    return Planned(path, secret, plays, period, tuple(works))


def _number(day: Day, what: str) -> int:
    return day if isinstance(day, int) else parse_day(str(day), what=what)


def _check(works: Sequence[str], plays: int, kind: str) -> None:
    if not works:
        raise InputError("no work was given to play; name at least one with --work")
    for work in works:
        if not 1 <= len(work) <= MAX_TEXT or plain_cell(work) != work:
            raise InputError(f"'{plain_cell(work)[:40]}' is no id of a work on one line")
    if not 1 <= plays <= MAX_PLAYS:
        raise InputError(f"a plan has 1 to {MAX_PLAYS:,} plays, not {plays}")
    if kind not in KINDS:
        raise InputError(f"--kind '{kind[:40]}' is unknown; give one of {', '.join(KINDS)}")


def _require_counts(
    policy: Policy, kind: Kind, watched: str | int, duration: str | int | None
) -> None:
    """Raise InputError where a play would not count by itself: rule 5, for a view or an excerpt."""
    seen, length = _seconds(watched, "--watched"), _seconds(duration, "--duration")
    assert seen is not None
    needs = policy.minimum_seconds
    if length:
        needs = min(needs, policy.short_fraction * length)
    if kind == Kind.DOWNLOAD:
        return
    if seen < (Decimal(1) if kind == Kind.EXCERPT else needs):
        raise InputError(
            f"a {kind.word} of {seen} s would not count under the policy; give more with --watched"
        )


def _seconds(text: str | int | None, what: str) -> Decimal | None:
    if text is None:
        return None
    try:
        number = Decimal(str(text)) if str(text).replace(".", "", 1).isdecimal() else None
    except InvalidOperation:
        number = None
    if number is None or not str(text).isascii() or number > 10**9:
        raise InputError(f"{what} '{str(text)[:40]}' is no number of seconds; write for example 60")
    return number


def _play(
    seed: str, number: int, work: str, period: Period, kind: str
) -> tuple[str, str, str, str]:
    """Return a play's id, work, kind and start; all come from the digest of seed and number."""
    from royalty.logs.singles import instant

    digest = hashlib.sha256(f"{seed}|{number}".encode()).digest()
    day = period.since + int.from_bytes(digest[:8], "big") % len(period)
    second = int.from_bytes(digest[8:16], "big") % 86_400
    return f"seed-{digest[16:24].hex()}", work, kind, instant((day * 86_400 + second) * MICRO)


# --- looking ---


@dataclass(frozen=True, slots=True)
class Seeded:
    """What became of one play: `state` is one of STATES, `detail` what is otherwise.

    Units of its work, day and kind: `seeded_units` those of all plays there, `logged_units` those of the
    whole log (None: no log was given), `chain_units` what the chain has.
    """

    play: Judged
    state: str
    detail: str
    seeded_units: int
    logged_units: int | None
    chain_units: int
    row: Judged | None
    found_by: str | None
    credits: tuple[Credit, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON row."""
        row = self._row()
        return row | {"batches": [credit.document() for credit in self.credits]}

    def _row(self) -> dict[str, Any]:
        play = self.play
        return {
            "usage_id": play.usage_id,
            "state": self.state,
            "detail": self.detail,
            "work": play.written if play.work is None else str(play.work),
            "day": format_day(play.day),
            "kind": play.kind.word,
            "started_at": play.started_at,
            "units": play.units,
            "seeded_units": self.seeded_units,
            "logged_units": self.logged_units,
            "chain_units": self.chain_units,
            "found_by": self.found_by,
            "log": None if self.row is None else str(self.row.source.path),
            "line": None if self.row is None else str(self.row.line),
        }

    def row_of_table(self) -> dict[str, Any]:
        """Return the row for a CSV file."""
        numbers = sorted({credit.batch for credit in self.credits})
        return self._row() | {"batches": " ".join(map(str, numbers))}


@dataclass(frozen=True, slots=True)
class SeedCheck:
    """What became of all plays of a file."""

    platform: str
    period: Period
    block: int
    logs_given: bool
    plays: tuple[Seeded, ...]

    @property
    def findings(self) -> bool:
        """Whether any play is not where it should be."""
        return any(one.state not in GOOD for one in self.plays)

    def states(self) -> dict[str, int]:
        """Return how many plays are in each state that occurs."""
        found = Counter(one.state for one in self.plays)
        return {state: found[state] for state in STATES if found[state]}

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "platform": self.platform,
            "since": format_day(self.period.since),
            "until": format_day(self.period.until),
            "block": self.block,
            "logs_given": self.logs_given,
            "plays": len(self.plays),
            "states": self.states(),
            "rows": [one.document() for one in self.plays],
        }

    def table(self) -> Rows:
        """Return the rows: `.to_csv(path)`, `.to_list()`, ..."""
        return Rows(COLUMNS, tuple(one.row_of_table() for one in self.plays))


def check(
    session: Royalty,
    seeded: str | Path,
    logs: Logs | None = None,
    *,
    works: str | Path | None = None,
    columns: str | Path | None = None,
    policy: str | Path | None = None,
    separator: str | None = None,
    format: str | None = None,
    platform: str | None = None,
    evidence: str | Path | None = None,
    within: int = 0,
) -> SeedCheck:
    """Return what became of the plays of a file: in the log, where one is given, and on the chain.

    A play is found in the log by its id, or, with `within`, by work, kind and a start at most so many
    seconds off (players have ids of their own). Without a log only this is known: its work, day and
    kind have at least the seeded units. `columns`, `separator` and `format` are those of the log;
    plays are a native log. Raises InputError for what is given, ChainError where the node does not answer.

    >>> royalty.audit.check_seeds("seeded.csv", "views/*.csv").states()  # doctest: +SKIP
    """
    from royalty.logs import find_sources
    from royalty.logs.singles import find

    if not 0 <= within <= MAX_WITHIN:
        raise InputError(f"--within is 0 to {MAX_WITHIN} seconds, not {within}")
    if evidence is not None:
        need_folder(Path(evidence))
    file = find_sources([seeded])
    period = _days_of(file)
    question = read_question(
        [str(seeded)] if logs is None else logs,
        since=period.since,
        until=period.until,
        works=works,
        columns=None if logs is None else columns,
        policy=policy,
        separator=None if logs is None else separator,
        format=None if logs is None else format,
    )
    book = read_book(session, period, platform)
    matcher = matcher_of(session, book, question.works_map)
    plays = find(file, period, matcher, _by_itself(question.policy))
    sides = _Sides(
        book.platform,
        MoneyPaths(book.snapshot.events, session.token.unit),
        _units((line.cell, line.units) for line in book.lines),
        _waiting(session, book, evidence),
        _units((where, play.units) for play in plays if (where := cell_of(play)) and counts(play)),
        _Looked.of(None if logs is None else question, matcher, plays, within),
    )
    found = tuple(sides.seeded(play) for play in plays)
    return SeedCheck(book.platform, period, book.snapshot.head.number, logs is not None, found)


def _by_itself(policy: Policy) -> Policy:
    """Return a policy without the steps whose columns a plan of plays does not have."""
    return replace(
        policy,
        sections=False,
        statuses=(),
        robots_version="",
        robots_sha256="",
        own_plays=False,
        autoplay=False,
        territories=(),
        repeat_seconds=None,
    )


def cell_of(play: Judged) -> Cell | None:
    """Return the work, day and kind of a play, None where it is of no work."""
    return None if play.work is None else Cell(play.work, play.day, play.kind)


def counts(play: Judged) -> bool:
    """Return whether a play counts by itself."""
    return play.reason is None


def _units(pairs: Iterable[tuple[Cell, int]]) -> Counter[Cell]:
    found: Counter[Cell] = Counter()
    for where, units in pairs:
        found[where] += units
    return found


@dataclass(frozen=True, slots=True)
class _Sides:
    """Units by cell: on the chain, in leaves that nobody has settled, of the plays, and in the log."""

    platform: str
    paths: MoneyPaths
    chain: Mapping[Cell, int]
    waiting: Mapping[Cell, int]
    wanted: Mapping[Cell, int]
    looked: _Looked

    def seeded(self, play: Judged) -> Seeded:
        """Return what became of a play."""
        row, found_by = self.looked.row_of(play)
        where, in_log = cell_of(play), self.looked.logged
        if where is None:
            state, detail = _state(play, row, self.looked.given, 0, 0, 0)
            return Seeded(play, state, detail, 0, None, 0, row, found_by, ())
        logged = None if in_log is None else in_log.get(where, 0)
        wanted, chain = self.wanted.get(where, 0), self.chain.get(where, 0)
        due = wanted if logged is None else logged
        state, detail = _state(play, row, self.looked.given, chain, due, self.waiting.get(where, 0))
        paid = tuple(self.paths.of(self.platform, where))
        return Seeded(play, state, detail, wanted, logged, chain, row, found_by, paid)


def _days_of(file: Sequence[Any]) -> Period:
    """Return the days of a file of plays; InputError where a row cannot be read, or there is none."""
    from royalty.logs import engine, read_rows

    with engine() as con:
        read = read_rows(con, file)
        bad = con.execute(
            "SELECT line, malformed FROM rows WHERE malformed IS NOT NULL ORDER BY line LIMIT 1"
        ).fetchall()
        for line, why in bad:
            raise InputError(f"{read[0].path}, line {line}: {why}")
        ((first, last),) = con.execute("SELECT min(day), max(day) FROM rows").fetchall()
    return Period(int(first), int(last))


def _waiting(session: Royalty, book: Any, evidence: str | Path | None) -> Counter[Cell]:
    """Return units of leaves that nobody has settled, as far as their data are at hand."""
    own = session.platform_dir(book.platform) / "tallies"
    files = DataFiles([*([] if evidence is None else [Path(evidence)]), own])
    deals = {deal.key: terms for deal in book.deals if (terms := leaf_terms(deal))}
    return _units(
        (line.cell, line.units)
        for tally in book.tallies
        if tally.unsettled
        for line in open_tally(tally, files, deals, book.period).lines
    )


@dataclass(frozen=True, slots=True)
class _Looked:
    """What the platform's log has of the plays: rows by id and by time, units of each cell."""

    given: bool
    logged: Mapping[Cell, int] | None
    rows: Mapping[str, tuple[Judged, str]]

    @classmethod
    def of(
        cls, question: Question | None, matcher: WorkTable, plays: Sequence[Judged], within: int
    ) -> _Looked:
        """Return what is found; None: no log was given."""
        if question is None:
            return cls(False, None, {})
        from royalty.logs import count
        from royalty.logs.singles import find
        from royalty.usage import WorkRef

        args = question.sources, question.period, matcher, question.policy
        rows = find(*args, plays, within_us=within * MICRO)
        logged = {
            Cell(WorkRef(row.catalogue, row.index), row.day, row.kind): row.units
            for row in count(*args).units
        }
        return cls(True, logged, _pairs(plays, rows, within * MICRO))

    def row_of(self, play: Judged) -> tuple[Judged | None, str | None]:
        """Return the row of a play and how it was found: `id` or `time`."""
        return self.rows.get(_key(play), (None, None))


def _key(play: Judged) -> str:
    return f"{play.line}"


def _pairs(
    plays: Sequence[Judged], rows: Sequence[Judged], within_us: int
) -> dict[str, tuple[Judged, str]]:
    """Return each play's row: that of its id, of several the one that counts; else the nearest in time.

    A row is that of one play only, and the nearest pairs are made first.
    """
    by_id: dict[str, list[Judged]] = defaultdict(list)
    for row in rows:
        by_id[row.usage_id or ""].append(row)
    found = {
        _key(play): (
            min(by_id[play.usage_id], key=lambda row: (row.reason is not None, row.line)),
            "id",
        )
        for play in plays
        if play.usage_id and play.usage_id in by_id
    }
    if not within_us:
        return found
    taken = {(row.source.sha256, row.line) for row, _ in found.values()}
    by_work: dict[Any, list[Judged]] = defaultdict(list)
    for row in rows:
        by_work[row.work, row.kind].append(row)
    near = sorted(
        (
            (abs(row.started_us - play.started_us), row.line, play.line, play, row)
            for play in plays
            if _key(play) not in found and play.work is not None
            for row in by_work[play.work, play.kind]
            if abs(row.started_us - play.started_us) <= within_us
        ),
        key=lambda pair: pair[:3],
    )
    for _, _, _, play, row in near:
        place = row.source.sha256, row.line
        if place not in taken and _key(play) not in found:
            taken.add(place)
            found[_key(play)] = row, "time"
    return found


def _state(
    play: Judged, row: Judged | None, given: bool, chain: int, due: int, waiting: int
) -> tuple[str, str]:
    """Return what became of a play, and what is otherwise.

    `due` are the units that its cell should have on chain: those of the log, else of the plays.
    """
    if play.reason == "unmatched_work":
        return "unmatched_work", play.written
    if play.reason is not None:
        counts = row is not None and row.reason is None
        return ("counted" if counts else "control"), play.reason
    if given:
        if row is None:
            return "not_logged", ""
        if different := _difference(play, row):
            return "altered", different
        if row.reason is not None:
            return "not_counted", row.reason
    if chain >= due:
        return ("paid" if given else "on_chain"), ""
    if chain + waiting >= due:
        return "unsettled", f"{due - chain} of {due} units"
    if not chain:
        return "missing_on_chain", f"{due} units"
    return "under_reported", f"{due - chain} of {due} units"


def _difference(play: Judged, row: Judged) -> str:
    """Return in what a log's row is otherwise than the play; a row found by time may be off by it."""
    if row.usage_id != play.usage_id:
        return "" if row.day == play.day else f"day {format_day(row.day)}"
    pairs = {
        "work": (str(play.work), str(row.work) if row.work else row.written),
        "kind": (play.kind.word, row.kind.word),
        "started_at": (play.started_at, row.started_at),
        "watched_us": (play.watched_us, row.watched_us),
    }
    return "; ".join(
        f"{word} {found}, not {played}"
        for word, (played, found) in pairs.items()
        if played != found
    )


def sentence(found: SeedCheck) -> str:
    """Return what it means, in one sentence for a person."""
    wrong = sum(one.state not in GOOD for one in found.plays)
    if wrong:
        return f"{wrong} of {len(found.plays)} plays are not where they should be."
    if found.logs_given:
        return "Every play is in the log and paid."
    return "The chain has room for every play; only the log can say that they are the ones paid."
