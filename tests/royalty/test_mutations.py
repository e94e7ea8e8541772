"""A reconciled month, and what is found when one thing of it is spoilt: each fault by its own reason.

Each fault below spoils one thing of an honest month (tests/month.py) and returns what must be found,
exactly: nothing else may be. The table of docs/reconciling.md is held to these faults.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from royalty.usage import Kind
from tests.conftest import ROOT
from tests.month import FIRST, LEAF_BYTES, MIDDLE, PERIOD, VIDEOS, Key, Month, Plan, Row, month

pytestmark = pytest.mark.chain

VIEW, DOWNLOAD, EXCERPT = Kind
EMPTY_DAY = 19_106  # 2022-04-24: nobody saw anything
RECONCILE, EVIDENCE = "reconcile", "audit evidence"
SEED, SAMPLE = "audit seed --check", "audit sample"

REASON_OF = {"evidence_reused": "evidence_reused"}

Found = dict[tuple[Any, ...], Any]
"""Of reconcile: (reason, work or batch, day, kind) and the difference; of evidence: (batch, what, name)
and what is expected and found; of seed: (reason, id) and the detail; of sample: (reason, id) and the price."""


@dataclass(frozen=True)
class Fault:
    """What is spoilt, the command that finds it, under which reason, and by how much it is off."""

    name: str
    command: str
    reason: str
    difference: str
    spoil: Callable[[Month], dict[str, Found]]


FAULTS: list[Fault] = []


def fault(
    name: str, command: str, reason: str, difference: str
) -> Callable[[Callable[[Month], dict[str, Found]]], Callable[[Month], dict[str, Found]]]:
    """Note a function that spoils a month and returns what each command must find of it."""

    def noted(spoil: Callable[[Month], dict[str, Found]]) -> Callable[[Month], dict[str, Found]]:
        FAULTS.append(Fault(name, command, reason, difference, spoil))
        return spoil

    return noted


def under(reason: str, cells: dict[tuple[str, int, str], int | None]) -> Found:
    """Cells with their differences, as findings of one reason."""
    return {(reason, *cell): difference for cell, difference in cells.items()}


def batches(reason: str, *numbers: int) -> Found:
    """Findings about batches as a whole: they have no money."""
    return {(reason, f"batch {number}", None, None): None for number in numbers}


@pytest.fixture
def here(session: Callable[..., Any], folder: Any, anvil: Any) -> Iterator[Month]:
    with month(session, folder, anvil) as made:
        yield made


def reconciled(made: Month) -> Found:
    found = made.reconcile()
    rows = found.findings
    assert sum(row.difference_nano or 0 for row in rows) == found.difference_nano
    return {
        (row.reason.value, row.work, row.day, row.kind.word)
        if row.kind is not None
        else (row.reason.value, f"batch {row.batch}", None, None): row.difference_nano
        for row in rows
    }


def verified(made: Month) -> Found:
    flaws = made.verify().flaws
    for flaw in flaws:
        assert flaw.reason.value == REASON_OF.get(flaw.what, "evidence_mismatch")
    return {(flaw.batch, flaw.what, flaw.name): (flaw.expected, flaw.found) for flaw in flaws}


def sought(made: Month) -> Found:
    from royalty.seeds import GOOD

    found = made.auditor().audit.check_seeds(
        made.folder / "seeded.csv", platform=made.platform.account.address
    )
    return {
        (one.state, one.play.usage_id): one.detail for one in found.plays if one.state not in GOOD
    }


def sampled(made: Month) -> Found:
    """Every row that counts, drawn; those on whose cells log and chain differ."""
    logs = [str(path) for path in made.logs]
    found = made.auditor().audit.sample(10_000, logs, seed="s", **PERIOD, works=made.works)
    return {
        (reason, one.row.usage_id): one.price_nano for one in found.rows for reason in one.reasons
    }


def cell_of(plan: Plan, kind: Kind = VIEW) -> Key:
    """The cell of a plan with the most units of a kind."""
    return max((key for key in plan.usage if key[2] == kind), key=lambda key: plan.usage[key])


# --- the money ---


@fault("a batch left out", RECONCILE, "missing_on_chain", "what its day is worth")
def left_out(m: Month) -> dict[str, Found]:
    plans = m.plans()
    gone = plans.pop(2)
    m.report(plans)
    return {RECONCILE: under("missing_on_chain", m.worth(gone.usage))}


@fault("views that nobody watched", RECONCILE, "not_in_log", "less their price")
def invented(m: Month) -> dict[str, Found]:
    usage = {(EMPTY_DAY, 1, VIEW): 5}
    m.report([*m.plans(), Plan(("early.csv",), usage, day=EMPTY_DAY)])
    return {RECONCILE: under("not_in_log", m.worth(usage, -1))}


@fault("counts raised", RECONCILE, "over_reported", "less the price of what was added")
def raised(m: Month) -> dict[str, Found]:
    plans = m.plans()
    cell = cell_of(plans[3])
    plans[3].usage[cell] += 7
    m.report(plans)
    return {RECONCILE: under("over_reported", m.worth({cell: 7}, -1))}


@fault("counts lowered", RECONCILE, "under_reported", "the price of what is lacking")
def lowered(m: Month) -> dict[str, Found]:
    plans = m.plans()
    cell = cell_of(plans[3])
    plans[3].usage[cell] -= 2
    m.report(plans)
    return {RECONCILE: under("under_reported", m.worth({cell: 2}))}


@fault("an excerpt cut by a second", RECONCILE, "under_reported", "the price of one second")
def cut(m: Month) -> dict[str, Found]:
    plans = m.plans()
    cell = next(key for key in plans[-1].usage if key[2] == EXCERPT)
    plans[-1].usage[cell] -= 1
    m.report(plans)
    return {RECONCILE: under("under_reported", m.worth({cell: 1}))}


@fault("a day shifted", RECONCILE, "wrong_day", "its worth on the one day, less it on the other")
def shifted(m: Month) -> dict[str, Found]:
    plans = m.plans()
    plan = plans[1]
    true = dict(plan.usage)
    plan.usage = {(EMPTY_DAY, index, kind): units for (_, index, kind), units in true.items()}
    plan.day = EMPTY_DAY
    m.report(plans)
    cells = m.worth(true) | m.worth(plan.usage, -1)
    return {RECONCILE: under("wrong_day", cells)}


@fault(
    "a wrong deal",
    RECONCILE,
    "wrong_deal",
    "its worth under the right deal, less it under the other",
)
def wrong_deal(m: Month) -> dict[str, Found]:
    """A cell is paid into a friend's catalogue, which registered the same file later."""
    from royalty.shares import Share, make_split
    from royalty.usage import Group, pack_usage
    from tests.month import fingerprint

    friend = m.session("dev8")
    split = make_split([Share(friend.account.address, 10**6)])
    friend.send(friend.ledger.open(split, m.prices, FIRST - 10))
    other = friend.ledger.catalogues()
    friend.send(friend.ledger.register(other, [fingerprint(0)], bytes(32)))
    plans = m.plans()
    cell = max((key for key in plans[3].usage if key[1] == 0), key=lambda k: plans[3].usage[k])
    units = plans[3].usage.pop(cell)
    m.report(plans)
    usage = pack_usage([Group(other, 1, VIEW, ((0, units),))])
    batch = m.batches[-1] + 1
    content = m.keep(Plan(("early.csv",), {}, day=cell[0]), batch, None, usage)
    me, worth = m.platform.account.address, units * m.prices.view
    m.platform.send(m.platform.ledger.report(me, batch, cell[0], content, worth, usage))
    paid = (f"{other}/0", cell[0], "view")
    return {RECONCILE: under("wrong_deal", m.worth({cell: units}) | {paid: -worth})}


