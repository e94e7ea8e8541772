"""`withdrawFunds`: what a platform has not reported is still its own."""

import pytest
from conftest import ONE_TOKEN, UNIT
from helpers import VIEW, ZERO_ADDRESS, event, pack_usage, platform_of, refused


@pytest.fixture(autouse=True)
def funded(fund, platform):
    fund(platform, 10)


def test_a_platform_takes_its_funds_back(ledger, usd, platform, stranger):
    tx = ledger.withdrawFunds(4 * ONE_TOKEN, stranger, {"from": platform})
    assert platform_of(ledger, platform).funds == 6 * 10**9
    assert usd.balanceOf(stranger) == 4 * ONE_TOKEN
    assert event(tx, "FundsWithdrawn") == {"platform": platform, "to": stranger, "nano": 4 * 10**9}


def test_a_platform_takes_all_of_it(ledger, usd, platform):
    ledger.withdrawFunds(10 * ONE_TOKEN, platform, {"from": platform})
    assert platform_of(ledger, platform).funds == 0
    assert usd.balanceOf(ledger) == 0


def test_more_than_the_funds_is_refused(ledger, platform):
    asked = 10 * 10**9 + UNIT
    with refused("FundsInsufficient", platform, asked, 10 * 10**9):
        ledger.withdrawFunds(10 * ONE_TOKEN + 1, platform, {"from": platform})


def test_nobody_takes_anothers_funds(ledger, platform, rival_platform, reporter):
    """Neither another platform nor the platform's own reporter."""
    ledger.setReporter(reporter, True, {"from": platform})
    for thief in (rival_platform, reporter):
        with refused("FundsInsufficient", thief, UNIT, 0):
            ledger.withdrawFunds(1, thief, {"from": thief})


def test_what_was_reported_cannot_be_taken_back(ledger, catalogue, platform, opening_day):
    usage = pack_usage((catalogue, 1, VIEW, [(0, 1_000)]))
    ledger.report(platform, 1, opening_day, b"\0" * 32, 3 * 10**9, usage, {"from": platform})
    with refused("FundsInsufficient", platform, 7 * 10**9 + UNIT, 7 * 10**9):
        ledger.withdrawFunds(7 * ONE_TOKEN + 1, platform, {"from": platform})
    ledger.withdrawFunds(7 * ONE_TOKEN, platform, {"from": platform})


def test_a_fraction_of_a_unit_stays_in_the_funds(ledger, split, producer, platform, opening_day):
    """A view for one nano-token leaves 9,999,999,999 of them: 999 are less than a unit."""
    opened = ledger.open(split, (1, 0, 0), opening_day, "", {"from": producer})
    cheap = event(opened, "CatalogueOpened")["catalogue"]
    usage = pack_usage((cheap, 1, VIEW, [(0, 1)]))
    ledger.report(platform, 1, opening_day, b"\0" * 32, 1, usage, {"from": platform})
    with refused("FundsInsufficient", platform, 10 * 10**9, 10 * 10**9 - 1):
        ledger.withdrawFunds(10 * ONE_TOKEN, platform, {"from": platform})
    ledger.withdrawFunds(10 * ONE_TOKEN - 1, platform, {"from": platform})
    assert platform_of(ledger, platform).funds == UNIT - 1


def test_nothing_cannot_be_taken(ledger, platform):
    with refused("ZeroAmount"):
        ledger.withdrawFunds(0, platform, {"from": platform})


@pytest.mark.parametrize("where", ["zero", "ledger", "token"])
def test_funds_are_not_sent_where_they_would_be_stuck(ledger, usd, platform, where):
    to = {"zero": ZERO_ADDRESS, "ledger": ledger.address, "token": usd.address}[where]
    with refused("AddressRefused", to):
        ledger.withdrawFunds(1, to, {"from": platform})
