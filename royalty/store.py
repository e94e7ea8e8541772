"""A platform's own usage rows, by day, so that a report of a day can count the whole day again.

    store/rows/<day>/<n>-<sum>.parquet   the rows of days that were reported, each distinct row once
    store/ids/<day>/<n>-<sum>.parquet    ids alone, of the day before a reported one (for rule 2)
    store/secrets/<YYYY-MM>.key          32 bytes that key the hashes of that month's viewers, mode 0600
    store/released.json                  spikes that a person let go: day and work
    store/works.csv                      the platform's map, as far as reports have used it
    store/ingest/                        what recorders wrote that is not in the files yet (segments)
    store/closed/<day>.parquet           a day that retention closed: its rows, 8 bytes each for the ids
    store/late/<day>/<n>-<sum>.parquet   rows that came for a closed day: kept and held, never reported

`<day>` counts from 1970-01-01 UTC, `<sum>` is the start of the file's SHA-256. All readable rows are
kept, duplicates too, since a duplicate makes the next day's row one; of rows that are equal in every
field one is. So the order, the files and the number of times in which rows came do not matter: a day's
rows are a set. Viewers are kept as the start of HMAC-SHA-256 of their identity; the rules that look at
viewers look at one day only, so a secret a month is enough, and destroying it makes the rows of that
month anonymous. Parts that changed, and days with fewer rows than they were reported with, are refused:
the same rows would count again, or late ones be lost.

Rows of a report are staged first and counted together with what is there; they are committed before
anything is journalled, and left out where the report is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from royalty.days import Period, format_day
from royalty.errors import InputError, StoreFailed
from royalty.files import make_folder, sync, write_new
from royalty.journal import crash_at
from royalty.logs.steps import STEP_COLUMNS
from royalty.usage import WorkRef
from royalty.worksmap import WorksMap, map_csv, read_map

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

STORE = "store"
"""The store's folder, within that of its platform."""
SECRET_BYTES = 32
IDENTITY_BYTES = 8
LOCK_SECONDS = 30.0
MAP_FILE = "works.csv"
RELEASED_FILE = "released.json"
STAGING = ".staging"
LAST_MARK = "last"
MAX_PARTS = 8
COUNTED_MARK = "counted"
CRASH_POINTS = (
    "before-part",
    "after-part",
    "after-merge",
    "after-commit",
    "before-close",
    "after-close",
    "after-gone",
)
SUM_DIGITS = 32
HMAC_BLOCK = 64
STEP_FIELDS = tuple((name, "UBIGINT" if name == "session" else kind) for name, kind in STEP_COLUMNS)
ROW_FIELDS = (
    ("usage_id", "VARCHAR"),
    ("work", "VARCHAR"),
    ("kind", "UTINYINT"),
    ("started_us", "BIGINT"),
    ("watched_us", "BIGINT"),
    ("duration_us", "BIGINT"),
    ("identity", "UBIGINT"),
    *STEP_FIELDS,
)
"""What is kept of a row; the columns of steps (royalty/logs/steps.py) are NULL where no policy asked for them."""
_HASHED = ("identity", "session")
_STEPS = [name for name, _ in STEP_FIELDS]
_NAMES = ", ".join(name for name, _ in ROW_FIELDS)
_EMPTY_ROWS = "SELECT " + ", ".join(f"NULL::{kind} AS {name}" for name, kind in ROW_FIELDS)
# A row of a closed day as 8 bytes, its viewer left out: to know it when it comes again.
_ROW = (
    "CAST('0x' || left(sha256(concat_ws('|', length(coalesce(usage_id, '')),"
    " coalesce(usage_id, '#' || coalesce(identity, 0)), length(work), work, kind, started_us,"
    " coalesce(watched_us, -1), coalesce(duration_us, -1))), 16) AS UBIGINT)"
)
PARQUET = "FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION V2, ROW_GROUP_SIZE 400000"
_EMPTY_IDS = "SELECT NULL::VARCHAR AS usage_id"


