"""Holders that are contracts consent by ERC-1271, and a broken one blocks nothing but itself."""

import pytest
from conftest import PRICES
from helpers import event, pack_split, refused, split_entries

HABITS = ["refuses", "reverts", "answers true", "answers short", "answers hugely", "burns gas"]
LESS = PRICES._replace(view=PRICES.view - 1)


@pytest.fixture(scope="module")
def opened(ledger, producer, opening_day):
    """Open a catalogue of one holder with 60 % and the producer."""

    def catalogue(holder):
        shares = {str(holder): 600_000, producer.address: 400_000}
        tx = ledger.open(pack_split(shares), PRICES, opening_day, "", {"from": producer})
        return event(tx, "CatalogueOpened")["catalogue"], shares

    return catalogue


@pytest.fixture(scope="module")
def cheapen(ledger, propose, producer, opened):
    """Lower a price with a signature that the owner's key made in the wallet's place."""

    def amend(wallet, signer):
        number, shares = opened(wallet)
        proposal = propose(catalogue=number, shares=shares, tariff=LESS)
        signatures = [
            proposal.signed_by(signer) if holder == wallet.address else b""
            for holder, _ in split_entries(shares)
        ]
        split = pack_split(shares)
        return ledger.amend(
            proposal.arguments, split, proposal.split, signatures, "", {"from": producer}
        )

    return amend


def test_a_wallets_consent_counts(GoodWallet, director, accounts, cheapen):
    wallet = GoodWallet.deploy(director, {"from": accounts[0]})
    assert event(cheapen(wallet, director), "DealAmended")["version"] == 2


def test_a_wallet_does_not_consent_with_a_foreign_key(
    GoodWallet, director, editor, accounts, cheapen
):
    wallet = GoodWallet.deploy(director, {"from": accounts[0]})
    with refused("ConsentMissing", wallet):
        cheapen(wallet, editor)


@pytest.mark.parametrize("habit", range(len(HABITS)), ids=HABITS)
def test_a_wallet_that_answers_wrongly_does_not_consent(
    BadWallet, director, accounts, cheapen, habit
):
    wallet = BadWallet.deploy(habit, {"from": accounts[0]})
    with refused("ConsentMissing", wallet):
        cheapen(wallet, director)


@pytest.mark.parametrize("habit", range(len(HABITS)), ids=HABITS)
def test_a_broken_wallet_does_not_hold_up_what_needs_no_consent_of_its(
    BadWallet, ledger, propose, producer, opened, accounts, habit
):
    wallet = BadWallet.deploy(habit, {"from": accounts[0]})
    number, shares = opened(wallet)
    dearer = PRICES._replace(view=PRICES.view + 1)
    proposal = propose(catalogue=number, shares=shares, tariff=dearer)
    split = pack_split(shares)
    tx = ledger.amend(
        proposal.arguments, split, proposal.split, [b"\1" * 65] * 2, "", {"from": producer}
    )
    assert event(tx, "DealAmended")["version"] == 2
