"""`royalty usage`: what a log comes to, reporting it, and what the journal holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from royalty.cli.app import noun_app
from royalty.cli.options import (
    COLUMNS,
    ENGINE,
    FORMAT,
    LOGS,
    MASTER,
    MEMORY,
    PLATFORM,
    POLICY,
    SEPARATOR,
    WORKS,
    Run,
    command,
)
from royalty.cli.output import clean, pairs, table
from royalty.cli.reporting import (
    CONFIRMATIONS,
    DAY,
    DEADLINE,
    EVIDENCE,
    MAX_FEE,
    PARTIAL,
    PUBLISH,
    SETTLE,
    SINCE,
    SOME_LOGS,
    UNTIL,
    URI,
    WINDOW_OPTION,
    batches_table,
    counting,
    days_text,
    held_text,
    send_report,
)
from royalty.money import counted, format_nano

if TYPE_CHECKING:
    from royalty.checks import Check
    from royalty.explain import Explanation, Told
    from royalty.ingest import Ingested
    from royalty.logs import Aggregates
    from royalty.logs.convert import Converted
    from royalty.standing import Status
    from royalty.terms import Item

MAX_ROWS = 40
KINDS = ("view", "download", "excerpt")

FILES = Annotated[
    list[str],
    typer.Argument(metavar="-|FILE...", help="Files or globs, as logs; - is the standard input."),
]
MAX_EXCLUDED = Annotated[
    str | None,
    typer.Option(
        "--max-excluded", metavar="PERCENT", help="Exit 1 where more of the rows are excluded."
    ),
]
OUT = Annotated[
    str | None,
    typer.Option("--out", metavar="DIR", help="Write excluded.csv: reason, file, line."),
]
AS = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="FORM",
        help="direct: paid at once; tally: one batch of all days, settled leaf by leaf."
        " Default: what costs less.",
    ),
]
DATA = Annotated[
    str | None,
    typer.Option("--data", metavar="FILE|DIR", help="The data of the tally, or where it lies."),
]
RELEASE = Annotated[
    list[str] | None,
    typer.Option(
        "--release",
        metavar="WORK:DAY",
        help="Let go a spike that was held, such as 12/3:2026-11-19.",
    ),
]
BATCH = Annotated[int, typer.Argument(metavar="BATCH", min=1, help="The batch's number.")]

USAGE_ID = Annotated[str, typer.Argument(metavar="USAGE_ID", help="The id, as the log writes it.")]

usage = noun_app("What a log comes to, and reporting it to the ledger, once.")


def register(app: typer.Typer) -> None:
    """Add the noun to the program."""
    app.add_typer(usage, name="usage")


@command(usage)
def check(
    run: Run,
    logs: LOGS,
    day: DAY = None,
    since: SINCE = None,
    until: UNTIL = None,
    works: WORKS = None,
    columns: COLUMNS = None,
    policy: POLICY = None,
    separator: SEPARATOR = None,
    format: FORMAT = None,
    memory: MEMORY = None,
    partial: PARTIAL = False,
    platform: PLATFORM = None,
    out: OUT = None,
    max_excluded: MAX_EXCLUDED = None,
    engine: ENGINE = "duckdb",
    master: MASTER = None,
) -> None:
    """Show what logs come to at the deals of their days; nothing is sent or kept.

    Exit 1 where something is held, or more is excluded than --max-excluded allows.
    """
    from royalty import checks

    run.platform = platform
    with counting() as advance:
        found = checks.check(
            run.royalty,
            logs,
            day=day,
            since=since,
            until=until,
            works=works,
            columns=columns,
            policy=policy,
            separator=separator,
            format=format,
            memory=memory,
            partial=partial,
            out=out,
            max_excluded=max_excluded,
            engine=engine,
            master=master,
            progress=advance,
        )
    symbol = run.royalty.token.symbol
    run.emit(found.document(), lambda: _check_text(found, symbol), findings=found.findings)


@command(usage)
def explain(
    run: Run,
    usage_id: USAGE_ID,
    logs: LOGS,
    day: DAY = None,
    since: SINCE = None,
    until: UNTIL = None,
    works: WORKS = None,
    columns: COLUMNS = None,
    policy: POLICY = None,
    separator: SEPARATOR = None,
    partial: PARTIAL = False,
    platform: PLATFORM = None,
) -> None:
    """Show what happened to one usage of logs, rule by rule, and what it comes to.

    Exit 1 where no row has the id, or what it comes to is held.
    """
    from royalty import explain as explaining

    run.platform = platform
    with counting() as advance:
        found = explaining.explain(
            run.royalty,
            usage_id,
            logs,
            day=day,
            since=since,
            until=until,
            works=works,
            columns=columns,
            policy=policy,
            separator=separator,
            partial=partial,
            progress=advance,
        )
    symbol = run.royalty.token.symbol
    run.emit(found.document(), lambda: _explained_text(found, symbol), findings=found.findings)


@command(usage, sends=True)
def report(
    run: Run,
    logs: SOME_LOGS = None,
    day: DAY = None,
    since: SINCE = None,
    until: UNTIL = None,
    works: WORKS = None,
    columns: COLUMNS = None,
    policy: POLICY = None,
    separator: SEPARATOR = None,
    format: FORMAT = None,
    memory: MEMORY = None,
    partial: PARTIAL = False,
    platform: PLATFORM = None,
    evidence: EVIDENCE = None,
    confirmations: CONFIRMATIONS = None,
    window: WINDOW_OPTION = None,
    max_fee: MAX_FEE = None,
    deadline: DEADLINE = None,
    form: AS = None,
    publish: PUBLISH = None,
    uri: URI = None,
    settle: SETTLE = True,
    release: RELEASE = None,
) -> None:
    """Report the usage in logs, and what was recorded; late rows send the difference, the same log nothing.

    Takes up what an earlier report left unfinished first. Exit 1 where something is held, void, or was
    reported too much (which is final); exit 3 before anything is sent where money or limit are short.
    """
    run.platform = platform
    send_report(
        run,
        logs or None,
        day=day,
        since=since,
        until=until,
        works=works,
        columns=columns,
        policy=policy,
        separator=separator,
        format=format,
        memory=memory,
        partial=partial,
        evidence=evidence,
        confirmations=confirmations,
        window=window,
        max_fee=max_fee,
        deadline=deadline,
        as_=form,
        publish=publish,
        uri=uri,
        settle=settle,
        release=release or (),
    )


@command(usage)
def ingest(
    run: Run,
    logs: FILES,
    columns: COLUMNS = None,
    separator: SEPARATOR = None,
    format: FORMAT = None,
    policy: POLICY = None,
    platform: PLATFORM = None,
) -> None:
    """Keep the rows of files for later reports; the same rows again add nothing.

    They are on the disk when the command ends. Exit 1 where rows are malformed: they are listed, and
    the others kept.
    """
    from royalty import ingest as ingesting
    from royalty.usages import store_of

    run.platform = platform
    with counting() as advance:
        found = ingesting.ingest(
            store_of(run.royalty),
            logs,
            columns=columns,
            separator=separator,
            format=format,
            policy=policy,
            progress=advance,
        )
    run.emit(found.document(), lambda: _ingested_text(found), findings=bool(found.malformed))


@command(usage, chain=False)
def convert(
    run: Run,
    logs: LOGS,
    out: Annotated[
        str, typer.Option("--out", metavar="PARQUET", help="The file to write: native rows, text.")
    ],
    columns: COLUMNS = None,
    separator: SEPARATOR = None,
    format: FORMAT = None,
    cues: Annotated[
        str | None,
        typer.Option("--cues", metavar="CSV", help="Cue sheet: work,start,duration,cited."),
    ] = None,
) -> None:
    """Write any log as native Parquet: counting it gives the count of the log.

    With --cues, watched sections of a citing work also become excerpt seconds of the cited ones.

    Exit 1 where rows are malformed: they are listed, and stay as rows that hold nothing but why.
    """
    from royalty.logs import Columns, find_sources
    from royalty.logs.convert import convert as write
    from royalty.logs.cues import read_cues

    with counting() as advance:
        sources = find_sources(logs, Columns.load(columns), separator, format)
        sheet = None if cues is None else read_cues(cues)
        made = write(sources, out, cues=sheet, progress=advance)
    run.emit(made.document(), lambda: _converted_text(made), findings=bool(made.malformed))


@command(usage)
def export(
    run: Run,
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="The file to write.")],
    since: Annotated[
        str, typer.Option("--since", metavar="DAY", help="The first UTC day, inclusive.")
    ],
    until: Annotated[
        str, typer.Option("--until", metavar="DAY", help="The last UTC day, inclusive.")
    ],
    form: Annotated[
        str, typer.Option("--format", metavar="NAME", help="dsr: DDEX sales report, flat file.")
    ] = "dsr",
    platform: PLATFORM = None,
) -> None:
    """Write what was reported and paid over a period as a sales report of the field.

    Sums of a work and kind from the chain's events; leaves that nobody has settled are not among them.
    DDEX's standards need their free licence; no conformance is claimed.
    """
    from royalty import exporting

    run.platform = platform
    made = exporting.export(run.royalty, out, since=since, until=until, format=form)
    symbol = run.royalty.token.symbol
    total = sum(line.amount_nano for line in made.lines)
    run.emit(
        made.document(),
        lambda: (
            f"{counted(len(made.lines), 'line')} of {counted(made.document()['works'], 'work')},"
            f" {format_nano(total)} {symbol}, written to {made.out}"
        ),
    )


@command(usage)
def forget(
    run: Run,
    month: Annotated[str, typer.Argument(metavar="MONTH", help="YYYY-MM, all its days closed.")],
    platform: PLATFORM = None,
) -> None:
    """Destroy the secret that a month's viewers are kept under: nobody can tell them any more.

    Refused while a day of the month is open ([store] retain_days of royalty.toml closes days).
    """
    run.platform = platform
    run.royalty.usage.forget(month)
    run.emit({"forgotten": month}, f"the viewers of {month} are forgotten")


@command(usage)
def status(run: Run, platform: PLATFORM = None) -> None:
    """Show the journal beside what the ledger has; reads only. Exit 1 where they disagree."""
    run.platform = platform
    found = run.royalty.usage.status()
    symbol = run.royalty.token.symbol
    run.emit(found.document(), lambda: _status_text(found, symbol), findings=not found.in_step)


@command(usage)
def adopt(
    run: Run,
    batch: BATCH,
    platform: PLATFORM = None,
    confirmations: CONFIRMATIONS = None,
    data: DATA = None,
) -> None:
    """Take a batch that another machine reported into this folder's account; sends nothing.

    What the journal had under its number, and later batches that have not landed, become void; the next
    `usage report` counts their units again, less what the adopted batch has. What a tally is of only its
    --data says; what does not lead to its root is refused.
    """
    run.platform = platform
    made = run.royalty.usage.adopt(batch, confirmations=confirmations, data=data)
    symbol = run.royalty.token.symbol
    run.emit(
        made.document(),
        lambda: (
            f"{batches_table([made.batch], symbol, False)}\n\nadopted; void for it: "
            + (", ".join(map(str, made.voided)) or "none")
            + "\nNext: royalty usage report"
        ),
    )


# --- text ---


def _explained_text(found: Explanation, symbol: str) -> str:
    if not found.rows:
        return (
            f"no row has the id {clean(found.usage_id, 60)}: looked at {counted(found.rows_read, 'row')}"
            f" of {counted(found.files, 'file')}. Ids are text, compared as they are written."
        )
    return "\n\n".join(_told_text(row, symbol) for row in found.rows)


def _told_text(row: Told, symbol: str) -> str:
    story = row.story
    lines = [f"{clean(str(story.path), 60)}, line {story.line}: {story.reason or 'qualified'}"]
    lines += [f"  {one.rule:<16} {one.outcome:<8} {clean(one.detail, 400)}" for one in story.rules]
    for item in row.items:
        price = f"{format_nano(item.price_nano)} {symbol}"
        lines.append(
            f"  {item.units:,} x {item.kind.word} of {item.work} under deal {item.version} at {price}:"
            f" {format_nano(item.amount_nano)} {symbol}"
        )
        lines.append(f"  held: {item.held}" if item.held else "  not held")
    if row.spike is not None:
        units = counted(row.spike.units, "unit")
        lines.append(f"  spike_hold: {units} of this work, kind and day are held, this one perhaps")
    return "\n".join(lines)


def _ingested_text(found: Ingested) -> str:
    facts = {
        "rows": f"{found.rows:,}",
        "kept": f"{found.kept:,}",
        "  of closed days": f"{found.late:,}",
        "known already": f"{found.known:,}",
        "malformed": f"{found.malformed:,}",
    }
    listed = [(clean(one.file, 40), one.line, clean(one.reason, 60)) for one in found.listed]
    blocks = [pairs(facts)]
    if listed:
        blocks.append(table(("file", "line", "reason"), listed[:MAX_ROWS], right=(1,)))
    if found.malformed > MAX_ROWS:
        blocks.append(f"... and {found.malformed - MAX_ROWS:,} rows more")
    return "\n\n".join(blocks)


def _converted_text(made: Converted) -> str:
    passed: dict[str, int] = {}
    for source in made.sources:
        for why, lines in source.passed.items():
            passed[why] = passed.get(why, 0) + lines
    forms = dict.fromkeys(source.columns.format or source.format for source in made.sources)
    facts = {
        "read as": ", ".join(forms),
        "rows": f"{made.rows:,}",
        "malformed": f"{made.malformed:,}",
        **({"excerpts of cited works": f"{made.excerpts:,}"} if made.excerpts else {}),
        **{f"passed over: {why}": f"{lines:,}" for why, lines in sorted(passed.items())},
        "wrote": str(made.out),
    }
    listed = [(clean(file, 40), line, clean(reason, 60)) for file, line, reason in made.listed]
    blocks = [pairs(facts)]
    if listed:
        blocks.append(table(("file", "line", "reason"), listed[:MAX_ROWS], right=(1,)))
    return "\n\n".join(blocks)


def _sums_text(found: Aggregates) -> str:
    from royalty.days import format_day

    facts = {
        "sums": f"{found.rows:,} (no rows: rules 2, 5, 6 and 7 do not apply, nothing is reported)",
        "qualified": f"{found.qualified:,}",
        **{reason: f"{number:,}" for reason, number in found.excluded.items() if number},
    }
    rows = [
        (format_day(row.day), f"{row.catalogue}/{row.index}", row.kind.word, f"{row.units:,}")
        for row in found.units
    ]
    shown = table(("until", "work", "kind", "units"), rows[:MAX_ROWS], right=(3,)) if rows else ""
    more = f"... and {len(rows) - MAX_ROWS:,} rows more" if len(rows) > MAX_ROWS else ""
    ids = ", ".join(
        clean(one, 20) for one in dict.fromkeys(row.work for row in found.unmatched[:3])
    )
    unmatched = f"no work of an accepted catalogue: {ids}, ..." if ids else ""
    return "\n\n".join(block for block in (pairs(facts), shown, more, unmatched) if block)


def _check_text(found: Check, symbol: str) -> str:
    if found.count.aggregates is not None:
        return _sums_text(found.count.aggregates)
    count, excluded = found.count, sum(found.count.excluded.values())
    facts: dict[str, object] = {
        "rows": f"{count.rows:,}",
        "qualified": f"{count.qualified:,} ({count.without_identity:,} without a viewer)",
        "excluded": f"{excluded:,}",
        **{f"  {reason}": f"{number:,}" for reason, number in count.excluded.items() if number},
        "amount": f"{format_nano(found.amount_nano)} {symbol}",
    }
    if found.held:
        held = sum(item.amount_nano for item in found.held)
        facts["  of it held"] = f"{format_nano(held)} {symbol}"
    blocks = [pairs(facts), _works_table(found.counted, symbol), held_text(found.held)]
    if found.over_excluded:
        blocks.append(
            f"{excluded:,} of {count.rows:,} rows excluded: more than --max-excluded allows"
        )
    if count.rows and count.excluded["malformed"] == count.rows:
        blocks.append(
            "every row is malformed; `--out DIR` lists why, line by line. Is the log of another form?"
            "\n--columns says where its fields are, --format whose log it is."
        )
    if count.unmatched:
        ids = dict.fromkeys(row.work for row in count.unmatched)
        listed = ", ".join(clean(one, 20) for one in list(ids)[:3])
        blocks.append(
            f"no work of an accepted catalogue: {listed}"
            + (f" and {len(ids) - 3:,} more" if len(ids) > 3 else "")
            + "\n`royalty platform accept N` accepts a catalogue; --works maps ids to works."
        )
    return "\n\n".join(block for block in blocks if block)


def _works_table(items: Iterable[Item], symbol: str) -> str:
    rows: dict[Any, dict[str, int]] = {}
    for item in items:
        row = rows.setdefault(item.work, dict.fromkeys((*KINDS, "nano", "held"), 0))
        row[item.kind.word] += item.units
        row["nano"] += item.amount_nano
        row["held"] |= bool(item.held)
    if not rows:
        return ""
    dearest = sorted(rows.items(), key=lambda entry: (-entry[1]["nano"], entry[0]))
    shown = [
        (
            work,
            *(f"{row[kind]:,}" for kind in KINDS),
            format_nano(row["nano"]),
            "held" if row["held"] else "",
        )
        for work, row in dearest[:MAX_ROWS]
    ]
    head = ("work", "views", "downloads", "excerpt s", symbol, "")
    more = f"\n... and {counted(len(rows) - MAX_ROWS, 'work')} more" if len(rows) > MAX_ROWS else ""
    return table(head, shown, right=(1, 2, 3, 4)) + more


def _status_text(found: Status, symbol: str) -> str:
    from royalty.days import format_day

    rows = [
        (
            batch.number,
            days_text(batch.since, batch.day),
            batch.state,
            format_nano(batch.total_nano),
            (batch.transaction or "")[:18],
            batch.note,
        )
        for batch in found.batches[-MAX_ROWS:]
    ]
    facts = pairs(
        {
            "platform": found.platform,
            "batches on chain": found.on_chain,
            "in the journal": f"{len(found.batches)}, {len(found.pending)} of them pending",
        }
    )
    blocks = [facts]
    if rows:
        head = ("batch", "day", "state", symbol, "transaction", "note")
        blocks.append(table(head, rows, right=(0, 3)))
    if found.foreign:
        columns = ("batch", "day", "reported by", "transaction")
        taken = [
            (one.batch, format_day(one.day), one.sender, one.transaction[:18] + "…")
            for one in found.foreign[:MAX_ROWS]
        ]
        blocks.append(
            "On chain, and not from this journal: another folder or machine reports for this platform."
            f"\n`royalty usage adopt {found.foreign[0].batch}` takes the first into the account.\n\n"
            + table(columns, taken, right=(0,))
        )
    elif not found.in_step:
        blocks.append(
            "Journal and chain disagree: another folder reports for this platform, or the chain was"
            "\ntaken back; `royalty usage report` says which before it sends anything."
        )
    return "\n\n".join(blocks)