class UsageStore:
    """The rows of one platform in a folder, which is made when rows are first committed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def staged(
        self,
        connection: DuckDBPyConnection,
        relation: str,
        period: Period,
        *,
        area: Path | None = None,
        recorded: str | None = None,
    ) -> Iterator[Staged]:
        """Yield the store together with the rows of a relation whose days are asked for.

        `relation` is a table or view of `connection` with the columns of ROW_FIELDS (identities in
        clear text), the UTC `day`, and `malformed`, NULL where the row is readable. Rows of other
        days are left out, but for the ids of the day before. What is not committed is removed at
        the end. `area` is a new folder to stage in, where nothing must be written into the store;
        `recorded` then is a relation as `gathered` takes it, whose rows are not in the store yet.
        Raises InputError where the month's secret is gone, StoreFailed where the store is busy.
        """
        lock = self.locked() if area is None else self._read_locked()
        with lock, self._staging(area) as place:
            fresh = self._secrets(_months(connection, relation, period))
            keys = {month: key for month, (key, _) in fresh.items()}
            _stage_rows(connection, relation, period, keys, place / "rows")
            _stage_ids(connection, relation, period, place / "ids")
            if recorded is not None:
                _stage_recorded(connection, recorded, place / "recorded")
            yield Staged(self, connection, place, fresh)

    @contextmanager
    def gathered(self, connection: DuckDBPyConnection, relation: str) -> Iterator[Staged]:
        """Yield the store together with all rows of a relation, whatever their day.

        `relation` has the columns of ROW_FIELDS (identities hashed), `day`, and `resend`: whether the
        last of an id counts. The caller holds the lock.
        """
        with self._staging(None) as place:
            _stage_recorded(connection, relation, place / "recorded")
            yield Staged(self, connection, place, {})

    @contextmanager
    def _staging(self, area: Path | None) -> Iterator[Path]:
        place = area or self.folder / STAGING
        shutil.rmtree(place, ignore_errors=True)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)
            with suppress(OSError):
                self.folder.rmdir()  # where nothing has ever been committed

    def locked(self) -> AbstractContextManager[None]:
        """Hold the store's lock, to change its files; StoreFailed where another process holds it."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        return _lock(self._lock_file, LOCK_SECONDS, exclusive=True)

    def _read_locked(self) -> AbstractContextManager[None]:
        """Keep others from changing the files while they are read; makes no file."""
        if not self._lock_file.exists():
            return nullcontext()
        return _lock(self._lock_file, LOCK_SECONDS, exclusive=False)

    @property
    def _lock_file(self) -> Path:
        return self.folder.with_name(self.folder.name + ".lock")

    def days(self) -> list[int]:
        """Return the days that have rows, in order."""
        return sorted(_day_folders(self.folder / "rows"))

    def is_closed(self, day: int) -> bool:
        """Return whether a day takes no more rows: retention closed it, or its month was forgotten."""
        return self._closed(day).exists() or self._gone(month_of(day)).exists()

    def close(self, connection: DuckDBPyConnection, days: Mapping[int, str]) -> list[int]:
        """Close days whose rows were all counted by a report, and return them.

        With each day stands what is reported of it now. A day where that is not what it was when the day
        was counted stays open, since a batch became void: its units are to be counted again. So does one
        with a part that changed.
        A day's ids stay as long as the next day is open, which needs them; its rows stay without ids.
        Raises StoreFailed where another process is at the store.
        """
        closed = []
        with self.locked():
            for day in sorted(days):
                folder = self.folder / "rows" / str(day)
                if not self._closed(day).exists():
                    if not self._is_counted(day, days[day]):
                        continue
                    self._close(connection, day)
                    crash_at("after-close")
                    closed.append(day)
                shutil.rmtree(folder, ignore_errors=True)
                for other in (day - 1, day):
                    if self.is_closed(other + 1):
                        shutil.rmtree(self.folder / "ids" / str(other), ignore_errors=True)
        return closed

    def _is_counted(self, day: int, reported: str) -> bool:
        mark = self.folder / "rows" / str(day) / COUNTED_MARK
        parts = (*self.parts("rows", day), *self.parts("ids", day))
        return (
            mark.exists() and mark.read_bytes() == reported.encode() and all(map(_is_whole, parts))
        )

    def _close(self, connection: DuckDBPyConnection, day: int) -> None:
        """Write a day's ids for the next one, then its rows without them: the day is closed then."""
        with self._staging(None) as area:
            area.mkdir()
            staged = Staged(self, connection, area, {})
            staged.keep_ids(day)
            make_folder(self.folder / "closed")
            part = area / "closed.parquet"
            kept = [name for name, _ in ROW_FIELDS if name not in ("usage_id", *_STEPS)]
            columns = f"{_ROW} AS row, {', '.join(kept)}"
            connection.execute(
                f"COPY (SELECT {columns} FROM ({staged.rows_query(day)}) ORDER BY work, started_us)"
                f" TO {quoted(part)} ({PARQUET})"
            )
            sync(part)
            crash_at("before-close")
            part.replace(self._closed(day))
            sync(self.folder / "closed")

    def forget(self, month: str) -> None:
        """Destroy the secret of a month: its viewers can no longer be told, not even by who has their names.

        Raises InputError where a day of the month is open, since it could not be reported any more.
        """
        with self.locked():
            days = [day for day in self.days() if month_of(day) == month]
            if days or any((self.folder / "ingest").glob("*.seg")):
                raise InputError(
                    f"{month} has days that are open, or rows that are not in the store's files yet;"
                    " report them first, with retain_days in [store] of royalty.toml"
                )
            path, gone = self.folder / "secrets" / f"{month}.key", self._gone(month)
            if not path.exists():
                raise InputError(
                    f"there is no secret of {month}: it has no usage, or was forgotten"
                )
            write_new(gone, b"")
            sync(gone.parent)
            crash_at("after-gone")
            path.write_bytes(bytes(SECRET_BYTES))
            sync(path)
            path.unlink()
            sync(gone.parent)

    def _closed(self, day: int) -> Path:
        return self.folder / "closed" / f"{day}.parquet"

    def _gone(self, month: str) -> Path:
        return self.folder / "secrets" / f"{month}.gone"

    def last_counts(self, day: int) -> bool:
        """Return whether rows of a day were recorded with `resend = "last"`."""
        return (self.folder / "rows" / str(day) / LAST_MARK).exists()

    def works_map(self) -> WorksMap:
        """Return the map that reports have used so far: works by the platform's ids."""
        path = self.folder / MAP_FILE
        return read_map(path) if path.exists() else {}

    def keep_map(self, works: Mapping[str, WorkRef]) -> None:
        """Keep a map for later reports of the same days, instead of the one kept before."""
        from royalty.files import write_whole

        write_whole(self.folder / MAP_FILE, map_csv(works))

    def released(self) -> frozenset[tuple[int, WorkRef]]:
        """Return the spikes that a person let go, by day and work; InputError where the file is damaged."""
        path = self.folder / RELEASED_FILE
        try:
            listed = json.loads(path.read_text()) if path.exists() else []
            return frozenset((int(day), WorkRef.parse(work)) for day, work in listed)
        except (ValueError, TypeError, InputError):
            raise InputError(f"{path} is damaged; bring it back from a copy") from None

    def release(self, spikes: Iterable[tuple[int, WorkRef]]) -> None:
        """Write down that spikes are let go, for every count to come; durable when this returns."""
        from royalty.files import write_whole

        known = self.released()
        every = known | set(spikes)
        if every != known:
            make_folder(self.folder)
            listed = sorted((day, str(work)) for day, work in every)
            write_whole(self.folder / RELEASED_FILE, json.dumps(listed) + "\n")
            sync(self.folder)

    def parts(self, what: str, day: int) -> list[Path]:
        """Return the Parquet files of a day's `rows` or `ids`, in the order of their making."""
        return sorted((self.folder / what / str(day)).glob("[0-9]*.parquet"))

    def need_whole(self, period: Period, reported: Callable[[int], int]) -> None:
        """Raise InputError where stored rows of a period or of the day before it are lost or changed.

        `reported` tells how many rows a day had when it was last reported. Counted without them late
        rows would be lost, and ids that had been reported would count again.
        """
        with self._read_locked():
            for day in range(period.since - 1, period.until + 1):
                kept = self._whole_rows(day)
                if kept < reported(day):
                    raise InputError(
                        f"{self.folder} has {kept:,} of the {reported(day):,} rows that"
                        f" {format_day(day)} was reported with; bring it back from a copy"
                    )

    def _whole_rows(self, day: int) -> int:
        """Return how many rows a day has; InputError where a file of it is not what it was."""
        for path in (*self.parts("ids", day), *self.parts("late", day)):
            _whole_rows(path)
        if self._closed(day).exists():
            return _rows_in(self._closed(day))
        return sum(_whole_rows(path) for path in self.parts("rows", day))

    def secret(self, month: str) -> bytes | None:
        """Return the secret of a month (`YYYY-MM`), made where there is none yet; None: forgotten.

        Raises InputError where it is gone: the month has rows and takes no more.
        """
        key, is_new = self._secrets([month])[month]
        return self._keep_secret(month, key) if is_new else key

    def _keep_secret(self, month: str, key: bytes | None) -> bytes | None:
        """Write a new secret and return it, or the one that another process wrote in between."""
        if key is None:
            return None
        folder = self.folder / "secrets"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path, hidden = folder / f"{month}.key", folder / f".{month}.{secrets.token_hex(4)}"
        try:
            write_new(hidden, key, mode=0o600)
            with suppress(FileExistsError):
                path.hardlink_to(hidden)
        finally:
            hidden.unlink(missing_ok=True)
        for changed in (folder, self.folder, self.folder.parent):
            sync(changed)
        return path.read_bytes()

    def _secrets(self, months: Iterable[str]) -> dict[str, tuple[bytes | None, bool]]:
        """Return the secret of each month (None: forgotten), and whether it is new (not written yet)."""
        closed = (int(path.stem) for path in (self.folder / "closed").glob("*.parquet"))
        kept = {month_of(day) for day in (*self.days(), *closed)}
        return {month: self._secret(month, has_rows=month in kept) for month in months}

    def _secret(self, month: str, *, has_rows: bool) -> tuple[bytes | None, bool]:
        if self._gone(month).exists():
            return None, False
        path = self.folder / "secrets" / f"{month}.key"
        if path.exists():
            key = path.read_bytes()
            if len(key) != SECRET_BYTES:
                raise InputError(f"{path} is damaged; bring it back from a copy")
            return key, False
        if has_rows:
            raise InputError(
                f"{path} is gone, without it the viewers of {month} cannot be told apart from"
                " those reported before; bring it back from a copy"
            )
        return secrets.token_bytes(SECRET_BYTES), True


