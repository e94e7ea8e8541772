"""A platform's own usage rows, by day, so that a report of a day can count the whole day again.

    store/rows/<day>/<n>-<sum>.parquet   the rows of days that were reported, each distinct row once
    store/ids/<day>/<n>-<sum>.parquet    ids alone, of the day before a reported one (for rule 2)
    store/secrets/<YYYY-MM>.key          32 bytes that key the hashes of that month's viewers, mode 0600
    store/works.csv                      the platform's map, as far as reports have used it

`<day>` counts from 1970-01-01 UTC, `<sum>` is the start of the file's SHA-256. All readable rows are
kept, duplicates too, since a duplicate makes the next day's row one; of rows that are equal in every
field one is. So the order, the files and the number of times in which rows came do not matter: a day's
rows are a set. Viewers are kept as HMAC-SHA-256 of their identity; the rules that look at viewers look
at one day only, so a secret a month is enough, and deleting it makes the rows of that month anonymous
(and reports of it final). Parts that changed, and days with fewer rows than they were reported with,
are refused: the same rows would count again, or late ones be lost.

Rows of a report are staged first and counted together with what is there; they are committed before
anything is journalled, and left out where the report is refused.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from royalty.days import Period, format_day
from royalty.errors import InputError
from royalty.journal import crash_at
from royalty.usage import WorkRef
from royalty.worksmap import WorksMap, map_csv, read_map

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SECRET_BYTES = 32
MAP_FILE = "works.csv"
STAGING = ".staging"
SUM_DIGITS = 32
HMAC_BLOCK = 64
ROW_FIELDS = (
    ("usage_id", "VARCHAR"),
    ("work", "VARCHAR"),
    ("kind", "UTINYINT"),
    ("started_us", "BIGINT"),
    ("watched_us", "BIGINT"),
    ("duration_us", "BIGINT"),
    ("identity", "BLOB"),
)
_NAMES = ", ".join(name for name, _ in ROW_FIELDS)
_EMPTY_ROWS = "SELECT " + ", ".join(f"NULL::{kind} AS {name}" for name, kind in ROW_FIELDS)
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
    ) -> Iterator[Staged]:
        """Yield the store together with the rows of a relation whose days are asked for.

        `relation` is a table or view of `connection` with the columns of ROW_FIELDS (identities in
        clear text), the UTC `day`, and `malformed`, NULL where the row is readable. Rows of other
        days are left out, but for the ids of the day before. What is not committed is removed at
        the end. `area` is a new folder to stage in, where nothing must be written into the store.
        Raises InputError where the month's secret is gone.
        """
        area = area or self.folder / STAGING
        shutil.rmtree(area, ignore_errors=True)
        fresh = self._secrets(_months(connection, relation, period))
        try:
            keys = {month: key for month, (key, _) in fresh.items()}
            _stage_rows(connection, relation, period, keys, area / "rows")
            _stage_ids(connection, relation, period, area / "ids")
            yield Staged(self, connection, area, period, fresh)
        finally:
            shutil.rmtree(area, ignore_errors=True)
            with suppress(OSError):
                self.folder.rmdir()  # where nothing has ever been committed

    def days(self) -> list[int]:
        """Return the days that have rows, in order."""
        return sorted(_day_folders(self.folder / "rows"))

    def works_map(self) -> WorksMap:
        """Return the map that reports have used so far: works by the platform's ids."""
        path = self.folder / MAP_FILE
        return read_map(path) if path.exists() else {}

    def keep_map(self, works: Mapping[str, WorkRef]) -> None:
        """Keep a map for later reports of the same days, instead of the one kept before."""
        from royalty.files import write_whole

        write_whole(self.folder / MAP_FILE, map_csv(works))

    def parts(self, what: str, day: int) -> list[Path]:
        """Return the Parquet files of a day's `rows` or `ids`, in the order of their making."""
        return sorted((self.folder / what / str(day)).glob("[0-9]*.parquet"))

    def need_whole(self, period: Period, reported: Callable[[int], int]) -> None:
        """Raise InputError where stored rows of a period or of the day before it are lost or changed.

        `reported` tells how many rows a day had when it was last reported. Counted without them late
        rows would be lost, and ids that had been reported would count again.
        """
        for day in range(period.since - 1, period.until + 1):
            kept = sum(_whole_rows(path) for path in self.parts("rows", day))
            for path in self.parts("ids", day):
                _whole_rows(path)
            if kept < reported(day):
                raise InputError(
                    f"{self.folder} has {kept:,} of the {reported(day):,} rows that"
                    f" {format_day(day)} was reported with; bring it back from a copy"
                )

    def _secrets(self, months: Iterable[str]) -> dict[str, tuple[bytes, bool]]:
        """Return the secret of each month, and whether it is new (not written yet)."""
        kept = {month_of(day) for day in self.days()}
        return {month: self._secret(month, has_rows=month in kept) for month in months}

    def _secret(self, month: str, *, has_rows: bool) -> tuple[bytes, bool]:
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
        period: Period,
        keys: Mapping[str, tuple[bytes, bool]],
    ) -> None:
        self._store = store
        self._connection = connection
        self._area = area
        self._period = period
        self._keys = keys

    def has_rows(self, day: int) -> bool:
        """Return whether a day has rows, stored or staged."""
        return bool(self._store.parts("rows", day) or self._new("rows", day))

    def rows_query(self, day: int) -> str:
        """Return the SQL of a day's rows, stored and staged, each distinct row once."""
        files = [*self._store.parts("rows", day), *self._new("rows", day)]
        return f"SELECT DISTINCT {_NAMES} FROM ({_rows_of(files)})"

    def ids_query(self, day: int) -> str:
        """Return the SQL of all ids that are known of a day (as `usage_id`, not NULL, each once)."""
        rows = [*self._store.parts("rows", day), *self._new("rows", day)]
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
        for day in self._days("rows"):
            old, new = self._store.parts("rows", day), self._new("rows", day)
            self._write(
                "rows",
                day,
                f"SELECT DISTINCT {_NAMES} FROM ({_rows_of(new)})"
                f" EXCEPT SELECT {_NAMES} FROM ({_rows_of(old)})",
            )
        crash_at("in-store")
        for day in self._days("ids"):
            self._write(
                "ids",
                day,
                f"SELECT DISTINCT usage_id FROM ({_ids_of(self._new('ids', day))})"
                f" EXCEPT SELECT usage_id FROM ({_ids_of(self._store.parts('ids', day))})"
                f" EXCEPT SELECT usage_id FROM ({_rows_of(self._store.parts('rows', day))})",
            )

    def _days(self, what: str) -> list[int]:
        return sorted(int(name.removeprefix("day=")) for name in _names(self._area / what))

    def _new(self, what: str, day: int) -> list[Path]:
        return sorted((self._area / what / f"day={day}").glob("*.parquet"))

    def _write(self, what: str, day: int, query: str) -> None:
        folder = self._store.folder / what / str(day)
        part = self._area / f"{what}-{day}.parquet"
        self._connection.execute(
            f"COPY ({query}) TO {_quoted(part)} (FORMAT parquet, COMPRESSION zstd)"
        )
        made = self._connection.execute(f"SELECT count(*) FROM {_quoted(part)}").fetchone()
        if not made or not made[0]:
            return
        folder.mkdir(parents=True, exist_ok=True)
        number = max((_number(path) for path in self._store.parts(what, day)), default=0) + 1
        _sync(part)
        part.replace(folder / f"{number:06d}-{_sum(part)}.parquet")
        _sync(folder)
        _sync(folder.parent)

    def _write_secrets(self) -> None:
        from royalty.files import write_whole

        folder = self._store.folder / "secrets"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for month, (key, is_new) in self._keys.items():
            if is_new:
                write_whole(folder / f"{month}.key", key, mode=0o600)
        _sync(folder)


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
    keys: Mapping[str, bytes],
    folder: Path,
) -> None:
    """Write the readable rows of a period, identities hashed, into one folder a day."""
    columns = ", ".join(
        f"{_identity_hash(keys)} AS identity" if name == "identity" else name
        for name, _ in ROW_FIELDS
    )
    _copy_by_day(
        connection,
        f"SELECT DISTINCT {columns}, day FROM {relation}"
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


def _copy_by_day(connection: DuckDBPyConnection, query: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    connection.execute(f"COPY ({query}) TO {_quoted(folder)} (FORMAT parquet, PARTITION_BY (day))")


def _identity_hash(keys: Mapping[str, bytes]) -> str:
    """Return the SQL of HMAC-SHA-256 of `identity` under the secret of the row's month."""
    cases = " ".join(
        f"WHEN started_us < {_end_of(month)} THEN {_hmac('encode(identity)', key)}"
        for month, key in sorted(keys.items())
    )
    return f"CASE WHEN identity IS NULL THEN NULL::BLOB {cases} END"


def _hmac(message: str, key: bytes) -> str:
    padded = key.ljust(HMAC_BLOCK, b"\0")
    inner = bytes(byte ^ 0x36 for byte in padded).hex()
    outer = bytes(byte ^ 0x5C for byte in padded).hex()
    inside = f"unhex(sha256(unhex('{inner}') || {message}))"
    return f"unhex(sha256(unhex('{outer}') || {inside}))"


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
    listed = ", ".join(_quoted(path) for path in files)
    if not listed:
        return f"{empty} WHERE false"
    return f"SELECT {columns} FROM read_parquet([{listed}], hive_partitioning = false)"


def _number(part: Path) -> int:
    return int(part.stem.partition("-")[0])


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:SUM_DIGITS]


def _whole_rows(part: Path) -> int:
    """Return the rows of a part; InputError where its content is not what its name says."""
    from pyarrow import parquet

    if _sum(part) != part.stem.partition("-")[2]:
        raise InputError(f"{part} is damaged; bring it back from a copy")
    return int(parquet.read_metadata(part).num_rows)


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _names(folder: Path) -> list[str]:
    if not folder.exists():
        return []
    return [path.name for path in folder.iterdir() if path.name.startswith("day=")]


def _day_folders(folder: Path) -> list[int]:
    if not folder.exists():
        return []
    return [int(path.name) for path in folder.iterdir() if path.name.isdigit()]


def _sync(path: Path) -> None:
    """Bring a file's or folder's content onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
