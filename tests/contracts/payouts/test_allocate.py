"""`allocate`: what deals have accrued becomes the holders' balances; nothing is lost on the way."""

import pytest
from helpers import (
    VIEW,
    WHOLE,
    deal_of,
    event,
    events,
    pack_allocations,
    pack_split,
    pack_usage,
    refused,
)


@pytest.fixture(scope="module")
def allocation(catalogue, split):
    return pack_allocations((catalogue, 1, split))


@pytest.fixture(scope="module")
def penny(ledger, split, producer, platform, opening_day, fund, catalogue):
    """A catalogue at one nano-token a view, and how to have it accrue some."""
    fund(platform, 1)
    opened = ledger.open(split, (1, 0, 0), opening_day, "", {"from": producer})
    number = event(opened, "CatalogueOpened")["catalogue"]

    def accrue(nano):
        batch = ledger.platformOf(platform)[1] + 1
        usage = pack_usage((number, 1, VIEW, [(0, nano)]))
        arguments = (platform, batch, opening_day, b"\0" * 32, nano, usage)
        ledger.report(*arguments, {"from": platform})
        return number

    return accrue


def test_anyone_can_allocate(ledger, pay_in, catalogue, allocation, stranger, shares):
    pay_in(catalogue, 1_000)
    tx = ledger.allocate(allocation, {"from": stranger})
    for holder, ppm in shares.items():
        assert ledger.balanceOfHolder(holder) == ppm
    assert deal_of(ledger, catalogue, 1).accrued == 0
    assert event(tx, "Allocated") == {
        "catalogue": catalogue,
        "version": 1,
        "accruedBefore": WHOLE,
        "remainder": 0,
    }


@pytest.mark.parametrize("nano", [1, 2, 3, 7, 9, 10, 11, 999_999, 1_000_001, 12_345_677])
def test_the_remainder_stays_accrued(ledger, penny, split, shares, stranger, nano):
    number = penny(nano)
    parts = {holder: nano * ppm // WHOLE for holder, ppm in shares.items()}
    ledger.allocate(pack_allocations((number, 1, split)), {"from": stranger})
    remainder = nano - sum(parts.values())
    assert remainder < len(parts)
    assert deal_of(ledger, number, 1).accrued == remainder
    assert {holder: ledger.balanceOfHolder(holder) for holder in shares} == parts


def test_remainders_come_through_in_time(ledger, penny, split, shares, stranger):
    """One nano-token at a time, allocated each time: after ten of them nobody is short."""
    for _ in range(10):
        number = penny(1)
        ledger.allocate(pack_allocations((number, 1, split)), {"from": stranger})
    total = sum(ledger.balanceOfHolder(holder) for holder in shares)
    assert total + deal_of(ledger, number, 1).accrued == 10


def test_allocating_where_nothing_accrued_does_nothing(ledger, allocation, stranger):
    tx = ledger.allocate(allocation * 2, {"from": stranger})
    assert events(tx, "Allocated") == []


def test_allocating_nothing_does_nothing(ledger, catalogue, stranger):
    assert events(ledger.allocate(b"", {"from": stranger}), "Allocated") == []


def test_too_little_to_divide_stays_where_it_is(ledger, penny, split, stranger):
    number = penny(1)
    tx = ledger.allocate(pack_allocations((number, 1, split)), {"from": stranger})
    assert events(tx, "Allocated") == []
    assert deal_of(ledger, number, 1).accrued == 1


def test_a_deal_named_twice_is_divided_once(
    ledger, pay_in, catalogue, allocation, shares, stranger
):
    pay_in(catalogue, 1_000)
    tx = ledger.allocate(allocation * 2, {"from": stranger})
    assert len(events(tx, "Allocated")) == 1
    assert sum(ledger.balanceOfHolder(holder) for holder in shares) == WHOLE


def test_a_holder_has_one_balance_over_all_deals(
    ledger, pay_in, penny, catalogue, split, director, stranger
):
    pay_in(catalogue, 1_000)
    number = penny(1_000)
    both = pack_allocations((catalogue, 1, split), (number, 1, split))
    ledger.allocate(both, {"from": stranger})
    assert ledger.balanceOfHolder(director) == 500_000 + 500


def test_another_split_is_refused(ledger, catalogue, director, stranger):
    greedy = pack_split({director: WHOLE})
    with refused("SplitMismatch", ...):
        ledger.allocate(pack_allocations((catalogue, 1, greedy)), {"from": stranger})


def test_a_deal_that_is_not_there_is_refused(ledger, catalogue, split, stranger):
    for number, version in ((catalogue, 2), (catalogue, 0), (30, 1)):
        with refused("DealUnknown", number, version):
            ledger.allocate(pack_allocations((number, version, split)), {"from": stranger})


@pytest.mark.parametrize("length", [1, 7, 8, 31, 79])
def test_cut_allocations_are_refused(ledger, allocation, stranger, length):
    with refused("GroupMalformed", 0, length):
        ledger.allocate(allocation[:length], {"from": stranger})


def test_an_allocation_without_holders_is_refused(ledger, catalogue, stranger):
    with refused("GroupMalformed", 0, 8):
        ledger.allocate(pack_allocations((catalogue, 1, b"")), {"from": stranger})
