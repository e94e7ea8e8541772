"""Works: registered by the SHA-256 of their files, with titles and identifiers, in order of time."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.catalogues import MAX_TITLE, need_owner
from royalty.errors import InputError
from royalty.identifiers import SCHEMES, check_identifiers
from royalty.metadata import INLINE, Metadata, check_uri, find, keep, make_metadata, text_of
from royalty.sending import finish, send_once
from royalty.sheets import Row, cell, read_sheet
from royalty.usage import WorkRef

if TYPE_CHECKING:
    from royalty.chain.events import Event
    from royalty.chain.ledger import Call
    from royalty.client import Royalty

PER_TRANSACTION = 500
MAX_PLATFORM_ID = 200
EMPTY = hashlib.sha256().hexdigest()
NOTE_COLUMNS = ("work", "fingerprint", "platform_id", "title", "registrant")

_FINGERPRINT = re.compile(r"(?:0x)?([0-9a-fA-F]{64})")

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class NewWork:
    """A work to be registered: the SHA-256 of its file (64 hex digits), title, identifiers, note."""

    fingerprint: str
    title: str = ""
    identifiers: Mapping[str, str] = field(default_factory=dict)
    platform_id: str = ""

    def document(self) -> dict[str, str]:
        """Return what the metadata say of it; the platform's own id stays in this folder."""
        return ({"title": self.title} if self.title else {}) | dict(self.identifiers)


@dataclass(frozen=True, slots=True)
class Registration:
    """One work as it was registered: `block` orders it in time, `position` within its event.

    `registrant` is who owned the catalogue then. The earliest is the earliest, not the owner.
    """

    work: WorkRef
    fingerprint: str
    registrant: str
    block: int
    log_index: int
    position: int
    transaction: str
    metadata_digest: bytes
    uri: str

    @property
    def order(self) -> tuple[int, int, int]:
        """What orders registrations in time."""
        return self.block, self.log_index, self.position


@dataclass(frozen=True, slots=True)
class Registered:
    """What a registration run did: a work for each one given, in order, and which were there before."""

    works: tuple[WorkRef, ...]
    already: tuple[WorkRef, ...]
    transactions: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "works": [str(work) for work in self.works],
            "already_registered": [str(work) for work in self.already],
            "transactions": list(self.transactions),
        }


# --- input ---


def fingerprint_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits.

    Raises InputError where it cannot be read, or is empty: then it would be everybody's.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    if found == EMPTY:
        raise InputError(f"{path} is empty; every empty file has the same fingerprint")
    return found


def parse_fingerprint(text: str) -> str:
    """Return a fingerprint's 64 lower-case hex digits; InputError where it is not one."""
    match = _FINGERPRINT.fullmatch(text)
    if match is None:
        raise InputError(
            f"'{text[:80]}' is not a fingerprint; write the 64 hex digits of a SHA-256"
        )
    return match.group(1).lower()


def fingerprint_or_file(text: str) -> str:
    """Return the fingerprint that a text is, or that of the file it names; a file comes first."""
    path = Path(text)
    if path.is_file() or not _FINGERPRINT.fullmatch(text):
        return fingerprint_of(path)
    return parse_fingerprint(text)


def new_work(
    fingerprint: str,
    *,
    title: str = "",
    identifiers: Mapping[str, str | None] | None = None,
    platform_id: str = "",
) -> NewWork:
    """Return a checked work; InputError for a title, identifier or platform's id that is not valid."""
    title, platform_id = title.strip(), platform_id.strip()
    if len(title) > MAX_TITLE or not title.isprintable():
        raise InputError(f"a title has at most {MAX_TITLE} characters on one line")
    if len(platform_id) > MAX_PLATFORM_ID or not platform_id.isprintable():
        raise InputError(f"a platform_id has at most {MAX_PLATFORM_ID} characters on one line")
    return NewWork(
        parse_fingerprint(fingerprint), title, check_identifiers(identifiers or {}), platform_id
    )


def read_works(path: Path) -> list[NewWork]:
    """Return the works of a CSV file with `fingerprint` or `file`, `title`, identifiers, `platform_id`.

    A `file` is looked for beside the CSV. Raises InputError naming line and reason.
    """
    rows = read_sheet(path, [], one_of=["fingerprint", "file"])
    if not rows:
        raise InputError(f"{path} names no work; write a line each")
    works = [_work_of_row(row) for row in rows]
    _check_platform_ids(rows, works)
    return works


