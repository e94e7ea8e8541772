"""A reconciliation as one page, in an auditor's order: the answer, what it consists of, how to check it.

Every figure stands in a `data` element whose value is the exact integer (nano-tokens where it is money).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from royalty.breakdown import DayRow, Sum, WorkRow, largest
from royalty.days import format_day
from royalty.findings import MEANING, Finding, Reason, sentence, shortfall_percent, summary
from royalty.heldback import MEANING as HELD_MEANING
from royalty.heldback import NAME as HELD_NAME
from royalty.heldback import HeldBack, most_held
from royalty.money import counted, format_nano
from royalty.pages import charts
from royalty.pages.markup import Child, Html, document, element, foreign, join, plain
from royalty.pages.style import STYLE
from royalty.pages.words import ADVICE, HELD_ADVICE, rule_of
from royalty.usage import Kind

if TYPE_CHECKING:
    from royalty.reconcile import Reconciliation

FINDINGS_SHOWN = 20  # of each reason, those of the largest difference; and of what is held
WORKS_SHOWN = 15
DAYS_SHOWN = 62  # a longer period is shown by month
FILES_SHOWN = 50
BATCHES_SHOWN = 50
NOTES_SHOWN = 20
SHORT = 8  # rows of a table that a printed page does not break
KINDS = {"view": "Views", "download": "Downloads", "excerpt": "Excerpt seconds"}
UNITS = {"view": "view", "download": "download", "excerpt": "excerpt second"}
SECTIONS = {
    "totals": "Totals",
    "findings": "Findings",
    "days": "By day",
    "works": "By work",
    "rows": "Rows of the log",
    "method": "Method",
    "digests": "Digests",
    "again": "Do it again",
}


def reconciliation_page(found: Reconciliation) -> str:
    """Return the page, the same for the same findings; it loads nothing and runs nothing."""
    parts = (_totals, _findings, _days, _works, _rows, _method, _digests, _again)
    sections = [
        element("section", element("h2", title), *part(found), id=name)
        for (name, title), part in zip(SECTIONS.items(), parts, strict=True)
    ]
    body = join(
        [
            element("header", *_head(found)),
            element("main", *sections),
            element("footer", *_foot()),
        ]
    )
    return document(f"Reconciliation, {_days_of(found)}", STYLE, body)


# --- figures ---


def number(value: int, field: str | None = None) -> Html:
    """Return a count with its exact value beside it."""
    return element("data", f"{value:,}", value=value, data_field=field)


def money(nano: int, field: str | None = None) -> Html:
    """Return an amount of tokens; the value beside it is nano-tokens."""
    return element("data", format_nano(nano), value=nano, data_field=field)


def _aligned(nano: int, places: int) -> Html:
    """Return an amount in a column whose points stand below each other, filled with blanks of a digit."""
    fraction = format_nano(nano).partition(".")[2]
    blank = "\u2007" * (places - len(fraction)) + ("\u2008" if places and not fraction else "")
    return join([money(nano), blank])


def _places(amounts: Iterable[int]) -> int:
    return max((len(format_nano(nano).partition(".")[2]) for nano in amounts), default=0)


def _percent(part: int, whole: int) -> str:
    share = shortfall_percent(whole, whole - part)
    return "" if share is None else f"{share} %"


# --- tables ---


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its head, and the class of its cells."""

    head: str
    kind: str | None = None


def _table(
    caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Child]], last: bool = False
) -> Html:
    """Return a table that scrolls by itself where it is too wide; each row's first cell is its head.

    With `last` the last row is the sum of those before.
    """
    head = [element("th", one.head, scope="col", class_=one.kind) for one in columns]
    body = [
        element(
            "tr",
            *(
                element("td", cell, class_=one.kind)
                if at
                else element("th", cell, scope="row", class_=one.kind)
                for at, (one, cell) in enumerate(zip(columns, row, strict=True))
            ),
        )
        for row in rows
    ]
    foot = element("tfoot", body.pop()) if last and body else None
    table = element(
        "table",
        element("caption", element("span", caption)),
        element("thead", element("tr", *head)),
        element("tbody", *body),
        foot,
    )
    kind = "wide" if len(body) > SHORT else "wide short"
    return element("div", table, class_=kind, role="region", tabindex=0, aria_label=caption)


