"""`withdraw`: all that a holder has, with one transfer, to the holder alone."""

import pytest
from conftest import UNIT
from helpers import event, pack_allocations, refused


@pytest.fixture(scope="module")
def earn(ledger, pay_in, catalogue, split, stranger):
    """Pay units of the token's smallest and allocate them."""

    def credit(amount):
        pay_in(catalogue, amount)
        ledger.allocate(pack_allocations((catalogue, 1, split)), {"from": stranger})

    return credit


def test_a_holder_withdraws_what_it_earned(ledger, usd, earn, director):
    earn(1_000_000)
    tx = ledger.withdraw(director, {"from": director})
    assert usd.balanceOf(director) == 500_000
    assert ledger.balanceOfHolder(director) == 0
    assert event(tx, "Withdrawn") == {"holder": director, "to": director, "amount": 500_000}


def test_anyone_can_call_and_the_money_goes_to_the_holder(ledger, usd, earn, director, stranger):
    earn(1_000_000)
    ledger.withdraw(director, {"from": stranger})
    assert usd.balanceOf(director) == 500_000
    assert usd.balanceOf(stranger) == 0


def test_one_holders_withdrawal_leaves_the_others_alone(ledger, earn, director, composer):
    earn(1_000_000)
    ledger.withdraw(director, {"from": director})
    assert ledger.balanceOfHolder(composer) == 300_000 * UNIT


def test_fractions_of_a_unit_wait_in_the_balance(ledger, usd, earn, composer):
    """3.3 units twice: three and three go out, the fractions stay; a fourth time makes a unit."""
    for expected, left in ((3, 300), (6, 600), (9, 900), (13, 200)):
        earn(11)
        ledger.withdraw(composer, {"from": composer})
        assert usd.balanceOf(composer) == expected
        assert ledger.balanceOfHolder(composer) == left


def test_less_than_a_unit_is_not_payable(ledger, earn, producer, composer):
    earn(1)
    assert 0 < ledger.balanceOfHolder(composer) < UNIT
    with refused("NothingPayable", composer):
        ledger.withdraw(composer, {"from": composer})


def test_withdraw_reverts_when_nothing_is_payable(ledger, director, stranger):
    for holder in (director, stranger):
        with refused("NothingPayable", holder):
            ledger.withdraw(holder, {"from": holder})


def test_withdraw_pays_once(ledger, earn, director):
    earn(1_000)
    ledger.withdraw(director, {"from": director})
    with refused("NothingPayable", director):
        ledger.withdraw(director, {"from": director})


def test_what_is_not_allocated_yet_is_not_withdrawn(ledger, pay_in, catalogue, director):
    pay_in(catalogue, 1_000)
    with refused("NothingPayable", director):
        ledger.withdraw(director, {"from": director})
