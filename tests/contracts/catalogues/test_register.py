"""`register`: fingerprints of works, in a block that nobody can date back."""

from helpers import event, refused

DIGEST = "0x" + "dd" * 32


def prints(count: int, start: int = 1) -> list[str]:
    return [f"0x{number:064x}" for number in range(start, start + count)]


def test_register_numbers_works_from_zero_and_goes_on(ledger, catalogue, producer):
    first = ledger.register(catalogue, prints(3), DIGEST, "ipfs://a", {"from": producer})
    assert event(first, "WorksRegistered") == {
        "catalogue": catalogue,
        "firstIndex": 0,
        "registrant": producer,
        "fingerprints": tuple(prints(3)),
        "metadataDigest": DIGEST,
        "uri": "ipfs://a",
    }
    second = ledger.register(catalogue, prints(2, 9), DIGEST, "", {"from": producer})
    assert event(second, "WorksRegistered")["firstIndex"] == 3
    assert ledger.catalogueOf(catalogue) == (producer, 1, 5)


def test_register_takes_a_hundred_works_at_once(ledger, catalogue, producer):
    ledger.register(catalogue, prints(100), DIGEST, "", {"from": producer})
    assert ledger.catalogueOf(catalogue)[2] == 100


def test_the_same_fingerprint_can_be_registered_by_anyone_into_an_own_catalogue(
    ledger, catalogue, split, producer, stranger, opening_day
):
    """The earliest is the earliest, not the owner: the chain only dates."""
    ledger.register(catalogue, prints(1), DIGEST, "", {"from": producer})
    opened = ledger.open(split, (1, 1, 1), opening_day, "", {"from": stranger})
    other = event(opened, "CatalogueOpened")["catalogue"]
    again = ledger.register(other, prints(1), DIGEST, "", {"from": stranger})
    assert event(again, "WorksRegistered")["registrant"] == stranger


def test_only_the_owner_registers(ledger, catalogue, producer, director):
    with refused("NotCatalogueOwner", catalogue, director, producer):
        ledger.register(catalogue, prints(1), DIGEST, "", {"from": director})


def test_register_refuses_to_register_nothing(ledger, catalogue, producer):
    with refused("NothingToRegister"):
        ledger.register(catalogue, [], DIGEST, "", {"from": producer})


def test_register_refuses_a_catalogue_that_is_not_there(ledger, producer):
    with refused("CatalogueUnknown", 5):
        ledger.register(5, prints(1), DIGEST, "", {"from": producer})