def _folded(summary_: str, *children: Child) -> Html:
    return element("details", element("summary", summary_), *children)


# --- the answer ---


def _days_of(found: Reconciliation) -> str:
    since, until = format_day(found.period.since), format_day(found.period.until)
    return since if since == until else f"{since} to {until}"


def _token(found: Reconciliation) -> str:
    return plain(found.basis.token, 16)


def _head(found: Reconciliation) -> Iterator[Child]:
    links = [
        element("li", element("a", title, href=f"#{name}")) for name, title in SECTIONS.items()
    ]
    yield element("h1", "Reconciliation of a view log with the chain")
    yield element(
        "p",
        f"{_days_of(found)} (UTC), platform ",
        element("code", found.platform),
        f", at block {found.block:,} of chain {found.basis.chain_id}",
        class_="where",
    )
    good = not found.findings and found.solvent
    yield element(
        "div",
        element("p", _verdict(found), class_="verdict"),
        element("p", *_answer(found)),
        element("p", _commands(_proof(found))),
        class_="answer good" if good else "answer bad",
    )
    yield element("nav", element("ul", *links), aria_label="Sections")


def _verdict(found: Reconciliation) -> str:
    many = len(found.findings)
    said = sentence(found.difference_nano, many, _token(found))
    if many and not found.difference_nano:
        said = f"{counted(many, 'finding')}, though the totals agree."
    elif many:
        said = f"{counted(many, 'finding')}. {said}"
    return said if found.solvent else f"{said} The ledger cannot pay everybody."


def _answer(found: Reconciliation) -> Iterator[Child]:
    token = _token(found)
    units = [counted(n, UNITS[kind]) for kind, n in found.units_logged.items() if n]
    yield "The log holds "
    yield f"{', '.join(units)} that {_due(found)}" if units else f"nothing that {_due(found, 's')}"
    yield ", worth "
    yield money(found.logged_nano)
    yield f" {token}; the chain credited "
    yield money(found.credited_nano)
    yield f" {token}; the difference is "
    yield money(found.difference_nano)
    percent = found.shortfall_percent
    over = "above" if found.over_threshold else "not above"
    if percent is not None:
        yield f" {token}, a shortfall of {percent} %, {over} the threshold of {found.basis.threshold} %"
    if found.held:
        yield ". Apart from that the policy holds "
        yield money(found.held_amount_nano)
        yield f" {token} until a person has looked, which is no difference"
    yield ". The ledger is "
    yield (
        element("strong", "solvent", class_="yes")
        if found.solvent
        else element("strong", "not solvent", class_="no")
    )
    yield (
        ": it holds " + ("at least" if found.solvent else "less than") + " what it owes everybody."
    )


def _due(found: Reconciliation, ending: str = "") -> str:
    """Return what is said of units: where some that qualify are held, the others are due."""
    return (
        ("is due" if ending else "are due") if found.held else f"qualif{'ies' if ending else 'y'}"
    )


def _proof(found: Reconciliation) -> str:
    """Return in a sentence what evidence says: whether this is the log that the platform counted."""
    batches = len(found.basis.batches)
    if not found.basis.evidence:
        return (
            "No evidence was given: nothing here shows whether the platform counted this log."
            " `--evidence DIR` compares what its batches committed to."
        )
    wrong = len({row.batch for row in found.findings if row.reason is Reason.EVIDENCE_MISMATCH})
    if wrong:
        return f"The evidence of {counted(wrong, 'batch', 'batches')} is not what was committed to."
    if not batches:
        return "No batch holds usage of these days, so there was no evidence to compare."
    return (
        f"The evidence of {counted(batches, 'batch', 'batches')} is what was committed to on chain,"
        " and it names this log and this policy."
    )


# --- totals ---


