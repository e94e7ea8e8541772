"""`report`: usage of one day, paid into the deals at once, landing once."""

import pytest
from conftest import PRICES
from helpers import (
    DOWNLOAD,
    EXCERPT,
    VIEW,
    deal_of,
    event,
    pack_usage,
    platform_of,
    refused,
    to_noon,
)

EVIDENCE = "0x" + "ee" * 32
FUNDS = 1_000 * 10**9


@pytest.fixture(scope="module", autouse=True)
def funded(fund, platform, catalogue):
    fund(platform, 1_000)


@pytest.fixture(scope="module")
def views(catalogue):
    """Two views of work 0, three of work 7."""
    return pack_usage((catalogue, 1, VIEW, [(0, 2), (7, 3)]))


@pytest.fixture(scope="module")
def report(ledger, platform, opening_day):
    def send(usage, total, batch=1, day=opening_day, sender=platform, for_=platform):
        return ledger.report(for_, batch, day, EVIDENCE, total, usage, {"from": sender})

    return send


def test_a_report_credits_the_deal_and_debits_the_platform(
    ledger, report, platform, catalogue, views
):
    report(views, 5 * PRICES.view)
    assert deal_of(ledger, catalogue, 1).accrued == 5 * PRICES.view
    assert platform_of(ledger, platform)[:2] == (FUNDS - 5 * PRICES.view, 1)


def test_a_report_tells_everything_in_its_event(report, platform, views, opening_day):
    assert event(report(views, 5 * PRICES.view), "UsageReported") == {
        "platform": platform,
        "batch": 1,
        "day": opening_day,
        "sender": platform,
        "evidence": EVIDENCE,
        "total": 5 * PRICES.view,
        "usage": "0x" + views.hex(),
    }


def test_each_kind_has_its_price(ledger, report, catalogue):
    usage = pack_usage(
        (catalogue, 1, VIEW, [(0, 10)]),
        (catalogue, 1, DOWNLOAD, [(0, 2)]),
        (catalogue, 1, EXCERPT, [(0, 90), (1, 9)]),
    )
    total = 10 * PRICES.view + 2 * PRICES.download + 99 * PRICES.excerpt
    report(usage, total)
    assert deal_of(ledger, catalogue, 1).accrued == total


def test_many_catalogues_are_reported_at_once(
    ledger, report, split, stranger, catalogue, opening_day
):
    for _ in range(4):
        ledger.open(split, (1, 2, 3), opening_day, "", {"from": stranger})
    groups = [(number, 1, VIEW, [(0, number)]) for number in range(2, 6)]
    report(pack_usage(*groups), sum(range(2, 6)))
    assert [deal_of(ledger, n, 1).accrued for n in range(1, 6)] == [0, 2, 3, 4, 5]


@pytest.mark.parametrize("count", [1, 4, 5, 6, 9, 10, 11, 64, 1_000])
def test_the_units_of_any_number_of_pairs_add_up(report, catalogue, count):
    """Around the strides in which the contract sums, with the largest numbers that fit."""
    pairs = [(2**24 - 1 - n, 1 + n % 7) for n in range(count)]
    report(pack_usage((catalogue, 1, EXCERPT, pairs)), sum(u for _, u in pairs) * PRICES.excerpt)


def test_the_largest_units_add_up(ledger, report, split, stranger, platform, opening_day):
    opened = ledger.open(split, (1, 0, 0), opening_day, "", {"from": stranger})
    cheap = event(opened, "CatalogueOpened")["catalogue"]
    most = 2**24 - 1
    report(pack_usage((cheap, 1, VIEW, [(most, most)] * 37)), 37 * most)
    assert deal_of(ledger, cheap, 1).accrued == 37 * most


def test_a_report_into_a_full_deal_is_refused(
    ledger, usd, report, pay_in, platform, catalogue, opening_day
):
    """Nothing of the deal's prices and days next to the money is touched."""
    before = deal_of(ledger, catalogue, 1)
    full = (2**96 - 1) // 1_000
    pay_in(catalogue, full)
    with refused("AmountTooLarge", full * 1_000 + PRICES.view):
        report(pack_usage((catalogue, 1, VIEW, [(0, 1)])), PRICES.view)
    assert deal_of(ledger, catalogue, 1)[1:] == before[1:]


def test_usage_for_free_is_reported_at_zero(ledger, report, split, stranger, opening_day, platform):
    opened = ledger.open(split, (0, 0, 0), opening_day, "", {"from": stranger})
    free = event(opened, "CatalogueOpened")["catalogue"]
    report(pack_usage((free, 1, VIEW, [(0, 123)])), 0)
    assert deal_of(ledger, free, 1).accrued == 0
    assert platform_of(ledger, platform)[:2] == (FUNDS, 1)


def test_the_batch_must_be_the_next_one(report, views):
    for batch in (0, 2, 2**32 - 1):
        with refused("BatchNotNext", 1, batch):
            report(views, 5 * PRICES.view, batch=batch)


