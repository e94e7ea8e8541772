"""Reporting as a tally: many days in one batch, paid leaf by leaf, as surely as directly."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from royalty import Royalty
from royalty.days import format_day, parse_day
from royalty.errors import (
    Declined,
    FundsTooLow,
    InputError,
    JournalStopped,
    LimitTooLow,
    StoreFailed,
)
from royalty.reports import Report, report
from royalty.standing import status
from royalty.tallydata import read_tree
from tests.conftest import Anvil, start_anvil
from tests.royalty.test_reports import _own_world, behind_faults
from tests.usage_world import DAY, NEXT, PRICES, World, open_catalogue, world

pytestmark = pytest.mark.chain

FIRST = parse_day("2024-05-01")
MONTH = {"since": "2024-05-01", "until": "2024-05-20"}


@pytest.fixture
def here(session: Callable[..., Any], folder: Path, anvil: Anvil) -> Iterator[World]:
    with world(session, folder, anvil) as made:
        yield made


def month(made: World, name: str = "month.csv", days: int = 20, first: int = 0) -> Path:
    """Write a log of a view, a download and an excerpt of every work on each of so many days."""
    return made.log(
        name,
        [
            (
                f"{name}{day}-{index}-{kind}",
                index,
                kind,
                format_day(FIRST + day),
                40,
                f"{name} {index}",
            )
            for day in range(first, days)
            for index in range(3)
            for kind in ("view", "download", "excerpt")
        ],
    )


def month_nano(days: int = 20) -> int:
    return days * 3 * (PRICES["view"] + PRICES["download"] + 40 * PRICES["excerpt"])


def month_units(made: World, days: int = 20) -> dict[tuple[int, str, str], int]:
    return {
        (FIRST + day, made.work(index), kind): count
        for day in range(days)
        for index in range(3)
        for kind, count in (("view", 1), ("download", 1), ("excerpt", 40))
    }


def funds(made: World) -> int:
    return int(made.session("dev3").ledger.platform(made.platform).funds_nano)


# --- once, whole, and paid ---


def test_a_month_is_one_batch_paid_to_the_last_nano_token(here: World) -> None:
    before = funds(here)
    made = here.as_platform().usage.report(month(here), as_="tally", **MONTH)
    (row,) = made.document()["batches"]
    assert (row["as"], row["since"], row["until"]) == ("tally", "2024-05-01", "2024-05-20")
    assert (row["works"], row["units"]) == (3, {"view": 60, "download": 60, "excerpt": 2400})
    assert row["amount_nano"] == month_nano()
    assert here.reported() == []
    assert [args["total"] for args in here.posted()] == [month_nano()]
    assert here.units_on_chain() == month_units(here)
    assert before - funds(here) == month_nano()
    deal = here.session("dev3").ledger.deals([(here.catalogue, 1)])[0]
    assert deal.accrued_nano == month_nano()


@pytest.mark.parametrize("forms", [("tally", "tally"), ("tally", "direct"), ("direct", "tally")])
def test_what_was_reported_either_way_is_not_reported_again(
    here: World, forms: tuple[str, str]
) -> None:
    usage, log = here.as_platform().usage, month(here)
    usage.report(log, as_=forms[0], **MONTH)
    again = usage.report(log, as_=forms[1], **MONTH)
    assert again.document()["batches"] == []
    assert again.document()["already_reported"]["view"] == 60
    late = here.log("late.csv", [("late", 1, "view", DAY, 40, "bob")])
    more = usage.report(late, as_=forms[1], **MONTH)
    assert [batch.units["view"] for batch in more.batches] == [1]
    expected = month_units(here)
    expected[parse_day(DAY), here.work(1), "view"] += 1
    assert here.units_on_chain() == expected


def test_what_costs_less_is_taken_unasked(here: World) -> None:
    usage = here.as_platform().usage
    many = usage.report(month(here), **MONTH)
    one = usage.report(month(here, "one.csv", 21, 20), day=format_day(FIRST + 20))
    assert [batch.tally is not None for batch in (*many.batches, *one.batches)] == [True, False]


def test_a_dry_run_shows_both_costs_and_receipts_bear_them_out(here: World) -> None:
    def costs(log: Path, **options: Any) -> dict[str, Any]:
        platform = here.as_platform()
        platform.dry_run = True
        found: dict[str, Any] = platform.usage.report(log, **options).document()
        assert found["as"] == found["costs"]["cheaper"]
        return found["costs"]

    usage, sent = here.as_platform().usage, here.as_platform()
    warm = here.log("warm.csv", [("warm", 0, "view", DAY, 40, "ann")])
    usage.report(warm, day=DAY, as_="tally")
    log = month(here)
    found = costs(log, **MONTH)
    made = usage.report(log, as_="tally", **MONTH)
    posting = _gas_of(sent, made.batches[0].transaction)
    settling = made.settled[0].gas
    assert abs(found["tally"]["post_gas"] - posting) <= posting // 20
    assert settling <= found["tally"]["settle_gas"] <= settling * 3 // 2
    later = month(here, "later.csv", 20)
    found = costs(later, **MONTH)
    made = usage.report(later, as_="direct", **MONTH)
    direct = sum(_gas_of(sent, batch.transaction) for batch in made.batches)
    assert abs(found["direct"]["gas"] - direct) <= direct // 10
    assert found["cheaper"] == "tally"


def _gas_of(session: Any, transaction: str | None) -> int:
    receipt = session.node.request("eth_getTransactionReceipt", [transaction])
    return int(receipt["gasUsed"], 16)


def test_leaves_can_be_left_to_others(here: World) -> None:
    made = here.as_platform().usage.report(month(here), as_="tally", settle=False, **MONTH)
    assert made.settled == []
    assert here.units_on_chain() == {}
    again = here.as_platform().usage.report(month(here), **MONTH)
    assert (again.batches, again.settled) == ([], [])
    here.session("dev3").tallies.settle(1, all=True, platform=here.platform, data=_data(here))
    assert here.units_on_chain() == month_units(here)


def _data(made: World) -> Path:
    (path,) = made.as_platform().platform_dir().glob("tallies/tally-1-*.parquet")
    return Path(path)


# --- evidence, data, publishing ---


def test_evidence_data_and_chain_say_the_same(here: World) -> None:
    here.as_platform().usage.report(month(here), as_="tally", evidence="evidence", **MONTH)
    folder, (args,) = here.folder / "evidence", here.posted()
    content = (folder / "manifest-1.json").read_bytes()
    assert hashlib.sha256(content).digest() == args["evidence"]
    (data,) = folder.glob("tally-1-*.parquet")
    assert hashlib.sha256(data.read_bytes()).digest() == args["dataDigest"]
    tree, manifest = read_tree(data), json.loads(content)
    assert (tree.root, tree.total, tree.leaves) == (args["root"], args["total"], args["leaves"])
    assert manifest["as"] == "tally"
    assert manifest["root"] == "0x" + args["root"].hex()
    assert manifest["data"] == "0x" + args["dataDigest"].hex()
    assert (manifest["leaves"], manifest["day"]) == (args["leaves"], "2024-05-20")
    assert manifest["recount"]["2024-05-03"]["rows"] == 9
    assert "groups" not in manifest
    assert data.name in (folder / "SHA256SUMS").read_text()


def test_what_is_published_lies_where_the_chain_says(here: World) -> None:
    base = "https://films.example/tallies"
    options: dict[str, Any] = {"as_": "tally", "publish": here.folder / "www", "uri": base, **MONTH}
    here.as_platform().usage.report(month(here), **options)
    (args,) = here.posted()
    name = args["uri"].removeprefix(base + "/")
    content = (here.folder / "www" / name).read_bytes()
    assert hashlib.sha256(content).digest() == args["dataDigest"]
    manifest = (here.folder / "www" / "manifest-1.json").read_bytes()
    assert hashlib.sha256(manifest).digest() == args["evidence"]


def test_an_address_that_fsspec_knows_is_published_to(here: World) -> None:
    import fsspec

    target = "memory://bucket/tallies"
    here.as_platform().usage.report(month(here), as_="tally", publish=target, **MONTH)
    (args,) = here.posted()
    assert args["uri"].startswith(target + "/tally-1-")
    with fsspec.open(args["uri"]) as file:
        assert hashlib.sha256(file.read()).digest() == args["dataDigest"]


def test_a_folders_path_is_told_nobody(here: World) -> None:
    here.as_platform().usage.report(month(here), as_="tally", publish=here.folder / "w", **MONTH)
    assert [args["uri"] for args in here.posted()] == [""]


def test_what_cannot_be_published_is_not_posted_and_goes_on_later(here: World) -> None:
    blocked = here.folder / "www"
    blocked.write_text("a file where the folder should be")
    options: dict[str, Any] = {"as_": "tally", "publish": blocked, **MONTH}
    with pytest.raises(StoreFailed, match=r"www cannot be written .* run it again"):
        here.as_platform().usage.report(month(here), **options)
    assert here.posted() == []
    blocked.unlink()
    here.as_platform().usage.report(month(here), **MONTH)
    assert here.units_on_chain() == month_units(here)
    assert len(list(blocked.glob("tally-1-*.parquet"))) == 1


def test_an_unknown_address_or_form_is_bad_input(here: World) -> None:
    usage = here.as_platform().usage
    with pytest.raises(InputError, match="--publish nowhere://x"):
        usage.report(month(here), as_="tally", publish="nowhere://x/y", **MONTH)
    with pytest.raises(InputError, match="--as 'tree' is unknown; give direct or tally"):
        usage.report(month(here), as_="tree", **MONTH)
    assert (here.posted(), here.reported()) == ([], [])


def test_the_log_alone_leads_to_the_root_and_another_log_does_not(here: World) -> None:
    log = month(here)
    here.as_platform().usage.report(log, as_="direct", since="2024-05-01", until="2024-05-03")
    here.as_platform().usage.report(log, as_="tally", settle=False, **MONTH)
    number = here.posted()[0]["batch"]
    auditor = here.session("dev3", platform=here.platform).tallies
    made = auditor.rebuild(number, log, out=here.folder / "copy.parquet", **MONTH)
    assert made.ok
    auditor.settle(number, all=True, data=here.folder / "copy.parquet", platform=here.platform)
    assert here.units_on_chain() == month_units(here)
    other = month(here, "other.csv", 19)
    found = auditor.rebuild(number, other, out=here.folder / "wrong.parquet", **MONTH)
    assert not found.ok
    assert found.total_nano == month_nano(19) - month_nano(3)
    assert not (here.folder / "wrong.parquet").exists()


# --- money ---


def test_too_little_money_posts_nothing(here: World) -> None:
    platform = here.as_platform()
    platform.platforms.withdraw(99 * 10**6)
    with pytest.raises(FundsTooLow, match="deposit"):
        platform.usage.report(month(here), as_="tally", **MONTH)
    assert here.posted() == []
    platform.dry_run = True
    made = platform.usage.report(month(here), as_="tally", **MONTH)
    assert "deposit" in made.missing
    assert made.gas > 80_000


def test_a_reporters_limit_holds_for_all_of_a_tally(here: World) -> None:
    platform = here.as_platform()
    reporter = here.session("dev2", platform=here.platform)
    platform.platforms.set_reporter(reporter.account.address, True)
    platform.platforms.set_limit(month_nano() // 1_000 - 1)
    with pytest.raises(LimitTooLow, match=r"raises its limit by 0\.000001"):
        reporter.usage.report(month(here), as_="tally", **MONTH)
    platform.platforms.set_limit(month_nano() // 1_000)
    reporter.usage.report(month(here), as_="tally", **MONTH)
    assert here.units_on_chain() == month_units(here)


def test_who_is_asked_sees_the_posting_and_the_settling_and_is_asked_once(here: World) -> None:
    asked: list[list[str]] = []

    def accepts(_session: Any, plans: Any) -> None:
        asked.append([plan.call.function for plan in plans])
        assert all(plan.gas > 20_000 for plan in plans)

    def declines(session: Any, plans: Any) -> None:
        accepts(session, plans)
        raise Declined("no")

    platform = here.as_platform()
    assert (
        platform.account.address == platform.platform
    )  # a test key, which only a local chain takes
    platform.node.__class__ = type("Public", (platform.node.__class__,), {"is_local": False})
    options: dict[str, Any] = {"as_": "tally", "confirmations": 0, **MONTH}
    platform.approver = declines
    with pytest.raises(Declined):
        report(platform, month(here), **options)
    assert here.posted() == []
    platform.approver = accepts
    report(platform, month(here), **options)
    assert asked == [["post", "settle"], ["post", "settle"]]
    assert here.units_on_chain() == month_units(here)


# --- kills, faults, other machines, reorgs ---


@pytest.mark.parametrize(
    "point",
    [
        "after-data",
        "after-plan",
        "after-publish",
        "after-sign",
        "after-send",
        "before-leaves",
        "after-settle",
        "after-leaves",
    ],
)
def test_a_kill_leaves_what_the_next_report_finishes(
    here: World, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    class Killed(BaseException):
        pass

    def crash(reached: str) -> None:
        if reached == point:
            raise Killed

    options: dict[str, Any] = {"as_": "tally", "publish": here.folder / "www", **MONTH}
    with monkeypatch.context() as patched:
        for module in ("delivery", "journal", "reports", "manifests"):
            patched.setattr(f"royalty.{module}.crash_at", crash)
        with pytest.raises(Killed):
            here.as_platform().usage.report(month(here), **options)
    here.as_platform().usage.report(month(here), **options)
    assert here.units_on_chain() == month_units(here)
    assert len(here.posted()) == 1


def test_an_answer_lost_on_the_way_back_posts_nothing_twice(here: World) -> None:
    with behind_faults(here, "eth_sendRawTransaction", "drop after") as through:
        through().usage.report(month(here), as_="tally", **MONTH)
    assert here.units_on_chain() == month_units(here)
    assert len(here.posted()) == 1


def test_a_tally_that_a_reorg_takes_is_posted_again_and_settled(here: World) -> None:
    here.as_platform().usage.report(month(here), as_="tally", **MONTH)
    here.anvil.request("anvil_reorg", 2, [])
    assert here.posted() == []
    here.as_platform().usage.report(month(here), **MONTH)
    assert here.units_on_chain() == month_units(here)


def test_leaves_whose_settling_a_reorg_takes_are_settled_again(here: World) -> None:
    here.as_platform().usage.report(month(here), as_="tally", **MONTH)
    here.anvil.request("anvil_reorg", 1, [])
    assert (len(here.posted()), here.settled()) == (1, [])
    here.as_platform().usage.report(month(here), **MONTH)
    assert here.units_on_chain() == month_units(here)


def test_a_leaf_that_turned_out_void_gives_its_money_back_and_is_due_again(folder: Path) -> None:
    own = start_anvil()
    try:
        made = _own_world(folder, own)
        state = own.request("evm_snapshot")
        other = open_catalogue(made.session("dev0"), folder, 1, salt="aa")
        made.as_platform().platforms.accept(other)
        rows = [("a", f"{other}/0", "view", DAY, 40, "ann"), ("b", 0, "view", DAY, 40, "ann")]
        log = made.log("log.csv", rows)
        _killed_after_plan(made, log)
        own.request("evm_revert", state)
        before = funds(made)
        again = made.as_platform().usage.report(log, day=DAY)
        assert again.findings
        assert [one["reason"] for one in again.settled[0].void] == ["deal_unknown"]
        assert before - funds(made) == PRICES["view"]
        assert made.views_on_chain() == [1, 0, 0]
        # The catalogue is there again: what was void is due, and nothing else.
        assert open_catalogue(made.session("dev0"), folder, 1, salt="aa") == other
        more = made.as_platform().usage.report(log, day=DAY)
        assert [batch.units["view"] for batch in more.batches] == [1]
        assert made.units_on_chain()[parse_day(DAY), f"{other}/0", "view"] == 1
    finally:
        own.end()


def _killed_after_plan(made: World, log: Path) -> None:
    def killed(point: str) -> None:
        if point == "after-plan":
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("royalty.journal.crash_at", killed)
        with pytest.raises(KeyboardInterrupt):
            made.as_platform().usage.report(log, day=DAY, as_="tally")


def test_another_machines_tally_is_adopted_by_its_data_and_not_doubled(here: World) -> None:
    other = here.folder / "other machine"
    shutil.copytree(here.folder / ".royalty", other / ".royalty")
    mine = here.as_platform()
    theirs = Royalty.connect(
        account="dev1",
        rpc=here.anvil.rpc,
        contract=mine.ledger.address,
        folder=other,
    )
    part = month(here, "month.csv", 7)
    theirs.usage.report(part, as_="tally", settle=False, evidence=other / "evidence", **MONTH)
    platform = here.as_platform()
    with pytest.raises(JournalStopped, match="usage adopt 1"):
        platform.usage.report(month(here), **MONTH)
    assert [row["as"] for row in status(platform).document()["foreign"]] == ["tally"]
    with pytest.raises(InputError, match="--data"):
        platform.usage.adopt(1)
    wrong = _other_data(here)
    with pytest.raises(InputError, match="is not the data of tally 1"):
        platform.usage.adopt(1, data=wrong)
    adopted = platform.usage.adopt(1, data=other / "evidence")
    assert adopted.batch.document()["until"] == format_day(FIRST + 6)
    platform.usage.report(month(here), **MONTH)
    assert here.units_on_chain() == month_units(here)
    assert status(platform).in_step


def _other_data(made: World) -> Path:
    from royalty.merkle import DayLine, leaves_of
    from royalty.tallydata import data_bytes, rows_of
    from royalty.usage import Kind, Tariff

    line = DayLine(made.catalogue, 1, FIRST, Kind.VIEW, 0, 1)
    path = made.folder / "wrong.parquet"
    path.write_bytes(data_bytes(rows_of(leaves_of([line]), {(made.catalogue, 1): Tariff(1, 1, 1)})))
    return path


def test_days_of_open_leaves_are_not_closed(here: World) -> None:
    """A leaf that turns out void must find its day open."""
    (here.folder / "royalty.toml").write_text("[store]\nretain_days = 1\n")
    here.as_platform().usage.report(month(here), as_="tally", settle=False, **MONTH)
    late = here.log("late.csv", [("late", 0, "view", DAY, 40, "bob")])
    made = here.as_platform().usage.report(late, day=DAY)
    assert made.held == []
    here.session("dev3").tallies.settle(1, all=True, platform=here.platform, data=_data(here))
    here.as_platform().usage.report(month(here, "next.csv", 21, 20), day=format_day(FIRST + 20))
    later = here.log("later.csv", [("later", 0, "view", NEXT, 40, "bob")])
    held = here.as_platform().usage.report(later, day=NEXT)
    assert [item.held for item in held.held] == ["closed_day"]


def test_a_report_of_nothing_posts_nothing(here: World) -> None:
    log = here.log("short.csv", [("a", 0, "view", DAY, 3, "ann")])
    made = here.as_platform().usage.report(log, as_="tally", day=DAY)
    assert isinstance(made, Report)
    assert (made.batches, here.posted()) == ([], [])
