"""What `usage` and `tally` share: the options of reporting, and how a report is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from royalty.cli.options import Run
from royalty.cli.output import progress, table, warn
from royalty.errors import ChainError
from royalty.money import counted, format_nano

if TYPE_CHECKING:
    from royalty.reports import Report
    from royalty.sent import Sent
    from royalty.terms import Item

SOME_LOGS = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[LOG...]", help="Files or globs; none: what was recorded and ingested."
    ),
]
DAY = Annotated[
    str | None, typer.Option("--day", metavar="DAY", help="The UTC day of the usage, YYYY-MM-DD.")
]
SINCE = Annotated[
    str | None, typer.Option("--since", metavar="DAY", help="The first of several UTC days.")
]
UNTIL = Annotated[
    str | None, typer.Option("--until", metavar="DAY", help="The last of several, inclusive.")
]
PARTIAL = Annotated[bool, typer.Option("--partial", help="Take days that are not over, too.")]
EVIDENCE = Annotated[
    str | None,
    typer.Option("--evidence", metavar="DIR", help="Write manifests and what they name."),
]
CONFIRMATIONS = Annotated[
    int | None,
    typer.Option(
        "--confirmations",
        metavar="N",
        min=0,
        max=10_000,
        help="Blocks on top of a batch that settle it; locally 0.",
    ),
]
WINDOW_OPTION = Annotated[
    int | None,
    typer.Option(
        "--window", metavar="N", min=1, max=16, help="Batches under way at once; default 1."
    ),
]
MAX_FEE = Annotated[
    str | None,
    typer.Option("--max-fee", metavar="GWEI", help="The most that a gas may cost, in gwei."),
]
DEADLINE = Annotated[
    int | None,
    typer.Option(
        "--deadline",
        metavar="SECONDS",
        min=1,
        max=86_400,
        help="End (3) where nothing moves for so long; default 600.",
    ),
]
PUBLISH = Annotated[
    str | None,
    typer.Option(
        "--publish",
        metavar="DIR|URL",
        help="Put a tally's data and manifest there: a folder, or an address such as s3://...",
    ),
]
URI = Annotated[
    str | None,
    typer.Option(
        "--uri", metavar="URL", help="Where others find what is published; stands on the chain."
    ),
]
SETTLE = Annotated[
    bool,
    typer.Option(
        "--settle/--no-settle", help="Settle a tally's leaves too, or leave it to others."
    ),
]


def send_report(run: Run, logs: list[str] | None, **options: Any) -> None:
    """Report, and show what was sent, or what is pending where an error ends it."""
    from royalty import reports

    made = reports.Report()
    run.partial = made.document()
    try:
        with counting() as advance:
            reports.report(run.royalty, logs, into=made, progress=advance, say=warn, **options)
    except ChainError as error:
        run.partial = made.document()
        error.details["pending"] = made.pending_rows()
        error.details.pop("transactions", None)
        raise
    symbol = run.royalty.token.symbol
    run.emit(
        made.document(),
        lambda: _report_text(made, symbol),
        findings=made.findings and not made.dry_run,
    )


@contextmanager
def counting() -> Iterator[Callable[[int, int], None]]:
    """Yield a function that is told the bytes read and the bytes there are."""
    with progress("reading logs", 100) as advance:
        shown = 0

        def tell(done: int, total: int) -> None:
            nonlocal shown
            percent = 100 * done // total if total else 100
            if percent > shown:
                advance(percent - shown)
                shown = percent

        yield tell


# --- text ---


def _report_text(made: Report, symbol: str) -> str:
    from royalty.usage import units_of

    already = sum(units_of(made.already).values())
    blocks = [batches_table(made.batches, symbol, made.dry_run)]
    if made.dry_run:
        blocks.append(
            f"would send {counted(len(made.batches), 'batch', 'batches')} for {format_nano(made.amount_nano)} {symbol}"
            f" and at most {made.gas:,} gas; nothing was sent"
        )
        blocks.append(_costs_text(made))
    elif not made.batches:
        blocks[0] = "Nothing new to report."
    if made.missing:
        blocks.append(f"missing: {made.missing}")
    if already:
        were = "was" if already == 1 else "were"
        blocks.append(f"{counted(already, 'unit')} {were} reported before")
    blocks += [_settled_text(made, symbol), held_text(made.held)]
    if made.negative:
        units = -sum(item.units for item in made.negative)
        blocks.append(
            f"{counted(units, 'unit')} reported that the log does not have now; what landed is"
            " final (--json lists them)"
        )
    return "\n\n".join(block for block in blocks if block)


def _costs_text(made: Report) -> str:
    """Say what both ways of reporting take until the money is in the deals, and which is taken."""
    costs = made.costs
    if costs is None or not made.batches:
        return ""
    rows = [
        ("direct", f"{costs.direct:,}", "", f"{costs.direct:,}"),
        ("tally", f"{costs.post:,}", f"{costs.settle:,}", f"{costs.tally:,}"),
    ]
    head = ("--as", "report", "settle", "gas in all")
    costlier = max(costs.direct, costs.tally) * 100 // max(1, min(costs.direct, costs.tally)) - 100
    return (
        table(head, rows, right=(1, 2, 3))
        + f"\n{costs.cheaper.value} costs less, the other {costlier:,} % more; what comes after is the same for"
        f" both.\nThis is --as {made.form.value}."
    )


def _settled_text(made: Report, symbol: str) -> str:
    """Say what became of tallies' leaves."""
    lines = []
    for done in made.settled:
        batch = done.plan.tally.batch
        lines.append(
            f"tally {batch}: {counted(len(done.paid), 'leaf', 'leaves')} settled,"
            f" {format_nano(done.paid_nano)} {symbol} paid into deals, {done.gas:,} gas"
        )
        if done.void:
            lines.append(
                f"tally {batch}: {counted(len(done.void), 'leaf', 'leaves')} void,"
                f" {format_nano(done.void_nano)} {symbol} came back; report the days again"
            )
    return "\n".join(lines)


