"""The recorder: single rows of usage from a web worker, durable when `record` returns.

A row is read as the rows of a log are (design section 4), refused where it is malformed, and appended
to this process's segment; a thread in the background brings segments into the store. Nothing here asks
the chain.
"""

from __future__ import annotations

import hmac
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from json.encoder import encode_basestring_ascii as _quoted
from types import TracebackType
from typing import TYPE_CHECKING, Self

from royalty.days import EPOCH, MAX_DAY
from royalty.errors import InputError, RoyaltyError
from royalty.segments import SegmentWriter
from royalty.store import IDENTITY_BYTES, UsageStore, month_of
from royalty.usage import KINDS, MAX_SECONDS

if TYPE_CHECKING:
    from royalty.logs import Policy
    from royalty.logs.steps import RowCoder

FLUSH_SECONDS = 60.0
FLUSH_BYTES = 64 << 20
MAX_TEXT = 1 << 16
MICRO = 10**6
DAY_US = 86_400 * MICRO
END_US = (MAX_DAY + 1) * DAY_US
FIELDS = (
    "usage_id",
    "work",
    "kind",
    "started_at",
    "watched_seconds",
    "duration_seconds",
    "viewer",
    "session",
)
STEP_FIELDS = ("sections", "status", "user_agent", "uploader", "autoplay", "territory")

Text = str | int | None
Number = str | int | float | Decimal | None
Start = str | datetime | None

_NUMBER = re.compile(r"([0-9]+)(?:\.([0-9]+))?")
_START = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)


