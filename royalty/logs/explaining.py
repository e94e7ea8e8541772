"""What happened to one row of a log, rule by rule: what was looked at, and whether it passed.

The verdict is the engine's own; the numbers beside it are looked up in the same tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from royalty.days import Period, format_day
from royalty.logs.canonical import decimal_text
from royalty.logs.counting import GOOD_ROWS, UnitRow
from royalty.logs.matching import WorkTable
from royalty.logs.policy import Policy
from royalty.logs.reading import Progress, engine, read_rows
from royalty.logs.rules import apply_rules, drop_judged
from royalty.logs.sources import Source
from royalty.logs.steps import watched_sql
from royalty.money import counted as counted_words
from royalty.usage import Kind

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MICRO = 10**6
PASSED, CHANGED, EXCLUDED = "passed", "changed", "excluded"
Place = tuple[int, int, int]  # file, line, day
_LATE = ("double_click", "repeat_in_window", "over_cap")


class Rule(NamedTuple):
    """One rule that looked at a row: its reason code, what came of it, and the numbers in words."""

    rule: str
    outcome: str
    detail: str


@dataclass(frozen=True, slots=True)
class Story:
    """A row of a log and what each rule made of it, in order, up to the one that excludes it.

    `reason` is None where the row is qualified; it then comes to `unit`.
    """

    path: Path
    line: int
    work: str | None
    reason: str | None
    rules: tuple[Rule, ...]
    unit: UnitRow | None = None


def explain(
    sources: Sequence[Source],
    usage_id: str,
    period: Period,
    matcher: WorkTable,
    policy: Policy,
    *,
    progress: Progress | None = None,
) -> tuple[list[Story], list[Source]]:
    """Return the story of each row with an id, by file and line, and the files as they were read.

    No story where no row has it. Raises InputError as `royalty.logs.count` does.
    """
    with engine() as con:
        read = read_rows(con, sources, progress, policy)
        matcher.install(con)
        found = con.execute(
            "SELECT file, line, malformed, day FROM rows WHERE usage_id = ? ORDER BY file, line",
            [usage_id],
        ).fetchall()
        stories = {
            (file, line): Story(
                read[file].path, line, None, "malformed", (Rule("malformed", EXCLUDED, why),)
            )
            for file, line, why, _ in found
            if why is not None
        }
        good = [(file, line, day) for file, line, why, day in found if why is None]
        stories |= tell(con, read, good, period, matcher, policy)
        return [stories[file, line] for file, line, _, _ in found], read


def tell(
    con: DuckDBPyConnection,
    sources: Sequence[Source],
    places: Sequence[Place],
    period: Period,
    matcher: WorkTable,
    policy: Policy,
) -> dict[tuple[int, int], Story]:
    """Return the stories of rows that were read whole, by file and line.

    The engine holds the rows of the sources, as this policy has them read, and the matcher's tables.
    """
    stories: dict[tuple[int, int], Story] = {}
    for day in sorted({day for _, _, day in places}):
        apply_rules(con, GOOD_ROWS, Period(day, day), policy, matcher, asked=period)
        wanted = [(file, line) for file, line, on in places if on == day]
        stories |= _Day(con, sources, wanted, period, matcher, policy).stories()
        drop_judged(con)
    return stories


class _Day:
    """Some rows of a day that has been judged, with those that they were judged beside.

    These are few: in tables of their own they are looked up without reading the log for each row.
    """

    def __init__(
        self,
        con: DuckDBPyConnection,
        sources: Sequence[Source],
        wanted: Sequence[tuple[int, int]],
        period: Period,
        matcher: WorkTable,
        policy: Policy,
    ) -> None:
        self.con, self.sources, self.wanted = con, sources, wanted
        self.period, self.matcher, self.policy = period, matcher, policy

    def stories(self) -> dict[tuple[int, int], Story]:
        """Return the story of each row, by file and line."""
        listed = ", ".join(f"({int(file)}, {int(line)})" for file, line in self.wanted)
        for name, sql in _beside_sql(listed, self.policy).items():
            self.con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {sql}")
        found = self.con.execute(
            "SELECT told.*, read.watched_us AS read_us, read.union_us AS seen_us"
            " FROM told JOIN rows AS read ON told.file = read.file AND told.line = read.line"
            " ORDER BY told.file, told.line"
        )
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        return {(row["file"], row["line"]): self._story(row) for row in rows}

    def _story(self, row: dict[str, Any]) -> Story:
        rules = []
        for name, outcome, detail in self._rules(row):
            stops = name == row["reason"]
            rules.append(Rule(name, EXCLUDED if stops else outcome, detail))
            if stops:
                break
        unit = None
        if row["reason"] is None:
            kind = Kind(row["kind"])
            unit = UnitRow(row["day"], row["catalogue"], row["index"], kind, int(row["units"]))
        path = self.sources[row["file"]].path
        return Story(path, row["line"], row["work"], row["reason"], tuple(rules), unit)

    def _rules(self, row: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Yield what each rule looked at, as if it had passed; words are looked up when they are asked for."""
        policy = self.policy
        yield "malformed", PASSED, "every field that is needed can be read"
        yield "duplicate", PASSED, self._duplicate(row)
        yield "outside_period", PASSED, self._period(row)
        yield "unmatched_work", PASSED, self._work(row)
        if policy.statuses:
            accepted = ", ".join(map(str, policy.statuses))
            code = "missing or no code" if row["status"] < 0 else row["status"]
            yield "status_code", PASSED, f"status {code}; accepted: {accepted}"
        if policy.robots_sha256:
            on = "" if row["robot"] else "not "
            listed = f"counter-robots {policy.robots_version}"
            yield "robot", PASSED, f"its user agent is {on}on the list of {listed}"
        if policy.own_plays:
            who = "the uploader" if row["own"] else "not known to be the uploader"
            yield "self_view", PASSED, f"its viewer is {who}"
        if policy.autoplay:
            how = ("a person started it", "it started by itself", "nothing says who started it")
            yield "autoplay", PASSED, how[row["autoplay"]]
        if policy.territories:
            among = "is" if row["territory"] else "is not"
            yield (
                "territory",
                PASSED,
                f"its territory {among} one of {', '.join(policy.territories)}",
            )
        if row["kind"] != Kind.DOWNLOAD.value and watched_sql(policy) != "watched_us":
            changed = row["watched_us"] != row["read_us"]
            yield "watched", CHANGED if changed else PASSED, self._watched(row)
        yield "below_threshold", PASSED, self._threshold(row)
        yield "double_click", PASSED, self._click(row)
        if policy.repeat_seconds is not None:
            yield "repeat_in_window", PASSED, self._repeat(row)
        yield "over_cap", PASSED, self._cap(row)

    def _duplicate(self, row: dict[str, Any]) -> str:
        day = row["day"]
        same, values = _same_id(row)
        others = self.con.execute(
            f"SELECT file, line, day FROM alike WHERE {same} AND NOT (file = ? AND line = ?)"
            " ORDER BY day, file, line",
            [*values, row["file"], row["line"]],
        ).fetchall()
        before = [other for other in others if other[2] < day]
        if before:
            return f"the same id on {format_day(day - 1)}: {self._place(before[0])}"
        if row["reason"] != "duplicate":
            more = (
                f"; it counts, and {counted_words(len(others), 'other row')} not" if others else ""
            )
            return f"no row of {format_day(day - 1)} has its id" + more
        (first,) = self.con.execute(
            f"SELECT file, line FROM judged WHERE {same} AND (reason IS NULL OR reason <> 'duplicate')",
            values,
        ).fetchall()
        return f"of the rows with its id on {format_day(day)}, {self._place(first)} counts"

    def _period(self, row: dict[str, Any]) -> str:
        since, until = format_day(self.period.since), format_day(self.period.until)
        asked = since if since == until else f"{since} to {until}"
        return f"it starts on {format_day(row['day'])} (UTC); asked for: {asked}"

    def _work(self, row: dict[str, Any]) -> str:
        text, day = row["work"][:60], format_day(row["day"])
        work = self.matcher.match(row["work"])
        if work is None:
            return f"'{text}' is no work of an accepted catalogue"
        version = self.matcher.version_on(work.catalogue, row["day"])
        if version is None:
            return f"'{text}' is the work {work}, whose catalogue has no deal on {day}"
        return f"'{text}' is the work {work}, under deal {version} on {day}"

    def _watched(self, row: dict[str, Any]) -> str:
        said = f"watched {_seconds(row['read_us'])}"
        if self.policy.sections:
            seen = row["seen_us"]
            said += "; its sections are missing or cannot be read: 0 s" if seen < 0 else ""
            said += f"; the union of its sections is {_seconds(seen)}" if seen >= 0 else ""
        if self.policy.at_most_duration:
            length = row["duration_us"]
            said += f"; the work lasts {_seconds(length)}" if length else "; no duration is given"
        return f"{said}; {_seconds(row['watched_us'])} count"

    def _threshold(self, row: dict[str, Any]) -> str:
        if row["kind"] == Kind.DOWNLOAD.value:
            return "a download needs no watched time"
        policy, watched = self.policy, row["watched_us"]
        need, why = Fraction(MICRO), "an excerpt's second"
        if row["kind"] == Kind.VIEW.value:
            need, why = Fraction(policy.minimum_seconds) * MICRO, "minimum_seconds"
            short = policy.fraction * (row["duration_us"] or 0)
            if row["duration_us"] and short < need:
                part = f"{decimal_text(policy.short_fraction)} of {_seconds(row['duration_us'])}"
                need, why = short, f"short_fraction: {part}"
        sign = "<" if watched < need else ">="
        return f"watched {_seconds(watched)} {sign} {_seconds(need)} ({why})"

    def _company(self, who: str, row: dict[str, Any], reasons: Sequence[str]) -> list[Any]:
        """Return (file, line, start, reason) of rows of the same `who`, work, kind and day, in order."""
        listed = ", ".join(f"'{reason}'" for reason in reasons)
        return self.con.execute(
            f"SELECT file, line, started_us, reason FROM near WHERE {who} = ? AND catalogue = ?"
            f" AND index = ? AND kind = ? AND day = ? AND (reason IS NULL OR reason IN ({listed}))"
            " ORDER BY started_us, usage_id NULLS FIRST, work",
            [row[who], row["catalogue"], row["index"], row["kind"], row["day"]],
        ).fetchall()

    def _click(self, row: dict[str, Any]) -> str:
        if row["identity"] is None:
            return "it has no viewer or session: not looked at"
        company = self._company("identity", row, _LATE)
        at = _place_of(row, company)
        if at + 1 == len(company):
            return "its viewer has no later row of this work, kind and day"
        following = company[at + 1]
        gap, most = following[2] - row["started_us"], self.policy.double_click_seconds
        sign = "<=" if row["reason"] == "double_click" else ">"
        return (
            f"the next row of its viewer, {self._place(following)}, starts {_seconds(gap)} later"
            f" {sign} {decimal_text(most)} s"
        )

    def _repeat(self, row: dict[str, Any]) -> str:
        if not row["session"]:
            return "it has no session or viewer: not looked at"
        company = self._company("session", row, _LATE[1:])
        counts = [one for one in company[: _place_of(row, company)] if one[3] != "repeat_in_window"]
        if not counts:
            return "no earlier row of its session counts"
        gap, window = row["started_us"] - counts[-1][2], self.policy.repeat_seconds
        sign = "<=" if row["reason"] == "repeat_in_window" else ">"
        return (
            f"it starts {_seconds(gap)} after {self._place(counts[-1])} of its session, which counts"
            f" {sign} {decimal_text(window) if window is not None else ''} s"
        )

    def _cap(self, row: dict[str, Any]) -> str:
        if row["identity"] is None:
            return "it has no viewer or session: not looked at"
        place = 1 + _place_of(row, self._company("identity", row, _LATE[2:]))
        most = self.policy.per_viewer_work_day
        return f"row {place:,} of its viewer, work, kind and day; {most:,} count"

    def _place(self, row: Sequence[Any]) -> str:
        path = self.sources[row[0]].path
        return f"line {row[1]}" if len(self.sources) == 1 else f"{path.name} line {row[1]}"


