"""Amendments: a proposal file that goes from holder to holder, their signatures, and its submission.

Whoever would lose must have signed: each holder whose share falls or ends, and every holder where a
price falls. The catalogue's owner consents by its own transaction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty import catalogues
from royalty.catalogues import Deal, check_title, metadata_document, tariff_document
from royalty.days import SECONDS_PER_DAY, format_day, parse_day
from royalty.errors import InputError, Reverted
from royalty.files import write_json
from royalty.jsontext import parse_json
from royalty.metadata import check_uri, keep, make_metadata, text_of
from royalty.shares import Share, Split, make_split
from royalty.splitsheet import Party, format_share
from royalty.usage import Kind, Tariff

if TYPE_CHECKING:
    from royalty.client import Royalty

FORMAT = "royalty-amendment/1"
NOTICE_DAYS = 366
MAX_FILE = 8 * 1024 * 1024
MAX_SIGNATURE_BYTES = 4_096

_SIGNATURE = re.compile(r"0x(?:[0-9a-fA-F]{2})+")


@dataclass(frozen=True, slots=True)
class Consent:
    """A holder whose signature is needed, and why."""

    holder: str
    name: str
    reason: str

    def document(self) -> dict[str, str]:
        """Return the JSON document."""
        return {"holder": self.holder, "name": self.name, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Proposal:
    """An amendment as its file holds it: what it replaces, what it makes, who has signed.

    `version` is the one replaced; `deadline` in Unix seconds; `signatures` in hex by holder.
    """

    chain_id: int
    contract: str
    catalogue: int
    version: int
    producer: str
    from_day: int
    deadline: int
    tariff_before: Tariff
    tariff: Tariff
    split_before: Split
    split: Split
    title: str
    parties: tuple[Party, ...]
    uri: str
    signatures: Mapping[str, str] = field(default_factory=dict)

    @property
    def prices_that_fall(self) -> list[Kind]:
        """The kinds whose price falls."""
        return [k for k in Kind if self.tariff.price(k) < self.tariff_before.price(k)]

    @property
    def needed(self) -> list[Consent]:
        """Whose signature is needed, in order of address; the owner's is not."""
        after = {share.holder: share.ppm for share in self.split}
        names = {party.address: party.name for party in self.parties}
        return [
            Consent(share.holder, names.get(share.holder, ""), reason)
            for share in self.split_before
            if share.holder != self.producer
            and (reason := self._reason(share, after.get(share.holder, 0)))
        ]

    def _reason(self, share: Share, ppm: int) -> str:
        if ppm < share.ppm:
            change = f"from {format_share(share.ppm)} to {format_share(ppm)}"
            return f"its share falls {change}" if ppm else "its share ends"
        fallen = " and ".join(kind.word for kind in self.prices_that_fall)
        return f"the price of a {fallen} falls" if fallen else ""

    @property
    def typed_data(self) -> dict[str, Any]:
        """What holders sign (EIP-712); any wallet shows it field by field."""
        from royalty.chain.amendments import amendment_typed_data

        return amendment_typed_data(
            chain_id=self.chain_id,
            ledger=self.contract,
            catalogue=self.catalogue,
            version=self.version,
            producer=self.producer,
            from_day=self.from_day,
            tariff=self.tariff,
            split=self.split,
            deadline=self.deadline,
        )

    @property
    def missing(self) -> list[Consent]:
        """Whose signature is needed and not in the file."""
        return [consent for consent in self.needed if consent.holder not in self.signatures]

    def document(self) -> dict[str, Any]:
        """Return the file's JSON document; amounts in nano-tokens are strings of digits."""
        return {
            "format": FORMAT,
            "chain_id": self.chain_id,
            "contract": self.contract,
            "catalogue": self.catalogue,
            "replaces": self.version,
            "producer": self.producer,
            "title": self.title,
            "from": format_day(self.from_day),
            "deadline": self.deadline,
            "tariff_before": _prices(self.tariff_before),
            "tariff": _prices(self.tariff),
            "split_before": _shares(self.split_before, self.parties),
            "split": _shares(self.split, self.parties),
            "uri": self.uri,
            "needed": [consent.document() for consent in self.needed],
            "typed_data": self.typed_data,
            "signatures": dict(self.signatures),
        }


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of a proposal: the new version and its transaction, or whose signature is missing."""

    catalogue: int
    version: int | None
    transaction: str | None
    missing: tuple[Consent, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "catalogue": self.catalogue,
            "version": self.version,
            "transaction": self.transaction,
            "missing": [consent.document() for consent in self.missing],
        }


# --- proposing ---


def propose(
    session: Royalty,
    catalogue: int,
    *,
    split: str | Path | Sequence[Party] | None = None,
    tariff: Sequence[str] = (),
    from_day: int | None = None,
    deadline_day: int | None = None,
    title: str | None = None,
    uri: str | None = None,
) -> Proposal:
    """Return the proposal to replace the newest deal of a catalogue of the session's account.

    What is not given stays: the split, and the price of each kind. The new deal starts tomorrow
    unless a day is given, 1 to 366 days ahead. It can be submitted until the end of `deadline_day`,
    by default the last day before it starts. Raises InputError where nothing would change, another
    amendment waits, or a day is out of range.
    """
    owner = catalogues.need_owner(session, catalogue)
    shown = catalogues.show(session, catalogue)
    newest = shown.deals[-1]
    if shown.pending is not None:
        raise InputError(
            f"catalogue {catalogue} has an amendment waiting for {format_day(newest.from_day)};"
            " amend it after that day"
        )
    day = shown.today + 1 if from_day is None else from_day
    last = day - 1 if deadline_day is None else deadline_day
    _check_days(day, last, shown.today)
    parties, shares = _new_parties(session, shown, newest, split)
    prices = catalogues.parse_tariff(tariff, default=newest.tariff)
    if shares == newest.split and prices == newest.tariff:
        raise InputError("nothing would change; give another --split or --tariff")
    titled = check_title(title if title is not None else shown.title or f"Catalogue {catalogue}")
    document = metadata_document(titled, parties)
    metadata = make_metadata(document, check_uri(uri), is_local=session.node.is_local)
    named = {**shown.parties.get(newest.key, {}), **{party.address: party for party in parties}}
    return Proposal(
        session.node.chain_id,
        session.ledger.address,
        catalogue,
        newest.version,
        owner,
        day,
        (last + 1) * SECONDS_PER_DAY - 1,
        newest.tariff,
        prices,
        newest.split,
        shares,
        titled,
        tuple(named.values()),
        metadata.uri,
    )


def _new_parties(
    session: Royalty,
    shown: catalogues.Catalogue,
    newest: Deal,
    split: str | Path | Sequence[Party] | None,
) -> tuple[Sequence[Party], Split]:
    known = shown.parties.get(newest.key, {})
    if split is not None:
        sheet = catalogues.read_parties(session, split)
        return sheet.parties, sheet.split
    kept = [
        replace(known[s.holder], ppm=s.ppm) if s.holder in known else Party("", s.holder, "", s.ppm)
        for s in newest.split
    ]
    return kept, newest.split


def _check_days(day: int, last: int, today: int) -> None:
    if not today + 1 <= day <= today + NOTICE_DAYS:
        raise InputError(
            f"--from {format_day(day)} is not 1 to {NOTICE_DAYS} days ahead;"
            f" choose {format_day(today + 1)} to {format_day(today + NOTICE_DAYS)}"
        )
    if not today <= last < day:
        raise InputError(
            f"--deadline {format_day(last)} must be a day from {format_day(today)}"
            f" to {format_day(day - 1)}, before the new deal starts"
        )


def write_proposal(path: Path, proposal: Proposal, *, new: bool = False) -> None:
    """Write a proposal's file whole; InputError where it is to be new and there is one already."""
    if new and path.exists():
        raise InputError(f"{path} exists already; name another file with --out, or delete it")
    write_json(path, proposal.document())


