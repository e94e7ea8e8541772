"""What the further steps of a policy need of a row, as coarse values: what is kept tells no more than that.

The columns of `rows` that are made here, all NULL where no step asks for them:

    union_us     microseconds in the union of the watched sections; -1: none, or not to be read
    status       the status code; -1: none, or not to be read; of a play whose lines have several of
                 200, 206 and 304, 1000 and 1, 2 and 4 for these
    own          1 where the viewer is the uploader, else 0
    autoplay     1 started by itself, 0 by a person, 2 not said
    territory    a mark (below): 1 where the country is one that counts
    robot        a mark: 1 where the user agent is a robot
    session      `s` and the session, else the viewer; empty where there is neither

A mark is twice a code of the settings that it was found by, and the answer; user agents, countries and
uploaders themselves are not kept (docs/decisions/0130-steps-of-a-policy.md). Where lines are joined into
plays, each line is looked at, and a play has one answer of them (0132-steps-of-joined-lines.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.errors import InputError
from royalty.logs import robots
from royalty.logs.columns import STEP_FIELDS, Columns
from royalty.logs.policy import Policy
from royalty.usage import MAX_SECONDS

if TYPE_CHECKING:
    from royalty.logs.robots import RobotList

STEP_COLUMNS = (
    ("union_us", "BIGINT"),
    ("status", "SMALLINT"),
    ("own", "UTINYINT"),
    ("autoplay", "UTINYINT"),
    ("territory", "UBIGINT"),
    ("robot", "UBIGINT"),
    ("session", "VARCHAR"),
)
UNREADABLE = "?"
UNKNOWN = -1
NOT_SAID = 2
AGENTS_KNOWN = 100_000
JOINED = {200: 1, 206: 2, 304: 4}
"""The statuses of lines that are joined into plays, and the bits of a play that has several of them."""
SEVERAL = 1000

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_SECTION = re.compile(f"({_NUMBER})-({_NUMBER})")
_ENDS = (("start", "end"), ("startTimestamp", "endTimestamp"))
_WORDS = {"true": 1, "1": 1, "false": 0, "0": 0}

Texts = Sequence["str | None"]
Section = tuple[int, int]
"""The first and the last microsecond of what was watched in one piece."""


class Coder:
    """Adds to the tables of a file what the steps of a policy need, one column `s_...` each."""

    def __init__(self, policy: Policy, columns: Columns, names: Sequence[str], path: Path) -> None:
        self.policy, self.columns, self.names, self.path = policy, columns, tuple(names), path
        self.seen: set[str] = set()
        self.readable = 0
        self._list: RobotList | None = None
        for field, step in policy.needs.items():
            if columns.fields[field].value is None and columns.fields[field].column not in names:
                raise self._lacking(field, step)
        if policy.robots_sha256:
            self._list = robots.need(policy.robots_version, policy.robots_sha256)
        self._agents: dict[str | None, int] = {}

    def coded(self, table: Any) -> Any:
        """Return a table with the columns that the steps need."""
        self.readable += table.column("broken").null_count if self.policy.needs else 0
        for name, values in self._columns(table).items():
            table = table.append_column(f"s_{name}", values)
        return table

    def check(self) -> None:
        """Raise InputError where all rows of a file lacked a field: JSON lines name no columns before."""
        for field, step in self.policy.needs.items():
            if self.readable and field not in self.seen:
                raise self._lacking(field, step)

    def _lacking(self, field: str, step: str) -> InputError:
        name = self.columns.fields[field].column
        which = f"'{name}'" if name == field else f"'{name}' ({field})"
        return InputError(
            f"{self.path}: no column {which}, which {step} of the policy {self.policy.name} needs;"
            " add it to the log, or take a policy without that step"
        )

    def _columns(self, table: Any) -> dict[str, Any]:
        import pyarrow as pa

        policy, found = self.policy, {}
        texts = {field: self._texts(table, field) for field in policy.needs}
        if policy.sections:
            found["union_us"] = pa.array(map(union_micro, texts["sections"]), pa.int64())
        if policy.statuses:
            found["status"] = pa.array(_each(texts["status"], _status), pa.int16())
        if policy.own_plays:
            pairs = zip(texts["viewer"], texts["uploader"], strict=True)
            found["own"] = pa.array((int(bool(a) and a == b) for a, b in pairs), pa.uint8())
        if policy.autoplay:
            found["autoplay"] = pa.array(_each(texts["autoplay"], _autoplay), pa.uint8())
        if policy.territories:
            found["territory"] = pa.array(_each(texts["territory"], self._territory), pa.uint64())
        if self._list is not None:
            found["robot"] = pa.array(self._marks(texts["user_agent"]), pa.uint64())
        if policy.repeat_seconds is not None:
            viewers = self._texts(table, "viewer")
            pairs = zip(texts["session"], viewers, strict=True)
            found["session"] = pa.array((_session(a or b) for a, b in pairs), pa.string())
        return found

    def _texts(self, table: Any, field: str) -> Texts:
        """Return a field's texts; rows that are broken as a whole have none."""
        column = self.columns.fields.get(field)
        if column is None or (column.value is None and column.column not in self.names):
            return [None] * table.num_rows
        if column.value is not None:
            self.seen.add(field)
            return [column.value] * table.num_rows
        cells = table.column(f"c{self.names.index(str(column.column))}")
        if cells.null_count < table.num_rows:
            self.seen.add(field)
        return list(cells.to_pylist())

    def _territory(self, text: str | None) -> int:
        return territory_mark(text, self.policy)

    def _marks(self, agents: Texts) -> list[int]:
        """Return the mark of each user agent; one that is missing is looked up as an empty text."""
        assert self._list is not None
        if len(self._agents) > AGENTS_KNOWN:
            self._agents.clear()
        is_robot, code = self._list.matcher, 2 * self.policy.robots_code
        for agent in set(agents) - self._agents.keys():
            self._agents[agent] = code + is_robot(agent or "")
        return [self._agents[agent] for agent in agents]


