"""Steps of a policy out of the usage store: the same as on the log alone, and no more kept than they need."""

from __future__ import annotations

import csv
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from royalty import ingest, logs
from royalty.days import Period
from royalty.errors import InputError
from royalty.logs import NATIVE, Policy
from royalty.questions import Question
from royalty.recorder import Recorder
from royalty.recount import count_day, counted
from royalty.store import UsageStore
from royalty.usage import WorkRef

sys.path.insert(0, str(Path(__file__).parent))
from test_rules_twin import ANSWERS, DAY, DEALS, POLICIES, WORKS
from test_steps_twin import FIELDS, ROBOTS, STEPS, policy_of, step_row, write

PERIOD = Period(DAY - 1, DAY + 1)
MATCHER = logs.WorkTable([(text, WorkRef(*work)) for text, work in ANSWERS.items()], DEALS, WORKS)
GOOD = {
    "usage_id": "a",
    "work": "film",
    "kind": "view",
    "started_at": "2024-10-04T10:00:00Z",
    "watched_seconds": "60",
    "viewer": "anna",
    "session": "secret session",
    "sections": "0-60",
    "status": "200",
    "user_agent": "secret agent",
    "uploader": "secret uploader",
    "autoplay": "0",
    "territory": "DE",
}
EVERY = {
    **{name: some[-1] for name, some in STEPS.items()},
    "territories": ("DE",),
}
NUMBERS = {"minimum": "30", "short": "0.5", "click": "30", "cap": 20}


@pytest.fixture(autouse=True)
def list_of_robots(monkeypatch):
    monkeypatch.setattr("royalty.logs.robots.installed", lambda: ROBOTS)


def question(paths, policy) -> Question:
    return Question(PERIOD, tuple(logs.find_sources(paths)), policy, NATIVE, {})


def come(store: UsageStore, paths: list[Path], policy: Policy) -> None:
    with counted(question(paths, policy), MATCHER, store) as (staged, _):
        staged.commit()


def facts(found: logs.Count) -> tuple:
    later = {
        reason: number
        for reason, number in found.excluded.items()
        if number and reason not in ("malformed", "duplicate", "outside_period")
    }
    return found.qualified, later, found.without_identity, found.units


def recounted(store: UsageStore, policy: Policy) -> dict[int, tuple]:
    with logs.engine() as con:
        logs.make_rows(con)
        with store.staged(con, "rows", PERIOD) as staged:
            asked = Question(PERIOD, (), policy, NATIVE, {})
            return {day: facts(count_day(con, staged, day, MATCHER, asked)) for day in PERIOD}


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32),
    numbers=POLICIES,
    likely=st.sampled_from([0.3, 1.0]),
    first=st.booleans(),
)
def test_a_day_out_of_the_store_is_what_its_log_alone_comes_to(seed, numbers, likely, first):
    rng = Random(seed)
    steps = {name: rng.choice(some) for name, some in STEPS.items() if rng.random() < likely}
    policy = policy_of(numbers, steps)
    rows = [step_row(rng) for _ in range(60)]
    for number, row in enumerate(rows):
        if rng.random() < 0.9 or not number:
            row["usage_id"] = f"u{number}"
        else:  # of rows that are equal but for the viewer, it is open which counts
            before = rows[number - 1]
            row |= {name: before[name] for name in ("usage_id", "viewer", "session")}
    with (
        tempfile.TemporaryDirectory() as folder,
        patch("royalty.logs.robots.installed", lambda: ROBOTS),
    ):
        whole, one, other = (Path(folder, f"{name}.csv") for name in ("whole", "one", "other"))
        cut = rng.randint(1, 59)
        for path, some in ((whole, rows), (one, rows[cut:]), (other, rows[: cut + 1])):
            write(path, some, rng)
        store = UsageStore(Path(folder, "store"))
        if first:  # rows that came before anybody knew the policy count once with what comes later
            ingest.ingest(store, [one])
        come(store, [one], policy)
        come(store, [other], policy)
        found = recounted(store, policy)
        for day in PERIOD:
            alone = logs.count(logs.find_sources([whole]), Period(day, day), MATCHER, policy)
            assert found[day] == facts(alone)


def written(tmp_path: Path, **cells: str) -> Path:
    path = tmp_path / "log.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerow({**GOOD, **cells})
    return path


def kept(store: UsageStore) -> dict[str, object]:
    (part,) = store.folder.glob("rows/*/*.parquet")
    (row,) = parquet.read_table(part).to_pylist()
    return row


def test_what_no_step_asks_for_is_not_kept(tmp_path):
    store = UsageStore(tmp_path / "store")
    come(store, [written(tmp_path)], Policy())
    row = kept(store)
    names = ("union_us", "status", "own", "autoplay", "territory", "robot", "session")
    assert [row[name] for name in names] == [None] * 7


