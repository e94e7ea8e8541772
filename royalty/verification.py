"""Whether evidence is what batches committed to: `audit evidence`, every manifest against all that it names.

`reconcile --evidence` asks whether a log and the chain agree; this asks whether the evidence holds: its
bytes, the documents that it names, its logs, and its counts made again under its own rules. Everything
in the folder is other people's, and whatever is wrong with it is a row.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from royalty.catalogues import Deal, deals_of
from royalty.days import MAX_DAY, Period, format_day, parse_day
from royalty.errors import InputError
from royalty.evidence import FORMAT, manifest_name
from royalty.exhibits import MAX_DOCUMENT_BYTES, MAX_MANIFEST_BYTES, read_exhibit
from royalty.findings import Reason, reused_evidence
from royalty.index.rows import Rows
from royalty.jsontext import parse_json
from royalty.openleaves import DataFiles, Opened, open_tally
from royalty.proof import Batch, identity_of, need_folder, same, sources_of, uncounted
from royalty.questions import Day, Logs
from royalty.reconcile import DEAL_EVENTS, NO_EVIDENCE, batches_of, only_platform, tally_batch
from royalty.tallybook import read_tallies
from royalty.tallybook import terms_of as leaf_terms
from royalty.works import Registration, registrations_of
from royalty.worksmap import WorksMap, read_map

if TYPE_CHECKING:
    from royalty.client import Royalty
    from royalty.index.reader import Snapshot
    from royalty.logs import Columns, Count, Policy, Source, WorkTable

COLUMNS = ("reason", "platform", "batch", "day", "what", "name", "expected", "found")
DOCUMENTS = {"policy": "json", "columns": "json", "map": "csv", "licences": "json"}
KIND_OF = {"map": "works"}  # what a manifest calls otherwise than its file
STATES = 4
_DIGEST = re.compile(r"0x[0-9a-f]{64}")
_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")


class Flaw(NamedTuple):
    """One thing that is not as the evidence says: `what` of `name`, and what stands there instead.

    `what` is one of WHAT. `expected` is what the chain, the logs or the manifest's own digest say.
    """

    reason: Reason
    platform: str
    batch: int
    day: int
    what: str
    name: str
    expected: str | None = None
    found: str | None = None

    def document(self) -> dict[str, Any]:
        """Return the row: days as text."""
        return {**self._asdict(), "reason": self.reason.value, "day": format_day(self.day)}


WHAT: Mapping[str, str] = {
    "manifest_missing": "the folder has no manifest of the batch",
    "manifest_differs": "the manifest is not the one that the batch committed to",
    "manifest_unreadable": "the manifest cannot be read, or no program of ours wrote it",
    "field": "the manifest says something else of its batch than the chain",
    "day_not_counted": "a day was settled that the manifest has not counted",
    "counts_do_not_add_up": "rows are not qualified plus excluded",
    "document_missing": "a document that the manifest names is not in the folder",
    "document_differs": "a document is not the one that the manifest names",
    "document_unreadable": "a document cannot be read",
    "source_missing": "a log that was counted is not among those given",
    "source_rows": "a log has another number of rows",
    "counts": "the same logs under the same rules come to other counts",
    "data_missing": "the tally's data are not in the folder",
    "data_differs": "data in the folder do not lead to the root that was posted",
    "evidence_reused": "another batch carries the same digest",
}


@dataclass(frozen=True, slots=True)
class Looked:
    """What was looked at of one batch: `recounted` is None where its logs are not all at hand."""

    batch: Batch
    sources: int
    at_hand: int
    recounted: bool | None
    flaws: int

    def document(self) -> dict[str, Any]:
        """Return the JSON row."""
        return {
            "batch": self.batch.batch,
            "day": format_day(self.batch.day),
            "as": "direct" if self.batch.tally is None else "tally",
            "evidence": "0x" + self.batch.evidence.hex(),
            "sources": self.sources,
            "sources_at_hand": self.at_hand,
            "recounted": self.recounted,
            "flaws": self.flaws,
        }


@dataclass(frozen=True, slots=True)
class Verification:
    """What the evidence of a platform's batches is worth; `flaws` are the findings.

    `logs_given` is False where no log was given: then sources and counts were not looked at.
    `unnamed` are logs that were given and that no manifest names.
    """

    platform: str
    period: Period
    block: int
    batches: tuple[Looked, ...]
    flaws: tuple[Flaw, ...]
    logs_given: bool
    unnamed: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "platform": self.platform,
            "since": format_day(self.period.since),
            "until": format_day(self.period.until),
            "block": self.block,
            "logs_given": self.logs_given,
            "logs_not_named": list(self.unnamed),
            "batches": [one.document() for one in self.batches],
            "findings": self.table().to_list(),
        }

    def table(self) -> Rows:
        """Return the findings as rows: `.to_list()`, `.to_arrow()`, `.to_csv(path)`, ..."""
        return Rows(COLUMNS, tuple(flaw.document() for flaw in self.flaws))


# --- the whole ---


def evidence(
    session: Royalty,
    folder: str | Path,
    logs: Logs | None = None,
    *,
    platform: str | None = None,
    since: Day | None = None,
    until: Day | None = None,
    separator: str | None = None,
) -> Verification:
    """Return what the evidence in a folder is worth, for each batch of a platform and period.

    `platform` defaults to the only one that reported usage of the days (UTC, both inclusive; default
    all). `logs` are those that were counted; without them their digests and counts are not looked at.
    Raises InputError for what is given, ChainError where the node does not answer.

    >>> royalty.audit.evidence("evidence", "views/*.csv").flaws  # doctest: +SKIP
    """
    from royalty import index

    place = Path(folder)
    need_folder(place)
    period = _period(since, until)
    given = _Given.read(logs, separator)
    named = None if platform is None else session.address(platform)
    chain = _Chain.read(session, index.snapshot(session))
    batches, opened = _batches(chain, place, period, named)
    files = DataFiles([place])
    checks: list[Callable[[Batch, _Manifest], Iterator[Flaw]]] = [
        partial(_manifest_flaws, chain),
        partial(_document_flaws, place),
        partial(_source_flaws, given),
        lambda batch, _: _data_flaws(batch, files, opened.get(batch.batch)),
        lambda batch, _: _reused_flaws(batch, chain),
    ]
    recounts = _Recounts(chain, place, given)
    looked: list[Looked] = []
    flaws: list[Flaw] = []
    manifests = [_read_manifest(place, batch) for batch in batches]
    for batch, manifest in zip(batches, manifests, strict=True):
        own = [flaw for check in checks for flaw in check(batch, manifest)]
        again = recounts.of(batch, manifest, own)
        own += again.flaws
        looked.append(_looked(batch, manifest, given, again, len(own)))
        flaws += own
    return Verification(
        batches[0].platform,
        period,
        chain.snapshot.head.number,
        tuple(looked),
        tuple(flaws),
        logs is not None,
        given.unnamed(manifests),
    )


def _period(since: Day | None, until: Day | None) -> Period:
    def number(day: Day | None, what: str, default: int) -> int:
        if day is None or isinstance(day, int):
            return default if day is None else day
        return parse_day(str(day), what=what)

    return Period(number(since, "--since", 0), number(until, "--until", MAX_DAY))


@dataclass(frozen=True, slots=True)
class _Chain:
    """What the ledger says that evidence is held against, all of one snapshot."""

    session: Royalty
    snapshot: Snapshot
    deals: tuple[Deal, ...]
    registrations: tuple[Registration, ...]
    landed: Mapping[tuple[str, int], int]
    carried: Mapping[tuple[str, int], bytes]

    @classmethod
    def read(cls, session: Royalty, snapshot: Snapshot) -> _Chain:
        events = [e for name in ("UsageReported", "TallyPosted") for e in snapshot.events(name)]
        keyed = {(event.args["platform"], event.args["batch"]): event for event in events}
        return cls(
            session,
            snapshot,
            tuple(deals_of(event for name in DEAL_EVENTS for event in snapshot.events(name))),
            tuple(registrations_of(snapshot.events("WorksRegistered"))),
            {key: event.block for key, event in keyed.items()},
            {
                key: event.args["evidence"]
                for key, event in keyed.items()
                if event.args["evidence"] != NO_EVIDENCE
            },
        )

    def identity(self, batch: Batch) -> dict[str, Any]:
        """Return what a manifest must say of a batch."""
        node, ledger = self.session.node, self.session.ledger
        return {"format": FORMAT} | identity_of(batch, node.chain_id, ledger.address)

    def states(self, catalogues: Collection[int], landed: int) -> list[int]:
        """Return the blocks whose state a batch may have been counted by, the likeliest first.

        Counting comes before landing: of what was opened or registered between, the count knew nothing.
        """
        changes = {deal.block for deal in self.deals if deal.catalogue in catalogues}
        changes |= {one.block for one in self.registrations if one.work.catalogue in catalogues}
        before = sorted((block - 1 for block in changes if block <= landed), reverse=True)
        return [landed, *before][:STATES]

    def state(self, block: int) -> int:
        """Return the last block up to a block that opened, amended or registered anything."""
        known = {deal.block for deal in self.deals} | {one.block for one in self.registrations}
        return max((number for number in known if number <= block), default=0)

    def matcher(self, works_map: WorksMap, catalogues: Collection[int], block: int) -> WorkTable:
        """Return what a log's ids stood for at a block."""
        from royalty.logs import WorkTable
        from royalty.reconcile import works_registered

        known = works_registered(one for one in self.registrations if one.block <= block)
        deals = [d for d in self.deals if d.catalogue in catalogues and d.block <= block]
        return WorkTable(
            works_map.items(),
            [(deal.catalogue, deal.version, deal.from_day, deal.until_day) for deal in deals],
            {one: number for one, number in known.items() if one in catalogues},
        )


