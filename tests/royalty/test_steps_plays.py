"""Steps of a policy on logs whose lines are joined into plays: each line is looked at, each play has one answer."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from royalty import logs
from royalty.days import Period
from royalty.errors import InputError
from royalty.logs import Policy, reading, robots
from royalty.logs.convert import convert
from royalty.logs.cues import Cue
from royalty.logs.explaining import explain
from royalty.logs.formats.cloudfront import CLOUDFRONT, STANDARD
from royalty.logs.formats.snowplow import SNOWPLOW
from royalty.logs.robots import RobotList
from royalty.questions import Question
from royalty.recount import count_day, counted
from royalty.store import UsageStore
from royalty.usage import WorkRef
from tests.royalty import formats_twin as twin
from tests.royalty.formats_help import SAMPLES, rows, write
from tests.royalty.test_format_cloudfront import NAMES, log, random_request, real_requests, request
from tests.royalty.test_format_snowplow import PAGE, PLAYER, event

PATTERNS = ["bot", "^.?$", "^curl/8 "]
ROBOTS = RobotList("1", "\n".join(PATTERNS).encode())
ROBOT = {"robots": {"version": "1", "sha256": ROBOTS.sha256}}
STATUS = {"status": {"accepted": [200, 304]}}
GERMAN = {"territory": {"only": ["DE"]}}
INSTALLED = robots.installed
EVER = Period(0, 60_000)
SESSION = 'CMCD=sid%3D"s"'
YOUTUBE = "contexts_com_youtube_youtube_1_0_0"
# No rule but the steps excludes a play of these policies.
ALL = {"view": {"minimum_seconds": 0}, "cap": {"per_viewer_work_day": 10**9}}


@pytest.fixture(autouse=True)
def list_of_robots(monkeypatch):
    monkeypatch.setattr(robots, "installed", lambda: ROBOTS)


def policy(**sections: Any) -> Policy:
    return Policy.of({**ALL, **sections})


def matcher(*paths: Path) -> logs.WorkTable:
    works = sorted({row["work"] for row in rows(*paths) if row["work"]})
    table = [(work, WorkRef(1, at)) for at, work in enumerate(works)]
    return logs.WorkTable(rows=table, deals=[(1, 1, 0, None)], works={1: len(works) + 1})


def reasons(*paths: Path, policy: Policy) -> dict[str, str]:
    """What became of each play, by its id."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder, "excluded.csv")
        logs.count(logs.find_sources(paths), EVER, matcher(*paths), policy, excluded_to=listed)
        with listed.open(newline="", encoding="utf-8") as file:
            found = {row["usage_id"]: row["reason"] for row in csv.DictReader(file)}
    return {row["usage_id"]: found.get(row["usage_id"], "qualified") for row in rows(*paths)}


def fate(*paths: Path, **sections: Any) -> str:
    """What became of the only play."""
    (found,) = reasons(*paths, policy=policy(**sections)).values()
    return found


def staged(*paths: Path, policy: Policy) -> list[dict[str, Any]]:
    """All that the engine keeps of rows."""
    with logs.engine() as con:
        logs.read_rows(con, logs.find_sources(paths), policy=policy)
        found = con.execute("SELECT * FROM rows ORDER BY file, line")
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


# CloudFront --------------------------------------------------------------------------------------


def test_the_counter_policy_that_comes_with_the_program_judges_a_log_of_requests(
    tmp_path, monkeypatch
):
    pytest.importorskip("counter_robots")
    monkeypatch.setattr(robots, "installed", INSTALLED)
    agents = ["Mozilla/5.0%20Firefox/141.0", "Googlebot/2.1", "python-requests/2.32", "-"]
    lines = [
        request(at, cs_User_Agent=agent, c_ip=f"192.0.{net}.7")
        for net, agent in enumerate(agents)
        for at in range(0, 41, 4)
    ]
    ranges = [request(at, c_ip="198.51.100.7", sc_status=206) for at in range(0, 41, 4)]
    found = reasons(log(tmp_path / "log", *lines, *ranges), policy=Policy.load("counter"))
    assert Counter(found.values()) == {"qualified": 1, "robot": 3, "status_code": 1}


