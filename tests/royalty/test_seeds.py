"""Seeded plays: a plan that anybody can repeat, and what becomes of what was played."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from royalty.errors import InputError
from royalty.seeds import STATES, check, plan
from tests.month import FIRST, Month, Plan, Row, month

DAYS = {"since": "2022-04-23", "until": "2022-04-27"}  # nobody saw anything on them


def plays_of(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# --- the plan ---


def test_the_same_seed_plans_the_same_and_another_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", "x"), ("b", "x"), ("c", "y")):
        made = plan(tmp_path / name, ["1/0", "film-2"], **DAYS, plays=9, seed=seed)
        assert (made.seed, made.plays) == (seed, 9)
    texts = [(tmp_path / name).read_bytes() for name in "abc"]
    assert texts[0] == texts[1] != texts[2]
    fresh = [plan(tmp_path / name, ["1/0"], **DAYS).seed for name in "de"]
    assert fresh[0] != fresh[1] and len(fresh[0]) == 32


def test_a_plan_is_what_its_seed_says(tmp_path: Path) -> None:
    """By the words of docs/decisions/0120-seeded-plays.md, without the package."""
    plan(tmp_path / "plan.csv", ["1/0", "1/1"], **DAYS, plays=5, seed="s", watched=61, duration=90)
    rows = {row["usage_id"]: row for row in plays_of(tmp_path / "plan.csv")}
    assert len(rows) == 5
    for number in range(5):
        digest = hashlib.sha256(f"s|{number}".encode()).digest()
        row = rows["seed-" + digest[16:24].hex()]
        day = 23 + int.from_bytes(digest[:8], "big") % 5
        second = int.from_bytes(digest[8:16], "big") % 86_400
        clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
        assert row["started_at"] == f"2022-04-{day}T{clock}Z"
        assert row["work"] == f"1/{number % 2}"
        assert (row["watched_seconds"], row["duration_seconds"]) == ("61", "90")
    assert len({row["viewer"] for row in rows.values()}) == 5, "no double click, no cap"
    assert [row["started_at"] for row in plays_of(tmp_path / "plan.csv")] == sorted(
        row["started_at"] for row in rows.values()
    )


def test_a_play_that_would_not_count_is_refused(tmp_path: Path) -> None:
    strict = tmp_path / "policy.toml"
    strict.write_text("[view]\nminimum_seconds = 90\n")
    for given in (
        {"watched": 29},
        {"watched": 60, "policy": strict},
        {"watched": "0.9", "kind": "excerpt"},
        {"watched": 9, "duration": 20},
    ):
        with pytest.raises(InputError, match="would not count"):
            plan(tmp_path / "plan.csv", ["1/0"], **DAYS, **given)
    plan(tmp_path / "short.csv", ["1/0"], **DAYS, watched=10, duration=20)
    plan(tmp_path / "download.csv", ["1/0"], **DAYS, watched=0, kind="download")


def test_a_plan_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    made = plan(tmp_path / "plan.csv", ["1/0"], **DAYS)
    before = made.path.read_bytes()
    with pytest.raises(InputError, match="is there already"):
        plan(tmp_path / "plan.csv", ["1/0"], **DAYS)
    assert made.path.read_bytes() == before
    assert made.path.stat().st_mode & 0o077 == 0, "it is nobody else's before the days are reported"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"works": []}, "no work was given"),
        ({"works": ["a\nb"]}, "no id of a work"),
        ({"works": [""]}, "no id of a work"),
        ({"plays": 0}, "1 to 100,000 plays"),
        ({"plays": 100_001}, "1 to 100,000 plays"),
        ({"kind": "stream"}, "--kind 'stream'"),
        ({"watched": "1e9"}, "--watched '1e9'"),
        ({"watched": "-5"}, "--watched '-5'"),
        ({"watched": "."}, "--watched '.'"),
        ({"duration": "x"}, "--duration 'x'"),
        ({"seed": ""}, "a seed is"),
        ({"seed": "a\x1b[2J"}, "a seed is"),
        ({"since": "2022-05-01"}, "ends before it starts"),
        ({"since": "soon"}, "'soon' is not a date"),
    ],
)
def test_a_plan_of_nonsense_is_refused(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    asked = {"works": ["1/0"], **DAYS} | given
    with pytest.raises(InputError, match=message):
        plan(tmp_path / "plan.csv", asked.pop("works"), **asked)
    assert not (tmp_path / "plan.csv").exists()


# --- what became of it ---


@pytest.fixture
def here(session: Callable[..., Any], folder: Path, anvil: Any) -> Iterator[Month]:
    with month(session, folder, anvil) as made:
        yield made


def played(m: Month, plays: int = 6) -> Path:
    """Plan plays of two works and perform them: they are in the platform's log."""
    path = m.folder / "seeded.csv"
    plan(path, ["video-3381812", "video-2303"], **DAYS, plays=plays, seed="s")
    m.rows["late.csv"] += plays_of(path)
    m.write_logs()
    return path


