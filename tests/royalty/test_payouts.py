"""Payouts without a chain: whom to pay, which deals to allocate, and what one transaction takes."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.catalogues import Deal
from royalty.holders import make_payable
from royalty.money import TokenUnit
from royalty.payouts import PayoutPlan, Step, make_plan
from royalty.shares import Share, divide, make_split
from royalty.splitsheet import nearest_whole
from royalty.usage import Tariff

PEOPLE = [f"0x{n:040d}" for n in range(1, 7)]
USD = TokenUnit(6)


def deal(catalogue: int, weights: dict[str, int]) -> Deal:
    ppm = nearest_whole(list(weights.values()))
    split = make_split([Share(who, share) for who, share in zip(weights, ppm, strict=True)])
    return Deal(catalogue, 1, PEOPLE[0], 1, None, Tariff(1, 1, 1), split, "", 1, "0x")


splits = st.dictionaries(st.sampled_from(PEOPLE), st.integers(1, 1000), min_size=1)
amounts = st.integers(0, 10**12) | st.integers(0, 3_000)


@st.composite
def ledgers(draw: st.DrawFn) -> tuple[list[Deal], dict[tuple[int, int], int], dict[str, int]]:
    """Deals, what they have accrued, and what holders have been allocated."""
    found = [deal(n, weights) for n, weights in enumerate(draw(st.lists(splits, max_size=8)), 1)]
    accrued = {one.key: draw(amounts) for one in found}
    return found, accrued, {who: draw(amounts) for who in PEOPLE}


def carried_out(
    plan: PayoutPlan, accrued: dict[tuple[int, int], int], balances: dict[str, int], unit: TokenUnit
) -> tuple[dict[str, int], dict[tuple[int, int], int], dict[str, int]]:
    """What the contract would do of a plan: paid smallest units, what stays in deals and balances."""
    left, kept = dict(accrued), dict(balances)
    for one in plan.deals:
        parts, left[one.key] = divide(left[one.key], one.split)
        for share, part in zip(one.split, parts, strict=True):
            kept[share.holder] = kept.get(share.holder, 0) + part
    paid = {}
    for payout in plan.payouts:
        paid[payout.holder] = unit.to_smallest(kept[payout.holder])
        kept[payout.holder] -= unit.to_nano(paid[payout.holder])
    return paid, left, kept


@given(ledgers(), st.integers(0, 10**10), st.sampled_from([0, 6, 9, 18]))
def test_everybody_planned_is_paid_exactly_what_the_plan_says(ledger, minimum, decimals) -> None:
    found, accrued, balances = ledger
    unit = TokenUnit(decimals)
    plan = make_plan(found, accrued, balances, unit, minimum_nano=minimum)
    paid, left, kept = carried_out(plan, accrued, balances, unit)
    assert paid == {payout.holder: payout.amount for payout in plan.payouts}
    assert all(unit.to_nano(amount) >= max(1, minimum) for amount in paid.values())
    total = sum(unit.to_nano(amount) for amount in paid.values())
    assert sum(accrued.values()) + sum(balances.values()) == (
        total + sum(left.values()) + sum(kept.values())
    )


@given(ledgers())
def test_second_run_pays_nobody(ledger) -> None:
    found, accrued, balances = ledger
    plan = make_plan(found, accrued, balances, USD)
    _, left, kept = carried_out(plan, accrued, balances, USD)
    again = make_plan(found, left, kept, USD)
    paid_before = {payout.holder for payout in plan.payouts}
    for payout in again.payouts:  # at most what remainders under a nano-token a holder add up to
        assert payout.holder not in paid_before or payout.nano < 2 * 1_000
    assert sum(p.amount for p in again.payouts if p.holder in paid_before) <= len(paid_before)


@given(ledgers(), st.integers(0, 10**10))
def test_everybody_owed_anything_is_paid_or_carried(ledger, minimum) -> None:
    found, accrued, balances = ledger
    plan = make_plan(found, accrued, balances, USD, minimum_nano=minimum)
    owed = {p.holder: p.nano for p in (*plan.payouts, *plan.carried)}
    for who in PEOPLE:
        parts = [accrued[one.key] * one.ppm_of(who) // 10**6 for one in found]
        assert owed.get(who, 0) == balances[who] + sum(parts)


@given(ledgers(), st.sampled_from(PEOPLE))
def test_payable_is_what_paying_that_holder_alone_sends(ledger, holder) -> None:
    found, accrued, balances = ledger
    mine = [one for one in found if one.ppm_of(holder)]
    stated = make_payable(holder, holder, balances[holder], mine, accrued, USD)
    plan = make_plan(found, accrued, balances, USD, only=[holder])
    paid, _, _ = carried_out(plan, accrued, balances, USD)
    assert USD.to_nano(paid.get(holder, 0)) == stated.payable_nano
    assert set(paid) <= {holder}
    for part in stated.parts:
        exact = Fraction(part.accrued_nano * part.share_ppm, 10**6)
        assert 0 <= exact - part.part_nano < 1


def test_deals_that_pay_nobody_now_are_left_alone() -> None:
    rich, poor = deal(1, {PEOPLE[0]: 1}), deal(2, {PEOPLE[1]: 1})
    accrued = {rich.key: 5 * 10**9, poor.key: 10**8}
    plan = make_plan([rich, poor], accrued, {}, USD, minimum_nano=10**9)
    assert plan.deals == (rich,)
    assert [payout.holder for payout in plan.payouts] == [PEOPLE[0]]
    assert [(p.holder, p.nano) for p in plan.carried] == [(PEOPLE[1], 10**8)]


def test_small_parts_of_many_deals_add_up_to_the_minimum() -> None:
    found = [deal(n, {PEOPLE[0]: 1}) for n in range(1, 11)]
    accrued = {one.key: 10**8 for one in found}
    plan = make_plan(found, accrued, {}, USD, minimum_nano=10**9)
    assert len(plan.deals) == 10
    assert [payout.amount for payout in plan.payouts] == [10**6]


@given(st.integers(0, 5), st.integers(0, 6), st.integers(0, 12))
def test_steps_take_deals_before_holders_and_lose_none(deals, holders, count) -> None:
    rest = Step(
        tuple(deal(n, {PEOPLE[0]: 1}) for n in range(1, deals + 1)), tuple(PEOPLE[:holders])
    )
    first, left = rest.first(count), rest.after(count)
    assert (first.deals + left.deals, first.holders + left.holders) == (rest.deals, rest.holders)
    assert len(first) == min(count, len(rest))
    assert not (first.holders and left.deals)


def test_step_takes_no_more_calldata_than_nodes_pass_on() -> None:
    wide = deal(1, {f"0x{n:040x}": 1 for n in range(1, 257)})
    rest = Step((wide,) * 40, tuple(PEOPLE))
    assert rest.bounded() == 120_000 // (8 + 24 * 256)
    assert Step((), tuple(PEOPLE)).bounded() == len(PEOPLE)


def test_unit_below_a_nano_token_is_paid_to_the_nano() -> None:
    one = deal(1, {PEOPLE[0]: 1})
    plan = make_plan([one], {one.key: 1}, {}, TokenUnit(18))
    assert [payout.amount for payout in plan.payouts] == [10**9]
    assert make_plan([one], {one.key: 1}, {}, USD).payouts == ()


@pytest.mark.parametrize("minimum", [0, 1, 10**9])
def test_nothing_accrued_is_nothing_to_do(minimum: int) -> None:
    one = deal(1, {PEOPLE[0]: 1, PEOPLE[1]: 2})
    plan = make_plan([one], {one.key: 0}, dict.fromkeys(PEOPLE, 0), USD, minimum_nano=minimum)
    assert (plan.deals, plan.payouts, plan.carried) == ((), (), ())
