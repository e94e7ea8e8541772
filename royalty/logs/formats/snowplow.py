"""Snowplow media events, as a warehouse exports them: one event a row, joined into plays.

A play is a media session where the tracker keeps one, and says itself how much content was watched.
Else it is one player on one page view, and its sections are told from positions and clock: from one
event to the next, content counts where it moved as the clock did, so that a seek is never watched.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from royalty.errors import InputError
from royalty.jsontext import parse_json
from royalty.logs.batches import Reading, Rows
from royalty.logs.columns import Column, Columns
from royalty.logs.csvrows import read_csv
from royalty.logs.formats.base import (
    BOM,
    MICRO,
    NO_NEEDS,
    Chunks,
    Format,
    Gather,
    Needs,
    fields_of,
    head_lines,
    lacking,
    text_rows,
)
from royalty.logs.jsonrows import BROKEN_JSON, text_cell
from royalty.logs.steps import UNREADABLE, typed_text
from royalty.usage import MAX_SECONDS

NAMES = (
    "usage_id",
    "work",
    "viewer",
    "session",
    "at_us",
    "made_us",
    "playing",
    "position_us",
    "rate_us",
    "duration_us",
    "content_us",
)
FACTS = ("user_agent", "autoplay", "territory")
"""The fields of steps that an event has."""
GRACE_SECONDS = 1
STARTS = frozenset(("play", "playing", "percentprogress", "percent_progress"))
STOPS = frozenset(("pause", "paused", "ended", "end", "terminate", "error"))
MAX_KEY = 64

# Columns by what they hold; warehouses write versions as 1_0_0 or as 1, and keys in either case.
CONTEXTS = {
    "page": r"contexts_com_snowplowanalytics_snowplow_web_page_1(_\d+_\d+)?",
    "player": r"contexts_com_snowplowanalytics_snowplow_media_player_[12](_\d+_\d+)?",
    "session": r"contexts_com_snowplowanalytics_snowplow_media_session_1(_\d+_\d+)?",
    "youtube": r"contexts_com_youtube_youtube_1(_\d+_\d+)?",
    "element": r"contexts_org_whatwg_media_element_1(_\d+_\d+)?",
    "event": r"unstruct_event_com_snowplowanalytics_snowplow_media_player_event_1(_\d+_\d+)?",
}
PLAIN = (
    "event_id",
    "event_name",
    "derived_tstamp",
    "collector_tstamp",
    "dvce_created_tstamp",
    "user_id",
    "domain_userid",
    "network_userid",
    "domain_sessionid",
)
# Fields of steps: where an event may have them (columns or contexts), and what they are called there.
LOOSE = ("useragent", "geo_country")
HELD = {
    "user_agent": (("useragent",), "useragent"),
    "territory": (("geo_country",), "geo_country"),
    "session": (("domain_sessionid",), "domain_sessionid"),
    "autoplay": (("youtube", "element"), "auto_play"),
}
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})?")
_FINER = re.compile(r"(\.\d{6})\d+")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_decode = json.JSONDecoder(parse_float=Decimal, parse_int=Decimal).decode


def read_snowplow(
    chunks: Chunks, path: Path, _option: str | None, needs: Needs = NO_NEEDS
) -> Reading:
    """Return the media events of a file, CSV, TSV or JSON lines; others are passed over."""
    stream = iter(chunks)
    first = next(stream, b"")
    events = _Events(path, needs)
    whole = chain([first], stream)
    if first.removeprefix(BOM).lstrip().startswith(b"{"):
        return Reading(events.names, events.of_json(whole), events.passed)
    return Reading(events.names, events.of_table(first, whole), events.passed)


@dataclass(slots=True)
class _Events:
    path: Path
    needs: Needs
    passed: dict[str, int] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)

    @property
    def facts(self) -> tuple[str, ...]:
        return tuple(fact for fact in FACTS if fact in self.needs)

    @property
    def names(self) -> tuple[str, ...]:
        return (*NAMES, *self.facts)

    def of_json(self, chunks: Chunks) -> Iterator[Any]:
        found = text_rows(chunks, len(self.names), lambda text, _: self._cells(_object(text)))
        yield from (rows.table() for rows in found)
        if self.seen:
            self._require(self.seen)

    def _require(self, roles: Collection[str]) -> None:
        """Raise InputError where a file has nothing of a field that a step needs."""
        for fact, (places, name) in HELD.items():
            if fact in self.needs and not any(place in roles for place in places):
                raise lacking(self.path, name, fact, self.needs)

    def of_table(self, first: bytes, chunks: Chunks) -> Iterator[Any]:
        header, separator = _header(first)
        named = {name: role for name, role in _wanted(header).items() if self._reads(role)}
        if "player" not in named.values():
            raise InputError(f"{self.path}: no column holds a media player's context")
        self._require(named.values())
        columns = Columns({name: Column(name) for name in named})
        reading = read_csv(chunks, self.path, columns, separator)
        roles = [named[name] for name in reading.names]
        return (self._rows(table, roles).table() for table in reading.tables)

    def _reads(self, role: str) -> bool:
        return role not in LOOSE or any(role in HELD[fact][0] for fact in self.facts)

    def _rows(self, table: Any, roles: Sequence[str]) -> Rows:
        rows = Rows(len(self.names))
        texts = [table.column(f"c{at}").to_pylist() for at in range(len(roles))]
        lines, broken = table.column("line").to_pylist(), table.column("broken").to_pylist()
        for line, why, *cells in zip(lines, broken, *texts, strict=True):
            try:
                if why is not None:
                    raise ValueError(why)
                event = {role: cell for role, cell in zip(roles, cells, strict=True) if cell}
                found = self._cells({role: _parsed(role, cell) for role, cell in event.items()})
            except ValueError as error:
                rows.bad.append((line, str(error)))
                continue
            if found is not None:
                rows.lines.append(line)
                rows.cells.append(found)
        return rows

    def _cells(self, event: Mapping[str, Any]) -> list[str | None] | None:
        """Return what the engine keeps of an event, None where it is none of a player."""
        player = _first(event.get("player"))
        if player is None:
            self.passed["not a media event"] = self.passed.get("not a media event", 0) + 1
            return None
        if self.needs:
            self.seen |= event.keys()
        session, said = _first(event.get("session")) or {}, _first(event.get("event")) or {}
        work = _work(event, player, said)
        at = _instant(event)
        return [
            _play(event, session, work),
            work,
            next((found for name in _VIEWERS if (found := _text(event, name))), None),
            _text(event, "domain_sessionid"),
            str(at),
            str(_micro_of(_text(event, "dvce_created_tstamp"), at)),
            _playing(_text(said, "type") or _text(event, "event_name") or ""),
            _number(player, "current_time"),
            _number(player, "playback_rate") or str(MICRO),
            _number(player, "duration"),
            _number(session, "content_watched"),
            *(_fact(event, fact) for fact in self.facts),
        ]


_VIEWERS = ("user_id", "domain_userid", "network_userid")


def _header(first: bytes) -> tuple[list[str], str]:
    line = first.removeprefix(BOM).split(b"\n", 1)[0].removesuffix(b"\r").decode("utf-8", "replace")
    separator = "\t" if line.count("\t") > line.count(",") else ","
    try:
        return next(csv.reader([line], delimiter=separator), []), separator
    except csv.Error:
        return [], separator


def _wanted(header: Sequence[str]) -> dict[str, str]:
    """Return the columns that are read, and what each holds; of two versions the last."""
    found: dict[str, str] = {}
    for name in header:
        role = _role(name)
        if role is not None:
            found = {other: held for other, held in found.items() if held != role}
            found[name] = role
    return found


def _role(name: str) -> str | None:
    if name in PLAIN or name in LOOSE:
        return name
    return next((role for role, form in CONTEXTS.items() if re.fullmatch(form, name)), None)


def _object(text: str) -> dict[str, Any]:
    row = _json(text)
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    found: dict[str, Any] = {}
    for name, value in row.items():
        role = _role(name)
        if role is not None and value not in (None, ""):
            found[role] = text_cell(name, value) if role in PLAIN else value
    return found


def _parsed(role: str, cell: str) -> Any:
    return cell if role in PLAIN or role in LOOSE else _json(cell)


def _fact(event: Mapping[str, Any], fact: str) -> str | None:
    """Return the text of a field of a step, `?` for what is none: no such cell makes an event malformed."""
    places, name = HELD[fact]
    if fact != "autoplay":
        return _loose(event.get(name), fact)
    entities = (_first(event.get(place)) or {} for place in places)
    found = (_loose(entity.get(name), fact) for entity in entities)
    return next((text for text in found if text), None)


def _loose(value: Any, fact: str) -> str | None:
    try:
        if isinstance(value, bool | list | dict):
            return typed_text(value, fact)
        return text_cell(fact, str(value) if isinstance(value, Decimal) else value) or None
    except ValueError:
        return UNREADABLE


def _json(text: str) -> Any:
    try:
        return parse_json(text, _decode)
    except (ValueError, ArithmeticError):
        raise ValueError(BROKEN_JSON) from None


def _first(context: Any) -> dict[str, Any] | None:
    """Return a context's entity with keys in snake case; contexts come alone or in a list."""
    one = context[0] if isinstance(context, list) and context else context
    if not isinstance(one, dict):
        return None
    return {_snake(key): held for key, held in one.items() if len(key) <= MAX_KEY}


