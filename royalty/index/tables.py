"""Events as Arrow tables and back: one column an argument, typed after the contract's ABI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

from royalty.chain.codec import codec
from royalty.chain.events import Event
from royalty.days import day_of_timestamp

if TYPE_CHECKING:
    import pyarrow as pa

HEAD = ("address", "block", "block_hash", "transaction", "log_index", "timestamp")
INT64_BITS = 63
DECIMAL_BITS = 126  # what decimal128(38) holds


@dataclass(frozen=True, slots=True)
class ChainEvent(Event):
    """An event with the time of its block, in Unix seconds."""

    timestamp: int

    @property
    def day(self) -> int:
        """The UTC day of the block, since 1970-01-01."""
        return day_of_timestamp(self.timestamp)

    @property
    def time(self) -> str:
        """The time of the block, RFC 3339 in UTC."""
        return datetime.fromtimestamp(self.timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def order(self) -> tuple[int, int]:
        """Where the event stands on the chain."""
        return self.block, self.log_index


def timed(event: Event, timestamp: int) -> ChainEvent:
    """Return the event with the Unix seconds of its block."""
    return ChainEvent(
        event.name,
        event.args,
        event.address,
        event.block,
        event.block_hash,
        event.transaction,
        event.log_index,
        timestamp,
    )


@cache
def fields_of(name: str) -> tuple[Mapping[str, Any], ...]:
    """Return the ABI fields of an event of the ledger; KeyError where it has no such event."""
    for entry, _ in codec().events.values():
        if entry.name == name:
            return entry.inputs
    raise KeyError(name)


def event_names() -> tuple[str, ...]:
    """Return the names of all events of the ledger, sorted."""
    return tuple(sorted(entry.name for entry, _ in codec().events.values()))


@cache
def schema_of(name: str) -> pa.Schema:
    """Return the Arrow schema of an event's table."""
    import pyarrow as pa

    head = {"block": pa.int64(), "log_index": pa.int64(), "timestamp": pa.int64()}
    columns = [pa.field(word, head.get(word, pa.string()), nullable=False) for word in HEAD]
    return pa.schema(columns + [pa.field(f["name"], _arrow_type(f)) for f in fields_of(name)])


def to_table(name: str, events: Sequence[ChainEvent]) -> pa.Table:
    """Return one event's table, in the order given."""
    import pyarrow as pa

    columns = {word: [getattr(event, word) for event in events] for word in HEAD}
    for field in fields_of(name):
        columns[field["name"]] = [_to_arrow(field, event.args[field["name"]]) for event in events]
    return pa.table(columns, schema=schema_of(name))


def from_table(name: str, table: pa.Table) -> list[ChainEvent]:
    """Return the events of a table that `to_table` made."""
    head = [table.column(word).to_pylist() for word in HEAD]
    fields = fields_of(name)
    words = [field["name"] for field in fields]
    values = [
        [_from_arrow(field, value) for value in table.column(field["name"]).to_pylist()]
        for field in fields
    ]
    return [
        ChainEvent(
            name,
            {word: column[row] for word, column in zip(words, values, strict=True)},
            *(column[row] for column in head),
        )
        for row in range(table.num_rows)
    ]


def _bits(field: Mapping[str, Any]) -> int:
    return int(str(field["type"]).removeprefix("uint") or 256)


def _element(field: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = str(field["type"])
    return {**field, "type": kind[: kind.rindex("[")]}


def _arrow_type(field: Mapping[str, Any]) -> pa.DataType:
    import pyarrow as pa

    kind = str(field["type"])
    if kind.endswith("]"):
        return pa.list_(_arrow_type(_element(field)))
    if kind == "tuple":
        return pa.struct(
            [pa.field(part["name"], _arrow_type(part)) for part in field["components"]]
        )
    if kind.startswith("uint"):
        if _bits(field) <= INT64_BITS:
            return pa.int64()
        return pa.decimal128(38, 0) if _bits(field) <= DECIMAL_BITS else pa.string()
    if kind == "bool":
        return pa.bool_()
    return pa.binary() if kind.startswith("bytes") else pa.string()


def _to_arrow(field: Mapping[str, Any], value: Any) -> Any:
    kind = str(field["type"])
    if kind.startswith("uint") and not kind.endswith("]") and _bits(field) > INT64_BITS:
        return Decimal(value) if _bits(field) <= DECIMAL_BITS else str(value)
    return value


def _from_arrow(field: Mapping[str, Any], value: Any) -> Any:
    kind = str(field["type"])
    if kind.startswith("uint") and not kind.endswith("]") and _bits(field) > INT64_BITS:
        return int(value)
    return value
