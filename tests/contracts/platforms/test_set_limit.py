"""`setLimit`: what all reporters of a platform may spend in a UTC day together."""

import pytest
from helpers import VIEW, PlatformState, event, pack_usage, platform_of, refused, to_noon

PRICE = 1_500  # nano-tokens: 1.5 micro-tokens


@pytest.fixture(scope="module")
def cheap(ledger, split, producer, opening_day):
    """A catalogue whose view costs 1.5 micro-tokens."""
    opened = ledger.open(split, (PRICE, 0, 0), opening_day, "", {"from": producer})
    return event(opened, "CatalogueOpened")["catalogue"]


@pytest.fixture(scope="module", autouse=True)
def prepared(ledger, fund, platform, reporter, stranger, cheap):
    """Two reporters, a limit of ten micro-tokens a day."""
    fund(platform, 10)
    for key in (reporter, stranger):
        ledger.setReporter(key, True, {"from": platform})
    ledger.setLimit(10, {"from": platform})


@pytest.fixture(scope="module")
def report(ledger, platform, cheap, opening_day):
    def send(views, sender):
        batch = platform_of(ledger, platform).batches + 1
        usage = pack_usage((cheap, 1, VIEW, [(0, views)]))
        arguments = (platform, batch, opening_day, b"\0" * 32, views * PRICE, usage)
        return ledger.report(*arguments, {"from": sender})

    return send


def test_the_limit_is_zero_until_it_is_set(ledger, rival_platform):
    assert platform_of(ledger, rival_platform).limit == 0


def test_setting_a_limit_is_told(ledger, platform):
    tx = ledger.setLimit(2**56 - 1, {"from": platform})
    assert event(tx, "LimitSet") == {"platform": platform, "limit": 2**56 - 1}
    assert platform_of(ledger, platform).limit == 2**56 - 1


def test_what_is_spent_is_rounded_up_to_micro_tokens(
    ledger, report, platform, reporter, opening_day
):
    report(1, reporter)
    expected = PlatformState(10 * 10**9 - PRICE, 1, 10, 2, opening_day)
    assert platform_of(ledger, platform) == expected


def test_reporters_share_one_limit(report, platform, reporter, stranger):
    report(2, reporter)
    report(4, stranger)
    with refused("LimitExceeded", platform, 2, 1):
        report(1, reporter)


def test_a_report_above_the_limit_changes_nothing(ledger, report, platform, reporter):
    before = platform_of(ledger, platform)
    with refused("LimitExceeded", platform, 11, 10):
        report(7, reporter)
    assert platform_of(ledger, platform) == before


def test_the_next_utc_day_starts_anew(chain, ledger, report, platform, reporter, opening_day):
    report(6, reporter)
    to_noon(chain)
    report(6, reporter)
    state = platform_of(ledger, platform)
    assert (state.spent, state.spent_day) == (9, opening_day + 1)


def test_the_limit_counts_the_day_of_the_block_not_of_the_usage(chain, report, platform, reporter):
    """Reporting an old day today spends today's limit."""
    to_noon(chain, days=5)
    report(6, reporter)
    with refused("LimitExceeded", platform, 2, 1):
        report(1, reporter)


def test_the_platform_itself_is_not_limited(ledger, report, platform, reporter):
    report(1_000, platform)
    assert platform_of(ledger, platform).spent == 0
    report(6, reporter)


def test_lowering_the_limit_below_what_is_spent_stops_the_reporters(
    ledger, report, platform, reporter
):
    report(6, reporter)
    ledger.setLimit(5, {"from": platform})
    with refused("LimitExceeded", platform, 2, 0):
        report(1, reporter)
    ledger.setLimit(11, {"from": platform})
    report(1, reporter)