@pytest.mark.parametrize(
    ("agent", "reason"),
    [
        ("Mozilla/5.0%20(X11)", "qualified"),
        ("Mozilla/5.0%2520(X11)", "qualified"),
        ("curl/8%20(x)", "robot"),
        ("curl/8%2520(x)", "robot"),
        ("Google%62ot", "robot"),
        ("Google%2562ot", "robot"),
        ("Google%252562ot", "qualified"),
        ("-", "robot"),
        ("", "robot"),
        ("%", "robot"),
        ("100%20%FF%00%0A", "qualified"),
        ("a" * 3000 + "%20bot", "robot"),
    ],
)
def test_a_user_agent_is_looked_up_as_it_was_before_the_log_encoded_it(tmp_path, agent, reason):
    assert fate(log(tmp_path / "log", request(0, cs_User_Agent=agent)), **ROBOT) == reason


def test_a_dash_is_an_empty_user_agent(tmp_path, monkeypatch):
    empty = RobotList("1", b"^$")
    monkeypatch.setattr(robots, "installed", lambda: empty)
    listed = {"version": "1", "sha256": empty.sha256}
    assert fate(log(tmp_path / "log", request(0, cs_User_Agent="-")), robots=listed) == "robot"


@pytest.mark.parametrize(
    ("statuses", "accepted", "reason"),
    [
        ([200], [200], "qualified"),
        ([206], [200], "status_code"),
        ([304, 304], [200, 206], "status_code"),
        ([200, 206], [206], "qualified"),
        ([200, 206], [200], "qualified"),
        ([206, 304], [200], "status_code"),
        ([206, 304], [304], "qualified"),
        ([200, 304], [206], "status_code"),
        ([200, 206, 304], [304], "qualified"),
        ([206, 404], [404], "status_code"),
        ([206], [404], "status_code"),
    ],
)
def test_a_play_counts_where_one_of_its_requests_has_an_accepted_status(
    tmp_path, statuses, accepted, reason
):
    lines = [request(4 * at, sc_status=status) for at, status in enumerate(statuses)]
    assert fate(log(tmp_path / "log", *lines), status={"accepted": accepted}) == reason


def test_a_request_without_success_is_no_row_under_any_policy(tmp_path):
    path = log(tmp_path / "log", request(0), request(4, c_ip="192.0.9.9", sc_status=404))
    assert list(reasons(path, policy=policy(status={"accepted": [404]})).values()) == [
        "status_code"
    ]


def session(*agents: str) -> list[dict[str, str]]:
    return [
        request(4 * at, cs_User_Agent=agent, cs_uri_query=SESSION)
        for at, agent in enumerate(agents)
    ]


@pytest.mark.parametrize(
    ("agents", "reason"),
    [
        (["bot"], "robot"),
        (["bot", "bot", "Firefox"], "robot"),
        (["bot", "Firefox"], "qualified"),
        (["bot", "Firefox", "Firefox"], "qualified"),
        (["-", "bot", "Firefox"], "robot"),
    ],
)
def test_a_play_is_a_robots_where_more_than_half_of_its_requests_are(tmp_path, agents, reason):
    assert fate(log(tmp_path / "log", *session(*agents)), **ROBOT) == reason


def test_the_requests_of_a_play_are_looked_at_over_all_files(tmp_path):
    whole = session("bot", "bot", "Firefox", "Firefox", "Firefox")
    paths = [log(tmp_path / f"{at}.log", *part) for at, part in enumerate((whole[:2], whole[2:]))]
    assert fate(paths[0], **ROBOT) == "robot"
    assert fate(*paths, **ROBOT) == "qualified"


def test_rows_are_the_same_under_every_policy_save_what_the_steps_know(tmp_path):
    path = log(tmp_path / "log", *session("bot", "bot", "Firefox"), request(99, sc_status=206))
    (none, some) = (
        [
            {name: row[name] for name in row if name not in ("status", "robot", "session")}
            for row in staged(path, policy=asked)
        ]
        for asked in (Policy(), policy(**STATUS, **ROBOT, repeat={"seconds": 9}))
    )
    assert none == some
    assert len(some) == 2


