"""Reporting on a chain: the difference and no more, through faults of chain, node and folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from royalty import journal as journals
from royalty.days import parse_day
from royalty.errors import (
    ChainError,
    Declined,
    FundsTooLow,
    InputError,
    JournalStopped,
    LimitTooLow,
    NodeTimeout,
    Reverted,
)
from royalty.journal import State
from royalty.reports import Report, report
from royalty.standing import status
from royalty.usage import Kind, Line, Tariff, group_lines, pack_usage
from tests.conftest import Anvil, start_anvil
from tests.usage_world import DAY, NEXT, PRICES, World, make_world, open_catalogue, world

pytestmark = pytest.mark.chain


@pytest.fixture
def here(session: Callable[..., Any], folder: Path, anvil: Anvil) -> Iterator[World]:
    with world(session, folder, anvil) as made:
        yield made


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Ask again and again until something is true."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.02)


def states(made: World) -> list[State]:
    return [batch.state for batch in status(made.as_platform()).batches]


# --- the difference, and no more ---


def test_a_platform_reports_in_five_lines(here: World) -> None:
    here.views("views.csv", 3, 2)
    from royalty import Royalty

    royalty = Royalty.connect(
        account="dev1",
        rpc=here.anvil.rpc,
        contract=here.as_platform().ledger.address,
        folder=here.folder,
    )
    made = royalty.usage.report("v*.csv", day=DAY)
    assert [batch.amount_nano for batch in made.batches] == [5 * PRICES["view"]]
    assert here.views_on_chain() == [3, 2, 0]


def test_every_kind_is_paid_at_its_price(here: World) -> None:
    rows = [
        ("a", 0, "view", DAY, 40, "ann"),
        ("b", 0, "download", DAY, "", "ann"),
        ("c", 1, "excerpt", DAY, "12.9", "ann"),
    ]
    made = here.as_platform().usage.report(here.log("log.csv", rows), day=DAY)
    (batch,) = made.batches
    assert (batch.works, batch.units) == (2, {"view": 1, "download": 1, "excerpt": 12})
    assert batch.amount_nano == 3_000_000 + 500_000_000 + 12 * 100_000
    state = here.as_platform().ledger.platform(here.platform)
    assert state.funds_nano == 100 * 10**9 - batch.amount_nano


def test_the_same_log_again_sends_nothing_whatever_its_form(here: World) -> None:
    import gzip

    log = here.views("views.csv", 3, 2)
    usage = here.as_platform().usage
    usage.report(log, day=DAY)
    head, *rows = log.read_text().splitlines(keepends=True)
    (here.folder / "b.csv").write_text(head + "".join(rows[::-1]))
    (here.folder / "c.csv.gz").write_bytes(gzip.compress(log.read_bytes()))
    tabs = log.read_text().replace(",", "\t")
    (here.folder / "d.tsv").write_text(tabs)
    for name in ("views.csv", "b.csv", "c.csv.gz", "d.tsv", "[bcv]*.csv*"):
        again = here.as_platform().usage.report(name, day=DAY)
        assert again.batches == []
        assert again.document()["already_reported"] == {"view": 5, "download": 0, "excerpt": 0}
    assert len(here.reported()) == 1


def test_late_rows_send_the_difference(here: World) -> None:
    usage = here.as_platform().usage
    usage.report(here.views("first.csv", 3, 2), day=DAY)
    late = usage.report(here.views("late.csv", 1, 0, 4, first=3), day=DAY)
    (batch,) = late.batches
    assert (batch.batch, batch.works, batch.units["view"]) == (2, 2, 5)
    assert here.views_on_chain() == [4, 2, 4]


def test_days_are_batches_of_their_own_and_others_stay_out(here: World) -> None:
    rows = [
        (f"{day}{at}", 0, "view", day, 40, f"{day}{at}")
        for day, count in (("2024-05-09", 1), (DAY, 2), (NEXT, 3), ("2024-05-12", 4))
        for at in range(count)
    ]
    made = here.as_platform().usage.report(here.log("log.csv", rows), since=DAY, until=NEXT)
    assert [(batch.day, batch.units["view"]) for batch in made.batches] == [
        (parse_day(DAY), 2),
        (parse_day(NEXT), 3),
    ]
    assert here.views_on_chain("2024-05-12") == [0, 0, 0]
    assert (
        here.as_platform().usage.report("log.csv", day="2024-05-12").batches[0].units["view"] == 4
    )


def test_a_negative_difference_is_listed_and_never_sent(here: World) -> None:
    rows = [("a", 0, "view", f"{DAY}T12:00:00Z", 40, "ann")]
    usage = here.as_platform().usage
    usage.report(here.log("log.csv", rows), day=DAY)
    earlier = [("a", 1, "view", f"{DAY}T11:00:00Z", 40, "ann")]  # the same id, an earlier row
    made = usage.report(here.log("late.csv", earlier), day=DAY)
    assert made.document()["negative"] == [
        {"day": DAY, "work": here.work(0), "kind": "view", "units": -1}
    ]
    assert here.views_on_chain() == [1, 1, 0]
    assert made.findings


def test_a_duplicate_of_the_day_before_is_known_from_another_report(here: World) -> None:
    usage = here.as_platform().usage
    row = ("a", 0, "view", DAY, 40, "ann")
    usage.report(here.log("one.csv", [row]), day=DAY)
    made = usage.report(here.log("two.csv", [("a", 0, "view", NEXT, 40, "ann")]), day=NEXT)
    assert made.batches == []
    assert here.views_on_chain() == [1, 0, 0]


def test_late_rows_of_the_day_before_take_units_back_only_in_words(here: World) -> None:
    usage = here.as_platform().usage
    usage.report(here.log("two.csv", [("a", 0, "view", NEXT, 40, "ann")]), day=NEXT)
    late = here.log("one.csv", [("a", 0, "view", DAY, 40, "ann")])
    usage.report(late, day=DAY)
    made = usage.report(late, since=DAY, until=NEXT)
    assert made.batches == []
    assert [(item.day, item.units) for item in made.negative] == [(parse_day(NEXT), -1)]


def test_a_map_that_earlier_reports_used_still_counts(here: World) -> None:
    (here.folder / "map.csv").write_text(f"platform_id,work\nfilm,{here.work(0)}\n")
    usage = here.as_platform().usage
    usage.report(
        here.log("one.csv", [("a", "film", "view", DAY, 40, "ann")]), day=DAY, works="map.csv"
    )
    made = usage.report(here.log("two.csv", [("b", 1, "view", DAY, 40, "bob")]), day=DAY)
    assert [batch.units["view"] for batch in made.batches] == [1]
    assert made.negative == []
    assert here.views_on_chain() == [1, 1, 0]


def test_each_day_goes_to_the_deal_in_force_on_it(here: World, session: Callable[..., Any]) -> None:
    from royalty.catalogues import deals

    producer = session("dev0")
    (deal,) = deals(producer, here.catalogue)
    today = producer.today()
    raised = Tariff(4_000_000, 500_000_000, 100_000)
    call = producer.ledger.amend(
        here.catalogue, today + 1, raised, 2**40, deal.split, deal.split, [b""] * 2
    )
    producer.send(call)
    here.anvil.mine_days(2)
    days = {version: today + version - 1 for version in (1, 2)}
    from royalty.days import format_day

    rows = [(str(v), 0, "view", format_day(day), 40, "ann") for v, day in days.items()]
    log = here.log("log.csv", rows)
    period = {"since": days[1], "until": days[2]}
    made = here.as_platform().usage.report(log, **period)
    assert [batch.amount_nano for batch in made.batches] == [3_000_000]
    assert [row["reason"] for row in made.document()["held"]] == ["dearer_than_accepted"]
    here.as_platform().platforms.accept(here.catalogue)
    made = here.as_platform().usage.report(log, **period)
    assert [batch.amount_nano for batch in made.batches] == [4_000_000]
    assert not made.findings


def test_usage_of_a_rivals_work_is_held_until_it_is_accepted(
    here: World, session: Callable[..., Any]
) -> None:
    other = open_catalogue(session("dev4"), here.folder, 3)
    here.as_platform().platforms.accept(other)
    rows = [("a", f"{other}/0", "view", DAY, 40, "ann"), ("b", 0, "view", DAY, 40, "ann")]
    log = here.log("log.csv", rows)
    checked = here.as_platform().usage.check(log, day=DAY)
    held = [
        {
            "reason": "rival_catalogue",
            "work": f"{other}/0",
            "units": {"view": 1, "download": 0, "excerpt": 0},
            "amount_nano": 3_000_000,
        }
    ]
    assert checked.document()["held"] == held
    assert checked.amount_nano == 6_000_000
    made = here.as_platform().usage.report(log, day=DAY)
    assert made.document()["held"] == held
    assert here.views_on_chain() == [1, 0, 0]
    here.as_platform().platforms.accept(other, despite_rival=True)
    again = here.as_platform().usage.report(log, day=DAY)
    assert not again.findings
    assert [batch.units["view"] for batch in again.batches] == [1]


def test_another_policy_for_a_reported_day_is_refused(here: World) -> None:
    log = here.views("views.csv", 1)
    here.as_platform().usage.report(log, day=DAY)
    (here.folder / "policy.toml").write_text('name = "strict"\n[view]\nminimum_seconds = 60\n')
    with pytest.raises(
        InputError, match=r"2024-05-10 was first reported under the policy default 1"
    ):
        here.as_platform().usage.report(log, day=DAY, policy="policy.toml")
    here.as_platform().usage.report(
        here.views("next.csv", 1, day=NEXT), day=NEXT, policy="policy.toml"
    )
    (here.folder / "same.toml").write_text("[view]\nminimum_seconds = 30.0\n")
    assert here.as_platform().usage.report(log, day=DAY, policy="same.toml").batches == []


def test_another_way_to_resend_for_a_reported_day_is_refused(here: World) -> None:
    log = here.views("views.csv", 1)
    here.as_platform().usage.report(log, day=DAY)
    names = ("usage_id", "work", "kind", "started_at", "watched_seconds", "viewer")
    text = 'resend = "last"\n' + "".join(f'{name} = "{name}"\n' for name in names)
    (here.folder / "columns.toml").write_text(text)
    with pytest.raises(InputError, match="first reported with resend"):
        here.as_platform().usage.report(log, day=DAY, columns="columns.toml")


def test_rows_that_are_gone_from_the_store_stop_reports_of_their_day_and_the_next(
    here: World,
) -> None:
    log = here.log("one.csv", [("a", 0, "view", DAY, 40, "ann"), ("b", 1, "view", DAY, 40, "bob")])
    here.as_platform().usage.report(log, day=DAY)
    store = here.as_platform().platform_dir() / "store"
    shutil.move(store, here.folder / "copy")
    late = here.log("late.csv", [("c", 0, "view", DAY, 40, "cleo")])
    again = here.log("next.csv", [("a", 0, "view", NEXT, 40, "ann")])
    for asked, day in ((late, DAY), (again, NEXT)):
        for dry_run in (True, False):
            platform = here.as_platform()
            platform.dry_run = dry_run
            with pytest.raises(
                InputError, match="has 0 of the 2 rows that 2024-05-10 was reported"
            ):
                platform.usage.report(asked, day=day)
    shutil.move(here.folder / "copy", store)
    here.as_platform().usage.report(late, day=DAY)
    here.as_platform().usage.report(again, day=NEXT)
    assert here.views_on_chain() == [2, 1, 0]
    assert here.views_on_chain(NEXT) == [0, 0, 0]


def test_a_log_without_ids_is_not_read_by_other_columns_afterwards(here: World) -> None:
    log = here.folder / "log.csv"
    log.write_text(f"work,at,watched,user\n{here.work(0)},{DAY}T12:00:00,40,ann\n")
    names = 'work = "work"\nwatched_seconds = "watched"\nviewer = "user"\n'
    for zone in ("UTC", "Europe/Berlin"):
        at = f'started_at = {{ column = "at", zone = "{zone}" }}\n'
        (here.folder / f"{zone[:3]}.toml").write_text(names + at)
        (here.folder / f"{zone[:3]}-ids.toml").write_text(names + at + 'usage_id = "user"\n')
    usage = here.as_platform().usage
    usage.report(log, day=DAY, columns="UTC.toml")
    for other in ("Eur.toml", "Eur-ids.toml"):
        with pytest.raises(
            InputError, match=r"log\.csv was reported for 2024-05-10 with other col"
        ):
            here.as_platform().usage.report(log, day=DAY, columns=other)
    assert here.as_platform().usage.report(log, day=DAY, columns="UTC.toml").batches == []
    assert here.views_on_chain() == [1, 0, 0]


def test_a_log_with_ids_may_be_read_by_other_columns(here: World) -> None:
    log = here.log("log.csv", [("a", 0, "view", f"{DAY}T12:00:00Z", 40, "ann")])
    (here.folder / "c.toml").write_text(
        'usage_id = "usage_id"\nwork = "work"\nstarted_at = "started_at"\n'
        'watched_seconds = { column = "watched_seconds", unit = "ms" }\n'
    )
    usage = here.as_platform().usage
    usage.report(log, day=DAY)
    made = usage.report(log, day=DAY, columns="c.toml")
    assert made.batches == []
    assert [item.units for item in made.negative] == [-1]


# --- before anything is sent ---


def test_too_little_money_sends_and_keeps_nothing(here: World) -> None:
    platform = here.as_platform()
    platform.platforms.withdraw(100 * 10**6)
    platform.platforms.deposit(5_000)
    log = here.views("views.csv", 3, 2)
    with pytest.raises(FundsTooLow, match=r"has 0\.005 of the 0\.015 tokens .* deposit 0\.01 more"):
        platform.usage.report(log, day=DAY)
    assert here.reported() == []
    assert states(here) == []
    assert not (platform.platform_dir() / "store").exists()
    platform.platforms.deposit(10_000)
    assert len(here.as_platform().usage.report(log, day=DAY).batches) == 1


def test_all_days_together_must_be_covered(here: World) -> None:
    platform = here.as_platform()
    platform.platforms.withdraw(100 * 10**6)
    platform.platforms.deposit(5_000)
    rows = [(day, 0, "view", day, 40, "ann") for day in (DAY, NEXT)]
    with pytest.raises(FundsTooLow, match=r"deposit 0\.001 more"):
        platform.usage.report(here.log("log.csv", rows), since=DAY, until=NEXT)
    assert here.reported() == []


def test_a_reporter_needs_leave_and_a_limit(here: World) -> None:
    platform = here.as_platform()
    log = here.views("views.csv", 3, 2)
    reporter = here.session("dev2", platform="dev1")
    with pytest.raises(ChainError, match="is no reporter of platform"):
        reporter.usage.report(log, day=DAY)
    platform.platforms.set_reporter("dev2", True)
    platform.platforms.set_limit(14_999)
    with pytest.raises(LimitTooLow, match=r"may spend 0\.014999 tokens more today and need 0\.015"):
        here.session("dev2", platform="dev1").usage.report(log, day=DAY)
    assert here.reported() == []
    platform.platforms.set_limit(15_000)
    made = here.session("dev2", platform="dev1").usage.report(log, day=DAY)
    assert made.batches[0].amount_nano == 15_000_000
    (args,) = here.reported()
    assert (args["platform"], args["sender"]) == (here.platform, reporter.account.address)


def test_gas_money_is_asked_for_before_anything_is_sent(here: World) -> None:
    here.anvil.request("anvil_setBalance", here.platform, hex(10**9))
    with pytest.raises(FundsTooLow, match="wei for gas"):
        here.as_platform().usage.report(here.views("views.csv", 1), day=DAY)
    assert (here.reported(), states(here)) == ([], [])


def test_who_declines_sends_and_keeps_nothing(here: World) -> None:
    def declines(_session: Any, plans: Any) -> None:
        assert [plan.call.function for plan in plans] == ["report"]
        raise Declined("no")

    platform = here.as_platform()
    platform.approver = declines
    assert platform.account.address == platform.platform
    platform.node.__class__ = type("Public", (platform.node.__class__,), {"is_local": False})
    with pytest.raises(Declined):
        report(platform, here.views("views.csv", 1), day=DAY, confirmations=0)
    assert here.reported() == []
    assert not list((platform.platform_dir() / "store").rglob("*.parquet"))


def test_a_dry_run_changes_nothing_and_prices_everything(here: World) -> None:
    platform = here.as_platform()
    platform.dry_run = True
    before = sorted(here.folder.rglob("*"))
    log = here.views("views.csv", 3, 2)
    made = platform.usage.report(log, day=DAY)
    document = made.document()
    assert [row["amount_nano"] for row in document["batches"]] == [15_000_000]
    assert document["batches"][0]["evidence"] is None
    assert 21_000 < made.gas < 200_000
    assert made.cost_wei > made.gas
    assert here.reported() == []
    assert sorted(here.folder.rglob("*")) == sorted([*before, log])


def test_a_dry_run_says_what_is_missing(here: World) -> None:
    platform = here.as_platform()
    platform.platforms.withdraw(100 * 10**6)
    platform.dry_run = True
    made = platform.usage.report(here.views("views.csv", 3), day=DAY)
    assert "deposit 0.009 more" in made.missing
    assert made.gas > 0


def test_usage_too_large_for_a_transaction_is_divided(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from royalty import batches, division

    monkeypatch.setattr(division, "MAX_TRANSACTION_GAS", 130_000)
    monkeypatch.setattr(batches, "PAIR_GAS", 20_000)
    made = here.as_platform().usage.report(here.views("views.csv", 3, 2, 4), day=DAY)
    assert [batch.batch for batch in made.batches] == [1, 2, 3]
    assert here.views_on_chain() == [3, 2, 4]
    evidence = [args["evidence"] for args in here.reported()]
    assert len(set(evidence)) == 3


def test_what_the_node_finds_too_dear_is_halved(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from royalty import division

    real = division._gas

    def dear(link: Any, draft: Any, limit: int) -> int | None:
        return None if len(draft.lines) > 1 else real(link, draft, limit)

    monkeypatch.setattr(division, "_gas", dear)
    here.as_platform().usage.report(here.views("views.csv", 3, 2, 4), day=DAY)
    assert len(here.reported()) == 3
    assert here.views_on_chain() == [3, 2, 4]


# --- evidence ---


def test_evidence_is_what_the_chain_committed_to(here: World) -> None:
    (here.folder / "map.csv").write_text(f"platform_id,work\nfilm,{here.work(2)}\n")
    rows = [("a", "film", "view", DAY, 40, "ann"), ("b", 0, "view", DAY, 4, "ann")]
    log = here.log("log.csv", rows)
    platform = here.as_platform()
    made = platform.usage.report(log, day=DAY, works="map.csv", evidence="evidence")
    content = (here.folder / "evidence" / "manifest-1.json").read_bytes()
    (args,) = here.reported()
    assert hashlib.sha256(content).digest() == args["evidence"]
    assert made.batches[0].evidence == "0x" + args["evidence"].hex()
    manifest = json.loads(content)
    assert manifest["contract"] == platform.ledger.address
    assert manifest["sources"] == [
        {"sha256": "0x" + hashlib.sha256(log.read_bytes()).hexdigest(), "rows": 2}
    ]
    assert manifest["counts"]["excluded"]["below_threshold"] == 1
    assert manifest["groups"] == "0x" + hashlib.sha256(args["usage"]).hexdigest()
    for word, kind in (("policy", "policy"), ("map", "works"), ("licences", "licences")):
        (path,) = (here.folder / "evidence").glob(f"{kind}-*")
        assert manifest[word] == "0x" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest["columns"] is None
    assert b"ann" not in content


def test_two_batches_never_carry_the_same_evidence(here: World) -> None:
    usage = here.as_platform().usage
    usage.report(here.views("a.csv", 1), day=DAY)
    usage.report(here.views("b.csv", 1, first=1), day=DAY)
    first, second = (args["evidence"] for args in here.reported())
    assert first != second


# --- the chain takes back, somebody else reports, transactions are lost ---


def other_report(made: World, account: str = "dev1", units: int = 9) -> None:
    """Report for the platform past its journal, as another machine would."""
    session = made.session(account)
    usage = pack_usage(group_lines([Line(made.catalogue, 1, Kind.VIEW, 0, units)]))
    number = session.ledger.platform(made.platform).next_batch
    session.send(
        session.ledger.report(
            made.platform, number, parse_day(DAY), bytes(32), units * PRICES["view"], usage
        )
    )


def test_batches_that_the_journal_does_not_know_stop_it(here: World) -> None:
    here.as_platform().usage.report(here.views("a.csv", 1), day=DAY)
    other_report(here)
    with pytest.raises(JournalStopped, match=r"has 2 batches .* knows 1: another folder"):
        here.as_platform().usage.report(here.views("b.csv", 2), day=DAY)
    assert len(here.reported()) == 2
    assert not status(here.as_platform()).in_step


def planned_then_killed(made: World, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """Report, and stop as a kill would at a crash point."""

    class Killed(BaseException):
        pass

    def crash(reached: str) -> None:
        if reached == point:
            raise Killed

    with monkeypatch.context() as patched:
        for module in ("royalty.delivery", "royalty.journal"):
            patched.setattr(f"{module}.crash_at", crash)
        with pytest.raises(Killed):
            made.as_platform().usage.report(made.views("a.csv", 3, 2), day=DAY)
    assert made.reported() == []  # what is signed is written down before a node hears of it


def test_a_number_taken_by_foreign_bytes_stops_and_nothing_is_renumbered(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned_then_killed(here, monkeypatch, "before-send")
    other_report(here)
    with pytest.raises(JournalStopped, match=r"batch 1 .* stands on chain with other evidence"):
        here.as_platform().usage.report("a.csv", day=DAY)
    assert len(here.reported()) == 1
    assert states(here) == [State.SIGNED]


def test_the_same_bytes_are_sent_again_after_a_kill(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned_then_killed(here, monkeypatch, "before-send")
    with journals.read(here.as_platform().platform_dir()) as journal:
        assert journal is not None
        (batch,) = journal.pending()
        (attempt,) = journal.attempts(batch)
    made = here.as_platform().usage.report("a.csv", day=DAY)
    assert [one.transaction for one in made.batches] == [attempt.hash]
    assert made.document()["already_reported"]["view"] == 0
    assert here.views_on_chain() == [3, 2, 0]


def test_a_lost_transaction_is_signed_anew_under_its_number(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned_then_killed(here, monkeypatch, "before-send")
    here.as_platform().platforms.set_limit(1)  # takes the nonce
    made = here.as_platform().usage.report("a.csv", day=DAY)
    assert [one.batch for one in made.batches] == [1]
    assert here.views_on_chain() == [3, 2, 0]
    assert len(here.reported()) == 1


def test_a_transaction_that_landed_and_failed_is_told_and_sent_anew(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = here.as_platform()
    platform.platforms.set_reporter("dev2", True)
    platform.platforms.set_limit(10**9)
    log = here.views("a.csv", 3, 2)

    def drain_first(point: str) -> None:
        if point == "before-send":
            _drain_in_the_same_block(here, platform)

    made = Report()
    with monkeypatch.context() as patched:
        patched.setattr("royalty.delivery.crash_at", drain_first)
        with pytest.raises(Reverted, match=r"needs 0\.015 tokens"):
            here.session("dev2", platform="dev1").usage.report(log, day=DAY, into=made)
    (waiting,) = made.pending
    assert (waiting.state, waiting.transaction) == ("planned", None)
    (batch,) = status(here.as_platform()).batches
    assert "failed" in batch.note
    with pytest.raises(FundsTooLow):
        here.session("dev2", platform="dev1").usage.report(log, day=DAY)
    here.as_platform().platforms.deposit(15_000)
    here.session("dev2", platform="dev1").usage.report(log, day=DAY)
    assert here.views_on_chain() == [3, 2, 0]
    assert states(here) == [State.SETTLED]


def _drain_in_the_same_block(made: World, platform: Any) -> None:
    """Withdraw everything at a high fee, and mine that with the next transaction that comes."""
    from royalty.chain import sender

    made.anvil.request("evm_setAutomine", False)
    call = platform.ledger.withdraw_funds(100 * 10**6, made.platform)
    cheap = sender.prepare(platform.node, call, platform.account)
    dear = sender.reprice(platform.node, cheap, platform.account, percent=900)
    sender.send_raw(platform.node, dear.raw)

    def mine() -> None:
        until(lambda: int(made.anvil.request("txpool_status")["pending"], 16) == 2)
        made.anvil.request("evm_mine")
        made.anvil.request("evm_setAutomine", True)

    threading.Thread(target=mine, daemon=True).start()


@pytest.mark.parametrize("how", ["anvil_rollback", "anvil_reorg"])
def test_what_a_reorg_takes_back_is_sent_again_with_the_same_bytes(here: World, how: str) -> None:
    usage = here.as_platform().usage
    usage.report(here.views("a.csv", 3), day=DAY)
    made = usage.report(here.views("b.csv", 0, 2), day=DAY)
    here.anvil.request(how, *([2] if how == "anvil_rollback" else [2, []]))
    assert here.reported() == []
    assert not status(here.as_platform()).in_step
    again = here.as_platform().usage.report("b.csv", day=DAY)
    assert [batch.batch for batch in again.batches] == [1, 2]
    assert again.batches[1].transaction == made.batches[0].transaction
    assert here.views_on_chain() == [3, 2, 0]
    assert states(here) == [State.SETTLED] * 2


def test_a_reorg_that_puts_it_into_another_block_sends_nothing(here: World) -> None:
    made = here.as_platform().usage.report(here.views("a.csv", 3), day=DAY)
    with journals.read(here.as_platform().platform_dir()) as journal:
        assert journal is not None
        (attempt,) = journal.attempts(journal.batches()[0])
    here.anvil.request("anvil_reorg", 1, [["0x" + attempt.raw.hex(), 0]])
    again = here.as_platform().usage.report("a.csv", day=DAY)
    # Within the same second Anvil makes the same block again, and nothing was taken back.
    transactions = [batch.transaction for batch in again.batches]
    assert transactions in ([], [made.batches[0].transaction])
    assert len(here.reported()) == 1
    assert states(here) == [State.SETTLED]


def test_a_batch_whose_deal_was_taken_back_is_void_and_counted_again(folder: Path) -> None:
    own = start_anvil()
    try:
        made = _own_world(folder, own)
        state = own.request("evm_snapshot")
        _void_scene(made, own, state)
    finally:
        own.end()


def _own_world(folder: Path, own: Anvil) -> World:
    from royalty import Royalty
    from tests.conftest import clean_environment, run_royalty

    environ = clean_environment(folder) | {"ROYALTY_RPC": own.rpc}
    deployed = run_royalty("deploy", cwd=folder, environ=environ)

    def make(account: str = "dev0", **options: Any) -> Any:
        return Royalty.connect(
            account=account, rpc=own.rpc, contract=deployed["royalty"], folder=folder, **options
        )

    return make_world(make, folder, own)


def _void_scene(made: World, own: Anvil, state: str) -> None:
    """A second catalogue is reported to, planned only, and then never was."""
    producer = made.session("dev0")
    other = open_catalogue(producer, made.folder, 1, salt="aa")
    made.as_platform().platforms.accept(other)
    rows = [("a", f"{other}/0", "view", DAY, 40, "ann"), ("b", 0, "view", DAY, 40, "ann")]
    log = made.log("log.csv", rows)
    with pytest.MonkeyPatch.context() as patched:

        def killed(point: str) -> None:
            if point == "after-plan":
                raise KeyboardInterrupt

        patched.setattr("royalty.journal.crash_at", killed)
        with pytest.raises(KeyboardInterrupt):
            made.as_platform().usage.report(log, day=DAY)
    own.request("evm_revert", state)
    said: list[str] = []
    again = made.as_platform().usage.report(log, day=DAY, say=said.append)
    assert "can never land" in said[0]
    assert [batch.units["view"] for batch in again.batches] == [1]
    assert made.views_on_chain() == [1, 0, 0]


def test_landed_batches_whose_deal_was_taken_back_are_void_and_counted_again(folder: Path) -> None:
    own = start_anvil()
    try:
        made = _own_world(folder, own)
        state = own.request("evm_snapshot")
        other = open_catalogue(made.session("dev0"), folder, 1, salt="aa")
        made.as_platform().platforms.accept(other)
        gone = made.log("gone.csv", [("a", f"{other}/0", "view", DAY, 40, "ann")])
        made.as_platform().usage.report(gone, day=DAY)
        made.as_platform().usage.report(made.views("stays.csv", 2), day=DAY)
        own.request("evm_revert", state)
        said: list[str] = []
        again = made.as_platform().usage.report("*s.csv", day=DAY, say=said.append)
        assert "2 batches from 1 on can never land" in said[-1]
        assert [(batch.batch, batch.units["view"]) for batch in again.batches] == [(1, 2)]
        assert made.views_on_chain() == [2, 0, 0]
        assert made.as_platform().usage.report(gone, day=DAY).batches == []
        assert status(made.as_platform()).in_step
    finally:
        own.end()


# --- depth, nodes, other processes ---


def test_a_batch_is_settled_at_its_depth(here: World) -> None:
    made = Report()
    platform = here.as_platform()
    log = here.views("a.csv", 3)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("royalty.delivery.WAIT_SECONDS", 0.3)
        here.anvil.request("anvil_mine", hex(5))
        with pytest.raises(NodeTimeout, match="landed but has not 5 blocks on top"):
            platform.usage.report(log, day=DAY, confirmations=5, into=made)
    assert [batch.state for batch in made.pending] == ["sent"]
    here.anvil.request("anvil_mine", hex(5))
    again = here.as_platform().usage.report(log, day=DAY, confirmations=5)
    assert [batch.batch for batch in again.batches] == [1]
    assert len(here.reported()) == 1


def test_only_deals_at_the_depth_are_reported_to(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("royalty.delivery.WAIT_SECONDS", 20)
    log = here.views("a.csv", 3)
    made = here.as_platform().usage.report(log, day=DAY, confirmations=50)
    assert (made.batches, made.held) == ([], [])
    here.anvil.request("anvil_mine", hex(51))
    waiting = threading.Thread(target=_mine_when_reported, args=(here,), daemon=True)
    waiting.start()
    made = here.as_platform().usage.report(log, day=DAY, confirmations=50)
    waiting.join()
    assert [batch.units["view"] for batch in made.batches] == [3]


def _mine_when_reported(made: World) -> None:
    until(lambda: bool(made.reported()))
    made.anvil.request("anvil_mine", hex(50))


def test_an_answer_lost_on_the_way_back_sends_nothing_twice(here: World) -> None:
    from royalty import Royalty
    from tests.faulty import faulty_node

    log = here.views("a.csv", 3, 2)
    with faulty_node(here.anvil.rpc) as node:
        node.fault = lambda method: "drop after" if method == "eth_sendRawTransaction" else None
        through = Royalty.connect(
            account="dev1",
            rpc=node.rpc,
            contract=here.as_platform().ledger.address,
            folder=here.folder,
        )
        made = through.usage.report(log, day=DAY)
    assert [batch.batch for batch in made.batches] == [1]
    assert here.views_on_chain() == [3, 2, 0]
    assert len(here.reported()) == 1


@contextmanager
def behind_faults(made: World, method: str, *faults: str) -> Iterator[Callable[[], Any]]:
    """Yield a maker of the platform's sessions on a node that fails at its first requests of a method."""
    from royalty import Royalty
    from tests.faulty import faulty_node

    left = list(faults)
    with faulty_node(made.anvil.rpc) as node:
        node.fault = lambda asked: left.pop(0) if asked == method and left else None
        contract = made.as_platform().ledger.address
        yield lambda: Royalty.connect(
            account="dev1", rpc=node.rpc, contract=contract, folder=made.folder
        )