def states(m: Month, path: Path, *, log: bool = True, **options: Any) -> dict[str, int]:
    given = {"works": m.works, "platform": m.platform.account.address} | options
    logs = [str(one) for one in m.logs] if log else None
    return check(m.auditor(), path, logs, **given).states()


def test_plays_that_were_reported_are_paid_by_the_log_and_on_chain_without_it(here: Month) -> None:
    path = played(here)
    here.report(here.plans())
    assert states(here, path) == {"paid": 6}
    assert states(here, path, log=False) == {"on_chain": 6}
    found = check(
        here.auditor(), path, here.logs, works=here.works, platform=here.platform.account.address
    )
    assert not found.findings
    assert {one.found_by for one in found.plays} == {"id"}
    for one in found.plays:
        (paid,) = one.credits
        assert (paid.batch, paid.leaf is not None) == (here.batches[-1], True)
        assert one.chain_units == one.logged_units == one.seeded_units == paid.units
    rows = found.table().to_list()
    assert [row["batches"] for row in rows] == [str(here.batches[-1])] * 6


def test_plays_that_were_dropped_from_the_log_are_not_logged(here: Month) -> None:
    path = played(here)
    dropped = plays_of(path)[0]
    here.rows["late.csv"].remove(dropped)
    here.write_logs()
    here.report(here.plans())
    found = check(here.auditor(), path, [str(p) for p in here.logs], works=here.works)
    assert found.findings
    lost = [one.play.usage_id for one in found.plays if one.state == "not_logged"]
    assert lost == [dropped["usage_id"]]
    alone = check(here.auditor(), path, works=here.works)
    same = [
        one.play.usage_id
        for one in alone.plays
        if one.state in ("missing_on_chain", "under_reported")
    ]
    assert dropped["usage_id"] in same, "without others there the chain alone shows it"


def test_plays_that_were_logged_and_not_reported_are_missing_or_too_few(here: Month) -> None:
    path = played(here)
    plans = here.plans()
    usage = plans[-1].usage
    cells = [key for key in usage if key[0] >= 19_105]
    for key in cells:
        usage[key] -= 1
    gone = {key for key in cells if not usage[key]}
    plans[-1].usage = {key: units for key, units in usage.items() if units}
    here.report(plans)
    found = check(here.auditor(), path, [str(p) for p in here.logs], works=here.works)
    assert {one.state for one in found.plays} <= {"missing_on_chain", "under_reported"}
    for one in found.plays:
        assert one.play.work is not None
        key = (one.play.day, one.play.work.index, one.play.kind)
        assert (one.state == "missing_on_chain") == (key in gone)