def _batches(
    chain: _Chain, folder: Path, period: Period, named: str | None
) -> tuple[list[Batch], dict[int, Opened]]:
    """Return the batches of the platform and period, and what the folder's data say of its tallies.

    A tally of which nothing else is known belongs to the period where its data have a day of it.
    """
    snapshot = chain.snapshot
    tallies = read_tallies(snapshot.events)
    batches = batches_of(snapshot.events("UsageReported"), tallies.values(), period)
    platform = named or only_platform([batch.platform for batch in batches], period)
    deals = {deal.key: terms for deal in chain.deals if (terms := leaf_terms(deal))}
    files = DataFiles([folder])
    mine = [tally for tally in tallies.values() if tally.platform == platform]
    opened = {tally.batch: open_tally(tally, files, deals, period) for tally in mine}
    found = {batch.batch: batch for batch in batches if batch.platform == platform}
    for tally in mine:
        if opened[tally.batch].days:
            found.setdefault(tally.batch, tally_batch(tally, period))
    if not found:
        days = f"{format_day(period.since)} to {format_day(period.until)}"
        raise InputError(f"{platform} has reported no usage of {days}")
    return [found[number] for number in sorted(found)], opened


# --- a batch's own evidence ---


def _flaw(batch: Batch, what: str, name: str, expected: Any = None, found: Any = None) -> Flaw:
    reason = Reason.EVIDENCE_REUSED if what == "evidence_reused" else Reason.EVIDENCE_MISMATCH
    shown = [None if value is None else str(value) for value in (expected, found)]
    return Flaw(reason, batch.platform, batch.batch, batch.day, what, name, *shown)


