"""What a log alone comes to, at the deals of its days: `usage check`, which sends and keeps nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from royalty import journal as journals
from royalty.errors import InputError
from royalty.files import new_folder
from royalty.questions import Accepted, Asked, Logs, Question, read_question, require_over
from royalty.spikes import hold_spikes
from royalty.store import STORE, UsageStore
from royalty.terms import Item, amount_nano, held_rows
from royalty.usage import units_of
from royalty.voids import account_of

if TYPE_CHECKING:
    from royalty.client import Royalty
    from royalty.logs import Count
    from royalty.recount import Progress


@dataclass(frozen=True, slots=True)
class Check:
    """What a log alone comes to. Amounts are nano-tokens; `amount_nano` includes what is held.

    `counted` are all units with deal and price. `excluded` has all seven reasons and those of the
    policy's steps. `over_excluded` says that more rows were excluded than the caller allows.
    """

    count: Count
    counted: tuple[Item, ...]
    over_excluded: bool = False

    @property
    def held(self) -> tuple[Item, ...]:
        """What would not be reported now."""
        return tuple(item for item in self.counted if item.held)

    @property
    def amount_nano(self) -> int:
        """What all units cost, held ones included."""
        return amount_nano(self.counted)

    @property
    def findings(self) -> bool:
        """Whether something is held, or over the limit that was asked for."""
        return bool(self.held) or self.over_excluded

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts are ints of nano-tokens."""
        sums = self.count.aggregates
        apart = {} if sums is None else {"aggregates": sums.document()}
        return {
            "rows": self.count.rows,
            "qualified": self.count.qualified,
            "excluded": dict(self.count.excluded),
            "units": units_of(self.counted),
            "amount_nano": self.amount_nano,
            "without_identity": self.count.without_identity,
            "held": held_rows(self.counted),
            **apart,
        }


def check(
    session: Royalty,
    logs: Logs,
    *,
    partial: bool = False,
    out: str | Path | None = None,
    max_excluded: str | int | None = None,
    progress: Progress | None = None,
    engine: str = "duckdb",
    master: str | None = None,
    **asked: Unpack[Asked],
) -> Check:
    """Return what logs come to over UTC days (both inclusive), at the deals of each day; sends nothing.

    `logs` is a file, a glob or several. `asked` are the days (`day`, or `since` and `until`), `works` a
    map, `columns` and `policy` TOML files, the `separator` of columns, and the `memory` to count in. `out`
    is a folder for `excluded.csv`: each excluded row with reason, file and line. `max_excluded` is a
    percentage of the rows. `engine` counts: `duckdb` here, or `spark` on `master`. Raises InputError for
    what is given (a day that is not over unless `partial`), ChainError where the node does not answer.

    >>> royalty.usage.check("views.csv", day="2026-11-19").amount_nano  # doctest: +SKIP
    """
    from royalty.logs import add_up, are_sums, counter

    count = counter(engine, master)
    limit = None if max_excluded is None else _percent(max_excluded)
    question = read_question(logs, **asked)
    if not partial:
        require_over(session, question.period)
    listing = None if out is None else new_folder(out) / "excluded.csv"
    accepted = Accepted.read(session, session.confirmations)
    matcher = accepted.matcher(session, question.works_map)
    if are_sums(question.sources):
        sources, period = question.sources, question.period
        return Check(add_up(sources, period, matcher, excluded_to=listing, progress=progress), ())
    counted = count(
        question.sources,
        question.period,
        matcher,
        question.policy,
        excluded_to=listing,
        memory=question.memory,
        progress=progress,
    )
    items = spikes_held(session, question, accepted.items(session, counted.units))
    return Check(counted, items, limit is not None and _is_over(counted, limit))


def spikes_held(session: Royalty, question: Question, items: Iterable[Item]) -> tuple[Item, ...]:
    """Return items with what is held as a spike apart, by what was reported of the days before."""
    policy, period = question.policy, question.period
    if policy.spike_multiple is None:
        return tuple(items)
    folder = session.platform_dir()
    with journals.read(folder) as journal:
        account = account_of(session, journal or journals.empty(), session.confirmations)
        return tuple(
            hold_spikes(
                items,
                policy,
                reported=account.reported,
                released=UsageStore(folder / STORE).released(),
                counted=range(period.since, period.until + 1),
            )
        )


def _percent(text: str | int) -> Fraction:
    try:
        number = Fraction(str(text)) if "/" not in str(text) else Fraction(-1)
    except (ValueError, ZeroDivisionError):
        number = Fraction(-1)
    if not 0 <= number <= 100:
        raise InputError(
            f"--max-excluded '{str(text)[:40]}' is not a percentage; write for example 5"
        )
    return number


def _is_over(counted: Count, limit: Fraction) -> bool:
    return 100 * sum(counted.excluded.values()) > limit * counted.rows
