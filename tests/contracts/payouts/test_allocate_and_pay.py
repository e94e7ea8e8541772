"""`allocateAndPay`: from what deals have accrued to wallets in one transaction."""

import pytest
from helpers import deal_of, event, events, pack_allocations, refused


@pytest.fixture
def allocation(pay_in, catalogue, split):
    pay_in(catalogue, 1_000_001)
    return pack_allocations((catalogue, 1, split))


def test_what_accrued_arrives_in_the_wallets(ledger, usd, catalogue, allocation, shares, stranger):
    ledger.allocateAndPay(allocation, list(shares), {"from": stranger})
    assert {holder: usd.balanceOf(holder) for holder in shares} == {
        holder: 1_000_001 * ppm // 10**6 for holder, ppm in shares.items()
    }
    assert deal_of(ledger, catalogue, 1).accrued == 0


def test_it_tells_what_allocate_and_withdraw_tell(ledger, catalogue, allocation, shares, stranger):
    tx = ledger.allocateAndPay(allocation, list(shares), {"from": stranger})
    assert event(tx, "Allocated")["accruedBefore"] == 1_000_001_000
    assert [paid["holder"] for paid in events(tx, "Withdrawn")] == list(shares)


def test_holders_who_are_not_named_keep_their_balance(
    ledger, usd, allocation, director, composer, stranger
):
    ledger.allocateAndPay(allocation, [director], {"from": stranger})
    assert usd.balanceOf(composer) == 0
    assert ledger.balanceOfHolder(composer) == 300_000_300


def test_holders_of_no_deal_named_are_paid_what_they_have(
    ledger, usd, allocation, director, stranger
):
    ledger.allocate(allocation, {"from": stranger})
    ledger.allocateAndPay(b"", [director], {"from": stranger})
    assert usd.balanceOf(director) == 500_000


def test_a_wrong_allocation_undoes_it_all(ledger, usd, allocation, director, stranger):
    with refused("GroupMalformed", 0, len(allocation) - 1):
        ledger.allocateAndPay(allocation[:-1], [director], {"from": stranger})
    assert usd.balanceOf(director) == 0