class Staged:
    """A store with new rows beside it: counted together, committed or dropped."""

    def __init__(
        self,
        store: UsageStore,
        connection: DuckDBPyConnection,
        area: Path,
        keys: Mapping[str, tuple[bytes | None, bool]],
    ) -> None:
        self._store = store
        self._connection = connection
        self._area = area
        self._keys = keys

    def has_rows(self, day: int) -> bool:
        """Return whether a day has rows, stored or staged."""
        return bool(self._stored(day) or self._new("rows", day))

    def is_closed(self, day: int) -> bool:
        """Return whether a day is closed: its rows here are then those that came late."""
        return self._store.is_closed(day)

    def rows_query(self, day: int) -> str:
        """Return the SQL of a day's rows, stored and staged, each distinct row once.

        Of a closed day they are those that came after it was closed.
        """
        return (
            f"SELECT {_NAMES} FROM ({_rows_of(self._stored(day))})"
            f" UNION SELECT {_NAMES} FROM ({self._fresh(day)})"
        )

    def _stored(self, day: int) -> list[Path]:
        return self._store.parts("late" if self.is_closed(day) else "rows", day)

    def _fresh(self, day: int) -> str:
        """Return the SQL of a day's staged rows; of a closed day without those that it had."""
        rows, closed = _rows_of(self._new("rows", day)), self._store._closed(day)
        if not closed.exists():
            return rows
        return (
            f"SELECT {_NAMES} FROM ({rows}) WHERE {_ROW} NOT IN (SELECT row FROM {quoted(closed)})"
        )

    def ids_query(self, day: int) -> str:
        """Return the SQL of all ids that are known of a day (as `usage_id`, not NULL, each once)."""
        new = [] if self.is_closed(day) else self._new("rows", day)
        rows = [*self._store.parts("rows", day), *new]
        ids = [*self._store.parts("ids", day), *self._new("ids", day)]
        return (
            f"SELECT usage_id FROM ({_rows_of(rows)}) WHERE usage_id IS NOT NULL"
            f" UNION SELECT usage_id FROM ({_ids_of(ids)}) WHERE usage_id IS NOT NULL"
        )

    def recount_query(self, day: int, *, resend: bool) -> str:
        """Return the SQL of a day's rows as `logs.apply_rules` takes them.

        Beside them stand the ids of the day before; `resend` says that the last row of an id counts.
        """
        columns = ", ".join(name for name, _ in ROW_FIELDS if name != "usage_id")
        blank = ", ".join(
            f"NULL::{kind} AS {name}" for name, kind in ROW_FIELDS if name != "usage_id"
        )
        return (
            f"SELECT 0 AS file, 0::BIGINT AS line, {day}::INTEGER AS day, {resend} AS resend,"
            f" usage_id, {columns} FROM ({self.rows_query(day)})"
            f" UNION ALL SELECT 0, 0, {day - 1}, FALSE,"
            f" usage_id, {blank} FROM ({self.ids_query(day - 1)})"
        )

    def commit(self) -> None:
        """Keep the staged rows and ids that the store has not yet, durable when this returns.

        Each file is written whole; a kill in between leaves some days kept and others not, which the
        next report of those days makes good.
        """
        self._write_secrets()
        self._mark_last()
        for day in self._days("rows"):
            self._write("late" if self.is_closed(day) else "rows", day, self._added(day))
        crash_at("in-store")
        for day in self._days("ids"):
            self._write(
                "ids",
                day,
                f"SELECT DISTINCT usage_id FROM ({_ids_of(self._new('ids', day))})"
                f" EXCEPT SELECT usage_id FROM ({_ids_of(self._store.parts('ids', day))})"
                f" EXCEPT SELECT usage_id FROM ({_rows_of(self._store.parts('rows', day))})",
            )

    def new_rows(self) -> int:
        """Return how many of the staged rows the store has not; for the lock's holder, before `commit`."""
        return sum(self._count(self._added(day)) for day in self._days("rows"))

    def late_rows(self) -> int:
        """Return how many of these are of closed days."""
        closed = [day for day in self._days("rows") if self.is_closed(day)]
        return sum(self._count(self._added(day)) for day in closed)

    def keep_ids(self, day: int) -> None:
        """Write the ids of a day's rows, for the next day's rule 2 when the rows go."""
        self._write(
            "ids",
            day,
            f"SELECT DISTINCT usage_id FROM ({_rows_of(self._store.parts('rows', day))})"
            " WHERE usage_id IS NOT NULL"
            f" EXCEPT SELECT usage_id FROM ({_ids_of(self._store.parts('ids', day))})",
        )

    def mark_counted(self, days: Mapping[int, str]) -> None:
        """Note that a report counted everything that days have: such a day may be closed.

        With each day stands what was reported of it then, in any words that `close` gets too.
        """
        for day, reported in days.items():
            folder = self._store.folder / "rows" / str(day)
            if folder.exists():
                write_new(folder / COUNTED_MARK, reported.encode())

    def _added(self, day: int) -> str:
        """Return the SQL of the staged rows of a day that the store has not."""
        return (
            f"SELECT DISTINCT {_NAMES} FROM ({self._fresh(day)})"
            f" EXCEPT SELECT {_NAMES} FROM ({_rows_of(self._stored(day))})"
        )

    def last_counts(self, day: int) -> bool:
        """Return whether rows of a day, stored or staged, were recorded with `resend = "last"`."""
        return self._store.last_counts(day) or day in self._last_days()

    def _days(self, what: str) -> list[int]:
        names = {name for folder in self._areas(what) for name in _names(folder)}
        return sorted(int(name.removeprefix("day=")) for name in names)

    def _new(self, what: str, day: int) -> list[Path]:
        return sorted(
            path
            for folder in self._areas(what)
            for path in (folder / f"day={day}").glob("*.parquet")
        )

    def _areas(self, what: str) -> list[Path]:
        """Return the folders of what is staged: of a log, and of what was recorded."""
        areas = [self._area / what]
        return [*areas, self._area / "recorded"] if what == "rows" else areas

    def _last_days(self) -> list[int]:
        path = self._area / "recorded" / LAST_MARK
        return json.loads(path.read_text()) if path.exists() else []

    def _mark_last(self) -> None:
        """Note the days whose last row of an id counts, before their rows come."""
        for day in self._last_days():
            if self.is_closed(day):
                continue
            folder = self._store.folder / "rows" / str(day)
            if not (folder / LAST_MARK).exists():
                make_folder(folder)
                write_new(folder / LAST_MARK, b"")
                sync(folder)

    def _count(self, query: str) -> int:
        found = self._connection.execute(f"SELECT count(*) FROM ({query})").fetchone()
        return int(found[0]) if found else 0

    def _write(self, what: str, day: int, query: str) -> None:
        """Write the rows of a query as one more part of a day; many parts become one."""
        folder = self._store.folder / what / str(day)
        if not self._part(what, folder, query, self._store.parts(what, day)):
            return
        old = self._store.parts(what, day)
        # A part that changed is left for the report to refuse; merged, it would get a good sum.
        if len(old) > MAX_PARTS and all(map(_is_whole, old)):
            names = "usage_id" if what == "ids" else _NAMES
            empty = _EMPTY_IDS if what == "ids" else _EMPTY_ROWS
            query = f"SELECT DISTINCT {names} FROM ({_read(old, names, empty)})"
            self._part(what, folder, query, old)
            crash_at("after-merge")
            for path in old:  # rows are a set: where a kill leaves both, nothing counts twice
                path.unlink()

    def _part(self, what: str, folder: Path, query: str, old: Sequence[Path]) -> int:
        """Write a query's rows into a day's folder, sorted, and return how many there were."""
        part = self._area / "part.parquet"
        order = "usage_id" if what == "ids" else "work, started_us"
        self._connection.execute(f"COPY ({query} ORDER BY {order}) TO {quoted(part)} ({PARQUET})")
        made = self._count(f"FROM {quoted(part)}")
        if made:
            make_folder(folder)
            number = max((_number(path) for path in old), default=0) + 1
            sync(part)
            (folder / COUNTED_MARK).unlink(missing_ok=True)
            crash_at("before-part")
            part.replace(folder / f"{number:06d}-{_sum(part)}.parquet")
            sync(folder)
            crash_at("after-part")
        return made

    def _write_secrets(self) -> None:
        for month, (key, is_new) in self._keys.items():
            if is_new and self._store._keep_secret(month, key) != key:
                raise StoreFailed(
                    f"another process began to record usage of {month} meanwhile; run it again"
                )


