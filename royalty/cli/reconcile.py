"""`royalty reconcile`: a log against the chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from royalty.cli.options import (
    COLUMNS,
    ENGINE,
    FORMAT,
    LOGS,
    MASTER,
    MEMORY,
    POLICY,
    SEPARATOR,
    WORKS,
    Run,
    command,
)
from royalty.cli.output import clean, pairs, progress, table, warn
from royalty.days import format_day
from royalty.errors import InputError
from royalty.money import format_nano

if TYPE_CHECKING:
    from royalty.findings import Finding
    from royalty.reconcile import Reconciliation

SINCE = Annotated[str, typer.Option("--since", metavar="DAY", help="First UTC day, inclusive.")]
UNTIL = Annotated[str, typer.Option("--until", metavar="DAY", help="Last UTC day, inclusive.")]
PLATFORM = Annotated[
    str | None,
    typer.Option("--platform", metavar="ADDRESS", help="Whose reports; default the only one."),
]
EVIDENCE = Annotated[
    Path | None,
    typer.Option(
        "--evidence", metavar="DIR", help="What `usage report --evidence` wrote; data of tallies."
    ),
]
OUT = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Write findings.csv and findings.parquet; held too."),
]
HTML = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write a page for people, complete in one file."),
]
THRESHOLD = Annotated[
    str, typer.Option("--threshold", metavar="PERCENT", help="Sets over_threshold, nothing else.")
]

SHOWN = 40  # findings in the table; all are in --json and --out


def register(app: typer.Typer) -> None:
    """Add the command to the program."""

    @command(app)
    def reconcile(
        run: Run,
        logs: LOGS,
        since: SINCE,
        until: UNTIL,
        works: WORKS = None,
        columns: COLUMNS = None,
        policy: POLICY = None,
        separator: SEPARATOR = None,
        format: FORMAT = None,
        memory: MEMORY = None,
        platform: PLATFORM = None,
        evidence: EVIDENCE = None,
        out: OUT = None,
        html: HTML = None,
        threshold: THRESHOLD = "3",
        engine: ENGINE = "duckdb",
        master: MASTER = None,
    ) -> None:
        """Say where a log and the chain differ: which work, day and kind, how much, and why.

        Counts the log again under the policy, prices it at the deals of its days, and compares with
        what the platform's reports and settled tallies credited. What waits in leaves that nobody has
        settled is told by work, day and kind where the tally's data are at hand. What [spike] of the
        policy holds for a person stands apart and is no difference. Ends with exit code 1 where
        anything differs or is held.
        """
        from royalty.reconcile import reconcile as compare

        if html is not None and html.is_dir():
            raise InputError(f"{html} is a folder; name a file in it")
        with progress("reading the log") as advance:
            done = 0

            def moved(read: int, _: int) -> None:
                nonlocal done
                advance(read - done)
                done = read

            found = compare(
                run.royalty,
                logs,
                since=since,
                until=until,
                works=works,
                columns=columns,
                policy=policy,
                separator=separator,
                format=format,
                memory=memory,
                platform=platform,
                evidence=evidence,
                threshold=threshold,
                progress=moved,
                engine=engine,
                master=master,
            )
        files = [] if out is None else found.write(out)
        files += [] if html is None else [found.to_html(html)]
        for note in found.notes:
            warn(f"royalty: {clean(note, 300)}")
        run.emit(
            found.document(),
            lambda: "\n".join([*_text(found, run.royalty.token.symbol), *_wrote(files)]),
            findings=found.to_look_at,
        )


def _wrote(files: list[Path]) -> list[str]:
    return ["", *(f"wrote {path}" for path in files)] if files else []


def _text(found: Reconciliation, symbol: str) -> Iterator[str]:
    """Yield the totals, what they mean, and the findings, for a person."""
    from royalty.findings import sentence

    yield sentence(found.difference_nano, len(found.findings), symbol)
    yield ""
    yield pairs(_totals(found, symbol))
    if found.findings:
        yield ""
        yield from _findings(found.findings)
    else:
        yield ""
        yield "No findings."
    if found.held:
        yield ""
        yield from _held(found)


def _held(found: Reconciliation) -> Iterator[str]:
    """Yield what the policy keeps back, which is no finding."""
    from royalty.heldback import MEANING, NAME, most_held

    yield f"{len(found.held):>6,}  {NAME:<17}  {format_nano(found.held_amount_nano)}"
    yield f"        {MEANING}; no finding"
    yield ""
    head = ("held", "work", "day", "kind", "log", "reported", "held units", "worth")
    rows = [
        (
            one.reason.value,
            one.work,
            format_day(one.day),
            one.kind.word,
            f"{one.logged_units:,}",
            f"{one.reported_units:,}",
            f"{one.held_units:,}",
            format_nano(one.amount_nano),
        )
        for one in most_held(found.held, SHOWN)
    ]
    yield table(head, rows, right=(4, 5, 6, 7))
    if len(found.held) > SHOWN:
        yield f"... and {len(found.held) - SHOWN:,} more; --json and --out have them all"


def _totals(found: Reconciliation, symbol: str) -> dict[str, object]:
    days = f"{format_day(found.period.since)} to {format_day(found.period.until)}"
    percent = found.shortfall_percent
    over = ", over the threshold" if found.over_threshold else ""
    held = {
        "units held": _counts(found.units_held),
        "held": f"{format_nano(found.held_amount_nano)} {symbol}, no difference",
    }
    return {
        "platform": found.platform,
        "days": f"{days} (at block {found.block})",
        "rows": f"{found.rows:,}, {found.qualified:,} qualified",
        "excluded": _counts(found.excluded),
        "units in the log": _counts(found.units_logged),
        "units on chain": _counts(found.units_chain),
        "logged": f"{format_nano(found.logged_nano)} {symbol}",
        "credited": f"{format_nano(found.credited_nano)} {symbol}",
        "difference": f"{format_nano(found.difference_nano)} {symbol}",
        "shortfall": "nothing was logged" if percent is None else f"{percent} %{over}",
        **(held if found.held else {}),
        "not yet paid out": f"{format_nano(found.unpaid_nano)} {symbol}",
        "ledger is solvent": "yes" if found.solvent else "NO: run `royalty audit solvency`",
    }


def _counts(counts: Mapping[str, int]) -> str:
    shown = [f"{number:,} {word}" for word, number in counts.items() if number]
    return ", ".join(shown) or "none"


def _findings(findings: tuple[Finding, ...]) -> Iterator[str]:
    from royalty.findings import MEANING, summary

    for reason, count, money in summary(findings):
        yield f"{count:>6,}  {reason.value:<17}  {format_nano(money)}"
        yield f"        {MEANING[reason]}"
    yield ""
    head = ("reason", "work", "day", "kind", "log", "chain", "difference")
    largest = sorted(findings, key=lambda row: -abs(row.difference_nano or 0))
    yield table(head, [_cells(finding) for finding in largest[:SHOWN]], right=(4, 5, 6))
    if len(findings) > SHOWN:
        yield f"... and {len(findings) - SHOWN:,} more; --json and --out have them all"


def _cells(row: Finding) -> tuple[object, ...]:
    work = row.work if row.work is not None else f"batch {row.batch}"
    return (
        row.reason.value,
        clean(work, 24),
        "" if row.day is None else format_day(row.day),
        "" if row.kind is None else row.kind.word,
        "" if row.logged_units is None else f"{row.logged_units:,}",
        "" if row.chain_units is None else f"{row.chain_units:,}",
        "" if row.difference_nano is None else format_nano(row.difference_nano),
    )
