"""What a spike hold keeps back of a log, told apart from what is missing: pure, and on a chain."""

from __future__ import annotations

import hashlib
import itertools
import json
import secrets
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.cli.output import add_decimal
from royalty.days import format_day
from royalty.findings import Cell, ChainLine, Deals, Terms
from royalty.heldback import HeldBack, hold_back, without
from royalty.logs import Policy
from royalty.proof import Batch, released_in
from royalty.spikes import hold_spikes
from royalty.terms import Item
from royalty.usage import Kind, Tariff, WorkRef
from tests.royalty import test_reconcile
from tests.royalty.test_reconcile import LogRow, Scene, open_catalogue, rows_of

scene = test_reconcile.scene

DAY = 20_000
WORK = WorkRef(1, 0)
POLICY = Policy(spike_multiple=Decimal(2), spike_above=10, spike_days=5)
DEALS = Deals((Terms(1, 1, DAY - 99, None, Tariff(3, 5, 7)),))
SPIKE = "[spike]\nmultiple = 2\nabove = 10\ndays = 5\n"


def cell(day: int = DAY, work: WorkRef = WORK) -> Cell:
    return Cell(work, day, Kind.VIEW)


def line(units: int, day: int = DAY, batch: int = 1, work: WorkRef = WORK) -> ChainLine:
    return ChainLine(batch, day, work, 1, Kind.VIEW, units)


def held(logged: int, *lines: ChainLine, **options: Any) -> int:
    """How much is held of so many units of a day."""
    found = hold_back({cell(): logged}, lines, POLICY, DEALS, **options)
    return sum(one.held_units for one in found)


@pytest.mark.parametrize(
    ("logged", "reported", "units"),
    [
        (50, 10, 40),  # what is usual was reported, the rest waits
        (50, 4, 40),  # 6 are missing, no more is held for it
        (50, 0, 40),
        (50, 50, 0),  # let go
        (50, 60, 0),
        (50, 11, 0),  # let go, and 39 left out
        (10, 0, 0),
        (11, 10, 1),
    ],
)
def test_what_is_usual_is_due_and_the_rest_is_held_until_more_than_that_is_reported(
    logged: int, reported: int, units: int
) -> None:
    assert held(logged, *([line(reported)] if reported else [])) == units


def test_a_row_says_what_is_held_at_the_deal_of_its_day() -> None:
    (row,) = hold_back({cell(): 50}, [line(4)], POLICY, DEALS)
    assert row == HeldBack(WORK, DAY, Kind.VIEW, 1, 40, 50, 4, 3)
    assert row.row() == {
        "reason": "spike_hold",
        "catalogue": 1,
        "work": "1/0",
        "day": format_day(DAY),
        "kind": "view",
        "version": 1,
        "held_units": 40,
        "due_units": 10,
        "logged_units": 50,
        "reported_units": 4,
        "price_nano": 3,
        "amount_nano": 120,
    }
    assert without({cell(): 50, cell(DAY + 1): 2}, [row]) == {cell(): 10, cell(DAY + 1): 2}


def test_days_before_say_what_is_usual() -> None:
    past = [line(30, DAY - 1), line(20, DAY - 3), line(9, DAY - 4), line(900, DAY - 6)]
    assert held(60, *past, line(50, batch=2)) == 10
    other = [line(900, DAY - 1, work=WorkRef(1, 1))]
    assert held(60, *other, line(10, batch=2)) == 50


def test_what_moved_since_a_batch_was_made_is_held_against_nobody() -> None:
    """A day before was reported late, so more is usual now than was then; or less."""
    late = line(100, DAY - 1, batch=2)
    assert held(300, line(10, batch=1), late) == 290
    assert held(300, late, line(10, batch=3)) == 300 - 210, "it was known when this was reported"
    first, small = line(100, DAY - 1, batch=1), line(2, DAY - 2, batch=3)
    assert held(300, first, line(210, batch=2), small) == 90
    assert held(300, first, line(211, batch=2), small) == 0, "more than was ever usual"


def test_a_tally_of_many_days_is_looked_at_as_one() -> None:
    assert held(300, line(100, DAY - 1, batch=4), line(210, batch=4)) == 90


def test_who_reports_too_little_of_a_day_is_allowed_no_less_of_the_next() -> None:
    logged = {cell(): 10, cell(DAY + 1): 40}
    (row,) = hold_back(logged, [line(1), line(12, DAY + 1, 2)], POLICY, DEALS)
    assert (row.day, row.held_units, row.due_units) == (DAY + 1, 10, 30), "10 were due before"
    late = [line(1), line(12, DAY + 1, 2), line(9, batch=3)]
    (row,) = hold_back(logged, late, POLICY, DEALS)
    assert (row.held_units, row.due_units) == (28, 12), "what came late was not known"


