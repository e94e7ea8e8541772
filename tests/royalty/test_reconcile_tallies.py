"""Reconciliation of tallies: settled leaves count, unsettled ones explain what their data show."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from royalty.days import format_day
from royalty.errors import InputError
from royalty.merkle import Claim, DayLine, leaves_of
from royalty.tallydata import data_bytes, file_name, rows_of, write_data
from royalty.usage import Kind, WorkRef
from tests.royalty.test_reconcile import (
    TARIFF,
    WORTH,
    LogRow,
    Scene,
    open_catalogue,
    report_all,
    usage_of,
)
from tests.royalty.test_reconcile import (
    rows_of as findings_of,
)
from tests.tallies import Posted, claims_of, post

VIEW, DOWNLOAD, EXCERPT = Kind


@pytest.fixture
def scene(session: Callable[..., Any], folder: Path, anvil: Any) -> Iterator[Scene]:
    snapshot = anvil.request("evm_snapshot")
    producer, platform = session("dev0"), session("dev1")
    number = open_catalogue(producer, 19_000, [secrets.token_bytes(32) for _ in range(3)])
    platform.send(platform.ledger.approve(10**12))
    platform.send(platform.ledger.deposit(platform.account.address, 10**11))
    yield Scene(producer, platform, number, 19_000, folder)
    anvil.request("evm_revert", snapshot)


def lines_of(rows: Sequence[LogRow]) -> list[DayLine]:
    refs = [(WorkRef.parse(work), day, kind, units) for day, work, kind, units in rows]
    return [DayLine(work.catalogue, 1, day, kind, work.index, n) for work, day, kind, n in refs]


def claims(scene: Scene, rows: Sequence[LogRow], most: int = 24_000) -> list[Claim]:
    return claims_of(lines_of(rows), {(scene.catalogue, 1): TARIFF}, most)


def data_of(scene: Scene, rows: Sequence[LogRow], most: int = 24_000) -> bytes:
    leaves = leaves_of(sorted(lines_of(rows)), most)
    return data_bytes(rows_of(leaves, {(scene.catalogue, 1): TARIFF}))


def put(place: Path, batch: int, content: bytes) -> Path:
    path = place / file_name(batch, hashlib.sha256(content).digest())
    write_data(path, content)
    return path


def post_rows(
    scene: Scene,
    rows: Sequence[LogRow],
    *,
    day: int | None = None,
    most: int = 24_000,
    place: Path | None = None,
    **options: Any,
) -> Posted:
    """Post rows as a tally, with its data in a folder where one is given."""
    content = data_of(scene, rows, most)
    last = max(row[0] for row in rows) if day is None else day
    options.setdefault("digest", hashlib.sha256(content).digest())
    posted = post(scene.platform, claims(scene, rows, most), last, **options)
    if place is not None:
        place.mkdir(exist_ok=True)
        put(place, posted.batch, content)
    return posted


def own_place(scene: Scene) -> Path:
    place = Path(scene.platform.platform_dir(scene.platform.account.address)) / "tallies"
    place.mkdir(parents=True)
    return place


def test_a_settled_tally_leaves_nothing_to_find(scene: Scene) -> None:
    rows = usage_of(scene)
    posted = post_rows(scene, rows)
    posted.settle(scene.producer)
    found = scene.reconcile(rows)
    assert found.findings == ()
    assert found.notes == ()
    document = found.document()
    assert document["logged_nano"] == document["credited_nano"] == WORTH
    assert document["units_chain"] == {"view": 10, "download": 2, "excerpt": 90}
    assert document["solvent"] is True
    assert scene.reconcile(rows, platform=None).findings == (), "the only one with usage of them"


def test_settled_leaves_count_on_their_own_days_as_far_as_asked_for(scene: Scene) -> None:
    rows = usage_of(scene)
    post_rows(scene, rows, day=scene.day + 3).settle(scene.producer)
    days = {"since": format_day(scene.day), "until": format_day(scene.day)}
    found = scene.reconcile(rows, **days)
    assert found.findings == ()
    assert found.credited_nano == 7 * TARIFF.view + 2 * TARIFF.download
    short = scene.reconcile(rows[1:], **days)
    assert findings_of(short) == [("not_in_log", f"{scene.catalogue}/0", -7 * TARIFF.view)]


def test_open_leaves_of_days_before_say_what_is_usual_where_their_data_are_at_hand(
    scene: Scene,
) -> None:
    """Without the data the rest is held, and a note says what may make it less."""
    policy, work = scene.folder / "policy.toml", str(scene.work())
    policy.write_text("[spike]\nmultiple = 2\nabove = 10\ndays = 5\n")
    place = scene.folder / "evidence"
    posted = post_rows(scene, [(scene.day, work, VIEW, 30)], place=place)
    scene.report(scene.day + 1, [(scene.work(), VIEW, 10)])
    rows = [(scene.day + 1, work, VIEW, 90)]
    asked = {"policy": policy, "since": format_day(scene.day + 1)}
    found = scene.reconcile(rows, **asked)
    assert (findings_of(found), [one.held_units for one in found.held]) == ([], [80])
    (note,) = found.notes
    assert note.startswith(f"batch {posted.batch}: what waits in its unsettled leaves")
    known = scene.reconcile(rows, **asked, evidence=place)
    (row,) = [row for row in findings_of(known) if row[0] == "under_reported"]
    assert row == ("under_reported", work, 60 * TARIFF.view)
    assert [one.held_units for one in known.held] == [20]
    posted.settle(scene.producer)
    settled = scene.reconcile(rows, **asked)
    assert (findings_of(settled), settled.notes) == ([row], ())


def test_what_waits_in_an_open_leaf_is_unsettled_and_not_held(scene: Scene) -> None:
    policy, work = scene.folder / "policy.toml", str(scene.work())
    policy.write_text("[spike]\nmultiple = 2\nabove = 10\ndays = 5\n")
    post_rows(scene, [(scene.day, work, VIEW, 10)], place=scene.folder / "data")
    rows = [(scene.day, work, VIEW, 90)]
    found = scene.reconcile(rows, policy=policy, evidence=scene.folder / "data")
    assert ("unsettled", work, 10 * TARIFF.view) in findings_of(found)
    assert [(one.held_units, one.reported_units) for one in found.held] == [(80, 10)]
    assert "under_reported" not in [row[0] for row in findings_of(found)]


def test_a_tally_and_a_report_of_the_same_usage_are_too_much(scene: Scene) -> None:
    rows = usage_of(scene)
    report_all(scene, rows)
    posted = post_rows(scene, rows[:1])
    posted.settle(scene.producer)
    found = scene.reconcile(rows)
    assert findings_of(found) == [("over_reported", f"{scene.catalogue}/0", -21_000_000)]
    assert found.findings[0].batch == posted.batch


def test_what_a_tally_holds_is_unsettled_where_its_data_are_at_hand(scene: Scene) -> None:
    rows = usage_of(scene)
    place = scene.folder / "evidence"
    posted = post_rows(scene, rows, place=place)
    found = scene.reconcile(rows, evidence=place)
    unsettled = [row for row in found.findings if row.reason == "unsettled"]
    assert [(row.work, row.day, row.kind, row.logged_units, row.batch) for row in unsettled] == [
        (f"{scene.catalogue}/0", scene.day, VIEW, 7, posted.batch),
        (f"{scene.catalogue}/0", scene.day + 1, VIEW, 3, posted.batch),
        (f"{scene.catalogue}/1", scene.day, DOWNLOAD, 2, posted.batch),
        (f"{scene.catalogue}/2", scene.day + 1, EXCERPT, 90, posted.batch),
    ]
    assert {row.chain_units for row in unsettled} == {row.credited_nano for row in unsettled} == {0}
    assert [row.expected_nano for row in unsettled] == [row.difference_nano for row in unsettled]
    assert sum(row.difference_nano or 0 for row in unsettled) == WORTH == found.difference_nano
    assert {row.price_nano for row in unsettled} == {TARIFF.price(kind) for kind in Kind}
    assert "missing_on_chain" not in {row.reason for row in found.findings}
    posted.settle(scene.producer)
    found = scene.reconcile(rows, evidence=place)
    assert [row.reason for row in found.findings] == ["evidence_mismatch"], "it has no manifest"
    assert scene.reconcile(rows).findings == ()


def test_the_platforms_own_folder_has_its_data(scene: Scene) -> None:
    rows = usage_of(scene)
    posted = post_rows(scene, rows)
    write_data(own_place(scene) / "tally-x.parquet", data_of(scene, rows))
    found = scene.reconcile(rows)
    assert {row.reason for row in found.findings} == {"unsettled"}
    assert len(found.findings) == 4
    assert {row.batch for row in found.findings} == {posted.batch}


def test_without_data_a_tally_is_one_row_and_what_it_holds_is_missing(scene: Scene) -> None:
    rows = usage_of(scene)
    posted = post_rows(scene, rows)
    found = scene.reconcile(rows)
    assert [row.reason for row in found.findings] == ["missing_on_chain"] * 4 + ["unsettled"]
    last = found.findings[-1]
    assert (last.batch, last.day) == (posted.batch, posted.day)
    assert last.work is last.kind is last.difference_nano is last.expected_nano is None
    assert sum(row.difference_nano or 0 for row in found.findings) == found.difference_nano
    (note,) = found.notes
    assert f"batch {posted.batch}: 1.03900027 tokens in 1 leaf are unsettled" in note
    assert scene.reconcile(rows, platform=None).platform == scene.platform.account.address


def test_only_tallies_that_can_hold_usage_of_the_period_are_rows(scene: Scene) -> None:
    rows = usage_of(scene)
    early = post_rows(scene, [(scene.day - 20, str(scene.work()), VIEW, 1)], day=scene.day - 1)
    late = post_rows(scene, rows, day=scene.day + 900)
    done = post_rows(scene, rows[:1])
    done.settle(scene.producer)
    found = scene.reconcile(rows[:1])
    assert [(row.reason, row.batch) for row in found.findings] == [("unsettled", late.batch)]
    assert early.batch < late.batch
    days = {"since": format_day(scene.day - 20), "until": format_day(scene.day - 20)}
    found = scene.reconcile(rows, **days)
    assert [row.batch for row in found.findings] == [early.batch, late.batch]


def test_data_without_a_day_of_the_period_say_nothing_of_it(scene: Scene) -> None:
    place = scene.folder / "evidence"
    post_rows(scene, [(scene.day + 900, str(scene.work()), VIEW, 4)], place=place)
    elsewhere = [(scene.day - 9, str(scene.work()), VIEW, 1)]
    assert scene.reconcile(elsewhere, evidence=place).findings == ()


def test_settled_leaves_of_a_half_settled_tally_count_and_open_ones_wait(scene: Scene) -> None:
    rows = usage_of(scene)
    place = scene.folder / "evidence"
    posted = post_rows(scene, rows, most=17, place=place)
    assert len(posted.claims) == 4
    posted.settle(scene.producer, 1, 2)
    found = scene.reconcile(rows, evidence=place)
    told = [(row.work, row.day) for row in found.findings if row.reason == "unsettled"]
    lines = sorted(lines_of(rows))
    open_lines = (lines[0], lines[3])
    assert told == sorted((f"{one.catalogue}/{one.index}", one.day) for one in open_lines)
    worth = posted.claims[0].amount + posted.claims[3].amount
    assert found.difference_nano == worth
    assert sum(row.difference_nano or 0 for row in found.findings) == worth


def test_what_waits_explains_no_more_than_it_holds(scene: Scene) -> None:
    """The log has 7 views, the chain 2, an open leaf 3: 3 are unsettled and 2 missing."""
    rows = usage_of(scene)[:1]
    place = scene.folder / "evidence"
    scene.report(scene.day, [(scene.work(0), VIEW, 2)])
    waiting = post_rows(scene, [(scene.day, str(scene.work(0)), VIEW, 3)], place=place)
    found = scene.reconcile(rows, evidence=place)
    money = [row for row in found.findings if row.difference_nano is not None]
    assert [(row.reason, row.logged_units, row.chain_units, row.batch) for row in money] == [
        ("under_reported", 4, 2, waiting.batch - 1),
        ("unsettled", 3, 0, waiting.batch),
    ]
    assert [row.difference_nano for row in money] == [2 * TARIFF.view, 3 * TARIFF.view]
    assert found.difference_nano == 5 * TARIFF.view


def test_what_waits_beyond_the_log_is_said(scene: Scene) -> None:
    """The log has 7 views, open leaves of two tallies 6 each, and one of a work that it lacks."""
    rows = usage_of(scene)[:1]
    place = scene.folder / "evidence"
    first = post_rows(scene, [(scene.day, str(scene.work(0)), VIEW, 6)], place=place)
    more = [(scene.day, str(scene.work(index)), VIEW, 6) for index in (0, 1)]
    second = post_rows(scene, more, place=place)
    found = scene.reconcile(rows, evidence=place)
    told = [
        (row.work, row.batch, row.logged_units)
        for row in found.findings
        if row.reason == "unsettled"
    ]
    assert told == [
        (str(scene.work(0)), first.batch, 6),
        (str(scene.work(0)), second.batch, 1),
        (str(scene.work(1)), second.batch, 0),
    ]
    assert found.difference_nano == 7 * TARIFF.view
    assert (
        f"batch {second.batch}: its unsettled leaves hold 11 units more than the log" in found.notes
    )


def test_a_tally_that_ends_later_waits_with_those_days_alone_that_were_asked_for(
    scene: Scene,
) -> None:
    """Only its data say that it touches the period: it needs evidence like any other batch."""
    rows = [*usage_of(scene), (scene.day + 900, str(scene.work(0)), VIEW, 4)]
    place = scene.folder / "evidence"
    posted = post_rows(scene, rows, place=place)
    assert len(posted.claims) == 1
    found = scene.reconcile(rows[:-1], evidence=place)
    assert [row.reason for row in found.findings] == ["unsettled"] * 4 + ["evidence_mismatch"]
    assert found.difference_nano == WORTH
    assert found.notes == (f"batch {posted.batch}: there is no manifest-{posted.batch}.json",)


def test_data_that_do_not_lead_to_the_root_are_no_evidence(scene: Scene) -> None:
    rows = usage_of(scene)
    place = scene.folder / "evidence"
    place.mkdir()
    lie = data_of(scene, [(scene.day, str(scene.work(0)), VIEW, 999)])
    posted = post_rows(scene, rows, digest=hashlib.sha256(lie).digest())
    path = put(place, posted.batch, lie)
    (place / f"manifest-{posted.batch}.json").write_bytes(b"")
    found = scene.reconcile(rows, evidence=place)
    reasons = [row.reason for row in found.findings]
    assert reasons == ["missing_on_chain"] * 4 + ["evidence_mismatch", "unsettled"]
    assert (
        f"batch {posted.batch}: {path.name} does not lead to the root that was posted"
        in found.notes
    )
    honest = put(place, posted.batch, data_of(scene, rows))
    found = scene.reconcile(rows, evidence=place)
    reasons = [row.reason for row in found.findings]
    assert reasons == ["unsettled"] * 4 + ["evidence_mismatch"], (
        "anybody's copy of the data will do"
    )
    path.unlink()
    honest.write_bytes(b"no parquet")
    found = scene.reconcile(rows, evidence=place)
    assert any(f"{honest.name} cannot be the tally's data" in note for note in found.notes)


def test_data_with_the_right_root_but_another_total_or_number_of_leaves_are_no_evidence(
    scene: Scene,
) -> None:
    """A root does not say the total by itself: whoever posts may claim any."""
    from royalty.merkle import Tree

    rows = usage_of(scene)
    place = scene.folder / "evidence"
    honest = claims(scene, rows)[0]
    larger = Tree((honest.node, honest.node[:32] + (honest.amount + 1).to_bytes(12, "big")))
    post_rows(scene, rows, place=place, tree=larger)
    found = scene.reconcile(rows, evidence=place)
    assert [row.reason for row in found.findings][-1] == "unsettled"
    assert "missing_on_chain" in {row.reason for row in found.findings}


def test_a_void_leaf_is_not_credited(scene: Scene) -> None:
    rows = usage_of(scene)[:1]
    (claim,) = claims(scene, rows)
    posted = post(scene.platform, [Claim(claim.leaf, claim.amount + 1)], scene.day)
    posted.settle(scene.producer)
    found = scene.reconcile(rows)
    assert findings_of(found) == [("missing_on_chain", f"{scene.catalogue}/0", 21_000_000)]
    assert found.credited_nano == 0


def test_an_open_leaf_that_would_be_void_explains_nothing(scene: Scene) -> None:
    """Its data claim another price than the deal's: the root is right, and the leaf is worth nothing."""
    from royalty.usage import Tariff

    rows = usage_of(scene)[:1]
    dear = Tariff(TARIFF.view + 1, 0, 0)
    leaves = list(leaves_of(sorted(lines_of(rows))))
    content = data_bytes(rows_of(leaves, {(scene.catalogue, 1): dear}))
    claim = Claim(leaves[0].pack(), leaves[0].cost(dear))
    posted = post(scene.platform, [claim], scene.day, digest=hashlib.sha256(content).digest())
    put(own_place(scene), posted.batch, content)
    found = scene.reconcile(rows)
    assert findings_of(found) == [("missing_on_chain", f"{scene.catalogue}/0", 21_000_000)]
    (note,) = found.notes
    assert "leaf 0 will be void when it is settled (amount mismatch)" in note