# --- reading ---


def read_proposal(path: Path) -> Proposal:
    """Return the proposal of a file, checked to be one that is consistent in itself.

    Raises InputError where it cannot be read, was altered, or is of another format.
    """
    try:
        if path.stat().st_size > MAX_FILE:
            raise InputError(f"{path} is too large to be a proposal")
        document = parse_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise InputError(f"{path} is not a proposal: it is no JSON") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"{path} is not a proposal that `royalty catalogue amend` made")
    try:
        proposal = _proposal(document)
        altered = proposal.typed_data != document["typed_data"]
    except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
        raise InputError(f"{path} is not a whole proposal ({error}); propose it again") from None
    if altered:
        raise InputError(
            f"{path} was altered: what holders sign is not what it shows; propose it again"
        )
    return proposal


def _proposal(document: Mapping[str, Any]) -> Proposal:
    from royalty.chain.accounts import parse_address

    listed = [*document["split_before"], *document["split"]]
    parties = {
        parse_address(entry["address"]): Party(
            text_of(entry, "holder"),
            parse_address(entry["address"]),
            text_of(entry, "role"),
            int(entry["share_ppm"]),
        )
        for entry in listed
    }
    signatures = {parse_address(who): str(text) for who, text in document["signatures"].items()}
    for text in signatures.values():
        check_signature(text)
    return Proposal(
        int(document["chain_id"]),
        parse_address(document["contract"]),
        int(document["catalogue"]),
        int(document["replaces"]),
        parse_address(document["producer"]),
        parse_day(document["from"]),
        int(document["deadline"]),
        _tariff(document["tariff_before"]),
        _tariff(document["tariff"]),
        _split(document["split_before"]),
        _split(document["split"]),
        check_title(document["title"]),
        tuple(parties.values()),
        str(document["uri"]),
        signatures,
    )