def test_a_session_is_that_of_cmcd_else_the_viewer(tmp_path):
    path = log(tmp_path / "log", *session("Firefox"), request(99))
    asked = policy(repeat={"seconds": 3600})
    first, second = staged(path, policy=asked)
    assert (first["session"], second["session"]) == ("ss", f"s{second['identity']}")
    assert set(reasons(path, policy=asked).values()) == {"qualified"}


@pytest.mark.parametrize(
    ("section", "settings", "field"),
    [
        ("own_plays", {"exclude": True}, "uploader"),
        ("autoplay", {"exclude": True}, "autoplay"),
        ("territory", {"only": ["DE"]}, "territory"),
        ("watched", {"sections": True}, "sections"),
        ("watched", {"at_most_duration": True}, "duration_seconds"),
    ],
)
def test_a_step_that_requests_say_nothing_of_is_refused(tmp_path, section, settings, field):
    path = log(tmp_path / "log", request(0))
    with pytest.raises(InputError, match=rf"cloudfront logs have no '{field}', which \[{section}"):
        staged(path, policy=policy(**{section: settings}))


def test_a_log_whose_fields_lack_the_user_agent_is_refused_by_the_step_alone(tmp_path):
    names = [name for name in NAMES if name != "cs(User-Agent)"]
    line = "\t".join(request(0)[name] for name in names)
    path = write(tmp_path / "log", "#Version: 1.0", "#Fields: " + " ".join(names), line)
    assert fate(path, **STATUS) == "qualified"
    with pytest.raises(
        InputError, match=r"no column 'cs\(User-Agent\)' \(user_agent\), which \[rob"
    ):
        fate(path, **ROBOT)


def test_without_a_line_of_fields_the_steps_read_the_standard_order(tmp_path):
    cells = request(0, cs_User_Agent="bot")
    path = write(tmp_path / "log", "\t".join(cells[name] for name in STANDARD.split()[:12]))
    assert fate(path, **ROBOT) == "robot"


def test_a_real_session_is_judged_as_a_whole(tmp_path):
    lines = [{**one, "cs(User-Agent)": "Mozilla/5.0%20bot"} for one in real_requests()]
    assert fate(log(tmp_path / "log", *lines), **ROBOT) == "robot"
    (row,) = reasons(
        SAMPLES / "cloudfront" / "web-1-0.txt", policy=policy(**STATUS, **ROBOT)
    ).values()
    assert row == "qualified"


def test_random_logs_are_judged_as_by_the_twin(tmp_path):
    agents = ["one", "one", "two%20x", "Google%2562ot", "Robot", "curl/8%20x", "-"]
    seen: Counter[str] = Counter()
    for seed in range(12):
        chance = random.Random(seed)
        lines = [
            {**random_request(chance), "cs(User-Agent)": chance.choice(agents)} for _ in range(300)
        ]
        paths = [log(tmp_path / f"{part}.log", *lines[part::3]) for part in range(3)]
        accepted = chance.choice([(), (200,), (200, 206), (304,), (404,)])
        asked = policy(**ROBOT, **({"status": {"accepted": list(accepted)}} if accepted else {}))
        found = reasons(*paths, policy=asked)
        plays = sorted(
            (row["work"], row["started_us"], row["watched_us"], found[row["usage_id"]])
            for row in rows(*paths)
        )
        seen.update(why for *_, why in plays)
        clicks = {"double_click": "qualified"}  # the twin knows the steps alone
        assert [(*one, clicks.get(why, why)) for *one, why in plays] == [
            (work, at * 10**6, watched * 10**6, why)
            for work, at, watched, why in twin.cloudfront_reasons(lines, accepted, PATTERNS)
        ]
    assert min(seen[why] for why in ("qualified", "robot", "status_code")) > 20


# What is kept ------------------------------------------------------------------------------------


