"""Amounts: integers of nano-tokens inside, decimals for people, smallest units at the border; counts.

A nano-token is 1e-9 of one token (design: unit of account). Nothing here touches a float.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from royalty.errors import InputError

NANO_PER_TOKEN = 10**9
NANO_PER_MICRO = 10**3
MAX_NANO = 2**96 - 1
MAX_PRICE_NANO = 2**40 - 1
MAX_DECIMALS = 27

_DECIMAL = re.compile(r"([0-9]{1,30})(?:\.([0-9]{1,30}))?")


def parse_tokens(text: str, *, what: str = "amount") -> int:
    """Return the nano-tokens that a decimal string of tokens stands for.

    Raises InputError where it is not a plain decimal, or finer than a nano-token.

    >>> parse_tokens("0.003")
    3000000
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise InputError(f"{what} '{text[:40]}' is not a decimal number; write for example 0.003")
    whole, fraction = match.group(1), (match.group(2) or "").rstrip("0")
    if len(fraction) > 9:
        raise InputError(f"{what} {text} is finer than a nano-token; give at most 9 decimals")
    return int(whole) * NANO_PER_TOKEN + int(fraction.ljust(9, "0"))


def parse_price(text: str, *, what: str = "price") -> int:
    """Return a price in nano-tokens per unit, 0 to 1,099.511627775 tokens.

    Raises InputError where it is out of range or finer than a nano-token.
    """
    nano = parse_tokens(text, what=what)
    if nano > MAX_PRICE_NANO:
        raise InputError(
            f"{what} {text} is above the highest, {format_nano(MAX_PRICE_NANO)} tokens"
        )
    return nano


def format_nano(nano: int) -> str:
    """Return nano-tokens as a decimal string of tokens without trailing zeros, sign kept.

    >>> format_nano(3_000_000)
    '0.003'
    """
    whole, fraction = divmod(abs(nano), NANO_PER_TOKEN)
    digits = f"{fraction:09d}".rstrip("0")
    return ("-" if nano < 0 else "") + (f"{whole}.{digits}" if digits else str(whole))


def format_wei(wei: int) -> str:
    """Return wei as a decimal string of the chain's coin, all 18 places after the point.

    >>> format_wei(10**16)
    '0.010000000000000000'
    """
    whole, rest = divmod(wei, 10**18)
    return f"{whole}.{rest:018d}"


def counted(number: int, word: str, many: str = "") -> str:
    """Return a number and what it counts: `1 deal`, `2 deals`.

    >>> counted(1200, "view")
    '1,200 views'
    """
    return f"{number:,} {word if number == 1 else many or word + 's'}"


def micro_rounded_up(nano: int) -> int:
    """Return whole micro-tokens, rounded up: spending counts against a reporter's limit in full."""
    return -(-nano // NANO_PER_MICRO)


@dataclass(frozen=True, slots=True)
class TokenUnit:
    """How a token's smallest unit relates to the nano-token."""

    decimals: int

    def __post_init__(self) -> None:
        if not 0 <= self.decimals <= MAX_DECIMALS:
            raise InputError(f"a token of {self.decimals} decimals is not supported; 0 to 27 are")

    def to_nano(self, amount: int) -> int:
        """Return the nano-tokens of `amount` smallest units; InputError where it is no whole number."""
        if self.decimals <= 9:
            return int(amount * 10 ** (9 - self.decimals))
        nano, rest = divmod(amount, 10 ** (self.decimals - 9))
        if rest:
            raise InputError(
                f"{amount} of the token's smallest unit is not a whole number of nano-tokens;"
                f" give a multiple of 10^{self.decimals - 9}"
            )
        return int(nano)

    def to_smallest(self, nano: int) -> int:
        """Return whole smallest units, rounded down; the rest stays in the holder's balance."""
        if self.decimals <= 9:
            return int(nano // 10 ** (9 - self.decimals))
        return int(nano * 10 ** (self.decimals - 9))

    def from_nano_exact(self, nano: int, *, what: str = "amount") -> int:
        """Return the smallest units of `nano`; InputError where the token cannot express it."""
        amount = self.to_smallest(nano)
        if self.to_nano(amount) != nano:
            raise InputError(
                f"{what} {format_nano(nano)} is finer than the token's smallest unit;"
                f" give at most {self.decimals} decimals"
            )
        return amount
