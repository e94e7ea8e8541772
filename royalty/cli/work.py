"""`royalty work`: works registered by the fingerprint of their files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from royalty.cli.app import noun_app
from royalty.cli.options import Run, command
from royalty.cli.output import pairs, progress, table
from royalty.errors import InputError
from royalty.money import counted

CATALOGUE = Annotated[
    int, typer.Option("--catalogue", metavar="N", help="The catalogue's number, one of yours.")
]


work = noun_app("Works: registered by the fingerprint of their files, the earliest first.")


def register(app: typer.Typer) -> None:
    """Add the noun to the program."""
    app.add_typer(work, name="work")


@command(work, "register", sends=True)
def register_(
    run: Run,
    catalogue: CATALOGUE,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE...", help="The works' files.")
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", metavar="CSV", help="fingerprint or file, title, ids, platform_id."),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="The work's title, published.")] = "",
    isan: Annotated[str, typer.Option("--isan", help="Of a film.")] = "",
    eidr: Annotated[str, typer.Option("--eidr", help="Of a film.")] = "",
    isrc: Annotated[str, typer.Option("--isrc", help="Of a recording or music video.")] = "",
    iswc: Annotated[str, typer.Option("--iswc", help="Of music.")] = "",
    platform_id: Annotated[
        str, typer.Option("--platform-id", help="A platform's own id; noted in this folder alone.")
    ] = "",
    uri: Annotated[
        str | None,
        typer.Option("--uri", help="Where the metadata will lie ({digest} is filled in)."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Register what you registered before once more.")
    ] = False,
) -> None:
    """Register works: the SHA-256 of each file, 500 a transaction; interrupted, run it again.

    A file never leaves this machine. What the account registered before in this catalogue is not
    registered twice, and is said.
    """
    from royalty import works

    identifiers = {"isan": isan, "eidr": eidr, "isrc": isrc, "iswc": iswc}
    described = bool(title or platform_id or any(identifiers.values()))
    if from_ is not None and (files or described):
        raise InputError(
            "--from names files, titles and identifiers itself; give nothing beside it"
        )
    if described and len(files or []) > 1:
        raise InputError("titles and identifiers of several files stand in a CSV: use --from")
    given = works.read_works(from_) if from_ is not None else []
    for file in files or []:
        fingerprint = works.fingerprint_of(file)
        given.append(
            works.new_work(
                fingerprint, title=title, identifiers=identifiers, platform_id=platform_id
            )
        )
    with progress("registering", len(given)) as advance:
        done = works.register(run.royalty, catalogue, given, again=again, uri=uri, progress=advance)
    run.emit(done.document(), lambda: _registered(done.document()))


@command(work)
def show(
    run: Run,
    reference: Annotated[str, typer.Argument(metavar="WORK", help="catalogue/index, like 12/3.")],
) -> None:
    """Show a work: its fingerprint, who registered it when, title and identifiers."""
    from royalty import works
    from royalty.usage import WorkRef

    one = works.registration(run.royalty, WorkRef.parse(reference))
    document = works.describe(run.royalty, [one])[0]
    run.emit(document, lambda: pairs(document))


@command(work, "list")
def list_(
    run: Run,
    catalogue: Annotated[
        int | None, typer.Option("--catalogue", metavar="N", help="Only this catalogue's.")
    ] = None,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Pass over so many.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show so many at most.")] = 1000,
) -> None:
    """List registered works in order of time."""
    from royalty import catalogues, works

    if catalogue is not None:
        catalogues.need_catalogue(run.royalty, catalogue)
    found = works.registrations(run.royalty, catalogue=catalogue)
    page = works.describe(run.royalty, found[offset : offset + limit])
    document = {"works": page, "offset": offset, "total": len(found)}
    run.emit(document, lambda: _works(page, len(found)))


@command(work)
def verify(
    run: Run,
    what: Annotated[
        str, typer.Argument(metavar="FILE|FINGERPRINT", help="A file, or its SHA-256 in hex.")
    ],
) -> None:
    """List all registrations of a file in order: who and when; exit 1 where there is none.

    The earliest registration is the earliest, not proof of ownership.
    """
    from royalty import works

    fingerprint = works.fingerprint_or_file(what)
    found = works.describe(run.royalty, works.registrations(run.royalty, fingerprint=fingerprint))
    run.emit(
        {"fingerprint": "0x" + fingerprint, "registrations": found},
        lambda: _works(found, len(found)) if found else f"0x{fingerprint} is not registered.",
        findings=not found,
    )


# --- output ---


def _registered(document: dict[str, Any]) -> str:
    named, before = document["works"], document["already_registered"]
    new = len(set(named).difference(before))
    sent = counted(len(document["transactions"]), "transaction")
    lines = [f"{counted(len(named), 'work')}: {_some(named)}.", f"{new:,} registered in {sent}."]
    if before:
        lines += [f"{len(before):,} registered before: {_some(before)} (--again: once more)."]
    return "\n".join(lines)


def _some(named: list[str]) -> str:
    if len(named) > 3:
        return f"{named[0]}, {named[1]} to {named[-1]}"
    return ", ".join(named) or "none"


def _works(page: list[dict[str, Any]], total: int) -> str:
    rows = [
        (
            one["work"],
            one["title"],
            one["fingerprint"][:12] + "…",
            one["registrant"][:10] + "…",
            one["time"],
        )
        for one in page
    ]
    shown = table(("work", "title", "fingerprint", "registrant", "time"), rows, right=[0, 2, 3, 4])
    return shown + (f"\n{len(page)} of {total}" if len(page) < total else "")