def _totals(found: Reconciliation) -> Iterator[Child]:
    token = _token(found)
    amounts = (found.logged_nano, found.credited_nano, found.difference_nano)
    columns = [
        Column(""),
        Column("In the log", "n"),
        Column("On the chain", "n"),
        Column("Difference", "n"),
    ]
    rows: list[Sequence[Child]] = []
    for kind in Kind:
        logged, chain = found.units_logged[kind.word], found.units_chain[kind.word]
        rows.append(
            (
                KINDS[kind.word],
                number(logged, f"units_logged.{kind.word}"),
                number(chain, f"units_chain.{kind.word}"),
                number(logged - chain),
            )
        )
    names = ("logged_nano", "credited_nano", "difference_nano")
    rows.append(
        (f"Money, {token}", *(money(a, name) for a, name in zip(amounts, names, strict=True)))
    )
    yield _table("Log less chain: a positive difference is owed", columns, rows, last=True)
    percent = found.shortfall_percent
    facts: list[tuple[str, Child]] = [
        *_held_facts(found),
        ("Shortfall", "nothing was logged" if percent is None else f"{percent} %"),
        (
            f"Above the threshold of {found.basis.threshold} %",
            "yes" if found.over_threshold else "no",
        ),
        (
            "Not yet paid out of the deals concerned",
            join([money(found.unpaid_nano, "unpaid_nano"), f" {token}, which is no finding"]),
        ),
        (
            "Ledger solvent",
            "yes"
            if found.solvent
            else _commands("NO: `royalty audit solvency` says what is missing"),
        ),
    ]
    yield _facts(facts)


def _held_facts(found: Reconciliation) -> Iterator[tuple[str, Child]]:
    if found.held:
        kinds = [kind for kind, units in found.units_held.items() if units]
        for kind in kinds:
            held = join(
                [number(found.units_held[kind], f"units_held.{kind}"), ", not in the log's above"]
            )
            yield f"{KINDS[kind]} held", held
        amount = money(found.held_amount_nano, "held_amount_nano")
        yield "Worth of what is held", join([amount, f" {_token(found)}, which is no difference"])


def _facts(facts: Iterable[tuple[str, Child]]) -> Html:
    pairs = (element("div", element("dt", name), element("dd", value)) for name, value in facts)
    return element("dl", *pairs, class_="facts")


# --- findings ---


def _findings(found: Reconciliation) -> Iterator[Child]:
    if not found.findings:
        yield element("p", "None. On every work, day and kind log and chain say the same.")
    titles = {str(row.work): row.title for row in found.works}
    for reason, rows, nano in summary(found.findings):
        members = [row for row in found.findings if row.reason is reason]
        yield element("div", *_reason(reason, rows, nano, members, titles, found), class_="reason")
    if len(found.findings):
        yield element(
            "p",
            number(len(found.findings), "findings"),
            " in all. ",
            _commands(
                "`--out DIR` writes every row, with prices, versions and batches, to `findings.csv` and"
                " `findings.parquet`."
            ),
            class_="soft",
        )
    yield from _held(found, titles)
    yield from _notes(found)


def _held(found: Reconciliation, titles: dict[str, str]) -> Iterator[Child]:
    """Show what the policy keeps back, apart from the findings and in no colour of theirs."""
    if not found.held:
        return
    shown = most_held(found.held, FINDINGS_SHOWN)
    places = _places(one.amount_nano for one in shown)
    columns = [
        Column("Work"),
        Column("Day", "day beside"),
        Column("Kind", "beside"),
        Column("Log", "n"),
        Column("Reported", "n"),
        Column("Held", "n"),
        Column(f"Worth, {_token(found)}", "n"),
    ]
    caption = f"Rows of {HELD_NAME}, those of most money first"
    if len(found.held) > len(shown):
        caption = (
            f"The {len(shown)} rows of most money; {len(found.held) - len(shown):,} more are in held.csv,"
            " which --out DIR writes"
        )
    yield element(
        "div",
        element(
            "h3",
            element("span", "Held, no finding: ", element("code", HELD_NAME)),
            element("span", money(found.held_amount_nano), f" {_token(found)}"),
        ),
        element("p", f"{HELD_MEANING[0].upper()}{HELD_MEANING[1:]}. ", _commands(HELD_ADVICE)),
        _table(caption, columns, (_held_row(one, titles, places) for one in shown)),
        class_="reason",
    )