def test_a_nonce_that_a_node_calls_too_low_is_looked_up_and_not_believed(here: World) -> None:
    with behind_faults(here, "eth_sendRawTransaction", "nonce too low") as through:
        made = through().usage.report(here.views("a.csv", 3, 2), day=DAY)
    assert [batch.batch for batch in made.batches] == [1]
    assert here.views_on_chain() == [3, 2, 0]
    assert len(here.reported()) == 1


def test_what_a_node_cannot_estimate_in_one_transaction_is_halved(here: World) -> None:
    with behind_faults(here, "eth_estimateGas", "too much gas") as through:
        made = through().usage.report(here.views("a.csv", 3, 2), day=DAY)
    assert [batch.units["view"] for batch in made.batches] == [3, 2]
    assert here.views_on_chain() == [3, 2, 0]


def test_reading_the_status_changes_nothing(here: World) -> None:
    platform = here.as_platform()
    before = sorted(here.folder.rglob("*"))
    assert status(platform).document() == {
        "platform": here.platform,
        "next_batch": 1,
        "in_step": True,
        "pending": [],
        "foreign": [],
        "batches": [],
    }
    assert sorted(here.folder.rglob("*")) == before


def test_a_day_that_is_not_over_is_refused_unless_partial(here: World) -> None:
    from royalty.days import format_day

    today = format_day(here.as_platform().today())
    log = here.views("a.csv", 2, day=today)
    for ask in (here.as_platform().usage.check, here.as_platform().usage.report):
        with pytest.raises(InputError, match=f"{today} is not over"):
            ask(log, day=today)
    here.as_platform().usage.report(log, day=today, partial=True)
    here.as_platform().usage.report(here.views("b.csv", 3, day=today), day=today, partial=True)
    assert here.views_on_chain(today) == [3, 0, 0]