@lru_cache(maxsize=4_096)
def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", key).lower()


def _text(entity: Mapping[str, Any], name: str) -> str | None:
    value = entity.get(name)
    return text_cell(name, value) if isinstance(value, str) and value else None


def _work(event: Mapping[str, Any], player: Mapping[str, Any], said: Mapping[str, Any]) -> str:
    youtube, element = _first(event.get("youtube")) or {}, _first(event.get("element")) or {}
    found = (
        _text(youtube, "player_id")
        or _text(element, "html_id")
        or _text(player, "label")
        or _text(said, "label")
    )
    if found is None:
        raise ValueError("no player id, element id or label names the work")
    return found


def _play(event: Mapping[str, Any], session: Mapping[str, Any], work: str) -> str:
    own = _text(session, "media_session_id")
    if own is not None:
        return own
    page = _text(_first(event.get("page")) or {}, "id")
    if page is None:
        raise ValueError("neither a media session nor a page view")
    return f"{page}:{work}"


def _playing(kind: str) -> str | None:
    """Return whether the player plays after an event: 1, 0, or None where it says nothing of it."""
    word = kind.removesuffix("_event")
    return "1" if word in STARTS else "0" if word in STOPS else None


def _instant(event: Mapping[str, Any]) -> int:
    text = _text(event, "derived_tstamp") or _text(event, "collector_tstamp")
    if text is None:
        raise ValueError("derived_tstamp is missing")
    return _micro_of(text, 0)


