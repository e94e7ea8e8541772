"""`versionOn`: which deal is in force on a day."""

from conftest import PRICES
from helpers import DAY, mine_at


def test_no_deal_is_in_force_before_the_first_one(ledger, catalogue, opening_day):
    assert ledger.versionOn(catalogue, opening_day - 31) == 0
    assert ledger.versionOn(catalogue, opening_day - 30) == 1
    assert ledger.versionOn(catalogue, 2**16 - 1) == 1


def test_no_deal_is_in_force_where_there_is_no_catalogue(ledger, opening_day):
    assert ledger.versionOn(42, opening_day) == 0
    assert ledger.catalogueOf(42) == ("0x" + "0" * 40, 0, 0)


def test_each_day_has_one_deal_over_many_amendments(
    chain, ledger, catalogue, propose, submit, opening_day
):
    starts = [opening_day - 30]
    for version in range(1, 5):
        dearer = PRICES._replace(view=PRICES.view + version)
        start = opening_day + 10 * version
        submit(propose(replaces=version, from_day=start, tariff=dearer))
        mine_at(chain, start * DAY + DAY // 2)
        starts.append(start)
    for day in range(opening_day - 35, opening_day + 45):
        assert ledger.versionOn(catalogue, day) == sum(start <= day for start in starts)
