"""Rows of a log drawn by a stated seed, each traced to its payout: `audit sample`.

Whoever has the log draws the same rows: those whose SHA-256 of `<seed>|<usage_id>` is smallest. A seed that
is stated after the log was handed over cannot have been prepared for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.days import Period, format_day
from royalty.errors import InputError
from royalty.evidence import manifest_name
from royalty.exhibits import MAX_MANIFEST_BYTES, read_exhibit
from royalty.findings import Cell, Finding, Reason
from royalty.index.rows import Rows
from royalty.jsontext import parse_json
from royalty.moneypaths import Allocation, Credit, MoneyPaths
from royalty.proof import Batch, need_folder, sources_of
from royalty.questions import Day, Logs, read_question
from royalty.reconcile import matcher_of, read_book, reconcile

if TYPE_CHECKING:
    from royalty.client import Royalty
    from royalty.logs.singles import Judged

MAX_ROWS = 10_000
MAX_SEED = 200
ABOUT_CELLS = frozenset(Reason) - {
    Reason.EVIDENCE_MISMATCH,
    Reason.EVIDENCE_REUSED,
    Reason.UNMATCHED_WORK,
}
COLUMNS = (
    "place",
    "usage_id",
    "log",
    "line",
    "work",
    "day",
    "kind",
    "units",
    "version",
    "price_nano",
    "amount_nano",
    "reason",
    "batch",
    "transaction",
    "holder",
    "share_ppm",
    "share",
    "allocated",
    "transferred",
)


@dataclass(frozen=True, slots=True)
class Step:
    """A batch that the row's cell stands in, and the allocation that divided it.

    `counted` says whether the batch's evidence names the row's log; None where none is at hand.
    """

    credit: Credit
    allocation: Allocation | None
    counted: bool | None


@dataclass(frozen=True, slots=True)
class Traced:
    """One drawn row with all that follows from it. Money is nano-tokens.

    `rules` has what each rule and step of the policy saw, in their order. `held_units` are those that the
    policy holds of the row's work, day and kind: this row is perhaps among them.

    `reasons` are those of the findings on its work, day and kind: empty where log and chain agree there.
    """

    place: int
    row: Judged
    rules: Mapping[str, str]
    version: int | None
    price_nano: int
    reasons: tuple[str, ...]
    steps: tuple[Step, ...]
    held_units: int = 0

    @property
    def amount_nano(self) -> int:
        """Units times price at the deal of the day."""
        return self.row.units * self.price_nano

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        row = self.row
        return {
            "place": self.place,
            "usage_id": row.usage_id,
            "log": str(row.source.path),
            "log_sha256": row.source.sha256,
            "line": row.line,
            "written": row.written,
            "work": str(row.work),
            "day": format_day(row.day),
            "kind": row.kind.word,
            "started_at": row.started_at,
            "rules": dict(self.rules),
            "units": row.units,
            "version": self.version,
            "price_nano": self.price_nano,
            "amount_nano": self.amount_nano,
            "reasons": list(self.reasons),
            "spike_hold_units": self.held_units,
            "batches": [
                step.credit.document()
                | {
                    "counted_log": step.counted,
                    "allocation": step.allocation and step.allocation.document(self.amount_nano),
                }
                for step in self.steps
            ],
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a batch and holder, or one alone where nothing is paid or divided."""
        row = self.row
        head: dict[str, Any] = {
            "place": str(self.place),
            "usage_id": row.usage_id,
            "log": str(row.source.path),
            "line": str(row.line),
            "work": str(row.work),
            "day": format_day(row.day),
            "kind": row.kind.word,
            "units": row.units,
            "version": self.version,
            "price_nano": self.price_nano,
            "amount_nano": self.amount_nano,
            "reason": " ".join(self.reasons) or None,
        }
        found = []
        for step in self.steps:
            paid = head | {"batch": step.credit.batch, "transaction": step.credit.transaction}
            parts = step.allocation.parts if step.allocation else ()
            found += [
                paid
                | {
                    "holder": part.holder,
                    "share_ppm": part.ppm,
                    "share": part.of(self.amount_nano),
                    "allocated": step.allocation and step.allocation.transaction,
                    "transferred": part.transfer and part.transfer.transaction,
                }
                for part in parts
            ] or [paid]
        return found or [head]


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows drawn out of `qualified` ones by `seed`; a row on whose cell log and chain differ is a finding.

    So is one of whose cell the policy holds something: somebody has to look.
    """

    platform: str
    period: Period
    block: int
    seed: str
    qualified: int
    rows: tuple[Traced, ...]

    @property
    def findings(self) -> bool:
        """Whether log and chain differ on the cell of a drawn row, or something of it is held."""
        return any(row.reasons or row.held_units for row in self.rows)

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "platform": self.platform,
            "since": format_day(self.period.since),
            "until": format_day(self.period.until),
            "block": self.block,
            "seed": self.seed,
            "qualified": self.qualified,
            "drawn": len(self.rows),
            "rows": [row.document() for row in self.rows],
        }

    def table(self) -> Rows:
        """Return one row a drawn row, batch and holder: `.to_csv(path)`, `.to_list()`, ..."""
        return Rows(COLUMNS, tuple(row for traced in self.rows for row in traced.rows()))


def sample(
    session: Royalty,
    number: int,
    logs: Logs,
    *,
    seed: str,
    since: Day,
    until: Day,
    works: str | Path | None = None,
    columns: str | Path | None = None,
    policy: str | Path | None = None,
    separator: str | None = None,
    format: str | None = None,
    platform: str | None = None,
    evidence: str | Path | None = None,
) -> Sample:
    """Return `number` rows of a log that count, drawn by a seed, each traced to its payout.

    The rows are those of the smallest SHA-256 of `<seed>|<usage_id>`, in that order; fewer where fewer
    count. Other arguments are those of `royalty.reconcile`. Raises InputError for what is given,
    ChainError where the node does not answer.

    >>> royalty.audit.sample(20, "views/*.csv", seed="2026-12-01", since="2026-11-01", until="2026-11-30")
    ... # doctest: +SKIP
    """
    from royalty.logs.singles import draw

    _check(number, seed)
    asked: dict[str, Any] = {
        "since": since,
        "until": until,
        "works": works,
        "columns": columns,
        "policy": policy,
        "separator": separator,
        "format": format,
    }
    question = read_question(logs, **asked)
    if evidence is not None:
        need_folder(Path(evidence))
    listed = [str(source.path) for source in question.sources]
    found = reconcile(session, listed, **asked, platform=platform, evidence=evidence)
    book = read_book(session, question.period, found.platform)
    matcher = matcher_of(session, book, question.works_map)
    drawn = draw(
        question.sources, question.period, matcher, question.policy, seed=seed, number=number
    )
    paths = MoneyPaths(book.snapshot.events, session.token.unit)
    counted = {} if evidence is None else logs_of(Path(evidence), book.batches)
    reasons = _reasons(found.findings)
    held = {one.cell: one.held_units for one in found.held}
    rows = []
    for place, (row, rules) in enumerate(zip(drawn.rows, drawn.rules, strict=True), 1):
        assert row.work is not None
        cell = Cell(row.work, row.day, row.kind)
        version = matcher.version_on(row.work.catalogue, row.day)
        steps = [
            Step(credit, paths.allocation(credit), _counted(credit, row, counted))
            for credit in paths.of(book.platform, cell)
        ]
        rows.append(
            Traced(
                place,
                row,
                {rule.rule: rule.detail for rule in rules},
                version,
                paths.price(row.work.catalogue, version or 0, row.kind),
                reasons.get(cell, ()),
                tuple(steps),
                held.get(cell, 0),
            )
        )
    return Sample(book.platform, question.period, found.block, seed, drawn.qualified, tuple(rows))


def _check(number: int, seed: str) -> None:
    if not 1 <= number <= MAX_ROWS:
        raise InputError(f"a sample has 1 to {MAX_ROWS:,} rows, not {number}")
    if not 1 <= len(seed) <= MAX_SEED or not seed.isprintable():
        raise InputError(f"a seed is a text of 1 to {MAX_SEED} characters on one line")


def _reasons(findings: Sequence[Finding]) -> dict[Cell, tuple[str, ...]]:
    """Return the reasons of findings by their cell."""
    from royalty.usage import WorkRef

    found: dict[Cell, tuple[str, ...]] = {}
    for one in findings:
        if one.reason in ABOUT_CELLS and one.work and one.day is not None and one.kind is not None:
            cell = Cell(WorkRef.parse(one.work), one.day, one.kind)
            found[cell] = (*found.get(cell, ()), one.reason.value)
    return found


def logs_of(folder: Path, batches: Sequence[Batch]) -> dict[int, frozenset[str]]:
    """Return the logs (SHA-256) that batches' evidence names; a manifest that is not theirs is left out."""
    found = {}
    for batch in batches:
        try:
            content = read_exhibit(folder, manifest_name(batch.batch), MAX_MANIFEST_BYTES)
            if content is not None and hashlib.sha256(content).digest() == batch.evidence:
                named = sources_of(parse_json(content))
                found[batch.batch] = frozenset(digest for digest, _ in named)
        except (InputError, ValueError, KeyError, TypeError):
            continue
    return found


def _counted(credit: Credit, row: Judged, logs: Mapping[int, frozenset[str]]) -> bool | None:
    known = logs.get(credit.batch)
    return None if known is None else row.source.sha256 in known


def sentence(found: Sample) -> str:
    """Return what it means, in one sentence for a person."""
    wrong = sum(bool(row.reasons) for row in found.rows)
    if not found.rows:
        return "No row counts, so none was drawn."
    if wrong:
        return f"On {wrong} of {len(found.rows)} drawn rows log and chain differ."
    held = sum(bool(row.held_units) for row in found.rows)
    if held:
        return (
            f"Log and chain agree on each of {len(found.rows)} drawn rows; of {held} the policy holds units"
            " of the same work, day and kind."
        )
    return f"Each of {len(found.rows)} drawn rows stands on the chain, as the log has it."