def month_of(day: int) -> str:
    """Return `YYYY-MM` of a UTC day."""
    return format_day(day)[:7]


def _months(connection: DuckDBPyConnection, relation: str, period: Period) -> list[str]:
    """Return the months of a period in which a relation has rows."""
    days = connection.execute(
        f"SELECT DISTINCT day FROM {relation} WHERE malformed IS NULL"
        f" AND day BETWEEN {period.since} AND {period.until}"
    ).fetchall()
    return sorted({month_of(day) for (day,) in days})


def _stage_rows(
    connection: DuckDBPyConnection,
    relation: str,
    period: Period,
    keys: Mapping[str, bytes | None],
    folder: Path,
) -> None:
    """Write the readable rows of a period, identities hashed, into one folder a day."""
    _copy_by_day(
        connection,
        f"SELECT DISTINCT {kept_columns(keys)}, day FROM {relation}"
        f" WHERE malformed IS NULL AND day BETWEEN {period.since} AND {period.until}",
        folder,
    )


def _stage_ids(connection: DuckDBPyConnection, relation: str, period: Period, folder: Path) -> None:
    """Write the ids of the day before a period; those of its own days come with their rows."""
    eve = period.since - 1
    _copy_by_day(
        connection,
        f"SELECT DISTINCT usage_id, day FROM {relation}"
        f" WHERE malformed IS NULL AND usage_id IS NOT NULL AND day = {eve}",
        folder,
    )


