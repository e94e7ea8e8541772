"""`royalty tally`: usage reported by the root of a tree: posting it, settling it, and proofs of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from royalty.cli.app import noun_app
from royalty.cli.options import (
    COLUMNS,
    FORMAT,
    LOGS,
    MEMORY,
    POLICY,
    SEPARATOR,
    WORKS,
    Run,
    command,
    cost_text,
)
from royalty.cli.output import clean, pairs, progress, table
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
    counting,
    send_report,
)
from royalty.client import DryRun
from royalty.errors import InputError
from royalty.money import counted, format_nano, format_wei

if TYPE_CHECKING:
    from royalty.chain.sender import Plan
    from royalty.posted import PostedTally
    from royalty.rebuilding import Rebuilt
    from royalty.settlement import Settled, SettlePlan
    from royalty.tallies import LeafLine, Shown, Verified
    from royalty.tallyproof import Proof

MAX_ROWS = 40

BATCH = Annotated[int, typer.Argument(metavar="BATCH", min=1, help="The tally's batch.")]
SOME_BATCH = Annotated[
    int | None, typer.Argument(metavar="[BATCH]", min=1, help="One tally; none: all.")
]
PLATFORM = Annotated[
    str | None,
    typer.Option("--platform", metavar="ADDRESS", help="Whose tally; default the account's own."),
]
DATA = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="PATH", help="A copy of its data, or a folder of copies; default our own."
    ),
]
FETCH = Annotated[
    bool, typer.Option("--fetch", help="Fetch the data from the https address that was posted.")
]
LEAF = Annotated[
    list[int] | None, typer.Option("--leaf", metavar="N", help="This leaf; several times.")
]
WORK_OPTION = Annotated[
    str | None, typer.Option("--work", metavar="N/I", help="The leaves that hold a work, as 12/3.")
]
MINE = Annotated[
    bool, typer.Option("--mine", help="Leaves of deals that the account shares in or produces.")
]
ALL = Annotated[bool, typer.Option("--all", help="Every leaf.")]
WORTH_GAS = Annotated[
    bool, typer.Option("--worth-gas", help="Leaves that bring more than they cost now.")
]
COIN_PRICE = Annotated[
    str | None,
    typer.Option(
        "--coin-price", metavar="TOKENS", help="What one coin of the chain costs in tokens."
    ),
]
WORK = Annotated[str, typer.Argument(metavar="WORK", help="The work, written 12/3.")]
OF_BATCH = Annotated[
    int, typer.Option("--batch", metavar="N", min=1, help="The tally's batch.", show_default=False)
]
OUT = Annotated[
    str | None, typer.Option("--out", metavar="FILE", help="Write the proof there, not to stdout.")
]
OUT_DATA = Annotated[
    str | None, typer.Option("--out", metavar="FILE", help="Write the tally's data there.")
]
PROOF = Annotated[str, typer.Argument(metavar="PROOF", help="The proof's file.")]
ROOT = Annotated[
    str | None, typer.Option("--root", metavar="HEX", help="The root, where no chain is asked.")
]
TOTAL = Annotated[
    str | None,
    typer.Option("--total", metavar="NANO", help="The total in nano-tokens, with --root."),
]

tally = noun_app("Usage reported by the root of a tree: post it, settle it, prove it.")


def register(app: typer.Typer) -> None:
    """Add the noun to the program."""
    app.add_typer(tally, name="tally")


@tally.callback()
def _tally() -> None:
    """Usage reported by the root of a tree: post it, settle it, prove it."""


@command(tally)
def show(
    run: Run,
    batch: SOME_BATCH = None,
    platform: PLATFORM = None,
    data: DATA = None,
    fetch: FETCH = False,
) -> None:
    """Show the tallies that were posted, or one of them with its leaves where its data is at hand.

    Without --platform the account's own; where it has none, everybody's. The data is a file that
    anybody may keep: its tree is rebuilt, and refused (2) where it leads to another root than the
    chain's. Exit 1 where leaves turned out void.
    """
    from royalty import posted, tallies

    run.platform = platform
    if batch is None:
        if data is not None or fetch:
            raise InputError("name the batch whose data this is: royalty tally show BATCH")
        found = posted.listing(run.royalty)
        document = {"tallies": [one.document() for one in found]}
        void = any(one.void_leaves for one in found)
        run.emit(document, lambda: _listing_text(found), findings=void)
        return
    shown = tallies.show(run.royalty, batch, data=data, fetch=fetch)
    symbol = run.royalty.token.symbol
    run.emit(
        shown.document(),
        lambda: "\n".join(_show_text(shown, symbol)),
        findings=shown.tally.void_leaves > 0,
    )


@command(tally, sends=True)
def post(
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
    publish: PUBLISH = None,
    uri: URI = None,
    settle: SETTLE = True,
    confirmations: CONFIRMATIONS = None,
    max_fee: MAX_FEE = None,
    deadline: DEADLINE = None,
) -> None:
    """Report the usage of several days as one tally: `usage report --as tally`, with the same options.

    Debits all of it at once, then settles its leaves unless --no-settle. Exit 1 where something is held,
    void, or was reported too much; exit 3 before anything is sent where money or limit are short.
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
        publish=publish,
        uri=uri,
        settle=settle,
        confirmations=confirmations,
        max_fee=max_fee,
        deadline=deadline,
        as_="tally",
    )


