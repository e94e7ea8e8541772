"""Parts of the index on disk: a folder for a range of blocks, one Parquet file an event in it.

A part is written beside and renamed, whole; its name says which blocks it holds and the hash of
the last one. That hash commits to every block before it, so a part whose hash is the chain's holds
what the chain holds, whoever wrote it and when. Nothing is locked: two that write the same part
write the same content, and a reader whose part was merged away meanwhile looks again.
"""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from royalty.errors import InputError
from royalty.index.tables import ChainEvent, from_table, to_table

_NAME = re.compile(r"([0-9]{10,})-([0-9]{10,})-([0-9]{1,12})-([0-9a-f]{64})")
_ASIDE = ".aside-"
STALE_SECONDS = 3600.0
SMALL_EVENTS = 1000


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """Blocks `first` to `last` (inclusive), how many events, and the hash (`0x...`) of `last`."""

    first: int
    last: int
    events: int
    end_hash: str

    @property
    def name(self) -> str:
        """The name of the part's folder."""
        return f"{self.first:010d}-{self.last:010d}-{self.events}-{self.end_hash[2:]}"


def parse_part(name: str) -> Part | None:
    """Return the part of a folder's name, or None where it is none."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    first, last, events, end = found.groups()
    return Part(int(first), int(last), int(events), "0x" + end)


def list_parts(folder: Path) -> list[Part]:
    """Return the parts that lie in a folder, in order; none where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(part for path in folder.iterdir() if (part := parse_part(path.name)))


def is_on_chain(part: Part, hashes: Mapping[int, str]) -> bool:
    """Return whether the chain's hash at the part's last block is the part's."""
    return hashes.get(part.last) == part.end_hash


def chain_of(parts: Iterable[Part], start: int) -> list[Part]:
    """Return the parts that follow each other from `start` without a gap, longest first choice."""
    longest: dict[int, Part] = {}
    for part in parts:
        held = longest.get(part.first)
        if held is None or part.last > held.last:
            longest[part.first] = part
    found = []
    while start in longest:
        found.append(longest[start])
        start = longest[start].last + 1
    return found


def absorbed(parts: Sequence[Part], events: int) -> list[Part]:
    """Return the last parts that a new part of `events` takes in, so that files stay few and large.

    A part is taken in while it is small, or no larger than what follows it: n events are then
    rewritten about log n times in all.
    """
    taken: list[Part] = []
    for part in reversed(parts):
        if part.events > max(events, SMALL_EVENTS):
            break
        taken.insert(0, part)
        events += part.events
    return taken


def read_part(folder: Path, part: Part, name: str) -> list[ChainEvent]:
    """Return one event's rows of a part, in order; FileNotFoundError where it was merged away."""
    import pyarrow.parquet as pq

    place = folder / part.name
    try:
        return from_table(name, pq.read_table(place / f"{name}.parquet", memory_map=False))
    except FileNotFoundError:
        place.stat()
        return []
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"the index file {place.name}/{name}.parquet cannot be read ({type(error).__name__});"
            " delete the index folder, it is made again from the chain"
        ) from None


def write_part(folder: Path, part: Part, events: Iterable[ChainEvent]) -> None:
    """Write a part whole, then show it under its name; one that lies there already stays."""
    import pyarrow.parquet as pq

    aside = folder / f"{_ASIDE}{secrets.token_hex(8)}"
    by_name: dict[str, list[ChainEvent]] = {}
    for event in sorted(events, key=lambda event: event.order):
        by_name.setdefault(event.name, []).append(event)
    try:
        aside.mkdir(parents=True)
        for name, rows in by_name.items():
            pq.write_table(to_table(name, rows), aside / f"{name}.parquet", compression="zstd")
        _show(aside, folder / part.name)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"the index folder {folder} cannot be written: {reason}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _show(aside: Path, place: Path) -> None:
    try:
        aside.rename(place)
    except OSError:
        if not place.is_dir():
            raise


def drop_parts(folder: Path, parts: Iterable[Part]) -> None:
    """Take parts away; a reader sees each whole or not at all. One that is gone already is fine."""
    for part in parts:
        aside = folder / f"{_ASIDE}{secrets.token_hex(8)}"
        with suppress(OSError):
            (folder / part.name).rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what a killed sync left aside, once it is an hour old."""
    for path in folder.glob(f"{_ASIDE}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