def _prices(tariff: Tariff) -> dict[str, str]:
    return {key: str(nano) for key, nano in tariff_document(tariff).items()}


def _tariff(entry: Mapping[str, str]) -> Tariff:
    return Tariff(*(int(entry[f"{kind.word}_nano"]) for kind in Kind))


def _shares(split: Split, parties: Sequence[Party]) -> list[dict[str, Any]]:
    named = {party.address: party for party in parties}
    return [
        {
            "address": share.holder,
            "share_ppm": share.ppm,
            "share": format_share(share.ppm),
            "holder": named[share.holder].name if share.holder in named else "",
            "role": named[share.holder].role if share.holder in named else "",
        }
        for share in split
    ]


def _split(entries: Sequence[Mapping[str, Any]]) -> Split:
    from royalty.chain.accounts import parse_address

    return make_split([Share(parse_address(e["address"]), int(e["share_ppm"])) for e in entries])


# --- signing ---


def check_signature(text: str) -> bytes:
    """Return a signature's bytes; InputError where it is not 0x and hex digits."""
    if len(text) > 2 * MAX_SIGNATURE_BYTES + 2 or not _SIGNATURE.fullmatch(text):
        raise InputError(f"'{text[:40]}' is not a signature; write 0x and its hex digits")
    return bytes.fromhex(text[2:])


def sign(session: Royalty, proposal: Proposal) -> Proposal:
    """Return the proposal with the signature of the session's account, a holder of what it replaces.

    Raises InputError where the account is none, or the proposal is not of this ledger as it stands.
    """
    check_holder(proposal, session.account.address)
    check_current(session, proposal)
    signature = session.account.sign_typed(proposal.typed_data)
    return _with(proposal, {session.account.address: "0x" + signature.hex()})


def add_signature(session: Royalty, proposal: Proposal, holder: str, signature: str) -> Proposal:
    """Return the proposal with a signature made elsewhere: by a hardware wallet, or a contract's.

    Raises InputError where it is not the holder's; a contract's is judged when it is submitted.
    """
    check_holder(proposal, holder)
    check_current(session, proposal)
    if not _is_signed(session, proposal, holder, check_signature(signature)):
        raise InputError(f"that signature of the proposal is not {holder}'s")
    return _with(proposal, {holder: signature})


def merge(proposals: Sequence[Proposal]) -> Proposal:
    """Return one proposal with the signatures of several copies; InputError where they differ."""
    first = proposals[0]
    for other in proposals[1:]:
        if other.typed_data != first.typed_data:
            raise InputError("the files are of different proposals; submit one proposal at a time")
        first = _with(first, other.signatures)
    return first