@command(tally, sends=True)
def settle(
    run: Run,
    batch: BATCH,
    leaf: LEAF = None,
    work: WORK_OPTION = None,
    mine: MINE = False,
    all_: ALL = False,
    worth_gas: WORTH_GAS = False,
    coin_price: COIN_PRICE = None,
    platform: PLATFORM = None,
    data: DATA = None,
    fetch: FETCH = False,
) -> None:
    """Pay leaves of a tally into their deals, chosen in one way; run it again at will.

    Anybody may, for anybody, with any copy of the data; whoever settles pays the gas. Neighbours go
    together in as few transactions as fit. What somebody else settles meanwhile is skipped and
    shown. --worth-gas needs the price of a coin: --coin-price, ROYALTY_COIN_PRICE, or coin_price in
    royalty.toml. Exit 1 where a leaf is void: its money goes back to the platform.
    """
    from royalty import settlement

    run.platform = platform
    planned = settlement.prepare(
        run.royalty,
        batch,
        leaves=leaf,
        work=work,
        mine=mine,
        all=all_,
        worth_gas=worth_gas,
        coin_price=coin_price,
        data=data,
        fetch=fetch,
    )
    symbol = run.royalty.token.symbol
    done = settlement.Settled(planned)
    try:
        with progress("settling", len(planned.chosen)) as advance:
            settlement.carry_out(run.royalty, planned, done, advance)
    except DryRun as end:
        _show_plan(run, planned, done, end.plans, symbol)
        return
    finally:
        run.partial = done.document()
    run.emit(
        done.document(), lambda: "\n".join(_settled_text(done, symbol)), findings=done.findings
    )


@command(tally)
def prove(
    run: Run,
    work: WORK,
    batch: OF_BATCH,
    out: OUT = None,
    platform: PLATFORM = None,
    data: DATA = None,
    fetch: FETCH = False,
) -> None:
    """Write the proof of a work's usage in a tally: a file that `tally verify` checks without our data.

    It holds the leaves with the work, whole, and their place in the tree: what else is in these
    leaves shows too.
    """
    from royalty import tallies
    from royalty.files import write_whole

    run.platform = platform
    made = tallies.prove(run.royalty, work, batch, data=data, fetch=fetch)
    if out is not None:
        write_whole(Path(out), made.to_bytes())
        document = {"proof": out, "leaves": len(made.holding), "amount_nano": made.amount_nano}
        run.emit(document, lambda: _proof_text(made, out, run.royalty.token.symbol))
        return
    sys.stdout.write(made.to_bytes().decode())


@command(tally)
def verify(run: Run, proof: PROOF, root: ROOT = None, total: TOTAL = None) -> None:
    """Check a proof of a work's usage: against its ledger on chain, or a root and total that are given.

    Rebuilds the leaf from its bytes, compares the rows shown, climbs to the root. With --root and
    --total nothing is asked of a node, and nothing is said of chain, ledger, platform, batch and
    day. Exit 1 where something in it is not so, 2 where it is no proof.
    """
    from royalty import tallies

    if total is not None and not (total.isascii() and total.isdigit() and len(total) <= 30):
        raise InputError("--total is a number of nano-tokens: write digits")
    offline = root is not None or total is not None
    found = tallies.verify(
        None if offline else run.royalty,
        proof,
        root=root,
        total_nano=None if total is None else int(total),
    )
    run.emit(found.document(), lambda: "\n".join(_verify_text(found)), findings=not found.ok)


