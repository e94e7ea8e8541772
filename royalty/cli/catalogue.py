"""`royalty catalogue`: works under one deal, who shares it, at what tariff."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from royalty.cli.app import noun_app
from royalty.cli.options import Run, ask, command
from royalty.cli.output import clean, pairs, table
from royalty.days import format_day, parse_day
from royalty.errors import InputError
from royalty.money import format_nano
from royalty.splitsheet import format_share
from royalty.usage import Kind, Tariff

if TYPE_CHECKING:
    from royalty.amendments import Consent, Proposal
    from royalty.catalogues import Catalogue, Deal

NUMBER = Annotated[int, typer.Argument(metavar="CATALOGUE", help="The catalogue's number.")]
TITLE = Annotated[str, typer.Option("--title", help="The catalogue's title, published.")]
SPLIT = Annotated[
    Path,
    typer.Option(
        "--split", metavar="CSV", help="holder,address,role,share: 40% or ppm; all public."
    ),
]
TARIFF = Annotated[
    list[str] | None,
    typer.Option(
        "--tariff",
        metavar="KIND=PRICE",
        help="view=, download= and excerpt= (a second), in tokens.",
    ),
]
FROM = Annotated[
    str | None, typer.Option("--from", metavar="DAY", help="The deal's first UTC day.")
]
URI = Annotated[
    str | None,
    typer.Option("--uri", help="Where the metadata will lie ({digest} is filled in), or inline."),
]

catalogue = noun_app("Catalogues: works under one deal, who shares it, at what tariff.")


def register(app: typer.Typer) -> None:
    """Add the noun to the program."""
    app.add_typer(catalogue, name="catalogue")


@command(catalogue, "open", sends=True)
def open_(
    run: Run, title: TITLE, split: SPLIT, tariff: TARIFF = None, from_: FROM = None, uri: URI = None
) -> None:
    """Open a catalogue: who shares, at what tariff, from which day (any up to today; default today).

    The title and the holders' names and roles are published as the deal's metadata.
    """
    from royalty import catalogues

    opened = catalogues.open_catalogue(
        run.royalty,
        title,
        split,
        catalogues.parse_tariff(tariff or []),
        from_day=_day(from_, "--from"),
        uri=uri,
    )
    lines = [f"Opened catalogue {opened.catalogue}, deal version {opened.version}."]
    lines += [f"Its metadata stand at no address; they are kept in {opened.kept}"] * bool(
        opened.kept
    )
    run.emit(opened.document(), "\n".join(lines))


@command(catalogue)
def show(run: Run, number: NUMBER) -> None:
    """Show a catalogue: its owner, works and every version of its deal."""
    from royalty import catalogues

    found = catalogues.show(run.royalty, number)
    run.emit(found.document(), lambda: _shown(found))


@command(catalogue, "list")
def list_(
    run: Run,
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="ADDRESS", help="Only those of this owner.")
    ] = None,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Pass over so many.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show so many at most.")] = 1000,
) -> None:
    """List catalogues with their tariffs of today and what their deals have accrued."""
    from royalty import catalogues

    address = run.royalty.address(owner) if owner else None
    found, total = catalogues.listing(run.royalty, owner=address, offset=offset, limit=limit)
    document = {"catalogues": [one.document() for one in found], "offset": offset, "total": total}
    run.emit(document, lambda: _listed(found, total))


@command(catalogue, sends=True)
def amend(
    run: Run,
    number: Annotated[
        int | None, typer.Argument(metavar="CATALOGUE", help="The catalogue's number.")
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option("--split", metavar="CSV", help="The new split; default as it stands."),
    ] = None,
    tariff: Annotated[
        list[str] | None,
        typer.Option("--tariff", metavar="KIND=PRICE", help="New prices; the others stay."),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="DAY", help="First day, 1 to 366 ahead; default tomorrow."),
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(
            "--deadline", metavar="DAY", help="Last day to submit; default before --from."
        ),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="A new title.")] = None,
    uri: URI = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The proposal's file.")
    ] = None,
    submit: Annotated[
        list[Path] | None,
        typer.Option(
            "--submit", metavar="PROPOSAL", help="Send it; copies' signatures are joined."
        ),
    ] = None,
) -> None:
    """Propose a new split or tariff in a file for holders to sign, or submit it once they have.

    Needed is the signature of every holder whose share falls or ends, and of every holder where a
    price falls. What is earned before the new deal's first day stays with the old one.
    """
    from royalty import amendments

    if submit:
        if number is not None or split or tariff or from_ or deadline or title or uri or out:
            raise InputError("--submit sends a proposal as it is; give no other option with it")
        _submit(run, submit)
        return
    if number is None:
        raise InputError("name the catalogue to amend, or a proposal with --submit")
    proposal = amendments.propose(
        run.royalty,
        number,
        split=split,
        tariff=tariff or [],
        from_day=_day(from_, "--from"),
        deadline_day=_day(deadline, "--deadline"),
        title=title,
        uri=uri,
    )
    path = out or Path(f"amendment-{number}-from-{format_day(proposal.from_day)}.json")
    if not run.dry_run:
        amendments.write_proposal(path, proposal, new=True)
    run.emit(_proposed(path, proposal), lambda: _next(path, proposal))


@command(catalogue, sends=True)
def sign(
    run: Run,
    file: Annotated[Path, typer.Argument(metavar="PROPOSAL", help="The proposal's file.")],
    signature: Annotated[
        str | None,
        typer.Option("--signature", metavar="HEX", help="One made elsewhere, of --holder."),
    ] = None,
    holder: Annotated[
        str | None, typer.Option("--holder", metavar="ADDRESS", help="Whose --signature it is.")
    ] = None,
) -> None:
    """Add the account's signature to a proposal, after showing what it changes; sends nothing."""
    from royalty import amendments

    if (signature is None) != (holder is None):
        raise InputError("--signature and --holder go together")
    session, proposal = run.royalty, amendments.read_proposal(file)
    if not run.yes and not run.dry_run and not session.node.is_local:
        ask(f"{_changes(proposal)}\nSign? [y/N] ")
    if signature and holder:
        address = session.address(holder)
        signed = amendments.add_signature(session, proposal, address, signature)
    else:
        address = session.account.address
        signed = amendments.sign(session, proposal)
    if not run.dry_run:
        amendments.write_proposal(file, signed)
    run.emit({"signed_by": address, **_proposed(file, signed)}, lambda: _next(file, signed))


