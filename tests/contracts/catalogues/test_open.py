"""`open`: a catalogue, its owner, its first deal."""

import pytest
from conftest import PRICES
from helpers import (
    WHOLE,
    ZERO_ADDRESS,
    DealState,
    Tariff,
    deal_of,
    event,
    pack_entries,
    pack_split,
    refused,
    split_hash,
)


@pytest.fixture(scope="module")
def open_(ledger, producer, opening_day):
    def opening(split, tariff=PRICES, day=opening_day, uri="", sender=producer):
        return ledger.open(split, tariff, day, uri, {"from": sender})

    return opening


def test_open_makes_the_sender_the_owner(ledger, catalogue, producer):
    assert ledger.ownerOf(catalogue) == producer
    assert ledger.catalogueOf(catalogue) == (producer, 1, 0)


def test_open_numbers_catalogues_from_one(ledger, catalogue, open_, split):
    assert catalogue == 1
    assert event(open_(split), "CatalogueOpened")["catalogue"] == 2
    assert ledger.catalogues() == 2


def test_open_keeps_the_deal_in_one_row(ledger, catalogue, split, opening_day):
    expected = DealState(0, *PRICES, opening_day - 30, 0, True, split_hash(split))
    assert deal_of(ledger, catalogue, 1) == expected
    assert str(ledger.splitHash(split)) == split_hash(split)


def test_open_tells_everything_in_its_event(open_, split, producer, opening_day):
    assert event(open_(split, uri="ipfs://x"), "CatalogueOpened") == {
        "catalogue": 1 + 1,
        "version": 1,
        "owner": producer,
        "fromDay": opening_day,
        "tariff": PRICES,
        "split": "0x" + split.hex(),
        "uri": "ipfs://x",
    }


def test_anyone_can_open_a_catalogue(ledger, open_, split, stranger):
    number = event(open_(split, sender=stranger), "CatalogueOpened")["catalogue"]
    assert ledger.ownerOf(number) == stranger


def test_a_first_deal_can_start_long_ago(ledger, open_, split):
    number = event(open_(split, day=0), "CatalogueOpened")["catalogue"]
    assert ledger.versionOn(number, 0) == 1


def test_a_first_deal_cannot_start_tomorrow(open_, split, opening_day):
    with refused("DayOutOfRange", opening_day + 1, 0, opening_day):
        open_(split, day=opening_day + 1)


def test_free_and_the_dearest_prices_are_taken(ledger, open_, split):
    prices = Tariff(0, 2**40 - 1, 1)
    number = event(open_(split, prices), "CatalogueOpened")["catalogue"]
    assert deal_of(ledger, number, 1)[1:4] == prices


def test_a_single_holder_can_have_it_all(ledger, open_, director):
    number = event(open_(pack_split({director: WHOLE})), "CatalogueOpened")["catalogue"]
    assert ledger.versionOn(number, 2**16 - 1) == 1


def crowd(size: int) -> list[tuple[str, int]]:
    """Holders who share everything, the last one taking what is left."""
    shares = [WHOLE // size] * (size - 1)
    shares.append(WHOLE - sum(shares))
    return [(f"0x{2**100 + n:040x}", share) for n, share in enumerate(shares)]


def test_256_holders_are_taken_and_257_refused(open_):
    open_(pack_entries(crowd(256)))
    with refused("SplitLength", 257 * 24):
        open_(pack_entries(crowd(257)))


@pytest.mark.parametrize("length", [0, 1, 23, 25, 47])
def test_a_split_of_a_broken_length_is_refused(open_, split, length):
    with refused("SplitLength", length):
        open_(split[:length])


@pytest.mark.parametrize("sum_", [WHOLE - 1, WHOLE + 1])
def test_shares_that_are_not_the_whole_are_refused(open_, director, composer, sum_):
    with refused("ShareSum", sum_):
        open_(pack_split({director: 500_000, composer: sum_ - 500_000}))


def test_shares_that_wrap_around_to_the_whole_are_refused(open_, director, composer):
    with refused("ShareSum", 2**32 + WHOLE - 2):
        open_(pack_split({director: 2**32 - 1, composer: WHOLE - 1}))


def test_a_share_of_zero_is_refused(open_, director, composer):
    entries = sorted(
        [(director.address, 0), (composer.address, WHOLE)], key=lambda e: int(e[0], 16)
    )
    position = 0 if entries[0][1] == 0 else 1
    with refused("ShareZero", position, director):
        open_(pack_entries(entries))


def test_holders_out_of_order_are_refused(open_, split):
    first, second = split[:24], split[24:48]
    with refused("SplitOrder", 1, "0x" + first[:20].hex()):
        open_(second + first + split[48:])


def test_a_holder_named_twice_is_refused(open_, director):
    with refused("SplitOrder", 1, director):
        open_(pack_entries([(director, 400_000), (director, 600_000)]))


@pytest.mark.parametrize("where", ["zero", "ledger", "token"])
def test_a_holder_at_which_money_would_be_stuck_is_refused(open_, ledger, usd, where):
    holder = {"zero": ZERO_ADDRESS, "ledger": ledger.address, "token": usd.address}[where]
    with refused("AddressRefused", holder):
        open_(pack_entries([(holder, WHOLE)]))
