"""What to send of what is due: direct batches or one tally, as asked, or whichever costs less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


def offer(link: Link, tariffs: Tariffs, due: Due, wish: Wish, number: int) -> Offer:
    """Return what to send, numbered from `number` on; FundsTooLow or LimitTooLow where money falls short."""
    if _form(link, tariffs, due, wish) is Form.TALLY and (draft := tally_draft(due, tariffs)):
        uri = wish.place.uri(file_name(number, sha256(draft.data)))
        gas = fit_tally(link, draft, uri, settle=wish.settle)
        return Offer(Form.TALLY, ((draft, gas),), _settle_gas(draft, wish), uri)
    return Offer(Form.DIRECT, tuple(divide(link, tariffs, due)))


def priced(
    link: Link, tariffs: Tariffs, due: Due, wish: Wish, waiting: Sequence[int]
) -> tuple[Offer, Costs]:
    """Return what would be sent with what is `waiting`, and what both ways cost.

    Raises FundsTooLow or LimitTooLow where money does not suffice; `unfunded` then says what it takes.
    """
    costs = costs_either_way(link, tariffs, due, wish.place)
    if (wish.form or costs.cheaper) is Form.TALLY and (draft := tally_draft(due, tariffs)):
        gas = fit_tally(link, draft, _some_uri(wish.place), settle=wish.settle, waiting=waiting)
        return Offer(Form.TALLY, ((draft, gas),), _settle_gas(draft, wish)), costs
    return Offer(Form.DIRECT, tuple(divide(link, tariffs, due, waiting))), costs


def unfunded(link: Link, tariffs: Tariffs, due: Due, wish: Wish) -> tuple[Offer, Costs]:
    """Return the same by bounds alone, whatever money there is."""
    costs = costs_either_way(link, tariffs, due, wish.place)
    if (wish.form or costs.cheaper) is Form.TALLY and (draft := tally_draft(due, tariffs)):
        gas = costs.post * (100 + HEADROOM_PERCENT) // 100
        return Offer(Form.TALLY, ((draft, gas),), _settle_gas(draft, wish)), costs
    parts = tuple((draft, draft.gas_bound) for draft in undivided(link, tariffs, due))
    return Offer(Form.DIRECT, parts), costs


def costs_either_way(link: Link, tariffs: Tariffs, due: Due, place: Place) -> Costs:
    """Return what reporting all that is due takes in gas, directly and as one tally."""
    draft = tally_draft(due, tariffs)
    return costs_of(
        [one.lines for one in undivided(link, tariffs, due)],
        draft.claims if draft else (),
        by_reporter=link.account.address != link.platform,
        uri_bytes=len(_some_uri(place).encode()),
    )


def _form(link: Link, tariffs: Tariffs, due: Due, wish: Wish) -> Form:
    if wish.form is not None:
        return wish.form
    deals = {item.key[:2] for items in due.values() for item in items}
    groups = {(day, *item.key[:3]) for day, items in due.items() for item in items}
    if len(groups) <= len(deals):
        return Form.DIRECT  # a leaf costs more than a group: no tree has to be made to know
    return costs_either_way(link, tariffs, due, wish.place).cheaper


def _settle_gas(draft: TallyDraft, wish: Wish) -> int:
    return settle_gas(draft.claims, len(draft.claims)) if wish.settle else 0


def _some_uri(place: Place) -> str:
    """Return a URI as long as the one that a tally will have."""
    return place.uri(file_name(10**5, bytes(32)))