@fault("a work never registered", RECONCILE, "unknown_work", "less what was paid for it")
def unregistered(m: Month) -> dict[str, Found]:
    plans = m.plans()
    cell = (plans[3].day, 9, VIEW)
    plans[3].usage[cell] = 4
    m.report(plans)
    return {RECONCILE: under("unknown_work", m.worth({cell: 4}, -1))}


@fault("rows of a work that no catalogue has", RECONCILE, "unmatched_work", "no money: nobody's")
def unmatched(m: Month) -> dict[str, Found]:
    m.rows["late.csv"] += rows_of("lost-film", EMPTY_DAY, 3)
    m.write_logs()
    m.report(m.plans())
    return {RECONCILE: {("unmatched_work", "lost-film", EMPTY_DAY, "view"): None}}


@fault("a rival catalogue", RECONCILE, "rival_catalogue", "what is held back")
def rival(m: Month) -> dict[str, Found]:
    """A file that a stranger registered before: the platform holds its usage back."""
    from royalty.shares import Share, make_split

    stranger, producer, file = m.session("dev8"), m.session("dev0"), secrets.token_bytes(32)
    split = make_split([Share(stranger.account.address, 10**6)])
    stranger.send(stranger.ledger.open(split, m.prices, FIRST - 10))
    number = stranger.ledger.catalogues()
    stranger.send(stranger.ledger.register(number, [file], bytes(32)))
    producer.send(producer.ledger.register(m.catalogue, [file], bytes(32)))
    m.rows["late.csv"] += rows_of(f"{m.catalogue}/3", EMPTY_DAY, 3)
    m.write_logs()
    plans = m.plans()
    del plans[-1].usage[EMPTY_DAY, 3, VIEW]
    m.report(plans)
    return {RECONCILE: under("rival_catalogue", m.worth({(EMPTY_DAY, 3, VIEW): 3}))}