class Recorder:
    """Keeps rows of usage in a store, from any number of threads; close it, or use it in a `with`.

    `resend="last"` says that players send an id again with a growing time: the greatest counts.
    What was recorded goes into the store's files every `flush_seconds`, or once `flush_bytes` came
    together, and when the recorder closes; `flush_error` is what stopped the last attempt. Until
    then it lies in segments, which a report counts too. With a `policy`, rows have what its steps need,
    so that their days can be reported under it.
    """

    def __init__(
        self,
        store: UsageStore,
        *,
        resend: str = "first",
        flush_seconds: float = FLUSH_SECONDS,
        flush_bytes: int = FLUSH_BYTES,
        policy: Policy | None = None,
    ) -> None:
        if resend not in ("first", "last"):
            raise InputError("resend is 'first' or 'last'")
        if flush_seconds <= 0 or flush_bytes <= 0:
            raise InputError("flush_seconds and flush_bytes are above zero")
        self.store = store
        self.flush_error: RoyaltyError | None = None
        self._writer = SegmentWriter(store.folder / "ingest")
        self._end = ', "r": true}\n' if resend == "last" else "}\n"
        self._coder = _coder(policy)
        self._keys: dict[int, bytes] = {}
        self._closed = False
        self._flush_seconds, self._flush_bytes = flush_seconds, flush_bytes
        self._flusher: _Flusher | None = None
        self._starting = threading.Lock()
        _after_fork(self)

    def __enter__(self) -> Self:
        """Return the recorder."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def record(
        self,
        *,
        usage_id: Text,
        work: Text,
        kind: str = "view",
        started_at: Start = None,
        watched_seconds: Number = None,
        duration_seconds: Number = None,
        viewer: Text = None,
        session: Text = None,
        **steps: object,
    ) -> None:
        """Keep one row; it is on the disk when this returns.

        `started_at` is RFC 3339 with an offset, or a datetime with a zone; now where it is left out.
        `viewer`, else `session`, is kept as a keyed hash. `steps` are the fields that the recorder's policy
        needs (`status`, `user_agent`, ...), texts as in a log; of them only its answers are kept.
        Raises InputError where the row is malformed (nothing is kept), StoreFailed where the disk refuses.

        >>> recorder.record(usage_id="a1", work="12/3", watched_seconds=184)  # doctest: +SKIP
        """
        line = self._line(
            usage_id,
            work,
            kind,
            started_at,
            watched_seconds,
            duration_seconds,
            viewer,
            session,
            steps=steps,
        )
        self._append(line)

    def record_all(self, rows: Iterable[Mapping[str, object]]) -> int:
        """Keep rows (the arguments of `record` each), all of them or none, and return how many.

        They share one write to the disk, so this is the way for many rows at once. Raises as `record`.

        >>> recorder.record_all([{"usage_id": "a1", "work": "12/3", "watched_seconds": 9}])  # doctest: +SKIP
        """
        lines = [self._line_of(row, at) for at, row in enumerate(rows, 1)]
        if lines:
            self._append("".join(lines))
        return len(lines)

    def flush(self) -> None:
        """Bring everything that was recorded into the store's files; StoreFailed where that fails.

        Nobody needs to call this: what is recorded is durable and counted by reports before it too.
        """
        from royalty.ingest import flush

        self._writer.seal()
        self._writer.sealed_bytes = 0
        flush(self.store)

    def close(self) -> None:
        """Stop the background thread and flush; what cannot be flushed now stays durable and is later."""
        if self._closed:
            return
        self._closed = True
        if self._flusher is not None:
            self._flusher.stop()
        self._try_flush()

    def _append(self, lines: str) -> None:
        if self._closed:
            raise InputError("the recorder is closed; open another")
        if self._flusher is None:
            self._start()
        self._writer.append(lines.encode("ascii"))
        if self._writer.sealed_bytes >= self._flush_bytes and self._flusher is not None:
            self._flusher.wake()

    def _start(self) -> None:
        with self._starting:
            if self._flusher is None:
                self._flusher = _Flusher(self._try_flush, self._flush_seconds)

    def _try_flush(self) -> None:
        """Flush; an error is kept to be looked at, and the segments until the next turn."""
        try:
            self.flush()
            self.flush_error = None
        except RoyaltyError as error:
            self.flush_error = error

    def _forget_parent(self) -> None:
        """In the child of a fork: write segments of its own, from threads of its own."""
        self._writer.forget()
        self._flusher, self._starting = None, threading.Lock()

    def _line_of(self, row: Mapping[str, object], at: int) -> str:
        for name in row:
            if name not in FIELDS and name not in STEP_FIELDS:
                raise InputError(f"row {at}: unknown field '{str(name)[:40]}'")
        values = (row.get(name, _DEFAULTS.get(name)) for name in FIELDS)
        steps = {name: row[name] for name in STEP_FIELDS if name in row}
        try:
            return self._line(*values, steps=steps)
        except InputError as error:
            raise InputError(f"row {at}: {error}") from None

    def _line(
        self,
        usage_id: object,
        work: object,
        kind: object,
        started_at: object,
        watched_seconds: object,
        duration_seconds: object,
        viewer: object,
        session: object,
        *,
        steps: Mapping[str, object],
    ) -> str:
        """Return the row as a segment has it: texts, microseconds, and the viewer's hash."""
        id_text, work_text = text_of("usage_id", usage_id), text_of("work", work)
        if id_text is None or work_text is None:
            raise InputError(f"{'usage_id' if id_text is None else 'work'} is missing")
        number = KINDS.get(kind) if isinstance(kind, str) else None
        if number is None:
            raise InputError(f"kind '{str(kind)[:40]}' is not view, download or excerpt")
        started = started_micro(started_at)
        if not 0 <= started < END_US:
            raise InputError("started_at lies outside 1970 to 2149")
        watched = number_micro("watched_seconds", watched_seconds)
        if watched is None and number != KINDS["download"]:
            raise InputError("watched_seconds is missing")
        duration = number_micro("duration_seconds", duration_seconds)
        identity = text_of("viewer", viewer) or text_of("session", session)
        key = self._key(started // DAY_US)
        return (
            f'{{"i": {_quoted(id_text)}, "w": {_quoted(work_text)}, "k": {number:d}, "s": {started},'
            f' "t": {"null" if watched is None else watched},'
            f' "d": {"null" if duration is None else duration},'
            f' "v": {"null" if identity is None or key is None else _hash(key, identity)}'
            f"{self._steps(key, viewer, session, duration_seconds, steps)}{self._end}"
        )

    def _steps(
        self,
        key: bytes | None,
        viewer: object,
        session: object,
        duration: object,
        steps: Mapping[str, object],
    ) -> str:
        """Return what the policy's steps need of a row, as a segment has it; nothing without steps."""
        for name in steps:
            if name not in STEP_FIELDS:
                raise InputError(f"unknown field '{name[:40]}'")
        if self._coder is None:
            return ""
        given = {"viewer": viewer, "session": session, "duration_seconds": duration, **steps}
        found = self._coder.coded({name: _step_text(name, given[name]) for name in given})
        who = found.pop("session", None)
        if isinstance(who, str):
            found["session"] = _hash(key, who) if who and key is not None else 0
        return "".join(f', "{name}": {value}' for name, value in found.items())

    def _key(self, day: int) -> bytes | None:
        """Return the secret of a day's month, None where it was forgotten.

        It is there before the month's first row is.
        """
        key = self._keys.get(day)
        if key is None:
            key = self.store.secret(month_of(day))
            if key is not None:
                self._keys[day] = key
        return key


def _hash(key: bytes, identity: str) -> int:
    return int.from_bytes(hmac.digest(key, identity.encode(), "sha256")[:IDENTITY_BYTES])


def _coder(policy: Policy | None) -> RowCoder | None:
    """Return what codes the fields of a policy's steps, None where it has none."""
    if policy is None or not policy.needs:
        return None
    from royalty.logs.steps import RowCoder

    return RowCoder(policy)


def _step_text(name: str, value: object) -> str | None:
    """Return a field of a step as the text that a log would have; None: not given."""
    if value is None:
        return None
    if name in ("viewer", "session"):
        return text_of(name, value) or ""
    if isinstance(value, bool | list | dict):
        from royalty.logs.steps import typed_text

        return typed_text(value, name)
    return str(value)


_DEFAULTS = {"kind": "view"}


class _Flusher:
    """Calls a function every so often, and when woken, until stopped."""

    def __init__(self, work: Callable[[], None], seconds: float) -> None:
        self._work, self._seconds = work, seconds
        self._event, self._stopped = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="royalty-flush", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Call it now."""
        self._event.set()

    def stop(self) -> None:
        """Return once it is not being called any more."""
        self._stopped = True
        self._event.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            self._event.wait(self._seconds)
            self._event.clear()
            if not self._stopped:
                self._work()


def _after_fork(recorder: Recorder) -> None:
    known = weakref.ref(recorder)

    def forget() -> None:
        alive = known()
        if alive is not None:
            alive._forget_parent()

    os.register_at_fork(after_in_child=forget)


# --- texts and numbers, as royalty.logs reads them ---


def text_of(field: str, value: object) -> str | None:
    """Return an id as text, None where it is missing; InputError where it is none.

    >>> text_of("work", 7)
    '7'
    """
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise InputError(f"{field} is neither text nor a whole number")
    if len(value) > MAX_TEXT:
        raise InputError(f"{field} is longer than {MAX_TEXT:,} characters")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InputError(f"{field} is not valid Unicode") from None
    return value


def number_micro(field: str, value: object) -> int | None:
    """Return seconds as microseconds (digits past the sixth are cut), None where they are missing.

    >>> number_micro("watched_seconds", "1.25")
    1250000
    """
    if value is None or value == "":
        return None
    if type(value) is int and 0 <= value <= MAX_SECONDS:
        return value * MICRO
    match = _NUMBER.fullmatch(_number_text(field, value))
    if match is None or len(match[1].lstrip("0")) > 10:
        raise InputError(f"{field} '{str(value)[:40]}' is not a number of seconds")
    whole, fraction = int(match[1]), match[2] or ""
    if whole > MAX_SECONDS or (whole == MAX_SECONDS and fraction.strip("0")):
        raise InputError(f"{field} is above {MAX_SECONDS:,}")
    return whole * MICRO + int(fraction[:6].ljust(6, "0"))


def _number_text(field: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise InputError(f"{field} is not a number of seconds")
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) > 40:
            raise InputError(f"{field} is not a number of seconds up to {MAX_SECONDS:,}")
        return format(value, "f")
    return str(value)


def started_micro(value: object) -> int:
    """Return an instant in microseconds since 1970 UTC; now for None.

    >>> started_micro("1970-01-01T01:00:00.5+01:00")
    500000
    """
    if value is None:
        return time.time_ns() // 1000
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InputError("started_at has no zone; pass a datetime with one, such as UTC")
        since = value.astimezone(UTC).replace(tzinfo=None) - datetime(1970, 1, 1)
        return (since.days * 86_400 + since.seconds) * MICRO + since.microseconds
    if not isinstance(value, str):
        raise InputError("started_at is RFC 3339 text, or a datetime with a zone")
    match = _START.fullmatch(value)
    if match is None:
        raise InputError(
            f"started_at '{value[:40]}' is not RFC 3339 with an offset; write for example"
            " 2026-11-19T20:15:00Z"
        )
    year, month, day, hour, minute, second = (int(match[at]) for at in range(1, 7))
    sign, offset_hours, offset_minutes = match[8], int(match[9] or 0), int(match[10] or 0)
    try:
        days = (date(year, month, day) - EPOCH).days
    except ValueError:
        days = None
    if days is None or hour > 23 or max(minute, second, offset_minutes) > 59 or offset_hours > 23:
        raise InputError(f"started_at '{value[:40]}' is no instant")
    seconds = (days * 24 + hour) * 3600 + minute * 60 + second
    offset = (offset_hours * 60 + offset_minutes) * 60 * (-1 if sign == "-" else 1)
    return (seconds - offset) * MICRO + int((match[7] or "")[:6].ljust(6, "0"))
