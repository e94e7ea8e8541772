"""`usage ingest` and reports of what was ingested and recorded, on a chain."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from royalty import Royalty
from royalty.settings import Settings
from tests.conftest import Anvil, Ran
from tests.usage_world import DAY, NEXT, World, world

pytestmark = pytest.mark.chain

PLATFORM = ("--account", "dev1")


@pytest.fixture
def here(session: Callable[..., Any], folder: Path, anvil: Anvil) -> Iterator[World]:
    with world(session, folder, anvil) as made:
        yield made


def record(here: World, *usage_ids: str, index: int = 0, **options: Any) -> None:
    with here.as_platform().usage.recorder(**options) as recorder:
        for usage_id in usage_ids:
            recorder.record(
                usage_id=usage_id,
                work=here.work(index),
                started_at=f"{DAY}T12:00:00Z",
                watched_seconds=40,
                viewer=usage_id,
            )


def dry_report(here: World) -> Any:
    platform = here.as_platform()
    platform.dry_run = True
    return platform.usage.report(day=DAY)


def test_what_was_recorded_is_reported_once_without_a_log(here: World) -> None:
    record(here, "a", "b")
    usage = here.as_platform().usage
    assert [batch.units["view"] for batch in usage.report(day=DAY).batches] == [2]
    assert usage.report(day=DAY).batches == []
    record(here, "b", "c")
    usage.report(day=DAY)
    assert here.views_on_chain() == [3, 0, 0]


def test_a_report_counts_what_a_live_recorder_has_not_flushed(here: World) -> None:
    usage = here.as_platform().usage
    with usage.recorder() as recorder:
        recorder.record(
            usage_id="a", work=here.work(), started_at=f"{DAY}T12:00:00Z", watched_seconds=40
        )
        dry = dry_report(here)
        assert [batch.units["view"] for batch in dry.batches] == [1]
        assert usage.report(day=DAY).amount_nano == dry.amount_nano
        assert dry_report(here).batches == []
    assert usage.report(day=DAY).batches == []
    assert here.views_on_chain() == [1, 0, 0]


def test_a_log_and_what_was_recorded_count_together(here: World) -> None:
    record(here, "a")
    log = here.log("log.csv", [("a", 0, "view", DAY, 40, "a"), ("b", 0, "view", DAY, 40, "b")])
    here.as_platform().usage.report(log, day=DAY)
    assert here.views_on_chain() == [2, 0, 0]


def test_the_last_of_a_resent_id_counts_in_every_report_of_its_day(here: World) -> None:
    platform = here.as_platform()
    with platform.usage.recorder(resend="last") as recorder:
        for seconds in (5, 70, 30):
            recorder.record(
                usage_id="a",
                work=here.work(),
                kind="excerpt",
                started_at=f"{DAY}T12:00:00Z",
                watched_seconds=seconds,
            )
    (batch,) = platform.usage.report(day=DAY).batches
    assert batch.units["excerpt"] == 70
    log = here.views("log.csv", 0, 2)
    (later,) = platform.usage.report(log, day=DAY).batches
    assert (later.units["excerpt"], later.units["view"]) == (0, 2)


def test_ingest_keeps_the_good_rows_and_lists_the_bad(
    here: World, quick: Callable[..., Ran]
) -> None:
    log = here.log(
        "log.csv",
        [
            ("a", 0, "view", DAY, 40, "ann"),
            ("b", 0, "view", DAY, "many", ""),
            ("c", 0, "view", NEXT, 40, ""),
        ],
    )
    first = quick("usage", "ingest", log, *PLATFORM, exit=1)
    assert (first["rows"], first["kept"], first["known"], first["malformed"]) == (3, 2, 0, 1)
    assert first["malformed_rows"] == [
        {"file": str(log), "line": 3, "reason": "watched_seconds cannot be read"}
    ]
    again = quick("usage", "ingest", log, *PLATFORM, exit=1)
    assert (again["kept"], again["known"]) == (0, 2)
    quick("usage", "report", "--since", DAY, "--until", NEXT, *PLATFORM)
    assert here.views_on_chain() == [1, 0, 0]
    assert here.views_on_chain(NEXT) == [1, 0, 0]


@pytest.mark.parametrize("packed", [False, True])
def test_ingest_reads_the_standard_input_in_any_format(
    here: World, quick: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    native = here.views("log.csv", 2).read_bytes()
    row = f'{{"usage_id": "j", "work": "{here.work()}", "started_at": "{DAY}T01:00:00Z", "watched_seconds": 40}}\n'
    for content, kept in ((native, 2), (row.encode(), 1)):
        data = gzip.compress(content) if packed else content
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert quick("usage", "ingest", "-", *PLATFORM)["kept"] == kept
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert "standard input is empty" in quick("usage", "ingest", "-", *PLATFORM, exit=2).stderr


def test_a_row_that_no_report_can_name_is_refused(here: World, quick: Callable[..., Ran]) -> None:
    log = here.log("log.csv", [("a", 0, "view", "1969-12-31T10:00:00Z", 40, "")])
    found = quick("usage", "ingest", log, *PLATFORM, exit=1)
    assert found["malformed_rows"][0]["reason"] == "started_at lies outside 1970 to 2149"


def test_a_log_without_ids_is_not_ingested_since_other_columns_would_count_it_twice(
    here: World, quick: Callable[..., Ran]
) -> None:
    (here.folder / "columns.toml").write_text('work = "video"\nstarted_at = "at"\n')
    (here.folder / "log.csv").write_text(f"video,at\n{here.work()},{DAY}T01:00:00Z\n")
    refused = quick("usage", "ingest", "log.csv", "--columns", "columns.toml", exit=2)
    assert "without a usage_id are reported, not ingested" in refused.stderr


def test_usage_is_kept_while_no_node_answers(
    here: World, quick: Callable[..., Ran], folder: Path, ledger: dict[str, Any]
) -> None:
    (folder / "royalty.toml").write_text(
        'network = "ours"\n[networks.ours]\nrpc = "http://127.0.0.1:9"\nchain_id = 31337\n'
    )
    dead = {"ROYALTY_RPC": "http://127.0.0.1:9"}
    log, more = here.views("log.csv", 2), here.views("more.csv", 0, 3)
    assert "kept" not in quick("usage", "ingest", log, *PLATFORM, exit=3, env=dead).document
    assert quick("usage", "ingest", log, *PLATFORM)["kept"] == 2
    assert quick("usage", "ingest", more, *PLATFORM, env=dead)["kept"] == 3
    settings = Settings.load(
        account="dev1",
        contract=ledger["royalty"],
        rpc=dead["ROYALTY_RPC"],
        folder=folder,
        environ={},
    )
    with Royalty(settings).usage.recorder() as recorder:
        recorder.record(
            usage_id="r", work=here.work(2), started_at=f"{DAY}T12:00:00Z", watched_seconds=40
        )
    other = ("--account", "dev2")
    quick("usage", "ingest", more, *other, exit=3, env=dead)
    quick("usage", "report", "--day", DAY, *PLATFORM)
    assert here.views_on_chain() == [2, 3, 1]
