"""Holders: what is payable to one and why, and where its money goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from royalty import catalogues, payouts
from royalty.catalogues import Deal
from royalty.errors import InputError
from royalty.money import TokenUnit
from royalty.payouts import PayoutRun
from royalty.shares import divide

if TYPE_CHECKING:
    from royalty.client import Royalty


@dataclass(frozen=True, slots=True)
class Part:
    """A holder's part of what one deal has accrued, in nano-tokens, rounded down.

    What rounding leaves stays accrued in the deal and is divided with what comes next.
    """

    catalogue: int
    version: int
    share_ppm: int
    accrued_nano: int
    part_nano: int

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts in nano-tokens are ints."""
        return {
            "catalogue": self.catalogue,
            "version": self.version,
            "share_ppm": self.share_ppm,
            "accrued_nano": self.accrued_nano,
            "part_nano": self.part_nano,
        }


@dataclass(frozen=True, slots=True)
class Payable:
    """What allocating everything and withdrawing would send a holder now, in nano-tokens.

    `payable_nano` is rounded down to the token's smallest unit; the rest stays in its balance.
    """

    holder: str
    payee: str
    payable_nano: int
    allocated_nano: int
    parts: tuple[Part, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts in nano-tokens are ints."""
        return {
            "holder": self.holder,
            "payee": self.payee,
            "payable_nano": self.payable_nano,
            "allocated_nano": self.allocated_nano,
            "deals": [part.document() for part in self.parts],
        }


def payable(session: Royalty, holder: str) -> Payable:
    """Return what is payable to a holder and from which deals, all of one block.

    A deal is listed where it has accrued something and the holder has a share in it.
    """
    block = session.node.head()
    found = [deal for deal in catalogues.deals(session, block=block) if deal.ppm_of(holder)]
    accrued = catalogues.accrued(session, found, block=block)
    balance = session.ledger.balance_nano(holder, block)
    payee = session.ledger.payee(holder, block)
    return make_payable(holder, payee, balance, found, accrued, session.token.unit)


def make_payable(
    holder: str,
    payee: str,
    balance_nano: int,
    found: Sequence[Deal],
    accrued: Mapping[tuple[int, int], int],
    unit: TokenUnit,
) -> Payable:
    """Return what is payable to a holder out of its balance and what its deals have accrued."""
    parts = tuple(_part(holder, deal, accrued[deal.key]) for deal in found if accrued[deal.key])
    total = balance_nano + sum(part.part_nano for part in parts)
    return Payable(holder, payee, unit.to_nano(unit.to_smallest(total)), balance_nano, parts)


def _part(holder: str, deal: Deal, accrued_nano: int) -> Part:
    shares = [share.holder for share in deal.split]
    parts, _ = divide(accrued_nano, deal.split)
    mine = parts[shares.index(holder)]
    return Part(deal.catalogue, deal.version, deal.ppm_of(holder), accrued_nano, mine)


def withdraw(session: Royalty, holder: str) -> PayoutRun:
    """Allocate every deal of a holder and send it everything; anyone may call.

    A transfer that the token refuses is in `skipped` and keeps the balance.
    """
    return payouts.run(session, only=[holder])


def set_payee(session: Royalty, payee: str | None) -> str:
    """Name where the account's money goes, None clears it; return the transaction.

    Raises InputError for an address where money would be stuck.
    """
    address = None if payee is None else session.address(payee)
    refused = catalogues.refused_holders(session).get((address or "").lower())
    if refused:
        raise InputError(f"{address} cannot be a payee: {refused}")
    return session.send(session.ledger.set_payee(address)).transaction


class Holders:
    """Rights holders of one ledger, for a session: `royalty.holders`.

    `holder` is an address or an account's name, the session's account unless given.
    """

    def __init__(self, session: Royalty) -> None:
        self._session = session

    def _address(self, holder: str | None) -> str:
        return self._session.account.address if holder is None else self._session.address(holder)

    def payable(self, holder: str | None = None) -> Payable:
        """Return what is payable to a holder now and from which deals.

        >>> royalty.holders.payable("0x...").payable_nano  # doctest: +SKIP
        """
        return payable(self._session, self._address(holder))

    def withdraw(self, holder: str | None = None) -> PayoutRun:
        """Allocate every deal of a holder and send it everything; see `withdraw`."""
        return withdraw(self._session, self._address(holder))

    def set_payee(self, payee: str | None) -> str:
        """Name where the account's money goes, None clears it; return the transaction."""
        return set_payee(self._session, payee)