class RowCoder:
    """The same for single rows, as they are recorded: what a policy's steps need of the values given."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._is_robot: Callable[[str], bool] | None = None
        if policy.robots_sha256:
            self._is_robot = robots.need(policy.robots_version, policy.robots_sha256).matcher

    def coded(self, values: Mapping[str, str | None]) -> dict[str, int | str]:
        """Return the columns of `rows` that the steps need; `session` is as it was given.

        `values` are texts by field, None where a field was not given. Raises InputError for a field that
        a step needs and that was not given; one that is not known is an empty text.
        """
        policy = self.policy
        for field, step in policy.needs.items():
            if values.get(field) is None:
                raise InputError(
                    f"{field} is not given, and {step} of the policy {policy.name} needs it; give an"
                    " empty text where it is not known"
                )
        found: dict[str, int | str] = {}
        if policy.sections:
            found["union_us"] = union_micro(values["sections"])
        if policy.statuses:
            found["status"] = _status(values["status"])
        if policy.own_plays:
            viewer = values["viewer"]
            found["own"] = int(bool(viewer) and viewer == values["uploader"])
        if policy.autoplay:
            found["autoplay"] = _autoplay(values["autoplay"])
        if policy.territories:
            found["territory"] = territory_mark(values["territory"], policy)
        if self._is_robot is not None:
            found["robot"] = 2 * policy.robots_code + self._is_robot(values["user_agent"] or "")
        if policy.repeat_seconds is not None:
            found["session"] = _session(values["session"] or values.get("viewer"))
        return found


def territory_mark(text: str | None, policy: Policy) -> int:
    """Return the mark of a territory."""
    return 2 * policy.territory_code + ((text or "").upper() in policy.territories)


def insert_sql(policy: Policy) -> tuple[str, str]:
    """Return the SQL columns to read beside a batch's texts, and those to keep, by their names in rows."""
    wanted = policy.step_columns
    reading = "".join(f", s_{name}" for name in wanted)
    keeping = "".join(
        f"CASE WHEN malformed IS NULL THEN s_{name} END AS {name},\n  " for name in wanted
    )
    return reading, keeping


def needed_sql(policy: Policy) -> str:
    """Return the SQL of the step columns of judged rows, marks as answers; NULL: the row lacks it."""
    marks = {"territory": policy.territory_code, "robot": policy.robots_code}
    return "".join(
        f"CASE WHEN {name} // 2 = {marks[name]} THEN {name} % 2 END AS {name}, "
        if name in marks
        else f"{name}, "
        for name in policy.step_columns
    )


