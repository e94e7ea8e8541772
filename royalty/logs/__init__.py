"""Counting only: logs become qualified units per work, day and kind. Nothing here knows the chain."""

from royalty.logs.columns import NATIVE, Column, Columns
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
from royalty.logs.matching import WorkTable
from royalty.logs.policy import Policy
from royalty.logs.reading import engine, make_rows, read_rows
from royalty.logs.rules import REASONS, apply_rules
from royalty.logs.sources import Source, content_digest, find_sources

__all__ = [
    "GOOD_ROWS",
    "NATIVE",
    "REASONS",
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
    "apply_rules",
    "content_digest",
    "count",
    "engine",
    "find_sources",
    "make_rows",
    "read_rows",
    "write_excluded",
]