def _check_platform_ids(rows: Sequence[Row], works: Sequence[NewWork]) -> None:
    first: dict[str, tuple[Row, NewWork]] = {}
    for row, work in zip(rows, works, strict=True):
        before, known = first.setdefault(work.platform_id, (row, work))
        if work.platform_id and known.fingerprint != work.fingerprint:
            raise row.refuse(
                f"platform_id '{work.platform_id}' stands for another file in line {before.line};"
                " give each work its own"
            )


def _work_of_row(row: Row) -> NewWork:
    given, file = row["fingerprint"], row["file"]
    if not given and not file:
        raise row.refuse("neither fingerprint nor file is given")
    found = row.read(lambda name: fingerprint_of(row.path.parent / name), file) if file else ""
    if found and given and row.read(parse_fingerprint, given) != found:
        raise row.refuse(f"{file} has the fingerprint {found}, not the one given")
    return row.read(
        lambda fingerprint: new_work(
            fingerprint,
            title=row["title"],
            identifiers={scheme: row[scheme] for scheme in SCHEMES},
            platform_id=row["platform_id"],
        ),
        found or given,
    )


# --- reading the chain ---


def registrations(
    session: Royalty,
    *,
    fingerprint: str | None = None,
    catalogue: int | None = None,
    block: int | str = "latest",
) -> list[Registration]:
    """Return all registrations in order of time, of one fingerprint or catalogue where given."""
    from royalty.records import events

    filters = {} if catalogue is None else {"catalogue": catalogue}
    found = registrations_of(events(session, "WorksRegistered", block=block, **filters))
    wanted = None if fingerprint is None else parse_fingerprint(fingerprint)
    return [one for one in found if wanted is None or one.fingerprint == wanted]


def registrations_of(events: Iterable[Event]) -> list[Registration]:
    """Return the registrations that WorksRegistered events hold, in order of time."""
    return [
        Registration(
            WorkRef(event.args["catalogue"], event.args["firstIndex"] + position),
            fingerprint.hex(),
            event.args["registrant"],
            event.block,
            event.log_index,
            position,
            event.transaction,
            event.args["metadataDigest"],
            event.args["uri"],
        )
        for event in sorted(events, key=lambda event: (event.block, event.log_index))
        for position, fingerprint in enumerate(event.args["fingerprints"])
    ]


def registration(session: Royalty, work: WorkRef) -> Registration:
    """Return one work's registration; InputError where there is no such work."""
    for found in registrations(session, catalogue=work.catalogue):
        if found.work == work:
            return found
    raise InputError(
        f"there is no work {work}; `royalty work list --catalogue {work.catalogue}` shows those that exist"
    )


def rivals(session: Royalty, works: Iterable[WorkRef]) -> set[WorkRef]:
    """Return those works whose fingerprint another registrant registered earlier elsewhere.

    Elsewhere is another catalogue. A registration repeated by the same registrant is no conflict.
    """
    return rivals_among(registrations(session), works)


def rivals_among(found: Sequence[Registration], works: Iterable[WorkRef]) -> set[WorkRef]:
    """Return the works that have an earlier rival among registrations in order of time.

    Of each fingerprint only two facts matter: its first registration, and the first by another
    registrant than that one in another catalogue.
    """
    asked = set(works)
    fingerprints = {one.fingerprint for one in found if one.work in asked}
    earlier: dict[str, list[Registration]] = {}
    conflicted = set()
    for one in found:
        if one.fingerprint not in fingerprints:
            continue
        before = earlier.setdefault(one.fingerprint, [])
        if one.work in asked and any(_rival(one, other) for other in before):
            conflicted.add(one.work)
        if not any(_same_claim(one, other) for other in before):
            before.append(one)
    return conflicted


def _rival(one: Registration, other: Registration) -> bool:
    return one.registrant != other.registrant and one.work.catalogue != other.work.catalogue


def _same_claim(one: Registration, other: Registration) -> bool:
    return one.registrant == other.registrant and one.work.catalogue == other.work.catalogue


def describe(session: Royalty, found: Sequence[Registration]) -> list[dict[str, Any]]:
    """Return registrations as JSON: work, fingerprint, who, when, title and identifiers.

    Titles and identifiers are the registrant's own words; only metadata of the digest on chain count.
    """
    times = _times(session, found)
    return [_row(one, times[one.block], entry) for one, entry in _entries(session, found)]


