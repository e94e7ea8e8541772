"""`royalty audit`: what anybody can check of the ledger, of evidence, and of single plays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from royalty.cli.app import noun_app
from royalty.cli.options import COLUMNS, FORMAT, LOGS, POLICY, SEPARATOR, WORKS, Run, command
from royalty.cli.output import clean, pairs, progress, table
from royalty.days import format_day
from royalty.errors import InputError
from royalty.money import counted, format_nano

if TYPE_CHECKING:
    from royalty.audit import Solvency, Waiting
    from royalty.chain.code import CodeCheck
    from royalty.samples import Sample, Traced
    from royalty.seeds import SeedCheck
    from royalty.traces import Trace
    from royalty.verification import Verification

WHAT = Annotated[
    str, typer.Argument(metavar="WORK|HOLDER|BATCH", help="12/3, an address or name, or a number.")
]
OF_PLATFORM = Annotated[
    str | None, typer.Option("--platform", metavar="ADDRESS", help="Usage of one platform alone.")
]
TOKEN = Annotated[
    str | None,
    typer.Option("--token", metavar="ADDRESS", help="The token to expect; default the ledger's."),
]
FOLDER = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="What `usage report --evidence` wrote.")
]
SOME_LOGS = Annotated[
    list[str] | None,
    typer.Argument(metavar="LOG...", help="The logs that were counted: files or globs."),
]
PLATFORM = Annotated[
    str | None,
    typer.Option("--platform", metavar="ADDRESS", help="Whose batches; default the only one."),
]
SINCE = Annotated[str | None, typer.Option("--since", metavar="DAY", help="From this UTC day on.")]
UNTIL = Annotated[str | None, typer.Option("--until", metavar="DAY", help="Up to this UTC day.")]

EVIDENCE = Annotated[
    Path | None,
    typer.Option(
        "--evidence", metavar="DIR", help="What `usage report --evidence` wrote; data of tallies."
    ),
]
FIRST = Annotated[str, typer.Option("--since", metavar="DAY", help="First UTC day, inclusive.")]
LAST = Annotated[str, typer.Option("--until", metavar="DAY", help="Last UTC day, inclusive.")]
NUMBER = Annotated[int, typer.Argument(metavar="N", help="How many rows to draw.")]
SEED = Annotated[
    str, typer.Option("--seed", metavar="TEXT", help="What decides which; the same draws the same.")
]
CSV = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the rows as CSV.")]
PLAN = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Write a plan of plays to this file.")
]
CHECK = Annotated[
    Path | None, typer.Option("--check", metavar="FILE", help="Look for the plays of this file.")
]
PLAYED = Annotated[
    list[str] | None,
    typer.Option("--work", metavar="ID", help="A work to play, by reference or id; repeatable."),
]
PLAYS = Annotated[int, typer.Option("--plays", metavar="N", help="How many plays to plan.")]
KIND = Annotated[str, typer.Option("--kind", metavar="KIND", help="view, download or excerpt.")]
WATCHED = Annotated[
    str, typer.Option("--watched", metavar="SECONDS", help="How long each play is watched.")
]
DURATION = Annotated[
    str | None, typer.Option("--duration", metavar="SECONDS", help="How long the works are.")
]
SECRET = Annotated[
    str | None,
    typer.Option(
        "--seed", metavar="TEXT", help="What decides days and times; default a fresh one."
    ),
]
WITHIN = Annotated[
    int,
    typer.Option(
        "--within", metavar="SECONDS", help="Find plays by work and start too, so far off at most."
    ),
]

SHOWN = 40


def register(app: typer.Typer) -> None:
    """Add the noun to the program."""
    noun = noun_app("Check the ledger, evidence and single plays.")
    app.add_typer(noun, name="audit")

    @noun.callback()
    def _noun() -> None:
        """Check the ledger, evidence and single plays."""

    @command(noun)
    def solvency(run: Run) -> None:
        """Compare the tokens that the ledger holds with all that it owes, at one block.

        What it owes is platforms' funds, what tallies hold that nobody has settled, what deals have
        accrued and holders' balances; each figure is recomputed from events alone too. Unsettled
        money is listed by age. Ends with exit code 1 where the ledger holds too little, or its state
        and its events differ.
        """
        from royalty.audit import solvency as audit

        found = audit(run.royalty)
        run.emit(
            found.document(),
            lambda: "\n".join(_text(found, run.royalty.token.symbol)),
            findings=not found.ok,
        )

    @command(noun)
    def code(run: Run, token: TOKEN = None) -> None:
        """Compare the code at the ledger's address with this package's, every byte of it.

        Values that the code carries (token, decimals, its own address, chain, signing domain) are
        computed and compared too. Names the version of the package whose code it is. Ends with exit
        code 1 where it is another code, or carries another value.
        """
        found = run.royalty.audit.code(token)
        run.emit(found.document(), lambda: "\n".join(_code_text(found)), findings=not found.same)

    @command(noun)
    def evidence(
        run: Run,
        folder: FOLDER,
        logs: SOME_LOGS = None,
        platform: PLATFORM = None,
        since: SINCE = None,
        until: UNTIL = None,
        separator: SEPARATOR = None,
    ) -> None:
        """Say whether evidence is what the batches of a platform committed to.

        For each batch: its manifest against the digest on chain, the documents that it names, its logs
        by SHA-256 and rows, its counts made again under its own rules, a tally's data against the
        root, and whether another batch carries the digest. Without logs these and the counts are not
        looked at. Ends with exit code 1 where anything does not hold.
        """
        from royalty.verification import evidence as verify

        with progress("counting again"):
            found = verify(
                run.royalty,
                folder,
                logs or None,
                platform=platform,
                since=since,
                until=until,
                separator=separator,
            )
        run.emit(
            found.document(),
            lambda: "\n".join(_evidence_text(found)),
            findings=bool(found.flaws),
        )

    @command(noun)
    def seed(
        run: Run,
        logs: SOME_LOGS = None,
        out: PLAN = None,
        check: CHECK = None,
        work: PLAYED = None,
        since: SINCE = None,
        until: UNTIL = None,
        plays: PLAYS = 20,
        kind: KIND = "view",
        watched: WATCHED = "60",
        duration: DURATION = None,
        seed: SECRET = None,
        works: WORKS = None,
        columns: COLUMNS = None,
        policy: POLICY = None,
        separator: SEPARATOR = None,
        format: FORMAT = None,
        platform: PLATFORM = None,
        evidence: EVIDENCE = None,
        within: WITHIN = 0,
        csv: CSV = None,
    ) -> None:
        """Plan plays to perform at a platform (--out), and look for them afterwards (--check).

        A plan is a native log: play what it says, write down in it what was done otherwise, keep it
        and its seed to yourself. --check says of each play whether the log has it, whether it counts
        there, and whether the chain has what the log has of its work, day and kind. Without a log it
        can only say whether the chain has room for it. Ends with exit code 1 where a play is not
        where it should be.
        """
        if (out is None) == (check is None):
            raise InputError("give either --out, to plan plays, or --check, to look for them")
        if out is not None:
            _plan(run, out, work, since, until, plays, kind, watched, duration, seed, policy)
            return
        from royalty.seeds import check as look

        assert check is not None
        with progress("looking for the plays"):
            found = look(
                run.royalty,
                check,
                logs or None,
                works=works,
                columns=columns,
                policy=policy,
                separator=separator,
                format=format,
                platform=platform,
                evidence=evidence,
                within=within,
            )
        if csv is not None:
            found.table().to_csv(csv)
        run.emit(found.document(), lambda: "\n".join(_seed_text(found)), findings=found.findings)

    @command(noun)
    def sample(
        run: Run,
        number: NUMBER,
        logs: LOGS,
        seed: SEED,
        since: FIRST,
        until: LAST,
        works: WORKS = None,
        columns: COLUMNS = None,
        policy: POLICY = None,
        separator: SEPARATOR = None,
        format: FORMAT = None,
        platform: PLATFORM = None,
        evidence: EVIDENCE = None,
        csv: CSV = None,
    ) -> None:
        """Draw rows that count by a stated seed, and trace each to its payout.

        Drawn are the rows with the smallest SHA-256 of `SEED|usage_id`: whoever has the log draws the
        same. Of each: what every rule and step of the policy saw, its units, the deal and price of its
        day, the batches that hold its work, day and kind, the allocation that divided it, each holder's
        share and the transfer that took it. Ends with exit code 1 where log and chain differ on a row's
        cell, or the policy holds units of it.
        """
        from royalty.samples import sample as draw

        with progress("drawing"):
            found = draw(
                run.royalty,
                number,
                logs,
                seed=seed,
                since=since,
                until=until,
                works=works,
                columns=columns,
                policy=policy,
                separator=separator,
                format=format,
                platform=platform,
                evidence=evidence,
            )
        if csv is not None:
            found.table().to_csv(csv)
        symbol = run.royalty.token.symbol
        run.emit(
            found.document(),
            lambda: "\n".join(_sample_text(found, symbol)),
            findings=found.findings,
        )

    @command(noun)
    def trace(run: Run, what: WHAT, platform: OF_PLATFORM = None) -> None:
        """Follow money from usage to transfers: of a work, a batch or a holder.

        Usage is recomputed as units times price, what a deal has accrued from it and from payments,
        each allocation from what was accrued, balances from parts and transfers; the ledger's own
        state must say the same. Ends with exit code 1 where it does not.
        """
        from royalty.traces import trace as follow

        found = follow(run.royalty, what, platform=platform)
        symbol = run.royalty.token.symbol
        run.emit(
            found.document(),
            lambda: "\n".join(_trace_text(found, symbol)),
            findings=bool(found.differences),
        )


def _plan(
    run: Run,
    out: Path,
    works: list[str] | None,
    since: str | None,
    until: str | None,
    plays: int,
    kind: str,
    watched: str,
    duration: str | None,
    seed: str | None,
    policy: str | None,
) -> None:
    from royalty.seeds import plan

    if since is None or until is None:
        raise InputError("name the days to play on: both --since and --until")
    made = plan(
        out,
        works or [],
        since=since,
        until=until,
        plays=plays,
        kind=kind,
        watched=watched,
        duration=duration,
        seed=seed,
        policy=policy,
    )
    run.emit(
        made.document(),
        f"wrote {counted(made.plays, 'play')} of {counted(len(made.works), 'work')} to {made.path}\n"
        f"seed {made.seed}; keep both to yourself until the days are reported",
    )


def _seed_text(found: SeedCheck) -> Iterator[str]:
    """Yield how many plays are in each state, then those that are not where they should be."""
    from royalty.seeds import GOOD, STATES, sentence

    yield sentence(found)
    yield ""
    for state, number in found.states().items():
        yield f"{number:>6,}  {state:<16}  {STATES[state]}"
    wrong = [one for one in found.plays if one.state not in GOOD]
    if wrong:
        yield ""
        head = ("play", "work", "day", "kind", "state", "detail")
        rows = [
            (
                one.play.usage_id,
                one.play.work or one.play.written,
                format_day(one.play.day),
                one.play.kind.word,
                one.state,
                one.detail,
            )
            for one in wrong[:SHOWN]
        ]
        yield table(head, rows)
    if len(wrong) > SHOWN:
        yield f"... and {len(wrong) - SHOWN:,} more; --json and --csv have them all"


def _sample_text(found: Sample, symbol: str) -> Iterator[str]:
    """Yield each drawn row with its way to the holders."""
    from royalty.samples import sentence

    yield sentence(found)
    yield f"{len(found.rows):,} of {found.qualified:,} rows, seed {clean(found.seed, 50)}"
    for one in found.rows[:SHOWN]:
        yield ""
        yield from _traced_text(one, symbol)
    if len(found.rows) > SHOWN:
        yield f"... and {len(found.rows) - SHOWN:,} more; --json and --csv have them all"


def _traced_text(one: Traced, symbol: str) -> Iterator[str]:
    from royalty.logs import REASONS

    row = one.row
    yield f"{one.place}. {clean(row.usage_id or 'without an id', 40)}, line {row.line}: {row.started_at}"
    yield f"   {row.work} {row.kind.word}: {one.rules['below_threshold']}"
    yield from (f"   {name}: {said}" for name, said in one.rules.items() if name not in REASONS)
    amount = f"{format_nano(one.amount_nano)} {symbol}"
    yield f"   {counted(row.units, 'unit')} at version {one.version}: {amount}"
    for reason in one.reasons:
        yield f"   {reason}: log and chain differ on this work, day and kind"
    if one.held_units:
        units = counted(one.held_units, "unit")
        yield f"   spike_hold: {units} of this work, day and kind are held, this one perhaps"
    for step in one.steps:
        credit = step.credit
        leaf = "" if credit.leaf is None else f", leaf {credit.leaf}"
        yield f"   batch {credit.batch}{leaf} has {counted(credit.units, 'unit')}: {credit.transaction}"
        if step.allocation is None:
            yield "   accrued in the deal; nobody has allocated it yet"
            continue
        for part in step.allocation.parts:
            sent = "in the balance" if part.transfer is None else part.transfer.transaction
            yield f"     {part.holder} {part.of(one.amount_nano)}: {sent}"


def _trace_text(found: Trace, symbol: str) -> Iterator[str]:
    """Yield usage, deals, holders and transfers, each with its sums."""
    from royalty.traces import sentence

    yield sentence(found)
    yield f"{found.what} {found.of} at block {found.block}"
    if found.credits:
        yield ""
        head = ("batch", "day", "work", "kind", "units", "price", "amount")
        rows = [
            (
                one.batch if one.leaf is None else f"{one.batch}, leaf {one.leaf}",
                format_day(one.cell.day),
                one.cell.work,
                one.cell.kind.word,
                f"{one.units:,}",
                format_nano(one.price_nano),
                format_nano(one.amount_nano),
            )
            for one in found.credits[:SHOWN]
        ]
        yield table(head, rows, right=(4, 5, 6))
        if len(found.credits) > SHOWN:
            yield f"... and {len(found.credits) - SHOWN:,} more; --json has them all"
        yield f"usage is worth {format_nano(found.amount_nano)} {symbol}"
    for deal in found.deals:
        yield ""
        yield (
            f"catalogue {deal.catalogue} version {deal.version}: {format_nano(deal.usage_nano)} of usage +"
            f" {format_nano(deal.payments_nano)} paid in = {format_nano(deal.allocated_nano)} allocated +"
            f" {format_nano(deal.accrued_nano)} accrued"
        )
    for holder in found.holders:
        yield ""
        yield (
            f"{holder.holder}: {format_nano(holder.credited_nano)} credited ="
            f" {format_nano(holder.withdrawn_nano)} sent + {format_nano(holder.balance_nano)} in the balance"
        )
        for one in holder.transfers[:SHOWN]:
            yield f"  {format_nano(one['amount_nano'])} in {one['transaction']}"
    for wrong in found.differences[:SHOWN]:
        state, events = format_nano(wrong.state_nano), format_nano(wrong.events_nano)
        yield f"{wrong.what} of {wrong.whom}: {state}, by the events {events}"


def _code_text(found: CodeCheck) -> Iterator[str]:
    if found.same:
        yield f"The code at {found.address} is that of royalty {found.version}."
    else:
        yield f"The code at {found.address} is NOT that of royalty {found.version}."
    yield ""
    yield pairs(
        {
            "compiler": found.compiler,
            "bytes": f"{found.size:,} of {found.expected_size:,}",
            "SHA-256": found.code_sha256,
            "address": "the one that this code and token give"
            if found.deterministic
            else "not the one that this code and token give with CREATE2",
        }
    )
    for immutable in found.immutables:
        if not immutable.right:
            yield f"{immutable.name} is {', '.join(immutable.found)}, not {immutable.expected}"
    if found.differs_at:
        yield f"other bytes from byte {found.differs_at[0]:,} on"


def _evidence_text(found: Verification) -> Iterator[str]:
    """Yield what the evidence is worth, batch by batch, then each flaw."""
    from royalty.verification import WHAT, sentence

    yield sentence(found)
    yield ""
    head = ("batch", "up to", "as", "logs", "counted again", "flaws")
    rows = [
        (
            one.batch.batch,
            format_day(one.batch.day),
            "report" if one.batch.tally is None else "tally",
            f"{one.at_hand} of {one.sources}" if found.logs_given else f"{one.sources}, not given",
            "no" if one.recounted is None else "yes",
            one.flaws or "",
        )
        for one in found.batches[:SHOWN]
    ]
    yield table(head, rows, right=(0, 5))
    if len(found.batches) > SHOWN:
        yield f"... and {len(found.batches) - SHOWN:,} more; --json has them all"
    for flaw in found.flaws[:SHOWN]:
        yield ""
        yield f"batch {flaw.batch}: {WHAT[flaw.what]} ({flaw.reason.value})"
        shown = {"of": flaw.name, "expected": flaw.expected, "found": flaw.found}
        for word, text in shown.items():
            if text is not None:
                yield f"  {word:<8}  {clean(text, 68)}"
    if len(found.flaws) > SHOWN:
        yield f"... and {len(found.flaws) - SHOWN:,} more; --json has them all"
    for path in found.unnamed:
        yield f"{clean(path, 50)} is named by no manifest"


def _text(found: Solvency, symbol: str) -> Iterator[str]:
    from royalty.audit import sentence

    document = found.document()
    yield sentence(found, symbol)
    yield ""
    owed = {
        "held": "held_nano",
        f"owed to {counted(document['platforms'], 'platform')}": "funds_nano",
        f"unsettled in {counted(document['tallies'], 'tally', 'tallies')}": "unsettled_nano",
        f"accrued in {counted(document['deals'], 'deal')}": "accrued_nano",
        f"balances of {counted(document['holders'], 'holder')}": "balances_nano",
        "surplus": "surplus_nano",
    }
    yield pairs({name: f"{format_nano(document[key])} {symbol}" for name, key in owed.items()})
    yield f"(at block {found.block}; every figure recomputed from events alone)"
    if found.waiting:
        yield ""
        yield from _waiting(found.waiting)
    if found.differences:
        yield ""
        head = ("what", "of", "state", "events")
        rows = [
            (d.what, d.whom, format_nano(d.state_nano), format_nano(d.events_nano))
            for d in found.differences[:SHOWN]
        ]
        yield table(head, rows, right=(2, 3))


def _waiting(found: Sequence[Waiting]) -> Iterator[str]:
    """Yield the tallies that hold unsettled money, oldest first."""
    head = ("posted", "platform", "tally", "up to", "leaves", "unsettled")
    rows = [
        (
            f"{counted(one.age_days, 'day')} ago",
            one.platform,
            one.batch,
            format_day(one.day),
            f"{one.leaves:,}",
            format_nano(one.unsettled_nano),
        )
        for one in found[:SHOWN]
    ]
    yield table(head, rows, right=(2, 4, 5))
    if len(found) > SHOWN:
        yield f"... and {len(found) - SHOWN:,} more; --json has them all"
