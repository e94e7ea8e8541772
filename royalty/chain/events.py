"""Events of our contracts as plain rows, out of raw logs: the reference reader, one log at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from royalty.chain.codec import codec, decode


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `args` by name: addresses checksummed, bytes as bytes, structs as dicts, numbers as ints."""

    name: str
    args: dict[str, Any]
    address: str
    block: int
    block_hash: str
    transaction: str
    log_index: int


def number(value: int | str | None) -> int:
    """Return the int of a JSON-RPC quantity; 0 where there is none."""
    return value if isinstance(value, int) else int(value or "0x0", 16)


def to_bytes(value: str | bytes) -> bytes:
    """Return the bytes of JSON-RPC data."""
    return bytes(value) if isinstance(value, bytes) else bytes.fromhex(value.removeprefix("0x"))


def decode_log(log: Mapping[str, Any], *, contract: str = "Royalty") -> Event | None:
    """Return the event of a raw JSON-RPC log, or None where it is none that the contract's ABI knows."""
    topics = [to_bytes(topic) for topic in log["topics"]]
    known = codec(contract).events.get(topics[0]) if topics else None
    if known is None:
        return None
    entry, _ = known
    indexed = [field for field in entry.inputs if field["indexed"]]
    if len(indexed) != len(topics) - 1:
        return None
    found = decode(indexed, b"".join(topics[1:]))
    found |= decode(
        [field for field in entry.inputs if not field["indexed"]], to_bytes(log["data"])
    )
    return Event(
        entry.name,
        {field["name"]: found[field["name"]] for field in entry.inputs},
        log["address"],
        number(log.get("blockNumber")),
        str(log.get("blockHash")),
        str(log.get("transactionHash")),
        number(log.get("logIndex")),
    )


def decode_logs(
    logs: Iterable[Mapping[str, Any]], *, address: str, contract: str = "Royalty"
) -> tuple[Event, ...]:
    """Return the events of one contract among raw logs, in their order."""
    ours = (log for log in logs if str(log["address"]).lower() == address.lower())
    return tuple(event for log in ours if (event := decode_log(log, contract=contract)))


def topic_of(event: str, *, contract: str = "Royalty") -> str:
    """Return the 0x topic of an event's name, for a log filter."""
    for topic, (entry, _) in codec(contract).events.items():
        if entry.name == event:
            return "0x" + topic.hex()
    raise KeyError(event)
