"""`royalty audit evidence` as a process: a folder of evidence, honest, spoilt, and hostile."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli import test_reconcile
from tests.cli.test_reconcile import DAYS, Story, rows_of_the_log, write_log
from tests.conftest import Ran

pytestmark = pytest.mark.chain
story = test_reconcile.story
Audit = Callable[..., Ran]


@pytest.fixture
def place(story: Story, tmp_path: Path) -> Path:
    """A copy of the story's evidence that a test may spoil."""
    return Path(shutil.copytree(story.evidence, tmp_path / "evidence"))


@pytest.fixture
def audit(story: Story, tmp_path: Path) -> Audit:
    """`royalty audit evidence` in an empty folder, as dev3."""
    folder = tmp_path / "auditor"
    folder.mkdir()

    def run(*arguments: object, **options: Any) -> Ran:
        return story.run("audit", "evidence", *arguments, cwd=folder, account="dev3", **options)

    return run


def flaws(told: Ran) -> list[tuple[int, str, str]]:
    return [(row["batch"], row["what"], row["name"]) for row in told["findings"]]


def test_honest_evidence_holds_with_its_log_and_as_far_as_can_be_seen_without(
    story: Story,
    audit: Audit,
    place: Path,
) -> None:
    told = audit(place, story.log)
    assert told["findings"] == []
    assert (told["platform"], told["logs_given"]) == (story.platform, True)
    assert {one["recounted"] for one in told["batches"]} == {True}
    assert {one["sources_at_hand"] for one in told["batches"]} == {1}
    assert len(told["batches"]) == 3
    alone = audit(place)
    assert alone["findings"] == []
    assert (alone["logs_given"], {one["recounted"] for one in alone["batches"]}) == (False, {None})
    shown = audit(place, story.log, json=False).stdout
    assert "every count made again" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "give its logs" in audit(place, json=False).stdout


def test_only_the_batches_of_the_days_are_looked_at(
    story: Story,
    audit: Audit,
    place: Path,
) -> None:
    told = audit(place, story.log, "--since", DAYS[1], "--until", DAYS[1])
    assert [one["day"] for one in told["batches"]] == [DAYS[1]]
    assert "no platform has reported" in audit(place, "--since", "2026-05-01", exit=2).stderr
    assert "is no folder" in audit(place / "none", exit=2).stderr
    assert "nowhere.csv" in audit(place, "nowhere.csv", exit=2).stderr
    nobody = "0x" + "12" * 20
    assert "has reported no usage" in audit(place, "--platform", nobody, exit=2).stderr


def test_the_same_log_compressed_and_renamed_is_the_same_log(
    story: Story,
    audit: Audit,
    place: Path,
    tmp_path: Path,
) -> None:
    import gzip

    other = tmp_path / "another name.csv.gz"
    other.write_bytes(gzip.compress(story.log.read_bytes()))
    assert audit(place, other)["findings"] == []


def test_each_flaw_is_a_row_with_what_is_expected_and_what_is_there(
    audit: Audit,
    place: Path,
    tmp_path: Path,
) -> None:
    log = write_log(tmp_path / "log.csv", list(reversed(rows_of_the_log())))
    (place / "manifest-2.json").unlink()
    (policy,) = place.glob("policy-*.json")
    policy.write_text(policy.read_text().replace('"30"', '"31"'))
    told = audit(place, log, exit=1)
    names = json.loads((place / "manifest-1.json").read_text())
    source = names["sources"][0]["sha256"]
    assert flaws(told) == [
        (1, "document_differs", "policy"),
        (1, "source_missing", source),
        (2, "manifest_missing", "manifest-2.json"),
        (3, "document_differs", "policy"),
        (3, "source_missing", source),
    ]
    first = told["findings"][0]
    assert set(first) == {
        *("reason", "platform", "batch", "day", "what", "name", "expected", "found"),
    }
    assert (first["reason"], first["expected"]) == ("evidence_mismatch", names["policy"])
    assert told["logs_not_named"] == [str(log)]
    shown = audit(place, log, json=False, exit=1).stdout
    assert "The evidence of 3 of 3 batches does not hold." in shown
    assert "is named by no manifest" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_hostile_folder_is_found_out_and_harms_nobody(
    story: Story,
    audit: Audit,
    place: Path,
    tmp_path: Path,
) -> None:
    """A pipe that never ends, a link out of the folder, an endless file; none is read."""
    secret = tmp_path / "secret"
    secret.write_text("of the auditor's own")
    (place / "manifest-1.json").unlink()
    os.mkfifo(place / "manifest-1.json")
    (place / "manifest-2.json").unlink()
    (place / "manifest-2.json").symlink_to(secret)
    with (place / "manifest-3.json").open("wb") as file:
        file.truncate(2**33)
    os.mkfifo(place / "tally-1-0.parquet")
    told = audit(place, story.log, exit=1, timeout=60)
    assert [(row["batch"], row["what"]) for row in told["findings"]] == [
        (number, "manifest_unreadable") for number in (1, 2, 3)
    ]
    said = [row["found"] for row in told["findings"]]
    assert "no plain file" in said[0]
    assert "leads out of the folder" in said[1]
    assert "larger than 64 MiB" in said[2]
    assert "auditor's own" not in told.stdout


def test_a_document_that_leads_out_of_the_folder_is_not_followed(
    story: Story,
    audit: Audit,
    place: Path,
    tmp_path: Path,
) -> None:
    (path,) = place.glob("works-*.csv")
    kept = path.rename(tmp_path / "map.csv")
    path.symlink_to(kept)
    told = audit(place, story.log, exit=1)
    assert {(row["what"], row["name"]) for row in told["findings"]} == {
        ("document_unreadable", "map")
    }
    assert {one["recounted"] for one in told["batches"]} == {None}