def order_sql(policy: Policy) -> str:
    """Return the SQL that orders rows alike in all else, for rule 2: what the steps know comes first."""
    return "".join(f", {name} NULLS LAST" for name in policy.step_columns)


def watched_sql(policy: Policy) -> str:
    """Return the SQL of the watched time that counts."""
    watched = "greatest(union_us, 0)" if policy.sections else "watched_us"
    if policy.at_most_duration:
        watched = f"CASE WHEN duration_us > 0 THEN least({watched}, duration_us) ELSE {watched} END"
    return watched


def exclusions(policy: Policy) -> list[tuple[str, str]]:
    """Return the reason and the SQL test of each step that looks at a row alone, in their order."""
    accepted = ", ".join(map(str, _accepted_codes(policy)))
    cases = (
        ("status_code", policy.statuses, f"status NOT IN ({accepted})"),
        ("robot", policy.robots_sha256, "robot = 1"),
        ("self_view", policy.own_plays, "own = 1"),
        ("autoplay", policy.autoplay, "autoplay <> 0"),
        ("territory", policy.territories, "territory = 0"),
    )
    return [(reason, test) for reason, on, test in cases if on]


def statuses_of(code: int) -> tuple[int, ...]:
    """Return the statuses that a value of `status` stands for, none where there was none to be read.

    >>> statuses_of(206), statuses_of(1003), statuses_of(-1)
    ((206,), (200, 206), ())
    """
    if code < SEVERAL:
        return (code,) if code != UNKNOWN else ()
    return tuple(status for status, bit in JOINED.items() if (code - SEVERAL) & bit)


def _accepted_codes(policy: Policy) -> list[int]:
    """Return the values of `status` that count: of a play with several, one that is accepted is enough."""
    several = range(SEVERAL, SEVERAL + sum(JOINED.values()) + 1)
    more = [code for code in several if set(statuses_of(code)) & set(policy.statuses)]
    return [*policy.statuses, *more]


def lacking_sql(policy: Policy) -> str:
    """Return the SQL of the first column that a row lacks and a step needs, NULL where there is none."""
    tests = " ".join(f"WHEN {name} IS NULL THEN '{name}'" for name in policy.step_columns)
    return f"CASE {tests} END" if tests else "CAST(NULL AS VARCHAR)"


# --- plays ---


def of_lines(policy: Policy) -> Policy:
    """Return a policy with those of its steps alone that look at each line before lines become plays."""
    return replace(
        policy, sections=False, at_most_duration=False, own_plays=False, repeat_seconds=None
    )


def line_columns(policy: Policy) -> list[tuple[str, str]]:
    """Return the columns that lines are kept with for the steps, and their types in the engine."""
    types = dict(STEP_COLUMNS)
    return [(f"s_{name}", types[name]) for name in of_lines(policy).step_columns]


def plays_sql(policy: Policy, plays: str) -> str:
    """Return the SQL of plays with the columns `s_...` that the steps need; `plays` is that of the plays.

    What its lines say is in the table `gathered`. A step of who and where excludes a play where it
    excludes more than half of its lines; of statuses, one that is accepted is enough.
    """
    answers = "".join(f", {_ANSWERS[name]} AS {name}" for name, _ in line_columns(policy))
    if answers:
        lines = f"SELECT usage_id{answers} FROM gathered GROUP BY usage_id"
        plays = f"SELECT * FROM ({plays}) JOIN ({lines}) USING (usage_id)"
    whole = "".join(
        f", {sql} AS s_{name}" for name, sql in _OF_PLAYS.items() if name in policy.step_columns
    )
    return f"SELECT *{whole} FROM ({plays})"


def _most(test: str) -> str:
    return f"2 * count(*) FILTER (WHERE {test}) > count(*)"


