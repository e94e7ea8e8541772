"""Which work a log's id stands for, and on which days its catalogue has a deal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from royalty.errors import InputError
from royalty.usage import WorkRef

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Deal = tuple[int, int, int, "int | None"]


class WorkTable:
    """The works that a platform's log may name: by reference, by its own map, or by a registrant's note.

    `rows` are (id in the log, work), of map and notes together. `deals` are (catalogue, version,
    from-day, until-day or None), until exclusive. `works` says how many works each accepted catalogue
    has; a work of another catalogue, or with an index not registered, is not matched.
    """

    def __init__(
        self,
        rows: Iterable[tuple[str, WorkRef]],
        deals: Iterable[Deal],
        works: Mapping[int, int],
    ) -> None:
        self.works = dict(works)
        self.deals = sorted(set(deals), key=lambda deal: deal[:3])
        self.answers: dict[str, WorkRef] = {}
        self.ambiguous: dict[str, tuple[WorkRef, WorkRef]] = {}
        for text, work in rows:
            self._add(text, work)
        for text, work in self.answers.items():
            reference = self._reference(text)
            if reference is not None and reference != work:
                self.ambiguous.setdefault(text, (work, reference))

    def _add(self, text: str, work: WorkRef) -> None:
        known = self.answers.setdefault(text, work)
        if known != work:
            self.ambiguous.setdefault(text, (known, work))

    def _reference(self, text: str) -> WorkRef | None:
        work = WorkRef.match(text)
        return work if work is not None and work.index < self.works.get(work.catalogue, 0) else None

    def match(self, text: str) -> WorkRef | None:
        """Return the work of a log's id, or None; InputError where the id has two answers."""
        if text in self.ambiguous:
            raise self.refusal(text)
        work = self.answers.get(text)
        if work is None:
            return self._reference(text)
        return work if work.index < self.works.get(work.catalogue, 0) else None

    def refusal(self, text: str) -> InputError:
        """Return the error that names an id with two answers."""
        one, two = self.ambiguous[text]
        return InputError(
            f"'{text[:60]}' in the log stands for two works, {one} and {two}; say in the map which"
            " it is, and rename or remove the other"
        )

    def version_on(self, catalogue: int, day: int) -> int | None:
        """Return the version of a catalogue's deal in force on a day, or None."""
        for number, version, since, until in self.deals:
            if number == catalogue and since <= day and (until is None or day < until):
                return version
        return None

    def install(self, con: DuckDBPyConnection) -> None:
        """Put the works, catalogues and deals into temporary tables, where the rules look them up."""
        import pyarrow as pa

        pairs = [(text, work) for text, work in self.answers.items() if text not in self.ambiguous]
        answers = pa.table(
            {
                "work": pa.array([text for text, _ in pairs], pa.string()),
                "catalogue": pa.array([work.catalogue for _, work in pairs], pa.int64()),
                "index": pa.array([work.index for _, work in pairs], pa.int64()),
            }
        )
        works = pa.table(
            {
                "catalogue": pa.array(list(self.works), pa.int64()),
                "works": pa.array(list(self.works.values()), pa.int64()),
            }
        )
        deals = pa.table(
            {
                "catalogue": pa.array([deal[0] for deal in self.deals], pa.int64()),
                "since": pa.array([deal[2] for deal in self.deals], pa.int64()),
                "until": pa.array([deal[3] for deal in self.deals], pa.int64()),
            }
        )
        two = pa.table({"work": pa.array(list(self.ambiguous), pa.string())})
        tables = {"answers": answers, "catalogues": works, "deals": deals, "ambiguous": two}
        for name, table in tables.items():
            con.register("installing", table)
            con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM installing")
            con.unregister("installing")
        con.execute(_REFERENCES)


_REFERENCES = r"""
CREATE OR REPLACE TEMP MACRO is_reference(work) AS
  regexp_full_match(work, '[1-9][0-9]{0,9}/(0|[1-9][0-9]{0,7})')
"""