def _micro_of(text: str | None, missing: int) -> int:
    """Return an instant in microseconds; times without an offset are UTC, as Snowplow writes them."""
    if text is None:
        return missing
    text = text.removesuffix(" UTC")
    if not _TIME.fullmatch(text):
        raise ValueError("a timestamp cannot be read")
    try:
        at = datetime.fromisoformat(_FINER.sub(r"\1", text) if len(text) > 26 else text)
    except ValueError:
        raise ValueError("a timestamp cannot be read") from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    since = at - _EPOCH
    if since.days < 0:
        raise ValueError("a timestamp lies before 1970")
    return (since.days * 86_400 + since.seconds) * MICRO + since.microseconds


def _number(entity: Mapping[str, Any], name: str) -> str | None:
    """Return a number times a million, the rest cut; None where it is missing."""
    value = entity.get(name)
    if value is None or value == "":
        return None
    try:
        number = Decimal(value) if isinstance(value, str | Decimal) else Decimal("nan")
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or not 0 <= number <= MAX_SECONDS:
        raise ValueError(f"{name} is not a number")
    return str(int(number * MICRO))


# The stretch before an event counts where the player was playing and moved on as the clock did at the
# rate of then: no farther (else it was a seek), and at least half as far (else it stood still unseen).
# Stretches are joined, so that what was seen twice counts once.
_PLAYS = f"""
WITH events AS (
  SELECT file, line, usage_id, work, viewer, session, playing,
    CAST(at_us AS BIGINT) AS at_us, CAST(made_us AS BIGINT) AS made_us,
    CAST(position_us AS BIGINT) AS position_us, CAST(rate_us AS BIGINT) AS rate_us,
    CAST(duration_us AS BIGINT) AS duration_us, CAST(content_us AS BIGINT) AS content_us
  FROM gathered
), ordered AS (
  SELECT *, lag(at_us) OVER turn AS at_before, lag(position_us) OVER turn AS position_before,
    lag(rate_us) OVER turn AS rate_before, row_number() OVER turn AS place,
    last_value(playing IGNORE NULLS) OVER (PARTITION BY usage_id
      ORDER BY at_us, made_us, position_us, file, line
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS was_playing
  FROM events
  WINDOW turn AS (PARTITION BY usage_id ORDER BY at_us, made_us, position_us, file, line)
), moves AS (
  SELECT usage_id, position_before AS since, position_us AS until,
    CAST(position_us - position_before AS HUGEINT) * {MICRO} AS moved,
    CAST(at_us - at_before AS HUGEINT) * rate_before AS clock
  FROM ordered WHERE was_playing = '1' AND position_us > position_before
), sections AS (
  SELECT usage_id, since, until FROM moves
  WHERE moved <= clock + {GRACE_SECONDS * MICRO * MICRO}
    AND 2 * (moved + {GRACE_SECONDS * MICRO * MICRO}) >= clock
), joined AS (
  SELECT *, max(until) OVER (PARTITION BY usage_id ORDER BY since, until
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached FROM sections
), seen AS (
  SELECT usage_id, sum(greatest(until - greatest(since, coalesce(reached, since)), 0)) AS seen
  FROM joined GROUP BY usage_id
), plays AS (
  SELECT usage_id, max(file) FILTER (place = 1) AS file, max(line) FILTER (place = 1) AS line,
    max(work) FILTER (place = 1) AS work, max(viewer) FILTER (place = 1) AS viewer,
    max(session) FILTER (place = 1) AS session, min(at_us) AS at_us,
    max(duration_us) AS duration_us, max(content_us) AS content_us
  FROM ordered GROUP BY usage_id
)
SELECT file, line, plays.usage_id, work, CAST(at_us AS VARCHAR) AS started_at,
  CAST(coalesce(content_us, seen, 0) AS VARCHAR) AS watched_seconds,
  CAST(duration_us AS VARCHAR) AS duration_seconds, viewer, session
FROM plays LEFT JOIN seen ON plays.usage_id = seen.usage_id"""


def _looks(head: bytes) -> bool:
    lines = head_lines(head)
    if not lines:
        return False
    if lines[0].startswith("{"):
        return any(_is_event(line) for line in lines)
    header, _ = _header(head)
    return {"event_id", "player"} <= set(_wanted(header).values())


def _is_event(line: str) -> bool:
    try:
        return {"event_id", "player"} <= _object(line).keys()
    except ValueError:
        return False


SNOWPLOW = Format(
    name="snowplow",
    title="Snowplow media events, CSV, TSV or JSON lines of a warehouse",
    columns=Columns(
        fields_of(
            "usage_id",
            "work",
            "viewer",
            "session",
            started_at=Column("started_at", unit="us"),
            watched_seconds=Column("watched_seconds", unit="us"),
            duration_seconds=Column("duration_seconds", unit="us"),
        ),
        resend="last",
        format="snowplow",
    ),
    looks=_looks,
    read=read_snowplow,
    gather=Gather(names=NAMES, plays=_PLAYS, read=read_snowplow, facts=FACTS, union=True),
)