def test_among_many_views_only_the_log_tells(here: Month) -> None:
    """The cell has room for the play without it: the chain alone proves nothing, and says so."""
    from royalty.seeds import sentence

    seen = max(
        (row for row in here.rows["early.csv"] if row["kind"] == "view"),
        key=lambda row: sum(
            (row["work"], row["started_at"][:10]) == (other["work"], other["started_at"][:10])
            for other in here.rows["early.csv"]
        ),
    )
    path = here.folder / "seeded.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(seen))
        writer.writeheader()
        writer.writerow({**seen, "usage_id": "mine", "watched_seconds": "60"})
    here.report(here.plans())
    assert states(here, path, log=False) == {"on_chain": 1}
    assert states(here, path) == {"not_logged": 1}
    alone = check(here.auditor(), path, works=here.works)
    assert "only the log can say" in sentence(alone)


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"watched_seconds": "5"}, "watched_us 5000000, not 60000000"),
        ({"kind": "download"}, "kind download, not view"),
        ({"work": "video-3199380"}, "work 1/1, not 1/0"),
        ({"work": "nobody's"}, "work nobody's, not 1/0"),
    ],
)
def test_a_play_that_the_log_has_otherwise_is_altered(
    here: Month, change: dict[str, str], detail: str
) -> None:
    path = played(here)
    first = next(row for row in plays_of(path) if row["work"] == "video-3381812")
    mine = next(r for r in here.rows["late.csv"] if r["usage_id"] == first["usage_id"])
    mine.update(change)
    here.write_logs()
    here.report(here.plans())
    found = check(here.auditor(), path, [str(p) for p in here.logs], works=here.works)
    (altered,) = [one for one in found.plays if one.state == "altered"]
    assert (altered.play.usage_id, altered.detail) == (
        first["usage_id"],
        detail.replace("1/", f"{here.catalogue}/"),
    )


def test_a_play_that_a_rule_excludes_there_is_not_counted(here: Month) -> None:
    path = played(here)
    first = plays_of(path)[0]
    double = {**first, "usage_id": "again", "started_at": first["started_at"].replace("Z", ".5Z")}
    here.rows["late.csv"].append(double)
    here.write_logs()
    here.report(here.plans())
    found = check(here.auditor(), path, [str(p) for p in here.logs], works=here.works)
    (one,) = [one for one in found.plays if one.state == "not_counted"]
    assert (one.play.usage_id, one.detail) == (first["usage_id"], "double_click")


def test_a_step_of_the_policy_judges_the_row_of_a_play_and_not_its_plan(here: Month) -> None:
    """A plan has no column of status: it counts by itself, the log's row does where the step says so."""
    path = played(here, 4)
    here.report(here.plans())
    ids = sorted(row["usage_id"] for row in plays_of(path))
    for log in here.logs:
        with log.open(newline="") as file:
            rows = [row | {"status": "404" if row["usage_id"] == ids[0] else "200"}
                    for row in csv.DictReader(file)]  # fmt: skip
        with log.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*rows[0]])
            writer.writeheader()
            writer.writerows(rows)
    policy = here.folder / "policy.toml"
    policy.write_text("[status]\naccepted = [200]\n")
    logs = [str(log) for log in here.logs]
    found = check(here.auditor(), path, logs, works=here.works, policy=policy)
    told = {one.play.usage_id: (one.state, one.detail) for one in found.plays}
    assert told == dict.fromkeys(ids, ("paid", "")) | {ids[0]: ("not_counted", "status_code")}


def test_plays_under_other_ids_are_found_by_time_where_that_is_asked_for(here: Month) -> None:
    path = played(here)
    for at, row in enumerate(here.rows["late.csv"][-6:]):
        row["usage_id"] = f"p{at}"
        row["started_at"] = row["started_at"].replace("Z", ".25Z")
    here.write_logs()
    here.report(here.plans())
    assert states(here, path) == {"not_logged": 6}
    assert states(here, path, within=1) == {"paid": 6}
    found = check(here.auditor(), path, [str(p) for p in here.logs], works=here.works, within=1)
    assert {one.found_by for one in found.plays} == {"time"}
    assert len({one.row.usage_id for one in found.plays if one.row}) == 6, "a row is one play's"
    here.rows["late.csv"].pop()
    here.write_logs()
    assert states(here, path, within=3_600)["not_logged"] == 1