def test_what_was_let_go_or_is_held_apart_is_not_held() -> None:
    assert held(50, released={(DAY, WORK)}) == 0
    assert held(50, released={(DAY + 1, WORK), (DAY, WorkRef(1, 1))}) == 40
    assert held(50, apart={WORK}) == 0
    assert hold_back({cell(): 50}, [], Policy(), DEALS) == ()


counts = st.lists(st.integers(0, 60), min_size=1, max_size=8)


@given(counts, counts, st.sets(st.integers(0, 7)))
def test_a_platform_that_reports_by_its_policy_has_held_what_its_own_count_holds(
    past: list[int], units: list[int], let_go: set[int]
) -> None:
    """Day by day, in batches of their own, released or not: nothing is missing, nothing too much."""
    batch = itertools.count(1)
    lines = [line(n, DAY - len(past) + at, next(batch)) for at, n in enumerate(past) if n]
    released = {(DAY + at, WORK) for at in let_go}
    own: dict[int, int] = {}

    def reported(day: int) -> Mapping[Any, int]:
        found = sum(one.units for one in lines if one.day == day)
        return {(1, 1, Kind.VIEW, 0): found} if found else {}

    logged = {cell(DAY + at): n for at, n in enumerate(units) if n}
    for where, n in logged.items():
        item = Item(where.day, WORK, Kind.VIEW, 1, n, 3)
        made = hold_spikes([item], POLICY, reported=reported, released=released)
        sent = sum(one.units for one in made if not one.held)
        own[where.day] = n - sent
        if sent:
            lines.append(line(sent, where.day, next(batch)))
    for known in (released, set[Any]()):
        found = hold_back(logged, lines, POLICY, DEALS, released=known)
        assert {one.day: one.held_units for one in found} == {d: n for d, n in own.items() if n}
        due = without(logged, found)
        assert due == {where: sum(reported(where.day).values()) for where in logged}


def test_only_a_manifest_that_a_batch_committed_to_says_what_was_let_go() -> None:
    content = json.dumps({"released": ["1/0:2024-10-04"]}).encode()
    digest = hashlib.sha256(content).digest()
    batch = Batch("0x", 1, DAY, digest, b"", ())
    assert released_in([batch], {1: content}) == {(20_000, WORK)}
    assert released_in([batch], {1: content + b" "}) == frozenset()
    assert released_in([batch], {}) == frozenset()


@pytest.mark.parametrize(
    "said", [{"released": ["nonsense"]}, {"released": [7]}, {"released": 7}, [], {}, "released"]
)
def test_a_manifest_that_says_nonsense_says_nothing(said: Any) -> None:
    content = json.dumps(said).encode()
    batch = Batch("0x", 1, DAY, hashlib.sha256(content).digest(), b"", ())
    assert released_in([batch], {1: content}) == frozenset()


# --- reconcile, on a chain ---


@pytest.fixture
def told(scene: Scene) -> Callable[..., Any]:
    """`reconcile` under a policy with a spike hold, of an auditor with a folder of its own."""
    policy = scene.folder / "policy.toml"
    policy.write_text(SPIKE)

    def reconcile(rows: list[LogRow], **options: Any) -> Any:
        return scene.reconcile(rows, **({"policy": policy} | options))

    return reconcile


def views(scene: Scene, *units: int) -> list[LogRow]:
    """Views of the first work, day after day."""
    return [(scene.day + at, str(scene.work()), Kind.VIEW, n) for at, n in enumerate(units) if n]


def report(scene: Scene, *units: int) -> None:
    for at, n in enumerate(units):
        if n:
            scene.report(scene.day + at, [(scene.work(), Kind.VIEW, n)])


PRICE = 3_000_000


def test_what_the_policy_holds_is_told_apart_and_accuses_nobody(
    scene: Scene, told: Callable[..., Any]
) -> None:
    report(scene, 10, 30)
    found = told(views(scene, 50, 40))
    assert found.findings == ()
    assert [(one.day, one.held_units) for one in found.held] == [
        (scene.day, 40),
        (scene.day + 1, 10),
    ]
    document = found.document()
    assert (document["qualified"], document["difference_nano"]) == (90, 0)
    assert document["units_logged"] == document["units_chain"]
    assert document["units_logged"]["view"] + document["units_held"]["view"] == 90
    assert document["logged_nano"] == document["credited_nano"] == 40 * PRICE
    assert (document["held_amount_nano"], document["shortfall_percent"]) == (50 * PRICE, "0.0000")
    assert document["over_threshold"] is False
    assert document["held"][0]["reason"] == "spike_hold"
    assert [row["difference_nano"] for row in document["days"] + document["works"]] == [0] * 6
    plain = told(views(scene, 50, 40), policy=None)
    assert rows_of(plain) == [
        ("under_reported", str(scene.work()), 40 * PRICE),
        ("under_reported", str(scene.work()), 10 * PRICE),
    ]
    assert (plain.held, plain.units_held["view"]) == ((), 0)


