"""`pay`: money that is not metered, into the deal of today."""

import pytest
from conftest import ONE_TOKEN, PRICES, UNIT
from helpers import deal_of, event, refused, to_noon

REASON = b"advertising".ljust(32, b"\0")
MEMO = "0x" + "ab" * 32


@pytest.fixture(scope="module")
def payer(usd, ledger, stranger, catalogue):
    usd.mint(stranger, 10 * ONE_TOKEN, {"from": stranger})
    usd.approve(ledger, 10 * ONE_TOKEN, {"from": stranger})
    return stranger


def test_a_payment_accrues_in_the_deal_of_today(ledger, usd, catalogue, payer):
    ledger.pay(catalogue, 2 * ONE_TOKEN, REASON, MEMO, {"from": payer})
    assert deal_of(ledger, catalogue, 1).accrued == 2 * 10**9
    assert usd.balanceOf(ledger) == 2 * ONE_TOKEN
    assert usd.balanceOf(payer) == 8 * ONE_TOKEN


def test_a_payment_tells_everything_in_its_event(ledger, catalogue, payer):
    paid = event(ledger.pay(catalogue, 1, REASON, MEMO, {"from": payer}), "Paid")
    assert paid == {
        "catalogue": catalogue,
        "version": 1,
        "payer": payer,
        "nano": UNIT,
        "reason": "0x" + REASON.hex(),
        "memo": MEMO,
    }


def test_a_payment_follows_the_deal_in_force(
    chain, ledger, catalogue, propose, submit, payer, opening_day
):
    submit(propose(tariff=PRICES._replace(view=PRICES.view + 1)))
    to_noon(chain, days=9)
    ledger.pay(catalogue, 3, REASON, MEMO, {"from": payer})
    to_noon(chain)
    ledger.pay(catalogue, 4, REASON, MEMO, {"from": payer})
    assert deal_of(ledger, catalogue, 1).accrued == 3 * UNIT
    assert deal_of(ledger, catalogue, 2).accrued == 4 * UNIT


def test_nothing_cannot_be_paid(ledger, catalogue, payer):
    with refused("ZeroAmount"):
        ledger.pay(catalogue, 0, REASON, MEMO, {"from": payer})


def test_a_catalogue_that_is_not_there_takes_no_money(ledger, usd, payer):
    with refused("CatalogueUnknown", 50):
        ledger.pay(50, 1, REASON, MEMO, {"from": payer})
    assert usd.balanceOf(payer) == 10 * ONE_TOKEN


def test_more_than_the_payer_has_is_refused(ledger, usd, catalogue, payer):
    usd.approve(ledger, 2**255, {"from": payer})
    with refused("ERC20InsufficientBalance", payer, 10 * ONE_TOKEN, 10 * ONE_TOKEN + 1):
        ledger.pay(catalogue, 10 * ONE_TOKEN + 1, REASON, MEMO, {"from": payer})


def test_a_deal_that_is_full_takes_no_more(ledger, usd, catalogue, payer):
    """96 bits of nano-tokens are 79 billion billion tokens; nothing wraps there."""
    most = (2**96 - 1) // UNIT
    usd.mint(payer, 2**100, {"from": payer})
    usd.approve(ledger, 2**255, {"from": payer})
    ledger.pay(catalogue, most, REASON, MEMO, {"from": payer})
    with refused("AmountTooLarge", (most + 1) * UNIT):
        ledger.pay(catalogue, 1, REASON, MEMO, {"from": payer})
    assert deal_of(ledger, catalogue, 1)[:4] == (most * UNIT, *PRICES)