class _Manifest(NamedTuple):
    """A manifest as it was found: its content where it is the batch's own, else why it is not."""

    content: Mapping[str, Any] = {}
    sources: Mapping[str, int] = {}
    what: str = ""
    expected: str | None = None
    found: str | None = None


def _read_manifest(folder: Path, batch: Batch) -> _Manifest:
    try:
        content = read_exhibit(folder, manifest_name(batch.batch), MAX_MANIFEST_BYTES)
    except InputError as error:
        return _Manifest(what="manifest_unreadable", found=str(error))
    if content is None:
        return _Manifest(what="manifest_missing", expected="0x" + batch.evidence.hex())
    digest = hashlib.sha256(content).digest()
    if digest != batch.evidence:
        return _Manifest(
            what="manifest_differs",
            expected="0x" + batch.evidence.hex(),
            found="0x" + digest.hex(),
        )
    try:
        manifest = parse_json(content)
        named = sources_of(manifest)
        if len({source for source, _ in named}) < len(named) or not named:
            raise ValueError("it names no log, or one twice")
    except (ValueError, KeyError, TypeError) as error:
        return _Manifest(what="manifest_unreadable", found=f"{type(error).__name__}: {error}"[:200])
    return _Manifest(manifest, dict(named))


def _manifest_flaws(chain: _Chain, batch: Batch, manifest: _Manifest) -> Iterator[Flaw]:
    """Yield what the manifest says otherwise than the chain, or than itself."""
    if manifest.what:
        name = manifest_name(batch.batch)
        yield _flaw(batch, manifest.what, name, manifest.expected, manifest.found)
        return
    content = manifest.content
    for word, expected in chain.identity(batch).items():
        if not same(content.get(word), expected):
            yield _flaw(batch, "field", word, expected, _shown(content.get(word)))
    period = _period_of(content)
    if period is None or batch.day not in period:
        said = f"{_shown(content.get('since'))} to {_shown(content.get('until'))}"
        yield _flaw(batch, "field", "since", format_day(batch.day), said)
    for day in uncounted(batch, content):
        yield _flaw(batch, "day_not_counted", format_day(day))
    yield from _sums(batch, content)


