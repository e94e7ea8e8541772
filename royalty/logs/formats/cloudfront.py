"""CloudFront standard logs: requests for segments and byte ranges become plays and watched seconds.

Addresses are cut and hashed with the user agent before a line leaves this file: what the engine keeps
names nobody. A user agent by itself leaves it only where a step of the policy looks it up, and is not
kept. The engine keeps one small row a request (its bound is the engine's memory, then the
temporary folder) and joins them when every file was read, since one play's requests lie in many files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from royalty.errors import InputError
from royalty.logs.batches import Reading
from royalty.logs.columns import Column, Columns
from royalty.logs.formats.base import (
    MAX_KEPT,
    MICRO,
    NO_NEEDS,
    Chunks,
    Format,
    Gather,
    Needs,
    fields_of,
    head_lines,
    known_id,
    lacking,
    made_id,
    text_rows,
)

NAMES = (
    "usage_id",
    "work",
    "viewer",
    "session",
    "begin_us",
    "end_us",
    "object",
    "media_us",
    "sound",
)
FACTS = ("status", "user_agent")
"""The fields of steps that a request has."""
MAX_GAP_SECONDS = 60
SEGMENTS = "ts m2ts m4s m4v m4a m4f cmfv cmfa aac ac3 ec3 mp2t"
SOUND_SEGMENTS = "m4a cmfa aac ac3 ec3"
FILES = "mp4 webm mov mkv mpg mpeg avi wmv flv f4v ogv ogg 3gp mp3 opus wav flac"
PICTURE, SOUND = ("v", "av"), ("a",)
STATUSES = ("200", "206", "304")
WIDTHS = range(12, 34)

# The order of the standard fields, for files whose `#Fields` line was cut off.
STANDARD = (
    "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer)"
    " cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header"
    " cs-protocol cs-bytes time-taken x-forwarded-for ssl-protocol ssl-cipher"
    " x-edge-response-result-type cs-protocol-version fle-status fle-encrypted-fields c-port"
    " time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len sc-range-start"
    " sc-range-end"
)
NEEDED = ("date", "time", "c-ip", "cs-method", "cs-uri-stem", "sc-status")
WANTED = (*NEEDED, "cs(User-Agent)", "cs-uri-query", "time-taken", "sc-range-start")

_SOUND = frozenset(SOUND_SEGMENTS.split())
_FILES = frozenset(FILES.split())
_MEDIA = frozenset(SEGMENTS.split()) | _FILES
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CLOCK = re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2}")
_NUMBER = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,30}))?")
_HIDDEN = dict.fromkeys(map(ord, "\u200b\u200c\u200d\ufeff"))


def read_cloudfront(
    chunks: Chunks, path: Path, option: str | None, needs: Needs = NO_NEEDS
) -> Reading:
    """Return the requests of a log that are for sound or pictures; the others are passed over."""
    requests = _Requests(path, None if option is None else _depth(option), needs)
    return Reading(requests.names, requests.tables(chunks), requests.passed)


def _depth(option: str) -> int:
    if not option.isdecimal() or not 1 <= int(option) <= 20:
        raise InputError(
            f"--format cloudfront:{option[:20]}: after the colon stands how many folders of a path"
            " name the work, 1 to 20"
        )
    return int(option)


@dataclass(slots=True)
class _Requests:
    """The lines of one file, read under the last `#Fields` line that stood before them."""

    path: Path
    depth: int | None
    needs: Needs
    width: int = 0
    at: tuple[int, ...] = ()
    passed: dict[str, int] = field(default_factory=Counter)

    @property
    def names(self) -> tuple[str, ...]:
        return (*NAMES, *(fact for fact in FACTS if fact in self.needs))

    def tables(self, chunks: Chunks) -> Iterator[Any]:
        return (rows.table() for rows in text_rows(chunks, len(self.names), self.cells))

    def cells(self, text: str, _number: int) -> list[str | None] | None:
        if text.startswith("#"):
            if text.startswith("#Fields:"):
                self._fields(text.removeprefix("#Fields:"))
            return None
        cells = text.split("\t")
        if not self.width:
            self._standard(len(cells))
        if len(cells) == self.width + 1 and not cells[-1]:
            cells.pop()
        if len(cells) != self.width:
            raise ValueError(f"{len(cells)} fields instead of {self.width}")
        return self._request(*("-" if at < 0 else cells[at] for at in self.at))

    def _fields(self, text: str) -> None:
        names = text.translate(_HIDDEN).split()
        missing = [name for name in NEEDED if name not in names]
        if missing:
            raise InputError(
                f"{self.path}: #Fields names no {', '.join(missing)}: no standard log of CloudFront"
            )
        if "user_agent" in self.needs and "cs(User-Agent)" not in names:
            raise lacking(self.path, "cs(User-Agent)", "user_agent", self.needs)
        self._layout(names)

    def _standard(self, width: int) -> None:
        if width not in WIDTHS:
            raise ValueError(f"{width} fields; a standard log has {WIDTHS[0]} to {WIDTHS[-1]}")
        self._layout(STANDARD.split()[:width])

    def _layout(self, names: list[str]) -> None:
        self.width = len(names)
        self.at = tuple(names.index(name) if name in names else -1 for name in WANTED)

    def _request(
        self,
        date: str,
        clock: str,
        address: str,
        method: str,
        stem: str,
        status: str,
        agent: str,
        query: str,
        taken: str,
        start: str,
    ) -> list[str | None] | None:
        ended = _instant(date[:16], clock[:16])
        lasted = 0 if taken == "-" else _micro("time-taken", taken)
        viewer = _viewer(address, agent)
        if not (status.isdecimal() and len(status) == 3) and status != "000":
            raise ValueError("sc-status is no status")
        cmcd = _cmcd(query)
        kind = _media(cmcd.get("ot"), stem)
        if method != "GET" or status not in STATUSES or kind is None:
            why = "not a GET" if method != "GET" else "not sound or pictures"
            self._pass(why if status in STATUSES else "status of no success")
            return None
        work = cmcd.get("cid") or self._work(stem)
        session = cmcd.get("sid")
        length = _media_micro(cmcd.get("d"))
        return [
            known_id("session", session, work) if session else known_id("day", viewer, work, date),
            work,
            viewer,
            session,
            str(max(ended - lasted, 0)),
            str(ended),
            made_id(stem, start),
            None if length is None else str(length),
            "1" if kind in SOUND else "0",
            *self._facts(status, agent),
        ]

    def _facts(self, status: str, agent: str) -> list[str | None]:
        found = [status] if "status" in self.needs else []
        return [*found, _agent(agent)] if "user_agent" in self.needs else [*found]

    def _pass(self, why: str) -> None:
        self.passed[why] = self.passed.get(why, 0) + 1

    def _work(self, stem: str) -> str:
        """Return what names the work: so many folders, or the file, or the folder of its segments."""
        if self.depth is not None:
            parts = stem.split("/")
            return "/".join(parts[: self.depth + 1])
        return stem if _suffix(stem) in _FILES else stem.rsplit("/", 1)[0] or "/"


def cut_address(text: str) -> str:
    """Return the network of an address: /24 of IPv4, /48 of IPv6; ValueError where it is no address.

    >>> cut_address("192.0.2.147"), cut_address("2001:db8:7:8::1"), cut_address("::ffff:192.0.2.9")
    ('192.0.2.0/24', '2001:db8:7::/48', '192.0.2.0/24')
    """
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError("c-ip is no address") from None
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return f"{IPv6Address(int(address) >> 80 << 80)}/48"
        address = address.ipv4_mapped
    return f"{type(address)(int(address) >> 8 << 8)}/24"


def _viewer(address: str, agent: str) -> str:
    return known_id("viewer", _network(address[:64]), agent)


def _agent(text: str) -> str | None:
    """Return a user agent as the player sent it, None where it sent none.

    >>> _agent("Mozilla/5.0%20(X11)"), _agent("Mozilla/5.0%2520(X11)"), _agent("-")
    ('Mozilla/5.0 (X11)', 'Mozilla/5.0 (X11)', None)
    """
    if text == "-":
        return None
    return _known_decoded(text) if len(text) <= MAX_KEPT else _decoded(text)


def _decoded(text: str) -> str:
    """Return a text without its percent signs: CloudFront encodes what came, and what came encoded again."""
    for _ in range(2):
        if "%" in text:
            text = unquote(text, errors="replace")
    return text


_known_decoded = lru_cache(maxsize=4_096)(_decoded)


@lru_cache(maxsize=16_384)
def _network(address: str) -> str:
    return cut_address(address)


@lru_cache(maxsize=4_096)
def _instant(date: str, clock: str) -> int:
    if not _DATE.fullmatch(date) or not _CLOCK.fullmatch(clock):
        raise ValueError("date and time cannot be read")
    try:
        at = datetime.fromisoformat(f"{date}T{clock}+00:00")
    except ValueError:
        raise ValueError("date and time cannot be read") from None
    found = int((at - _EPOCH).total_seconds()) * MICRO
    if found < 0:
        raise ValueError("date and time lie before 1970")
    return found


def _micro(name: str, text: str) -> int:
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError(f"{name} cannot be read")
    whole, fraction = found.groups()
    return int(whole) * MICRO + int((fraction or "")[:6].ljust(6, "0"))


def _media_micro(text: str | None) -> int | None:
    """Return CMCD's milliseconds as microseconds, None where they are missing or cannot be read."""
    found = _NUMBER.fullmatch(text or "")
    if found is None:
        return None
    whole, fraction = found.groups()
    return int(whole) * 1000 + int((fraction or "")[:3].ljust(3, "0"))


