"""What a platform is about to report, on disk before it is sent.

One SQLite file a platform and ledger, written with `synchronous=FULL`: a batch has its number, its
groups, its manifest and, once signed, its bytes there before a node hears of it. So a report that
is killed anywhere is taken up where it stopped, with the same bytes.

TRANSITIONS is every change of state that there is; docs/reporting.md draws it. A number is given
once; only a void batch gives its number back.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from royalty.errors import ChainError, InputError, JournalStopped
from royalty.evidence import Document
from royalty.usage import Kind, Line, lines_of, units_of, unpack_usage, works_of

FILE = "journal.sqlite"
LOCK_FILE = "journal.lock"
LOCK_SECONDS = 10.0
SCHEMA = 3
CRASH_VARIABLE = "ROYALTY_CRASH_AT"


class State(StrEnum):
    """Where a batch stands."""

    PLANNED = "planned"
    SIGNED = "signed"
    SENT = "sent"
    SETTLED = "settled"
    ADOPTED = "adopted"
    VOID = "void"


class Event(StrEnum):
    """What happens to a batch."""

    PLAN = "plan"
    SIGN = "sign"
    RAISE = "raise"
    SEND = "send"
    LAND = "land"
    UNLAND = "unland"
    SETTLE = "settle"
    REOPEN = "reopen"
    UNSIGN = "unsign"
    VOID = "void"
    ADOPT = "adopt"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state: from where (None: the batch is new), to where, and why."""

    event: Event
    before: State | None
    after: State
    why: str


TRANSITIONS = (
    Transition(Event.PLAN, None, State.PLANNED, "counted, numbered and written down"),
    Transition(Event.SIGN, State.PLANNED, State.SIGNED, "its bytes are written down"),
    Transition(Event.SEND, State.SIGNED, State.SENT, "a node took its bytes"),
    Transition(Event.SEND, State.SENT, State.SENT, "a node took the same bytes again"),
    Transition(Event.RAISE, State.SIGNED, State.SIGNED, "stuck: a higher fee, the same nonce"),
    Transition(Event.RAISE, State.SENT, State.SENT, "stuck: a higher fee, the same nonce"),
    Transition(Event.LAND, State.PLANNED, State.SENT, "bytes given up had landed after all"),
    Transition(Event.LAND, State.SIGNED, State.SENT, "it is in a block"),
    Transition(Event.LAND, State.SENT, State.SENT, "it is in a block, or in another one"),
    Transition(Event.LAND, State.ADOPTED, State.ADOPTED, "it is in another block"),
    Transition(Event.UNLAND, State.SENT, State.SENT, "a reorg took its block"),
    Transition(Event.SETTLE, State.SENT, State.SETTLED, "its block is deep enough"),
    Transition(Event.REOPEN, State.SETTLED, State.SENT, "a reorg took its block all the same"),
    Transition(Event.UNSIGN, State.SIGNED, State.PLANNED, "its bytes cannot land any more"),
    Transition(
        Event.UNSIGN, State.SENT, State.PLANNED, "its bytes failed, or cannot land any more"
    ),
    Transition(Event.VOID, State.PLANNED, State.VOID, "refused for good, or a foreign one adopted"),
    Transition(Event.VOID, State.SIGNED, State.VOID, "a foreign batch was adopted"),
    Transition(Event.VOID, State.SENT, State.VOID, "a foreign batch was adopted"),
    Transition(Event.VOID, State.SETTLED, State.VOID, "a foreign batch was adopted"),
    Transition(Event.ADOPT, None, State.ADOPTED, "a foreign batch, taken from the chain"),
    Transition(Event.ADOPT, State.VOID, State.SENT, "a batch given up stands on chain after all"),
    Transition(Event.DROP, State.ADOPTED, State.VOID, "a reorg took the foreign batch"),
)
"""Every change of state; what a report does not do itself, the chain does."""
_ALLOWED = {(one.event, one.before): one.after for one in TRANSITIONS}
PENDING = (State.PLANNED, State.SIGNED, State.SENT)
FINAL = (State.SETTLED, State.ADOPTED)
IN_USE = (*PENDING, *FINAL)