_BITS = " ".join(f"WHEN {status} THEN {bit}" for status, bit in JOINED.items())
_ANSWERS = {
    "s_status": f"CASE WHEN min(s_status) = max(s_status) THEN min(s_status)"
    f" ELSE {SEVERAL} + bit_or(CASE s_status {_BITS} END) END",
    "s_robot": f"CASE WHEN {_most('s_robot % 2 = 1')} THEN max(s_robot) ELSE min(s_robot) END",
    "s_territory": f"CASE WHEN {_most('s_territory % 2 = 0')} THEN min(s_territory)"
    " ELSE max(s_territory) END",
    "s_autoplay": f"CASE WHEN NOT {_most('s_autoplay <> 0')} THEN 0"
    f" WHEN bool_or(s_autoplay = 1) THEN 1 ELSE {NOT_SAID} END",
}
_OF_PLAYS = {
    "union_us": "CAST(watched_seconds AS BIGINT)",
    "session": "coalesce('s' || coalesce(nullif(session, ''), nullif(viewer, '')), '')",
}


def repeated(rows: Iterable[tuple[Any, ...]], window: int) -> list[int]:
    """Return the numbers of rows that come within a window after one that counts.

    Rows are (group, start in microseconds, number), sorted. The window begins at a row that counts and
    is not prolonged by those that do not.
    """
    found, group, since = [], None, 0
    for *key, started, number in rows:
        if key == group and started - since <= window:
            found.append(number)
        else:
            group, since = key, started
    return found


# --- cells ---


def loosened(row: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a JSON object whose values of steps (by column, their field) are texts, whatever they were."""
    for name, field in names.items():
        value = row.get(name)
        if isinstance(value, bool | list | dict):
            row[name] = typed_text(value, field)
    return row


def loose_names(columns: Columns) -> dict[str, str]:
    """Return the columns whose cells need not be texts or numbers, with their fields."""
    plain = {c.column for name, c in columns.fields.items() if name not in STEP_FIELDS}
    return {
        column.column: name
        for name, column in columns.fields.items()
        if name in STEP_FIELDS and column.column is not None and column.column not in plain
    }


def typed_text(value: Any, field: str) -> str:
    """Return a true, false or list of sections as text, `?` for what has no text here.

    >>> typed_text([["0", "12.5"], {"start": "30", "end": "60"}], "sections")
    '0-12.5 30-60'
    """
    if isinstance(value, bool):
        return json.dumps(value)
    if field != "sections" or not isinstance(value, list):
        return UNREADABLE
    return " ".join(map(_section_text, value))


def _section_text(value: Any) -> str:
    if isinstance(value, dict):
        ends = next((pair for pair in _ENDS if all(name in value for name in pair)), None)
        value = [value[name] for name in ends] if ends else None
    if not isinstance(value, list | tuple) or len(value) != 2:
        return UNREADABLE
    return "-".join(str(end) for end in value)


def union_micro(text: str | None) -> int:
    """Return the microseconds in the union of sections, -1 where there is none or one cannot be read.

    >>> union_micro("0-12.5 10-20 30-31")
    21000000
    """
    sections = sections_of(text)
    if sections is None:
        return UNKNOWN
    total = reached = 0
    for start, end in sorted(sections):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def sections_of(text: str | None) -> list[Section] | None:
    """Return the sections of a text such as `0-12.5 10-20`, None where one cannot be read."""
    sections = [_section(part) for part in (text or "").split(" ")]
    found = [section for section in sections if section is not None]
    return found if len(found) == len(sections) else None


def merged_sections(sections: Iterable[Section]) -> list[Section]:
    """Return the union of sections as such that neither overlap nor touch, in order."""
    merged: list[Section] = []
    for start, end in sorted(sections):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _section(text: str) -> Section | None:
    match = _SECTION.fullmatch(text)
    if match is None or not text.isascii():
        return None
    start, end = (int(Fraction(number) * 10**6) for number in match.groups())
    return (start, end) if start <= end <= MAX_SECONDS * 10**6 else None


def _each(texts: Texts, code: Callable[[str | None], int]) -> list[int]:
    """Return the code of each text, worked out once for each that occurs."""
    known = {text: code(text) for text in set(texts)}
    return [known[text] for text in texts]


def _status(text: str | None) -> int:
    return int(text) if text is not None and re.fullmatch("[1-9][0-9]{2}", text) else UNKNOWN


def _autoplay(text: str | None) -> int:
    return _WORDS.get((text or "").lower(), NOT_SAID)


def _session(text: str | None) -> str:
    return f"s{text}" if text else ""
