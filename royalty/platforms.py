"""Platforms: what they accept, their funds, their reporters and what those may spend."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.catalogues import ZERO_ADDRESS, deal_in_force, need_catalogue, refused_holders
from royalty.errors import FundsTooLow, InputError
from royalty.files import write_whole
from royalty.money import NANO_PER_MICRO, format_nano, parse_price, parse_tokens
from royalty.sending import with_approval
from royalty.sheets import Row, read_sheet
from royalty.usage import Kind, Tariff

if TYPE_CHECKING:
    from royalty.client import Royalty

MAX_LIMIT_MICRO = 2**56 - 1
LICENCE_COLUMNS = ("catalogue", "max_view", "max_download", "max_excerpt", "despite_rival")


@dataclass(frozen=True, slots=True)
class Licence:
    """What a platform accepts of a catalogue: the highest price per kind, and whether despite a rival."""

    maximum: Tariff
    despite_rival: bool = False

    def covers(self, tariff: Tariff) -> bool:
        """Whether no price of a tariff is above what is accepted."""
        return all(tariff.price(kind) <= self.maximum.price(kind) for kind in Kind)


@dataclass(frozen=True, slots=True)
class Funds:
    """A platform's money and its reporters' limit, in nano-tokens."""

    platform: str
    funds_nano: int
    next_batch: int
    limit_nano: int
    spent_today_nano: int

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts in nano-tokens are ints."""
        return {
            "platform": self.platform,
            "funds_nano": self.funds_nano,
            "next_batch": self.next_batch,
            "limit_nano": self.limit_nano,
            "spent_today_nano": self.spent_today_nano,
        }


# --- licences ---


def licences(session: Royalty, platform: str) -> dict[int, Licence]:
    """Return what a platform has accepted, by catalogue; empty where it has accepted nothing.

    Raises InputError naming line and reason where its licences.csv cannot be read.
    """
    path = _licences_path(session, platform)
    return read_licences(path) if path.is_file() else {}


def read_licences(path: Path) -> dict[int, Licence]:
    """Return the licences of a CSV file `catalogue,max_view,max_download,max_excerpt,despite_rival`."""
    found: dict[int, Licence] = {}
    for row in read_sheet(path, LICENCE_COLUMNS):
        catalogue = row.read(_parse_catalogue, row.need("catalogue"))
        if catalogue in found:
            raise row.refuse(f"catalogue {catalogue} stands there twice")
        found[catalogue] = _licence(row)
    return found


def _parse_catalogue(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 0 < int(text) < 2**32):
        raise InputError(f"'{text[:40]}' is not a catalogue's number")
    return int(text)


def _licence(row: Row) -> Licence:
    prices = [_price(row, column) for column in LICENCE_COLUMNS[1:4]]
    if row["despite_rival"] not in ("yes", "no", ""):
        raise row.refuse("despite_rival is yes or no")
    return Licence(Tariff(*prices), row["despite_rival"] == "yes")


def _price(row: Row, column: str) -> int:
    return row.read(lambda text: parse_price(text, what=column), row.need(column))


def accept(
    session: Royalty,
    platform: str,
    catalogue: int,
    *,
    maximum: Mapping[Kind, int] | None = None,
    despite_rival: bool = False,
) -> Licence:
    """Accept a catalogue up to prices in nano-tokens and return the licence, kept in licences.csv.

    A kind without a price takes that of today's deal. What was accepted before is replaced; a rival
    once accepted stays accepted. Raises InputError where there is no such catalogue, or it has no
    deal today and not every price is given.
    """
    prices = dict(maximum or {})
    need_catalogue(session, catalogue)
    if len(prices) < len(Kind):
        today = deal_in_force(session, catalogue).tariff
        prices = {kind: today.price(kind) for kind in Kind} | prices
    known = licences(session, platform)
    before = known.get(catalogue)
    again = despite_rival or (before is not None and before.despite_rival)
    licence = Licence(Tariff(*(prices[kind] for kind in Kind)), again)
    write_licences(_licences_path(session, platform), known | {catalogue: licence})
    return licence


def _licences_path(session: Royalty, platform: str) -> Path:
    return session.platform_dir(platform) / "licences.csv"