def _held_row(one: HeldBack, titles: dict[str, str], places: int) -> tuple[Child, ...]:
    day, kind, work = format_day(one.day), one.kind.word, str(one.work)
    return (
        join(
            [
                _work(work, titles.get(work, "")),
                element("span", f"{day} {kind}", class_="title below"),
            ]
        ),
        day,
        kind,
        number(one.logged_units),
        number(one.reported_units),
        number(one.held_units),
        _aligned(one.amount_nano, places),
    )


def _reason(
    reason: Reason,
    rows: int,
    nano: int,
    members: Sequence[Finding],
    titles: dict[str, str],
    found: Reconciliation,
) -> Iterator[Child]:
    priced = any(row.difference_nano is not None for row in members)
    yield element(
        "h3",
        element("span", counted(rows, "finding"), ": ", element("code", reason.value)),
        element("span", money(nano, f"reason.{reason.value}"), f" {_token(found)}")
        if priced
        else None,
    )
    said = MEANING[reason]
    yield element("p", f"{said[0].upper()}{said[1:]}. ", _commands(ADVICE.get(reason, "")))
    shown = largest(members, FINDINGS_SHOWN)
    places = _places(row.difference_nano or 0 for row in shown)
    columns = [
        Column("Batch" if all(row.work is None for row in shown) else "Work"),
        Column("Day", "day beside"),
        Column("Kind", "beside"),
        Column("Log", "n"),
        Column("Chain", "n"),
        Column(f"Difference, {_token(found)}", "n"),
    ]
    caption = f"Rows of {reason.value}, those of the largest difference first"
    if len(members) > len(shown):
        caption = (
            f"The {len(shown)} rows of the largest difference; {len(members) - len(shown):,} more are in"
            " findings.csv, which --out DIR writes"
        )
    yield _table(caption, columns, (_finding(row, titles, places) for row in shown))


def _finding(row: Finding, titles: dict[str, str], places: int) -> tuple[Child, ...]:
    day = "" if row.day is None else format_day(row.day)
    kind = "" if row.kind is None else row.kind.word
    where = " ".join(filter(None, (day, kind)))
    name = f"batch {row.batch}" if row.work is None else _work(row.work, titles.get(row.work, ""))
    return (
        join([name, element("span", where, class_="title below") if where else None]),
        day,
        kind,
        "" if row.logged_units is None else number(row.logged_units),
        "" if row.chain_units is None else number(row.chain_units),
        "" if row.difference_nano is None else _aligned(row.difference_nano, places),
    )


def _work(name: str, title: str, mark: Html | None = None) -> Html:
    said = element("span", foreign(title, 60), class_="title") if title.strip() else None
    return join([foreign(name, 60), mark, said])


def _commands(text: str) -> Html:
    """Return our own text with what stands in backticks as code."""
    pieces = text.split("`")
    return join(element("code", one) if at % 2 else one for at, one in enumerate(pieces))


def _notes(found: Reconciliation) -> Iterator[Child]:
    if found.notes:
        yield element("h3", "Notes")
        shown = [element("li", foreign(note, 300)) for note in found.notes[:NOTES_SHOWN]]
        more = len(found.notes) - len(shown)
        yield element("ul", *shown, class_="notes")
        if more > 0:
            yield element("p", f"{more:,} more notes; the command prints them all.", class_="soft")


# --- charts ---


def _by_month(days: Sequence[DayRow]) -> list[tuple[str, Sum]]:
    months: dict[str, Sum] = {}
    for row in days:
        months.setdefault(format_day(row.day)[:7], Sum()).add(row.sum)
    return list(months.items())


