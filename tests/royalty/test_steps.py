"""The further steps of a policy, a sentence at a time, and the policies that come with the package."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path

import pytest

from royalty import logs
from royalty.errors import InputError
from royalty.logs import Policy, robots
from royalty.logs.policy import REASONS
from royalty.logs.robots import RobotList
from royalty.usage import Kind
from tests.royalty.counted import DAY, HEADER, MORROW, count, period, row

STEP_HEADER = (*HEADER, "sections", "status", "user_agent", "uploader", "autoplay", "territory")
ROBOTS = RobotList("1", b"bot\n^.?$\nWget\n")
EVERY = {
    "watched": {"sections": True, "at_most_duration": True},
    "status": {"accepted": [200]},
    "robots": {"version": "1", "sha256": ROBOTS.sha256},
    "own_plays": {"exclude": True},
    "autoplay": {"exclude": True},
    "territory": {"only": ["DE"]},
    "repeat": {"seconds": 3600},
}


@pytest.fixture(autouse=True)
def list_of_robots(monkeypatch):
    monkeypatch.setattr(robots, "installed", lambda: ROBOTS)


def step(usage_id: str = "a", at: str = "10:00:00", **cells) -> dict[str, str]:
    """A row that every step lets pass, save what is named otherwise."""
    good = {
        "sections": "0-60",
        "status": "200",
        "user_agent": "Firefox",
        "uploader": "director",
        "autoplay": "false",
        "territory": "DE",
    }
    return row(usage_id, at, **{**good, **cells})


def write(folder: Path, rows: list[dict[str, str]], header=STEP_HEADER) -> Path:
    path = folder / "log.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def reasons(folder: Path, rows: list[dict[str, str]], **sections) -> list[str]:
    listed = folder / "excluded.csv"
    count(write(folder, rows), policy=Policy.of(sections), excluded_to=listed)
    with listed.open(newline="", encoding="utf-8") as file:
        found = {int(line["line"]): line["reason"] for line in csv.DictReader(file)}
    return [found.get(line, "qualified") for line in range(2, len(rows) + 2)]


# off by default


def test_a_policy_that_switches_no_step_on_looks_at_no_column_of_theirs(tmp_path):
    bad = dict.fromkeys(STEP_HEADER[len(HEADER) :], "?")
    assert reasons(tmp_path, [step(**bad)]) == ["qualified"]


def test_a_column_that_no_step_asks_for_is_not_kept(tmp_path):
    with logs.engine() as con:
        logs.read_rows(con, logs.find_sources([write(tmp_path, [step()])]))
        (kept,) = con.execute(
            "SELECT union_us, status, own, autoplay, territory, robot, session FROM rows"
        ).fetchall()
    assert kept == (None,) * 7


def test_excluded_has_the_seven_reasons_and_those_that_are_switched_on(tmp_path):
    path = write(tmp_path, [step()])
    assert tuple(count(path).excluded) == REASONS
    assert tuple(count(path, policy=Policy.of(EVERY)).excluded) == (
        "malformed",
        "duplicate",
        "outside_period",
        "unmatched_work",
        "status_code",
        "robot",
        "self_view",
        "autoplay",
        "territory",
        "below_threshold",
        "double_click",
        "repeat_in_window",
        "over_cap",
    )


def test_the_steps_stand_in_their_order(tmp_path):
    worst = {
        "status": "404",
        "user_agent": "Googlebot",
        "uploader": "viewer of a",
        "autoplay": "true",
        "territory": "US",
        "sections": "0-1",
    }
    better = {
        "status": "200",
        "user_agent": "Firefox",
        "uploader": "",
        "autoplay": "0",
        "territory": "DE",
    }
    found = []
    for name in (None, *better):
        if name:
            worst[name] = better[name]
        found += reasons(tmp_path, [step(**worst)], **EVERY)
    assert found == [
        "status_code",
        "robot",
        "self_view",
        "autoplay",
        "territory",
        "below_threshold",
    ]


def test_a_row_that_a_step_excludes_makes_no_other_a_double_click(tmp_path):
    rows = [step("a", "10:00:00", viewer="v"), step("b", "10:00:10", viewer="v", status="404")]
    assert reasons(tmp_path, rows, status={"accepted": [200]}) == ["qualified", "status_code"]


def test_a_duplicate_is_told_before_any_step(tmp_path):
    rows = [step("a", status="404"), step("a", "11:00:00")]
    assert reasons(tmp_path, rows, status={"accepted": [200]}) == ["status_code", "duplicate"]


# watched time


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ("0-30", "qualified"),
        ("0-20 10-30", "qualified"),
        ("0-20 10-29.999999", "below_threshold"),
        ("570-600", "qualified"),
        ("600-600", "below_threshold"),
        ("40-70 0-10", "qualified"),
        ("", "below_threshold"),
        ("30-0 0-60", "below_threshold"),
        ("0-60 x", "below_threshold"),
    ],
)
def test_watched_time_is_the_union_of_sections(tmp_path, sections, reason):
    rows = [step(sections=sections, watched_seconds=600)]
    assert reasons(tmp_path, rows, watched={"sections": True}) == [reason]


def test_an_excerpt_has_the_whole_seconds_of_its_sections_as_units(tmp_path):
    rows = [step(kind="excerpt", sections="0-7.5 5-8.9", watched_seconds=600)]
    found = count(write(tmp_path, rows), policy=Policy(sections=True))
    assert [(unit.kind, unit.units) for unit in found.units] == [(Kind.EXCERPT, 8)]


def test_watched_time_is_at_most_the_duration(tmp_path):
    rows = [
        step("a", kind="excerpt", watched_seconds=90, duration_seconds="61.9"),
        step("b", kind="excerpt", watched_seconds=90, duration_seconds=0),
        step("c", kind="excerpt", watched_seconds=90),
        step("d", kind="excerpt", watched_seconds=50, duration_seconds=61),
    ]
    found = count(write(tmp_path, rows), policy=Policy(at_most_duration=True))
    assert [unit.units for unit in found.units] == [61 + 90 + 90 + 50]


def test_sections_are_cut_at_the_duration_too(tmp_path):
    rows = [step(kind="excerpt", sections="0-100", duration_seconds=40)]
    found = count(write(tmp_path, rows), policy=Policy(sections=True, at_most_duration=True))
    assert [unit.units for unit in found.units] == [40]


# steps that exclude


@pytest.mark.parametrize(
    ("status", "reason"),
    [("200", "qualified"), ("304", "qualified"), ("206", "status_code"), ("", "status_code"),
     ("0200", "status_code"), ("200.0", "status_code")],
)  # fmt: skip
def test_only_accepted_status_codes_count(tmp_path, status, reason):
    assert reasons(tmp_path, [step(status=status)], status={"accepted": [200, 304]}) == [reason]


@pytest.mark.parametrize(
    ("agent", "reason"),
    [("Firefox", "qualified"), ("Googlebot", "robot"), ("Bot", "qualified"), ("", "robot")],
)
def test_a_user_agent_on_the_list_is_a_robot(tmp_path, agent, reason):
    assert reasons(tmp_path, [step(user_agent=agent)], robots=EVERY["robots"]) == [reason]


@pytest.mark.parametrize("found", [None, RobotList("2", b"bot\nspider\n")])
def test_another_list_of_robots_than_the_policy_names_is_refused(tmp_path, monkeypatch, found):
    monkeypatch.setattr(robots, "installed", lambda: found)
    with pytest.raises(InputError, match=r"counter-robots 1 .*Install that version"):
        reasons(tmp_path, [step()], robots=EVERY["robots"])


def test_the_list_is_that_of_the_package():
    package = pytest.importorskip("counter_robots")
    robots_module = pytest.importorskip("royalty.logs.robots")
    found = robots_module.RobotList("", b"".join(_data(package, name) for name in robots.FILES))
    agents = ["Googlebot/2.1", "Mozilla/5.0 Firefox/141.0", "python-requests/2", "", "Wget/1.21"]
    for agent in agents:
        assert found.matcher(agent) == package.is_robot_or_machine(agent)
    assert found.sha256 == Policy.load("counter").robots_sha256


def _data(package, name: str) -> bytes:
    return (Path(package.__file__).parent / "data" / name).read_bytes()


@pytest.mark.parametrize(
    ("viewer", "uploader", "reason"),
    [
        ("director", "director", "self_view"),
        ("stranger", "director", "qualified"),
        ("", "", "qualified"),
        ("", "director", "qualified"),
        ("7", "007", "qualified"),
    ],
)
def test_a_play_by_the_uploader_is_excluded(tmp_path, viewer, uploader, reason):
    rows = [step(viewer=viewer, uploader=uploader)]
    assert reasons(tmp_path, rows, own_plays={"exclude": True}) == [reason]


@pytest.mark.parametrize(
    ("autoplay", "reason"),
    [("false", "qualified"), ("0", "qualified"), ("True", "autoplay"), ("1", "autoplay"),
     ("", "autoplay"), ("maybe", "autoplay")],
)  # fmt: skip
def test_only_a_play_that_a_person_started_counts(tmp_path, autoplay, reason):
    assert reasons(tmp_path, [step(autoplay=autoplay)], autoplay={"exclude": True}) == [reason]


@pytest.mark.parametrize(
    ("territory", "reason"),
    [("DE", "qualified"), ("at", "qualified"), ("US", "territory"), ("", "territory")],
)
def test_only_territories_that_are_named_count(tmp_path, territory, reason):
    rows = [step(territory=territory)]
    assert reasons(tmp_path, rows, territory={"only": ["DE", "AT"]}) == [reason]


def test_a_session_counts_once_within_the_window_and_again_after_it(tmp_path):
    times = ["10:00:00", "10:30:00", "11:00:00", "11:00:01", "11:30:00", "12:00:02"]
    rows = [step(str(n), at, session="s", viewer=f"v{n}") for n, at in enumerate(times)]
    assert reasons(tmp_path, rows, repeat={"seconds": 3600}) == [
        "qualified",
        "repeat_in_window",
        "repeat_in_window",
        "qualified",
        "repeat_in_window",
        "qualified",
    ]


def test_the_window_of_a_session_is_one_of_a_work_and_kind(tmp_path):
    rows = [
        step("a", session="s"),
        step("b", "10:10:00", session="s", work="trailer"),
        step("c", "10:20:00", session="s", kind="download"),
        step("d", "10:30:00", session="t"),
    ]
    assert reasons(tmp_path, rows, repeat={"seconds": 3600}) == ["qualified"] * 4


def test_a_viewer_stands_for_a_missing_session_and_rows_with_neither_are_left_alone(tmp_path):
    rows = [
        step("a", viewer="v", session=""),
        step("b", "10:10:00", viewer="v", session=""),
        step("c", viewer="", session=""),
        step("d", "10:10:00", viewer="", session=""),
    ]
    found = reasons(tmp_path, rows, repeat={"seconds": 3600})
    assert found == ["qualified", "repeat_in_window", "qualified", "qualified"]


def test_what_was_excluded_as_a_repeat_takes_no_place_under_the_cap(tmp_path):
    rows = [
        step("a", viewer="v", session="s"),
        step("b", "10:10:00", viewer="v", session="s"),
        step("c", "12:00:00", viewer="v", session="s"),
        step("d", "14:00:00", viewer="v", session="s"),
    ]
    found = reasons(tmp_path, rows, repeat={"seconds": 3600}, cap={"per_viewer_work_day": 2})
    assert found == ["qualified", "repeat_in_window", "qualified", "over_cap"]


# columns


@pytest.mark.parametrize(
    ("lacking", "section", "named"),
    [
        ("sections", "watched", r"\[watched\] sections"),
        ("duration_seconds", "watched", r"\[watched\] at_most_duration"),
        ("status", "status", r"\[status\]"),
        ("user_agent", "robots", r"\[robots\]"),
        ("uploader", "own_plays", r"\[own_plays\]"),
        ("viewer", "own_plays", r"\[own_plays\]"),
        ("autoplay", "autoplay", r"\[autoplay\]"),
        ("territory", "territory", r"\[territory\]"),
        ("session", "repeat", r"\[repeat\]"),
    ],
)
def test_a_log_without_the_column_of_a_step_is_refused(tmp_path, lacking, section, named):
    policy = Policy.of({section: EVERY[section]})
    header = [name for name in STEP_HEADER if name != lacking]
    with pytest.raises(InputError, match=rf"no column '{lacking}', which {named}"):
        count(write(tmp_path, [step()], header), policy=policy)
    lines = tmp_path / "log.jsonl"
    lines.write_text(json.dumps({name: text for name, text in step().items() if name != lacking}))
    with pytest.raises(InputError, match=rf"no column '{lacking}', which {named}"):
        count(lines, policy=policy)


def test_a_column_that_is_named_and_not_needed_is_not_looked_at(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(step() | {"status": "\0"}))
    named = {name: name for name in STEP_HEADER}
    assert count(path, columns=named).qualified == 1
    assert count(path, columns=named, policy=Policy(statuses=(200,))).excluded["malformed"] == 1


def test_a_file_of_broken_lines_alone_lacks_no_column(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("{\n")
    assert count(path, policy=Policy.of(EVERY)).excluded["malformed"] == 1


def test_a_columns_file_says_where_a_steps_field_is_or_is_refused(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(f"id,at,sc\na,{DAY}T10:00:00Z,404\nb,{DAY}T10:00:00Z,200\n")
    named = {
        "usage_id": "id",
        "work": {"value": "film"},
        "started_at": "at",
        "kind": {"value": "download"},
    }
    policy = Policy(statuses=(200,))
    with pytest.raises(InputError, match=r"columns file names no 'status', which \[status\]"):
        count(path, columns=named, policy=policy)
    assert (
        count(path, columns={**named, "status": "sc"}, policy=policy).excluded["status_code"] == 1
    )
    assert count(path, columns={**named, "status": {"value": 200}}, policy=policy).qualified == 2
    with pytest.raises(InputError, match=r"no column 'code' \(status\), which \[status\]"):
        count(path, columns={**named, "status": "code"}, policy=policy)


def test_json_and_its_types_say_the_same_as_text(tmp_path):
    path = tmp_path / "log.jsonl"
    rows = [
        step("a")
        | {"sections": [[0, 20], {"start": 10.5, "end": 30}], "autoplay": False, "status": 200},
        step("b") | {"sections": [{"startTimestamp": 0, "endTimestamp": 29.5}]},
        step("c") | {"autoplay": True},
        step("d") | {"sections": {"start": 0}},
        step("e") | {"status": [200]},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    listed = tmp_path / "excluded.csv"
    count(path, policy=Policy.of(EVERY), excluded_to=listed)
    with listed.open() as file:
        found = {line["usage_id"]: line["reason"] for line in csv.DictReader(file)}
    assert found == {
        "b": "below_threshold",
        "c": "autoplay",
        "d": "below_threshold",
        "e": "status_code",
    }


# settings


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[status]\naccepted = []", "at least one"),
        ('[status]\naccepted = ["200"]', "list of numbers"),
        ("[status]\naccepted = [20]", "no status"),
        ("[territory]\nonly = []", "at least one"),
        ('[territory]\nonly = ["de"]', "no country"),
        ("[territory]\nonly = [49]", "list of texts"),
        ("[autoplay]\nexclude = 1", "true or false"),
        ("[watched]\nsection = true", "unknown setting 'section'"),
        ("[repeat]\nseconds = -1", "0 or more"),
        ('[robots]\nversion = "1"', "names a list"),
        ('[robots]\nversion = "1"\nsha256 = "0x12"', "names a list"),
    ],
)
def test_a_step_that_cannot_be_meant_is_refused(tmp_path, text, why):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=why):
        Policy.load(path)


@pytest.mark.parametrize("section", EVERY)
def test_a_step_that_is_off_changes_no_digest_and_one_that_is_on_does(section):
    off = {
        "watched": {"sections": False},
        "own_plays": {"exclude": False},
        "autoplay": {"exclude": False},
    }
    assert Policy.of({section: off.get(section, {})}).digest == Policy().digest
    assert Policy.of({section: EVERY[section]}).digest != Policy().digest


def test_lists_mean_the_same_in_any_order():
    one, other = Policy.of({"status": {"accepted": [304, 200]}}), Policy(statuses=(200, 304))
    assert one.digest == other.digest
    assert one != Policy(statuses=(200,))


# shipped


def test_the_shipped_default_is_the_default():
    assert Policy.load("default") == Policy() == Policy.load(None)


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("default", "0xeff4fea0e1b296c824593e1c800fa2b022b00000c8cf168917f0aa4b5db6cf7f"),
        ("counter", "0xa09ba9c4b161dd468e95bad0d8c71999d634aac8e64551dc781614d9431aff5b"),
        ("peertube", "0x2efa6d5a582b9851a5a2057f262e8a7de3966ccbb3ab4f3a3fd12c8898e25e32"),
    ],
)
def test_the_digest_of_a_shipped_policy_never_changes(name, digest):
    assert logs.SHIPPED == ("default", "counter", "peertube")
    assert Policy.load(name).digest == digest


def test_peertube_counts_a_session_once_an_hour(tmp_path):
    policy = Policy.load("peertube")
    assert (policy.minimum_seconds, policy.short_fraction) == (30, Decimal("0.5"))
    assert (policy.repeat_seconds, policy.sections) == (3600, False)
    rows = [
        step("a", session="s"),
        step("b", "10:59:59", session="s"),
        step("c", "11:00:01", session="s"),
    ]
    found = count(write(tmp_path, rows), policy=policy, period=period(DAY, MORROW))
    assert (found.qualified, found.excluded["repeat_in_window"]) == (2, 1)


def test_counter_counts_any_answered_request_of_a_person(tmp_path, monkeypatch):
    policy = Policy.load("counter")
    listed = RobotList(policy.robots_version, b"bot")
    monkeypatch.setattr(RobotList, "sha256", policy.robots_sha256)
    monkeypatch.setattr(robots, "installed", lambda: listed)
    rows = [
        step("a", watched_seconds=0),
        step("b", status="206"),
        step("c", user_agent="bot"),
        *(step(f"d{n}", f"12:{n:02}:00", viewer="v") for n in range(40)),
        step("e", "12:40:10", viewer="v"),
        step("f", "12:40:40", viewer="v"),
    ]
    found = count(write(tmp_path, rows), policy=policy)
    assert {reason: n for reason, n in found.excluded.items() if n} == {
        "status_code": 1,
        "robot": 1,
        "double_click": 1,
    }