@pytest.mark.parametrize(
    ("reported", "finding", "held"),
    [
        (50, None, 0),
        (30, ("under_reported", 20), 0),
        (53, ("over_reported", -3), 0),
        (7, ("under_reported", 3), 40),
        (0, ("missing_on_chain", 10), 40),
    ],
)
def test_what_was_let_go_or_left_out_is_found_to_the_nano_token(
    scene: Scene,
    told: Callable[..., Any],
    reported: int,
    finding: tuple[str, int] | None,
    held: int,
) -> None:
    report(scene, reported)
    found = told(views(scene, 50))
    expected = [] if finding is None else [(finding[0], str(scene.work()), finding[1] * PRICE)]
    assert rows_of(found) == expected
    assert sum(one.held_units for one in found.held) == held
    assert found.difference_nano == sum(row.difference_nano for row in found.findings)


def test_days_before_the_period_are_looked_at_on_the_chain(
    scene: Scene, told: Callable[..., Any]
) -> None:
    report(scene, 30, 30, 70)
    third = {"since": format_day(scene.day + 2)}
    found = told(views(scene, 0, 0, 90), **third)
    assert (found.findings, [one.held_units for one in found.held]) == ((), [20])


def test_a_rival_is_told_as_a_rival_and_not_as_a_spike(
    scene: Scene, told: Callable[..., Any], session: Callable[..., Any]
) -> None:
    fingerprint = secrets.token_bytes(32)
    open_catalogue(session("dev8"), scene.day, [fingerprint])
    later = open_catalogue(scene.producer, scene.day, [fingerprint])
    found = told([(scene.day, f"{later}/0", Kind.VIEW, 50)])
    assert rows_of(found) == [("rival_catalogue", f"{later}/0", 50 * PRICE)]
    assert found.held == ()


def test_a_release_in_this_folder_makes_the_rest_due_and_is_said(
    scene: Scene, told: Callable[..., Any]
) -> None:
    from royalty.store import STORE, UsageStore

    report(scene, 10)
    me = scene.platform.account.address
    store = UsageStore(scene.producer.platform_dir(me) / STORE)
    store.release([(scene.day, scene.work()), (1, scene.work())])
    found = told(views(scene, 50))
    assert rows_of(found) == [("under_reported", str(scene.work()), 40 * PRICE)]
    assert (found.held, found.document()["folder_released"]) == ((), 1)
    page = found.to_html(scene.folder / "page.html").read_text()
    assert "1 spike of these days had been let go" in page
    assert told(views(scene, 50), policy=None).document()["folder_released"] == 0


def test_a_release_in_the_evidence_makes_the_rest_due(
    scene: Scene, told: Callable[..., Any]
) -> None:
    evidence = scene.folder / "evidence"
    evidence.mkdir()
    release = f"{scene.work()}:{format_day(scene.day)}"
    content = json.dumps({"released": [release]}).encode()
    digest = hashlib.sha256(content).digest()
    batch = scene.report(scene.day, [(scene.work(), Kind.VIEW, 10)], digest)
    (evidence / f"manifest-{batch}.json").write_bytes(content)
    found = told(views(scene, 50), evidence=evidence)
    assert rows_of(found)[0] == ("under_reported", str(scene.work()), 40 * PRICE)
    assert found.held == ()


def test_what_is_held_is_in_files_and_on_the_page(
    scene: Scene, told: Callable[..., Any], tmp_path: Path
) -> None:
    import csv

    import pyarrow.parquet as pq

    from tests.royalty.pages import read, same_figures

    report(scene, 10)
    found = told(views(scene, 50))
    paths = found.write(tmp_path)
    assert [path.name for path in paths] == [
        *("findings.csv", "findings.parquet", "held.csv", "held.parquet")
    ]
    assert len(told(views(scene, 50), policy=None).write(tmp_path / "plain")) == 2
    with (tmp_path / "held.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["work"], row["held_units"], row["amount_nano"]) == (
        str(scene.work()),
        "40",
        str(40 * PRICE),
    )
    (typed,) = pq.read_table(tmp_path / "held.parquet").to_pylist()
    assert (typed["held_units"], typed["amount_nano"]) == (40, 40 * PRICE)
    page = found.to_html(tmp_path / "page.html").read_text()
    same_figures(read(page), add_decimal(found.document()))
    assert "Held, no finding" in page
    assert "under_reported" not in page
    assert "beyond 2 x the median of the 5 days before + 10" in page
    assert "Held, no finding" not in told(views(scene, 10)).to_html(tmp_path / "p.html").read_text()