@command(catalogue, sends=True)
def transfer(
    run: Run,
    number: NUMBER,
    to: Annotated[str, typer.Argument(metavar="ADDRESS", help="The new owner.")],
) -> None:
    """Give a catalogue to another owner; its deal and what was earned stay as they are."""
    from royalty import catalogues

    address = run.royalty.address(to)
    transaction = catalogues.transfer(run.royalty, number, address)
    document = {"catalogue": number, "owner": address, "transaction": transaction}
    run.emit(document, f"Catalogue {number} belongs to {address}.")


@command(catalogue, sends=True)
def pay(
    run: Run,
    number: NUMBER,
    amount: Annotated[str, typer.Argument(help="Tokens, for example 25.50.")],
    reason: Annotated[str, typer.Option("--reason", help="Up to 31 bytes, published.")],
    memo: Annotated[
        str | None, typer.Option("--memo", metavar="HEX32", help="32 bytes of your own, published.")
    ] = None,
) -> None:
    """Pay money that is not metered (advertising, a sale) into the deal of today."""
    from royalty import catalogues
    from royalty.sending import parse_amount

    session = run.royalty
    paid = catalogues.pay(session, number, parse_amount(session, amount), reason=reason, memo=memo)
    shown = f"{format_nano(paid.amount_nano)} {session.token.symbol}"
    run.emit(paid.document(), lambda: f"Paid {shown} into catalogue {number}.")


# --- output ---


def _day(text: str | None, what: str) -> int | None:
    return None if text is None else parse_day(text, what=what)