@fault("one log reported twice", RECONCILE, "reported_twice", "less what was paid again")
def twice(m: Month) -> dict[str, Found]:
    plans = m.plans()
    again = Plan(plans[2].logs, dict(plans[2].usage), day=plans[2].day)
    m.report([*plans, again])
    return {RECONCILE: under("reported_twice", m.worth(again.usage, -1))}


@fault("ids repeated across files", RECONCILE, "reported_twice", "less what was paid again")
def repeated(m: Month) -> dict[str, Found]:
    """The rows of a day once more in a file of their own, in another order."""
    day = FIRST + 2
    again = [row for row in reversed(m.rows["early.csv"]) if is_of(row, day)]
    m.rows["again.csv"] = again
    m.write_logs()
    plans = m.plans()
    usage = {(one.day, one.index, one.kind): one.units for one in m.count("again.csv").units}
    m.report([*plans, Plan(("again.csv",), usage, day=day)])
    return {RECONCILE: under("reported_twice", m.worth(usage, -1))}


@fault("ids repeated on the next day", RECONCILE, "reported_twice", "less what was paid again")
def repeated_next_day(m: Month) -> dict[str, Found]:
    """The last rows of a half, as if they had been seen a day later too."""
    from royalty.days import format_day

    last = [row for row in m.rows["late.csv"] if is_of(row, 19_103)]
    moved = format_day(19_104)
    m.rows["again.csv"] = [{**row, "started_at": moved + row["started_at"][10:]} for row in last]
    m.write_logs()
    plans = m.plans()
    usage = {(one.day, one.index, one.kind): one.units for one in m.count("again.csv").units}
    m.report([*plans, Plan(("again.csv",), usage, day=19_104)])
    return {RECONCILE: under("reported_twice", m.worth(usage, -1))}


@fault("a leaf never settled", RECONCILE, "unsettled", "what waits in it")
def unsettled(m: Month) -> dict[str, Found]:
    from royalty.merkle import unpack_leaf

    plans = m.plans()
    m.settled = slice(1, None)
    m.report(plans)
    claims = claims_of(m, plans[-1])
    leaf = unpack_leaf(claims[0].leaf)
    usage = {
        (group.day, index, group.kind): units
        for group in leaf.groups
        for index, units in group.pairs
    }
    assert len(claims) > 1 and len(usage) < len(plans[-1].usage)
    return {RECONCILE: under("unsettled", m.worth(usage))}