def _suffix(stem: str) -> str:
    return stem.rsplit("/", 1)[-1].rsplit(".", 1)[-1].lower()


def _media(kind: str | None, stem: str) -> str | None:
    """Return what an object is, `v`, `av` or `a`; None where it is neither sound nor pictures."""
    if kind is not None:
        return kind if kind in PICTURE + SOUND else None
    suffix = _suffix(stem)
    if suffix not in _MEDIA:
        return None
    return "a" if suffix in _SOUND else "av"


def _cmcd(query: str) -> dict[str, str]:
    """Return the keys of `CMCD=` in a query; quotes are taken off, keys without a value left out.

    CloudFront encodes once more what came encoded, so that a quote may stand there as %22 or %2522.
    """
    if "CMCD=" not in query:
        return {}
    value = next((part[5:] for part in query.split("&") if part.startswith("CMCD=")), "")
    return _pairs(_decoded(value))


def _pairs(text: str) -> dict[str, str]:
    found = {}
    for part in _split(text):
        key, mark, value = part.partition("=")
        if mark:
            quoted = len(value) >= 2 and value[0] == value[-1] == '"'
            found[key.strip()] = value[1:-1] if quoted else value
    return {key: value for key, value in found.items() if value and value.isprintable()}


def _split(text: str) -> list[str]:
    """Return the parts between commas that stand outside quotes."""
    if '"' not in text:
        return text.split(",")
    parts, part, quoted = [], "", False
    for piece in re.split(r'([",])', text):
        if piece == "," and not quoted:
            parts.append(part)
            part = ""
            continue
        quoted ^= piece == '"'
        part += piece
    return [*parts, part]