STORE_POINTS = ("before-store", "in-store", "after-store")
SENDER_POINTS = ("before-send",)
TALLY_POINTS = ("after-data", "after-publish", "before-leaves", "after-leaves")
"""A tally's data written, and published; before its leaves are settled, and after."""
CRASH_POINTS = (
    *STORE_POINTS,
    *(f"{when}-{event}" for event in Event for when in ("in", "after")),
    *SENDER_POINTS,
    *TALLY_POINTS,
)
"""Where tests kill a report: `in-` with a change written and not committed, `after-` with it there."""
PLAIN_EVENTS = (Event.PLAN, Event.SIGN, Event.SEND, Event.LAND, Event.SETTLE)
PLAIN_POINTS = (
    *STORE_POINTS,
    *(f"{when}-{event}" for event in PLAIN_EVENTS for when in ("in", "after")),
    *SENDER_POINTS,
)
"""Those that a report passes where nothing goes wrong."""


class AttemptState(StrEnum):
    """What became of a signed transaction: it may still land, it failed, or it never can land."""

    LIVE = "live"
    REVERTED = "reverted"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class DayUsage:
    """One day of a tally: its units as a direct report packs them, and which row of an id counted."""

    day: int
    usage: bytes
    resend: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What a batch has that is a tally; its days are `since` to the batch's own `day`.

    `data` is the SHA-256 of its data, which lies at `uri` for others and was put there as `target`.
    `settle` says that whoever reported it pays its leaves too.
    """

    since: int
    root: bytes
    leaves: int
    data: bytes
    uri: str
    target: str
    settle: bool
    works: int
    units: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """A batch before it has a place in the journal; `total_nano` in nano-tokens.

    A tally has no `usage` of its own but that of its `days`.
    """

    number: int
    day: int
    usage: bytes
    total_nano: int
    evidence: bytes
    manifest: bytes
    policy: str
    resend: str
    tally: Tally | None = None
    days: tuple[DayUsage, ...] = ()


@dataclass(frozen=True, slots=True)
class Foreign:
    """A batch as the chain has it, which this journal did not send; a tally's `days` from its data."""

    number: int
    day: int
    usage: bytes
    total_nano: int
    evidence: bytes
    transaction: str
    block: int
    block_hash: str
    tally: Tally | None = None
    days: tuple[DayUsage, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as the journal keeps it; `block` and `block_hash` are where it landed, if it did.

    One with a `tally` has no `usage` of its own: `Journal.reported` knows its days.
    """

    id: int
    number: int
    day: int
    state: State
    usage: bytes
    total_nano: int
    evidence: bytes
    manifest: bytes
    policy: str
    resend: str
    transaction: str | None
    block: int | None
    block_hash: str | None
    note: str
    tally: Tally | None = None

    @property
    def since(self) -> int:
        """The first day that it reports."""
        return self.day if self.tally is None else self.tally.since

    @property
    def works(self) -> int:
        """How many works it reports."""
        if self.tally is not None:
            return self.tally.works
        return works_of(self.lines)

    @property
    def units(self) -> Mapping[str, int]:
        """The units that it reports by kind, always all three."""
        return self.tally.units if self.tally is not None else units_of(self.lines)

    @property
    def lines(self) -> list[Line]:
        """The units that a direct batch reports, one line a work, kind and deal."""
        return lines_of(unpack_usage(self.usage))


@dataclass(frozen=True, slots=True)
class Attempt:
    """A signed transaction of a batch: its hash, its sender's nonce, and the bytes to send."""

    hash: str
    nonce: int
    sender: str
    raw: bytes
    state: AttemptState


Reported = dict[tuple[int, int, Kind, int], int]
"""Units by (catalogue, version, kind, index)."""


_BATCHES = """
CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    number INTEGER NOT NULL CHECK (number > 0),
    day INTEGER NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('planned', 'signed', 'sent', 'settled', 'adopted', 'void')),
    usage BLOB NOT NULL,
    total_nano TEXT NOT NULL,
    evidence BLOB NOT NULL,
    manifest BLOB NOT NULL,
    policy TEXT NOT NULL,
    resend TEXT NOT NULL,
    tx_hash TEXT,
    block INTEGER,
    block_hash TEXT,
    note TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX one_batch_a_number ON batches (number) WHERE state != 'void';
CREATE INDEX batches_of_a_day ON batches (day);
CREATE INDEX batches_by_evidence ON batches (evidence);
"""
_TALLIES = """
CREATE TABLE tallies (
    batch INTEGER PRIMARY KEY REFERENCES batches (id),
    since INTEGER NOT NULL,
    root BLOB NOT NULL,
    leaves INTEGER NOT NULL,
    data BLOB NOT NULL,
    uri TEXT NOT NULL,
    target TEXT NOT NULL,
    settle INTEGER NOT NULL,
    works INTEGER NOT NULL,
    units TEXT NOT NULL
);
CREATE TABLE tally_days (
    batch INTEGER NOT NULL REFERENCES batches (id),
    day INTEGER NOT NULL,
    usage BLOB NOT NULL,
    resend TEXT NOT NULL,
    PRIMARY KEY (day, batch)
) WITHOUT ROWID;
CREATE VIEW usages AS
    SELECT id AS batch, day, usage, resend FROM batches
        WHERE id NOT IN (SELECT batch FROM tallies)
    UNION ALL SELECT batch, day, usage, resend FROM tally_days;
"""
_SCHEMA = f"""
CREATE TABLE ledger (chain_id INTEGER, genesis TEXT, contract TEXT, platform TEXT);
{_BATCHES}
CREATE TABLE attempts (
    hash TEXT PRIMARY KEY,
    batch INTEGER NOT NULL REFERENCES batches (id),
    nonce INTEGER NOT NULL,
    sender TEXT NOT NULL,
    raw BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('live', 'reverted', 'lost'))
);
CREATE TABLE documents (
    digest TEXT PRIMARY KEY, kind TEXT NOT NULL, suffix TEXT NOT NULL, content BLOB NOT NULL
);
{_TALLIES}
"""
_COLUMNS = (
    "id, number, day, state, usage, total_nano, evidence, manifest, policy, resend,"
    " tx_hash, block, block_hash, note"
)
_TALLY_COLUMNS = "since, root, leaves, data, uri, target, settle, works, units"
_UPGRADES = {
    1: "DROP INDEX one_batch_a_number; DROP INDEX batches_of_a_day;"
    f" ALTER TABLE batches RENAME TO old; {_BATCHES}"
    f" INSERT INTO batches ({_COLUMNS}) SELECT {_COLUMNS} FROM old; DROP TABLE old;",
    2: _TALLIES,
}
"""SQL that brings a journal of a version to the next one."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose journal it is: a platform at a ledger on a chain."""

    chain_id: int
    genesis: str
    contract: str
    platform: str


class Journal:
    """A platform's journal at one ledger. Open it with `opened` to write, with `read` to look."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def batches(self, *states: State) -> list[Batch]:
        """Return the batches in these states (all but void where none is named), by number."""
        wanted = states or IN_USE
        marks = ", ".join("?" * len(wanted))
        return self._select(f"state IN ({marks}) ORDER BY number, id", wanted)

    def pending(self) -> list[Batch]:
        """Return what is not settled yet, by number."""
        return self.batches(*PENDING)

    def batch(self, batch_id: int) -> Batch:
        """Return one batch as it stands now."""
        return self._select("id = ?", (batch_id,))[0]

    def tallies(self) -> list[Batch]:
        """Return the batches in use that are tallies, by number."""
        return self._select("state != 'void' AND root IS NOT NULL ORDER BY number, id", ())

    def last_number(self) -> int:
        """Return the highest number in use, 0 where there is none."""
        row = self._db.execute("SELECT max(number) FROM batches WHERE state != 'void'").fetchone()
        return int(row[0] or 0)

    def newest_final(self, below: int | None = None) -> Batch | None:
        """Return the settled or adopted batch of the highest number (under `below`), if there is one."""
        found = self._select(
            "state IN ('settled', 'adopted') AND number < ? ORDER BY number DESC LIMIT 1",
            (below or 2**62,),
        )
        return found[0] if found else None

    def given_up(self, number: int, evidence: bytes) -> Batch | None:
        """Return the void batch of a number and an evidence: its bytes may land after all."""
        found = self._select(
            "state = 'void' AND number = ? AND evidence = ? ORDER BY id DESC LIMIT 1",
            (number, evidence),
        )
        return found[0] if found else None

    def reported(self, day: int, *, without: Collection[int] = ()) -> Reported:
        """Return the units of a day that are reported or on their way, `without` some batches' own."""
        rows = self._db.execute(
            "SELECT number, usages.usage FROM usages JOIN batches ON batches.id = usages.batch"
            " WHERE state != 'void' AND usages.day = ?",
            (day,),
        )
        units: Reported = {}
        for number, usage in rows:
            for line in lines_of(unpack_usage(usage)) if number not in without else []:
                key = (line.catalogue, line.version, line.kind, line.index)
                units[key] = units.get(key, 0) + line.units
        return units

    def days(self, batch: Batch) -> list[int]:
        """Return the days that a batch reports, in order."""
        rows = self._db.execute("SELECT day FROM usages WHERE batch = ? ORDER BY day", (batch.id,))
        return [int(row[0]) for row in rows]

    def rules(self, day: int) -> tuple[str, str] | None:
        """Return (policy digest, resend) that a day was first reported with, None if it was not.

        Of an adopted batch only its units are known.
        """
        row = self._db.execute(
            "SELECT policy, usages.resend FROM usages JOIN batches ON batches.id = usages.batch"
            " WHERE state != 'void' AND policy != '' AND usages.day = ? ORDER BY id LIMIT 1",
            (day,),
        ).fetchone()
        return (str(row[0]), str(row[1])) if row else None

    def manifests(self, day: int) -> list[bytes]:
        """Return the manifests of a day's batches that are reported or on their way, in order."""
        rows = self._db.execute(
            "SELECT manifest FROM usages JOIN batches ON batches.id = usages.batch"
            " WHERE state NOT IN ('void', 'adopted') AND usages.day = ? ORDER BY id",
            (day,),
        )
        return [bytes(row[0]) for row in rows]

    def attempts(self, batch: Batch, *states: AttemptState) -> list[Attempt]:
        """Return a batch's transactions in these states (all if none is named), newest first."""
        wanted = states or tuple(AttemptState)
        marks = ", ".join("?" * len(wanted))
        rows = self._db.execute(
            "SELECT hash, nonce, sender, raw, state FROM attempts"
            f" WHERE batch = ? AND state IN ({marks}) ORDER BY rowid DESC",
            (batch.id, *wanted),
        )
        return [Attempt(row[0], row[1], row[2], row[3], AttemptState(row[4])) for row in rows]

    def highest_nonce(self, sender: str) -> int:
        """Return the highest nonce of a sender's that a pending batch may still land with, or -1."""
        row = self._db.execute(
            "SELECT max(nonce) FROM attempts JOIN batches ON batches.id = attempts.batch"
            " WHERE attempts.state = 'live' AND sender = ?"
            " AND batches.state IN ('planned', 'signed', 'sent')",
            (sender,),
        ).fetchone()
        return -1 if row[0] is None else int(row[0])

    def documents(self, digests: Iterable[str]) -> list[Document]:
        """Return the documents of these digests, those that the journal has."""
        found = []
        for digest in sorted(set(digests)):
            row = self._db.execute(
                "SELECT kind, suffix, content FROM documents WHERE digest = ?", (digest,)
            ).fetchone()
            if row:
                found.append(Document(row[0], row[1], row[2]))
        return found

    def plan(self, plans: Sequence[Plan], documents: Iterable[Document]) -> list[Batch]:
        """Write batches and the documents that their manifests name, all or none; return them.

        Raises JournalStopped where a number is taken.
        """
        with self._change(Event.PLAN):
            self._db.executemany(
                "INSERT OR IGNORE INTO documents (digest, kind, suffix, content)"
                " VALUES (?, ?, ?, ?)",
                [(each.digest, each.kind, each.suffix, each.content) for each in documents],
            )
            ids = [self._insert(plan) for plan in plans]
        return [self.batch(batch_id) for batch_id in ids]

    def sign(self, batch: Batch, attempt: Attempt) -> Batch:
        """Write a batch's signed bytes; from now on these bytes are what is sent. Returns it."""
        with self._change(Event.SIGN):
            self._add(batch, attempt)
            self._move(Event.SIGN, batch, tx_hash=attempt.hash)
        return self.batch(batch.id)

    def raise_fee(self, batch: Batch, attempt: Attempt) -> Batch:
        """Write other bytes of the same nonce at a higher fee; the earlier ones may land too."""
        with self._change(Event.RAISE):
            self._add(batch, attempt)
            self._move(Event.RAISE, batch, tx_hash=attempt.hash)
        return self.batch(batch.id)

    def sent(self, batch: Batch) -> Batch:
        """Write that a node has taken a batch's bytes. Returns it."""
        with self._change(Event.SEND):
            self._move(Event.SEND, batch)
        return self.batch(batch.id)

    def mined(self, batch: Batch, transaction: str, block: int, block_hash: str) -> Batch:
        """Write where a batch landed, not deep enough yet to be settled. Returns it."""
        with self._change(Event.LAND):
            self._move(Event.LAND, batch, tx_hash=transaction, block=block, block_hash=block_hash)
        return self.batch(batch.id)

    def settle(self, batch: Batch, transaction: str, block: int, block_hash: str) -> Batch:
        """Write that a batch landed at the confirmation depth. Returns it."""
        with self._change(Event.SETTLE):
            self._move(
                Event.SETTLE,
                batch,
                tx_hash=transaction,
                block=block,
                block_hash=block_hash,
                note="",
            )
        return self.batch(batch.id)

    def reopen(self, batch: Batch, note: str) -> Batch:
        """Write that a reorg took a settled batch back; its bytes are sent again. Returns it."""
        with self._change(Event.REOPEN):
            self._move(Event.REOPEN, batch, block=None, block_hash=None, note=note)
        return self.batch(batch.id)

    def unmined(self, batch: Batch, note: str) -> Batch:
        """Write that a sent batch is in no block any more. Returns it."""
        with self._change(Event.UNLAND):
            self._move(Event.UNLAND, batch, block=None, block_hash=None, note=note)
        return self.batch(batch.id)

    def unsign(self, batch: Batch, fate: AttemptState, note: str) -> Batch:
        """Write that no transaction of a batch can land any more: it is signed anew. Returns it."""
        with self._change(Event.UNSIGN):
            self._end_attempts(batch, fate)
            self._move(Event.UNSIGN, batch, tx_hash=None, block=None, block_hash=None, note=note)
        return self.batch(batch.id)

    def void(self, batches: Iterable[Batch], note: str) -> None:
        """Give up planned batches that can never land; their units are counted again."""
        with self._change(Event.VOID):
            for batch in batches:
                self._void(batch, note)

    def adopt(self, foreign: Foreign, instead_of: Iterable[Batch], note: str) -> Batch:
        """Take a batch of the chain into the account `instead_of` journalled ones, which are void.

        Returns it: adopted, or sent where it is one that this journal itself had given up.
        """
        own = self.given_up(foreign.number, foreign.evidence)
        with self._change(Event.ADOPT):
            for batch in instead_of:
                self._void(batch, note)
            batch_id = own.id if own else self._insert_foreign(foreign, note)
            if own:
                self._move(
                    Event.ADOPT,
                    own,
                    tx_hash=foreign.transaction,
                    block=foreign.block,
                    block_hash=foreign.block_hash,
                    note="it was given up and landed after all",
                )
        return self.batch(batch_id)

    def drop(self, batch: Batch, after: Iterable[Batch], note: str) -> None:
        """Give up an adopted batch that a reorg took, with what the journal has `after` it."""
        with self._change(Event.DROP):
            self._move(Event.DROP, batch, note=note)
            for later in after:
                if later.state is State.ADOPTED:
                    self._move(Event.DROP, later, note=note)
                else:
                    self._void(later, note)

    def _void(self, batch: Batch, note: str) -> None:
        self._end_attempts(batch, AttemptState.LOST)
        self._move(Event.VOID, batch, block=None, block_hash=None, note=note)

    def _add(self, batch: Batch, attempt: Attempt) -> None:
        self._db.execute(
            # After a reorg the very bytes that were given up may be signed once more.
            "INSERT OR REPLACE INTO attempts (hash, batch, nonce, sender, raw, state)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                attempt.hash,
                batch.id,
                attempt.nonce,
                attempt.sender,
                attempt.raw,
                attempt.state.value,
            ),
        )

    def _end_attempts(self, batch: Batch, fate: AttemptState) -> None:
        self._db.execute(
            "UPDATE attempts SET state = ? WHERE batch = ? AND state = 'live'",
            (fate.value, batch.id),
        )

    def _insert_foreign(self, foreign: Foreign, note: str) -> int:
        cursor = self._db.execute(
            "INSERT INTO batches (number, day, state, usage, total_nano, evidence, manifest,"
            " policy, resend, tx_hash, block, block_hash, note)"
            " VALUES (?, ?, 'adopted', ?, ?, ?, x'', '', '', ?, ?, ?, ?)",
            (
                foreign.number,
                foreign.day,
                foreign.usage,
                str(foreign.total_nano),
                foreign.evidence,
                foreign.transaction,
                foreign.block,
                foreign.block_hash,
                note,
            ),
        )
        return self._insert_tally(int(cursor.lastrowid or 0), foreign.tally, foreign.days)

    def _select(self, where: str, values: Sequence[object]) -> list[Batch]:
        rows = self._db.execute(
            f"SELECT {_COLUMNS}, {_TALLY_COLUMNS} FROM batches"
            f" LEFT JOIN tallies ON tallies.batch = batches.id WHERE {where}",
            tuple(values),
        )
        return [_batch_of(row) for row in rows]

    def _insert(self, plan: Plan) -> int:
        try:
            cursor = self._db.execute(
                "INSERT INTO batches"
                " (number, day, state, usage, total_nano, evidence, manifest, policy, resend)"
                " VALUES (?, ?, 'planned', ?, ?, ?, ?, ?, ?)",
                (
                    plan.number,
                    plan.day,
                    plan.usage,
                    str(plan.total_nano),
                    plan.evidence,
                    plan.manifest,
                    plan.policy,
                    plan.resend,
                ),
            )
        except sqlite3.IntegrityError:
            raise JournalStopped(
                f"batch {plan.number} stands in the journal already; nothing was sent"
            ) from None
        return self._insert_tally(int(cursor.lastrowid or 0), plan.tally, plan.days)

    def _insert_tally(self, batch: int, tally: Tally | None, days: Iterable[DayUsage]) -> int:
        """Write what a batch has that is a tally; return the batch's id."""
        if tally is not None:
            self._db.execute(
                f"INSERT INTO tallies (batch, {_TALLY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    batch,
                    tally.since,
                    tally.root,
                    tally.leaves,
                    tally.data,
                    tally.uri,
                    tally.target,
                    int(tally.settle),
                    tally.works,
                    json.dumps(dict(tally.units)),
                ),
            )
            self._db.executemany(
                "INSERT INTO tally_days (batch, day, usage, resend) VALUES (?, ?, ?, ?)",
                [(batch, day.day, day.usage, day.resend) for day in days],
            )
        return batch

    def _move(self, event: Event, batch: Batch, **values: object) -> None:
        """Change a batch's state where the table allows it and it stands as it was read."""
        if (event, batch.state) not in _ALLOWED:
            raise ValueError(f"batch {batch.number} is {batch.state}: it cannot {event}")
        sets = "".join(f", {column} = ?" for column in values)
        changed = self._db.execute(
            f"UPDATE batches SET state = ?{sets} WHERE id = ? AND state = ?",
            (
                _ALLOWED[event, batch.state].value,
                *values.values(),
                batch.id,
                batch.state.value,
            ),
        )
        if changed.rowcount != 1:
            raise ValueError(f"batch {batch.number} is not {batch.state} any more")

    @contextmanager
    def _change(self, event: Event) -> Iterator[None]:
        """One change of state: whole or not at all, with a crash point on both sides of its commit."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        crash_at(f"in-{event}")
        self._db.execute("COMMIT")
        crash_at(f"after-{event}")


def _batch_of(row: Sequence[Any]) -> Batch:
    """Return the batch of a row of _COLUMNS and _TALLY_COLUMNS."""
    since, root, leaves, data, uri, target, settle, works, units = row[14:]
    tally = None
    if root is not None:
        counted = json.loads(units)
        tally = Tally(since, root, leaves, data, uri, target, bool(settle), works, counted)
    batch = Batch(row[0], row[1], row[2], State(row[3]), row[4], int(row[5]), *row[6:14])
    return replace(batch, tally=tally)


@contextmanager
def opened(folder: Path, owner: Owner, *, wait_seconds: float = LOCK_SECONDS) -> Iterator[Journal]:
    """Open a platform's journal to write, one process at a time; a missing folder is made.

    Raises ChainError where another process holds it longer than `wait_seconds`, InputError where
    the file is another platform's or of a newer program.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK_FILE, wait_seconds), _translated(folder / FILE):
        connection = sqlite3.connect(folder / FILE, isolation_level=None, timeout=wait_seconds)
        with closing(connection):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            _prepare(connection, owner, folder / FILE)
            connection.execute("PRAGMA foreign_keys = ON")
            yield Journal(connection)