@fault(
    "a tally never settled, its data lost", RECONCILE, "unsettled",
    "no money in its row: that is missing_on_chain",
)  # fmt: skip
def lost_tally(m: Month) -> dict[str, Found]:
    m.settled = slice(0, 0)
    plans = m.plans()
    numbers = m.report(plans)
    (data,) = m.evidence.glob("tally-*.parquet")
    data.unlink()
    missing = under("missing_on_chain", m.worth(plans[-1].usage))
    return {RECONCILE: missing | batches("unsettled", numbers[-1]), EVIDENCE: {}}


# --- single plays ---


@fault("a seeded play left out", SEED, "missing_on_chain", "its units")
def seeded(m: Month) -> dict[str, Found]:
    """Played on a day when nobody else watched; the log that is handed over lacks it too."""
    from royalty.seeds import plan

    days = {"since": "2022-04-24", "until": "2022-04-24"}
    made = plan(m.folder / "seeded.csv", [f"{m.catalogue}/0"], **days, plays=1, seed="s")
    m.report(m.plans())
    play = made.path.read_text().splitlines()[1].split(",")[0]
    return {SEED: {("missing_on_chain", play): "1 units"}}


@fault("a drawn row's work underpaid", SAMPLE, "under_reported", "the cell's, in reconcile")
def drawn(m: Month) -> dict[str, Found]:
    plans = m.plans()
    cell = cell_of(plans[3])
    plans[3].usage[cell] -= 1
    m.report(plans)
    work = f"video-{VIDEOS[cell[1]]}"
    rows = [r for r in m.rows["early.csv"] if (r["work"], day_number(r)) == (work, cell[0])]
    counting = [row for row in rows if row["kind"] == "view" and qualifies(row)]
    assert len(counting) == plans[3].usage[cell] + 1
    return {
        RECONCILE: under("under_reported", m.worth({cell: 1})),
        SAMPLE: {("under_reported", row["usage_id"]): m.prices.view for row in counting},
    }


# --- the evidence ---


@fault("one digest in two batches", RECONCILE, "evidence_reused", "no money")
def reused(m: Month) -> dict[str, Found]:
    plans = m.plans()
    first = m.report(plans[:4])
    digest = sha256_of(m, first[-1])
    plans[4].evidence = digest
    m.report(plans[4:])
    four, five = first[-1], first[-1] + 1
    me = m.platform.account.address
    own = "0x" + sha256_of(m, five).hex()
    return {
        RECONCILE: batches("evidence_reused", four, five) | batches("evidence_mismatch", five),
        EVIDENCE: {
            (four, "evidence_reused", f"batch {five} of {me}"): ("another", "0x" + digest.hex()),
            (five, "evidence_reused", f"batch {four} of {me}"): ("another", "0x" + digest.hex()),
            (five, "manifest_differs", f"manifest-{five}.json"): ("0x" + digest.hex(), own),
        },
    }


@fault("a file exchanged", EVIDENCE, "evidence_mismatch", "the digest of the log that was counted")
def exchanged(m: Month) -> dict[str, Found]:
    """The same rows in another order: no unit differs, but it is not what was committed to."""
    numbers = m.report(m.plans())
    counted = m.count("late.csv").sources[0]
    m.rows["late.csv"].reverse()
    m.write_logs()
    return {
        RECONCILE: batches("evidence_mismatch", numbers[-1]),
        EVIDENCE: {(numbers[-1], "source_missing", counted.sha256): (f"{counted.rows} rows", None)},
    }


@fault(
    "a row edited after reporting", EVIDENCE, "evidence_mismatch",
    "the digest of the log that was counted; reconcile has the money",
)  # fmt: skip
def edited(m: Month) -> dict[str, Found]:
    numbers = m.report(m.plans())
    counted = m.count("early.csv").sources[0]
    row = next(r for r in m.rows["early.csv"] if Decimal(r["watched_seconds"] or 99) < 5)
    row["watched_seconds"] = "600"
    m.write_logs()
    index = int(m.works.read_text().split(row["work"] + f",{m.catalogue}/")[1][0])
    cell = (f"{m.catalogue}/{index}", day_number(row), "view")
    early = numbers[:-1]
    return {
        RECONCILE: under("under_reported", {cell: m.prices.view})
        | batches("evidence_mismatch", *early),
        EVIDENCE: {
            (number, "source_missing", counted.sha256): (f"{counted.rows} rows", None)
            for number in early
        },
    }


