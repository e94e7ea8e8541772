"""What to send of what is due: direct batches or one tally, as asked, or whichever costs less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from royalty.batches import Draft, Tariffs
from royalty.costs import Costs, Form, costs_of
from royalty.division import HEADROOM_PERCENT, divide, fit_tally, undivided
from royalty.evidence import sha256
from royalty.posting import TallyDraft, tally_draft
from royalty.publishing import Place
from royalty.settling import settle_gas
from royalty.tallydata import file_name

if TYPE_CHECKING:
    from royalty.delivery import Link
    from royalty.terms import Item

Due = Mapping[int, "Sequence[Item]"]
Part = tuple[Draft | TallyDraft, int]


@dataclass(frozen=True, slots=True)
class Offer:
    """Batches with the gas of each, in order; `settle_gas` is what a tally's leaves take after it.

    `uri` is where a tally's data will be found.
    """

    form: Form
    parts: tuple[Part, ...]
    settle_gas: int = 0
    uri: str = ""

    @property
    def gas(self) -> int:
        """What all of it takes at most."""
        return sum(gas for _, gas in self.parts) + self.settle_gas


@dataclass(frozen=True, slots=True)
class Wish:
    """How a report is to be made: `form` None is whatever costs less; `settle` pays a tally's leaves too."""

    form: Form | None
    place: Place
    settle: bool


class _Drafted:
    """What is due, drafted both ways, each at most once: a tree of a million leaves is not made twice."""

    def __init__(self, link: Link, tariffs: Tariffs, due: Due) -> None:
        self.link, self.tariffs, self.due = link, tariffs, due

    @cached_property
    def tally(self) -> TallyDraft | None:
        """All of it as one tally, None where nothing is due."""
        return tally_draft(self.due, self.tariffs)

    @cached_property
    def settle_gas(self) -> int:
        """What settling all leaves of the tally takes at most."""
        return settle_gas(self.tally.claims, len(self.tally.claims)) if self.tally else 0

    def costs(self, place: Place) -> Costs:
        """What both ways take in gas."""
        reports = [one.lines for one in undivided(self.link, self.tariffs, self.due)]
        by_reporter = self.link.account.address != self.link.platform
        uri_bytes = len(_some_uri(place).encode())
        claims = self.tally.claims if self.tally else ()
        return costs_of(reports, claims, by_reporter=by_reporter, uri_bytes=uri_bytes)

    def wanted(self, wish: Wish, cheaper: Form) -> TallyDraft | None:
        """The tally where it is what is to be sent."""
        return self.tally if (wish.form or cheaper) is Form.TALLY else None

    def as_tally(self, draft: TallyDraft, gas: int, wish: Wish, uri: str = "") -> Offer:
        """A tally as it is offered."""
        return Offer(Form.TALLY, ((draft, gas),), self.settle_gas if wish.settle else 0, uri)


def offer(link: Link, tariffs: Tariffs, due: Due, wish: Wish, number: int) -> Offer:
    """Return what to send, numbered from `number` on; FundsTooLow or LimitTooLow where money falls short."""
    drafted = _Drafted(link, tariffs, due)
    draft = drafted.wanted(wish, wish.form or _cheaper(drafted, wish.place))
    if draft is None:
        return Offer(Form.DIRECT, tuple(divide(link, tariffs, due)))
    uri = wish.place.uri(file_name(number, sha256(draft.data)))
    gas = fit_tally(link, draft, uri, settle=wish.settle)
    return drafted.as_tally(draft, gas, wish, uri)


def priced(
    link: Link, tariffs: Tariffs, due: Due, wish: Wish, waiting: Sequence[int]
) -> tuple[Offer, Costs]:
    """Return what would be sent with what is `waiting`, and what both ways cost.

    Raises FundsTooLow or LimitTooLow where money does not suffice; `unfunded` then says what it takes.
    """
    drafted = _Drafted(link, tariffs, due)
    costs = drafted.costs(wish.place)
    draft = drafted.wanted(wish, costs.cheaper)
    if draft is None:
        return Offer(Form.DIRECT, tuple(divide(link, tariffs, due, waiting))), costs
    gas = fit_tally(link, draft, _some_uri(wish.place), settle=wish.settle, waiting=waiting)
    return drafted.as_tally(draft, gas, wish), costs


def unfunded(link: Link, tariffs: Tariffs, due: Due, wish: Wish) -> tuple[Offer, Costs]:
    """Return the same by bounds alone, whatever money there is."""
    drafted = _Drafted(link, tariffs, due)
    costs = drafted.costs(wish.place)
    draft = drafted.wanted(wish, costs.cheaper)
    if draft is None:
        parts = tuple((one, one.gas_bound) for one in undivided(link, tariffs, due))
        return Offer(Form.DIRECT, parts), costs
    return drafted.as_tally(draft, costs.post * (100 + HEADROOM_PERCENT) // 100, wish), costs


def _cheaper(drafted: _Drafted, place: Place) -> Form:
    due = drafted.due
    deals = {item.key[:2] for items in due.values() for item in items}
    groups = {(day, *item.key[:3]) for day, items in due.items() for item in items}
    if len(groups) <= len(deals):
        return Form.DIRECT  # a leaf costs more than a group: no tree has to be made to know
    return drafted.costs(place).cheaper


def _some_uri(place: Place) -> str:
    """Return a URI as long as the one that a tally will have."""
    return place.uri(file_name(10**5, bytes(32)))
