"""`setReporter`: keys that can report and do nothing else."""

import pytest
from helpers import EXCERPT, ZERO_ADDRESS, event, pack_usage, refused


def test_a_platform_names_and_dismisses_reporters(ledger, platform, reporter):
    assert not ledger.isReporter(platform, reporter)
    named = ledger.setReporter(reporter, True, {"from": platform})
    assert ledger.isReporter(platform, reporter)
    expected = {"platform": platform, "reporter": reporter, "allowed": True}
    assert event(named, "ReporterSet") == expected
    dismissed = ledger.setReporter(reporter, False, {"from": platform})
    assert not ledger.isReporter(platform, reporter)
    assert event(dismissed, "ReporterSet") == {**expected, "allowed": False}


def test_a_reporter_is_the_reporter_of_one_platform(ledger, platform, rival_platform, reporter):
    ledger.setReporter(reporter, True, {"from": platform})
    assert not ledger.isReporter(rival_platform, reporter)


def test_a_reporter_does_not_name_reporters_or_limits(ledger, platform, reporter, stranger):
    """Whatever a reporter sets, it sets for itself as a platform."""
    ledger.setReporter(reporter, True, {"from": platform})
    ledger.setReporter(stranger, True, {"from": reporter})
    ledger.setLimit(10**9, {"from": reporter})
    assert not ledger.isReporter(platform, stranger)
    assert ledger.platformOf(platform)[2] == 0


@pytest.fixture
def free_report(ledger, split, producer, platform, opening_day):
    """Report usage that costs nothing, so that neither funds nor limits matter."""
    opened = ledger.open(split, (0, 0, 0), opening_day, "", {"from": producer})
    free = event(opened, "CatalogueOpened")["catalogue"]
    usage = pack_usage((free, 1, EXCERPT, [(0, 7)]))

    def send(batch, sender):
        return ledger.report(platform, batch, opening_day, b"\0" * 32, 0, usage, {"from": sender})

    return send


def test_a_dismissed_reporter_reports_no_more(ledger, platform, reporter, free_report):
    ledger.setReporter(reporter, True, {"from": platform})
    free_report(1, reporter)
    ledger.setReporter(reporter, False, {"from": platform})
    with refused("NotReporter", platform, reporter):
        free_report(2, reporter)


def test_strangers_and_holders_do_not_report(
    platform, free_report, stranger, director, rival_platform
):
    for sender in (stranger, director, rival_platform):
        with refused("NotReporter", platform, sender):
            free_report(1, sender)


def test_the_zero_address_is_nobodys_reporter(ledger, platform):
    assert not ledger.isReporter(platform, ZERO_ADDRESS)
