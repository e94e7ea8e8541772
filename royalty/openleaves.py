"""What the leaves of a tally hold that nobody has settled, out of data that lead to its root.

Data are the platform's, or anybody's copy: they are believed once the tree that is made of them has the
root, the total and the leaves that were posted, and for nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from royalty.days import Period
from royalty.errors import InputError
from royalty.exhibits import is_exhibit
from royalty.findings import ChainLine
from royalty.merkle import LeafFault
from royalty.tallybook import DealTerms, Tally, judge
from royalty.tallydata import Row, claim_of, digest_of, read_rows, read_tree
from royalty.usage import WorkRef

NAME = "tally-*.parquet"
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Opened:
    """What is known of a tally's open leaves.

    `known` says whether data led to the root; `lines` are units of the period in open leaves that would
    be paid, `days` whether any open leaf has one of its days. `wrong` says which data are not the
    tally's, `notes` what an auditor should know besides.
    """

    known: bool
    lines: tuple[ChainLine, ...] = ()
    days: bool = False
    wrong: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class DataFiles:
    """The files of folders that may be data of tallies; each is summed once."""

    def __init__(self, places: Iterable[Path]) -> None:
        self._files = [
            file for place in places for file in sorted(place.glob(NAME)) if is_exhibit(place, file)
        ]
        self._digests: dict[Path, bytes | None] = {}

    def of(self, tally: Tally) -> list[Path]:
        """Return the files that are named after a tally, or are what it committed to; these first."""
        digest = tally.posted.args["dataDigest"]
        committed = [file for file in self._files if self._digest(file) == digest]
        prefix = f"tally-{tally.batch}-"
        named = [file for file in self._files if file.name.startswith(prefix)]
        return list(dict.fromkeys([*committed, *named]))

    def _digest(self, file: Path) -> bytes | None:
        if file not in self._digests:
            try:
                self._digests[file] = digest_of(file)
            except InputError:
                self._digests[file] = None
        return self._digests[file]


def open_tally(
    tally: Tally,
    files: DataFiles,
    deals: Mapping[tuple[int, int], DealTerms],
    period: Period,
) -> Opened:
    """Return what a tally's open leaves hold of a period; files that do not lead to its root are named."""
    wrong: list[str] = []
    found: Path | None = None
    for file in files.of(tally):
        complaint = _complaint(file, tally)
        if complaint:
            wrong.append(complaint)
        elif found is None:
            found = file
    if found is None:
        return Opened(False, wrong=tuple(wrong))
    return _read(found, tally, deals, period, tuple(wrong))


def _complaint(file: Path, tally: Tally) -> str:
    """Return why a file is not a tally's data, '' where it leads to the root."""
    try:
        tree = read_tree(file)
    except InputError as error:
        return f"{file.name} cannot be the tally's data: {str(error).removeprefix(str(file))}"
    if (tree.root, tree.total, tree.leaves) != (tally.root, tally.total_nano, tally.leaves):
        return f"{file.name} does not lead to the root that was posted"
    return ""


def _read(
    file: Path,
    tally: Tally,
    deals: Mapping[tuple[int, int], DealTerms],
    period: Period,
    wrong: tuple[str, ...],
) -> Opened:
    lines: list[ChainLine] = []
    faults: list[tuple[int, LeafFault]] = []
    touched = False
    for number, rows in _open_leaves(file, tally, period):
        touched = True
        claim = claim_of(rows, file)
        terms = deals.get((rows[0].catalogue, rows[0].version))
        fault = judge(claim.leaf, claim.amount, terms, tally.day)
        if fault != LeafFault.NONE:
            faults.append((number, fault))
            continue
        lines += [_line(row, tally.batch) for row in rows if row.day in period]
    return Opened(True, tuple(lines), touched, wrong, tuple(_fault_notes(faults)))


def _open_leaves(file: Path, tally: Tally, period: Period) -> Iterator[tuple[int, list[Row]]]:
    """Yield the leaves that nobody has settled and that have a day of the period."""
    still_open = tally.open_leaves()
    for number, group in groupby(read_rows(file), key=lambda row: row.leaf):
        if number in still_open:
            rows = list(group)
            if any(row.day in period for row in rows):
                yield number, rows


def _line(row: Row, batch: int) -> ChainLine:
    work = WorkRef(row.catalogue, row.work)
    return ChainLine(batch, row.day, work, row.version, row.kind, row.units)


def _fault_notes(faults: list[tuple[int, LeafFault]]) -> Iterator[str]:
    for number, fault in faults[:SHOWN]:
        word = fault.name.lower().replace("_", " ")
        yield f"leaf {number} will be void when it is settled ({word}): it explains nothing"
    if len(faults) > SHOWN:
        yield f"{len(faults) - SHOWN:,} more leaves will be void"