def test_the_same_report_lands_once(ledger, report, platform, catalogue, views):
    report(views, 5 * PRICES.view)
    with refused("BatchNotNext", 2, 1):
        report(views, 5 * PRICES.view)
    assert deal_of(ledger, catalogue, 1).accrued == 5 * PRICES.view


def test_each_platform_counts_its_own_batches(ledger, fund, report, rival_platform, views):
    fund(rival_platform, 1)
    report(views, 5 * PRICES.view)
    report(views, 5 * PRICES.view, batch=2)
    report(views, 5 * PRICES.view, sender=rival_platform, for_=rival_platform)


@pytest.mark.parametrize("off", [-1, 1])
def test_the_total_must_be_what_the_contract_computes(report, views, off):
    with refused("TotalMismatch", 5 * PRICES.view, 5 * PRICES.view + off):
        report(views, 5 * PRICES.view + off)


def test_a_platform_cannot_spend_more_than_its_funds(report, platform, catalogue):
    usage = pack_usage((catalogue, 1, DOWNLOAD, [(0, 2_001)]))
    with refused("FundsInsufficient", platform, FUNDS + PRICES.download, FUNDS):
        report(usage, FUNDS + PRICES.download)


def test_a_platform_spends_its_last_nano_token(ledger, report, platform, catalogue):
    report(pack_usage((catalogue, 1, DOWNLOAD, [(0, 2_000)])), FUNDS)
    assert platform_of(ledger, platform).funds == 0


def test_no_platforms_money_pays_for_anothers_usage(ledger, report, rival_platform, views):
    with refused("FundsInsufficient", rival_platform, 5 * PRICES.view, 0):
        report(views, 5 * PRICES.view, sender=rival_platform, for_=rival_platform)


# --- Days ---


def test_a_day_to_come_cannot_be_reported(report, views, opening_day):
    with refused("DayInFuture", opening_day + 1, opening_day):
        report(views, 5 * PRICES.view, day=opening_day + 1)


def test_usage_before_the_deal_cannot_be_reported(report, catalogue, views, opening_day):
    first = opening_day - 30
    report(views, 5 * PRICES.view, day=first)
    with refused("DealNotInForce", catalogue, 1, first - 1, first, 0):
        report(views, 5 * PRICES.view, batch=2, day=first - 1)


def test_late_usage_goes_to_the_deal_of_its_own_day(
    chain, ledger, report, catalogue, propose, submit, views, opening_day
):
    """The day before an amendment belongs to the old deal, also when reported long after."""
    dearer = PRICES._replace(view=2 * PRICES.view)
    submit(propose(tariff=dearer))
    start = opening_day + 10
    to_noon(chain, days=40)
    report(views, 5 * PRICES.view, day=start - 1)
    with refused("DealNotInForce", catalogue, 1, start, opening_day - 30, start):
        report(views, 5 * PRICES.view, batch=2, day=start)
    newer = pack_usage((catalogue, 2, VIEW, [(0, 5)]))
    with refused("DealNotInForce", catalogue, 2, start - 1, start, 0):
        report(newer, 10 * PRICES.view, batch=2, day=start - 1)
    report(newer, 10 * PRICES.view, batch=2, day=start)
    assert deal_of(ledger, catalogue, 1).accrued == 5 * PRICES.view
    assert deal_of(ledger, catalogue, 2).accrued == 10 * PRICES.view


# --- Malformed usage ---


def test_a_deal_that_is_not_there_is_refused(report, catalogue):
    for number, version in ((catalogue, 0), (catalogue, 2), (99, 1), (0, 0)):
        with refused("DealUnknown", number, version):
            report(pack_usage((number, version, VIEW, [(0, 1)])), 0)


@pytest.mark.parametrize("kind", [3, 255])
def test_an_unknown_kind_is_refused(report, catalogue, kind):
    with refused("KindUnknown", kind):
        report(pack_usage((catalogue, 1, kind, [(0, 1)])), 0)


@pytest.mark.parametrize("length", [0, 1, 8, 9, 10, 15, 20])
def test_cut_groups_are_refused(report, views, length):
    with refused("GroupMalformed", 0, length):
        report(views[:length], 0)


def test_an_empty_group_is_refused(report, catalogue):
    with refused("GroupMalformed", 0, 9):
        report(pack_usage((catalogue, 1, VIEW, [])), 0)


def test_bytes_after_the_last_group_are_refused(report, views):
    with refused("GroupMalformed", len(views), len(views) + 1):
        report(views + b"\0", 5 * PRICES.view)


def test_one_bad_group_undoes_the_whole_report(ledger, report, platform, catalogue, views):
    bad = views + pack_usage((99, 1, VIEW, [(0, 1)]))
    with refused("DealUnknown", 99, 1):
        report(bad, 5 * PRICES.view)
    assert deal_of(ledger, catalogue, 1).accrued == 0
    assert platform_of(ledger, platform)[:2] == (FUNDS, 0)