def test_of_a_user_agent_the_mark_alone_is_kept(tmp_path, monkeypatch):
    path = log(tmp_path / "log", *session("Secret%20agent", "Secret%20bot"))
    asked = policy(**STATUS, **ROBOT)
    (row,) = staged(path, policy=asked)
    assert (row["status"], row["robot"]) == (200, 2 * asked.robots_code)
    assert "Secret" not in str(row)
    seen: list[tuple] = []

    def look(con, *_):
        seen.extend(con.execute("SELECT * FROM gathered").fetchall())

    monkeypatch.setattr(reading, "_add_plays", look)
    with logs.engine() as con:
        logs.read_rows(con, logs.find_sources([path]), policy=asked)
    assert len(seen) == 2
    assert "Secret" not in str(seen)


def test_without_a_step_that_asks_no_user_agent_leaves_the_reader(tmp_path):
    path = log(tmp_path / "log", *session("Secret%20agent"))
    for needs, leaves in (({}, False), ({"status": "s"}, False), ({"user_agent": "r"}, True)):
        found = CLOUDFRONT.gather.read([path.read_bytes()], path, None, needs)
        assert ("Secret" in str([table.to_pylist() for table in found.tables])) is leaves
        assert len(found.names) == len(CLOUDFRONT.gather.names) + len(needs)


def test_a_parquet_of_a_log_says_nothing_of_the_steps_and_is_refused_by_them(tmp_path):
    path, out = log(tmp_path / "log", *session("Secret%20agent")), tmp_path / "native.parquet"
    convert(logs.find_sources([path]), out)
    assert {"status", "user_agent"}.isdisjoint(parquet.read_schema(out).names)
    with pytest.raises(InputError, match="no column 'user_agent'"):
        staged(out, policy=policy(**ROBOT))


def test_the_steps_change_nothing_of_what_the_columns_digest_names(tmp_path):
    path = log(tmp_path / "log", request(0))
    asked = policy(**STATUS, **ROBOT)
    (source,) = logs.count(logs.find_sources([path]), EVER, matcher(path), asked).sources
    assert source.columns.digest == CLOUDFRONT.columns.digest
    assert "user_agent" not in source.columns.document()


@pytest.mark.parametrize("form", ["cloudfront", "snowplow"])
def test_cues_need_sections_which_joined_lines_have_not(tmp_path, form):
    path = tmp_path / "log"
    if form == "cloudfront":
        log(path, request(0))
    else:
        write(path, json.dumps(event(0, "play", 0)))
    cues = {"film": [Cue(1, 0, 10**6, "other")]}
    with pytest.raises(InputError, match=f"{form} logs have no sections for cues"):
        convert(logs.find_sources([path]), tmp_path / "out.parquet", cues=cues)


def test_a_day_out_of_the_store_is_what_the_requests_alone_come_to(tmp_path):
    lines = [
        *session("Secret%20bot", "bot", "x"),
        request(9),
        request(9, c_ip="192.0.9.9", sc_status=206),
    ]
    path = log(tmp_path / "log", *lines)
    asked, found = policy(**STATUS, **ROBOT, repeat={"seconds": 60}), matcher(path)
    alone = logs.count(logs.find_sources([path]), EVER, found, asked)
    (day,) = {row["day"] for row in staged(path, policy=asked)}
    period = Period(day, day)
    store = UsageStore(tmp_path / "store")
    sources = tuple(logs.find_sources([path]))
    with counted(Question(period, sources, asked, sources[0].columns, {}), found, store) as (
        kept,
        _,
    ):
        kept.commit()
    with logs.engine() as con:
        logs.make_rows(con)
        with store.staged(con, "rows", period) as kept:
            again = count_day(con, kept, day, found, Question(period, (), asked, logs.NATIVE, {}))
    assert (again.qualified, again.excluded) == (alone.qualified, alone.excluded) == (
        1,
        {**dict.fromkeys(asked.reasons, 0), "robot": 1, "status_code": 1},
    )  # fmt: skip
    (part,) = store.folder.glob("rows/*/*.parquet")
    assert "Secret" not in str(parquet.read_table(part).to_pylist())


