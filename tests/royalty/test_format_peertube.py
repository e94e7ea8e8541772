"""PeerTube's WatchActions: the union of what was watched, and no viewer."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from royalty.logs.lines import MAX_LINE, TOO_LONG
from tests.royalty.formats_help import bad, count_all, rows, write

HOST = "https://films.example"


def action(number: int = 1, *sections: tuple[Any, Any], **changes: Any) -> dict[str, Any]:
    return {
        "id": f"{HOST}/videos/local-viewer/{number}",
        "type": "WatchAction",
        "uuid": f"00000000-0000-4000-8000-{number:012}",
        "object": f"{HOST}/videos/watch/film",
        "startTime": "2026-11-19T10:00:00.000Z",
        "endTime": "2026-11-19T10:05:00.000Z",
        "actionStatus": "CompletedActionStatus",
        "duration": "PT300S",
        "watchSections": [{"startTimestamp": a, "endTimestamp": b} for a, b in sections],
        **changes,
    }


def log(path: Path, *actions: dict[str, Any]) -> Path:
    return write(path, *(json.dumps(one) for one in actions))


@pytest.mark.parametrize(
    ("sections", "watched_us"),
    [
        ([(0, 30)], 30_000_000),
        ([(0, 20), (10, 30)], 30_000_000),
        ([(50, 60), (0, 10), (0, 10), (5, 8)], 20_000_000),
        ([(0, 10), (10, 20)], 20_000_000),
        ([(295, 300)], 5_000_000),
        ([(0.1, 0.3), (0.25, 0.5)], 400_000),
        ([(0, 0)], 0),
        ([], 0),
    ],
)
def test_watched_is_the_union_of_the_sections_never_the_last_position(
    tmp_path, sections, watched_us
):
    (row,) = rows(log(tmp_path / "log", action(1, *sections)))
    assert row["watched_us"] == watched_us


def test_a_row_has_the_uuid_the_video_and_the_start_but_no_viewer_and_no_duration(tmp_path):
    (row,) = rows(log(tmp_path / "log", action(7, (0, 40))))
    assert row["usage_id"].endswith("000000000007")
    assert row["work"] == f"{HOST}/videos/watch/film"
    assert row["started_us"] == 1_795_082_400_000_000
    assert row["identity"] is None
    assert row["duration_us"] is None  # `duration` of a WatchAction is the time that was watched


def test_the_length_of_the_video_counts_where_the_export_gives_it(tmp_path):
    (row,) = rows(log(tmp_path / "log", action(1, (0, 11), videoDuration=20)))
    assert row["duration_us"] == 20_000_000
    assert count_all(log(tmp_path / "log", action(1, (0, 11), videoDuration=20))).qualified == 1
    assert count_all(log(tmp_path / "log", action(1, (0, 11)))).qualified == 0


def test_rules_6_and_7_are_said_not_to_apply(tmp_path):
    found = count_all(log(tmp_path / "log", *(action(number, (0, 40)) for number in range(30))))
    assert (found.qualified, found.without_identity) == (30, 30)
    assert found.excluded["double_click"] == found.excluded["over_cap"] == 0


def test_the_same_watch_from_another_file_is_a_duplicate(tmp_path):
    first = log(tmp_path / "a", action(1, (0, 40)))
    second = log(tmp_path / "b", action(1, (0, 40)), action(2, (0, 40)))
    found = count_all(first, second)
    assert (found.qualified, found.excluded["duplicate"]) == (2, 1)


def test_an_activity_that_creates_a_watch_and_older_names_of_fields_are_read(tmp_path):
    old = action(1)
    old["identifier"], old["_watchSections"] = old.pop("uuid"), old.pop("watchSections")
    old["_watchSections"] = [{"startTimestamp": 0, "endTimestamp": 31}]
    create = {"type": "Create", "actor": HOST, "object": action(2, (0, 32))}
    found = rows(log(tmp_path / "log", create, old))
    assert [row["watched_us"] for row in found] == [32_000_000, 31_000_000]


def test_a_bad_line_costs_itself_and_says_why(tmp_path):
    path = tmp_path / "log.gz"
    lines: list[bytes] = [
        json.dumps(action(1, (0, 40))).encode(),
        json.dumps(action(2, (0, 40))).encode()[:-30],
        b'{"type": "View"}',
        b"[" * 200_000,
        b"[" * 100_000,
        json.dumps(action(3, (0, 40))).replace("film", "f\xff").encode("latin-1"),
        json.dumps(action(4, (20, 10))).encode(),
        json.dumps(action(5, (0, "10"))).encode(),
        json.dumps(action(6, (0, 10), uuid=7)).encode(),
        json.dumps(action(7, (0, 10), watchSections=None)).encode(),
        json.dumps(action(8, (0, 10), watchSections=[3])).encode(),
        json.dumps(action(9, (-1, 10))).encode(),
        b'{"type": "WatchAction", "watchSections": [{"startTimestamp": 0, "endTimestamp": 1e999999}]}',
        b'{"type": "WatchAction", "watchSections": [{"startTimestamp": 0, "endTimestamp": NaN}]}',
        json.dumps(action(10, (0, 10), startTime="2026-11-19 10:00:00")).encode(),
        b"",
        json.dumps(action(11, (0, 40))).encode(),
    ]
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    assert max(map(len, lines)) > MAX_LINE
    assert bad(path) == [
        (2, "broken JSON"),
        (3, "not a WatchAction"),
        (4, TOO_LONG),
        (5, "broken JSON"),
        (6, "not UTF-8"),
        (7, "a watch section ends before it starts"),
        (8, "endTimestamp is not a number of seconds"),
        (9, "uuid is neither text nor a number"),
        (10, "watched_seconds is missing"),
        (11, "watchSections is not a list of sections"),
        (12, "startTimestamp is not a number of seconds"),
        (13, "endTimestamp is not a number of seconds"),
        (14, "broken JSON"),
        (15, "started_at cannot be read"),
    ]
    found = count_all(path)
    assert (found.rows, found.qualified, found.excluded["malformed"]) == (16, 2, 14)