# A play lasts as long as its requests do, with gaps of at most a minute between them: players fetch
# ahead and then wait. Where players say how long each object is (CMCD `d`), it lasts no longer than
# what was fetched, each object once; sound counts where there are no pictures.
_PLAYS = f"""
WITH marked AS (
  SELECT *, max(end_us) OVER (PARTITION BY usage_id ORDER BY begin_us, end_us, file, line
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
  FROM (SELECT * REPLACE (CAST(begin_us AS BIGINT) AS begin_us, CAST(end_us AS BIGINT) AS end_us)
    FROM gathered)
), spans AS (
  SELECT usage_id, any_value(work) AS work, min(session) AS session, min(begin_us) AS begin_us,
    max(viewer) FILTER (before IS NULL) AS viewer,
    max(file) FILTER (before IS NULL) AS file, max(line) FILTER (before IS NULL) AS line,
    sum(greatest(end_us - greatest(begin_us, coalesce(before, begin_us)), 0)
      + least(greatest(begin_us - coalesce(before, begin_us), 0), {MAX_GAP_SECONDS * MICRO})) AS elapsed
  FROM marked GROUP BY usage_id
), objects AS (
  SELECT usage_id, sound, object, max(CAST(media_us AS BIGINT)) AS media_us
  FROM gathered WHERE media_us IS NOT NULL GROUP BY ALL
), fetched AS (
  SELECT usage_id, coalesce(sum(media_us) FILTER (sound = '0'), sum(media_us)) AS fetched
  FROM objects GROUP BY usage_id
)
SELECT file, line, spans.usage_id, work, CAST(begin_us AS VARCHAR) AS started_at,
  CAST(least(elapsed, coalesce(fetched, elapsed)) AS VARCHAR) AS watched_seconds, viewer, session
FROM spans LEFT JOIN fetched ON spans.usage_id = fetched.usage_id"""


def _looks(head: bytes) -> bool:
    lines = head_lines(head)
    if lines and lines[0].startswith("#Version:"):
        names = next((line for line in lines if line.startswith("#Fields:")), "")
        return set(NEEDED) | {"x-edge-location"} <= set(names.translate(_HIDDEN).split())
    return bool(lines) and _is_request(lines[0].split("\t"))


def _is_request(cells: list[str]) -> bool:
    if len(cells) not in range(WIDTHS[0], WIDTHS[-1] + 2):
        return False
    try:
        _instant(cells[0], cells[1])
        cut_address(cells[4])
    except ValueError:
        return False
    return cells[3].isdecimal() and cells[5].isupper() and cells[7].startswith("/")


CLOUDFRONT = Format(
    name="cloudfront",
    title="CloudFront standard logs, with CMCD where players send it",
    columns=Columns(
        fields_of(
            "usage_id",
            "work",
            "viewer",
            "session",
            started_at=Column("started_at", unit="us"),
            watched_seconds=Column("watched_seconds", unit="us"),
        ),
        resend="last",
        format="cloudfront",
        made_ids=True,
    ),
    looks=_looks,
    read=read_cloudfront,
    gather=Gather(names=NAMES, plays=_PLAYS, read=read_cloudfront, facts=FACTS),
    option="how many folders of a path name the work",
)