def _sums(batch: Batch, content: Mapping[str, Any]) -> Iterator[Flaw]:
    """Yield the counts of which rows are not qualified plus excluded."""
    recount = content.get("recount")
    days = recount if batch.tally is not None and isinstance(recount, Mapping) else {"": recount}
    named: dict[str, Any] = {"counts": content.get("counts")}
    named |= {f"recount {day}".strip(): counts for day, counts in days.items()}
    for name, counts in named.items():
        total = _total(counts)
        if total is None:
            yield _flaw(batch, "counts_do_not_add_up", name, None, _shown(counts))
        elif total != counts["rows"]:
            yield _flaw(batch, "counts_do_not_add_up", name, total, counts["rows"])


def _total(counts: Any) -> int | None:
    """Return qualified plus excluded, None where it is no count."""
    if not isinstance(counts, dict) or not isinstance(counts.get("excluded"), dict):
        return None
    numbers: list[Any] = [counts.get("qualified"), *counts["excluded"].values()]
    if any(type(number) is not int for number in [counts.get("rows"), *numbers]):
        return None
    total: int = sum(numbers)
    return total


def _document_flaws(folder: Path, batch: Batch, manifest: _Manifest) -> Iterator[Flaw]:
    """Yield the documents that a manifest names and that the folder does not have, or has otherwise."""
    for word in DOCUMENTS if not manifest.what else ():
        digest = manifest.content.get(word)
        if digest is None and word == "columns":
            continue
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            yield _flaw(batch, "field", word, "a digest", _shown(digest))
            continue
        try:
            content = _read_document(folder, word, digest)
        except InputError as error:
            yield _flaw(batch, "document_unreadable", word, digest, str(error))
            continue
        if content is None:
            yield _flaw(batch, "document_missing", word, digest)
        elif (found := "0x" + hashlib.sha256(content).hexdigest()) != digest:
            yield _flaw(batch, "document_differs", word, digest, found)


def _read_document(folder: Path, word: str, digest: str) -> bytes | None:
    """Return what the folder has under a document's name; its digest is not checked."""
    kind = KIND_OF.get(word, word)
    name = f"{kind}-{digest[2:18]}.{DOCUMENTS[word]}"
    return read_exhibit(folder, name, MAX_DOCUMENT_BYTES)


def _source_flaws(given: _Given, batch: Batch, manifest: _Manifest) -> Iterator[Flaw]:
    """Yield the logs that the manifest counted and that are not among those given."""
    if not given.asked:
        return
    for digest, rows in sorted(manifest.sources.items()):
        if digest not in given.sources:
            yield _flaw(batch, "source_missing", digest, f"{rows} rows")


def _data_flaws(batch: Batch, files: DataFiles, opened: Opened | None) -> Iterator[Flaw]:
    """Yield what is wrong with the copies of a tally's data; the tree is built again from each."""
    if batch.tally is None or opened is None:
        return
    for complaint in opened.wrong:
        name = next((f.name for f in files.of(batch.tally) if complaint.startswith(f.name)), "data")
        yield _flaw(batch, "data_differs", name, "0x" + batch.tally.root.hex(), complaint)
    if not opened.known and not opened.wrong:
        digest = "0x" + batch.tally.posted.args["dataDigest"].hex()
        yield _flaw(batch, "data_missing", f"tally-{batch.batch}-{digest[2:10]}.parquet", digest)


def _reused_flaws(batch: Batch, chain: _Chain) -> Iterator[Flaw]:
    """Yield the platform's other batches that carry the same digest; a copier accuses nobody (0032)."""
    if (batch.platform, batch.batch) not in reused_evidence(chain.carried):
        return
    for (platform, number), digest in sorted(chain.carried.items()):
        if digest == batch.evidence and platform == batch.platform and number != batch.batch:
            name = f"batch {number} of {platform}"
            yield _flaw(batch, "evidence_reused", name, "another", "0x" + digest.hex())