def test_what_steps_ask_for_is_kept_as_an_answer_and_never_as_it_was_written(tmp_path):
    store = UsageStore(tmp_path / "store")
    come(store, [written(tmp_path)], policy_of(NUMBERS, EVERY))
    row = kept(store)
    assert (row["union_us"], row["status"], row["own"], row["autoplay"]) == (60_000_000, 200, 0, 0)
    assert (row["territory"] % 2, row["robot"] % 2) == (1, 0)
    assert isinstance(row["session"], int)
    assert "secret" not in str(row)
    assert "DE" not in str(row)


def test_a_session_is_kept_under_the_secret_of_its_month(tmp_path):
    found = []
    for name in ("one", "other"):
        store = UsageStore(tmp_path / name)
        come(store, [written(tmp_path)], policy_of(NUMBERS, EVERY))
        found.append(kept(store)["session"])
    assert found[0] != found[1]
    store = UsageStore(tmp_path / "none")
    come(store, [written(tmp_path, session="", viewer="")], policy_of(NUMBERS, EVERY))
    assert kept(store)["session"] == 0


@pytest.mark.parametrize("before", [Policy(), policy_of(NUMBERS, {"territories": ("AT",)})])
def test_rows_that_were_kept_without_what_a_step_needs_are_refused(tmp_path, before):
    store = UsageStore(tmp_path / "store")
    come(store, [written(tmp_path)], before)
    with pytest.raises(InputError, match=r"2024-10-04 .* without the column 'territory'"):
        recounted(store, policy_of(NUMBERS, {"territories": ("DE",)}))


def test_what_is_ingested_under_a_policy_can_be_reported_under_it(tmp_path):
    store = UsageStore(tmp_path / "store")
    policy = tmp_path / "policy.toml"
    policy.write_text("[status]\naccepted = [200]\n[repeat]\nseconds = 60\n")
    ingest.ingest(store, [written(tmp_path)], policy=policy)
    assert recounted(store, Policy.load(policy))[DAY][0] == 1
    ingest.ingest(store, [written(tmp_path, usage_id="b")])
    with pytest.raises(InputError, match="without the column 'status'"):
        recounted(store, Policy.load(policy))


STEP_NAMES = ("sections", "status", "user_agent", "uploader", "autoplay", "territory")


def test_recorded_rows_count_as_the_same_rows_of_a_log(tmp_path):
    rng = Random(7)
    rows = [step_row(rng) | {"usage_id": f"u{at}"} for at in range(60)]
    policy = policy_of(NUMBERS, EVERY)
    path = tmp_path / "log.csv"
    write(path, rows, rng)
    store = UsageStore(tmp_path / "store")
    with Recorder(store, policy=policy) as recorder:
        for row in rows:
            with suppress(InputError):  # malformed
                recorder.record(**row)
    found = recounted(store, policy)
    assert sum(fact[0] for fact in found.values())
    for day in PERIOD:
        alone = logs.count(logs.find_sources([path]), Period(day, day), MATCHER, policy)
        assert found[day] == facts(alone)


def test_what_a_recorder_is_given_is_read_as_json_is(tmp_path):
    store = UsageStore(tmp_path / "store")
    typed = {"sections": [[0, 20], [10, 30.5]], "status": 200, "autoplay": False}
    with Recorder(store, policy=policy_of(NUMBERS, EVERY)) as recorder:
        recorder.record(**{**GOOD, **typed, "duration_seconds": ""})
    row = kept(store)
    assert (row["union_us"], row["status"], row["autoplay"]) == (30_500_000, 200, 0)
    assert "secret" not in str(row)


@pytest.mark.parametrize("lacking", [*STEP_NAMES, "session", "viewer", "duration_seconds"])
def test_a_recorder_refuses_a_row_without_a_field_that_its_policy_needs(tmp_path, lacking):
    row = {**GOOD, "duration_seconds": ""}
    del row[lacking]
    with (
        Recorder(UsageStore(tmp_path / "store"), policy=policy_of(NUMBERS, EVERY)) as recorder,
        pytest.raises(InputError, match=rf"{lacking} is not given, and \[.* needs it"),
    ):
        recorder.record(**row)


def test_a_recorder_without_steps_keeps_nothing_of_theirs_and_refuses_unknown_fields(tmp_path):
    store = UsageStore(tmp_path / "store")
    with Recorder(store) as recorder:
        recorder.record(**GOOD)
        with pytest.raises(InputError, match="unknown field 'agent'"):
            recorder.record(**GOOD, agent="x")
    assert kept(store)["status"] is None
    with pytest.raises(InputError, match="without the column 'union_us'"):
        recounted(store, policy_of(NUMBERS, EVERY))
