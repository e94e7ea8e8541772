"""Retention: days are closed once everything of them was reported; late rows are held, never sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from royalty.days import parse_day
from royalty.errors import InputError
from royalty.store import UsageStore
from tests.conftest import Anvil, Ran
from tests.usage_world import DAY, NEXT, World, world

pytestmark = pytest.mark.chain

PLATFORM = ("--account", "dev1")
D, N = parse_day(DAY), parse_day(NEXT)


@pytest.fixture
def here(session: Callable[..., Any], folder: Path, anvil: Anvil) -> Iterator[World]:
    with world(session, folder, anvil) as made:
        (folder / "royalty.toml").write_text("[store]\nretain_days = 30\n")
        yield made


def store_of(here: World) -> UsageStore:
    return UsageStore(here.as_platform().platform_dir() / "store")


def test_a_reported_day_is_closed_and_keeps_no_ids(here: World) -> None:
    log = here.views("log.csv", 3)
    here.as_platform().usage.report(log, day=DAY)
    store = store_of(here)
    assert (store.days(), store.is_closed(D), store.is_closed(N)) == ([], True, False)
    rows = duckdb.sql(f"SELECT * FROM '{store.folder}/closed/{D}.parquet'")
    assert "usage_id" not in rows.columns
    assert len(rows.fetchall()) == 3
    again = here.as_platform().usage.report(log, day=DAY)
    assert (again.batches, again.held, again.negative) == ([], [], [])
    assert again.document()["already_reported"]["view"] == 3


def test_late_rows_of_a_closed_day_are_held_kept_and_never_sent(
    here: World, run: Callable[..., Ran]
) -> None:
    usage = here.as_platform().usage
    usage.report(here.views("log.csv", 3), day=DAY)
    late = here.log("late.csv", [("late", 1, "view", DAY, 40, "late")])
    for _ in range(2):
        found = run("usage", "report", late, "--day", DAY, *PLATFORM, exit=1)
        assert found["batches"] == []
        assert [(row["reason"], row["work"], row["units"]["view"]) for row in found["held"]] == [
            ("closed_day", here.work(1), 1)
        ]
    with usage.recorder() as recorder:
        recorder.record(
            usage_id="later", work=here.work(2), started_at=f"{DAY}T01:00:00Z", watched_seconds=40
        )
    without = usage.report(day=DAY)
    assert sum(item.units for item in without.held) == 2
    assert here.views_on_chain() == [3, 0, 0]


def test_ingest_says_what_is_late(here: World, run: Callable[..., Ran]) -> None:
    log = here.views("log.csv", 3)
    here.as_platform().usage.report(log, day=DAY)
    late = here.views("late.csv", 5)
    found = run("usage", "ingest", log, late, *PLATFORM)
    assert (found["rows"], found["kept"], found["late"], found["known"]) == (8, 2, 2, 6)


def test_the_ids_of_a_closed_day_still_make_the_next_days_rows_duplicates(here: World) -> None:
    usage = here.as_platform().usage
    usage.report(here.log("one.csv", [("a", 0, "view", DAY, 40, "ann")]), day=DAY)
    two = [("a", 0, "view", NEXT, 40, "ann"), ("b", 0, "view", NEXT, 40, "bob")]
    usage.report(here.log("two.csv", two), day=NEXT)
    assert here.views_on_chain(NEXT) == [1, 0, 0]
    assert not (store_of(here).folder / "ids" / str(D)).exists()


def test_a_day_with_something_held_or_not_counted_stays_open(here: World) -> None:
    platform = here.as_platform()
    with platform.usage.recorder() as recorder:
        recorder.record(
            usage_id="a", work=here.work(), started_at=f"{DAY}T01:00:00Z", watched_seconds=40
        )
    platform.usage.report(here.views("log.csv", 2, day=NEXT), day=NEXT)
    assert store_of(here).days() == [D]
    assert len(platform.usage.report(day=DAY).batches) == 1
    assert store_of(here).days() == []


def test_without_a_setting_every_day_stays_open(here: World, folder: Path) -> None:
    (folder / "royalty.toml").unlink()
    here.as_platform().usage.report(here.views("log.csv", 3), day=DAY)
    assert store_of(here).days() == [D]


def test_a_kill_while_a_day_is_closed_is_made_good(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from royalty import store as stores

    usage = here.as_platform().usage
    log = here.views("log.csv", 3)
    for point in ("before-close", "after-close"):

        def killed(at: str, point: str = point) -> None:
            if at == point:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(stores, "crash_at", killed)
            with pytest.raises(KeyboardInterrupt):
                usage.report(log, day=DAY)
        assert store_of(here).days() == [D]
    assert usage.report(log, day=DAY).batches == []
    assert store_of(here).days() == []
    assert here.views_on_chain() == [3, 0, 0]


def test_a_forgotten_month_keeps_no_secret_and_takes_late_rows_without_viewers(
    here: World, run: Callable[..., Ran]
) -> None:
    usage = here.as_platform().usage
    with pytest.raises(InputError, match="no secret of 2024-05"):
        usage.forget("2024-05")
    usage.ingest(here.views("log.csv", 3))
    with pytest.raises(InputError, match="days that are open"):
        usage.forget("2024-05")
    usage.report(day=DAY)
    assert run("usage", "forget", "2024-05", *PLATFORM)["forgotten"] == "2024-05"
    store = store_of(here)
    assert not (store.folder / "secrets" / "2024-05.key").exists()
    late = here.log("late.csv", [("x", 0, "view", NEXT, 40, "ann")])
    found = usage.report(late, day=NEXT)
    assert [item.units for item in found.held] == [1]
    (part,) = store.parts("late", N)
    assert duckdb.sql(f"SELECT identity FROM '{part}'").fetchall() == [(None,)]
    with usage.recorder() as recorder:
        recorder.record(
            usage_id="y",
            work=here.work(),
            started_at=f"{NEXT}T01:00:00Z",
            watched_seconds=40,
            viewer="ann",
        )
    assert sum(item.units for item in usage.report(day=NEXT).held) == 2
    assert here.views_on_chain(NEXT) == [0, 0, 0]
    assert run("usage", "forget", "2024-13", *PLATFORM, exit=2).stderr