def test_a_play_is_explained_by_all_its_statuses(tmp_path):
    lines = [request(4 * at, sc_status=status) for at, status in enumerate((200, 206))]
    path = log(tmp_path / "log", *lines)
    ((usage_id, _),) = reasons(path, policy=policy(**STATUS)).items()
    sources, found = logs.find_sources([path]), matcher(path)
    ((story,), _) = explain(sources, usage_id, EVER, found, policy(**STATUS, **ROBOT))
    told = {rule.rule: (rule.outcome, rule.detail) for rule in story.rules}
    assert told["status_code"] == ("passed", "status 200 and 206; accepted: 200, 304")
    assert told["robot"][0] == "passed"


# Snowplow ----------------------------------------------------------------------------------------


def events(path: Path, *found: dict[str, Any], table: bool = False) -> Path:
    """Events as JSON lines, or as a table of all columns that one has."""
    if not table:
        return write(path, *(json.dumps(one) for one in found))
    names = list(dict.fromkeys(name for one in found for name in one))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        for one in found:
            cells = {k: v if isinstance(v, str) else json.dumps(v) for k, v in one.items() if v}
            writer.writerow(cells)
    return path


def played(page: str = "p", at: float = 0, **facts: Any) -> list[dict[str, Any]]:
    """Three events of forty seconds of play, each with these facts, or each with its own of a list."""
    moments = ((0, "play"), (20, "seek"), (40, "pause"))
    found = []
    for place, (second, kind) in enumerate(moments):
        own = {k: v[place] if isinstance(v, list) else v for k, v in facts.items()}
        found.append({**event(at + second, kind, second, page), **own})
    return found


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize(
    ("agents", "reason"),
    [
        ("Firefox", "qualified"),
        ("Googlebot", "robot"),
        (["bot", "bot", "Firefox"], "robot"),
        (["bot", "Firefox", "Firefox"], "qualified"),
        (["", "", "Firefox"], "robot"),
    ],
)
def test_more_than_half_of_the_events_make_a_play_a_robots(tmp_path, table, agents, reason):
    path = events(tmp_path / "log", *played(useragent=agents), table=table)
    assert fate(path, **ROBOT) == reason


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize(
    ("countries", "reason"),
    [
        ("DE", "qualified"),
        ("de", "qualified"),
        ("US", "territory"),
        (["DE", "DE", "US"], "qualified"),
        (["DE", "US", "US"], "territory"),
        (["DE", "", ""], "territory"),
    ],
)
def test_a_play_is_where_more_than_half_of_its_events_are(tmp_path, table, countries, reason):
    path = events(tmp_path / "log", *played(geo_country=countries), table=table)
    assert fate(path, **GERMAN) == reason


def test_half_of_the_events_are_enough_to_be_here(tmp_path):
    found = played(geo_country=["DE", "US", "US"])[:2]
    assert fate(events(tmp_path / "log", *found), **GERMAN) == "qualified"


def test_a_visit_counts_once_within_the_window(tmp_path):
    found = [
        *played("p", 0, domain_sessionid="visit"),
        *played("q", 300, domain_sessionid="visit"),
        *played("r", 600, domain_sessionid="other"),
    ]
    path = events(tmp_path / "log", *found)
    told = reasons(path, policy=policy(repeat={"seconds": 3600}))
    assert told == {"p:film": "qualified", "q:film": "repeat_in_window", "r:film": "qualified"}


def test_a_viewer_stands_for_a_visit_that_an_event_lacks(tmp_path):
    found = [*played("p", 0), *played("q", 300), *played("r", 600, domain_sessionid="visit")]
    told = reasons(events(tmp_path / "log", *found), policy=policy(repeat={"seconds": 3600}))
    assert list(told.values()) == ["qualified", "repeat_in_window", "qualified"]


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ("FALSE", "qualified"),
        (False, "qualified"),
        ("TRUE", "autoplay"),
        (True, "autoplay"),
        ("", "autoplay"),
        (["FALSE", "FALSE", "TRUE"], "qualified"),
        (["FALSE", "", "TRUE"], "autoplay"),
    ],
)
def test_what_a_player_started_by_itself_does_not_count(tmp_path, table, flags, reason):
    flags = flags if isinstance(flags, list) else [flags] * 3
    contexts = [[{"player_id": "film", "auto_play": flag}] for flag in flags]
    path = events(tmp_path / "log", *played(**{YOUTUBE: contexts}), table=table)
    assert fate(path, autoplay={"exclude": True}) == reason


