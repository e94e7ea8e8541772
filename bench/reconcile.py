"""What counting a month of views costs: this tool beside SQL and Polars written by hand for the same rules.

    python bench/reconcile.py [--rows 10000000] [--runs 3] [--folder DIR] [--memory 1200MB]
        [--engines tool,by-day,at-once,polars,decode]

Makes the log (`bench/views.py`) where DIR does not hold it yet, and counts it with each engine in a process
of its own, in turn, so that other work on the machine disturbs all alike. Prints the medians of CPU
seconds, wall seconds and peak memory, and CPU seconds by those of the best SQL: of the whole process, until
units and reasons are Python objects; comparing them comes after. Engines whose tables are not equal, to
the unit and the reason, make it exit 1. Polars is counted where it is installed (`pip install polars`);
nothing else needs it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import handwritten
import views
from handwritten import Counted

if TYPE_CHECKING:
    from royalty.logs import Count

MEMORY = "1200MB"
ENGINES = ("tool", "by-day", "at-once", "polars", "decode")
SQL = ("by-day", "at-once")


class Run(NamedTuple):
    """One count: seconds, bytes at the peak, and a digest of what it came to (empty: it counts nothing).

    `full`: the memory allowed was too little, and nothing was counted.
    """

    cpu: float
    wall: float
    peak: int
    digest: str
    full: bool = False


def tool(files: Sequence[Path], memory: str, folder: Path) -> Count:  # noqa: ARG001
    """Count as `royalty usage check` does."""
    from royalty.days import Period
    from royalty.logs import WorkTable, count, find_sources
    from royalty.usage import WorkRef

    answers = [(work, WorkRef(number, index)) for work, number, index in views.answers()]
    catalogues = dict.fromkeys(range(1, views.CATALOGUES + 1), views.PER_CATALOGUE)
    return count(
        find_sources(files),
        Period(views.FIRST, views.FIRST + views.DAYS - 1),
        WorkTable(answers, views.deals(), catalogues),
        memory=memory,
    )


COUNTS: dict[str, Callable[[Sequence[Path], str, Path], Counted | Count]] = {
    "tool": tool,
    "by-day": handwritten.by_day,
    "at-once": handwritten.at_once,
    "polars": handwritten.polars,
    "decode": handwritten.decode,
}


def digest_of(found: Counted | Count) -> str:
    """A digest of all units and reasons; empty where nothing was counted."""
    if not found.units:
        return ""
    if not isinstance(found, Counted):
        units = sorted(
            (day, number, at, kind.word, units) for day, number, at, kind, units in found.units
        )
        found = Counted(units, {**found.excluded, "qualified": found.qualified})
    text = sha256()
    for line in handwritten.digest_rows(found):
        text.update(line.encode() + b"\n")
    return text.hexdigest()


def run(engine: str, files: Sequence[Path], memory: str, folder: Path) -> Run:
    """Count in a child process and return what that took."""
    out = folder / "counted.json"
    out.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        os.execv(
            sys.executable,
            [sys.executable, __file__, "--child", engine, "--memory", memory, "--folder", str(folder),
             *(f"--file={path}" for path in files)],
        )  # fmt: skip
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"{engine} ended with status {status}")
    return Run(**json.loads(out.read_text()))


def counted(engine: str, files: Sequence[Path], memory: str, folder: Path) -> Run:
    """Count in this process and return what it has taken since it began."""
    import duckdb

    begun = time.perf_counter()
    found: Counted | Count | None = None
    with contextlib.suppress(duckdb.OutOfMemoryException):
        found = COUNTS[engine](files, memory, folder)
    wall, usage = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
    cpu = usage.ru_utime + usage.ru_stime
    peak = usage.ru_maxrss * 1024
    if found is None:
        return Run(cpu, wall, peak, "", full=True)
    return Run(cpu, wall, peak, digest_of(found))


def line(engine: str, runs: Sequence[Run], best: float | None) -> str:
    cpu = statistics.median(one.cpu for one in runs)
    spread = f"{min(one.cpu for one in runs):.1f} to {max(one.cpu for one in runs):.1f}"
    wall = statistics.median(one.wall for one in runs)
    peak = max(one.peak for one in runs) / 2**20
    ratio = "" if best is None else f"{cpu / best:.2f}"
    if any(one.full for one in runs):
        return f"{engine:<8} out of memory after {cpu:.1f} CPU s"
    return f"{engine:<8} {cpu:>9.1f} {spread:>16} {wall:>9.1f} {peak:>10.0f} {ratio:>10}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--memory", default=MEMORY)
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, action="append", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        one = counted(given.child, given.file, given.memory, given.folder)
        (given.folder / "counted.json").write_text(json.dumps(one._asdict()))
        return
    with tempfile.TemporaryDirectory(prefix="royalty-bench-") as folder:
        measure(given, given.folder or Path(folder))


def measure(given: argparse.Namespace, folder: Path) -> None:
    """Make the log, count it in turn, and print the table."""
    files = views.make(given.rows, folder)
    size = sum(path.stat().st_size for path in files)
    print(f"{given.rows:,} rows in {len(files)} Parquet files, {size / 2**20:,.0f} MiB")
    engines = [name for name in given.engines.split(",") if name != "polars" or find_spec("polars")]
    runs: dict[str, list[Run]] = {name: [] for name in engines}
    for _ in range(given.runs):
        for name in engines:
            runs[name].append(run(name, files, given.memory, folder))
    medians = {
        name: statistics.median(one.cpu for one in runs[name])
        for name in engines
        if not any(one.full for one in runs[name])
    }
    best = min((medians[name] for name in SQL if name in medians), default=None)
    print(
        f"{'':<8} {'CPU s':>9} {'least to most':>16} {'wall s':>9} {'peak MiB':>10} {'by SQL':>10}"
    )
    for name in engines:
        print(line(name, runs[name], best))
    found = {one.digest for some in runs.values() for one in some if one.digest}
    if len(found) > 1:
        raise SystemExit("the tables are not equal")
    print("all tables are equal")


if __name__ == "__main__":
    main()
