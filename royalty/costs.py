"""What reporting takes in gas, directly and as a tally, from the report until the money is in the deals.

From there to the wallets both take the same. Direct reports are likely figures, measured and held to
receipts by a test; settling is its upper bound (`royalty.settling`). So where the two are close the
direct report is named, which pays at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from royalty.errors import InputError
from royalty.merkle import Claim
from royalty.settling import settle_gas
from royalty.usage import MAX_UNITS, Line

REPORT_GAS, DEAL_GAS, KIND_GAS, PAIR_GAS = 34_900, 5_920, 1_220, 158
"""A report, each deal of it, each further kind of a deal, each pair: what receipts show."""
REPORTER_GAS = 2_700
POST_GAS = 83_300
"""Posting a tally, whatever is in it, with a URI of up to 96 bytes."""
URI_BYTE_GAS = 48


class Form(StrEnum):
    """How usage is reported: paid at once, or as the root of a tree that is settled leaf by leaf."""

    DIRECT = "direct"
    TALLY = "tally"

    @classmethod
    def of(cls, word: str | None) -> Form | None:
        """Return the form of a word, None for none; InputError for any other."""
        try:
            return None if word is None else cls(word)
        except ValueError:
            raise InputError(f"--as '{str(word)[:20]}' is unknown; give direct or tally") from None


@dataclass(frozen=True, slots=True)
class Costs:
    """Gas of both ways: `direct` reports; `post` of a tally and `settle` of all its leaves."""

    direct: int
    post: int
    settle: int

    @property
    def tally(self) -> int:
        """Posting and settling."""
        return self.post + self.settle

    @property
    def cheaper(self) -> Form:
        """What costs less; direct where they are equal."""
        return Form.TALLY if self.tally < self.direct else Form.DIRECT

    def document(self, price_wei: int) -> dict[str, Any]:
        """Return the JSON document, at a price in wei a gas."""
        return {
            "direct": {"gas": self.direct, "cost_wei": str(self.direct * price_wei)},
            "tally": {
                "gas": self.tally,
                "post_gas": self.post,
                "settle_gas": self.settle,
                "cost_wei": str(self.tally * price_wei),
            },
            "cheaper": self.cheaper.value,
        }


def costs_of(
    reports: Iterable[Sequence[Line]],
    claims: Sequence[Claim],
    *,
    by_reporter: bool = False,
    uri_bytes: int = 0,
) -> Costs:
    """Return what both ways take; `reports` are the lines of each direct batch, `claims` a tally's leaves."""
    extra = REPORTER_GAS if by_reporter else 0
    direct = sum(likely_gas(lines) + extra for lines in reports)
    post = POST_GAS + extra + max(0, uri_bytes - 96) * URI_BYTE_GAS
    return Costs(direct, post, settle_gas(claims, len(claims)) if claims else 0)


def likely_gas(lines: Iterable[Line]) -> int:
    """Return the gas that a direct report of sorted lines is likely to take, by the platform itself."""
    gas, last = REPORT_GAS, None
    for line in lines:
        group = line.catalogue, line.version, line.kind
        gas += PAIR_GAS * -(-line.units // MAX_UNITS)
        if last is None or group[:2] != last[:2]:
            gas += DEAL_GAS
        elif group != last:
            gas += KIND_GAS
        last = group
    return gas
