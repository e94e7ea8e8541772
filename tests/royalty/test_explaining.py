"""What happened to one row: the engine's verdict, with the numbers that it went by."""

from __future__ import annotations

import pytest

from royalty import logs
from royalty.logs import Columns, Policy, robots
from royalty.logs.explaining import explain
from royalty.logs.policy import REASONS
from royalty.logs.singles import draw
from tests.royalty.counted import DAY, EVE, count, matcher, period
from tests.royalty.counted import row as plain
from tests.royalty.counted import write as write_plain
from tests.royalty.test_steps import EVERY, ROBOTS, step, write


@pytest.fixture(autouse=True)
def list_of_robots(monkeypatch):
    monkeypatch.setattr(robots, "installed", lambda: ROBOTS)


def told(path, usage_id="a", policy=None, **options):
    stories, read = explain(
        logs.find_sources(path if isinstance(path, list) else [path]),
        usage_id,
        options.pop("period", period()),
        matcher(),
        policy or Policy(),
    )
    assert sum(source.rows for source in read)
    return stories


def last(stories) -> tuple[str, str, str]:
    (story,) = stories
    return story.rules[-1]


def test_a_qualified_row_passes_every_rule_in_order(tmp_path):
    (story,) = told(write_plain(tmp_path / "log.csv", [plain()]))
    assert [rule.rule for rule in story.rules] == list(REASONS)
    assert {rule.outcome for rule in story.rules} == {"passed"}
    assert (story.reason, story.line, story.work) == (None, 2, "film")
    assert story.unit[1:] == (1, 0, 0, 1)


def test_every_step_that_is_on_is_told_in_order(tmp_path):
    (story,) = told(write(tmp_path, [step()]), policy=Policy.of(EVERY))
    found = [rule.rule for rule in story.rules]
    assert [name for name in found if name != "watched"] == list(Policy.of(EVERY).reasons)
    assert found.index("watched") == found.index("below_threshold") - 1


@pytest.mark.parametrize(
    ("cells", "rule", "detail"),
    [
        ({"watched_seconds": "soon"}, "malformed", "watched_seconds cannot be read"),
        ({"work": "unknown"}, "unmatched_work", "'unknown' is no work of an accepted catalogue"),
        ({"watched_seconds": 12}, "below_threshold", "watched 12 s < 30 s (minimum_seconds)"),
        (
            {"watched_seconds": "9.9", "duration_seconds": 20},
            "below_threshold",
            "watched 9.9 s < 10 s (short_fraction: 0.5 of 20 s)",
        ),
        (
            {"watched_seconds": "0.5", "kind": "excerpt"},
            "below_threshold",
            "watched 0.5 s < 1 s (an excerpt's second)",
        ),
    ],
)
def test_the_rule_that_excludes_ends_the_story_with_its_numbers(tmp_path, cells, rule, detail):
    stories = told(write_plain(tmp_path / "log.csv", [plain(**cells), plain("b")]))
    assert last(stories) == (rule, "excluded", detail)
    assert stories[0].unit is None


@pytest.mark.parametrize(
    ("cells", "rule", "detail"),
    [
        ({"status": "404"}, "status_code", "status 404; accepted: 200"),
        ({"status": ""}, "status_code", "status missing or no code; accepted: 200"),
        (
            {"user_agent": "Wget"},
            "robot",
            "its user agent is on the list of counter-robots 1",
        ),
        ({"uploader": "viewer of a"}, "self_view", "its viewer is the uploader"),
        ({"autoplay": "true"}, "autoplay", "it started by itself"),
        ({"territory": "US"}, "territory", "its territory is not one of DE"),
        ({"sections": "0-5"}, "below_threshold", "watched 5 s < 30 s (minimum_seconds)"),
    ],
)
def test_the_step_that_excludes_ends_the_story_with_what_it_saw(tmp_path, cells, rule, detail):
    stories = told(write(tmp_path, [step(**cells)]), policy=Policy.of(EVERY))
    assert last(stories) == (rule, "excluded", detail)


def test_changed_watched_time_is_told_with_both_numbers(tmp_path):
    rows = [step(sections="0-50 40-90", watched_seconds=600, duration_seconds=70)]
    (story,) = told(write(tmp_path, rows), policy=Policy.of(EVERY))
    (rule,) = [rule for rule in story.rules if rule.rule == "watched"]
    assert rule[1:] == (
        "changed",
        "watched 600 s; the union of its sections is 90 s; the work lasts 70 s; 70 s count",
    )


def test_a_duplicate_names_the_row_that_counts_or_the_day_before(tmp_path):
    path = write_plain(tmp_path / "log.csv", [plain(at="10:00:01"), plain(at="10:00:00")])
    first, second = told(path)
    assert first.rules[-1] == (
        "duplicate",
        "excluded",
        "of the rows with its id on 2026-11-19, line 3 counts",
    )
    assert second.rules[1][1:] == (
        "passed",
        "no row of 2026-11-18 has its id; it counts, and 1 other row not",
    )
    eve, today = told(write_plain(tmp_path / "log.csv", [plain(day=EVE), plain()]))
    assert eve.reason == "outside_period"
    assert eve.rules[-1].detail == "it starts on 2026-11-18 (UTC); asked for: 2026-11-19"
    assert today.rules[-1].detail == "the same id on 2026-11-18: line 2"