@fault("a manifest withheld", EVIDENCE, "evidence_mismatch", "the digest that has no manifest")
def withheld(m: Month) -> dict[str, Found]:
    numbers = m.report(m.plans())
    digest = sha256_of(m, numbers[1])
    name = f"manifest-{numbers[1]}.json"
    (m.evidence / name).unlink()
    return {
        RECONCILE: batches("evidence_mismatch", numbers[1]),
        EVIDENCE: {(numbers[1], "manifest_missing", name): ("0x" + digest.hex(), None)},
    }


@fault("a manifest changed", EVIDENCE, "evidence_mismatch", "both digests")
def changed(m: Month) -> dict[str, Found]:
    numbers = m.report(m.plans())
    digest = sha256_of(m, numbers[1])
    path = m.evidence / f"manifest-{numbers[1]}.json"
    path.write_text(path.read_text().replace('"qualified":', '"qualified": '))
    now = "0x" + sha256_of(m, numbers[1]).hex()
    return {
        RECONCILE: batches("evidence_mismatch", numbers[1]),
        EVIDENCE: {(numbers[1], "manifest_differs", path.name): ("0x" + digest.hex(), now)},
    }


@fault("counts that the log does not come to", EVIDENCE, "evidence_mismatch", "both counts")
def false_counts(m: Month) -> dict[str, Found]:
    """The manifest says that more was excluded than is; a digest alone does not tell."""
    plans = m.plans()
    found = m.count("early.csv")
    excluded = {**found.excluded, "below_threshold": found.excluded["below_threshold"] + 10}
    counts = {"rows": found.rows, "qualified": found.qualified - 10, "excluded": excluded}
    plans[2].changes = {"counts": counts}
    numbers = m.report(plans)
    now, before = found.qualified, found.excluded["below_threshold"]
    return {
        EVIDENCE: {
            (numbers[2], "counts", "qualified"): (str(now), str(now - 10)),
            (numbers[2], "counts", "below_threshold"): (str(before), str(before + 10)),
        },
    }


@fault("rows left out of the counts", EVIDENCE, "evidence_mismatch", "both numbers of rows")
def false_rows(m: Month) -> dict[str, Found]:
    plans = m.plans()
    found = m.count("early.csv")
    (source,) = found.sources
    plans[2].changes = {"sources": [{"sha256": source.sha256, "rows": source.rows - 1}]}
    numbers = m.report(plans)
    return {
        RECONCILE: batches("evidence_mismatch", numbers[2]),
        EVIDENCE: {
            (numbers[2], "source_rows", source.sha256): (str(source.rows), str(source.rows - 1))
        },
    }


@fault("a manifest of other usage", EVIDENCE, "evidence_mismatch", "both digests of the usage")
def other_groups(m: Month) -> dict[str, Found]:
    plans = m.plans()
    lie = "0x" + "ab" * 32
    plans[2].changes = {"groups": lie}
    numbers = m.report(plans)
    true = groups_of(m, numbers[2])
    return {
        RECONCILE: batches("evidence_mismatch", numbers[2]),
        EVIDENCE: {(numbers[2], "field", "groups"): (true, lie)},
    }


@fault("a manifest of another chain", EVIDENCE, "evidence_mismatch", "both numbers")
def other_chain(m: Month) -> dict[str, Found]:
    plans = m.plans()
    plans[2].changes = {"chain_id": 1}
    numbers = m.report(plans)
    return {
        RECONCILE: batches("evidence_mismatch", numbers[2]),
        EVIDENCE: {(numbers[2], "field", "chain_id"): ("31337", "1")},
    }


@fault("a policy exchanged in the folder", EVIDENCE, "evidence_mismatch", "both digests")
def other_policy_file(m: Month) -> dict[str, Found]:
    numbers = m.report(m.plans())
    (path,) = m.evidence.glob("policy-*.json")
    digest = m.manifest_of(numbers[0])["policy"]
    path.write_text(path.read_text().replace('"30"', '"3"'))
    now = "0x" + digest_of(path)
    return {
        EVIDENCE: {(number, "document_differs", "policy"): (digest, now) for number in numbers},
    }


