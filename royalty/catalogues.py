"""Catalogues: works under one deal, who shares it, at what tariff, from which day."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.days import format_day
from royalty.errors import InputError
from royalty.metadata import check_uri, find, keep, make_metadata, text_of
from royalty.money import parse_price
from royalty.sending import with_approval
from royalty.shares import Share, Split, make_split, unpack_split
from royalty.splitsheet import Party, SplitSheet, read_split
from royalty.usage import KINDS, Kind, Tariff

if TYPE_CHECKING:
    from royalty.chain.events import Event
    from royalty.client import Royalty

MAX_TITLE = 300
MAX_REASON_BYTES = 31
ZERO_ADDRESS = "0x" + "0" * 40

_MEMO = re.compile(r"(0x)?[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class Deal:
    """One version of a catalogue's split and tariff: days are numbers, from inclusive, until exclusive.

    `owner` is who made it, `block` and `transaction` where that stands on chain.
    """

    catalogue: int
    version: int
    owner: str
    from_day: int
    until_day: int | None
    tariff: Tariff
    split: Split
    uri: str
    block: int
    transaction: str

    @property
    def key(self) -> tuple[int, int]:
        """(catalogue, version), which names a deal."""
        return self.catalogue, self.version

    def in_force(self, day: int) -> bool:
        """Whether the deal is in force on a UTC day."""
        return self.from_day <= day and (self.until_day is None or day < self.until_day)

    def ppm_of(self, holder: str) -> int:
        """Return a holder's share in ppm, 0 where it has none."""
        return next((share.ppm for share in self.split if share.holder == holder), 0)


@dataclass(frozen=True, slots=True)
class Opened:
    """A catalogue that was opened; `kept` is where its metadata lie when they stand at no address."""

    catalogue: int
    version: int
    transaction: str
    kept: str = ""

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "catalogue": self.catalogue,
            "version": self.version,
            "transaction": self.transaction,
        }


