"""Whose signature an amendment needs: whoever has something to lose, and nobody else.

The director has 50 %, the composer 30 %, the producer, who owns the catalogue, 20 %.
"""

import pytest
from conftest import PRICES
from helpers import DAY, ZERO_ADDRESS, Tariff, event, mine_at, refused, split_entries

# What changes -> the new split in percent by role, the new prices.
CHANGES = {
    "nothing": ({"director": 50, "composer": 30, "producer": 20}, PRICES),
    "the producer gives": ({"director": 55, "composer": 35, "producer": 10}, PRICES),
    "the producer leaves": ({"director": 60, "composer": 40}, PRICES),
    "the producer makes room": (
        {"director": 50, "composer": 30, "producer": 10, "editor": 10},
        PRICES,
    ),
    "the director gives": ({"director": 40, "composer": 40, "producer": 20}, PRICES),
    "the director leaves": ({"composer": 80, "producer": 20}, PRICES),
    "the composer gives": ({"director": 60, "composer": 20, "producer": 20}, PRICES),
    "everybody makes room": (
        {"director": 45, "composer": 25, "producer": 15, "editor": 15},
        PRICES,
    ),
    "everybody leaves": ({"editor": 100}, PRICES),
    "prices rise": (
        {"director": 50, "composer": 30, "producer": 20},
        Tariff(*(p + 1 for p in PRICES)),
    ),
    "the view falls": (
        {"director": 50, "composer": 30, "producer": 20},
        PRICES._replace(view=PRICES.view - 1, download=PRICES.download * 2),
    ),
    "the download falls": (
        {"director": 50, "composer": 30, "producer": 20},
        PRICES._replace(download=0),
    ),
    "the excerpt falls": (
        {"director": 50, "composer": 30, "producer": 20},
        PRICES._replace(excerpt=PRICES.excerpt - 1),
    ),
    "a price falls while shares rise": (
        {"director": 60, "composer": 40},
        PRICES._replace(view=PRICES.view - 1),
    ),
}

# Who must sign; the producer sends the amendment, which is its consent.
NEEDED = {
    "nothing": set(),
    "the producer gives": set(),
    "the producer leaves": set(),
    "the producer makes room": set(),
    "the director gives": {"director"},
    "the director leaves": {"director"},
    "the composer gives": {"composer"},
    "everybody makes room": {"director", "composer"},
    "everybody leaves": {"director", "composer"},
    "prices rise": set(),
    "the view falls": {"director", "composer"},
    "the download falls": {"director", "composer"},
    "the excerpt falls": {"director", "composer"},
    "a price falls while shares rise": {"director", "composer"},
}

NEEDED_PAIRS = [(change, role) for change, roles in NEEDED.items() for role in sorted(roles)]


@pytest.fixture(scope="module")
def roles(director, composer, producer, editor):
    return {"director": director, "composer": composer, "producer": producer, "editor": editor}


@pytest.fixture(scope="module")
def changed(propose, roles):
    def proposal(change: str):
        percents, tariff = CHANGES[change]
        shares = {roles[role].address: percent * 10_000 for role, percent in percents.items()}
        return propose(shares=shares, tariff=tariff)

    return proposal


@pytest.fixture(scope="module")
def less_for_director(changed):
    return changed("the director gives")


@pytest.mark.parametrize("change", NEEDED)
def test_the_signatures_of_those_who_lose_suffice(change, changed, submit, roles):
    amended = submit(changed(change), signers=[roles[role] for role in NEEDED[change]])
    assert event(amended, "DealAmended")["version"] == 2


@pytest.mark.parametrize(("change", "role"), NEEDED_PAIRS)
def test_no_signature_of_those_who_lose_can_be_missing(change, role, changed, submit, roles):
    others = [roles[other] for other in sorted({"director", "composer", "producer"} - {role})]
    with refused("ConsentMissing", roles[role]):
        submit(changed(change), signers=others)


def test_the_first_missing_signature_is_named(changed, submit, shares, producer):
    first = next(holder for holder, _ in split_entries(shares) if holder != producer)
    with refused("ConsentMissing", first):
        submit(changed("everybody leaves"))


# --- A signature is for this very amendment ---