def test_one_digest_in_a_tally_and_a_report_is_found(scene: Scene) -> None:
    digest = secrets.token_bytes(32)
    rows = usage_of(scene)
    first = scene.report(
        scene.day, [(scene.work(0), VIEW, 7), (scene.work(1), DOWNLOAD, 2)], digest
    )
    second = post_rows(scene, rows[2:], evidence=digest)
    second.settle(scene.producer)
    found = scene.reconcile(rows)
    assert [(row.reason, row.batch) for row in found.findings] == [
        ("evidence_reused", first),
        ("evidence_reused", second.batch),
    ]


def test_two_platforms_of_a_period_are_named_whether_they_report_or_post(
    scene: Scene, session: Callable[..., Any]
) -> None:
    rows = usage_of(scene)
    report_all(scene, rows)
    other = session("dev2")
    other.send(other.ledger.approve(10**9))
    other.send(other.ledger.deposit(other.account.address, 10**8))
    lone = Scene(scene.producer, other, scene.catalogue, scene.day, scene.folder)
    posted = post_rows(lone, rows[:1], day=scene.day + 900)
    assert scene.reconcile(rows, platform=None).platform == scene.platform.account.address, (
        "what nobody settled may be of other days"
    )
    posted.settle(scene.producer)
    with pytest.raises(InputError, match="2 platforms have reported"):
        scene.reconcile(rows, platform=None)
