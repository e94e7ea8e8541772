"""How many rows a second the recorder makes durable, on this machine's disk.

    python bench/ingest.py [--seconds 3] [--runs 5] [--folder DIR]

Eight threads record rows into a store in DIR (default: the temporary folder). `record` is called for one
row at a time, `record_all` for 50. Every figure is the median of the runs; after each the store's rows
are compared with what was acknowledged. Beside them stands what the disk's own sync costs: alone, and
where two overlap.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from royalty.recorder import Recorder
from royalty.store import UsageStore

THREADS = 8
TOGETHER = 50


def row(thread: int, at: int) -> dict[str, object]:
    """A row as a web worker has it."""
    return {
        "usage_id": f"{thread:08x}-{at:012x}-4d1c-9f0e-5a5b",
        "work": f"12/{at % 5000}",
        "watched_seconds": 184,
        "duration_seconds": "600.5",
        "viewer": f"viewer {at % 100_000}",
    }


def one_at_a_time(recorder: Recorder, thread: int, at: int) -> int:
    recorder.record(**row(thread, at))
    return 1


def many_at_once(recorder: Recorder, thread: int, at: int) -> int:
    return recorder.record_all(row(thread, at + more) for more in range(TOGETHER))


def rate(
    folder: Path, work: Callable[[Recorder, int, int], int], threads: int, seconds: float
) -> tuple[float, float]:
    """Rows a second while threads record, and the cores that they took; the store is checked after."""
    store = UsageStore(folder / "platform" / "store")
    recorder = Recorder(store, flush_seconds=3600, flush_bytes=1 << 40)
    done = [0] * threads
    recorder.record(**row(threads, 0))  # makes secret and segment

    def go(thread: int) -> None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            done[thread] += work(recorder, thread, done[thread])

    running = [threading.Thread(target=go, args=(thread,)) for thread in range(threads)]
    began, cpu = time.perf_counter(), time.process_time()
    for one in running:
        one.start()
    for one in running:
        one.join()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    recorder.close()
    require_all(store, sum(done) + 1)
    return sum(done) / took, cpu / took


def require_all(store: UsageStore, expected: int) -> None:
    import duckdb

    files = [str(path) for day in store.days() for path in store.parts("rows", day)]
    (found,) = duckdb.read_parquet(files).aggregate("count(DISTINCT usage_id)").fetchall()
    if found[0] != expected:
        raise SystemExit(f"{expected} rows were acknowledged, {found[0]} are in the store")


def syncs(folder: Path, threads: int, seconds: float) -> float:
    """Syncs a second of a written 300 bytes each, in space that has been written before."""
    path = folder / "sync"
    path.write_bytes(bytes(16 << 20))
    done = [0] * threads

    def go(thread: int) -> None:
        descriptor = os.open(path, os.O_RDWR)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            os.pwrite(descriptor, b"x" * 300, (thread << 20) + 300 * (done[thread] % 3000))
            os.fdatasync(descriptor)
            done[thread] += 1
        os.close(descriptor)

    os.sync()
    running = [threading.Thread(target=go, args=(thread,)) for thread in range(threads)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    return sum(done) / seconds


def sqlite_commits(folder: Path, seconds: float) -> float:
    """What one writer of SQLite (WAL, synchronous=FULL) commits a second, one row each: the other way."""
    import sqlite3

    database = sqlite3.connect(folder / "rows.sqlite", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE rows (line TEXT)")
    done, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        database.execute("INSERT INTO rows VALUES (?)", ("x" * 200,))
        done += 1
    database.close()
    return done / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure durable records a second.")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    cases: dict[str, Callable[[Path], tuple[float, float]]] = {
        "fdatasync, 1 thread": lambda at: (syncs(at, 1, given.seconds / 3), 0),
        "fdatasync, 2 threads that overlap": lambda at: (syncs(at, 2, given.seconds / 3), 0),
        "SQLite WAL FULL, 1 writer, a row a commit": lambda at: (
            sqlite_commits(at, given.seconds / 3),
            0,
        ),
        "record, 1 thread": lambda at: rate(at, one_at_a_time, 1, given.seconds),
        "record, 8 threads": lambda at: rate(at, one_at_a_time, THREADS, given.seconds),
        "record, 64 threads": lambda at: rate(at, one_at_a_time, 64, given.seconds),
        "record_all of 50, 8 threads": lambda at: rate(at, many_at_once, THREADS, given.seconds),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for _ in range(given.runs):
        for name, measure in cases.items():
            with tempfile.TemporaryDirectory(dir=given.folder, prefix="royalty-bench-") as folder:
                found[name].append(measure(Path(folder)))
    print(f"{'':44} {'median/s':>10} {'least':>9} {'most':>9} {'cores':>6}")
    for name, figures in found.items():
        rates = [figure for figure, _ in figures]
        cores = statistics.median(core for _, core in figures)
        line = (
            f"{name:44} {statistics.median(rates):>10,.0f} {min(rates):>9,.0f} {max(rates):>9,.0f}"
        )
        print(line + (f" {cores:>6.2f}" if cores else ""))
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