def _days(found: Reconciliation) -> Iterator[Child]:
    long = len(found.days) > DAYS_SHOWN
    rows = _by_month(found.days) if long else [(format_day(row.day), row.sum) for row in found.days]
    what = "month" if long else "day"
    differing = [name for name, total in rows if total.differs]
    token = _token(found)
    yield element(
        "p",
        f"On {len(differing):,} of {counted(len(rows), what)} log and chain differ."
        if differing
        else f"Log and chain agree on each of {counted(len(rows), what)}.",
        f" Shown by month; --json has each of the {len(found.days):,} days." if long else None,
    )
    yield charts.legend()
    shown = [_chart("money", f"Money per {what}, {token}", rows, _amounts, format_nano, what)]
    used = [
        kind for kind in KINDS if any(t.units_logged[kind] or t.units_chain[kind] for _, t in rows)
    ]
    for kind in used:
        title = f"{KINDS[kind]} per {what}"
        shown.append(_chart(kind, title, rows, _units_of(kind), lambda n: f"{n:,}", what))
    yield element("div", *shown, class_="charts")
    yield _folded(f"The same figures as a table, by {what}", _day_table(rows, used, what, token))


Sides = Callable[[Sum], tuple[int, int]]


def _amounts(total: Sum) -> tuple[int, int]:
    return total.logged_nano, total.credited_nano


def _units_of(kind: str) -> Sides:
    return lambda total: (total.units_logged[kind], total.units_chain[kind])


def _chart(
    name: str,
    title: str,
    rows: Sequence[tuple[str, Sum]],
    sides: Sides,
    show: Callable[[int], str],
    what: str,
) -> Html:
    slots = [
        charts.Slot(
            day, day[5:] if what == "day" else day[2:], *sides(total), len(set(sides(total))) > 1
        )
        for day, total in rows
    ]
    most = max(slots, key=lambda slot: max(slot.logged, slot.credited))
    said = (
        f"{rows[0][0]} to {rows[-1][0]}: {show(sum(slot.logged for slot in slots))} in the log,"
        f" {show(sum(slot.credited for slot in slots))} on the chain; most on {most.name}"
        f" ({show(most.logged)} and {show(most.credited)});"
        f" {counted(sum(slot.differs for slot in slots), what)} differ."
        " The table below has each figure."
    )
    chart = charts.columns(f"chart-{name}", title, said, slots, show)
    return element("figure", element("figcaption", title), chart)


def _day_table(
    rows: Sequence[tuple[str, Sum]], kinds: Sequence[str], what: str, token: str
) -> Html:
    columns = [Column(what.capitalize(), "day")]
    for kind in kinds:
        columns += [Column(f"{KINDS[kind]}, log", "n"), Column(f"{KINDS[kind]}, chain", "n")]
    columns += [Column(f"Logged, {token}", "n"), Column("Credited", "n"), Column("Difference", "n")]
    all_ = Sum()
    for _, total in rows:
        all_.add(total)
    every = [*rows, ("All", all_)]
    places = [
        _places(pick(total) for _, total in every) for pick in (_logged, _credited, _difference)
    ]
    return _table(
        f"Units and money per {what}",
        columns,
        (_day_cells(name, total, kinds, places) for name, total in every),
        last=True,
    )


def _logged(total: Sum) -> int:
    return total.logged_nano


def _credited(total: Sum) -> int:
    return total.credited_nano


def _difference(total: Sum) -> int:
    return total.difference_nano


def _day_cells(
    name: str, total: Sum, kinds: Sequence[str], places: Sequence[int]
) -> tuple[Child, ...]:
    units = [
        number(side[kind]) for kind in kinds for side in (total.units_logged, total.units_chain)
    ]
    mark = _mark() if total.differs else None
    return (join([name, mark]), *units, *_three(total, places))


def _three(total: Sum, places: Sequence[int]) -> list[Child]:
    amounts = (total.logged_nano, total.credited_nano, total.difference_nano)
    return [_aligned(nano, most) for nano, most in zip(amounts, places, strict=True)]