def write_licences(path: Path, known: Mapping[int, Licence]) -> None:
    """Write licences.csv whole, prices in tokens, in order of catalogue."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LICENCE_COLUMNS)
    for catalogue, licence in sorted(known.items()):
        prices = [format_nano(licence.maximum.price(kind)) for kind in Kind]
        writer.writerow([catalogue, *prices, "yes" if licence.despite_rival else "no"])
    write_whole(path, text.getvalue())


# --- funds, limit, reporters ---


def funds(session: Royalty, platform: str) -> Funds:
    """Return a platform's funds, next batch, limit and what its reporters spent today (chain's day)."""
    block = session.node.block()
    state = session.ledger.platform(platform, block.number)
    return Funds(
        platform, state.funds_nano, state.next_batch, state.limit_nano, state.spent_nano(block.day)
    )


def deposit(session: Royalty, platform: str, amount: int) -> str:
    """Deposit `amount` smallest units of the token for a platform and return the transaction.

    Approves exactly the amount first. Raises FundsTooLow where the account has fewer tokens.
    """
    calls = with_approval(session, amount, session.ledger.deposit(platform, amount))
    return session.send_all(calls)[-1].transaction


def withdraw(session: Royalty, amount: int, to: str | None = None) -> str:
    """Take `amount` smallest units of the account's unreported funds back; return the transaction.

    Raises FundsTooLow where it has less, InputError for an address where money would be stuck.
    """
    own = session.account.address
    to = own if to is None else session.address(to)
    refused = refused_holders(session).get(to.lower())
    if refused:
        raise InputError(f"money cannot be sent to {to}: {refused}")
    has, wanted = session.ledger.platform(own).funds_nano, session.token.unit.to_nano(amount)
    if has < wanted:
        raise FundsTooLow(
            f"{own} has {format_nano(has)} tokens of funds,"
            f" {format_nano(wanted - has)} less than {format_nano(wanted)}"
        )
    return session.send(session.ledger.withdraw_funds(amount, to)).transaction


def set_limit(session: Royalty, limit_micro: int) -> str:
    """Set what the account's reporters may spend in a UTC day together, in micro-tokens."""
    return session.send(session.ledger.set_limit(limit_micro)).transaction


def set_reporter(session: Royalty, reporter: str, allowed: bool) -> str | None:
    """Let a key report for the account, or no longer; return the transaction, None where it is so."""
    reporter = session.address(reporter)
    if allowed and reporter == ZERO_ADDRESS:
        raise InputError(f"{reporter} cannot report: nobody has the key of the zero address")
    if session.ledger.is_reporter(session.account.address, reporter) == allowed:
        return None
    return session.send(session.ledger.set_reporter(reporter, allowed)).transaction


def parse_limit(text: str) -> int:
    """Return the micro-tokens of a limit in tokens a day; InputError where it is finer or too large."""
    nano = parse_tokens(text, what="limit")
    micro, rest = divmod(nano, NANO_PER_MICRO)
    if rest:
        raise InputError(f"limit {text} is finer than a micro-token; give at most 6 decimals")
    if micro > MAX_LIMIT_MICRO:
        raise InputError(
            f"limit {text[:40]} is above the highest, {format_nano(MAX_LIMIT_MICRO * 1000)}"
        )
    return micro


def reporters(session: Royalty, platform: str) -> list[str]:
    """Return the keys that may report for a platform, in order of address."""
    from royalty.records import events

    allowed: dict[str, bool] = {}
    for event in events(session, "ReporterSet", platform=platform):
        allowed[event.args["reporter"]] = event.args["allowed"]
    return sorted((reporter for reporter, may in allowed.items() if may), key=str.lower)


class Platforms:
    """Platforms of one ledger, for a session: `royalty.platforms`.

    `platform` is an address or an account's name, the session's own unless given.
    """

    def __init__(self, session: Royalty) -> None:
        self._session = session

    def _address(self, platform: str | None) -> str:
        return self._session.platform if platform is None else self._session.address(platform)

    def accept(
        self,
        catalogue: int,
        *,
        maximum: Mapping[Kind, int] | None = None,
        despite_rival: bool = False,
        platform: str | None = None,
    ) -> Licence:
        """Accept a catalogue up to prices in nano-tokens, today's unless given; see `accept`."""
        address = self._address(platform)
        return accept(
            self._session, address, catalogue, maximum=maximum, despite_rival=despite_rival
        )

    def licences(self, platform: str | None = None) -> dict[int, Licence]:
        """Return what a platform has accepted, by catalogue."""
        return licences(self._session, self._address(platform))

    def funds(self, platform: str | None = None) -> Funds:
        """Return a platform's funds, next batch, limit, and what its reporters spent today.

        >>> royalty.platforms.funds().funds_nano  # doctest: +SKIP
        """
        return funds(self._session, self._address(platform))

    def deposit(self, amount: int, platform: str | None = None) -> str:
        """Deposit smallest units of the token for a platform; see `deposit`."""
        return deposit(self._session, self._address(platform), amount)

    def withdraw(self, amount: int, to: str | None = None) -> str:
        """Take smallest units of the account's unreported funds back; see `withdraw`."""
        return withdraw(self._session, amount, to)

    def set_limit(self, limit_micro: int) -> str:
        """Set what the account's reporters may spend in a UTC day together, in micro-tokens."""
        return set_limit(self._session, limit_micro)

    def set_reporter(self, reporter: str, allowed: bool) -> str | None:
        """Let a key report for the account, or no longer; None where that is so already."""
        return set_reporter(self._session, reporter, allowed)

    def reporters(self, platform: str | None = None) -> list[str]:
        """Return the keys that may report for a platform."""
        return reporters(self._session, self._address(platform))