def _beside_sql(listed: str, policy: Policy) -> dict[str, str]:
    """Return the SQL of the rows that are told, of those of their ids, and of those of their viewers."""
    session = ""
    if policy.repeat_seconds is not None:
        session = " OR (session <> '' AND session IN (SELECT session FROM told))"
    return {
        "told": f"SELECT * FROM judged WHERE (file, line) IN ({listed})",
        "alike": "SELECT file, line, day, usage_id, identity, work, kind, started_us FROM rows"
        " WHERE malformed IS NULL AND CASE WHEN usage_id IS NULL THEN (identity, started_us) IN"
        " (SELECT (identity, started_us) FROM told) ELSE usage_id IN (SELECT usage_id FROM told) END"
        " AND day BETWEEN (SELECT min(day) - 1 FROM told) AND (SELECT max(day) FROM told)",
        "near": f"SELECT * FROM judged WHERE identity IN (SELECT identity FROM told){session}",
    }


def _same_id(row: dict[str, Any]) -> tuple[str, list[Any]]:
    """Return the SQL test, and its values, of rows with the id of a row, or alike where the log has no ids."""
    if row["usage_id"] is not None:
        return "usage_id = ?", [row["usage_id"]]
    names = ("identity", "work", "kind", "started_us")
    test = " AND ".join(f"{name} = ?" for name in names)
    return f"usage_id IS NULL AND {test}", [row[name] for name in names]


def _place_of(row: dict[str, Any], company: Sequence[Any]) -> int:
    return [one[:2] for one in company].index((row["file"], row["line"]))


def _seconds(micro: int | Fraction | None) -> str:
    """Return microseconds as seconds, exact where that ends within 18 places."""
    if micro is None:
        return "no time"
    exact = Fraction(micro) / MICRO
    scaled = exact * 10**18
    text = str(int(scaled)).rjust(19, "0")
    shown = f"{text[:-18]}.{text[-18:]}".rstrip("0").rstrip(".")
    return f"{shown} s"
