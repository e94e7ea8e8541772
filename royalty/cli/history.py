"""`royalty sync` and `royalty history`: what happened on the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from royalty.cli.options import Run, command
from royalty.cli.output import clean, pairs, progress, table
from royalty.money import format_nano

if TYPE_CHECKING:
    from royalty.client import Royalty
    from royalty.index.reader import Snapshot

KIND = Annotated[
    str | None,
    typer.Option(
        "--kind",
        metavar="KIND",
        help="usage, credit, payout, amendment, work or tally; default all.",
    ),
]
CATALOGUE = Annotated[
    int | None, typer.Option("--catalogue", metavar="N", help="Of one catalogue.")
]
WORK = Annotated[
    str | None, typer.Option("--work", metavar="N/I", help="Of one work, such as 12/3.")
]
HOLDER = Annotated[
    str | None,
    typer.Option(
        "--holder", metavar="ADDRESS", help="Of one rights holder, or deals it shares in."
    ),
]
PLATFORM = Annotated[
    str | None, typer.Option("--platform", metavar="ADDRESS", help="What one platform reported.")
]
SINCE = Annotated[str | None, typer.Option("--since", metavar="DAY", help="From this UTC day on.")]
UNTIL = Annotated[str | None, typer.Option("--until", metavar="DAY", help="Up to this UTC day.")]
CSV = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the rows as CSV.")]
PARQUET = Annotated[
    Path | None, typer.Option("--parquet", metavar="FILE", help="Write the rows as Parquet.")
]
NO_SYNC = Annotated[
    bool,
    typer.Option("--no-sync", help="Show what this folder has read before; ask for nothing new."),
]

SHOWN = 40  # rows of each kind in a table; all are in --json, --csv and --parquet


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""

    @command(app)
    def sync(run: Run) -> None:
        """Read what is new on the ledger into this folder's index.

        Only final blocks are kept; what a reorg took back is dropped. Two at once do no harm.
        """
        snapshot = synced(run.royalty)
        document = {
            "block": snapshot.head.number,
            "final_block": snapshot.parts[-1].last if snapshot.parts else None,
            "events": snapshot.count,
            "added": snapshot.added,
            "dropped": snapshot.dropped,
        }
        run.emit(document, pairs(document))

    @command(app)
    def history(
        run: Run,
        kind: KIND = None,
        catalogue: CATALOGUE = None,
        work: WORK = None,
        holder: HOLDER = None,
        platform: PLATFORM = None,
        since: SINCE = None,
        until: UNTIL = None,
        csv: CSV = None,
        parquet: PARQUET = None,
        no_sync: NO_SYNC = False,
    ) -> None:
        """Show usage, credits, payouts, amendments, works and tallies, recomputed from events.

        A day is that of the usage, of a tally its last, and of the block for all else. Usage of a
        tally shows once it is settled. Every filter narrows; a kind of row that a filter cannot apply
        to is left out.
        """
        from royalty.history import History

        if not no_sync:
            synced(run.royalty)
        rows = History(run.royalty).rows(
            kind,
            sync=not no_sync,
            catalogue=catalogue,
            work=work,
            holder=holder,
            platform=platform,
            since=since,
            until=until,
        )
        if csv is not None:
            rows.to_csv(csv)
        if parquet is not None:
            rows.to_parquet(parquet)
        files = [str(path) for path in (csv, parquet) if path is not None]
        run.emit(
            {"kind": kind, "rows": rows.to_list()},
            lambda: "\n".join(
                _text(rows.to_list(), run.royalty.token.symbol, files, read=not no_sync)
            ),
        )


def synced(session: Royalty) -> Snapshot:
    """Return the index brought up to the head, with a progress bar over its blocks."""
    from royalty import index

    with _blocks() as moved:
        return index.sync(session, moved)


@contextmanager
def _blocks() -> Iterator[Any]:
    with progress("reading blocks") as advance:
        done = 0

        def moved(read: int, _: int) -> None:
            nonlocal done
            advance(read - done)
            done = read

        yield moved


def _text(
    rows: list[dict[str, Any]], symbol: str, files: list[str], *, read: bool
) -> Iterator[str]:
    """Yield a table of each kind, then what was written."""
    from royalty.history import KINDS, totals

    sums = totals(rows)
    if not rows:
        yield "Nothing happened that was asked for."
    if not rows and not read:
        yield "Only what this folder read before was looked at: `royalty sync` reads what is new."
    for entry in KINDS:
        if entry not in sums:
            continue
        count, nano = sums[entry]
        amount = f", {format_nano(nano)} {symbol}" if entry in MONEY else ""
        yield f"{TITLES[entry]}: {count:,}{amount}"
        head, right = TABLES[entry]
        mine = [row for row in rows if row["entry"] == entry]
        yield table(head, [_cells(entry, row) for row in islice(mine, SHOWN)], right=right)
        if count > SHOWN:
            yield f"... and {count - SHOWN:,} more; --json, --csv and --parquet have them all"
        yield ""
    for path in files:
        yield f"wrote {path}"


MONEY = frozenset({"usage", "credit", "payout", "tally"})
TITLES = {
    "usage": "Usage",
    "credit": "Credits",
    "payout": "Payouts",
    "amendment": "Deals",
    "work": "Works",
    "tally": "Tallies",
}
TABLES: Mapping[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "usage": (("day", "work", "kind", "batch", "units", "amount"), (3, 4, 5)),
    "credit": (("day", "holder", "deal", "share", "amount", "cause"), (3, 4)),
    "payout": (("day", "holder", "paid to", "amount"), (3,)),
    "amendment": (("day", "deal", "from", "view", "download", "excerpt", "holders"), (3, 4, 5, 6)),
    "work": (("day", "work", "fingerprint", "registrant"), ()),
    "tally": (("day", "batch", "settled", "total", "unsettled", "data"), (1, 2, 3, 4)),
}


def _cells(entry: str, row: Mapping[str, Any]) -> Sequence[object]:
    day = row["day"]
    if entry == "usage":
        amount = format_nano(row["amount_nano"])
        return day, row["work"], row["kind"], row["batch"], f"{row['units']:,}", amount
    if entry == "credit":
        return (
            day,
            row["holder"],
            _deal(row),
            _percent(row["share_ppm"]),
            format_nano(row["part_nano"]),
            row["cause"],
        )
    if entry == "payout":
        return day, row["holder"], row["to"], format_nano(row["amount_nano"])
    if entry == "amendment":
        prices = (format_nano(row[f"{kind}_nano"]) for kind in ("view", "download", "excerpt"))
        return day, _deal(row), row["from_day"], *prices, len(row["split"].split())
    if entry == "tally":
        leaves = f"{row['settled_leaves']:,} of {row['leaves']:,}"
        money = format_nano(row["total_nano"]), format_nano(row["unsettled_nano"])
        return day, row["batch"], leaves, *money, row["uri"] or row["data_digest"]
    return day, row["work"], clean(row["fingerprint"], 26), row["registrant"]


def _percent(ppm: int) -> str:
    return f"{ppm // 10_000}.{ppm % 10_000:04d}".rstrip("0").rstrip(".") + "%"


def _deal(row: Mapping[str, Any]) -> str:
    return f"{row['catalogue']} v{row['version']}"
