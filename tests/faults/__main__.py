"""Reports killed at every named point, again and again: `make faults`, `make faults SEED=20261120:17`.

Two workers, each with an Anvil of its own, run cycles (tests/faults/cycle.py). Reports are forked from
a process that has everything imported already, so that a cycle takes a second or two.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from royalty.journal import CRASH_POINTS
from tests.conftest import clean_environment, run_royalty, start_anvil
from tests.faults.cycle import PLATFORM, Cycle, Result, Stage
from tests.faults.proxy import seeded_proxy

SEED = 20_261_120
CYCLES = 300
WORKERS = 2
MINIMUM_KILLS = 2
MOST_BROKEN = 3
"""How often a worker's chain may lose its own state before that is wrong."""
MINIMUM_CYCLES = 4 * len(CRASH_POINTS)
"""From so many cycles on each point must have killed twice."""


def main() -> int:
    """Run the cycles; return 0 where all were well and every point killed often enough."""
    asked = _arguments()
    began = time.monotonic()
    ends = began + 60 * asked.minutes
    names = [asked.seed] if ":" in asked.seed else None
    total = 1 if names else asked.cycles
    readers = []
    for worker in range(1 if names else asked.workers):
        mine = names or [f"{asked.seed}:{at}" for at in range(worker, total, asked.workers)]
        readers.append(_start(lambda names=mine: work(names, ends)))  # type: ignore[misc]
    results = [result for read in readers for result in read]
    wrong = _summary(results, time.monotonic() - began, asked)
    return 1 if wrong else 0


def _arguments() -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--seed", default=str(SEED), help="a number; with :N one cycle alone")
    parser.add_argument("--cycles", type=int, default=CYCLES)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--minutes", type=float, default=15, help="begin no cycle after so long")
    return parser.parse_args()


def _start(job: Callable[[], Iterator[Result]]) -> Iterator[Result]:
    """Run a job in a forked worker; yield its results as they come."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        try:
            with os.fdopen(writing, "w") as out:
                for result in job():
                    out.write(json.dumps(result.__dict__) + "\n")
                    out.flush()
            code = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    return _results(child, reading)


def _results(child: int, reading: int) -> Iterator[Result]:
    with os.fdopen(reading) as lines:
        for line in lines:
            result = Result(**json.loads(line))
            if result.wrong:
                print(f"WRONG {result.name} ({result.point}): {result.wrong}", flush=True)
                print(f"  again: make faults SEED={result.name}", flush=True)
            yield result
    _, status = os.waitpid(child, 0)
    if status:
        yield Result("worker", "", wrong=f"a worker ended with status {status}")


# --- a worker ---


def work(names: list[str], ends: float) -> Iterator[Result]:
    """Run the cycles of these names on a stage of this worker's own."""
    _import_everything()
    left = list(names)
    for _ in range(1 + MOST_BROKEN):
        with _staged() as (stage, area):
            while left and time.monotonic() < ends:
                folder = area / "cycle"
                result = Cycle(stage, folder, left[0], point_of(left[0])).run()
                shutil.rmtree(folder, ignore_errors=True)
                if result.wrong and _is_broken(stage):
                    yield Result(left[0], "", broken=result.wrong)
                    break  # once more, on another chain
                left.pop(0)
                yield result
            else:
                return
    yield Result("worker", "", wrong=f"the chain lost its state {1 + MOST_BROKEN} times")


@contextmanager
def _staged() -> Iterator[tuple[Stage, Path]]:
    """Yield a stage on an Anvil of its own, and a folder to work in."""
    area = Path(tempfile.mkdtemp(prefix="royalty-faults-"))
    os.environ.update(clean_environment(area))
    anvil = start_anvil()
    try:
        with seeded_proxy(anvil.rpc) as proxy:
            yield _stage(anvil, proxy, area), area
    finally:
        anvil.end()
        shutil.rmtree(area, ignore_errors=True)


