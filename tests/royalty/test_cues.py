"""Cue sheets: watched seconds of a citing work as excerpts of the cited ones, never more than were watched."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import pytest

from royalty import logs
from royalty.errors import InputError
from royalty.logs.convert import Converted, convert
from royalty.logs.cues import read_cues
from royalty.usage import Kind
from tests.royalty.counted import DAY
from tests.royalty.formats_help import count_all
from tests.royalty.test_format_peertube import HOST, action, log

FIELDS = ("usage_id", "work", "started_at", "watched_seconds", "viewer", "sections")
SHEET = [("1/0", "10", "20", "2/0"), ("1/0", "60", "5.5", "3/0"), ("5/0", "0", "9", "2/0")]


def sheet(path: Path, *cues: tuple[str, str, str, str]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("work", "start", "duration", "cited"), *cues])
    return path


def watches(path: Path, *rows: tuple[str, str, str]) -> Path:
    """A native log of views: (id, work, sections)."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        for usage_id, work, sections in rows:
            writer.writerow([usage_id, work, f"{DAY}T10:00:00Z", "100", f"v{usage_id}", sections])
    return path


def cited(tmp_path: Path, log_file: Path, cues: Path) -> tuple[Converted, dict[str, str]]:
    """What was converted, and the seconds of each excerpt by its id and work."""
    from pyarrow import parquet

    out = tmp_path / "native.parquet"
    made = convert(logs.find_sources([log_file]), out, cues=read_cues(cues))
    rows = parquet.read_table(out).to_pylist()
    found = {
        f"{row['usage_id']} {row['work']}": row["watched_seconds"]
        for row in rows
        if row["kind"] == "excerpt"
    }
    return made, found


def test_what_was_watched_of_a_cue_is_an_excerpt_of_the_cited_work(tmp_path):
    path = watches(
        tmp_path / "log.csv",
        ("a", "1/0", "0-100"),
        ("b", "1/0", "0-12.25 25-61.5 11-13"),
        ("c", "1/0", "30-60"),
        ("d", "4/0", "0-100"),
        ("e", "2/0", "0-100"),
    )
    made, found = cited(tmp_path, path, sheet(tmp_path / "cues.csv", *SHEET))
    assert found == {
        "a#1 2/0": "20",
        "a#2 3/0": "5.5",
        "b#1 2/0": "8",  # 10 to 13, which was seen twice in part, and 25 to 30
        "b#2 3/0": "1.5",
    }
    assert (made.rows, made.excerpts) == (5, 4)


def test_excerpts_count_by_the_second_and_their_works_views_as_before(tmp_path):
    path = watches(tmp_path / "log.csv", ("a", "1/0", "0-100"), ("b", "1/0", "0-10.9"))
    cited(tmp_path, path, sheet(tmp_path / "cues.csv", *SHEET))
    found = count_all(tmp_path / "native.parquet")
    units = {(f"{row.catalogue}/{row.index}", row.kind): row.units for row in found.units}
    assert units == {
        ("1/0", Kind.VIEW): 2,
        ("1/1", Kind.EXCERPT): 20,  # the works of a log are numbered in their order
        ("1/2", Kind.EXCERPT): 5,
    }
    assert found.excluded["below_threshold"] == 1  # 0.9 s of b's excerpt


def test_a_peertube_log_has_its_sections_by_itself(tmp_path):
    path = log(tmp_path / "watch.jsonl", action(1, (0, 15), (12, 40)), action(2, (50, 90)))
    film, song = f"{HOST}/videos/watch/film", f"{HOST}/videos/watch/song"
    _, found = cited(tmp_path, path, sheet(tmp_path / "c.csv", (film, "10", "20", song)))
    assert found == {f"00000000-0000-4000-8000-000000000001#1 {song}": "20"}


def test_no_watch_comes_to_more_excerpt_seconds_than_were_watched(tmp_path):
    dice = random.Random(7)
    rows, cues, at = [], [], 0
    for number in range(40):
        length = dice.randint(1, 20)
        cues.append(("1/0", str(at), str(length), f"{2 + number % 3}/0"))
        at += length + dice.choice((0, 0, 3))
    for number in range(60):
        sections = [sorted((dice.randint(0, 500), dice.randint(0, 500))) for _ in range(4)]
        rows.append((f"u{number}", "1/0", " ".join(f"{a}-{b}" for a, b in sections)))
    _, found = cited(
        tmp_path, watches(tmp_path / "log.csv", *rows), sheet(tmp_path / "c.csv", *cues)
    )
    assert found
    for usage_id, _, text in rows:
        sections = [tuple(map(int, part.split("-"))) for part in text.split(" ")]
        seconds = {second for start, end in sections for second in range(start, end)}
        of_cues = {
            second
            for _, start, length, _ in cues
            for second in range(int(start), int(start) + int(length))
        }
        paid = sum(float(s) for key, s in found.items() if key.startswith(f"{usage_id}#"))
        assert paid == len(seconds & of_cues) <= len(seconds)


@pytest.mark.parametrize(
    ("cues", "why"),
    [
        ([("1/0", "0", "10", "2/0"), ("1/0", "9.5", "2", "3/0")], r"line 3: .*overlaps cue 1"),
        ([("1/0", "0", "10", "1/0")], "line 2: .*does not cite itself"),
        ([("1/0", "0", "0", "2/0")], "line 2: .*duration is 0"),
        ([("1/0", "-1", "5", "2/0")], "line 2: .*not a number of seconds"),
        ([("1/0", "0", "5", "")], "line 2: .*cited"),
    ],
)
def test_a_sheet_that_cannot_be_is_refused_by_its_line(tmp_path, cues, why):
    with pytest.raises(InputError, match=why):
        read_cues(sheet(tmp_path / "cues.csv", *cues))


def test_a_log_without_sections_is_refused(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(f"usage_id,work,started_at,watched_seconds\na,1/0,{DAY}T10:00:00Z,50\n")
    sources: list[Any] = logs.find_sources([path])
    with pytest.raises(InputError, match="sections"):
        convert(sources, tmp_path / "o.parquet", cues=read_cues(sheet(tmp_path / "c", *SHEET)))
    assert not (tmp_path / "o.parquet").exists()
