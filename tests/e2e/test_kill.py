"""`usage report` killed at each of its crash points: the next run lands everything, once.

Counted from the ledger's events against the log that was written here, not from our own tables.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from royalty.days import parse_day
from royalty.journal import CRASH_VARIABLE, PLAIN_POINTS
from tests.conftest import Anvil, Ran, clean_environment
from tests.usage_world import DAY, NEXT, World, world

pytestmark = [pytest.mark.chain, pytest.mark.slow]

PERIOD = ("--since", DAY, "--until", NEXT, "--account", "dev1")


@pytest.fixture
def here(session: Callable[..., Any], folder: Path, anvil: Anvil) -> Iterator[World]:
    with world(session, folder, anvil) as made:
        yield made


@pytest.fixture
def killed(
    here: World, ledger: dict[str, Any], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `usage report` with a crash point in its environment."""

    def run(point: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        environ = clean_environment(tmp_path) | {
            "ROYALTY_RPC": here.anvil.rpc,
            "ROYALTY_CONTRACT": ledger["royalty"],
            CRASH_VARIABLE: point,
        }
        words = ["usage", "report", *map(str, arguments), *PERIOD, "--json"]
        return subprocess.run(
            [sys.executable, "-m", "royalty.cli.app", *words],
            cwd=here.folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def two_days(here: World) -> tuple[Path, dict[tuple[int, str, str], int]]:
    """A log of two days, and the units that it must come to on chain."""
    rows = []
    expected = {}
    for day, counts in ((DAY, (3, 2)), (NEXT, (1, 0, 4))):
        for index, count in enumerate(counts):
            for at in range(count):
                rows.append((f"{day}{index}{at}", index, "view", day, 40, f"{day}{index}{at}"))
            if count:
                expected[parse_day(day), here.work(index), "view"] = count
    return here.log("log.csv", rows), expected


@pytest.mark.parametrize("point", PLAIN_POINTS)
def test_a_report_killed_anywhere_lands_once(
    here: World, run: Callable[..., Ran], killed: Callable[..., Any], point: str
) -> None:
    log, expected = two_days(here)
    done = killed(point, log)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, ""), done.stderr
    again = run("usage", "report", log, *PERIOD)
    assert here.units_on_chain() == expected
    assert len(here.reported()) == 2
    announced = sum(batch["units"]["view"] for batch in again["batches"])
    assert announced + again["already_reported"]["view"] == 10
    assert again["negative"] == []
    usage = here.as_platform().usage
    assert usage.report(log, since=DAY, until=NEXT).batches == []
    assert len(here.reported()) == 2
    assert [batch.state for batch in usage.status().batches] == ["settled", "settled"]


def test_a_report_killed_again_and_again_lands_once(
    here: World, run: Callable[..., Ran], killed: Callable[..., Any]
) -> None:
    log, expected = two_days(here)
    for point in ("after-store", "after-plan", "after-sign", "after-send", "in-settle") * 2:
        assert killed(point, log).returncode in (-signal.SIGKILL, 0)
    run("usage", "report", log, *PERIOD)
    assert here.units_on_chain() == expected
    assert len(here.reported()) == 2


@pytest.mark.parametrize(
    "point",
    ["before-part", "after-part", "after-commit", "after-remove", "after-store", "after-send"],
)
def test_what_was_recorded_lands_once_where_the_report_without_a_log_is_killed(
    here: World, run: Callable[..., Ran], killed: Callable[..., Any], point: str
) -> None:
    with here.as_platform().usage.recorder(flush_seconds=3600) as recorder:
        for at in range(5):
            recorder.record(
                usage_id=at, work=here.work(), started_at=f"{DAY}T12:00:00Z", watched_seconds=40
            )
        recorder._writer.seal()  # a segment that ended, and one that is being written
        recorder.record(
            usage_id="live", work=here.work(), started_at=f"{NEXT}T12:00:00Z", watched_seconds=40
        )
        done = killed(point)
        assert done.returncode == -signal.SIGKILL, done.stderr
        run("usage", "report", *PERIOD)
    run("usage", "report", *PERIOD)
    assert here.units_on_chain() == {
        (parse_day(DAY), here.work(), "view"): 5,
        (parse_day(NEXT), here.work(), "view"): 1,
    }
    assert len(here.reported()) == 2


def test_what_was_left_lands_before_other_rows_are_counted(
    here: World, run: Callable[..., Ran], killed: Callable[..., Any]
) -> None:
    log, expected = two_days(here)
    killed("after-plan", log)
    late = here.log("late.csv", [("late", 1, "view", NEXT, 40, "late")])
    made = run("usage", "report", late, "--day", NEXT, "--account", "dev1")
    assert [batch["batch"] for batch in made["batches"]] == [1, 2, 3]
    assert here.units_on_chain() == expected | {(parse_day(NEXT), here.work(1), "view"): 1}


def test_two_reports_at_once_land_once(here: World, ledger: dict[str, Any], tmp_path: Path) -> None:
    log, expected = two_days(here)
    environ = clean_environment(tmp_path) | {
        "ROYALTY_RPC": here.anvil.rpc,
        "ROYALTY_CONTRACT": ledger["royalty"],
    }
    words = [
        sys.executable,
        "-m",
        "royalty.cli.app",
        "usage",
        "report",
        str(log),
        *PERIOD,
        "--json",
    ]
    processes = [
        subprocess.Popen(
            words,
            cwd=here.folder,
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0 or "another usage report" in errors, errors
    assert here.units_on_chain() == expected
    assert len(here.reported()) == 2


def test_a_second_report_waits_ten_seconds_and_says_who_runs(
    here: World, run: Callable[..., Ran]
) -> None:
    from royalty.journal import LOCK_FILE, locked

    log, _ = two_days(here)
    folder = here.as_platform().platform_dir()
    began = time.monotonic()
    with locked(folder / LOCK_FILE):
        refused = run("usage", "report", log, *PERIOD, exit=3)
    assert 10 <= time.monotonic() - began < 30
    assert "another usage report of this platform is running" in refused.stderr
    assert refused["pending"] == []
    assert here.reported() == []