def _stage_recorded(connection: DuckDBPyConnection, relation: str, folder: Path) -> None:
    """Write rows that were recorded, identities hashed already, into one folder a day."""
    _copy_by_day(connection, f"SELECT DISTINCT {_NAMES}, day FROM {relation}", folder)
    days = connection.execute(f"SELECT DISTINCT day FROM {relation} WHERE resend").fetchall()
    (folder / LAST_MARK).write_text(json.dumps([day for (day,) in days]))


def _copy_by_day(connection: DuckDBPyConnection, query: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    connection.execute(f"COPY ({query}) TO {quoted(folder)} (FORMAT parquet, PARTITION_BY (day))")


def kept_columns(keys: Mapping[str, bytes | None]) -> str:
    """Return the SQL columns of rows as they are kept: who it was, as hashes under the month's secret."""
    return ", ".join(
        f"{_hash(name, keys)} AS {name}" if name in _HASHED else name for name, _ in ROW_FIELDS
    )


def _hash(name: str, keys: Mapping[str, bytes | None]) -> str:
    """Return the SQL of the hash of a column; an empty text is 0, so that it differs from none."""
    nobody = "NULL" if name == "identity" else "0"
    cases = " ".join(
        f"WHEN started_us < {_end_of(month)} THEN"
        f" {nobody if key is None else _hmac(f'encode(CAST({name} AS VARCHAR))', key)}"
        for month, key in sorted(keys.items())
    )
    # Of a forgotten month nobody can be told: a row has no viewer, and a session that is known to be none.
    empty = f"WHEN CAST({name} AS VARCHAR) = '' THEN 0"
    return f"CASE WHEN {name} IS NULL THEN NULL::UBIGINT {empty} {cases} END"


def _hmac(message: str, key: bytes) -> str:
    """Return the SQL of the first 8 bytes of an HMAC-SHA-256, as a number."""
    padded = key.ljust(HMAC_BLOCK, b"\0")
    inner = bytes(byte ^ 0x36 for byte in padded).hex()
    outer = bytes(byte ^ 0x5C for byte in padded).hex()
    inside = f"unhex(sha256(unhex('{inner}') || {message}))"
    digest = f"sha256(unhex('{outer}') || {inside})"
    return f"CAST('0x' || left({digest}, {2 * IDENTITY_BYTES}) AS UBIGINT)"


def _end_of(month: str) -> int:
    """Return the first microsecond after a month, since 1970 UTC."""
    year, number = int(month[:4]), int(month[5:])
    following = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return int(following.timestamp()) * 1_000_000


def _rows_of(files: Iterable[Path]) -> str:
    return _read(files, _NAMES, _EMPTY_ROWS)


def _ids_of(files: Iterable[Path]) -> str:
    return _read(files, "usage_id", _EMPTY_IDS)


def _read(files: Iterable[Path], columns: str, empty: str) -> str:
    listed = ", ".join(quoted(path) for path in files)
    if not listed:
        return f"{empty} WHERE false"
    # Parts of before there were steps lack their columns: by name, with a row of every column beside.
    return (
        f"SELECT {columns} FROM ({empty} WHERE false UNION ALL BY NAME"
        f" SELECT * FROM read_parquet([{listed}], hive_partitioning = false, union_by_name = true))"
    )


def _number(part: Path) -> int:
    return int(part.stem.partition("-")[0])


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:SUM_DIGITS]


