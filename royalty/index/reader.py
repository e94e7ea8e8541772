"""The chain's events as they stand now: final blocks from disk, the rest read again each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from royalty.chain.events import decode_log, number
from royalty.chain.node import Block, Node
from royalty.errors import ChainError, NodeRefused, NodeTimeout
from royalty.index import parts as files
from royalty.index.parts import Part
from royalty.index.tables import ChainEvent, event_names, timed

Progress = Callable[[int, int], None]  # blocks read, blocks to read

FIRST_SPAN = 2_000
LOCAL_SPAN = 1_000_000
LARGEST_SPAN = 1_000_000
FEW_LOGS = 2_000
FLUSH_EVENTS = 50_000
ATTEMPTS = 5


class _ChainMovedError(Exception):
    """The chain changed while it was read, or another sync merged a file away: look again."""


@dataclass(slots=True)
class Snapshot:
    """All events up to one block, `head`; what lies on disk is read when it is asked for."""

    folder: Path
    start: int
    parts: tuple[Part, ...]
    head: Block
    recent: tuple[ChainEvent, ...]
    added: int
    dropped: int
    _read: dict[str, list[ChainEvent]] = field(default_factory=dict, repr=False)

    def events(self, name: str) -> list[ChainEvent]:
        """Return the events of one name in chain order.

        Raises KeyError for a name that the ledger lacks, ChainError where other syncs leave nothing
        to read from.
        """
        if name not in event_names():
            raise KeyError(name)
        if name not in self._read:
            self._read[name] = self._stored(name) + [row for row in self.recent if row.name == name]
        return list(self._read[name])

    def _stored(self, name: str) -> list[ChainEvent]:
        """Return what is on disk; parts that another sync merged meanwhile are found again."""
        last = self.parts[-1].last if self.parts else -1
        parts = self.parts
        for _ in range(ATTEMPTS):
            try:
                rows = [row for part in parts for row in files.read_part(self.folder, part, name)]
                return [row for row in rows if row.block <= last]
            except FileNotFoundError:
                found = files.chain_of(files.list_parts(self.folder), self.start)
                parts = tuple(found) if found and found[-1].last >= last else parts
        raise ChainError("the index changed while it was read; try again")

    @property
    def count(self) -> int:
        """How many events there are, of all names."""
        return sum(part.events for part in self.parts) + len(self.recent)


@dataclass(frozen=True, slots=True)
class Index:
    """The events of one contract of one chain, kept in `folder` from its first block, `start`, on.

    `confirmations`: a block is kept once that many blocks stand above it.
    """

    node: Node
    address: str
    start: int
    folder: Path
    confirmations: int

    def sync(self, progress: Progress | None = None) -> Snapshot:
        """Read what is new, keep what is final, drop what a reorg took back; return what stands.

        Raises ChainError where the node does not answer, or the chain moves under every attempt.
        """
        added = dropped = 0
        for _ in range(ATTEMPTS):
            try:
                snapshot = self._sync(progress)
                added, dropped = added + snapshot.added, dropped + snapshot.dropped
                return replace(snapshot, added=added, dropped=dropped)
            except (_ChainMovedError, FileNotFoundError):
                continue
        raise ChainError("the chain changes faster than it can be read; try again later")

    def stored(self) -> Snapshot:
        """Return what is on disk alone, without asking the node for anything new.

        What a reorg took back since the last sync is still in it.
        """
        found = files.chain_of(files.list_parts(self.folder), self.start)
        last = found[-1] if found else Part(self.start, self.start - 1, 0, "")
        head = Block(last.last, last.end_hash, "", 0)
        return Snapshot(self.folder, self.start, tuple(found), head, (), 0, 0)

    def _sync(self, progress: Progress | None) -> Snapshot:
        head = self.node.block("latest")
        final = head.number - self.confirmations
        kept, dropped = self._kept(head, final)
        after = kept[-1].last + 1 if kept else self.start
        added = 0
        for first, last, events in self._ranges(after, final, progress):
            kept, added = self._keep(kept, first, last, events), added + len(events)
        after = max(final + 1, after)
        recent = self._read(after, head.number) if after <= head.number else []
        self._still(head)
        return Snapshot(self.folder, self.start, tuple(kept), head, tuple(recent), added, dropped)

    # --- what lies on disk ---

    def _kept(self, head: Block, final: int) -> tuple[list[Part], int]:
        """Return the parts that the chain still holds, and how many events of others it lost."""
        files.sweep(self.folder)
        known = [part for part in files.list_parts(self.folder) if part.last <= head.number]
        heights = sorted({part.last for part in known})
        hashes = {block.number: block.hash for block in self.node.blocks(heights)}
        gone = [part for part in known if not files.is_on_chain(part, hashes)]
        standing = [part for part in known if part not in gone and part.last <= final]
        kept = files.chain_of(standing, self.start)
        merged = [p for p in standing if p not in kept and kept and p.last <= kept[-1].last]
        files.drop_parts(self.folder, [*gone, *merged])
        return kept, sum(part.events for part in gone)

    def _keep(
        self, kept: list[Part], first: int, last: Block, events: list[ChainEvent]
    ) -> list[Part]:
        """Write a new part, together with the small ones before it; return the parts that stand."""
        taken = files.absorbed(kept, len(events))
        older = [
            row
            for part in taken
            for name in event_names()
            for row in files.read_part(self.folder, part, name)
        ]
        start = taken[0].first if taken else first
        part = Part(start, last.number, len(older) + len(events), last.hash)
        files.write_part(self.folder, part, [*older, *events])
        files.drop_parts(self.folder, taken)
        return [*kept[: len(kept) - len(taken)], part]

    # --- what the node says ---

    def _ranges(
        self, first: int, final: int, progress: Progress | None
    ) -> Iterator[tuple[int, Block, list[ChainEvent]]]:
        """Yield (first block, last block, events) of what is new, in pieces worth a part each."""
        ends: list[Block] = []
        events: list[ChainEvent] = []
        start = first
        for end, logs in self._pieces(first, final):
            events += self._decoded(logs)
            ends.append(end)
            if progress:
                progress(end.number - first + 1, final - first + 1)
            if len(events) >= FLUSH_EVENTS or end.number == final:
                self._still(*ends)
                yield start, end, events
                start, ends, events = end.number + 1, [], []

    def _pieces(self, first: int, final: int) -> Iterator[tuple[Block, list[dict[str, Any]]]]:
        """Yield (last block, raw logs) of ranges; they shrink where the node refuses, then grow."""
        span = LOCAL_SPAN if self.node.is_local else FIRST_SPAN
        while first <= final:
            end = self.node.block(min(first + span - 1, final))
            try:
                logs = self.node.logs(self.address, first, end.number)
            except (NodeRefused, NodeTimeout):
                if span == 1:
                    raise
                span = max(1, min(span, end.number - first + 1) // 2)
                continue
            yield end, logs
            first = end.number + 1
            if len(logs) < FEW_LOGS:
                span = min(2 * span, LARGEST_SPAN)

    def _read(self, first: int, last: int) -> list[ChainEvent]:
        """Return the events of blocks that are not final yet."""
        return [row for _, logs in self._pieces(first, last) for row in self._decoded(logs)]

    def _decoded(self, logs: Sequence[Mapping[str, Any]]) -> list[ChainEvent]:
        ours = [log for log in logs if str(log["address"]).lower() == self.address.lower()]
        times = self._times(ours)
        events = []
        for log in ours:
            event = decode_log(log)
            if event is not None:
                events.append(timed(event, times[event.block]))
        return events

    def _times(self, logs: Sequence[Mapping[str, Any]]) -> dict[int, int]:
        """Return each block's Unix seconds: as its logs say, or asked for where they do not."""
        times: dict[int, int] = {}
        for log in logs:
            if log.get("blockTimestamp") is not None:
                times[number(log["blockNumber"])] = number(log["blockTimestamp"])
        missing = sorted({number(log["blockNumber"]) for log in logs} - set(times))
        return times | {block.number: block.timestamp for block in self.node.blocks(missing)}

    def _still(self, *blocks: Block) -> None:
        """Raise _ChainMovedError unless the blocks are still the chain's."""
        now = self.node.blocks([block.number for block in blocks])
        if [block.hash for block in now] != [block.hash for block in blocks]:
            raise _ChainMovedError