def _works(found: Reconciliation) -> Iterator[Child]:
    if not found.works:
        yield element("p", "Neither side has a work in these days.")
        return
    shown = found.works[:WORKS_SHOWN]
    more = len(found.works) - len(shown)
    most = max(max(_amounts(row.sum)) for row in found.works)
    places = [_places(pick(row.sum) for row in shown) for pick in (_logged, _credited, _difference)]
    columns = [
        Column("Work", "barred"),
        Column(f"Logged, {_token(found)}", "n"),
        Column("Credited", "n"),
        Column("Difference", "n"),
    ]
    yield charts.legend()
    caption = f"Money of {counted(len(shown), 'work')}"
    if more:
        caption = (
            f"The {len(shown)} works of most money, of {len(found.works):,}; --json has them all"
        )
    yield _table(caption, columns, (_work_cells(row, most, places) for row in shown))


def _work_cells(row: WorkRow, most: int, places: Sequence[int]) -> tuple[Child, ...]:
    bar = charts.bar(row.sum.logged_nano, row.sum.credited_nano, most)
    mark = _mark() if row.sum.differs else None
    return (join([_work(str(row.work), row.title, mark), bar]), *_three(row.sum, places))


def _mark() -> Html:
    return element("span", " ≠", class_="differs")


def _rows(found: Reconciliation) -> Iterator[Child]:
    yield element(
        "p",
        "Of ",
        number(found.rows, "rows"),
        f" row{'s' * (found.rows != 1)}, ",
        number(found.qualified, "qualified"),
        f" qualified{_of(found.qualified, found.rows)}. Each other row bears the first rule that excluded"
        " it, so the counts add up to the rows read.",
    )
    columns = [
        Column("What became of them", "barred most"),
        Column("Rows", "n"),
        Column("Of all rows", "n"),
    ]
    cells = [("qualified", found.qualified), *found.excluded.items()]
    yield _table(
        "Rows of the log by what became of them, in the order of the rules",
        columns,
        (_row_cells(name, n, found) for name, n in cells),
    )


def _row_cells(name: str, rows: int, found: Reconciliation) -> tuple[Child, ...]:
    rule, field = rule_of(name, found.basis.policy), f"excluded.{name}"
    said = join([element("code", name), element("span", rule, class_="title")])
    first = name == "qualified"
    return (
        join(["Qualified" if first else said, charts.bar(rows, None, max(found.rows, 1))]),
        number(rows, None if first else field),
        _percent(rows, found.rows),
    )


def _of(part: int, whole: int) -> str:
    shown = _percent(part, whole)
    return f" ({shown})" if shown else ""


# --- how it was found ---


def _method(found: Reconciliation) -> Iterator[Child]:
    policy = found.basis.policy
    yield element(
        "p",
        "The log was counted again under the policy below: qualified units per work, UTC day and kind."
        " They are priced at the deal in force on their day and compared with what the platform's"
        " reports and settled tallies credited, in integers of nano-tokens (1e-9 of a token).",
    )
    yield _facts(
        [
            ("Policy", join([foreign(policy["name"], 100), ", version ", foreign(policy["version"], 100)])),
            ("A view counts from", f"{policy['view']['minimum_seconds']} s, or"
             f" {policy['view']['short_fraction']} of a shorter work"),
            ("An excerpt counts from", "1 s, each whole second once"),
            ("Repeats", f"of views that follow within {policy['double_click']['seconds']} s the last counts"),
            ("Most of one viewer, work, kind and day", str(policy["cap"]["per_viewer_work_day"])),
            *_spike(policy),
        ]
    )  # fmt: skip
    yield element("h3", "What this does not show")
    yield element(
        "p",
        "Whether the log is complete: views that were never written into it are found with a log that"
        " somebody else kept, or with seeded views. Whether those who registered a work own it.",
    )


def _spike(policy: Mapping[str, Any]) -> Iterator[tuple[str, Child]]:
    if spike := policy.get("spike"):
        said = (
            f"what a work has on a day beyond {spike['multiple']} x the median of the {spike['days']} days"
            f" before + {spike['above']}"
        )
        yield "Held until a person has looked", said


