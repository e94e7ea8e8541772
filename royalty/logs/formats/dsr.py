"""DDEX digital sales reports, flat file, audio-visual profile: units of a work over the report's period.

Read are SR04 (downloads), SR05 (streams), SU04 (usages of a resource in its block) and CU01 (cues: works
cited in the resource). Others are passed over. The footer's counts must be those of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from royalty.errors import InputError
from royalty.logs.batches import Reading, Rows
from royalty.logs.formats.base import SUMS, Chunks, Format, head_lines, numbered, sums_columns
from royalty.logs.lines import blocks, text_of

# Where cells stand when no comment line (`#SR05 ...`) says so: the audio-visual profile 1.1.
_VIDEO = (
    "RecordType SummaryRecordId DspResourceId ISAN EIDR ProprietaryResourceId VideoType ResourceTitle"
    " ResourceSubTitle ResourceOriginalTitle EpisodeNumber SeasonNumber Genre Duration"
    " ResourceDisplayArtistName ResourceDisplayArtistPartyId ProducerName ProducerPartyId DirectorName"
    " DirectorPartyId ActorName ActorPartyId ProductionCompanyName ProductionCompanyPartyId"
    " LanguageLocalizationType HasCaptioning HasAudioDescription OriginalLanguageOfPerformance"
    " LanguageOfDubbing DateOfProductionOrRelease CountryOfProduction OriginalBroadcastChannel"
    " OriginalBroadcastDateTime DspReleaseId ProprietaryReleaseId ICPN ReleaseTitle ReleaseSubTitle"
    " SeriesTitle ReleaseType DataProvider VideoCategory SalesTransactionId"
)
LAYOUTS = {
    "HEAD": "RecordType MessageVersion Profile ProfileVersion MessageId MessageCreatedDateTime FileNumber"
    " NumberOfFiles UsageStartDate UsageEndDate",
    "FOOT": "RecordType NumberOfLinesInFile NumberOfLinesInReport NumberOfSummaryRecords"
    " NumberOfBlocksInFile NumberOfBlocksInReport",
    "SY": "RecordType SummaryRecordId DistributionChannel DistributionChannelDPID CommercialModel UseType",
    "AS03": "RecordType BlockId ResourceReference DspResourceId ISAN EIDR ProprietaryId",
    "CU01": "RecordType BlockId CueResourceReference CueStartTime CueDuration ReferencedCreationISRC"
    " ReferencedCreationISWC ReferencedCreationTitle",
    "SR04": _VIDEO
    + " DrmEnforcement VideoDefinitionType CodingType BitRate IsRoyaltyBearing Downloads"
    " Returns",
    "SR05": _VIDEO + " VideoDefinitionType CodingType BitRate IsRoyaltyBearing NumberOfStreams",
    "SU04": "RecordType BlockId SummaryRecordId SalesTransactionId TransactedRelease TransactedResource"
    " DrmEnforcementType VideoDefinitionType CodingType BitRate OriginalBroadcastChannel"
    " OriginalBroadcastDateTime IsRoyaltyBearing SalesUpgrade Usages Returns DurationUsed",
}
READ = ("SR04", "SR05", "SU04", "CU01")
HEADS, FEET = ("HEAD", "SRHE"), ("FOOT", "SRFO")
COUNTED = (
    ("lines", "NumberOfLinesInFile"),
    ("summary records", "NumberOfSummaryRecords"),
    ("blocks", "NumberOfBlocksInFile"),
)
MAX_RECORDS = 100_000

_LAYOUT = re.compile(rf"#({'|'.join((*HEADS, *FEET, *READ))}|AS03|SY\d\d)")
_TAG = re.compile(r"[A-Z]{2}\d\d")
_UNITS = re.compile(r"(\d{1,12})(?:\.0+)?")
_CELL = re.compile(r"(?<!\\)\t")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_LENGTH = re.compile(r"PT(?:(\d{1,4})H)?(?:(\d{1,6})M)?(?:(\d{1,9})(?:\.\d+)?S)?")

Record = dict[str, str]


def read_dsr(chunks: Chunks, path: Path, _option: str | None) -> Reading:
    """Return the units of a report; InputError where it is cut off or its footer counts otherwise."""
    report = _Report(path)
    return Reading(SUMS, report.tables(chunks), report.passed)


@dataclass(slots=True)
class _Block:
    """What lies between two blocks: resources, uses and cues, which refer to one another."""

    number: str = ""
    works: dict[str, str] = field(default_factory=dict)
    uses: list[tuple[int, Record]] = field(default_factory=list)
    cues: list[tuple[int, Record]] = field(default_factory=list)


@dataclass(slots=True)
class _Report:
    path: Path
    layouts: dict[str, list[str]] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)
    days: tuple[str, str] = ("", "")
    kinds: dict[str, str] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    block: _Block = field(default_factory=_Block)
    foot: Record | None = None

    def tables(self, chunks: Chunks) -> Iterator[Any]:
        self.found = {"lines": 0, "summary records": 0, "blocks": 0}
        for block in blocks(chunks):
            rows = Rows(len(SUMS))
            self.found["lines"] += len(block.lines())
            for number, line in numbered(block):
                text, why = text_of(line)
                try:
                    if text is None:
                        raise ValueError(why)
                    self._line(text, number, rows)
                except ValueError as error:
                    rows.bad.append((number, str(error)))
            if block.last:
                self._close(rows)
            if rows.lines or rows.bad:
                yield rows.table()
        self._check_foot()

    def _line(self, text: str, number: int, rows: Rows) -> None:
        cells = _CELL.split(text)
        tag = cells[0].split(".")[0]
        if tag.startswith("#"):
            if _LAYOUT.fullmatch(tag):
                names = cells[2:] if cells[1:2] == ["RecordType"] else cells[1:]
                self.layouts[tag[1:]] = ["RecordType", *names]
            return
        record = self._record(tag, cells)
        if tag in HEADS:
            self._head(record)
        elif tag in FEET:
            self.foot = record
        elif tag.startswith("SY"):
            self.found["summary records"] += 1
            self._room(self.kinds)
            self.kinds[record.get("SummaryRecordId", "")] = record.get("UseType", "")
        else:
            self._usage(tag, record, cells, number, rows)

    def _record(self, tag: str, cells: list[str]) -> Record:
        form = "SY" if tag.startswith("SY") else {"SRHE": "HEAD", "SRFO": "FOOT"}.get(tag, tag)
        names = self.layouts.get(tag) or LAYOUTS.get(form, "").split()
        return {name: cell for name, cell in zip(names, cells, strict=False) if cell}

    def _head(self, record: Record) -> None:
        since, until = (record.get(f"Usage{word}Date", "") for word in ("Start", "End"))
        if not _DAY.fullmatch(since) or not _DAY.fullmatch(until):
            raise InputError(f"{self.path}: its HEAD names no UsageStartDate and UsageEndDate")
        self.days = since, until

    def _usage(self, tag: str, record: Record, cells: list[str], number: int, rows: Rows) -> None:
        if not self.days[0]:
            raise InputError(f"{self.path}: a {tag} stands before the HEAD")
        if not tag.startswith("SR"):
            self._in_block(cells[1] if len(cells) > 1 else "", rows)
        if tag == "AS03":
            self._room(self.block.works)
            reference = record.get("ResourceReference", "")
            self.block.works[reference] = record.get("DspResourceId", "")
        elif tag not in READ:
            self._pass(f"{tag} is not read" if _TAG.fullmatch(tag) else "no record of DDEX")
        elif tag == "CU01":
            self._room(self.block.cues)
            self.block.cues.append((number, record))
        elif record.get("IsRoyaltyBearing", "").lower() not in ("true", "1"):
            self._pass("not royalty-bearing")
        elif tag == "SU04":
            self._room(self.block.uses)
            self.block.uses.append((number, record))
        else:
            kind, name = ("download", "Downloads") if tag == "SR04" else ("view", "NumberOfStreams")
            units = _units(name, record) - _returns(record)
            self._add(rows, number, record.get("DspResourceId"), kind, units)

    def _room(self, records: Sized) -> None:
        """Raise ValueError where records that others refer to are more than are held."""
        if len(records) >= MAX_RECORDS:
            raise ValueError(f"more than {MAX_RECORDS:,} records that others may refer to")

    def _in_block(self, number: str, rows: Rows) -> None:
        if number != self.block.number:
            self._close(rows)
            self.block = _Block(number)
            self.found["blocks"] += 1

    def _close(self, rows: Rows) -> None:
        """Add the uses of a block, and its cues as often as their resource was used."""
        used: dict[str, int] = {}
        for number, record in self.block.uses:
            try:
                resource = record.get("TransactedResource", "")
                kind = self._kind(record)
                units = _units("Usages", record) - _returns(record)
                if kind == "excerpt":
                    units *= _seconds(record, "DurationUsed")
                self._add(rows, number, self.block.works.get(resource), kind, units)
                used[resource] = used.get(resource, 0) + (units if kind == "view" else 0)
            except ValueError as error:
                rows.bad.append((number, str(error)))
        for number, record in self.block.cues:
            try:
                names = ("ISRC", "ISWC", "Title")
                works = (record.get(f"ReferencedCreation{name}") for name in names)
                units = _seconds(record, "CueDuration") * used.get(
                    record.get("CueResourceReference", ""), 0
                )
                self._add(rows, number, next(filter(None, works), None), "excerpt", units)
            except ValueError as error:
                rows.bad.append((number, str(error)))
        self.block = _Block(self.block.number)

    def _kind(self, record: Record) -> str:
        use = self.kinds.get(record.get("SummaryRecordId", ""), "")
        if "download" in use.lower():
            return "download"
        if "stream" in use.lower():
            return "view"
        if "excerpt" in use.lower():
            return "excerpt"
        raise ValueError(
            f"its summary record's UseType is no stream, download or excerpt: '{use[:40]}'"
        )

    def _add(self, rows: Rows, number: int, work: str | None, kind: str, units: int) -> None:
        if units < 0:
            raise ValueError(f"more returns than uses ({units})")
        rows.lines.append(number)
        rows.cells.append([work, kind, *self.days, str(units)])

    def _pass(self, why: str) -> None:
        self.passed[why] = self.passed.get(why, 0) + 1

    def _check_foot(self) -> None:
        if self.foot is None:
            raise InputError(f"{self.path} has no FOOT: it is cut off")
        for what, name in COUNTED:
            said = self.foot.get(name)
            if said is not None and said != str(self.found[what]):
                raise InputError(
                    f"{self.path}: its footer says {said[:20]} {what}, it has {self.found[what]}"
                )


def _units(name: str, record: Record) -> int:
    found = _UNITS.fullmatch(record.get(name, ""))
    if found is None:
        raise ValueError(f"{name} is not a number of units")
    return int(found[1])


def _returns(record: Record) -> int:
    return _units("Returns", record) if "Returns" in record else 0


def _seconds(record: Record, name: str) -> int:
    """Return the whole seconds of a cell, of an ISO 8601 duration such as PT1M30S."""
    text = record.get(name, "")
    found = _LENGTH.fullmatch(text)
    if found is None or text == "PT":
        raise ValueError(f"{name} is not a duration")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def _looks(head: bytes) -> bool:
    cells = [line.split("\t") for line in head_lines(head)]
    first = next((one for one in cells if not one[0].startswith("#")), [""])
    return first[0] in HEADS and len(first) >= 4


DSR = Format(
    name="dsr",
    title="DDEX digital sales reports, audio-visual flat file: sums",
    columns=sums_columns("dsr"),
    looks=_looks,
    read=read_dsr,
    sums=True,
)
