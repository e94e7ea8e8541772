"""`deposit`: a platform's funds rise by exactly what came in."""

import pytest
from conftest import ONE_TOKEN, UNIT
from helpers import ZERO_ADDRESS, PlatformState, event, platform_of, refused


@pytest.fixture
def rich(usd, ledger, stranger):
    """A payer with ten tokens, all of them allowed."""
    usd.mint(stranger, 10 * ONE_TOKEN, {"from": stranger})
    usd.approve(ledger, 10 * ONE_TOKEN, {"from": stranger})
    return stranger


def test_anyone_can_deposit_for_a_platform(ledger, usd, platform, rich):
    tx = ledger.deposit(platform, 3 * ONE_TOKEN, {"from": rich})
    assert platform_of(ledger, platform) == PlatformState(3 * 10**9, 0, 0, 0, 0)
    assert usd.balanceOf(ledger) == 3 * ONE_TOKEN
    assert usd.balanceOf(rich) == 7 * ONE_TOKEN
    assert event(tx, "Deposited") == {"platform": platform, "payer": rich, "nano": 3 * 10**9}


def test_the_smallest_unit_is_taken(ledger, platform, rich):
    ledger.deposit(platform, 1, {"from": rich})
    assert platform_of(ledger, platform).funds == UNIT


def test_deposits_add_up(ledger, platform, rich):
    ledger.deposit(platform, 5, {"from": rich})
    ledger.deposit(platform, 7, {"from": rich})
    assert platform_of(ledger, platform).funds == 12 * UNIT


def test_funds_of_platforms_are_apart(ledger, platform, rival_platform, rich):
    ledger.deposit(platform, 5, {"from": rich})
    assert platform_of(ledger, rival_platform).funds == 0


def test_nothing_cannot_be_deposited(ledger, platform, rich):
    with refused("ZeroAmount"):
        ledger.deposit(platform, 0, {"from": rich})


def test_more_than_the_payer_allowed_is_refused(ledger, usd, platform, rich):
    usd.approve(ledger, ONE_TOKEN, {"from": rich})
    with refused("ERC20InsufficientAllowance", ledger, ONE_TOKEN, ONE_TOKEN + 1):
        ledger.deposit(platform, ONE_TOKEN + 1, {"from": rich})


def test_tokens_are_pulled_from_the_sender_alone(ledger, platform, rich):
    """The allowance that `rich` gave is of no use to anybody else."""
    with refused("ERC20InsufficientAllowance", ...):
        ledger.deposit(platform, 1, {"from": platform})


def test_an_amount_that_does_not_fit_is_refused(ledger, platform, rich):
    with refused("AmountTooLarge", ...):
        ledger.deposit(platform, 2**96 // UNIT + 1, {"from": rich})
    with refused("AmountTooLarge", ...):
        ledger.deposit(platform, 2**256 - 1, {"from": rich})


@pytest.mark.parametrize("where", ["zero", "ledger", "token"])
def test_a_platform_that_could_never_report_is_refused(ledger, usd, rich, where):
    platform = {"zero": ZERO_ADDRESS, "ledger": ledger.address, "token": usd.address}[where]
    with refused("AddressRefused", platform):
        ledger.deposit(platform, 1, {"from": rich})


def test_a_platform_that_is_full_takes_no_more(ledger, usd, platform, rich):
    most = (2**96 - 1) // UNIT
    usd.mint(rich, 2**100, {"from": rich})
    usd.approve(ledger, 2**255, {"from": rich})
    ledger.deposit(platform, most, {"from": rich})
    with refused("AmountTooLarge", (most + 1) * UNIT):
        ledger.deposit(platform, 1, {"from": rich})
    assert platform_of(ledger, platform) == PlatformState(most * UNIT, 0, 0, 0, 0)