def test_what_was_watched_is_a_union_already_and_at_most_the_duration(tmp_path):
    path = events(tmp_path / "log", *played(**{PLAYER: [
        [{"current_time": second, "duration": 30}] for second in (0, 20, 40)
    ]}))  # fmt: skip
    asked = policy(watched={"sections": True, "at_most_duration": True})
    (row,) = staged(path, policy=asked)
    assert (row["union_us"], row["watched_us"], row["duration_us"]) == (40 * 10**6,) * 2 + (
        30 * 10**6,
    )
    ((story,), _) = explain(logs.find_sources([path]), "p:film", EVER, matcher(path), asked)
    assert "30 s count" in {rule.rule: rule.detail for rule in story.rules}["watched"]


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize(
    ("section", "settings", "named"),
    [
        ("robots", ROBOT["robots"], r"no column 'useragent' \(user_agent\), which \[robots\]"),
        ("territory", {"only": ["DE"]}, r"no column 'geo_country' \(territory\), which \[terr"),
        ("repeat", {"seconds": 60}, r"no column 'domain_sessionid' \(session\), which \[repeat\]"),
        ("autoplay", {"exclude": True}, r"no column 'auto_play' \(autoplay\), which \[autoplay\]"),
        ("status", {"accepted": [200]}, "snowplow logs have no 'status'"),
        ("own_plays", {"exclude": True}, "snowplow logs have no 'uploader'"),
    ],
)
def test_events_without_what_a_step_needs_are_refused(tmp_path, table, section, settings, named):
    path = events(tmp_path / "log", *played(), table=table)
    with pytest.raises(InputError, match=named):
        staged(path, policy=policy(**{section: settings}))


@pytest.mark.parametrize(
    "cell", [5, 1.5, True, ["bot"], {"a": 1}, "\0", "\ud800", None, "", "x" * 9999]
)
def test_hostile_cells_of_steps_make_no_event_malformed(tmp_path, cell):
    found = played(useragent=["Firefox", cell, "Firefox"], geo_country=["DE", cell, "DE"])
    path = events(tmp_path / "log", *found)
    assert fate(path, **ROBOT, **GERMAN) == "qualified"
    for asked in (Policy(), policy(**ROBOT, **GERMAN)):
        assert [row["malformed"] for row in staged(path, policy=asked)] == [None]


def test_no_agent_or_country_of_an_event_is_kept(tmp_path):
    path = events(tmp_path / "log", *played(useragent="Secret", geo_country="XQ"))
    (row,) = staged(path, policy=policy(**ROBOT, **GERMAN))
    assert "Secret" not in str(row)
    assert "XQ" not in str(row)
    found = SNOWPLOW.read([path.read_bytes()], path, None)
    assert "Secret" not in str([table.to_pylist() for table in found.tables])


def test_real_events_are_judged_by_their_countries_and_browsers(tmp_path):
    with gzip.open(SAMPLES / "snowplow" / "facts.csv.gz", "rt", newline="") as file:
        facts = {row["event_id"]: row for row in csv.DictReader(file)}
    whole = [
        {**one, **facts[one["event_id"]]}
        for one in twin.snowplow_events(SAMPLES / "snowplow" / "events.csv.gz")
    ]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(whole[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(whole)
    path = tmp_path / "events.csv"
    path.write_text(text.getvalue(), encoding="utf-8")
    where: dict[str, set[str]] = {}
    for one in whole:
        page = json.loads(one[PAGE])[0]["id"]
        where.setdefault(page, set()).add(one["geo_country"])
    told = reasons(path, policy=policy(**GERMAN, **ROBOT))
    assert len(told) == 44
    for usage_id, reason in told.items():
        assert reason == ("qualified" if where[usage_id.split(":")[0]] == {"DE"} else "territory")
    assert Counter(told.values())["qualified"] > 2
    assert set(told) == {row["usage_id"] for row in rows(path)}