def _submit(run: Run, files: list[Path]) -> None:
    from royalty import amendments

    proposal = amendments.merge([amendments.read_proposal(file) for file in files])
    done = amendments.submit(run.royalty, proposal)
    text = (
        f"Nothing was sent; signatures are missing:\n{_consents(list(done.missing))}"
        if done.missing
        else f"Catalogue {done.catalogue} has version {done.version}"
        f" from {format_day(proposal.from_day)} on."
    )
    run.emit(done.document(), text, findings=bool(done.missing))


def _proposed(path: Path, proposal: Proposal) -> dict[str, object]:
    return {
        "proposal": str(path),
        "catalogue": proposal.catalogue,
        "replaces": proposal.version,
        "from": format_day(proposal.from_day),
        "deadline": proposal.deadline,
        "needed": [consent.document() for consent in proposal.needed],
        "missing": [consent.document() for consent in proposal.missing],
    }


def _next(path: Path, proposal: Proposal) -> str:
    if not proposal.missing:
        rest = f"Every signature needed is there. Next:\n  royalty catalogue amend --submit {path}"
    else:
        rest = f"Still to sign, with royalty catalogue sign {path}:\n{_consents(proposal.missing)}"
    return f"{_changes(proposal)}\n\n{rest}"


def _changes(proposal: Proposal) -> str:
    before = {share.holder: share.ppm for share in proposal.split_before}
    after = {share.holder: share.ppm for share in proposal.split}
    names = {party.address: party.name for party in proposal.parties}
    rows = [
        (
            names.get(holder, ""),
            holder,
            format_share(before[holder]) if holder in before else "-",
            format_share(after[holder]) if holder in after else "-",
        )
        for holder in sorted(before | after, key=str.lower)
    ]
    return (
        f"Catalogue {proposal.catalogue}, version {proposal.version} replaced"
        f" from {format_day(proposal.from_day)} on\n"
        f"  prices before  {_tariff(proposal.tariff_before)}\n"
        f"  prices after   {_tariff(proposal.tariff)}\n"
        + table(("holder", "address", "before", "after"), rows, right=[1, 2, 3])
    )


def _consents(missing: list[Consent]) -> str:
    return "\n".join(
        f"  {one.holder}  {clean(one.name, 34)}\n    {clean(one.reason, 76)}" for one in missing
    )


def _tariff(tariff: Tariff) -> str:
    return "  ".join(f"{kind.word} {format_nano(tariff.price(kind))}" for kind in Kind)


def _listed(found: list[Catalogue], total: int) -> str:
    if not total:
        return "No catalogue yet: royalty catalogue open"
    rows = [
        (
            one.catalogue,
            one.title,
            one.works,
            *(format_nano(one.current.tariff.price(k)) if one.current else "-" for k in Kind),
            format_nano(sum(one.accrued_nano.values())),
            format_day(one.pending.from_day) if one.pending else "",
        )
        for one in found
    ]
    head = ("no", "title", "works", "view", "download", "excerpt", "accrued", "amended")
    shown = table(head, rows, right=[0, 2, 3, 4, 5, 6, 7])
    return shown + (f"\n{len(found)} of {total}" if len(found) < total else "")


def _shown(found: Catalogue) -> str:
    top = {"catalogue": found.catalogue, "title": found.title, "owner": found.owner}
    return "\n\n".join(
        [pairs({**top, "works": found.works}), *(_deal(found, deal) for deal in found.deals)]
    )


def _deal(found: Catalogue, deal: Deal) -> str:
    until = "" if deal.until_day is None else f" until before {format_day(deal.until_day)}"
    named = found.parties.get(deal.key, {})
    rows = [
        (
            named[share.holder].name if share.holder in named else "",
            named[share.holder].role if share.holder in named else "",
            share.holder,
            format_share(share.ppm),
        )
        for share in deal.split
    ]
    return (
        f"version {deal.version}, {found.state(deal)}: from {format_day(deal.from_day)}{until}\n"
        f"  prices   {_tariff(deal.tariff)}\n"
        f"  accrued  {format_nano(found.accrued_nano[deal.key])}\n"
        + table(("holder", "role", "address", "share"), rows, right=[2, 3])
    )
