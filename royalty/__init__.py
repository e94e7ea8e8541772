"""Royalty pays the rights holders of works per view.

>>> from royalty import Royalty
>>> royalty = Royalty.connect("base", account="reporter", platform="0x...")  # doctest: +SKIP
>>> royalty.usage.report("views/*.parquet", day="2026-11-19")  # doctest: +SKIP
"""

from royalty.client import DryRun, Royalty
from royalty.errors import (
    AlreadyKnown,
    ChainError,
    Declined,
    FeeAboveCap,
    FeeTooLow,
    FundsTooLow,
    InputError,
    JournalStopped,
    KeyLocked,
    LimitTooLow,
    MissingProgram,
    NoContract,
    NodeBehind,
    NodeRefused,
    NodeTimeout,
    NodeUnreachable,
    NonceTooHigh,
    NonceTooLow,
    RateLimited,
    Reverted,
    RoyaltyError,
    WrongChain,
)

__version__ = "0.1.0"

__all__ = [
    "AlreadyKnown",
    "ChainError",
    "Declined",
    "DryRun",
    "FeeAboveCap",
    "FeeTooLow",
    "FundsTooLow",
    "InputError",
    "JournalStopped",
    "KeyLocked",
    "LimitTooLow",
    "MissingProgram",
    "NoContract",
    "NodeBehind",
    "NodeRefused",
    "NodeTimeout",
    "NodeUnreachable",
    "NonceTooHigh",
    "NonceTooLow",
    "RateLimited",
    "Reverted",
    "Royalty",
    "RoyaltyError",
    "WrongChain",
]
