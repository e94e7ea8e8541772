# ruff: noqa: N818 - an error is named after what is wrong; the ending would add nothing.
"""The one tree of errors; the command line prints each as one line and exits with its code.

RoyaltyError
├── InputError              2   what was given is wrong: a file, a flag, an address, a day
│   └── KeyLocked           2   a keystore that the given password does not open
├── ChainError              3   node, funds or contract trouble
│   ├── NodeUnreachable         no answer from the RPC address
│   ├── NodeTimeout             no answer, or no receipt, in the time allowed
│   ├── NodeRefused             the node answered with an error of its own
│   │   ├── RateLimited         it asks for fewer requests, for so many seconds
│   │   ├── FeeTooLow           the fee is below what it takes, or replaces another with
│   │   ├── AlreadyKnown        it has these bytes already
│   │   ├── NonceTooLow         the nonce was used by a transaction that landed
│   │   └── NonceTooHigh        a transaction before this one is missing
│   ├── NodeBehind              the node is far behind another one of the same chain
│   ├── FeeAboveCap             the chain asks for more than --max-fee
│   ├── WrongChain              the node is of another chain than the one asked for
│   ├── NoContract              no ledger at the address
│   ├── Reverted                the contract refused, with its decoded error
│   ├── FundsTooLow             a platform's funds, a wallet's tokens or gas do not suffice
│   ├── LimitTooLow             a reporter's limit of the day does not suffice
│   └── JournalStopped          the journal and the chain disagree; nothing more is sent
├── StoreFailed             3   usage cannot be kept: a full disk, a lock that another process holds
├── Declined                4   the person at the prompt said no
├── EngineFailed            3   the engine that counts (a Spark cluster) does not answer, or fails
└── MissingProgram          3   a program that this command needs (Anvil, Java) is not to be found
"""

from __future__ import annotations

from typing import Any


class RoyaltyError(Exception):
    """An expected failure whose message is one line: what is wrong, where, what to do next."""

    exit_code = 3

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(" ".join(message.split()))
        self.details = details


class InputError(RoyaltyError):
    """What was given is wrong: a file, a flag, an address, a day."""

    exit_code = 2


class KeyLocked(InputError):
    """A keystore that the password given does not open, or that nobody gave a password for."""


class ChainError(RoyaltyError):
    """Node, funds or contract trouble."""


class NodeUnreachable(ChainError):
    """No answer from the RPC address."""


class NodeTimeout(ChainError):
    """No answer, or no receipt, in the time allowed."""


class NodeRefused(ChainError):
    """The node answered with an error of its own."""


class RateLimited(NodeRefused):
    """The node asks for fewer requests; `retry_after` is for how many seconds, None where it does not say."""

    def __init__(self, message: str, *, retry_after: float | None = None, **details: Any) -> None:
        super().__init__(message, retry_after=retry_after, **details)
        self.retry_after = retry_after


class FeeTooLow(NodeRefused):
    """The fee is below what the node takes, or below what replaces a transaction that waits."""


class AlreadyKnown(NodeRefused):
    """The node has these bytes already: nothing is wrong."""


class NonceTooLow(NodeRefused):
    """The nonce was used by a transaction that landed: these bytes, or others."""


class NonceTooHigh(NodeRefused):
    """The node misses a transaction of the account before this one."""


class NodeBehind(ChainError):
    """The node is far behind another one of the same chain."""


class FeeAboveCap(ChainError):
    """The chain asks for a higher fee than the caller allows."""


class WrongChain(ChainError):
    """The node is of another chain than the one asked for."""


class NoContract(ChainError):
    """No ledger at the address."""


class Reverted(ChainError):
    """The contract refused; `name` is its error, `arguments` what it carries."""

    def __init__(self, message: str, *, name: str, arguments: dict[str, Any]) -> None:
        super().__init__(message, name=name, arguments=arguments)
        self.name = name
        self.arguments = arguments


class FundsTooLow(ChainError):
    """A platform's funds, a wallet's tokens or its gas money do not suffice."""


class LimitTooLow(ChainError):
    """A reporter's limit of the day does not suffice."""


class JournalStopped(ChainError):
    """The journal and the chain disagree; nothing more is sent."""


class FetchFailed(RoyaltyError):
    """A file that was asked for from an address does not come."""


class StoreFailed(RoyaltyError):
    """Usage cannot be kept: a full disk, a lock that another process holds."""


class EngineFailed(RoyaltyError):
    """The engine that counts, a Spark cluster, does not answer or fails."""


class Declined(RoyaltyError):
    """The person at the prompt said no."""

    exit_code = 4


class MissingProgram(RoyaltyError):
    """A program that this command needs is not to be found."""