@command(tally)
def rebuild(
    run: Run,
    batch: BATCH,
    logs: LOGS,
    since: SINCE = None,
    until: UNTIL = None,
    day: DAY = None,
    works: WORKS = None,
    columns: COLUMNS = None,
    policy: POLICY = None,
    separator: SEPARATOR = None,
    format: FORMAT = None,
    memory: MEMORY = None,
    platform: PLATFORM = None,
    out: OUT_DATA = None,
) -> None:
    """Rebuild a tally's tree from the log, and compare it with the root on chain; nobody's copy is needed.

    Over the days that the tally reports, under the policy that it was counted with. With --out its data
    is written, for `tally settle --data`. Exit 1 where the log leads to another root.
    """
    from royalty import rebuilding

    run.platform = platform
    with counting() as advance:
        made = rebuilding.rebuild(
            run.royalty,
            batch,
            logs,
            out=out,
            progress=advance,
            day=day,
            since=since,
            until=until,
            works=works,
            columns=columns,
            policy=policy,
            separator=separator,
            format=format,
            memory=memory,
        )
    symbol = run.royalty.token.symbol
    run.emit(made.document(), lambda: _rebuilt_text(made, symbol), findings=not made.ok)


# --- text ---


def _rebuilt_text(made: Rebuilt, symbol: str) -> str:
    one = made.tally
    rows = [
        (whose, f"0x{root.hex()}", f"{leaves:,}", format_nano(total))
        for whose, root, leaves, total in (
            ("chain", one.root, one.leaves, one.total_nano),
            ("log", made.root, made.leaves, made.total_nano),
        )
    ]
    said = (
        f"The log leads to the root of tally {one.batch}: what was posted is what it says."
        if made.ok
        else f"The log leads to another tree than tally {one.batch}: other rows, days, policy, or map."
    )
    kept = [] if made.written is None else [f"Its data is written to {made.written}."]
    return "\n".join([table(("", "root", "leaves", symbol), rows, right=(2, 3)), "", said, *kept])


def _listing_text(found: Sequence[PostedTally]) -> str:
    if not found:
        return "No tally was posted."
    head = ("platform", "batch", "day", "leaves", "open", "total", "unsettled", "void")
    rows = [
        (
            one.platform,
            one.batch,
            one.document()["day"],
            f"{one.leaves:,}",
            f"{one.leaves - one.settled_leaves:,}",
            format_nano(one.total_nano),
            format_nano(one.unsettled_nano),
            format_nano(one.void_nano),
        )
        for one in found
    ]
    return table(head, rows, right=range(1, 8))


def _show_text(shown: Shown, symbol: str) -> Iterator[str]:
    from royalty.settlement import void_document

    one = shown.tally
    document = one.document()
    yield pairs(
        {
            "tally": f"{one.batch} of {one.platform}",
            "day": document["day"],
            "leaves": f"{one.leaves:,}, of which {one.settled_leaves:,} settled",
            "total": f"{format_nano(one.total_nano)} {symbol}",
            "paid": f"{format_nano(one.paid_nano)} {symbol}",
            "void": f"{format_nano(one.void_nano)} {symbol}",
            "unsettled": f"{format_nano(one.unsettled_nano)} {symbol}",
            "root": f"0x{one.root.hex()}",
            "evidence": f"0x{one.evidence.hex()}",
            "data": f"0x{one.data_digest.hex()}",
            "address": clean(one.uri, 60) or "-",
        }
    )
    yield ""
    if shown.leaves is None or shown.data is None:
        yield "Its data is not in this folder: name a copy with --data" + (
            ", or take it from the address with --fetch." if one.uri else "."
        )
        return
    yield f"{shown.data.path} rebuilds its root."
    yield _leaves_table(shown.leaves)
    void = [
        void_document(line.index, shown.data.claims[line.index], line.reason)
        for line in shown.leaves
        if line.state == "void"
    ]
    yield from _void_text(void, "is void", symbol)


def _leaves_table(leaves: Sequence[LeafLine]) -> str:
    head = ("leaf", "deal", "days", "views", "downl.", "seconds", "amount", "state")
    rows = []
    for line in leaves[:MAX_ROWS]:
        one = line.document()
        days = (
            one["since"] if one["since"] == one["until"] else f"{one['since']}–{one['until'][5:]}"
        )
        units = one["units"]
        rows.append(
            (
                one["leaf"],
                f"{one['catalogue']} v{one['version']}",
                days,
                units["view"],
                units["download"],
                units["excerpt"],
                format_nano(line.amount_nano),
                line.state,
            )
        )
    more = len(leaves) - MAX_ROWS
    lines = [table(head, rows, right=(0, 3, 4, 5, 6))]
    return "\n".join(lines + [f"... and {more:,} more; --json shows all"] * (more > 0))


