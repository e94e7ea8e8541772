"""Segments: files that rows are appended to, durable when the append returns.

    store/ingest/<time>-<pid>-<random>.seg     16 bytes of head, then frames, then zeros
    frame                                      length and CRC-32 of its payload (u32, little-endian), payload

A payload is lines of text. Each process writes segments of its own and holds a lock on the one that it
writes; where the lock is free, nobody writes the file any more. Callers that come while the disk is busy
share the next frame and its `fdatasync`. Space is written with zeros before it is used, so that a commit
changes no metadata of the file and a full disk shows before a frame is begun. The order of frames is that
of their bytes: what one sync made durable, it made durable with all before it. A frame that a kill cut
off fails its checksum, and nothing stands behind it. Why so: docs/decisions/0060-ingest.md.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from royalty.errors import InputError, StoreFailed
from royalty.journal import CRASH_VARIABLE

SUFFIX = ".seg"
MAGIC = b"royalty-segment1"
FRAME = struct.Struct("<II")
FIRST_BYTES = 1 << 20
SEGMENT_BYTES = 16 << 20
MAX_APPEND = 8 << 20
OLD_SECONDS = 3600
CRASH_POINTS = (
    "before-segment",
    "after-segment",
    "before-frame",
    "after-frame",
    "before-sync",
    "after-sync",
    "after-remove",
)
SLOTS = 2
"""Syncs at once: a second one that overlaps the first multiplies what this disk takes (decision 0060)."""


@dataclass(slots=True)
class _Segment:
    """The file that is being written; `end` is where the next frame goes, `size` what has space."""

    path: Path
    files: list[int]
    end: int = len(MAGIC)
    size: int = 0
    syncing: int = 0
    sealed: bool = False

    def close(self) -> None:
        """Let the lock go, so that whoever flushes may delete the file."""
        for descriptor in self.files:
            os.close(descriptor)
        self.files = []


@dataclass(slots=True)
class _Batch:
    """A frame that is written and not synced yet, and who waits for it."""

    segment: _Segment
    file: int
    waiters: list[_Waiter]


@dataclass(slots=True)
class _Waiter:
    """Rows of a caller that waits; woken with an error, with a batch to sync, or with neither: done."""

    lines: bytes
    gate: threading.Lock = field(default_factory=threading.Lock)
    batch: _Batch | None = None
    error: StoreFailed | None = None


class SegmentWriter:
    """Appends lines to this process's segment, from any number of threads."""

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._waiting: list[_Waiter] = []
        self._slots = SLOTS
        self._segment: _Segment | None = None
        self.sealed_bytes = 0

    def append(self, lines: bytes) -> None:
        """Append whole lines; they are on the disk when this returns.

        Raises StoreFailed where the disk refuses: the rows may then be kept or not. InputError where
        they are more than fits a frame.
        """
        if len(lines) > MAX_APPEND:
            raise InputError(
                f"{len(lines):,} bytes at once are too many; give fewer rows at a time"
            )
        waiter = None
        with self._lock:
            if self._slots:
                batch = self._begin(lines, [])
                self._slots -= 1
            else:
                waiter = _Waiter(lines)
                waiter.gate.acquire()
                self._waiting.append(waiter)
        if waiter is None:
            self._commit(batch)
        else:
            self._wait(waiter)

    def seal(self) -> None:
        """Begin a new segment with the next append; the one that was written can be flushed."""
        with self._lock:
            self._seal()

    def forget(self) -> None:
        """After a fork, in the child: leave the parent's segment alone."""
        segment, self._segment = self._segment, None
        self._lock, self._waiting, self._slots = threading.Lock(), [], SLOTS
        if segment is not None:
            segment.close()

    def _wait(self, waiter: _Waiter) -> None:
        """Wait until the rows are durable, syncing their frame where that falls to this thread."""
        try:
            waiter.gate.acquire()
        except BaseException:  # a signal's handler raised
            with self._lock:
                if any(one is waiter for one in self._waiting):
                    self._waiting = [one for one in self._waiting if one is not waiter]
                    raise
            if waiter.batch is not None:
                self._commit(waiter.batch)
            raise
        if waiter.error is not None:
            raise waiter.error
        if waiter.batch is not None:
            self._commit(waiter.batch)

    def _commit(self, batch: _Batch) -> None:
        """Bring a frame onto the disk, tell those who wait, and hand the slot on."""
        error = None
        try:
            _crash_at("before-sync")
            os.fdatasync(batch.file)
            _crash_at("after-sync")
        except OSError as trouble:
            error = _failed(self.folder, trouble)
        except BaseException:
            self._finish(batch, _failed(self.folder, InterruptedError("interrupted")))
            raise
        self._finish(batch, error)
        if error is not None:
            raise error

    def _finish(self, batch: _Batch, error: StoreFailed | None) -> None:
        for waiter in batch.waiters:
            waiter.error = error
            waiter.gate.release()
        with self._lock:
            batch.segment.syncing -= 1
            batch.segment.files.append(batch.file)
            if error is not None:
                self._abandon(batch.segment)
            self._close_if_done(batch.segment)
            self._hand_on()

    def _hand_on(self) -> None:
        """Begin the frame of all who wait and wake the first to sync it; else free the slot."""
        while self._waiting:
            first, *others = self._take_waiting()
            try:
                batch = self._begin(b"".join(one.lines for one in (first, *others)), others)
            except StoreFailed as error:
                for waiter in (first, *others):
                    waiter.error = error
                    waiter.gate.release()
                continue
            first.batch = batch
            first.gate.release()
            return
        self._slots += 1

    def _take_waiting(self) -> list[_Waiter]:
        """Return those who wait, as many as fit a frame."""
        size = number = 0
        for waiter in self._waiting:
            size += len(waiter.lines)
            if number and size > MAX_APPEND:
                break
            number += 1
        taken, self._waiting = self._waiting[:number], self._waiting[number:]
        return taken

    def _begin(self, lines: bytes, waiters: list[_Waiter]) -> _Batch:
        """Write a frame into the current segment (in the page cache, until it is synced)."""
        frame = FRAME.pack(len(lines), zlib.crc32(lines)) + lines
        try:
            segment = self._room(len(frame))
            _crash_at("before-frame")
            _write_at(segment.files[-1], frame, segment.end)
            _crash_at("after-frame")
        except OSError as trouble:
            if self._segment is not None and self._segment.end > len(MAGIC):
                self._abandon(self._segment)
            raise _failed(self.folder, trouble) from None
        segment.end += len(frame)
        segment.syncing += 1
        return _Batch(segment, segment.files.pop(), waiters)

    def _room(self, size: int) -> _Segment:
        """Return the segment with room for a frame and for the zeros that end it."""
        segment = self._segment
        if segment is not None and segment.end + size + FRAME.size > self._segment_bytes:
            self._seal()
            segment = None
        if segment is None:
            segment = self._segment = _new_segment(self.folder)
        needed = segment.end + size + FRAME.size
        while segment.size < needed:
            grown = max(2 * segment.size, FIRST_BYTES)
            _write_at(segment.files[-1], bytes(grown - segment.size), segment.size)
            os.fsync(segment.files[-1])
            segment.size = grown
        return segment

    def _seal(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            self.sealed_bytes += segment.end
            segment.sealed = True
            self._close_if_done(segment)

    def _abandon(self, segment: _Segment) -> None:
        if segment is self._segment:
            self._seal()

    def _close_if_done(self, segment: _Segment) -> None:
        if segment.sealed and not segment.syncing:
            segment.close()


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment that was found; `ended` says that nobody writes it any more."""

    path: Path
    ended: bool

    def payload(self) -> bytes:
        """Return the lines of its whole frames; none where it was flushed and deleted meanwhile."""
        try:
            return b"".join(frames(self.path))
        except FileNotFoundError:
            return b""


@contextmanager
def found(folder: Path) -> Iterator[list[Segment]]:
    """Yield a folder's segments in the order of their making; those that have ended stay locked."""
    held: list[int] = []
    try:
        listed = []
        for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.exists() else []:
            descriptor = _locked(path)
            if descriptor is not None:
                held.append(descriptor)
            listed.append(Segment(path, descriptor is not None))
        yield listed
    finally:
        for descriptor in held:
            os.close(descriptor)


def frames(path: Path) -> Iterator[bytes]:
    """Yield the payloads of a segment's whole frames, in order; a part cut off ends it."""
    data = path.read_bytes()
    if not data.startswith(MAGIC):
        return
    at = len(MAGIC)
    while at + FRAME.size <= len(data):
        size, checksum = FRAME.unpack_from(data, at)
        payload = data[at + FRAME.size : at + FRAME.size + size]
        if not size or len(payload) < size or zlib.crc32(payload) != checksum:
            return
        yield payload
        at += FRAME.size + size


def remove(segments: list[Segment], folder: Path) -> None:
    """Delete segments whose rows are in the store, and what a kill left of making one."""
    for segment in segments:
        segment.path.unlink()
        _crash_at("after-remove")
    for path in folder.glob(".new-*"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > OLD_SECONDS:
                path.unlink()


def sync_folder(folder: Path) -> None:
    """Bring a folder's list of names onto the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _new_segment(folder: Path) -> _Segment:
    """Make a segment under a lock before anybody can see it by its name."""
    if not folder.exists():
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        sync_folder(folder.parent)
    name = f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}"
    hidden, path = folder / f".new-{name}", folder / f"{name}{SUFFIX}"
    files = [os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)]
    try:
        fcntl.flock(files[0], fcntl.LOCK_EX)
        # A descriptor a sync: an error of the disk is told once to each.
        files += [os.open(hidden, os.O_RDWR | os.O_CLOEXEC) for _ in range(SLOTS)]
        segment = _Segment(path, files)
        _write_at(files[0], MAGIC + bytes(FIRST_BYTES - len(MAGIC)), 0)
        os.fsync(files[0])
        segment.size = FIRST_BYTES
        _crash_at("before-segment")
        hidden.rename(path)
        sync_folder(folder)
    except BaseException:
        for descriptor in files:
            os.close(descriptor)
        with suppress(OSError):
            hidden.unlink()
        raise
    _crash_at("after-segment")
    return segment


def _locked(path: Path) -> int | None:
    """Return a descriptor that holds a file's lock, None where another holds it or it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _write_at(descriptor: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written


def _failed(folder: Path, trouble: OSError) -> StoreFailed:
    return StoreFailed(
        f"usage cannot be kept in {folder}: {trouble.strerror or trouble}; what record() had"
        " returned for is safe"
    )


_passes: dict[str, int] = {}


def _crash_at(point: str) -> None:
    """Kill this process at its nth pass of a point (`point` or `point:n`): for tests of what a kill leaves."""
    if _CRASH and point == _CRASH[0]:
        _passes[point] = _passes.get(point, 0) + 1
        if _passes[point] == int(_CRASH[1] or 1):
            os.kill(os.getpid(), signal.SIGKILL)


_CRASH = os.environ.get(CRASH_VARIABLE, "").partition(":")[::2]
