"""`amend`: the next version of a deal, from a day to come."""

import pytest
from conftest import PRICES
from helpers import (
    DAY,
    DealState,
    deal_of,
    event,
    mine_at,
    pack_split,
    refused,
    split_hash,
    timestamp,
    to_noon,
)

DEARER = PRICES._replace(view=PRICES.view + 1)


@pytest.fixture(scope="module")
def reshared(director, composer, editor):
    """The producer gives its own share to the editor."""
    return {director.address: 500_000, composer.address: 300_000, editor.address: 200_000}


def test_the_new_version_follows_the_old_one_on_its_day(
    ledger, catalogue, propose, submit, reshared, split, opening_day
):
    proposal = propose(shares=reshared, tariff=DEARER)
    submit(proposal)
    start = opening_day + 10
    assert deal_of(ledger, catalogue, 1) == DealState(
        0, *PRICES, opening_day - 30, start, True, split_hash(split)
    )
    assert deal_of(ledger, catalogue, 2) == DealState(
        0, *DEARER, start, 0, True, split_hash(proposal.split)
    )
    assert ledger.versionOn(catalogue, start - 1) == 1
    assert ledger.versionOn(catalogue, start) == 2
    assert ledger.catalogueOf(catalogue)[1] == 2


def test_amend_tells_everything_in_its_event(
    ledger, catalogue, propose, producer, shares, reshared
):
    proposal = propose(shares=reshared)
    tx = ledger.amend(
        proposal.arguments,
        pack_split(shares),
        proposal.split,
        proposal.signatures(shares, ()),
        "ipfs://v2",
        {"from": producer},
    )
    assert event(tx, "DealAmended") == {
        "catalogue": catalogue,
        "version": 2,
        "owner": producer,
        "fromDay": proposal.from_day,
        "tariff": PRICES,
        "split": "0x" + proposal.split.hex(),
        "uri": "ipfs://v2",
    }


def test_amend_keeps_the_number_of_works(ledger, catalogue, propose, submit, producer):
    ledger.register(catalogue, [b"\1" * 32, b"\2" * 32], b"\0" * 32, "", {"from": producer})
    submit(propose(tariff=DEARER))
    assert ledger.catalogueOf(catalogue) == (producer, 2, 2)


def test_what_was_earned_before_the_day_stays_with_the_old_deal(
    chain, ledger, catalogue, propose, submit, pay_in, reshared, director, producer, editor, shares
):
    """A payment on the last day of the old deal goes to the producer, the next day's not."""
    proposal = propose(shares=reshared)
    submit(proposal)
    to_noon(chain, days=9)
    pay_in(catalogue, 10_000_000)
    to_noon(chain)
    pay_in(catalogue, 1_000_000)
    assert deal_of(ledger, catalogue, 1).accrued == 10 * 10**9
    assert deal_of(ledger, catalogue, 2).accrued == 10**9


@pytest.mark.parametrize("ahead", [1, 366])
def test_an_amendment_can_start_tomorrow_or_in_a_year(ledger, propose, submit, opening_day, ahead):
    submit(propose(from_day=opening_day + ahead, tariff=DEARER))


@pytest.mark.parametrize("ahead", [-30, 0, 367])
def test_an_amendment_cannot_start_today_or_later_than_in_a_year(
    propose, submit, opening_day, ahead
):
    with refused("DayOutOfRange", opening_day + ahead, opening_day + 1, opening_day + 366):
        submit(propose(from_day=opening_day + ahead, tariff=DEARER))


def test_a_second_amendment_waits_until_the_first_is_in_force(
    chain, catalogue, propose, submit, opening_day
):
    submit(propose(tariff=DEARER))
    with refused("AmendmentPending", catalogue, 2, opening_day + 10):
        submit(propose(replaces=2, from_day=opening_day + 20, tariff=DEARER))
    to_noon(chain, days=10)
    amended = submit(propose(replaces=2, from_day=opening_day + 20, tariff=DEARER))
    assert event(amended, "DealAmended")["version"] == 3


def test_an_amendment_after_its_deadline_is_refused(chain, propose, submit):
    deadline = timestamp(chain) + DAY
    mine_at(chain, deadline + 1)
    with refused("DeadlinePassed", ...):
        submit(propose(deadline=deadline, tariff=DEARER))


def test_only_the_owner_amends(catalogue, propose, submit, director, producer, stranger):
    for sender in (stranger, director):
        with refused("NotCatalogueOwner", catalogue, sender, producer):
            submit(propose(tariff=DEARER), sender=sender)


def test_an_approved_operator_does_not_amend(
    ledger, catalogue, propose, submit, producer, stranger
):
    ledger.approve(stranger, catalogue, {"from": producer})
    ledger.setApprovalForAll(stranger, True, {"from": producer})
    with refused("NotCatalogueOwner", catalogue, stranger, producer):
        submit(propose(tariff=DEARER), sender=stranger)


def test_a_catalogue_that_is_not_there_is_refused(propose, submit):
    with refused("CatalogueUnknown", 77):
        submit(propose(catalogue=77))


def test_the_current_split_must_be_the_one_of_the_deal(propose, submit, reshared):
    with refused("SplitMismatch", ...):
        submit(propose(tariff=DEARER), current=reshared)


def test_the_new_split_must_be_a_split(propose, submit, director):
    with refused("ShareSum", 999_999):
        submit(propose(shares={director.address: 999_999}))


def test_a_signature_stands_for_each_holder_even_where_none_is_needed(
    ledger, propose, producer, split
):
    proposal = propose(tariff=DEARER)
    for given in (0, 2, 4):
        with refused("SignatureCount", 3, given):
            ledger.amend(
                proposal.arguments, split, proposal.split, [b""] * given, "", {"from": producer}
            )
