"""A sample: drawn as anybody can draw it again, each row traced to what its holders were paid."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from royalty.errors import InputError
from royalty.money import NANO_PER_TOKEN
from royalty.samples import Sample, sample
from tests.month import HOLDERS, PERIOD, Month, month


@pytest.fixture
def here(session: Callable[..., Any], folder: Path, anvil: Any) -> Iterator[Month]:
    with month(session, folder, anvil) as made:
        yield made


def drawn(m: Month, number: int = 12, seed: str = "2022-05-01", **options: Any) -> Sample:
    given = {**PERIOD, "works": m.works, "platform": m.platform.account.address} | options
    return sample(m.auditor(), number, [str(path) for path in m.logs], seed=seed, **given)


def counting(m: Month) -> set[str]:
    """The ids of rows that count: all but those below the threshold, the only reason of the month."""
    from decimal import Decimal

    rows = [row for half in m.rows.values() for row in half]
    return {
        row["usage_id"]
        for row in rows
        if row["kind"] != "view"
        or Decimal(row["watched_seconds"]) >= min(30, Decimal(row["duration_seconds"]) / 2)
    }


def test_the_rows_are_those_of_the_smallest_digests(here: Month) -> None:
    here.report(here.plans())
    found = drawn(here)
    ids = counting(here)
    assert found.qualified == len(ids)
    expected = sorted(ids, key=lambda one: hashlib.sha256(f"2022-05-01|{one}".encode()).digest())
    assert [one.row.usage_id for one in found.rows] == expected[:12]
    assert [one.place for one in found.rows] == list(range(1, 13))
    assert [one.row.usage_id for one in drawn(here, 5).rows] == expected[:5]
    other = drawn(here, 12, "another")
    assert [one.row.usage_id for one in other.rows] != expected[:12]
    every = drawn(here, 10_000)
    assert [one.row.usage_id for one in every.rows] == expected


def test_a_row_stands_on_its_line_of_its_log(here: Month) -> None:
    here.report(here.plans())
    for one in drawn(here).rows:
        line = one.row.source.path.read_text().splitlines()[one.row.line - 1]
        assert line.split(",")[0] == one.row.usage_id
        assert one.row.reason is None
        assert set(one.rules) == {
            *("malformed", "duplicate", "outside_period", "unmatched_work"),
            *("below_threshold", "double_click", "over_cap"),
        }


def test_the_steps_of_the_policy_are_told_in_their_order(here: Month) -> None:
    """A policy that needs a column of its own: the log is read for it, and no seeded play is asked for it."""
    policy = here.folder / "policy.toml"
    policy.write_text("[watched]\nat_most_duration = true\n[status]\naccepted = [200]\n")
    for half in here.rows.values():
        for at, row in enumerate(half):
            row["status"] = "200" if at % 2 else "404"
    names = [*next(iter(here.rows.values()))[0]]
    for path, half in zip(here.logs, here.rows.values(), strict=True):
        with path.open("w", newline="") as file:
            csv.DictWriter(file, names).writeheader()
            csv.DictWriter(file, names).writerows(half)
    here.report(here.plans())
    found = drawn(here, 10_000, policy=policy)
    kept = {row["usage_id"] for half in here.rows.values() for row in half[1::2]}
    assert {one.row.usage_id for one in found.rows} == kept & counting(here)
    view = next(one for one in found.rows if one.row.kind.word == "view")
    assert list(view.rules) == [
        *("malformed", "duplicate", "outside_period", "unmatched_work", "status_code"),
        *("watched", "below_threshold", "double_click", "over_cap"),
    ]
    assert view.rules["status_code"] == "status 200; accepted: 200"


def test_a_row_of_whose_cell_the_policy_holds_units_says_so(here: Month) -> None:
    from royalty.samples import sentence

    policy = here.folder / "policy.toml"
    policy.write_text("[spike]\nmultiple = 0\nabove = 0\n")
    platform = here.platform.account.address
    here.report(here.plans()[:1])
    found = drawn(here, 10_000, policy=policy, platform=platform)
    held = [one for one in found.rows if one.held_units]
    assert held
    assert all(not one.reasons for one in held)
    assert found.findings
    assert held[0].document()["spike_hold_units"] == held[0].held_units
    assert "the policy holds units" in sentence(found)


def test_money_is_followed_from_the_row_to_the_transfer(here: Month) -> None:
    """Reported, allocated and paid: every amount here is computed without the package."""
    numbers = here.report(here.plans())
    payer = here.session("dev3")
    from royalty.shares import Share, make_split

    split = make_split([Share(holder, ppm) for holder, ppm in HOLDERS])
    holders = [holder for holder, _ in HOLDERS]
    receipt = payer.send(payer.ledger.allocate_and_pay([(here.catalogue, 1, split)], holders))
    total = 2_656_200_246
    found = drawn(here, 10_000)
    assert not found.findings
    prices = {"view": 3_000_000, "download": 500_000_000, "excerpt": 100_003}
    assert sum(one.amount_nano for one in found.rows) == total
    for one in found.rows:
        assert one.amount_nano == one.row.units * prices[one.row.kind.word]
        assert one.version == 1
        (step,) = one.steps
        assert step.credit.batch in numbers
        assert (step.credit.leaf is None) == (step.credit.batch != numbers[-1])
        assert step.allocation is not None
        assert step.allocation.accrued_nano == total
        assert step.allocation.transaction == receipt.transaction
        parts = {part.holder: part for part in step.allocation.parts}
        for holder, ppm in HOLDERS:
            part = parts[holder]
            assert part.part_nano == total * ppm // 10**6
            exact = Fraction(one.amount_nano * ppm, 10**6 * NANO_PER_TOKEN)
            assert Fraction(part.of(one.amount_nano)) == exact
            assert part.transfer is not None
            assert part.transfer.amount_nano == part.part_nano // 1000 * 1000
            assert part.transfer.transaction == receipt.transaction


def test_what_nobody_has_allocated_is_accrued_and_what_came_later_is_not_in_it(
    here: Month,
) -> None:
    plans = here.plans()
    first = here.report(plans[:1])
    payer = here.session("dev3")
    from royalty.shares import Share, make_split

    split = make_split([Share(holder, ppm) for holder, ppm in HOLDERS])
    payer.send(payer.ledger.allocate_and_pay([(here.catalogue, 1, split)], []))
    here.report(plans[1:])
    for one in drawn(here, 10_000).rows:
        (step,) = one.steps
        if step.credit.batch == first[0]:
            assert step.allocation is not None
            assert {part.transfer for part in step.allocation.parts} == {None}
        else:
            assert step.allocation is None


def test_a_row_on_whose_cell_log_and_chain_differ_is_a_finding(here: Month) -> None:
    plans = here.plans()
    gone = plans.pop(2)
    here.report(plans)
    found = drawn(here, 10_000)
    assert found.findings
    for one in found.rows:
        assert one.row.work is not None
        key = (one.row.day, one.row.work.index, one.row.kind)
        assert one.reasons == (("missing_on_chain",) if key in gone.usage else ())
        assert bool(one.steps) == (key not in gone.usage)


def test_evidence_says_which_batch_counted_the_log_of_a_row(here: Month) -> None:
    numbers = here.report(here.plans())
    found = drawn(here, 30, evidence=here.evidence)
    assert {step.counted for one in found.rows for step in one.steps} == {True}
    path = here.evidence / f"manifest-{numbers[-1]}.json"
    path.write_bytes(
        path.read_bytes() + b"\n"
    )  # it still names the log, but nobody committed to it
    spoilt = drawn(here, 30, evidence=here.evidence)
    told = {(step.credit.batch, step.counted) for one in spoilt.rows for step in one.steps}
    assert (numbers[-1], None) in told
    assert {counted for number, counted in told if number != numbers[-1]} == {True}
    assert {step.counted for one in drawn(here, 3).rows for step in one.steps} == {None}


def test_a_log_without_ids_is_drawn_by_what_a_row_is(here: Month) -> None:
    """The id is viewer, work as written, kind and the microsecond."""
    from datetime import UTC, datetime

    path = here.folder / "bare.csv"
    rows = here.rows["early.csv"]
    with path.open("w", newline="") as file:
        names = [name for name in rows[0] if name != "usage_id"]
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    columns = here.folder / "columns.toml"
    columns.write_text("".join(f'{name} = "{name}"\n' for name in names))
    here.report(here.plans())
    given = {**PERIOD, "works": here.works, "columns": columns, "seed": "s"}
    found = sample(here.auditor(), 4, path, **given)
    ids = counting(here)

    def key(row: dict[str, str]) -> bytes:
        at = datetime.fromisoformat(row["started_at"].replace("Z", "+00:00"))
        micro = int(at.replace(microsecond=0, tzinfo=UTC).timestamp()) * 10**6 + at.microsecond
        text = f"s|{row['viewer']}|{row['work']}|{row['kind']}|{micro}"
        return hashlib.sha256(text.encode()).digest()

    expected = sorted((row for row in rows if row["usage_id"] in ids), key=key)[:4]
    assert [(one.row.written, one.row.units) for one in found.rows] == [
        (row["work"], 41 if row["kind"] == "excerpt" else 1) for row in expected
    ]
    assert {one.row.usage_id for one in found.rows} == {None}


def test_no_viewer_is_told(here: Month) -> None:
    import json

    here.report(here.plans())
    for row in here.rows["early.csv"] + here.rows["late.csv"]:
        row["viewer"] = "somebody's name"
    here.write_logs()
    found = drawn(here, 5)
    assert found.rows
    assert "somebody" not in json.dumps(found.document(), default=str)
    found.table().to_csv(here.folder / "sample.csv")
    assert "somebody" not in (here.folder / "sample.csv").read_text()


@pytest.mark.parametrize(
    ("number", "seed", "message"),
    [
        (0, "s", "1 to 10,000 rows"),
        (10_001, "s", "1 to 10,000 rows"),
        (1, "", "a seed is"),
        (1, "s" * 201, "a seed is"),
        (1, "a\nb", "a seed is"),
    ],
)
def test_what_cannot_be_drawn_is_bad_input(
    session: Callable[..., Any], number: int, seed: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        sample(
            session("dev3"), number, "log.csv", seed=seed, since="2022-04-01", until="2022-04-02"
        )