def _period_of(content: Mapping[str, Any]) -> Period | None:
    """Return the days that a manifest counted, None where it does not say."""
    try:
        return Period(parse_day(str(content.get("since"))), parse_day(str(content.get("until"))))
    except InputError:
        return None


def _shown(value: Any) -> str:
    return "missing" if value is None else str(value)[:200]


# --- its logs, counted again ---


@dataclass(frozen=True, slots=True)
class _Given:
    """The logs at hand by the SHA-256 of their content (`0x...`); of equal ones, one."""

    asked: bool
    paths: tuple[Path, ...]
    separator: str | None
    sources: Mapping[str, Path]

    @classmethod
    def read(cls, logs: Logs | None, separator: str | None) -> _Given:
        if logs is None:
            return cls(False, (), separator, {})
        from royalty.logs import content_digest, find_sources
        from royalty.logs.sources import find_paths

        listed = [logs] if isinstance(logs, str | Path) else list(logs)
        # Of any formats: manifests say how each is read.
        found = [find_sources([path], None, separator)[0] for path in find_paths(listed)]
        by_digest = {content_digest(source): source.path for source in found}
        return cls(True, tuple(source.path for source in found), separator, by_digest)

    def of(self, digests: Collection[str], columns: Columns) -> list[Source]:
        """Return some of the logs, to be read under a manifest's columns."""
        from royalty.logs import find_sources

        paths = [str(self.sources[digest]) for digest in sorted(digests)]
        if columns.format is not None:
            return find_sources(paths, None, None, columns.format)
        return find_sources(paths, columns, self.separator)

    def unnamed(self, manifests: Iterable[_Manifest]) -> tuple[str, ...]:
        """Return the paths of logs that no manifest names."""
        named = {digest for manifest in manifests for digest in manifest.sources}
        return tuple(str(p) for digest, p in self.sources.items() if digest not in named)


@dataclass(frozen=True, slots=True)
class _Recount:
    """Whether a batch's counts were made again, and what came out otherwise."""

    done: bool | None
    flaws: list[Flaw] = field(default_factory=list)


@dataclass(slots=True)
class _Recounts:
    """Counts made again under the rules of manifests; batches of one report share theirs."""

    chain: _Chain
    folder: Path
    given: _Given
    _done: dict[Any, Count | str] = field(default_factory=dict)

    def of(self, batch: Batch, manifest: _Manifest, flaws: Sequence[Flaw]) -> _Recount:
        """Return what the logs of a batch come to; nothing where rules or logs are not at hand."""
        named = manifest.sources
        if manifest.what or not named or any(one not in self.given.sources for one in named):
            return _Recount(None)
        if any(flaw.what.startswith("document_") or flaw.what == "field" for flaw in flaws):
            return _Recount(None)
        try:
            rules = _Rules.read(self.folder, manifest.content)
        except _UnreadableError as error:
            return _Recount(
                None, [_flaw(batch, "document_unreadable", error.word, None, str(error))]
            )
        states = self.chain.states(rules.catalogues, self.chain.landed[batch.platform, batch.batch])
        first: list[Flaw] = []
        for at, block in enumerate(states):
            found = self._counted(manifest, rules, block)
            again = list(_count_flaws(batch, manifest, found))
            if not again:
                return _Recount(True)
            first = first or again
            if at == 0 and any(flaw.what != "counts" for flaw in again):
                break
        return _Recount(True, first)

    def _counted(self, manifest: _Manifest, rules: _Rules, block: int) -> Count | str:
        """Return the count of a manifest's logs by the state of a block, or why there is none."""
        from royalty.logs import count

        content = manifest.content
        state = self.chain.state(block)
        words = ("since", "until", *DOCUMENTS)
        key = (state, frozenset(manifest.sources), *(content.get(word) for word in words))
        if key not in self._done:
            try:
                self._done[key] = count(
                    self.given.of(manifest.sources, rules.columns),
                    Period(parse_day(content["since"]), parse_day(content["until"])),
                    self.chain.matcher(rules.works_map, rules.catalogues, block),
                    rules.policy,
                )
            except InputError as error:
                self._done[key] = str(error)
        return self._done[key]