def check_holder(proposal: Proposal, holder: str) -> None:
    """Refuse, with an InputError, who has no share in the deal that a proposal replaces."""
    if holder not in {share.holder for share in proposal.split_before}:
        raise InputError(
            f"{holder} has no share in catalogue {proposal.catalogue} version {proposal.version},"
            " so there is nothing for it to sign; name a holder with --account"
        )


def check_current(session: Royalty, proposal: Proposal) -> None:
    """Refuse, with an InputError, a proposal of another ledger, outdated, or past its deadline."""
    if (proposal.chain_id, proposal.contract) != (session.node.chain_id, session.ledger.address):
        raise InputError(
            f"the proposal is for {proposal.contract} on chain {proposal.chain_id}, not for"
            f" {session.ledger.address} on chain {session.node.chain_id}"
        )
    block = session.node.block()
    if block.timestamp > proposal.deadline:
        last = format_day(proposal.deadline // SECONDS_PER_DAY)
        raise InputError(f"the proposal could be submitted until {last}; propose it again")
    catalogues.need_catalogue(session, proposal.catalogue)
    state = session.ledger.catalogue(proposal.catalogue, block.number)
    newest = catalogues.deals(session, proposal.catalogue, block=block.number)[-1]
    stands = (state.owner, newest.version, newest.split, newest.tariff)
    if stands != (
        proposal.producer,
        proposal.version,
        proposal.split_before,
        proposal.tariff_before,
    ):
        raise InputError(
            f"catalogue {proposal.catalogue} has another owner or deal by now; propose it again"
        )


def _with(proposal: Proposal, signatures: Mapping[str, str]) -> Proposal:
    return replace(proposal, signatures={**proposal.signatures, **signatures})


def _is_signed(session: Royalty, proposal: Proposal, holder: str, signature: bytes) -> bool:
    """Whether a signature is a holder's; a contract's counts, the ledger asks it."""
    from royalty.chain.amendments import signer_of

    return signer_of(proposal.typed_data, signature) == holder or bool(session.node.code(holder))


# --- submitting ---


def submit(session: Royalty, proposal: Proposal) -> Submission:
    """Submit a proposal from the catalogue's owner; where a signature is missing send nothing.

    What was earned until the day it starts stays with the deal in force then. Raises InputError
    where it is not the account's, outdated, or past its deadline.
    """
    check_current(session, proposal)
    catalogues.need_owner(session, proposal.catalogue)
    missing = _missing(session, proposal)
    if missing:
        return Submission(proposal.catalogue, None, None, tuple(missing))
    given = proposal.signatures
    call = session.ledger.amend(
        proposal.catalogue,
        proposal.from_day,
        proposal.tariff,
        proposal.deadline,
        proposal.split_before,
        proposal.split,
        [bytes.fromhex(given.get(share.holder, "0x")[2:]) for share in proposal.split_before],
        proposal.uri,
    )
    try:
        receipt = session.send(call)
    except Reverted as error:
        refused = [c for c in proposal.needed if c.holder == error.arguments.get("holder")]
        if error.name != "ConsentMissing" or not refused:
            raise
        return Submission(proposal.catalogue, None, None, tuple(refused))
    version = receipt.event("DealAmended").args["version"]
    _keep_metadata(session, proposal, version)
    return Submission(proposal.catalogue, version, receipt.transaction, ())


def _missing(session: Royalty, proposal: Proposal) -> list[Consent]:
    missing = []
    for consent in proposal.needed:
        given = proposal.signatures.get(consent.holder)
        if given is None:
            missing.append(consent)
        elif not _is_signed(session, proposal, consent.holder, check_signature(given)):
            reason = f"{consent.reason}, and the signature given is not its own"
            missing.append(replace(consent, reason=reason))
    return missing


def _keep_metadata(session: Royalty, proposal: Proposal, version: int) -> None:
    shares = {share.holder: share.ppm for share in proposal.split}
    parties = [
        replace(party, ppm=shares[party.address])
        for party in proposal.parties
        if party.address in shares
    ]
    document = metadata_document(proposal.title, parties)
    kept = make_metadata(document, "https://kept.invalid", is_local=False)
    keep(session.state_dir, kept, name=catalogues.metadata_name(proposal.catalogue, version))
