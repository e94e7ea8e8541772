"""What was reported, as a sales report of the field: DDEX DSR, flat file, audio-visual profile.

Summed over a period from the chain's events, reports and settled leaves alike. No claim of conformance:
whoever implements DDEX's standards takes out their free licence (docs/formats.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.days import Period, format_day
from royalty.errors import InputError
from royalty.files import write_whole
from royalty.questions import Day, read_period
from royalty.usage import KINDS, Kind, WorkRef

if TYPE_CHECKING:
    from royalty.client import Royalty

FORMATS = ("dsr",)
MAX_TITLE = 200
_USES = {
    Kind.VIEW: ("1", "OnDemandStream"),
    Kind.DOWNLOAD: ("2", "PermanentDownload"),
    Kind.EXCERPT: ("3", "UserDefined::Excerpt"),
}
"""Each kind's summary record, and the use type that it names."""
_CELLS = {
    "HEAD": "MessageVersion Profile ProfileVersion MessageId MessageCreatedDateTime FileNumber"
    " NumberOfFiles UsageStartDate UsageEndDate SenderPartyId ServiceDescription",
    "SY06": "SummaryRecordId CommercialModel UseType UnitsSold NetRevenue CurrencyOfReporting",
    "SR05": "SummaryRecordId DspResourceId ISAN EIDR ResourceTitle IsRoyaltyBearing NumberOfStreams"
    " NetRevenue CurrencyOfReporting",
    "SR04": "SummaryRecordId DspResourceId ISAN EIDR ResourceTitle IsRoyaltyBearing Downloads Returns"
    " NetRevenue CurrencyOfReporting",
    "AS03": "BlockId ResourceReference DspResourceId ISAN EIDR Title",
    "SU04": "BlockId SummaryRecordId TransactedResource IsRoyaltyBearing Usages Returns DurationUsed"
    " NetRevenue CurrencyOfReporting",
    "FOOT": "NumberOfLinesInFile NumberOfLinesInReport NumberOfSummaryRecords NumberOfBlocksInFile"
    " NumberOfBlocksInReport",
}
"""What the cells of each record are; a comment line of the file says the same to its reader."""


@dataclass(frozen=True, slots=True)
class Line:
    """Units of a work and kind over the period, what they cost in nano-tokens, and who the work is."""

    work: WorkRef
    kind: Kind
    units: int
    amount_nano: int
    title: str = ""
    isan: str = ""
    eidr: str = ""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and where."""

    out: Path
    platform: str
    period: Period
    lines: tuple[Line, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts are ints of nano-tokens."""
        units = {kind.word: 0 for kind in Kind}
        for line in self.lines:
            units[line.kind.word] += line.units
        return {
            "out": str(self.out),
            "platform": self.platform,
            "since": format_day(self.period.since),
            "until": format_day(self.period.until),
            "works": len({line.work for line in self.lines}),
            "units": units,
            "amount_nano": sum(line.amount_nano for line in self.lines),
        }


def export(
    session: Royalty,
    out: str | Path,
    *,
    since: Day,
    until: Day,
    format: str = "dsr",
) -> Exported:
    """Write what the session's platform reported of UTC days (both inclusive) as a sales report.

    Usage of leaves that nobody has settled is not among it. Raises InputError for what is given or cannot
    be written, ChainError where the node does not answer.
    """
    if format not in FORMATS:
        raise InputError(f"--format '{format[:20]}' cannot be written; give {', '.join(FORMATS)}")
    period = read_period(None, since, until)
    lines = tuple(_lines(session, period))
    if not lines:
        raise InputError(
            f"nothing was reported by {session.platform} of {format_day(period.since)} to"
            f" {format_day(period.until)}, or no leaf of it is settled"
        )
    content = dsr(lines, period, session.platform, session.token.symbol)
    try:
        write_whole(Path(out), content)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror or error}") from None
    return Exported(Path(out), session.platform, period, lines)


def _lines(session: Royalty, period: Period) -> Iterator[Line]:
    from royalty import works

    since, until = format_day(period.since), format_day(period.until)
    found: dict[tuple[WorkRef, Kind], tuple[int, int]] = {}
    for row in session.history.usage(platform=session.platform, since=since, until=until):
        key = WorkRef.parse(row["work"]), KINDS[row["kind"]]
        units, nano = found.get(key, (0, 0))
        found[key] = units + row["units"], nano + row["amount_nano"]
    wanted = {work for work, _ in found}
    registered = [one for one in works.registrations(session) if one.work in wanted]
    known = {row["work"]: row for row in works.describe(session, registered)}
    for (work, kind), (units, nano) in sorted(found.items()):
        row = known.get(str(work), {})
        yield Line(
            work,
            kind,
            units,
            nano,
            _cell(row.get("title")),
            _cell(row.get("isan")),
            _cell(row.get("eidr")),
        )


def dsr(lines: Sequence[Line], period: Period, platform: str, symbol: str) -> str:
    """Return the report as text: comment lines name the cells, the footer counts lines, records, blocks."""
    used = [kind for kind in Kind if any(line.kind is kind for line in lines)]
    body = [_head(lines, period, platform)]
    body += [_summary(kind, lines, symbol) for kind in used]
    body += [record for line in lines for record in _records(line, symbol)]
    blocks = sum(line.kind is Kind.EXCERPT for line in lines)
    written = []
    for tag in dict.fromkeys(record[0] for record in body):
        written.append("\t".join([f"#{tag}", *_CELLS[tag].split()]))
    written += ["\t".join(record) for record in body]
    written.append("\t".join(["#FOOT", *_CELLS["FOOT"].split()]))
    total = str(len(written) + 1)
    written.append("\t".join(["FOOT", total, total, str(len(used)), str(blocks), str(blocks)]))
    return "\n".join(written) + "\n"


def _head(lines: Iterable[Line], period: Period, platform: str) -> list[str]:
    days = format_day(period.since), format_day(period.until)
    content = repr((platform, days, tuple(lines)))
    made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    number = hashlib.sha256(content.encode()).hexdigest()[:16]
    head = ["HEAD", "dsrf/3", "AudioVisualProfile", "1.1", number, made, "1", "1"]
    return [*head, *days, platform, "royalty"]


def _summary(kind: Kind, lines: Sequence[Line], symbol: str) -> list[str]:
    record, use = _USES[kind]
    mine = [line for line in lines if line.kind is kind]
    units, nano = sum(line.units for line in mine), sum(line.amount_nano for line in mine)
    return ["SY06", record, "PayAsYouGoModel", use, str(units), _tokens(nano), symbol]


def _records(line: Line, symbol: str) -> Iterator[list[str]]:
    record, _ = _USES[line.kind]
    work, who = str(line.work), [line.isan, line.eidr, line.title]
    money = [_tokens(line.amount_nano), symbol]
    if line.kind is Kind.VIEW:
        yield ["SR05", record, work, *who, "true", str(line.units), *money]
    elif line.kind is Kind.DOWNLOAD:
        yield ["SR04", record, work, *who, "true", str(line.units), "0", *money]
    else:
        yield ["AS03", work, "R1", work, *who]
        yield ["SU04", work, record, "R1", "true", "1", "0", f"PT{line.units}S", *money]


def _tokens(nano: int) -> str:
    from royalty.money import format_nano

    return format_nano(nano)


def _cell(value: Any) -> str:
    """Return other people's text as a cell: one line, no tab, not too long."""
    text = value if isinstance(value, str) else ""
    return "".join(c if c.isprintable() else " " for c in text)[:MAX_TITLE].strip()