def _count_flaws(batch: Batch, manifest: _Manifest, found: Count | str) -> Iterator[Flaw]:
    """Yield each number that the logs come to otherwise than the manifest says."""
    if isinstance(found, str):
        yield _flaw(batch, "counts", "logs", "as the manifest says", found)
        return
    rows = {source.sha256: source.rows for source in found.sources}
    for digest, number in sorted(manifest.sources.items()):
        if rows.get(digest) != number:
            yield _flaw(batch, "source_rows", digest, rows.get(digest), number)
    counts = manifest.content["counts"]
    if _total(counts) is None:
        return
    expected = {"rows": found.rows, "qualified": found.qualified, **found.excluded}
    said = {"rows": counts["rows"], "qualified": counts["qualified"], **counts["excluded"]}
    for word in dict.fromkeys([*expected, *said]):
        if expected.get(word, 0) != said.get(word, 0):
            yield _flaw(batch, "counts", word, expected.get(word, 0), said.get(word, 0))


class _UnreadableError(Exception):
    """A document that has its digest and that says nothing we can count by."""

    def __init__(self, word: str, why: object) -> None:
        super().__init__(str(why)[:200])
        self.word = word


@dataclass(frozen=True, slots=True)
class _Rules:
    """What a manifest says that its logs were counted by."""

    policy: Policy
    columns: Columns
    works_map: WorksMap
    catalogues: frozenset[int]

    @classmethod
    def read(cls, folder: Path, manifest: Mapping[str, Any]) -> _Rules:
        """Return the rules; the documents are known to have their digests."""
        readers: Mapping[str, Callable[[bytes], Any]] = {
            "policy": _policy_of,
            "columns": _columns_of,
            "map": _map_of,
            "licences": _catalogues_of,
        }
        made: dict[str, Any] = {}
        for word, reader in readers.items():
            digest = manifest.get(word)
            content = b"" if digest is None else _read_document(folder, word, digest) or b""
            try:
                made[word] = reader(content)
            except (InputError, ValueError, KeyError, TypeError) as error:
                raise _UnreadableError(word, error) from None
        return cls(made["policy"], made["columns"], made["map"], made["licences"])


_TEXTS = ("name", "version", "sha256")
"""Settings of a policy that are text, even where they look like a number."""


def _policy_of(content: bytes) -> Policy:
    """Return the policy of its canonical form, in which decimals are text."""
    from royalty.logs import Policy

    table = parse_json(content)
    policy = Policy.of({word: _numbers(value) for word, value in table.items()})
    _require_same(policy.digest, content)
    return policy


def _numbers(value: Any) -> Any:
    """Return a section with its decimals as numbers; name and version stay text."""
    if isinstance(value, dict):
        return {
            word: Decimal(inner)
            if word not in _TEXTS and isinstance(inner, str) and _DECIMAL.fullmatch(inner)
            else _numbers(inner)
            for word, inner in value.items()
        }
    return value


def _columns_of(content: bytes) -> Columns:
    from royalty.logs import NATIVE, Columns
    from royalty.logs.formats import named

    if not content:
        return NATIVE
    document = parse_json(content)
    known = document.get("format")
    columns = Columns.of(document) if known is None else named(str(known))[0].columns
    _require_same(columns.digest, content)
    return columns


def _require_same(digest: str, content: bytes) -> None:
    """Raise ValueError where what was read is not all that a document says, as of a newer program."""
    if digest != "0x" + hashlib.sha256(content).hexdigest():
        raise ValueError("it says more than this version of the program reads")


def _map_of(content: bytes) -> WorksMap:
    with tempfile.TemporaryDirectory(prefix="royalty-") as folder:
        path = Path(folder, "map.csv")
        path.write_bytes(content)
        return read_map(path)


def _catalogues_of(content: bytes) -> frozenset[int]:
    listed = parse_json(content)["licences"]
    numbers = frozenset(one["catalogue"] for one in listed)
    if any(type(number) is not int for number in numbers):
        raise ValueError("a catalogue is a number")
    return numbers


def _looked(
    batch: Batch, manifest: _Manifest, given: _Given, again: _Recount, flaws: int
) -> Looked:
    at_hand = sum(digest in given.sources for digest in manifest.sources)
    return Looked(batch, len(manifest.sources), at_hand, again.done, flaws)


def sentence(found: Verification) -> str:
    """Return what it means, in one sentence for a person."""
    if found.flaws:
        batches = len({flaw.batch for flaw in found.flaws})
        return f"The evidence of {batches} of {len(found.batches)} batches does not hold."
    if not found.logs_given:
        return "The evidence is what the batches committed to; give its logs to count them again."
    return "The evidence holds: digests, documents, logs, and every count made again."