@fault("a map left out of the folder", EVIDENCE, "evidence_mismatch", "the digest that is missing")
def no_map(m: Month) -> dict[str, Found]:
    numbers = m.report(m.plans())
    digest = m.manifest_of(numbers[0])["map"]
    (path,) = m.evidence.glob("works-*.csv")
    path.unlink()
    return {
        EVIDENCE: {(number, "document_missing", "map"): (digest, None) for number in numbers},
    }


@fault(
    "counted under a laxer policy", RECONCILE, "over_reported",
    "less the price of what does not qualify; evidence_mismatch names the batches",
)  # fmt: skip
def laxer(m: Month) -> dict[str, Found]:
    """The evidence holds, as it names the laxer policy; it is not the policy agreed upon."""
    from royalty.logs import Policy

    strict = {
        (row.day, row.index, row.kind): row.units for row in m.count("early.csv", "late.csv").units
    }
    m.policy = Policy(minimum_seconds=Decimal(1), short_fraction=Decimal("0.01"))
    plans = m.plans()
    usage = {key: units for plan in plans for key, units in plan.usage.items()}
    more = {key: usage[key] - strict.get(key, 0) for key in usage}
    more = {key: units for key, units in more.items() if units}
    assert more
    numbers = m.report(plans)
    cells = {
        ("over_reported" if key in strict else "not_in_log", *cell): nano
        for key, units in more.items()
        for cell, nano in m.worth({key: units}, -1).items()
    }
    return {RECONCILE: cells | batches("evidence_mismatch", *numbers)}


@fault(
    "a tally's data exchanged", EVIDENCE, "evidence_mismatch", "the root that they do not lead to"
)
def other_data(m: Month) -> dict[str, Found]:
    from royalty.merkle import DayLine, leaves_of
    from royalty.tallydata import data_bytes, rows_of

    numbers = m.report(m.plans())
    (path,) = m.evidence.glob("tally-*.parquet")
    leaves = list(leaves_of([DayLine(m.catalogue, 1, MIDDLE + 1, VIEW, 0, 1)], LEAF_BYTES))
    path.write_bytes(data_bytes(rows_of(leaves, {(m.catalogue, 1): m.prices})))
    root = m.manifest_of(numbers[-1])["root"]
    said = f"{path.name} does not lead to the root that was posted"
    return {
        RECONCILE: batches("evidence_mismatch", numbers[-1]),
        EVIDENCE: {(numbers[-1], "data_differs", path.name): (root, said)},
    }


# --- what the faults need ---


def rows_of(work: str, day: int, count: int) -> list[Row]:
    """So many qualified views of a work on a day."""
    from royalty.days import format_day

    return [
        {
            "usage_id": f"{work}-{day}-{at}",
            "work": work,
            "kind": "view",
            "started_at": f"{format_day(day)}T10:00:{at:02d}Z",
            "watched_seconds": "45",
            "duration_seconds": "60",
            "viewer": f"viewer {at}",
        }
        for at in range(count)
    ]


def day_number(row: Row) -> int:
    from tests.month import day_of

    return day_of(row)


def qualifies(row: Row) -> bool:
    length = Decimal(row["duration_seconds"])
    return Decimal(row["watched_seconds"]) >= min(Decimal(30), length / 2)


def is_of(row: Row, day: int) -> bool:
    return day_number(row) == day


def claims_of(m: Month, plan: Plan) -> list[Any]:
    from royalty.merkle import DayLine
    from tests import tallies

    lines = [
        DayLine(m.catalogue, 1, day, kind, index, units)
        for (day, index, kind), units in plan.usage.items()
    ]
    return tallies.claims_of(sorted(lines), {(m.catalogue, 1): m.prices}, LEAF_BYTES)


def digest_of(path: Any) -> str:
    from hashlib import sha256

    return sha256(path.read_bytes()).hexdigest()


def sha256_of(m: Month, batch: int) -> bytes:
    return bytes.fromhex(digest_of(m.evidence / f"manifest-{batch}.json"))


