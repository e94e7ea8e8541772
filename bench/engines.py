"""What counting one log costs on DuckDB and on Spark on this machine.

    python bench/engines.py [--rows 1000000] [--files 8] [--master 'local[2]'] [--format csv]
                            [--policy peertube] [--times 3]

A log of three days, made up: ids are random hex of 32 digits, some of them twice, 1,000 works, 50,000
viewers. The engines count in turns, after a first count on Spark, which compiles. Prints for each the
median seconds on the clock and CPU-seconds of all its processes, that the counts are equal, and how busy
the machine was (load average). Needs `pip install 'royalty[spark]'` and Java.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from royalty import logs
from royalty.days import Period
from royalty.logs.reading import engine
from royalty.logs.sparkengine import spark_session

DAY, WORKS = 20_000, 1_000


def make_log(folder: Path, rows: int, files: int, form: str) -> list[Path]:
    """Write the log and return its files."""
    paths = [folder / f"log-{at}.{form}" for at in range(files)]
    with engine() as con:
        for path in paths:
            con.execute(f"""
COPY (
  SELECT md5(CAST(floor(random() * {rows * 25}) AS VARCHAR)) AS usage_id,
    '7/' || CAST(floor(random() * {WORKS}) AS INTEGER) AS work,
    strftime(to_timestamp({DAY} * 86400 + random() * 3 * 86399), '%Y-%m-%dT%H:%M:%S') || 'Z' AS started_at,
    round(random() * 120, 3) AS watched_seconds, 100 AS duration_seconds,
    'viewer ' || CAST(floor(random() * 50000) AS INTEGER) AS viewer, '' AS session
  FROM range({rows // files})
) TO '{path}'""")
    return paths


def cpu_of_children() -> float:
    """CPU-seconds of this process's living descendants, from /proc."""
    children: dict[int, list[int]] = {}
    spent: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
            spent[int(entry.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    total, left = 0.0, [*children.get(os.getpid(), [])]
    while left:
        one = left.pop()
        total += spent[one]
        left += children.get(one, [])
    return total


def measured(count: Callable[[], logs.Count]) -> tuple[logs.Count, float, float]:
    """A count, its seconds on the clock and its CPU-seconds, those of other processes included."""
    started, spent = time.monotonic(), time.process_time() + cpu_of_children()
    found = count()
    cpu = time.process_time() + cpu_of_children() - spent
    return found, time.monotonic() - started, cpu


def show(what: str, seconds: list[float], cpu: list[float]) -> None:
    print(
        f"{what:<16}{statistics.median(seconds):7.1f} s {statistics.median(cpu):7.1f} CPU-s"
        f"   of {len(seconds)}: {min(seconds):.1f} to {max(seconds):.1f} s"
    )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--rows", type=int, default=1_000_000)
    asked.add_argument("--files", type=int, default=8)
    asked.add_argument("--master", default="local[2]")
    asked.add_argument("--format", default="csv", choices=("csv", "parquet"))
    asked.add_argument("--policy", default="default", choices=("default", "peertube"))
    asked.add_argument("--times", type=int, default=3)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as name:
        compare(make_log(Path(name), given.rows, given.files, given.format), given)


def compare(paths: list[Path], given: argparse.Namespace) -> None:
    """Count files on both engines in turns and print what it took."""
    matcher = logs.WorkTable([], [(7, 1, 0, None)], {7: WORKS})
    policy = logs.Policy.load(given.policy)
    what = (logs.find_sources(paths), Period(DAY, DAY + 2), matcher, policy)
    on_duckdb = [measured(lambda: logs.count(*what))]
    started = time.monotonic()
    with spark_session(given.master):
        print(f"start of Spark  {time.monotonic() - started:7.1f} s {cpu_of_children():7.1f} CPU-s")
        on_spark = []
        for _ in range(1 + given.times):
            on_spark.append(measured(lambda: logs.counter("spark", given.master)(*what)))
            on_duckdb.append(measured(lambda: logs.count(*what)))
    expected = on_duckdb[0][0]
    same = all(found == expected for found, _, _ in (*on_duckdb, *on_spark))
    show("Spark, first", [on_spark[0][1]], [on_spark[0][2]])
    show("Spark", [s for _, s, _ in on_spark[1:]], [c for _, _, c in on_spark[1:]])
    show("DuckDB", [s for _, s, _ in on_duckdb[1:]], [c for _, _, c in on_duckdb[1:]])
    print(
        f"{expected.rows:,} rows in {len(paths)} files, {expected.qualified:,} qualified; the counts are"
        f" {'equal' if same else 'NOT EQUAL'}; load {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
