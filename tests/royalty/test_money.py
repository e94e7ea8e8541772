"""Amounts: text to nano-tokens and back, and the border to the token's smallest unit."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.errors import InputError
from royalty.money import (
    MAX_NANO,
    MAX_PRICE_NANO,
    NANO_PER_MICRO,
    TokenUnit,
    format_nano,
    micro_rounded_up,
    parse_price,
    parse_tokens,
)

nanos = st.integers(0, MAX_NANO)
decimals = st.integers(0, 27)


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("0", 0),
        ("1", 10**9),
        ("0.003", 3_000_000),
        ("0.000000001", 1),
        ("1099.511627775", MAX_PRICE_NANO),
        ("007.10", 7_100_000_000),
        ("0.0000000010000", 1),
    ],
)
def test_parse_tokens_reads_plain_decimals(text: str, nano: int) -> None:
    assert parse_tokens(text) == nano


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1e3", ".5", "5.", "1,5", " 1", "1\n", "٣", "0x1", "inf", "1_000"]
)
def test_parse_tokens_refuses_what_is_no_plain_decimal(text: str) -> None:
    with pytest.raises(InputError, match="not a decimal number"):
        parse_tokens(text)


def test_parse_tokens_refuses_what_is_finer_than_a_nano_token() -> None:
    with pytest.raises(InputError, match="finer than a nano-token"):
        parse_tokens("0.0000000001")


def test_parse_price_names_the_highest_price_it_refuses_above() -> None:
    assert parse_price("1099.511627775") == MAX_PRICE_NANO
    with pytest.raises(InputError, match=r"price of a view .* 1099\.511627775 tokens"):
        parse_price("1099.511627776", what="price of a view")


@given(nanos)
def test_every_amount_comes_back_from_its_text(nano: int) -> None:
    assert parse_tokens(format_nano(nano)) == nano


@given(st.integers(-(10**30), 10**30))
def test_format_nano_is_exact_and_has_no_trailing_zero(nano: int) -> None:
    text = format_nano(nano)
    assert Fraction(text) == Fraction(nano, 10**9)
    assert "." not in text or not text.endswith("0")


@given(nanos)
def test_micro_is_the_least_that_covers_the_nano(nano: int) -> None:
    micro = micro_rounded_up(nano)
    assert micro * NANO_PER_MICRO >= nano > (micro - 1) * NANO_PER_MICRO or nano == micro == 0


@given(nanos, decimals)
def test_to_smallest_rounds_down_by_less_than_one_unit(nano: int, places: int) -> None:
    unit = TokenUnit(places)
    amount = unit.to_smallest(nano)
    assert unit.to_nano(amount) <= nano
    if places <= 9:
        assert nano < unit.to_nano(amount + 1)
    else:
        assert unit.to_nano(amount) == nano


@given(st.integers(0, 2**120), decimals)
def test_smallest_units_come_back_or_are_refused(amount: int, places: int) -> None:
    unit = TokenUnit(places)
    if places > 9 and amount % 10 ** (places - 9):
        with pytest.raises(InputError, match="not a whole number of nano-tokens"):
            unit.to_nano(amount)
    else:
        assert unit.to_smallest(unit.to_nano(amount)) == amount


def test_from_nano_exact_refuses_what_the_token_cannot_express() -> None:
    assert TokenUnit(6).from_nano_exact(1_000) == 1
    with pytest.raises(InputError, match="at most 6 decimals"):
        TokenUnit(6).from_nano_exact(1_001)


@pytest.mark.parametrize("places", [-1, 28, 255])
def test_token_of_unsupported_decimals_is_refused(places: int) -> None:
    with pytest.raises(InputError, match="0 to 27"):
        TokenUnit(places)
