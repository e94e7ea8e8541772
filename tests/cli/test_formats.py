"""Logs of other programs on a chain: counted, reported, ingested, converted and reconciled as native ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from royalty.errors import InputError
from royalty.logs.formats import named
from tests.conftest import Anvil, Ran
from tests.royalty.test_format_cloudfront import log as cloudfront_log
from tests.royalty.test_format_cloudfront import request
from tests.royalty.test_format_peertube import action
from tests.usage_world import DAY, World, world

pytestmark = pytest.mark.chain

Run = Callable[..., Ran]


@pytest.fixture
def here(session: Callable[..., Any], folder: Path, anvil: Anvil) -> Iterator[World]:
    with world(session, folder, anvil) as made:
        yield made


def watches(here: World, name: str, *numbers: int) -> Path:
    path = here.folder / name
    start = f"{DAY}T10:00:00.000Z"
    found = [action(number, (0, 40), object=here.work(), startTime=start) for number in numbers]
    path.write_text("".join(json.dumps(one) + "\n" for one in found))
    return path


def jellyfin(here: World) -> Path:
    path = here.folder / "playback"
    path.write_text(f"{DAY} 10:00:00.5\tann\t{here.work()}\tMovie\tF\tDirect\tWeb\tTV\t60\n")
    return path


def test_a_log_of_another_program_is_reported_once(here: World, run: Run) -> None:
    watches(here, "log", 1, 2)
    words = ("--day", DAY, "--account", "dev1")
    assert run("usage", "check", "log", *words)["units"]["view"] == 2
    run("usage", "report", "log", *words)
    assert here.views_on_chain() == [2, 0, 0]
    watches(here, "more", 2, 3)
    run("usage", "report", "more", "--format", "peertube", *words)
    assert here.views_on_chain() == [3, 0, 0]


def test_a_converted_log_is_the_same_usage(here: World, run: Run) -> None:
    watches(here, "log", 1, 2)
    made = run("usage", "convert", "log", "--out", "native.parquet")
    assert (made["rows"], made["malformed"]) == (2, 0)
    platform = here.as_platform()
    platform.usage.report("log", day=DAY)
    assert platform.usage.report("native.parquet", day=DAY).batches == []
    assert here.views_on_chain() == [2, 0, 0]


def test_convert_lists_bad_lines_and_exits_1(here: World, run: Run) -> None:
    path = watches(here, "log", 1)
    path.write_text(path.read_text() + "{}\n")
    made = run("usage", "convert", "log", "--out", "native.parquet", exit=1)
    assert made["malformed_rows"] == [{"file": "log", "line": 2, "reason": "not a WatchAction"}]
    shown = run("usage", "convert", "log", "--out", "native.parquet", json=False, exit=1).stdout
    assert "read as" in shown
    assert "peertube" in shown
    refused = run("usage", "convert", "log", "--out", "x", "--format", "vlc", exit=2)
    assert "known: native" in refused.stderr


def test_rows_are_ingested_with_their_ids_and_refused_without(here: World, run: Run) -> None:
    watches(here, "log", 1, 2)
    words = ("--account", "dev1")
    assert run("usage", "ingest", "log", "--format", "peertube", *words)["kept"] == 2
    assert run("usage", "ingest", "log", *words)["known"] == 2
    piped = run("usage", "ingest", "-", *words, stdin=(here.folder / "log").read_text())
    assert piped["known"] == 2
    jellyfin(here)
    cloudfront_log(here.folder / "requests", request())
    for name in ("playback", "requests"):
        refused = run("usage", "ingest", name, *words, exit=2)
        assert "without a usage_id" in refused.stderr


def test_a_log_without_ids_is_not_read_by_another_format_afterwards(here: World) -> None:
    path = jellyfin(here)
    usage = here.as_platform().usage
    usage.report(path, day=DAY)
    assert here.views_on_chain() == [1, 0, 0]
    with pytest.raises(InputError, match="without ids its rows would be paid again"):
        usage.report(path, day=DAY, format="jellyfin:Europe/Lisbon")
    assert usage.report(path, day=DAY).batches == []
    assert here.views_on_chain() == [1, 0, 0]


def test_made_ids_are_none_of_the_log_so_that_another_depth_is_refused(here: World) -> None:
    lines = [request(9 * at, cs_uri_stem=f"/{here.work()}/{at}.ts", date=DAY) for at in range(10)]
    path = cloudfront_log(here.folder / "requests", *lines)
    rows = "".join(f"/{part},{here.work()}\n" for part in (here.work(), here.work().split("/")[0]))
    (here.folder / "map.csv").write_text("platform_id,work\n" + rows)
    usage = here.as_platform().usage
    usage.report(path, day=DAY, works="map.csv")
    with pytest.raises(InputError, match="without ids its rows would be paid again"):
        usage.report(path, day=DAY, works="map.csv", format="cloudfront:1")
    assert here.views_on_chain() == [1, 0, 0]


def test_the_evidence_names_the_format_and_reconciles_under_it_alone(here: World) -> None:
    stems = [f"/{here.work()}/720p/{at}.ts" for at in range(10)]
    lines = [request(9 * at, cs_uri_stem=stem, date=DAY) for at, stem in enumerate(stems)]
    path = cloudfront_log(here.folder / "requests", *lines)
    (here.folder / "map.csv").write_text(f"platform_id,work\n/{here.work()},{here.work()}\n")
    options = {"works": "map.csv", "evidence": "evidence", "format": "cloudfront:2"}
    here.as_platform().usage.report(path, day=DAY, **options)
    assert here.views_on_chain() == [1, 0, 0]
    folder = here.folder / "evidence"
    manifest = json.loads((folder / "manifest-1.json").read_bytes())
    assert manifest["columns"] == named("cloudfront:2")[0].columns.digest
    (columns,) = folder.glob("columns-*.json")
    assert json.loads(columns.read_bytes())["format"] == "cloudfront:2"
    asked = {"since": DAY, "until": DAY, "platform": here.platform, **options}
    auditor = here.session("dev3")
    found = auditor.reconcile(path, **asked)
    assert found.findings == ()
    assert "--format cloudfront:2" in " ".join(found.basis.command)
    other = auditor.reconcile(path, **{**asked, "format": "cloudfront"})
    assert {row.reason.value for row in other.findings} == {"not_in_log", "unmatched_work"}


def test_an_audit_of_single_plays_reads_the_log_as_it_is_told(here: World, run: Run) -> None:
    stems = [f"/{here.work()}/720p/{at}.ts" for at in range(10)]
    lines = [request(9 * at, cs_uri_stem=stem, date=DAY) for at, stem in enumerate(stems)]
    path = cloudfront_log(here.folder / "requests", *lines)
    (here.folder / "map.csv").write_text(f"platform_id,work\n/{here.work()},{here.work()}\n")
    here.as_platform().usage.report(path, day=DAY, works="map.csv", format="cloudfront:2")
    told = ("--works", "map.csv", "--platform", here.platform, "--format", "cloudfront:2")
    words = ("audit", "sample", 3, "requests", "--seed", "s", "--since", DAY, "--until", DAY)
    found = run(*words, *told)
    assert [(row["work"], row["units"], row["reasons"]) for row in found["rows"]] == [
        (here.work(), 1, [])
    ]
    assert run(*words, *told[:-2], exit=0)["drawn"] == 0, "as its content says, it is of no work"
    start = found["rows"][0]["started_at"]
    here.log("played.csv", [("mine", 0, "view", start, 60, "auditor")])
    seek = ("audit", "seed", "--check", "played.csv", "requests", "--within", 5)
    assert run(*seek, *told)["states"] == {"paid": 1}
    assert run(*seek, *told[:-2], exit=1)["states"] == {"not_logged": 1}
    for asked in (words, seek):
        refused = run(*asked, *told[:-1], "vlc", exit=2)
        assert "known: native" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


def test_sums_are_checked_apart_and_never_reported(here: World, run: Run) -> None:
    lines = ["date,channel_id,video_id,views,watch_time_minutes"]
    lines += [f"{DAY},c,{here.work(at)},{views},1" for at, views in ((0, 7), (1, 5), (0, 2))]
    (here.folder / "channel.csv").write_text("\n".join([*lines, f"{DAY},c,none,1,1"]) + "\n")
    words = ("channel.csv", "--day", DAY, "--account", "dev1")
    found = run("usage", "check", *words)
    assert (found["rows"], found["amount_nano"]) == (0, "0")
    assert found["aggregates"]["units"] == {"view": 14, "download": 0, "excerpt": 0}
    assert found["aggregates"]["excluded"]["unmatched_work"] == 1
    assert [row["units"] for row in found["aggregates"]["works"]] == [9, 5]
    shown = run("usage", "check", *words, json=False).stdout
    assert "rules 2, 5, 6 and 7 do not apply" in shown
    assert "no work of an accepted catalogue: none" in shown
    for verb in ("report", "ingest"):
        wanted = words if verb == "report" else ("channel.csv", "--account", "dev1")
        assert "cannot be reported" in run("usage", verb, *wanted, exit=2).stderr
    assert here.views_on_chain() == [0, 0, 0]
