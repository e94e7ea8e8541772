"""How batches get from a session to the chain: at what depth, fee and patience, out of which journal.

What the caller asked for comes first, then the settings, then the defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from royalty import delivery
from royalty import journal as journals
from royalty.errors import InputError
from royalty.journal import Batch, Journal, Owner
from royalty.settings import MAX_DEADLINE_SECONDS, MAX_WINDOW, WINDOW, parse_gwei

if TYPE_CHECKING:
    from royalty.client import Royalty
    from royalty.delivery import Link

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Way:
    """How batches go to the chain: depth, batches under way, most wei a gas, seconds of patience."""

    depth: int
    window: int
    max_fee: int | None
    deadline: float

    @classmethod
    def of(
        cls,
        session: Royalty,
        confirmations: int | None = None,
        window: int | None = None,
        max_fee: str | int | None = None,
        deadline: float | None = None,
    ) -> Way:
        """Return what was asked for, else the settings', else the defaults; InputError."""
        chosen = session.settings
        window = window or chosen.window or WINDOW
        fee = chosen.max_fee if max_fee is None else max_fee
        if deadline is None:
            deadline = delivery.WAIT_SECONDS if chosen.deadline is None else chosen.deadline
        if not 1 <= window <= MAX_WINDOW:
            raise InputError(f"--window {window} is not from 1 to {MAX_WINDOW}")
        if not 0 < deadline <= MAX_DEADLINE_SECONDS:
            raise InputError(
                f"--deadline {deadline} is not from 1 to {MAX_DEADLINE_SECONDS} seconds"
            )
        depth = session.confirmations if confirmations is None else confirmations
        return cls(depth, window, None if fee is None else parse_gwei(fee), deadline)

    @contextmanager
    def patiently(self, session: Royalty) -> Iterator[None]:
        """Let the node's faults be sat out up to the deadline, as long as this lasts."""
        node = session.node
        before, node.patience = node.patience, float(self.deadline)
        try:
            yield
        finally:
            node.patience = before

    def link(
        self,
        session: Royalty,
        say: Say = lambda _: None,
        settled: Callable[[Batch], None] = lambda _: None,
    ) -> Link:
        """Return the way to the chain for a session's platform and account."""
        return delivery.Link(
            session.node,
            session.ledger,
            session.platform,
            session.account,
            self.depth,
            self.window,
            self.max_fee,
            self.deadline,
            say,
            settled,
        )


def journal_of(session: Royalty) -> AbstractContextManager[Journal]:
    """Open the journal of a session's platform, alone, making it where there is none."""
    node = session.node
    owner = Owner(node.chain_id, node.genesis_hash, session.ledger.address, session.platform)
    return journals.opened(session.platform_dir(), owner)