def test_a_double_click_names_the_row_that_counts_instead(tmp_path):
    rows = [
        plain("a", viewer="v"),
        plain("b", "10:00:10", viewer="v"),
        plain("c", "10:00:41", viewer="v"),
    ]
    path = write_plain(tmp_path / "log.csv", rows)
    assert last(told(path)) == (
        "double_click",
        "excluded",
        "the next row of its viewer, line 3, starts 10 s later <= 30 s",
    )
    (story,) = told(path, "b")
    assert story.rules[5].detail == "the next row of its viewer, line 4, starts 31 s later > 30 s"


def test_a_repeat_names_the_row_that_counts_and_the_cap_the_place(tmp_path):
    times = ["10:00:00", "10:20:00", "10:40:00", "11:00:01", "12:30:00"]
    rows = [
        step(name, at, viewer="v", session="s") for name, at in zip("abcde", times, strict=True)
    ]
    policy = Policy.of({**EVERY, "cap": {"per_viewer_work_day": 2}})
    path = write(tmp_path, rows)
    assert last(told(path, "c", policy)) == (
        "repeat_in_window",
        "excluded",
        "it starts 2400 s after line 2 of its session, which counts <= 3600 s",
    )
    assert last(told(path, "e", policy)) == (
        "over_cap",
        "excluded",
        "row 3 of its viewer, work, kind and day; 2 count",
    )


def test_an_id_that_is_in_no_row_has_no_story(tmp_path):
    assert told(write_plain(tmp_path / "log.csv", [plain("007")]), "7") == []


def test_the_story_of_a_row_is_what_the_count_says(tmp_path):
    rows = [
        step(name, f"1{at}:00:00", viewer="v" if at % 2 else "w", session="s", **cells)
        for at, (name, cells) in enumerate(
            zip(
                "abcdefg",
                [{}, {"status": "500"}, {}, {"sections": ""}, {}, {}, {"autoplay": ""}],
                strict=True,
            )
        )
    ]
    path, policy = write(tmp_path, rows), Policy.of(EVERY)
    found = [told(path, name, policy)[0].reason for name in "abcdefg"]
    counted = count(path, policy=policy)
    assert {reason: n for reason, n in counted.excluded.items() if n} == {
        reason: found.count(reason) for reason in set(found) if reason
    }
    assert found.count(None) == counted.qualified


def drawn(path, policy, number=9):
    found = draw(
        logs.find_sources([path]), period(), matcher(), policy, seed="s", number=number
    )  # fmt: skip
    return {row.line: rules for row, rules in zip(found.rows, found.rules, strict=True)}


def test_a_drawn_row_is_told_by_every_rule_and_step_as_it_is_explained(tmp_path):
    policy = Policy.of(EVERY)
    rows = [
        step(sections="0-50 40-90", watched_seconds=600, duration_seconds=70),
        step("b", "11:00:00", viewer="other"),
        step("b", "11:00:01", viewer="other"),
        step("c", "13:00:01", viewer="other"),
        step("bad", status="404"),
    ]
    path = write(tmp_path, rows)
    found = drawn(path, policy)
    assert sorted(found) == [2, 3, 5]
    names = [rule.rule for rule in found[2]]
    assert [name for name in names if name != "watched"] == list(policy.reasons)
    assert names.index("watched") == names.index("below_threshold") - 1
    for usage_id in ("a", "b", "c"):
        for story in told(path, usage_id, policy):
            if story.reason is None:
                assert found[story.line] == story.rules
    assert dict(rule[::2] for rule in found[3])["duplicate"].endswith("1 other row not")
    assert "after line 3 of its session" in dict(rule[::2] for rule in found[5])["repeat_in_window"]


def test_a_drawn_row_of_a_log_without_ids_is_told_by_what_it_is(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(
        "work,started_at,watched_seconds,viewer\n"
        f"film,{DAY}T10:00:00Z,40,ann\n"
        f"film,{DAY}T10:00:00Z,50,ann\n"
        f"film,{DAY}T10:00:00Z,40,bob\n"
    )
    names = ("work", "started_at", "watched_seconds", "viewer")
    columns = Columns.of({name: name for name in names})
    sources = logs.find_sources([path], columns)
    found = draw(sources, period(), matcher(), Policy(), seed="s", number=9)
    said = {
        row.line: dict(rule[::2] for rule in rules)["duplicate"]
        for row, rules in zip(found.rows, found.rules, strict=True)
    }
    assert sorted(said) == [2, 4]
    assert said[2].endswith("it counts, and 1 other row not")
    assert said[4] == "no row of 2026-11-18 has its id"


def test_a_row_is_told_beside_rows_of_its_session_whoever_saw_them(tmp_path):
    policy = Policy.of({"repeat": {"seconds": 3600}})
    rows = [
        plain(viewer="ann", session="s"),
        plain("b", "12:00:00", viewer="bob", session="s"),
        plain("c", "12:30:00", viewer="cy", session="s"),
    ]
    path = write(tmp_path, rows)
    assert [rule.detail for rule in drawn(path, policy)[3] if rule.rule == "repeat_in_window"] == [
        "it starts 7200 s after line 2 of its session, which counts > 3600 s"
    ]
    assert last(told(path, "c", policy)) == (
        "repeat_in_window",
        "excluded",
        "it starts 1800 s after line 3 of its session, which counts <= 3600 s",
    )