def _show_plan(
    run: Run, planned: SettlePlan, done: Settled, plans: Sequence[Plan], symbol: str
) -> None:
    """Print what settling would send, pay and cost; void leaves are findings already."""
    rows = [
        {
            "description": plan.call.description,
            "to": plan.call.to,
            "function": plan.call.function,
            "gas": plan.gas,
            "cost_wei": None if plan.cost_wei is None else str(plan.cost_wei),
        }
        for plan in plans
    ]
    document = {
        **planned.document(),
        "too_large": done.too_large,
        "dry_run": True,
        "transactions": rows,
        "cost_wei": str(sum(plan.cost_wei or 0 for plan in plans)),
    }
    lines = [f"would {plan.call.description} ({cost_text(plan)})" for plan in plans]
    lines = lines or ["nothing to send: every leaf that was chosen is settled"]
    if planned.unworthy:
        lines.append(
            f"{counted(planned.unworthy, 'leaf', 'leaves')} would cost more than it brings."
        )
    text = "\n".join([*lines, *_void_text(document["voided"], "would be void", symbol)])
    run.emit(document, text, findings=bool(planned.faults or done.too_large))


def _settled_text(done: Settled, symbol: str) -> Iterator[str]:
    if done.transactions:
        yield (
            f"Settled {counted(len(done.paid), 'leaf', 'leaves')} with {format_nano(done.paid_nano)}"
            f" {symbol} in {counted(len(done.transactions), 'transaction')}: {done.gas:,} gas,"
            f" {format_wei(done.cost_wei)} of the chain's coin."
        )
    else:
        yield "Nothing was settled."
    if done.plan.already:
        yield f"{counted(len(done.plan.already), 'leaf', 'leaves')} had been settled before."
    if done.meanwhile:
        yield f"{counted(len(done.meanwhile), 'leaf', 'leaves')} settled by somebody else meanwhile."
    if done.plan.unworthy:
        yield f"{counted(done.plan.unworthy, 'leaf', 'leaves')} would cost more than it brings."
    for index in done.too_large:
        yield f"Leaf {index} fits no transaction of this chain."
    yield from _void_text(done.void, "is void", symbol)


def _void_text(void: Sequence[dict[str, Any]], state: str, symbol: str) -> Iterator[str]:
    for one in void[:MAX_ROWS]:
        yield (
            f"Leaf {one['leaf']} (catalogue {one['catalogue']}, version {one['version']}) {state}:"
            f" {one['reason']}; {format_nano(one['amount_nano'])} {symbol} go back to the platform."
        )
    if len(void) > MAX_ROWS:
        yield f"... and {len(void) - MAX_ROWS:,} more; --json shows all"


def _proof_text(made: Proof, out: str, symbol: str) -> str:
    return (
        f"{out} proves {format_nano(made.amount_nano)} {symbol} of work {made.work} in"
        f" {counted(len(made.holding), 'leaf', 'leaves')} of tally {made.batch}."
    )


def _verify_text(found: Verified) -> Iterator[str]:
    proof = found.proof
    if not found.ok:
        yield "This is not so:"
        for fault in found.faults[:MAX_ROWS]:
            yield f"  {fault.what}: {fault.found}, expected {fault.expected}"
        return
    if found.on_chain:
        yield (
            f"Tally {proof.batch} of platform {proof.platform}, as ledger {proof.contract} on chain"
            f" {proof.chain_id} has it, commits to this usage of work {proof.work}:"
        )
    else:
        yield f"The root that was given commits to this usage of work {proof.work}:"
    rows = [
        (leaf.index, one["day"], one["kind"], one["units"], format_nano(int(one["amount_nano"])))
        for leaf in proof.holding
        for one in (row.document() for row in leaf.rows)
    ]
    yield table(("leaf", "day", "kind", "units", "amount"), rows, right=(0, 3, 4))
    yield f"Together {format_nano(proof.amount_nano)} tokens."
    for leaf in proof.holding:
        if found.on_chain:
            state = found.state(leaf.index)
            paid = "is settled: its money has reached the deal" if state == "settled" else state
            yield f"Leaf {leaf.index} {paid if state == 'settled' else 'is open: anybody can settle it'}."
    yield "That no other leaf holds the work, a proof cannot say: the tally's data can."
    if not found.on_chain:
        yield "Chain, ledger, platform, batch and day of the file were compared with nothing."