@dataclass(frozen=True, slots=True)
class Payment:
    """Money that was paid into a deal without usage, in nano-tokens."""

    catalogue: int
    version: int
    amount_nano: int
    reason: str
    memo: str
    transaction: str

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts in nano-tokens are ints."""
        return {
            "catalogue": self.catalogue,
            "version": self.version,
            "amount_nano": self.amount_nano,
            "reason": self.reason,
            "memo": self.memo,
            "transaction": self.transaction,
        }


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A catalogue as it stands: its owner, works, deals in order, and what they have accrued."""

    catalogue: int
    owner: str
    works: int
    title: str
    deals: tuple[Deal, ...]
    accrued_nano: Mapping[tuple[int, int], int]
    today: int
    parties: Mapping[tuple[int, int], Mapping[str, Party]] = field(default_factory=dict)

    @property
    def current(self) -> Deal | None:
        """The deal in force today."""
        return next((deal for deal in self.deals if deal.in_force(self.today)), None)

    @property
    def pending(self) -> Deal | None:
        """The amendment that waits for its day."""
        return self.deals[-1] if self.deals and self.deals[-1].from_day > self.today else None

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts in nano-tokens are ints."""
        pending = self.pending
        return {
            "catalogue": self.catalogue,
            "title": self.title,
            "owner": self.owner,
            "works": self.works,
            "version": self.current.version if self.current else None,
            "accrued_nano": sum(self.accrued_nano.values()),
            "pending": pending.version if pending else None,
            "deals": [self._deal(deal) for deal in self.deals],
        }

    def _deal(self, deal: Deal) -> dict[str, Any]:
        named = self.parties.get(deal.key, {})
        return {
            "version": deal.version,
            "from": format_day(deal.from_day),
            "until": None if deal.until_day is None else format_day(deal.until_day),
            "state": self.state(deal),
            "tariff": tariff_document(deal.tariff),
            "split": [
                {
                    "address": share.holder,
                    "share_ppm": share.ppm,
                    "holder": named[share.holder].name if share.holder in named else "",
                    "role": named[share.holder].role if share.holder in named else "",
                }
                for share in deal.split
            ],
            "accrued_nano": self.accrued_nano.get(deal.key, 0),
            "uri": deal.uri,
            "block": deal.block,
            "transaction": deal.transaction,
        }

    def state(self, deal: Deal) -> str:
        """Return `pending`, `in force` or `ended`."""
        if deal.from_day > self.today:
            return "pending"
        return "in force" if deal.in_force(self.today) else "ended"


def tariff_document(tariff: Tariff) -> dict[str, Any]:
    """Return a tariff as JSON: nano-tokens a unit, ints, by kind."""
    return {f"{kind.word}_nano": tariff.price(kind) for kind in Kind}


# --- reading ---


def deals(
    session: Royalty, catalogue: int | None = None, *, block: int | str = "latest"
) -> list[Deal]:
    """Return every deal of one catalogue or of all, in order of catalogue and version.

    Read from events up to `block`: a handful of requests however many deals there are.
    """
    from royalty.records import events

    filters = {} if catalogue is None else {"catalogue": catalogue}
    found = events(session, "CatalogueOpened", block=block, **filters)
    found += events(session, "DealAmended", block=block, **filters)
    return deals_of(found)


def deals_of(events: Iterable[Event]) -> list[Deal]:
    """Return the deals that CatalogueOpened and DealAmended events make, in order.

    A deal ends on the day on which the next version of its catalogue starts.
    """
    made = sorted(events, key=lambda event: (event.args["catalogue"], event.args["version"]))
    following = [*made, None][1:]
    return [_deal(event, after) for event, after in zip(made, following, strict=True)]


def _deal(event: Event, after: Event | None) -> Deal:
    args, tariff = event.args, event.args["tariff"]
    ends = after is not None and after.args["catalogue"] == args["catalogue"]
    return Deal(
        args["catalogue"],
        args["version"],
        args["owner"],
        args["fromDay"],
        after.args["fromDay"] if after is not None and ends else None,
        Tariff(tariff["viewPrice"], tariff["downloadPrice"], tariff["excerptPrice"]),
        unpack_split(args["split"]),
        args["uri"],
        event.block,
        event.transaction,
    )


def accrued(
    session: Royalty, found: Sequence[Deal], *, block: int | str = "latest"
) -> dict[tuple[int, int], int]:
    """Return what each deal has accrued and not yet divided, in nano-tokens."""
    states = session.ledger.deals([deal.key for deal in found], block)
    return {(state.catalogue, state.version): state.accrued_nano for state in states}


def holders(found: Iterable[Deal]) -> list[str]:
    """Return everybody who ever had a share in the deals, in order of address."""
    return sorted({share.holder for deal in found for share in deal.split}, key=str.lower)


def show(session: Royalty, catalogue: int) -> Catalogue:
    """Return one catalogue with its deals; InputError where there is none of this number."""
    need_catalogue(session, catalogue)
    return _catalogues(session, deals(session, catalogue))[0]


def listing(
    session: Royalty, *, owner: str | None = None, offset: int = 0, limit: int | None = None
) -> tuple[list[Catalogue], int]:
    """Return a page of all catalogues, or of those that an address owns now, and how many there are."""
    found = deals(session)
    numbers = sorted({deal.catalogue for deal in found})
    if owner is not None:
        states = session.ledger.catalogues_of(numbers)
        numbers = [state.catalogue for state in states if state.owner == owner]
    page = set(numbers[offset : None if limit is None else offset + limit])
    return _catalogues(session, [deal for deal in found if deal.catalogue in page]), len(numbers)


def need_catalogue(session: Royalty, catalogue: int) -> str:
    """Return a catalogue's owner; InputError where there is no catalogue of this number."""
    state = session.ledger.catalogue(catalogue) if 0 < catalogue < 2**32 else None
    if state is None or state.owner == ZERO_ADDRESS:
        raise InputError(
            f"there is no catalogue {catalogue}; `royalty catalogue list` shows those that exist"
        )
    return state.owner


def deal_in_force(session: Royalty, catalogue: int) -> Deal:
    """Return the deal of today (the chain's UTC day); InputError where there is none."""
    need_catalogue(session, catalogue)
    today = session.node.block().day
    for deal in deals(session, catalogue):
        if deal.in_force(today):
            return deal
    raise InputError(f"catalogue {catalogue} has no deal in force on {format_day(today)}")


def deal_metadata(session: Royalty, deal: Deal) -> Any:
    """Return a deal's metadata, inline or kept in this folder, None where neither; others' text."""
    return find(session, deal.uri, name=metadata_name(deal.catalogue, deal.version))


def parties_of(document: Any) -> dict[str, Party]:
    """Return the parties that a deal's metadata name, by address; whatever else it holds is left."""
    listed = document.get("holders") if isinstance(document, dict) else None
    found = {}
    for entry in listed if isinstance(listed, list) else []:
        if not isinstance(entry, dict):
            continue
        address, ppm = text_of(entry, "address"), entry.get("share_ppm")
        if address and isinstance(ppm, int):
            found[address] = Party(text_of(entry, "name"), address, text_of(entry, "role"), ppm)
    return found


def _catalogues(session: Royalty, found: Sequence[Deal]) -> list[Catalogue]:
    block = session.node.block()
    by_catalogue: dict[int, list[Deal]] = {}
    for deal in found:
        if deal.block <= block.number:
            by_catalogue.setdefault(deal.catalogue, []).append(deal)
    states = session.ledger.catalogues_of(by_catalogue, block.number)
    amounts = accrued(session, found, block=block.number)
    return [
        _catalogue(
            session, state.owner, state.works, by_catalogue[state.catalogue], amounts, block.day
        )
        for state in states
    ]


