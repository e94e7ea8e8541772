"""Events of the ledger as the nouns read them: by name, filtered, in the order of the chain.

On a local chain straight from the node, for that is quick; elsewhere out of this folder's index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from royalty.errors import NodeRefused

if TYPE_CHECKING:
    from royalty.chain.events import Event
    from royalty.client import Royalty

FIRST_RANGE = 50_000


def events(
    session: Royalty, name: str, *, block: int | str = "latest", **filters: Any
) -> list[Event]:
    """Return the events of a name up to a block, in order; filters compare indexed arguments.

    Raises KeyError for an argument that is not indexed, ChainErrors where the node does not answer.
    """
    if session.node.is_local:
        return read_events(session, name, block=block, **filters)
    from royalty import index

    _topics(name, filters)
    return list(index.events(session, name, block=block, **filters))


def read_events(
    session: Royalty, name: str, *, block: int | str = "latest", **filters: Any
) -> list[Event]:
    """Return the same straight from the node, in ranges of blocks that halve where one is too large."""
    last = block if isinstance(block, int) else session.node.head()
    topics = _topics(name, filters)
    found: list[Event] = []
    start, width = session.ledger.deployed_block, FIRST_RANGE
    while start <= last:
        end = min(last, start + width - 1)
        try:
            found += _read(session, start, end, topics)
        except NodeRefused as error:
            if error.details.get("status") or width == 1:
                raise
            width = max(1, min(width, end - start + 1) // 2)
            continue
        start, width = end + 1, min(FIRST_RANGE, width * 2)
    return found


def _read(session: Royalty, start: int, end: int, topics: list[str | None]) -> list[Event]:
    from royalty.chain.events import decode_logs

    address = session.ledger.address
    logs = session.node.logs(address, start, end, topics)
    return list(decode_logs(logs, address=address))


def _topics(name: str, filters: dict[str, Any]) -> list[str | None]:
    """Return the topics that an event's indexed arguments are filtered by; addresses and numbers."""
    from royalty.chain.codec import codec
    from royalty.chain.events import topic_of

    topic = topic_of(name)
    entry, _ = codec().events[bytes.fromhex(topic[2:])]
    indexed = [field["name"] for field in entry.inputs if field["indexed"]]
    unknown = set(filters) - set(indexed)
    if unknown:
        raise KeyError(f"{name} has no indexed {', '.join(sorted(unknown))}")
    words = [_word(filters[field]) if field in filters else None for field in indexed]
    return [topic, *words]


def _word(value: int | str) -> str:
    number = value if isinstance(value, int) else int(value, 16)
    return f"0x{number:064x}"