@contextmanager
def read(folder: Path) -> Iterator[Journal | None]:
    """Open a platform's journal to read, not waiting for who writes; None where there is none."""
    path = folder / FILE
    if not path.exists():
        yield None
        return
    with _translated(path):
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            connection.execute("BEGIN")  # one moment's view of it
            has_tables = connection.execute("PRAGMA user_version").fetchone()[0]
            yield Journal(connection) if has_tables else None


def empty() -> Journal:
    """Return a journal of nothing, kept nowhere."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(_SCHEMA)
    return Journal(connection)


@contextmanager
def locked(path: Path, wait_seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold a lock file; the system lets it go when the process ends, however it ends.

    Raises ChainError where another process holds it longer than `wait_seconds`.
    """
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        until = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= until:
                    raise ChainError(
                        f"another usage report of this platform is running ({path}); run it"
                        " again when that has ended"
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


_passed: dict[str, int] = {}


def crash_at(point: str) -> None:
    """Kill this process where ROYALTY_CRASH_AT names the point: for tests of what a kill leaves.

    `after-send:2` is the second time that the point is passed.
    """
    wanted, _, times = os.environ.get(CRASH_VARIABLE, "").partition(":")
    if wanted == point:
        _passed[point] = _passed.get(point, 0) + 1
        if _passed[point] >= int(times or 1):
            os.kill(os.getpid(), signal.SIGKILL)


def _prepare(connection: sqlite3.Connection, owner: Owner, path: Path) -> None:
    """Make the tables of a new journal, or check that an old one is this platform's."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    mine = (owner.chain_id, owner.genesis, owner.contract.lower(), owner.platform.lower())
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA};")
        connection.execute("INSERT INTO ledger VALUES (?, ?, ?, ?)", mine)
        connection.execute("COMMIT")
        return
    if not 0 < version <= SCHEMA:
        raise InputError(f"the journal {path} is of another version of this program ({version})")
    if connection.execute("SELECT * FROM ledger").fetchone() != mine:
        raise InputError(f"the journal {path} belongs to another platform, ledger or chain")
    for step in range(version, SCHEMA):
        connection.execute("PRAGMA legacy_alter_table = ON")  # other tables keep naming `batches`
        connection.executescript(
            f"BEGIN IMMEDIATE; {_UPGRADES[step]} PRAGMA user_version = {step + 1}; COMMIT;"
        )


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors (a damaged file, a full disk) into one line."""
    try:
        yield
    except sqlite3.Error as error:
        raise JournalStopped(f"the journal {path} cannot be used: {error}") from None