def _is_broken(stage: Stage) -> bool:
    """Whether the chain has lost the ledger's code, which it had before any cycle began.

    Nothing that a platform does could take it away: it is Anvil that loses its state, about once in some
    hundred reorgs, and what it says of anything else is worth nothing then.
    """
    return bool(stage.anvil.request("eth_getCode", stage.contract, "latest") == "0x")


def point_of(name: str) -> str:
    """The crash point of a cycle, by its number."""
    return CRASH_POINTS[int(name.rpartition(":")[2]) % len(CRASH_POINTS)]


def _import_everything() -> None:
    """Import what a report needs, so that forked children need not; nothing here starts a thread."""
    from importlib import import_module

    import royalty

    for name in ("duckdb", "pyarrow.parquet", "eth_account", "web3", "requests"):
        import_module(name)
    for path in sorted(Path(royalty.__file__).parent.rglob("*.py")):
        parts = path.relative_to(Path(royalty.__file__).parents[1]).with_suffix("").parts
        if parts[1] not in ("cli", "demo"):
            import_module(".".join(parts).removesuffix(".__init__"))
    from royalty.chain import codec

    codec.codec()


def _stage(anvil: Any, proxy: str, area: Path) -> Stage:
    """Deploy a ledger, and make a world on it in a process of its own."""
    home = area / "deploy"
    home.mkdir()
    contract = run_royalty(
        "deploy", cwd=home, environ=dict(os.environ) | {"ROYALTY_RPC": anvil.rpc}
    )["royalty"]
    template = area / "template"
    template.mkdir()
    child = os.fork()
    if child == 0:
        _make_world(anvil, contract, template)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("the world could not be made")
    catalogue = json.loads((template / "catalogue.json").read_text())
    anvil.request("anvil_mine", "0x10")
    return Stage(anvil, proxy, contract, catalogue, template, anvil.request("evm_snapshot"))


def _make_world(anvil: Any, contract: str, folder: Path) -> None:
    from royalty import Royalty
    from tests.usage_world import make_world

    code = 1
    try:

        def session(account: str = "dev0", **options: Any) -> Any:
            return Royalty.connect(
                account=account, rpc=anvil.rpc, contract=contract, folder=folder, **options
            )

        made = make_world(session, folder, anvil)
        assert made.platform == PLATFORM
        (folder / "catalogue.json").write_text(json.dumps(made.catalogue))
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


# --- the end ---


def _summary(results: list[Result], seconds: float, asked: Any) -> bool:
    """Print what was done; return whether anything is wrong."""
    broken = [result for result in results if result.broken]
    results = [result for result in results if not result.broken]
    kills = collections.Counter(point for result in results for point in result.kills)
    wrong = [result for result in results if result.wrong]
    missing = []
    if len(results) >= MINIMUM_CYCLES:
        missing = [point for point in CRASH_POINTS if kills[point] < MINIMUM_KILLS]
    reorgs = sum(len(result.reorgs) for result in results)
    print(
        f"faults: {len(results)} cycles of seed {asked.seed} in {seconds:.0f} s:"
        f" {sum(kills.values())} kills at {len(kills)} points, {reorgs} reorgs,"
        f" {sum(result.spikes for result in results)} fee spikes, {len(wrong)} wrong"
    )
    print("  kills: " + ", ".join(f"{point} {kills[point]}" for point in CRASH_POINTS))
    for result in broken:
        print(
            f"  {result.name} was run again: Anvil had lost the ledger's code ({result.broken[:80]}...)"
        )
    short = ":" not in asked.seed and asked.minutes <= 15 and len(results) < asked.cycles
    if short:
        print(f"  only {len(results)} of {asked.cycles} cycles within {asked.minutes:g} minutes")
    if missing:
        print(f"  killed fewer than {MINIMUM_KILLS} times: {', '.join(missing)}")
    for result in wrong:
        print(f"  wrong: {result.name} ({result.point}): {result.wrong.splitlines()[-1][:300]}")
    return bool(wrong or missing or short)


if __name__ == "__main__":
    sys.exit(main())