def batches_table(batches: Iterable[Sent], symbol: str, dry: bool) -> str:
    """Return batches as a table; a column of leaves where one of them is a tally."""
    found = list(batches)
    if not found:
        return ""
    leaves = any(one.tally for one in found)
    rows = [
        (
            one.batch,
            days_text(one.tally.since if one.tally else one.day, one.day),
            *([f"{one.tally.leaves:,}" if one.tally else "-"] if leaves else []),
            f"{one.works:,}",
            f"{sum(one.units.values()):,}",
            format_nano(one.amount_nano),
            "" if dry or one.transaction is None else one.transaction[:12] + "…",
        )
        for one in found
    ]
    head = (
        "batch",
        "day",
        *(["leaves"] if leaves else []),
        "works",
        "units",
        symbol,
        "transaction",
    )
    return table(head, rows, right=(0, *range(2, len(head) - 1)))


def days_text(since: int, until: int) -> str:
    """Return one day, or the first and the last of several."""
    from royalty.days import format_day

    last = format_day(until)
    return last if since == until else f"{format_day(since)} to {last}"


def held_text(items: Iterable[Item]) -> str:
    works: dict[str, set[str]] = {}
    for item in items:
        works.setdefault(str(item.held), set()).add(str(item.work))
    advice = {
        "rival_catalogue": "another registrant registered the same file earlier in another catalogue;"
        "\n  `royalty platform accept N --despite-rival` reports it all the same",
        "dearer_than_accepted": "the price is above what was accepted;"
        "\n  `royalty platform accept N` accepts today's prices",
        "spike_hold": "far more than usual for the work and day; look at it, and let it go with"
        "\n  `royalty usage report --release WORK:DAY`",
        "closed_day": "it came after its day was closed ([store] retain_days); it is kept, and not reported",
    }
    return "\n".join(
        f"held, {counted(len(found), 'work')}: {reason}: {advice[reason]}"
        for reason, found in sorted(works.items())
    )