def groups_of(m: Month, batch: int) -> str:
    from hashlib import sha256

    from royalty.index import events

    (event,) = [e for e in events(m.auditor(), "UsageReported") if e.args["batch"] == batch]
    return "0x" + sha256(event.args["usage"]).hexdigest()


# --- the tests ---


def test_a_clean_month_gives_nothing(here: Month) -> None:
    here.report(here.plans())
    assert reconciled(here) == {}
    assert sampled(here) == {}
    found = here.verify()
    assert found.flaws == ()
    assert all(one.recounted for one in found.batches)
    assert [one.batch.tally is not None for one in found.batches] == [False] * 8 + [True]


def test_another_platform_that_copies_a_digest_accuses_nobody_by_it(here: Month) -> None:
    """Digests are public and reporting is free; the copier has no manifest of its own (decision 0032)."""
    from royalty.usage import Group, pack_usage

    numbers = here.report(here.plans())
    other = here.session("dev2")
    him = other.account.address
    other.send_all([other.ledger.approve(10**8), other.ledger.deposit(him, 10**8)])
    usage = pack_usage([Group(here.catalogue, 1, VIEW, ((0, 1),))])
    digest = sha256_of(here, numbers[0])
    other.send(other.ledger.report(him, 1, FIRST, digest, here.prices.view, usage))
    assert (reconciled(here), verified(here)) == ({}, {})
    copied = here.session("dev3").audit.evidence(here.evidence, platform=him)
    assert "field" in {flaw.what for flaw in copied.flaws}  # the manifest names another platform


@pytest.mark.parametrize("one", FAULTS, ids=lambda one: one.name)
def test_a_fault_is_found_under_its_reason_with_the_exact_difference(
    here: Month, one: Fault
) -> None:
    """And under nothing else, by the other command too."""
    expected = one.spoil(here)
    if one.name == "a tally never settled, its data lost":
        (found,) = verified(here)
        assert found[1] == "data_missing"
    else:
        assert verified(here) == expected.get(EVIDENCE, {})
    assert reconciled(here) == expected.get(RECONCILE, {})
    for command, look in ((SEED, sought), (SAMPLE, sampled)):
        if command in expected:
            assert look(here) == expected[command]
    reasons = {reason for reason, *_ in expected.get(one.command, {})}
    if one.command == EVIDENCE:
        reasons = {REASON_OF.get(what, "evidence_mismatch") for _, what, _ in expected[EVIDENCE]}
    assert one.reason in reasons


def test_the_platforms_own_report_of_the_month_is_clean_too(here: Month) -> None:
    """What `usage report --evidence` writes is what `audit evidence` wants, directly and as a tally."""
    here.platform.platforms.accept(here.catalogue)
    for name, form in (("early.csv", "direct"), ("late.csv", "tally")):
        here.session("dev1").usage.report(
            here.folder / name, **PERIOD, works=here.works, evidence=here.evidence, as_=form
        )
    assert reconciled(here) == {}
    found = here.verify()
    assert found.flaws == ()
    assert {one.batch.tally is not None for one in found.batches} == {False, True}
    assert all(one.recounted for one in found.batches)


def test_there_are_twenty_faults_and_more_each_with_a_name_of_its_own() -> None:
    assert len(FAULTS) >= 20
    assert len({one.name for one in FAULTS}) == len(FAULTS)


def test_every_reason_has_a_fault() -> None:
    from royalty.findings import Reason

    assert {reason.value for reason in Reason} == {one.reason for one in FAULTS}


def documented() -> list[list[str]]:
    """The table of faults in docs/reconciling.md, its cells."""
    text = (ROOT / "docs" / "reconciling.md").read_text()
    table = text.split("<!-- faults -->")[1].split("\n\n")[0].strip().splitlines()[2:]
    return [[re.sub("`", "", cell).strip() for cell in row.strip("|").split("|")] for row in table]


def test_the_page_says_which_command_finds_which_fault() -> None:
    assert documented() == [[one.name, one.command, one.reason, one.difference] for one in FAULTS]