def _is_whole(part: Path) -> bool:
    return _sum(part) == part.stem.partition("-")[2]


def _whole_rows(part: Path) -> int:
    """Return the rows of a part; InputError where its content is not what its name says."""
    if not _is_whole(part):
        raise InputError(f"{part} is damaged; bring it back from a copy")
    return _rows_in(part)


def _rows_in(path: Path) -> int:
    """Return how many rows a Parquet file has; InputError where it is none."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return int(parquet.read_metadata(path).num_rows)
    except pa.ArrowInvalid:
        raise InputError(f"{path} is damaged; bring it back from a copy") from None


def quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _names(folder: Path) -> list[str]:
    if not folder.exists():
        return []
    return [path.name for path in folder.iterdir() if path.name.startswith("day=")]


def _day_folders(folder: Path) -> list[int]:
    if not folder.exists():
        return []
    return [int(path.name) for path in folder.iterdir() if path.name.isdigit()]


@contextmanager
def _lock(path: Path, wait_seconds: float, *, exclusive: bool) -> Iterator[None]:
    """Hold a lock file, alone or with other readers; the system lets it go when the process ends."""
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(
                    descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB
                )
                break
            except OSError:
                if time.monotonic() >= until:
                    raise StoreFailed(
                        f"another process is at the usage store ({path}); run it again when that has ended"
                    ) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)
