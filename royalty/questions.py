"""What `usage check` and `usage report` are asked: which logs and days, under which rules and deals."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from royalty.days import Period, format_day, parse_day, today
from royalty.errors import InputError
from royalty.evidence import Document, canonical
from royalty.terms import Item, Terms
from royalty.usage import Kind, Tariff, WorkRef
from royalty.worksmap import WorksMap, map_csv, read_map

if TYPE_CHECKING:
    from royalty.catalogues import Deal
    from royalty.client import Royalty
    from royalty.logs import Columns, Policy, Source, UnitRow, WorkTable
    from royalty.platforms import Licence

Day = str | date | int
Logs = str | Path | Iterable[str | Path]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, read and checked; `works_map` is the map that was given with it.

    `memory` is what counting may take; what is more goes to a temporary folder.
    """

    period: Period
    sources: tuple[Source, ...]
    policy: Policy
    columns: Columns
    works_map: WorksMap
    memory: str = "1GB"

    @property
    def policy_document(self) -> Document:
        """The policy in its canonical form."""
        return Document("policy", "json", canonical(self.policy.document()))

    @property
    def columns_document(self) -> Document | None:
        """The columns file in its canonical form, None where the log has the native columns."""
        if self.columns.native:
            return None
        return Document("columns", "json", canonical(self.columns.document()))


class Asked(TypedDict, total=False):
    """The keyword arguments that say what is asked, which `read_question` takes from whoever has them."""

    day: Day | None
    since: Day | None
    until: Day | None
    works: str | Path | None
    columns: str | Path | None
    policy: str | Path | None
    separator: str | None
    format: str | None
    memory: str | None


def read_question(
    logs: Logs | None,
    *,
    day: Day | None = None,
    since: Day | None = None,
    until: Day | None = None,
    works: str | Path | None = None,
    columns: str | Path | None = None,
    policy: str | Path | None = None,
    separator: str | None = None,
    format: str | None = None,
    memory: str | None = None,
) -> Question:
    """Return what is asked; InputError for days, files or settings that cannot be read.

    Without logs it is about what is in the store. The columns are those of the logs' format.
    """
    from royalty.logs import MEMORY, Columns, Policy, find_sources

    period = read_period(day, since, until)
    shape = Columns.load(columns)
    sources = () if logs is None else tuple(find_sources(_listed(logs), shape, separator, format))
    return Question(
        period,
        sources,
        Policy.load(policy),
        sources[0].columns if sources else shape,
        {} if works is None else read_map(works),
        memory or MEMORY,
    )


def read_period(day: Day | None, since: Day | None, until: Day | None) -> Period:
    """Return one day, or `since` to `until`, both inclusive; InputError unless it is one of the two."""
    if day is not None and since is None and until is None:
        number = _number(day, "--day")
        return Period(number, number)
    if day is None and since is not None and until is not None:
        return Period(_number(since, "--since"), _number(until, "--until"))
    raise InputError("name the days: either --day, or both --since and --until")


def require_over(session: Royalty, period: Period) -> None:
    """Raise InputError where a day of the period is not over, by this machine's clock or the chain's.

    The later of the two counts: a chain without new blocks stands still, a test's may be ahead.
    """
    now = max(today(), session.today())
    if period.until >= now:
        first = format_day(max(period.since, now))
        if period.since > now:
            raise InputError(f"{first} has not begun (UTC); today is {format_day(now)}")
        raise InputError(
            f"{first} is not over (UTC); report it tomorrow, or pass --partial to report what is"
            " there and the rest later"
        )


def _listed(logs: Logs) -> list[str | Path]:
    return [logs] if isinstance(logs, str | Path) else list(logs)


def _number(day: Day, what: str) -> int:
    return day if isinstance(day, int) else parse_day(str(day), what=what)


# --- what is accepted ---


@dataclass(frozen=True, slots=True)
class Accepted:
    """The catalogues that a platform pays into: their deals at a block, and how many works each has."""

    licences: Mapping[int, Licence]
    deals: tuple[Deal, ...]
    works: Mapping[int, int]

    @classmethod
    def read(cls, session: Royalty, confirmations: int) -> Accepted:
        """Return what the session's platform has accepted, and the deals opened by the confirmation depth."""
        from royalty import catalogues, platforms

        block = max(session.ledger.deployed_block, session.node.head() - confirmations, 0)
        licences = platforms.licences(session, session.platform)
        every = catalogues.deals(session, block=block) if licences else []
        deals = tuple(deal for deal in every if deal.catalogue in licences)
        numbers = sorted({deal.catalogue for deal in deals})
        states = session.ledger.catalogues_of(numbers, block)
        return cls(licences, deals, {state.catalogue: state.works for state in states})

    @property
    def tariffs(self) -> dict[tuple[int, int], Tariff]:
        """The prices of the deals, by (catalogue, version)."""
        return {deal.key: deal.tariff for deal in self.deals}

    def matcher(self, session: Royalty, works_map: WorksMap) -> WorkTable:
        """Return what finds a log's work: references, the map, and this folder's own notes."""
        from royalty import works
        from royalty.logs import WorkTable

        return WorkTable(
            [*works_map.items(), *works.notes(session)],
            [(deal.catalogue, deal.version, deal.from_day, deal.until_day) for deal in self.deals],
            self.works,
        )

    def terms(self, rivals: Collection[WorkRef]) -> Terms:
        """Return the deals and licences, with the works that a rival registered earlier."""
        by_catalogue: dict[int, tuple[Deal, ...]] = {}
        for deal in self.deals:
            by_catalogue[deal.catalogue] = (*by_catalogue.get(deal.catalogue, ()), deal)
        return Terms(by_catalogue, self.licences, rivals)

    def document(self) -> Document:
        """Return the licences in their canonical form, as a manifest names them."""
        listed = [
            {
                "catalogue": catalogue,
                "despite_rival": licence.despite_rival,
                **{f"max_{kind.word}_nano": licence.maximum.price(kind) for kind in Kind},
            }
            for catalogue, licence in sorted(self.licences.items())
        ]
        return Document("licences", "json", canonical({"licences": listed}))

    def items(self, session: Royalty, units: Sequence[UnitRow]) -> list[Item]:
        """Return counted units with deal, price and whether they are held, in order."""
        terms = self.terms(self._rivals(session, units))
        found = [
            terms.item(row.day, WorkRef(row.catalogue, row.index), row.kind, row.units)
            for row in units
        ]
        return sorted(item for item in found if item is not None)

    def _rivals(self, session: Royalty, units: Sequence[UnitRow]) -> set[WorkRef]:
        from royalty import works

        asked = {
            WorkRef(row.catalogue, row.index)
            for row in units
            if not self.licences[row.catalogue].despite_rival
        }
        return works.rivals(session, asked) if asked else set()


def map_document(works_map: WorksMap) -> Document:
    """Return a map in its canonical form, as a manifest names it."""
    return Document("works", "csv", map_csv(works_map))
