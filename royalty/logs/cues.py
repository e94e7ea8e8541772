"""Cue sheets: which seconds of a work cite another one, and what of them was watched.

Watched sections of the citing work become excerpt seconds of the cited one, one level deep: an excerpt
has no sections, so nothing follows from it. Cues of a work do not overlap, so that no watch comes to
more excerpt seconds than were watched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from royalty.errors import InputError
from royalty.logs.steps import Section, merged_sections
from royalty.sheets import read_sheet
from royalty.usage import MAX_SECONDS

COLUMNS = ("work", "start", "duration", "cited")


@dataclass(frozen=True, slots=True, order=True)
class Cue:
    """Seconds of a work that cite another: from `start`, until `end` exclusive, both in microseconds.

    Works are ids as the log writes them. `number` is the cue's place in its sheet, from 1.
    """

    start: int
    end: int
    cited: str
    number: int


Cues = Mapping[str, Sequence[Cue]]
"""Cues by the id of the citing work, in order of time."""


def read_cues(path: str | Path) -> Cues:
    """Return a cue sheet (`work,start,duration,cited`, seconds); InputError with file and line.

    Refused are cues of one work that overlap, that cite the work itself, or that have no length.
    """
    found: dict[str, list[Cue]] = {}
    for number, row in enumerate(read_sheet(Path(path), COLUMNS), 1):
        work, cited = row.need("work"), row.need("cited")
        start, length = (row.read(_micro, row.need(name)) for name in ("start", "duration"))
        if work == cited:
            raise row.refuse("a work does not cite itself")
        if length == 0:
            raise row.refuse("its duration is 0")
        cue = Cue(start, start + length, cited, number)
        for other in found.setdefault(work, []):
            if other.start < cue.end and cue.start < other.end:
                raise row.refuse(
                    f"it overlaps cue {other.number} of the same work: the same second would be paid twice"
                )
        found[work].append(cue)
    return {work: sorted(cues) for work, cues in found.items()}


def excerpts(sections: Sequence[Section], cues: Sequence[Cue]) -> Iterator[tuple[Cue, int]]:
    """Yield each cue of which something was watched, with how many microseconds of it.

    What was seen twice counts once.
    """
    watched = merged_sections(sections)
    for cue in cues:
        micro = sum(max(0, min(end, cue.end) - max(start, cue.start)) for start, end in watched)
        if micro:
            yield cue, micro


def _micro(text: str) -> int:
    """Return seconds as microseconds, digits past the sixth cut; InputError where it is no number."""
    whole, _, fraction = text.partition(".")
    if not (text.isascii() and whole.isdigit() and (fraction or "0").isdigit()):
        raise InputError(f"'{text[:40]}' is not a number of seconds")
    number = Decimal(text)
    if number > MAX_SECONDS:
        raise InputError(f"'{text[:40]}' is more than {MAX_SECONDS:,} seconds")
    return int(number * 10**6)