def titles(session: Royalty, found: Iterable[Registration]) -> dict[WorkRef, str]:
    """Return the titles that registrants gave their works, '' where this folder and the chain have none."""
    return {one.work: text_of(entry, "title") for one, entry in _entries(session, found)}


def _entries(session: Royalty, found: Iterable[Registration]) -> Iterator[tuple[Registration, Any]]:
    """Yield registrations with their entry in the metadata, each document read once."""
    documents: dict[tuple[bytes, str], Any] = {}
    for one in found:
        key = one.metadata_digest, one.uri
        if key not in documents:
            documents[key] = find(session, one.uri, digest=one.metadata_digest)
        yield one, _entry(documents[key], one.position)


def _row(one: Registration, time: str, entry: Any) -> dict[str, Any]:
    return {
        "work": str(one.work),
        "fingerprint": "0x" + one.fingerprint,
        "title": text_of(entry, "title"),
        **{scheme: text for scheme in SCHEMES if (text := text_of(entry, scheme))},
        "registrant": one.registrant,
        "block": one.block,
        "time": time,
        "transaction": one.transaction,
    }


def _entry(document: Any, position: int) -> Any:
    entries = document.get("works") if isinstance(document, dict) else None
    if not isinstance(entries, list) or position >= len(entries):
        return None
    return entries[position]


def _times(session: Royalty, found: Iterable[Registration]) -> dict[int, str]:
    from datetime import UTC, datetime

    numbers = sorted({one.block for one in found})
    return {
        block.number: datetime.fromtimestamp(block.timestamp, UTC)
        .isoformat()
        .replace("+00:00", "Z")
        for block in session.node.blocks(numbers)
    }


# --- registering ---


def register(
    session: Royalty,
    catalogue: int,
    works: Sequence[NewWork],
    *,
    again: bool = False,
    uri: str | None = None,
    progress: Progress | None = None,
) -> Registered:
    """Register works in a catalogue of the session's account, 500 a transaction, and note them.

    What the account has registered in this catalogue before, an interrupted run included, is not
    registered twice unless `again`; it comes back in `already`. `uri` is where the metadata will be
    published, `{digest}` in it filled in; `progress` is told of each lot that landed. Raises
    InputError for what is refused, ChainErrors for the rest; to run it again continues.
    """
    need_owner(session, catalogue)
    if not works:
        raise InputError("no work was given to register; name at least one file")
    if not session.dry_run:
        finish(session)
    known = {} if again else _registered_by(session, catalogue, session.account.address)
    todo = list(works) if again else _new(works, known)
    chunks = [todo[at : at + PER_TRANSACTION] for at in range(0, len(todo), PER_TRANSACTION)]
    metadata = _metadata(session, chunks, uri)
    calls = [_call(session, catalogue, *pair) for pair in zip(chunks, metadata, strict=True)]
    session.confirm(calls)
    _note(session, [(known[w.fingerprint], w) for w in works if w.fingerprint in known])
    placed: list[WorkRef] = []
    transactions = []
    for chunk, described, call in zip(chunks, metadata, calls, strict=True):
        keep(session.state_dir, described)
        receipt = send_once(session, call)
        first = receipt.event("WorksRegistered").args["firstIndex"]
        refs = [WorkRef(catalogue, first + position) for position in range(len(chunk))]
        _note(session, list(zip(refs, chunk, strict=True)))
        placed += refs
        transactions.append(receipt.transaction)
        if progress is not None:
            progress(len(chunk))
    return _registered(works, todo, placed, known, transactions, again=again)


def _registered(
    works: Sequence[NewWork],
    todo: Sequence[NewWork],
    placed: Sequence[WorkRef],
    known: Mapping[str, WorkRef],
    transactions: Sequence[str],
    *,
    again: bool,
) -> Registered:
    if again:
        return Registered(tuple(placed), (), tuple(transactions))
    found = dict(known)
    found.update({new.fingerprint: ref for new, ref in zip(todo, placed, strict=True)})
    already = dict.fromkeys(known[w.fingerprint] for w in works if w.fingerprint in known)
    return Registered(
        tuple(found[work.fingerprint] for work in works), tuple(already), tuple(transactions)
    )