def _digests(found: Reconciliation) -> Iterator[Child]:
    basis = found.basis
    taken = datetime.fromtimestamp(basis.block_time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    facts: list[tuple[str, Child]] = [
        ("Chain", str(basis.chain_id)),
        ("Contract", _id(basis.contract)),
        ("Platform", _id(found.platform)),
        ("Block", join([number(found.block, "block"), f", {taken}"])),
        ("Hash of the block", _id(basis.block_hash)),
        ("SHA-256 of the policy", _id(basis.policy_digest)),
        ("SHA-256 of the columns file", _id(basis.columns) if basis.columns else "none given: the log's own"),
        ("SHA-256 of the map of works", _id(basis.works_map) if basis.works_map else "none given"),
    ]  # fmt: skip
    yield _facts(facts)
    files = basis.sources[:FILES_SHOWN]
    caption = "Files of the log; the digest is of the decompressed content"
    if len(basis.sources) > len(files):
        caption = (
            f"The first {len(files)} of {len(basis.sources):,} files of the log; --json has all"
        )
    columns = [Column("File"), Column("Rows", "n"), Column("SHA-256")]
    yield _table(
        caption,
        columns,
        ((foreign(one.name, 80), number(one.rows), _id(one.sha256)) for one in files),
    )
    yield from _batches(found)


def _batches(found: Reconciliation) -> Iterator[Child]:
    batches = found.basis.batches
    if not batches:
        yield element("p", "The platform has no batch with usage of these days.")
        return
    shown = batches[:BATCHES_SHOWN]
    caption = "Batches compared, and the evidence that each committed to"
    if len(batches) > len(shown):
        caption = f"The first {len(shown)} of {len(batches):,} batches compared; --json has all"
    yield _table(
        caption,
        [Column("Batch"), Column("Day", "day"), Column("Sent as"), Column("Evidence")],
        (
            (
                number(one.batch),
                format_day(one.day),
                "tally" if one.tally else "report",
                "none" if not int(one.evidence, 16) else _id(one.evidence),
            )
            for one in shown
        ),
    )


def _id(text: str) -> Html:
    return element("span", text, class_="id")


def _again(found: Reconciliation) -> Iterator[Child]:
    yield element(
        "p",
        "With the files named above in one folder, and any node of the chain for URL. Later blocks can"
        " only add: late reports, and tallies that were open.",
    )
    yield from _folder(found)
    yield element("pre", *(element("code", line) for line in _lines(found.basis.command)))
    yield element(
        "p",
        _commands("`--json` prints every figure of this page; `royalty audit solvency` checks the ledger"
                  " as a whole; `sha256sum` shows the digest of a file."),
    )  # fmt: skip


def _folder(found: Reconciliation) -> Iterator[Child]:
    """Say what the folder where it was made knew, which another does not."""
    ids, accepted = found.basis.folder_ids, found.basis.accepted
    released = found.basis.folder_released
    if ids:
        yield element(
            "p",
            f"The folder where this was made knew {counted(ids, 'id')} of works itself; elsewhere they must"
            " stand in the map that is given with ",
            element("code", "--works"),
            ".",
        )
    if accepted:
        yield element(
            "p",
            f"It also knew that the platform had accepted {counted(accepted, 'catalogue')}, and counted no"
            " other; elsewhere every catalogue counts.",
        )
    if released:
        yield element(
            "p",
            f"And it knew that {counted(released, 'spike')} of these days had been let go; elsewhere only the"
            " evidence of a batch and the chain say so.",
        )


def _lines(words: Sequence[str]) -> list[str]:
    """Return a command in lines that a shell takes as one: an option with its value on each."""
    lines = [""]
    for word in words:
        shown = word if word in ("LOG...", "URL") else shlex.quote(word)
        if word.startswith("--"):
            lines[-1] += " \\"
            lines.append(shown)
        else:
            lines[-1] = f"{lines[-1]} {shown}".strip()
    return lines


def _foot() -> Iterator[Child]:
    from royalty import __version__

    yield element(
        "p",
        f"Made by royalty {__version__} from the log and the chain alone. This file loads nothing and"
        " runs nothing. Titles and ids are other people's words: characters that hide or reorder are"
        " shown in boxes.",
    )
