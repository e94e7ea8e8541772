"""The events of the ledger, kept in this folder and brought up to the chain's head when asked for.

`events(session, "WorksRegistered", catalogue=3)` is all that most callers need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from royalty.client import Royalty
    from royalty.index.reader import Index, Progress, Snapshot
    from royalty.index.tables import ChainEvent

FOLDER = "index"
_latest: WeakKeyDictionary[Royalty, Snapshot] = WeakKeyDictionary()


def of(session: Royalty) -> Index:
    """Return the index of the session's ledger."""
    from royalty.index.reader import Index

    return Index(
        node=session.node,
        address=session.ledger.address,
        start=session.ledger.deployed_block,
        folder=session.state_dir / FOLDER,
        confirmations=session.confirmations,
    )


def sync(session: Royalty, progress: Progress | None = None) -> Snapshot:
    """Read what is new on the chain and keep what is final; return all that stands.

    `progress` is called with (blocks read, blocks to read). Two syncs at once do no harm. Raises
    ChainError where the node does not answer, InputError where the folder cannot be written.
    """
    snapshot = _latest[session] = of(session).sync(progress)
    return snapshot


def snapshot(session: Royalty, *, sync_first: bool = True) -> Snapshot:
    """Return all events up to the chain's head, read anew only where the head has changed.

    With `sync_first=False` those on disk alone: the node is not asked for any.
    """
    if not sync_first:
        return of(session).stored()
    held = _latest.get(session)
    if held is not None and session.node.block("latest").hash == held.head.hash:
        return held
    return sync(session)


def events(
    session: Royalty, name: str, *, block: int | str = "latest", **filters: Any
) -> list[ChainEvent]:
    """Return the events of a name up to a block (default: the head), in the order of the chain.

    `filters` compare arguments for equality: `catalogue=3`. Raises KeyError for an event or an
    argument that the ledger does not have, and what `sync` raises.
    """
    from royalty.index.tables import fields_of

    known = {field["name"] for field in fields_of(name)}
    unknown = set(filters) - known
    if unknown:
        raise KeyError(f"{name} has no {', '.join(sorted(unknown))}")
    last = block if isinstance(block, int) else None
    return [
        event
        for event in snapshot(session).events(name)
        if (last is None or event.block <= last)
        and all(event.args[word] == value for word, value in filters.items())
    ]