def _registered_by(session: Royalty, catalogue: int, registrant: str) -> dict[str, WorkRef]:
    """Return the first work of each fingerprint that a registrant registered in a catalogue."""
    found: dict[str, WorkRef] = {}
    for one in registrations(session, catalogue=catalogue):
        if one.registrant == registrant:
            found.setdefault(one.fingerprint, one.work)
    return found


def _new(works: Sequence[NewWork], known: Mapping[str, WorkRef]) -> list[NewWork]:
    """Return the first of each fingerprint that is not known."""
    first: dict[str, NewWork] = {}
    for work in works:
        if work.fingerprint not in known:
            first.setdefault(work.fingerprint, work)
    return list(first.values())


def _metadata(
    session: Royalty, chunks: Sequence[Sequence[NewWork]], uri: str | None
) -> list[Metadata]:
    checked = check_uri(uri)
    if len(chunks) > 1 and checked not in (None, INLINE) and "{digest}" not in str(checked):
        raise InputError(
            f"{len(chunks)} transactions have a metadata document each; write {{digest}} in --uri"
        )
    local = session.node.is_local
    documents = [{"works": [work.document() for work in chunk]} for chunk in chunks]
    return [make_metadata(document, checked, is_local=local) for document in documents]


def _call(session: Royalty, catalogue: int, chunk: Sequence[NewWork], metadata: Metadata) -> Call:
    fingerprints = [bytes.fromhex(work.fingerprint) for work in chunk]
    return session.ledger.register(catalogue, fingerprints, metadata.digest, metadata.uri)


# --- notes of this folder ---


def notes(session: Royalty) -> list[tuple[str, WorkRef]]:
    """Return (platform_id, work) of the works that this folder registered with a platform's id."""
    return [
        (row["platform_id"], row.read(WorkRef.parse, row["work"]))
        for row in _notes(session)
        if row["platform_id"]
    ]


def _notes(session: Royalty) -> list[Row]:
    path = _notes_path(session)
    return read_sheet(path, NOTE_COLUMNS) if path.is_file() else []


def _notes_path(session: Royalty) -> Path:
    return session.state_dir / "works.csv"


def _note(session: Royalty, noted: Sequence[tuple[WorkRef, NewWork]]) -> None:
    """Append what is not noted yet, in one write."""
    known = {(row["work"], row["platform_id"]) for row in _notes(session)}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    path = _notes_path(session)
    if not path.is_file():
        writer.writerow(NOTE_COLUMNS)
    for work, new in noted:
        if (str(work), new.platform_id) not in known:
            known.add((str(work), new.platform_id))
            registrant = session.account.address
            cells = (work, new.fingerprint, new.platform_id, new.title, registrant)
            writer.writerow([cell(value) for value in cells])
    _append(path, text.getvalue().encode())


def _append(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    with os.fdopen(handle, "ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


class Works:
    """The works of one ledger, for a session: `royalty.works`."""

    def __init__(self, session: Royalty) -> None:
        self._session = session

    def register(
        self,
        catalogue: int,
        works: str | Path | Sequence[NewWork],
        *,
        again: bool = False,
        uri: str | None = None,
        progress: Progress | None = None,
    ) -> Registered:
        """Register works, given or in a works.csv, in a catalogue of the account; see `register`.

        >>> royalty.works.register(1, "works.csv").works  # doctest: +SKIP
        """
        given = read_works(Path(works)) if isinstance(works, str | Path) else works
        return register(self._session, catalogue, given, again=again, uri=uri, progress=progress)

    def all(self, catalogue: int | None = None) -> list[Registration]:
        """Return all registrations, or those of one catalogue, in order of time."""
        return registrations(self._session, catalogue=catalogue)

    def verify(self, fingerprint: str) -> list[Registration]:
        """Return the registrations of a fingerprint in order of time; empty where there is none."""
        return registrations(self._session, fingerprint=fingerprint)

    def show(self, work: WorkRef | str) -> dict[str, Any]:
        """Return one work as JSON: fingerprint, who, when, title, identifiers; see `describe`."""
        ref = WorkRef.parse(work) if isinstance(work, str) else work
        return describe(self._session, [registration(self._session, ref)])[0]

    def notes(self) -> list[tuple[str, WorkRef]]:
        """Return (platform_id, work) of the works that this folder registered with a platform's id."""
        return notes(self._session)

    def rivals(self, works: Iterable[WorkRef]) -> set[WorkRef]:
        """Return those works whose fingerprint another registrant registered earlier elsewhere."""
        return rivals(self._session, works)
