"""Royalty pays the rights holders of works per view.

>>> from royalty import Royalty
>>> royalty = Royalty.connect("base", account="reporter", platform="0x...")  # doctest: +SKIP
>>> royalty.usage.report("views/*.parquet", day="2026-11-19")  # doctest: +SKIP
"""

from royalty.client import DryRun, Royalty
from royalty.errors import (
    ChainError,
    Declined,
    FundsTooLow,
    InputError,
    JournalStopped,
    KeyLocked,
    LimitTooLow,
    MissingProgram,
    NoContract,
    NodeRefused,
    NodeTimeout,
    NodeUnreachable,
    Reverted,
    RoyaltyError,
    WrongChain,
)

__version__ = "0.1.0"

__all__ = [
    "ChainError",
    "Declined",
    "DryRun",
    "FundsTooLow",
    "InputError",
    "JournalStopped",
    "KeyLocked",
    "LimitTooLow",
    "MissingProgram",
    "NoContract",
    "NodeRefused",
    "NodeTimeout",
    "NodeUnreachable",
    "Reverted",
    "Royalty",
    "RoyaltyError",
    "WrongChain",
]
