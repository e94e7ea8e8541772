"""Splits: their order, packed form and the division of accrued money."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.errors import InputError
from royalty.money import MAX_NANO
from royalty.shares import (
    MAX_HOLDERS,
    WHOLE_PPM,
    Share,
    Split,
    divide,
    make_split,
    pack_split,
    split_hash,
    unpack_split,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/splits.json").read_text())["cases"]


@pytest.mark.parametrize("case", VECTORS, ids=[case["name"] for case in VECTORS])
def test_vector_of_the_contracts_packs_hashes_and_divides_alike(case: dict[str, Any]) -> None:
    pairs = zip(case["holders"], case["ppm"], strict=True)
    split = make_split([Share(holder, ppm) for holder, ppm in pairs])
    assert "0x" + pack_split(split).hex() == case["packed"]
    assert "0x" + split_hash(split).hex() == case["hash"]
    assert unpack_split(bytes.fromhex(case["packed"][2:])) == split
    assert [share.holder for share in split] == case["holders"]
    for division in case["divisions"]:
        parts, remainder = divide(int(division["accrued"]), split)
        assert parts == [int(part) for part in division["parts"]]
        assert remainder == int(division["remainder"])


def address(number: int) -> str:
    from eth_utils.address import to_checksum_address

    return str(to_checksum_address(number.to_bytes(20, "big")))


@st.composite
def splits(draw: st.DrawFn) -> Split:
    """Any split that the ledger takes."""
    count = draw(st.integers(1, 40))
    cuts = sorted(
        draw(
            st.lists(
                st.integers(1, WHOLE_PPM - 1), min_size=count - 1, max_size=count - 1, unique=True
            )
        )
    )
    parts = [b - a for a, b in zip([0, *cuts], [*cuts, WHOLE_PPM], strict=True)]
    holders = draw(
        st.lists(st.integers(1, 2**160 - 1), min_size=count, max_size=count, unique=True)
    )
    return make_split([Share(address(n), ppm) for n, ppm in zip(holders, parts, strict=True)])


@given(splits())
def test_packed_split_comes_back(split: Split) -> None:
    packed = pack_split(split)
    assert len(packed) == 24 * len(split)
    assert unpack_split(packed) == split


@given(splits(), st.randoms())
def test_order_of_the_shares_given_does_not_matter(split: Split, random: object) -> None:
    shuffled = list(split)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert make_split(shuffled) == split
    assert [share.key for share in split] == sorted(share.key for share in split)


@given(splits(), st.integers(0, MAX_NANO))
def test_division_loses_nothing_and_leaves_less_than_a_nano_a_holder(
    split: Split, accrued: int
) -> None:
    parts, remainder = divide(accrued, split)
    assert sum(parts) + remainder == accrued
    assert 0 <= remainder < len(split)
    for share, part in zip(split, parts, strict=True):
        assert 0 <= Fraction(accrued * share.ppm, WHOLE_PPM) - part < 1


@given(splits(), st.lists(st.integers(0, 10**12), min_size=1, max_size=30))
def test_carried_remainders_keep_every_holder_near_its_exact_share(
    split: Split, payments: list[int]
) -> None:
    credited = [0] * len(split)
    accrued = 0
    for payment in payments:
        parts, accrued = divide(accrued + payment, split)
        credited = [a + b for a, b in zip(credited, parts, strict=True)]
    assert sum(credited) + accrued == sum(payments)
    for share, got in zip(split, credited, strict=True):
        exact = Fraction(sum(payments) * share.ppm, WHOLE_PPM)
        assert abs(exact - got) < len(payments) * len(split)  # a nano-token a holder each time


def test_split_hash_is_keccak_of_the_packed_form() -> None:
    from eth_utils.crypto import keccak

    split = make_split([Share(address(2), 400_000), Share(address(1), 600_000)])
    assert split_hash(split) == keccak(pack_split(split))
    assert pack_split(split)[:24] == bytes(19) + b"\x01" + (600_000).to_bytes(4, "big")


@pytest.mark.parametrize("ppm", [0, -1, WHOLE_PPM + 1])
def test_share_out_of_range_is_refused(ppm: int) -> None:
    with pytest.raises(InputError, match="out of range"):
        Share(address(1), ppm)


@pytest.mark.parametrize(
    ("shares", "reason"),
    [
        ([], "1 to 256 holders"),
        ([(1, 500_000), (1, 500_000)], "twice"),
        ([(1, 500_000), (2, 499_999)], "999,999 ppm"),
        ([(1, 500_000), (2, 500_001)], "1,000,001 ppm"),
        ([(n, 1) for n in range(1, MAX_HOLDERS + 2)], "not 257"),
    ],
)
def test_split_that_the_ledger_would_refuse_is_refused(
    shares: list[tuple[int, int]], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        make_split([Share(address(number), ppm) for number, ppm in shares])


@pytest.mark.parametrize("packed", [b"", b"\x01" * 23, b"\x01" * 25])
def test_cut_split_is_refused(packed: bytes) -> None:
    with pytest.raises(InputError, match="multiple of 24"):
        unpack_split(packed)