def view(at: str, usage_id: str) -> Row:
    """A qualified view of the first work at a time of an empty day."""
    return {
        "usage_id": usage_id,
        "work": "video-3381812",
        "kind": "view",
        "started_at": f"2022-04-24T{at}Z",
        "watched_seconds": "60",
        "duration_seconds": "",
        "viewer": usage_id,
    }


def write_plays(m: Month, *rows: Row) -> Path:
    path = m.folder / "seeded.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_one_row_of_the_log_is_the_row_of_one_play(here: Month) -> None:
    path = write_plays(here, view("12:00:00", "first"), view("12:00:10", "second"))
    here.rows["late.csv"].append(view("12:00:06", "the player's own"))
    here.write_logs()
    here.report(here.plans())
    given = {"works": here.works, "platform": here.platform.account.address, "within": 30}
    found = check(here.auditor(), path, [str(p) for p in here.logs], **given)
    assert [(one.play.usage_id, one.state) for one in found.plays] == [
        ("first", "not_logged"),
        ("second", "paid"),
    ], "the nearest pair is made first"


def test_a_play_among_others_is_not_proven_paid_where_a_row_of_them_is_not(here: Month) -> None:
    """The log has three views there, one of them played; the chain has two: which is unknown."""
    path = write_plays(here, view("12:00:00", "mine"))
    others = [view("13:00:00", "one"), view("14:00:00", "two")]
    here.rows["late.csv"] += [view("12:00:00", "mine"), *others]
    here.write_logs()
    plans = here.plans()
    (cell,) = [key for key in plans[-1].usage if key[0] == 19_106]
    plans[-1].usage[cell] = 2
    here.report(plans)
    assert states(here, path) == {"under_reported": 1}
    assert states(here, path, log=False) == {"on_chain": 1}


def test_plays_in_leaves_that_nobody_settled_wait(here: Month) -> None:
    path = played(here)
    here.settled = slice(0, 0)
    here.report(here.plans())
    assert states(here, path, evidence=here.evidence) == {"unsettled": 6}
    assert set(states(here, path)) == {"missing_on_chain"}, "its data are not at hand"


def test_a_play_that_should_not_count_is_a_control(here: Month) -> None:
    path = played(here)
    text = path.read_text().replace(",60,", ",3,")
    path.write_text(text)
    for row in here.rows["late.csv"][-6:]:
        row["watched_seconds"] = "3"
    here.write_logs()
    here.report(here.plans())
    assert states(here, path) == {"control": 6}
    for row in here.rows["late.csv"][-6:]:
        row["watched_seconds"] = "300"
    here.write_logs()
    assert states(here, path) == {"counted": 6}, "the log says that it was watched"


def test_plays_of_no_work_are_unmatched(here: Month) -> None:
    path = played(here)
    here.report(here.plans())
    assert states(here, path, works=None, log=False) == {"unmatched_work": 6}


def test_a_file_of_plays_that_cannot_be_read_is_bad_input(here: Month) -> None:
    path = played(here)
    here.report(
        [Plan(("early.csv",), {(FIRST, 0, next(iter(here.plans()[0].usage))[2]): 1}, day=FIRST)]
    )
    path.write_text(path.read_text().replace(",60,", ",long,", 1))
    with pytest.raises(InputError, match="line 2: watched_seconds cannot be read"):
        states(here, path)
    with pytest.raises(InputError, match="--within"):
        states(here, path, within=-1)
    with pytest.raises(InputError, match="nowhere"):
        states(here, here.folder / "nowhere.csv")


def test_every_state_is_explained() -> None:
    assert all(STATES.values())
