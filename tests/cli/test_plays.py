"""`royalty audit seed` and `royalty audit sample` as processes."""

from __future__ import annotations

import csv
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
PERIOD = ("--since", DAYS[0], "--until", DAYS[-1])


@pytest.fixture
def audit(story: Story, tmp_path: Path) -> Audit:
    """`royalty audit ...` in an empty folder, as dev3."""
    folder = tmp_path / "auditor"
    folder.mkdir()

    def run(*arguments: object, **options: Any) -> Ran:
        return story.run("audit", *arguments, cwd=folder, account="dev3", **options)

    return run


def test_a_plan_is_written_without_a_node_and_told(audit: Audit, tmp_path: Path) -> None:
    out = tmp_path / "plan.csv"
    words = ("seed", "--out", out, "--work", "film-0", "--work", "1/1", *PERIOD)
    told = audit(*words, "--plays", 7, "--seed", "s", "--rpc", "http://127.0.0.1:9")
    assert told.document == {
        "out": str(out),
        "seed": "s",
        "plays": 7,
        "since": DAYS[0],
        "until": DAYS[-1],
        "works": ["film-0", "1/1"],
    }
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    assert {row["started_at"][:10] for row in rows} <= set(DAYS)
    assert "is there already" in audit(*words, exit=2).stderr
    fresh = audit(*words[:2], tmp_path / "other.csv", *words[3:], json=False).stdout
    assert "keep both to yourself" in fresh


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "either --out"),
        (["--out", "a.csv", "--check", "b.csv"], "either --out"),
        (["--out", "a.csv", "--work", "1/0"], "both --since and --until"),
        (["--out", "a.csv", *PERIOD], "no work was given"),
        (["--out", "a.csv", "--work", "1/0", "--watched", "5", *PERIOD], "would not count"),
        (["--check", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_bad_words_are_one_clear_line(audit: Audit, words: list[str], message: str) -> None:
    told = audit("seed", *words, exit=2)
    assert message in told.stderr
    assert len(told.stderr.splitlines()) == 1


def test_plays_that_are_in_the_log_are_found_and_others_exit_1(
    story: Story, audit: Audit, tmp_path: Path
) -> None:
    """Rows of the log itself stand for what an auditor played."""
    rows = [row for row in rows_of_the_log() if str(row[0]).endswith(("-v1", "-d", "-e"))]
    played = write_log(tmp_path / "played.csv", rows)
    told = audit("seed", "--check", played, story.log, "--works", story.works)
    assert told["states"] == {"paid": 9}
    assert {row["found_by"] for row in told["rows"]} == {"id"}
    (batch,) = told["rows"][0]["batches"]
    assert (batch["as"], batch["amount"]) == ("direct", "0.006")
    alone = audit("seed", "--check", played, "--works", story.works, json=False).stdout
    assert "only the log can say" in alone
    other = ["mine", "film-1", "view", f"{DAYS[1]}T17:00:00Z", 60, "auditor"]
    lost = write_log(tmp_path / "lost.csv", [*rows, other])
    out = tmp_path / "seeded-result.csv"
    words = ("seed", "--check", lost, story.log, "--works", story.works)
    told = audit(*words, "--csv", out, exit=1)
    assert told["states"] == {"paid": 9, "not_logged": 1}
    shown = audit(*words, json=False, exit=1).stdout
    assert "1 of 10 plays are not where they should be." in shown
    assert max(map(len, shown.splitlines())) <= 80
    with out.open(newline="") as file:
        assert [r["state"] for r in csv.DictReader(file)].count("not_logged") == 1


def test_a_sample_is_traced_in_json_csv_and_words(
    story: Story, audit: Audit, tmp_path: Path
) -> None:
    out = tmp_path / "sample.csv"
    words = ("sample", 4, story.log, "--seed", "x", *PERIOD, "--works", story.works)
    told = audit(*words, "--evidence", story.evidence, "--csv", out)
    assert (told["qualified"], told["drawn"], told["seed"]) == (24, 4, "x")
    for row in told["rows"]:
        assert row["reasons"] == []
        (batch,) = row["batches"]
        assert (batch["counted_log"], batch["allocation"]) == (True, None)
        assert int(row["amount_nano"]) == row["units"] * int(row["price_nano"])
    with out.open(newline="") as file:
        assert [row["usage_id"] for row in csv.DictReader(file)] == [
            row["usage_id"] for row in told["rows"]
        ]
    shown = audit(*words, json=False).stdout
    assert "Each of 4 drawn rows stands on the chain" in shown
    assert "nobody has allocated it yet" in shown
    extra = [f"{DAYS[1]}-x", "film-0", "download", f"{DAYS[1]}T15:00:00Z", "", "p9"]
    log = write_log(tmp_path / "log.csv", [*rows_of_the_log(), extra])
    told = audit("sample", 100, log, "--seed", "x", *PERIOD, "--works", story.works, exit=1)
    wrong = {row["usage_id"]: row["reasons"] for row in told["rows"] if row["reasons"]}
    assert wrong == {f"{DAYS[1]}-x": ["missing_on_chain"]}
    assert "1 to 10,000" in audit("sample", 0, *words[2:], exit=2).stderr
