"""Counting only: logs become qualified units per work, day and kind. Nothing here knows the chain."""

from royalty.logs.aggregates import Aggregates, add_up, are_sums
from royalty.logs.columns import NATIVE, Column, Columns, has_own_ids
from royalty.logs.counting import (
    GOOD_ROWS,
    Count,
    Counting,
    UnitRow,
    UnmatchedRow,
    WorkRow,
    count,
    write_excluded,
)
from royalty.logs.engines import ENGINES, counter
from royalty.logs.matching import WorkTable
from royalty.logs.policy import REASONS, SHIPPED, Policy
from royalty.logs.reading import MEMORY, engine, make_rows, read_rows
from royalty.logs.rules import apply_rules, drop_judged
from royalty.logs.sources import Source, content_digest, find_sources

__all__ = [
    "ENGINES",
    "GOOD_ROWS",
    "MEMORY",
    "NATIVE",
    "REASONS",
    "SHIPPED",
    "Aggregates",
    "Column",
    "Columns",
    "Count",
    "Counting",
    "Policy",
    "Source",
    "UnitRow",
    "UnmatchedRow",
    "WorkRow",
    "WorkTable",
    "add_up",
    "apply_rules",
    "are_sums",
    "content_digest",
    "count",
    "counter",
    "drop_judged",
    "engine",
    "find_sources",
    "has_own_ids",
    "make_rows",
    "read_rows",
    "write_excluded",
]
