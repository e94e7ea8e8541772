"""What counting one log costs on DuckDB and on Spark on this machine.

    python bench/engines.py [--rows 1000000] [--files 8] [--master 'local[2]'] [--format csv]

A log of three days, made up: ids are random hex of 32 digits, some of them twice, 1,000 works, 50,000
viewers. Prints for each engine the seconds on the clock and the CPU-seconds of all its
processes, and that the counts are equal. Needs `pip install 'royalty[spark]'` and Java.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
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
    'viewer ' || CAST(floor(random() * 50000) AS INTEGER) AS viewer
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


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--rows", type=int, default=1_000_000)
    asked.add_argument("--files", type=int, default=8)
    asked.add_argument("--master", default="local[2]")
    asked.add_argument("--format", default="csv", choices=("csv", "parquet"))
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sources = logs.find_sources(make_log(Path(name), given.rows, given.files, given.format))
        matcher = logs.WorkTable([], [(7, 1, 0, None)], {7: WORKS})
        what = (sources, Period(DAY, DAY + 2), matcher)
        started, spent = time.monotonic(), time.process_time()
        expected = logs.count(*what)
        print(
            f"rows      {expected.rows:,}, {expected.qualified:,} qualified, {len(sources)} files"
        )
        seconds, cpu = time.monotonic() - started, time.process_time() - spent
        print(f"duckdb    {seconds:6.1f} s  {cpu:6.1f} CPU-s")
        started = time.monotonic()
        with spark_session(given.master):
            print(f"starting  {time.monotonic() - started:6.1f} s  {cpu_of_children():6.1f} CPU-s")
            for which in ("first", "second"):
                started = time.monotonic()
                spent = time.process_time() + cpu_of_children()
                found = logs.counter("spark", given.master)(*what)
                seconds = time.monotonic() - started
                cpu = time.process_time() + cpu_of_children() - spent
                same = "equal" if found == expected else "NOT EQUAL"
                print(f"spark     {seconds:6.1f} s  {cpu:6.1f} CPU-s  {which} count, {same}")


if __name__ == "__main__":
    main()
