"""`setPayee`: where a holder wants its money sent."""

import pytest
from helpers import ZERO_ADDRESS, event, pack_allocations, refused


@pytest.fixture(autouse=True)
def earned(ledger, pay_in, catalogue, split, stranger):
    pay_in(catalogue, 1_000_000)
    ledger.allocate(pack_allocations((catalogue, 1, split)), {"from": stranger})


def test_without_a_payee_the_money_goes_to_the_holder(ledger, director):
    assert ledger.payeeOf(director) == director


def test_the_money_goes_to_the_payee(ledger, usd, director, editor, stranger):
    tx = ledger.setPayee(editor, {"from": director})
    assert event(tx, "PayeeSet") == {"holder": director, "payee": editor}
    assert ledger.payeeOf(director) == editor
    paid = ledger.withdraw(director, {"from": stranger})
    assert event(paid, "Withdrawn") == {"holder": director, "to": editor, "amount": 500_000}
    assert (usd.balanceOf(director), usd.balanceOf(editor)) == (0, 500_000)


def test_naming_a_payee_keeps_the_balance(ledger, director, editor):
    ledger.setPayee(editor, {"from": director})
    assert ledger.balanceOfHolder(director) == 500_000_000
    assert ledger.balanceOfHolder(editor) == 0


def test_the_zero_address_clears_the_payee(ledger, usd, director, editor):
    ledger.setPayee(editor, {"from": director})
    ledger.setPayee(ZERO_ADDRESS, {"from": director})
    assert ledger.payeeOf(director) == director
    ledger.withdraw(director, {"from": director})
    assert usd.balanceOf(director) == 500_000


def test_a_payee_is_each_holders_own(ledger, composer, director, editor):
    ledger.setPayee(editor, {"from": director})
    assert ledger.payeeOf(composer) == composer


def test_a_payees_payee_does_not_matter(ledger, usd, director, composer, editor):
    """Money takes one step, never a chain of them."""
    ledger.setPayee(composer, {"from": director})
    ledger.setPayee(editor, {"from": composer})
    ledger.withdraw(director, {"from": director})
    assert usd.balanceOf(composer) == 500_000


@pytest.mark.parametrize("where", ["ledger", "token"])
def test_a_payee_at_which_money_would_be_stuck_is_refused(ledger, usd, director, where):
    payee = {"ledger": ledger, "token": usd}[where]
    with refused("AddressRefused", payee):
        ledger.setPayee(payee, {"from": director})
