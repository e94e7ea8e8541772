"""A catalogue is an ERC-721 token: who has it may register and amend, the holders' shares stay."""

import pytest
from conftest import PRICES
from helpers import ZERO_ADDRESS, event, refused

DEARER = PRICES._replace(view=PRICES.view + 1)


@pytest.fixture
def sold(ledger, catalogue, producer, stranger):
    return ledger.transferFrom(producer, stranger, catalogue, {"from": producer})


def test_a_transfer_changes_the_owner(ledger, catalogue, producer, stranger, sold):
    assert ledger.ownerOf(catalogue) == stranger
    assert ledger.balanceOf(producer) == 0
    assert ledger.balanceOf(stranger) == 1
    transfer = event(sold, "Transfer")
    assert (transfer["from"], transfer["to"], transfer["id"]) == (producer, stranger, catalogue)


def test_opening_tells_the_token_standards_event(ledger, split, producer, opening_day):
    opened = ledger.open(split, PRICES, opening_day, "", {"from": producer})
    minted = event(opened, "Transfer")
    assert (minted["from"], minted["to"]) == (ZERO_ADDRESS, producer)


def test_the_new_owner_amends_and_registers(ledger, catalogue, propose, submit, stranger, sold):
    submit(propose(producer=stranger.address, tariff=DEARER), sender=stranger)
    ledger.register(catalogue, [b"\1" * 32], b"\0" * 32, "", {"from": stranger})
    assert ledger.catalogueOf(catalogue) == (stranger, 2, 1)


def test_the_former_owner_neither_amends_nor_registers(
    ledger, catalogue, propose, submit, producer, stranger, sold
):
    with refused("NotCatalogueOwner", catalogue, producer, stranger):
        submit(propose(tariff=DEARER))
    with refused("NotCatalogueOwner", catalogue, producer, stranger):
        ledger.register(catalogue, [b"\1" * 32], b"\0" * 32, "", {"from": producer})


def test_the_former_owner_keeps_its_share_until_it_signs_it_away(
    propose, submit, director, composer, producer, stranger, sold
):
    without = {director.address: 700_000, composer.address: 300_000}
    proposal = propose(producer=stranger.address, shares=without)
    with refused("ConsentMissing", producer):
        submit(proposal, sender=stranger)
    assert event(submit(proposal, [producer], sender=stranger), "DealAmended")["version"] == 2


def test_a_transfer_moves_no_money(ledger, usd, catalogue, pay_in, producer, stranger):
    pay_in(catalogue, 1_000_000)
    before = ledger.dealOf(catalogue, 1)
    ledger.transferFrom(producer, stranger, catalogue, {"from": producer})
    assert ledger.dealOf(catalogue, 1) == before
    assert usd.balanceOf(stranger) == 0


def test_a_stranger_cannot_take_a_catalogue(ledger, catalogue, producer, stranger):
    with refused("NotOwnerNorApproved"):
        ledger.transferFrom(producer, stranger, catalogue, {"from": stranger})


def test_an_approved_operator_moves_the_catalogue(ledger, catalogue, producer, stranger, editor):
    ledger.approve(stranger, catalogue, {"from": producer})
    ledger.transferFrom(producer, editor, catalogue, {"from": stranger})
    assert ledger.ownerOf(catalogue) == editor


def test_the_standards_are_announced(ledger):
    assert ledger.supportsInterface("0x80ac58cd")  # ERC-721
    assert ledger.supportsInterface("0x01ffc9a7")  # ERC-165