def _catalogue(
    session: Royalty,
    owner: str,
    works: int,
    found: Sequence[Deal],
    amounts: Mapping[tuple[int, int], int],
    today: int,
) -> Catalogue:
    documents = {deal.key: deal_metadata(session, deal) for deal in found}
    titles = [title for deal in found if (title := text_of(documents[deal.key], "title"))]
    return Catalogue(
        found[0].catalogue,
        owner,
        works,
        titles[-1] if titles else "",
        tuple(found),
        {deal.key: amounts[deal.key] for deal in found},
        today,
        {key: parties_of(document) for key, document in documents.items()},
    )


def metadata_name(catalogue: int, version: int) -> str:
    """Return the file under metadata/ that keeps a deal's metadata."""
    return f"deal-{catalogue}-{version}.json"


# --- input ---


def parse_tariff(texts: Iterable[str], *, default: Tariff | None = None) -> Tariff:
    """Return the tariff of texts such as `view=0.003`, prices in tokens a unit.

    Raises InputError for an unknown kind, one named twice, a price out of range or finer than a
    nano-token, and, without a default, for a kind that is not named.

    >>> parse_tariff(["view=0.003", "download=0.5", "excerpt=0"]).view
    3000000
    """
    prices: dict[Kind, int] = {}
    for text in texts:
        word, equals, price = text.partition("=")
        if word not in KINDS or not equals:
            raise InputError(
                f"--tariff '{text[:40]}' cannot be read; write view=, download= or excerpt= and a price"
            )
        if KINDS[word] in prices:
            raise InputError(f"--tariff {word} is given twice")
        prices[KINDS[word]] = parse_price(price, what=f"price of a {word}")
    missing = [kind.word for kind in Kind if kind not in prices]
    if missing and default is None:
        raise InputError(
            f"--tariff is missing for {' and '.join(missing)}; write {missing[0]}=0 where that is free"
        )
    kept = {} if default is None else {kind: default.price(kind) for kind in Kind}
    return Tariff(*((kept | prices)[kind] for kind in Kind))


def check_title(title: str) -> str:
    """Return a title trimmed; InputError where it is empty, too long, or not plain text."""
    title = title.strip()
    if not title or len(title) > MAX_TITLE or not title.isprintable():
        raise InputError(f"the title must be 1 to {MAX_TITLE} characters on one line")
    return title


def refused_holders(session: Royalty) -> dict[str, str]:
    """Return why some addresses, in lower case, cannot be rights holders: money would be stuck."""
    return {
        session.ledger.address.lower(): "it is the ledger itself",
        session.token.address.lower(): "it is the settlement token",
        ZERO_ADDRESS: "it is the zero address",
    }


def metadata_document(title: str, parties: Sequence[Party]) -> dict[str, Any]:
    """Return a deal's metadata: its title, and names and roles beside addresses and shares."""
    return {
        "title": title,
        "holders": [
            {"name": p.name, "role": p.role, "address": p.address, "share_ppm": p.ppm}
            for p in parties
        ],
    }


# --- opening, giving, paying ---


def open_catalogue(
    session: Royalty,
    title: str,
    split: str | Path | Sequence[Party],
    tariff: Tariff,
    *,
    from_day: int | None = None,
    uri: str | None = None,
) -> Opened:
    """Open a catalogue owned by the session's account and keep its metadata in the state folder.

    `split` is a split sheet's path, or its parties. The first deal starts today (the chain's UTC
    day) unless a day is given. `uri` is where the metadata will be published (`{digest}` in it is
    filled in), or `inline`, the default on the local chain. Raises InputError for what is refused,
    ChainErrors for the rest.
    """
    today = session.today()
    day = today if from_day is None else from_day
    if day > today:
        raise InputError(
            f"--from {format_day(day)} has not begun; a first deal starts on any day up to today,"
            f" {format_day(today)}"
        )
    sheet = read_parties(session, split)
    document = metadata_document(check_title(title), sheet.parties)
    metadata = make_metadata(document, check_uri(uri), is_local=session.node.is_local)
    receipt = session.send(session.ledger.open(sheet.split, tariff, day, metadata.uri))
    args = receipt.event("CatalogueOpened").args
    kept = keep(session.state_dir, metadata, name=metadata_name(args["catalogue"], 1))
    published = "" if metadata.uri else str(kept)
    return Opened(args["catalogue"], args["version"], receipt.transaction, published)