OTHERWISE = {
    "chain": {"chain_id": 1},
    "ledger": {"ledger": "0x" + "ab" * 20},
    "catalogue": {"catalogue": 2},
    "version": {"replaces": 2},
    "producer": {"producer": "0x" + "cd" * 20},
    "view price": {"tariff": PRICES._replace(view=PRICES.view + 1)},
    "download price": {"tariff": PRICES._replace(download=PRICES.download + 1)},
    "excerpt price": {"tariff": PRICES._replace(excerpt=PRICES.excerpt + 1)},
    "deadline": {"deadline": 2**64 + 1},
}


@pytest.mark.parametrize("part", OTHERWISE)
def test_a_signature_over_another_amendment_is_no_consent(
    part, less_for_director, submit, director
):
    signed = less_for_director._replace(**OTHERWISE[part])
    with refused("ConsentMissing", director):
        submit(less_for_director, signers=[director], signed=signed)


def test_a_signature_over_another_day_is_no_consent(less_for_director, submit, director):
    signed = less_for_director._replace(from_day=less_for_director.from_day + 1)
    with refused("ConsentMissing", director):
        submit(less_for_director, signers=[director], signed=signed)


def test_a_signature_over_another_split_is_no_consent(less_for_director, changed, submit, director):
    signed = less_for_director._replace(shares=changed("everybody makes room").shares)
    with refused("ConsentMissing", director):
        submit(less_for_director, signers=[director], signed=signed)


def test_another_holders_signature_is_no_consent(
    ledger, less_for_director, producer, composer, split, shares, director
):
    forged = [less_for_director.signed_by(composer) for _ in shares]
    with refused("ConsentMissing", director):
        ledger.amend(
            less_for_director.arguments,
            split,
            less_for_director.split,
            forged,
            "",
            {"from": producer},
        )


GARBAGE = {
    "a byte": b"\0",
    "zeros": b"\0" * 65,
    "ones": b"\xff" * 65,
    "64 bytes": b"\1" * 64,
    "500 bytes": b"\2" * 500,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_no_consent(ledger, less_for_director, producer, split, director, garbage):
    with refused("ConsentMissing", director):
        ledger.amend(
            less_for_director.arguments,
            split,
            less_for_director.split,
            [garbage] * 3,
            "",
            {"from": producer},
        )


def test_a_consent_cannot_be_used_twice(chain, less_for_director, propose, submit, director):
    """The version that is replaced is part of what is signed."""
    submit(less_for_director, signers=[director])
    mine_at(chain, less_for_director.from_day * DAY + 1)
    again = less_for_director._replace(
        from_day=less_for_director.from_day + 10, tariff=PRICES._replace(view=0)
    )
    with refused("ConsentMissing", ...):
        submit(
            again,
            signers=[director],
            signed=less_for_director,
            current=less_for_director.shares,
        )


def test_a_transfer_ends_consents_given_to_the_owner_before(
    ledger, catalogue, less_for_director, submit, director, producer, stranger
):
    ledger.transferFrom(producer, stranger, catalogue, {"from": producer})
    with refused("ConsentMissing", ...):
        submit(less_for_director, signers=[director, producer], sender=stranger)


# --- The digest that the ledger shows ---


@pytest.mark.parametrize("change", CHANGES)
def test_the_digest_shown_is_the_one_that_wallets_sign(change, ledger, changed):
    from eth_account.messages import encode_typed_data
    from eth_utils import keccak

    proposal = changed(change)
    signable = encode_typed_data(full_message=proposal.typed_data)
    expected = keccak(b"\x19" + signable.version + signable.header + signable.body)
    assert str(ledger.amendmentDigest(proposal.arguments, proposal.split)) == "0x" + expected.hex()


def test_there_is_no_digest_for_a_catalogue_that_is_not_there(ledger, propose):
    unknown = propose(catalogue=9)
    with refused("CatalogueUnknown", 9):
        ledger.amendmentDigest(unknown.arguments, unknown.split)


def test_the_domain_is_told_to_wallets(ledger, chain):
    domain = ledger.eip712Domain()
    assert domain[1:5] == ("Royalty", "1", chain.id, ledger.address)
    assert ZERO_ADDRESS not in domain[1:5]
