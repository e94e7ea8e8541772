"""Split sheets: `holder,address,role,share` read, refusals naming line and reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from royalty.errors import InputError
from royalty.shares import MAX_HOLDERS, WHOLE_PPM, Share, Split, make_split
from royalty.sheets import Row, read_sheet

PPM_PER_PERCENT = 10_000
MAX_TEXT = 200
SHOWN = 8

_PERCENT = re.compile(r"([0-9]{1,6})(?:\.([0-9]{1,30}))?\s*%")
_PPM = re.compile(r"[0-9]{1,9}")

Resolve = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Party:
    """One rights holder of a split sheet: name, checksummed address, role, share in ppm, line."""

    name: str
    address: str
    role: str
    ppm: int
    line: int = 0


@dataclass(frozen=True, slots=True)
class SplitSheet:
    """A split sheet that the ledger would take: its parties in the file's order, and the split."""

    parties: tuple[Party, ...]
    split: Split


def read_split(
    path: Path, resolve: Resolve, *, refused: Mapping[str, str] | None = None
) -> SplitSheet:
    """Return the split sheet of a CSV file `holder,address,role,share`, columns in any order.

    Shares are percent (`40%`, `33.3333%`) or whole ppm (`400000`). `resolve` turns an address or an
    account's name into a checksummed address. `refused` says why an address (in lower case) cannot
    be a holder. Raises InputError naming line and reason.
    """
    rows = read_sheet(path, ["holder", "address", "role", "share"])
    if len(rows) > MAX_HOLDERS:
        raise rows[MAX_HOLDERS].refuse(
            f"a split has at most {MAX_HOLDERS} holders, this file {len(rows)}"
        )
    if not rows:
        raise InputError(f"{path} names no holder; write a line holder,address,role,share each")
    parties = [_party(row, resolve, refused or {}) for row in rows]
    _check_twice(rows, parties)
    _check_sum(path, rows, parties)
    split = make_split([Share(party.address, party.ppm) for party in parties])
    return SplitSheet(tuple(parties), split)


def parse_share(text: str) -> int:
    """Return the ppm of a share written `40%` or `400000`, 1 to 1,000,000.

    Raises InputError where it is neither, is zero, more than everything, or finer than a ppm.

    >>> parse_share("33.3333%")
    333333
    """
    ppm = _parse_percent(text) if "%" in text else _parse_ppm(text)
    if ppm == 0:
        raise InputError("a share of zero; leave the line out")
    if ppm > WHOLE_PPM:
        raise InputError(f"a share of {format_share(ppm)} is more than 100%")
    return ppm


def format_share(ppm: int) -> str:
    """Return a share as percent without trailing zeros.

    >>> format_share(333_333)
    '33.3333%'
    """
    whole, fraction = divmod(ppm, PPM_PER_PERCENT)
    digits = f"{fraction:04d}".rstrip("0")
    return f"{whole}.{digits}%" if digits else f"{whole}%"


def nearest_whole(shares: Sequence[int]) -> list[int]:
    """Return the shares nearest to those given, in the same proportions, that sum to 1,000,000 ppm.

    Each is rounded down; the ppm left over go one each to the largest remainders, the
    earlier first. No share becomes zero: such a one takes a ppm from the largest.
    """
    total = sum(shares)
    scaled = [share * WHOLE_PPM // total for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda i: (-(shares[i] * WHOLE_PPM % total), i))
    for i in by_remainder[: WHOLE_PPM - sum(scaled)]:
        scaled[i] += 1
    for i, share in enumerate(scaled):
        if share == 0:
            scaled[i] = 1
            scaled[scaled.index(max(scaled))] -= 1
    return scaled


def _parse_percent(text: str) -> int:
    match = _PERCENT.fullmatch(text)
    if match is None:
        example = text.replace(",", ".") if _PERCENT.fullmatch(text.replace(",", ".")) else "40%"
        raise InputError(f"share '{text[:40]}' cannot be read; write for example {example}")
    whole, fraction = match.group(1), (match.group(2) or "").rstrip("0")
    if len(fraction) > 4:
        raise InputError(f"share {text[:40]} is finer than a ppm; give at most 4 decimals")
    return int(whole) * PPM_PER_PERCENT + int(fraction.ljust(4, "0"))


def _parse_ppm(text: str) -> int:
    if not _PPM.fullmatch(text):
        raise InputError(
            f"share '{text[:40]}' cannot be read; write percent with its sign (40%) or ppm (400000)"
        )
    return int(text)


def _party(row: Row, resolve: Resolve, refused: Mapping[str, str]) -> Party:
    name, role = row.need("holder"), row["role"]
    for what, text in (("holder", name), ("role", role)):
        if len(text) > MAX_TEXT or not text.isprintable():
            raise row.refuse(
                f"{what} is longer than {MAX_TEXT} characters, or not one line of text"
            )
    address = row.read(resolve, row.need("address"))
    if address.lower() in refused:
        raise row.refuse(f"{address} cannot be a holder: {refused[address.lower()]}")
    return Party(name, address, role, row.read(parse_share, row.need("share")), row.line)


def _check_twice(rows: Sequence[Row], parties: Sequence[Party]) -> None:
    first: dict[str, Party] = {}
    for row, party in zip(rows, parties, strict=True):
        known = first.setdefault(party.address, party)
        if known is not party:
            raise row.refuse(
                f"{party.address} is a holder twice ({known.name} in line {known.line});"
                " add the two shares up"
            )


def _check_sum(path: Path, rows: Sequence[Row], parties: Sequence[Party]) -> None:
    total = sum(party.ppm for party in parties)
    if total == WHOLE_PPM:
        return
    if total == 100 and not any("%" in row["share"] for row in rows):
        raise InputError(
            f"{path}, line {rows[-1].line}: the shares sum to 100 ppm; write percent with its sign,"
            f" {rows[0]['share']}% instead of {rows[0]['share']}"
        )
    nearest = nearest_whole([party.ppm for party in parties])
    named = [
        f"line {party.line} {format_share(ppm)}"
        for party, ppm in zip(parties, nearest, strict=True)
        if ppm != party.ppm
    ]
    more = f" and {len(named) - SHOWN} more lines" if len(named) > SHOWN else ""
    raise InputError(
        f"{path}, line {rows[-1].line}: the shares sum to {format_share(total)}, not 100%;"
        f" the nearest that do: {', '.join(named[:SHOWN])}{more}"
    )