def read_parties(session: Royalty, split: str | Path | Sequence[Party]) -> SplitSheet:
    """Return the split sheet of a path, or of parties, as this ledger would take it; InputError."""
    refused = refused_holders(session)
    if isinstance(split, str | Path):
        return read_split(Path(split), session.address, refused=refused)
    for party in split:
        if party.address.lower() in refused:
            raise InputError(
                f"{party.address} cannot be a holder: {refused[party.address.lower()]}"
            )
    shares = [Share(session.address(party.address), party.ppm) for party in split]
    return SplitSheet(tuple(split), make_split(shares))


def transfer(session: Royalty, catalogue: int, to: str) -> str:
    """Give a catalogue of the session's account to another owner and return the transaction.

    The deal, its holders and what was earned stay as they are. Raises InputError where there is no
    such catalogue, it is not the account's, or nobody could own it there.
    """
    owner, to = need_owner(session, catalogue), session.address(to)
    refused = refused_holders(session).get(to.lower())
    if refused:
        raise InputError(f"{to} cannot own a catalogue: {refused}")
    return session.send(session.ledger.transfer(catalogue, owner, to)).transaction


def need_owner(session: Royalty, catalogue: int) -> str:
    """Return a catalogue's owner; InputError where that is not the session's account."""
    owner = need_catalogue(session, catalogue)
    if owner != session.account.address:
        raise InputError(
            f"catalogue {catalogue} belongs to {owner}, not to {session.account.address};"
            " name its owner with --account"
        )
    return owner


def pay(
    session: Royalty, catalogue: int, amount: int, *, reason: str, memo: str | None = None
) -> Payment:
    """Pay `amount` smallest units of the token, unmetered, into a catalogue's deal of today.

    `reason` is a text of at most 31 bytes, `memo` 32 bytes in hex. Approves exactly the amount
    first. Raises InputError where they are not, or the catalogue has no deal today; FundsTooLow where
    the account has fewer tokens.
    """
    data, noted = check_reason(reason), check_memo(memo)
    deal = deal_in_force(session, catalogue)
    call = session.ledger.pay(catalogue, amount, data, noted)
    receipt = session.send_all(with_approval(session, amount, call))[-1]
    nano = session.token.unit.to_nano(amount)
    return Payment(catalogue, deal.version, nano, reason, "0x" + noted.hex(), receipt.transaction)


def check_reason(text: str) -> bytes:
    """Return a payment's reason as bytes; InputError where it is empty, too long, or no plain text."""
    data = text.encode(errors="replace")
    if not data or len(data) > MAX_REASON_BYTES or not text.isprintable():
        raise InputError(
            f"--reason is 1 to {MAX_REASON_BYTES} bytes of text on one line, this is {len(data)}"
        )
    return data


def check_memo(text: str | None) -> bytes:
    """Return a payment's memo of 32 bytes, zero without one; InputError where it is not 64 hex digits."""
    if text is None:
        return bytes(32)
    if not _MEMO.fullmatch(text):
        raise InputError("--memo is 32 bytes: write 0x and 64 hex digits")
    return bytes.fromhex(text[-64:])


class Catalogues:
    """The catalogues of one ledger, for a session: `royalty.catalogues`."""

    def __init__(self, session: Royalty) -> None:
        self._session = session

    def open(
        self,
        title: str,
        split: str | Path | Sequence[Party],
        tariff: Tariff,
        *,
        from_day: int | None = None,
        uri: str | None = None,
    ) -> Opened:
        """Open a catalogue and return its number; see `open_catalogue`.

        >>> royalty.catalogues.open("Sintel", "split.csv", Tariff(3_000_000, 0, 0))  # doctest: +SKIP
        """
        return open_catalogue(self._session, title, split, tariff, from_day=from_day, uri=uri)

    def show(self, catalogue: int) -> Catalogue:
        """Return one catalogue with its deals; InputError where there is none of this number."""
        return show(self._session, catalogue)

    def all(self, *, owner: str | None = None) -> list[Catalogue]:
        """Return every catalogue, or those that an address or account owns now."""
        address = None if owner is None else self._session.address(owner)
        return listing(self._session, owner=address)[0]

    def deals(self, catalogue: int | None = None, *, block: int | str = "latest") -> list[Deal]:
        """Return every deal of one catalogue or of all, up to a block."""
        return deals(self._session, catalogue, block=block)

    def transfer(self, catalogue: int, to: str) -> str:
        """Give a catalogue to another owner and return the transaction; see `transfer`."""
        return transfer(self._session, catalogue, to)

    def pay(self, catalogue: int, amount: int, *, reason: str, memo: str | None = None) -> Payment:
        """Pay smallest units, unmetered, into a catalogue's deal of today; see `pay`."""
        return pay(self._session, catalogue, amount, reason=reason, memo=memo)
