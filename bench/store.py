"""What the usage store costs for 10 million views a month: bytes a row on disk, seconds of a day's recount.

    python bench/store.py [--rows 10000000] [--days 30] [--folder DIR]

A month of made-up views: ids are random UUIDs as text, 5,000 works and 300,000 viewers of uneven
popularity, times to the microsecond, watched times to the millisecond. Each day comes in six parts, as
flushes bring them; then days are counted anew, and closed. Prints one line a figure.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

from royalty.days import Period
from royalty.logs import NATIVE, Policy, WorkTable, engine
from royalty.questions import Question
from royalty.recount import counted
from royalty.store import UsageStore

WORKS, VIEWERS, PARTS = 5_000, 300_000, 6
FIRST = 20_000
MATCHER = WorkTable([], [(7, 1, 0, None)], {7: WORKS})


def make_rows(connection: object, day: int, rows: int) -> None:
    """Put one part of a day's rows into the table `recorded`."""
    connection.execute(f"""
CREATE OR REPLACE TABLE recorded AS
SELECT CAST(uuid() AS VARCHAR) AS usage_id, '7/' || work AS work,
  CAST(CASE WHEN random() < 0.03 THEN 1 ELSE 0 END AS UTINYINT) AS kind,
  {day} * 86400000000 + CAST(random() * 86399e6 AS BIGINT) AS started_us,
  CAST(random() * seconds * 1000 AS BIGINT) * 1000 AS watched_us, seconds * 1000000 AS duration_us,
  CAST(hash(floor(pow(random(), 2) * {VIEWERS})) AS UBIGINT) AS identity, {day} AS day, FALSE AS resend
FROM (
  SELECT work, CAST(60 + hash(work) % 600 AS BIGINT) AS seconds
  FROM (SELECT CAST(floor(pow(random(), 3) * {WORKS}) AS INTEGER) AS work FROM range({rows}))
)""")


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the usage store.")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="royalty-bench-") as folder:
        measure(UsageStore(Path(folder) / "platform" / "store"), given.rows, given.days)


def measure(store: UsageStore, rows: int, days: int) -> None:
    a_part = rows // days // PARTS
    total, commits = a_part * PARTS * days, []
    with engine("512MB", threads=1) as connection:
        for day in range(FIRST, FIRST + days):
            for _ in range(PARTS):
                make_rows(connection, day, a_part)
                began = time.perf_counter()
                with store.locked(), store.gathered(connection, "recorded") as staged:
                    staged.commit()
                commits.append(time.perf_counter() - began)
    print(f"rows                                    {total:>14,} in {days} days")
    print(f"bytes a row, open, {PARTS} parts a day         {size(store.folder) / total:>14.1f}")
    print(f"seconds a flush of {a_part:,} rows          {statistics.median(commits):>14.2f}")
    recounts, cpu = zip(*(recount(store, day) for day in range(FIRST + 1, FIRST + 6)), strict=True)
    print(f"seconds of a day's recount, median of 5 {statistics.median(recounts):>14.2f}")
    print(f"CPU-seconds of it                       {statistics.median(cpu):>14.2f}")
    began = time.perf_counter()
    with engine("512MB", threads=1) as connection:
        close_all(store, connection, days)
    print(f"seconds to close a day                  {(time.perf_counter() - began) / days:>14.2f}")
    print(f"bytes a row, closed                     {size(store.folder) / total:>14.1f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory, MiB                        {peak / 1024:>14,.0f}")
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def close_all(store: UsageStore, connection: object, days: int) -> None:
    """Close every day, as a report does after it counted them."""
    for day in store.days():
        (store.folder / "rows" / str(day) / "counted").touch()
    closed = store.close(connection, store.days())
    if len(closed) != days:
        raise SystemExit(f"{len(closed)} of {days} days were closed")


def recount(store: UsageStore, day: int) -> tuple[float, float]:
    """Seconds and CPU-seconds until a day is counted whole, as a report without a log does."""
    asked = Question(Period(day, day), (), Policy(), NATIVE, {})
    began, cpu = time.perf_counter(), time.process_time()
    with counted(asked, MATCHER, store) as (_, found):
        if not found.days[day].qualified:
            raise SystemExit("nothing was counted")
    return time.perf_counter() - began, time.process_time() - cpu


if __name__ == "__main__":
    main()
