"""The recorder: what `record` returned for is kept once, through threads, processes, kills and a full disk."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from royalty import ingest, segments
from royalty.days import Period
from royalty.errors import InputError, StoreFailed
from royalty.journal import CRASH_VARIABLE
from royalty.logs import Policy, WorkTable, count, engine, find_sources, read_rows
from royalty.questions import Question
from royalty.recorder import Recorder, number_micro, started_micro
from royalty.recount import counted
from royalty.store import CRASH_POINTS as STORE_POINTS
from royalty.store import UsageStore
from royalty.usage import WorkRef

NOON = "2026-11-19T12:00:00Z"
ROW: dict[str, Any] = {"usage_id": "a", "work": "1/0", "started_at": NOON, "watched_seconds": 40}


@pytest.fixture
def store(tmp_path: Path) -> UsageStore:
    return UsageStore(tmp_path / "platform" / "store")


@pytest.fixture
def recorder(store: UsageStore) -> Iterator[Recorder]:
    with Recorder(store, flush_seconds=3600) as made:
        yield made


def ids(store: UsageStore) -> list[str]:
    """Every row's id in the store's files, as often as it stands there."""
    ingest.flush(store, whole=True)
    files = [str(path) for day in store.days() for path in store.parts("rows", day)]
    if not files:
        return []
    return sorted(row[0] for row in duckdb.read_parquet(files).select("usage_id").fetchall())


# --- one row ---


def test_what_was_recorded_is_on_the_disk_before_any_flush(
    store: UsageStore, recorder: Recorder
) -> None:
    recorder.record(**ROW)
    (path,) = store.folder.joinpath("ingest").glob("*.seg")
    assert b'"i": "a"' in b"".join(segments.frames(path))
    assert store.days() == []


def test_a_closed_recorder_has_flushed_and_takes_no_more(store: UsageStore) -> None:
    with Recorder(store) as recorder:
        recorder.record(**ROW)
    assert list(store.folder.joinpath("ingest").iterdir()) == []
    assert ids(store) == ["a"]
    with pytest.raises(InputError, match="closed"):
        recorder.record(**ROW)


def test_a_viewers_name_is_on_no_disk(store: UsageStore, recorder: Recorder) -> None:
    recorder.record(**ROW, viewer="Ann Example")
    recorder.record(**ROW | {"usage_id": "b"}, session="Ann Example")
    files = [path for path in store.folder.rglob("*") if path.is_file()]
    assert files
    assert not any(b"Ann" in path.read_bytes() for path in files)
    ingest.flush(store, whole=True)
    (part,) = store.parts("rows", store.days()[0])
    assert len(set(duckdb.sql(f"SELECT identity FROM '{part}'").fetchall())) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"usage_id": None}, "usage_id is missing"),
        ({"usage_id": ""}, "usage_id is missing"),
        ({"usage_id": True}, "neither text nor a whole number"),
        ({"usage_id": "\ud800"}, "not valid Unicode"),
        ({"usage_id": "x" * 70_000}, "longer than"),
        ({"work": ""}, "work is missing"),
        ({"kind": ""}, "kind '' is not"),
        ({"kind": "View"}, "kind 'View' is not"),
        ({"watched_seconds": None}, "watched_seconds is missing"),
        ({"watched_seconds": -1}, "not a number of seconds"),
        ({"watched_seconds": float("nan")}, "not a number of seconds"),
        ({"watched_seconds": "1e3"}, "not a number of seconds"),
        ({"watched_seconds": 10**9 + 1}, "above 1,000,000,000"),
        ({"watched_seconds": "9" * 400}, "not a number of seconds"),
        ({"duration_seconds": " 5"}, "not a number of seconds"),
        ({"started_at": "2026-11-19T12:00:00"}, "not RFC 3339 with an offset"),
        ({"started_at": "2026-02-30T12:00:00Z"}, "no instant"),
        ({"started_at": datetime(2026, 11, 19)}, "has no zone"),
        ({"started_at": 1_700_000_000}, "RFC 3339 text, or a datetime"),
        ({"started_at": "1969-12-31T23:59:59Z"}, "outside 1970 to 2149"),
    ],
)
def test_a_malformed_record_is_refused_and_nothing_kept(
    store: UsageStore, recorder: Recorder, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        recorder.record(**ROW | change)
    with pytest.raises(InputError, match=f"row 2: .*{reason}"):
        recorder.record_all([ROW, ROW | change])
    assert ids(store) == []


def test_a_row_of_many_with_an_unknown_field_is_refused(recorder: Recorder) -> None:
    with pytest.raises(InputError, match="row 1: unknown field 'wached'"):
        recorder.record_all([ROW | {"wached": 3}])


def test_a_record_without_a_start_starts_now(store: UsageStore, recorder: Recorder) -> None:
    before = time.time_ns() // 1000
    recorder.record(usage_id="a", work="1/0", watched_seconds=1)
    ingest.flush(store, whole=True)
    (part,) = store.parts("rows", store.days()[0])
    ((started,),) = duckdb.sql(f"SELECT started_us FROM '{part}'").fetchall()
    assert before <= started <= time.time_ns() // 1000


@pytest.mark.parametrize(
    ("value", "micro"),
    [
        (184, 184_000_000),
        ("0.0000019", 1),
        (1e-7, 0),
        (0.1, 100_000),
        (Decimal("2.50"), 2_500_000),
        ("1000000000.0", 10**15),
        ("007", 7_000_000),
        ("", None),
    ],
)
def test_numbers_of_every_type_are_read_as_text(value: Any, micro: int | None) -> None:
    assert number_micro("watched_seconds", value) == micro


def test_a_start_may_be_a_datetime_of_any_zone() -> None:
    berlin = datetime(2026, 11, 19, 13, tzinfo=timezone(timedelta(hours=1)))
    assert started_micro(berlin) == started_micro(NOON)
    assert started_micro(datetime(2026, 11, 19, 12, tzinfo=UTC)) == started_micro(NOON)


texts = st.text("0123456789.-+:TZtz e", max_size=30)
numbers = texts | st.from_regex(r"[0-9]{1,12}(\.[0-9]{1,9})?", fullmatch=True)
starts = texts | st.from_regex(
    r"(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9][Tt][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,8})?"
    r"([Zz]|[+-][0-2][0-9]:[0-6][0-9])",
    fullmatch=True,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cells=st.lists(st.tuples(numbers, starts), min_size=1, max_size=40))
def test_record_reads_texts_as_a_log_is_read(tmp_path: Path, cells: list[tuple[str, str]]) -> None:
    log = tmp_path / "log.csv"
    rows = [f'{at},1/0,"{start}","{number}"' for at, (number, start) in enumerate(cells)]
    log.write_text("usage_id,work,started_at,watched_seconds\n" + "\n".join(rows) + "\n")
    with engine(threads=1) as connection:
        read_rows(connection, find_sources([log]))
        read = connection.execute(
            "SELECT started_us, watched_us FROM rows ORDER BY line"
        ).fetchall()
    assert [_recorded(number, start) for number, start in cells] == read


def _recorded(number: str, start: str) -> tuple[int | None, int | None]:
    try:
        watched = number_micro("watched_seconds", number)
        if watched is None or not start:
            return None, None
        return started_micro(start), watched
    except InputError:
        return None, None


# --- threads, processes, kills ---

WORKER = """
import itertools, os, sys, threading
from pathlib import Path
from royalty.recorder import Recorder
from royalty.store import UsageStore

folder, name, threads, rows, seconds = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:6])
acknowledged = os.open(folder / f"{name}.acks", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
attempted = os.open(folder / f"{name}.tries", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
recorder = Recorder(UsageStore(folder / "store"), flush_seconds=seconds / 1000)
print("ready", flush=True)

def work(thread):
    for at in range(rows):
        usage_id = f"{name}-{thread}-{at}"
        os.write(attempted, (usage_id + "\\n").encode())
        recorder.record(usage_id=usage_id, work="1/0", watched_seconds=40, viewer=f"v{at % 7}")
        os.write(acknowledged, (usage_id + "\\n").encode())

running = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
[one.start() for one in running]
[one.join() for one in running]
recorder.close()
"""


def worker(
    folder: Path,
    name: str,
    *,
    threads: int = 4,
    rows: int = 10**6,
    flush_ms: int = 200,
    crash_at: str = "",
) -> subprocess.Popen[str]:
    """A process that records; what it tried and what was acknowledged stand in files beside the store."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-c", WORKER, folder, name, threads, rows, flush_ms]
    return subprocess.Popen(
        list(map(str, words)),
        env=os.environ | {CRASH_VARIABLE: crash_at},
        stdout=subprocess.PIPE,
        text=True,
    )


def lines(folder: Path, ending: str) -> set[str]:
    return {line for path in folder.glob(f"*.{ending}") for line in path.read_text().split()}


def require_exactly_once(store: UsageStore) -> int:
    """Every acknowledged row once, the others at most once; return how many are there."""
    found = ids(store)
    folder = store.folder.parent
    assert len(found) == len(set(found))
    assert lines(folder, "acks") <= set(found) <= lines(folder, "tries")
    return len(found)


@pytest.mark.parametrize(
    "point",
    [
        "before-segment",
        "after-segment",
        "before-frame:7",
        "after-frame:7",
        "before-sync:9",
        "after-sync:9",
        "before-part",
        "after-part",
        "after-commit",
        "after-remove",
    ],
)
def test_a_kill_at_a_named_point_loses_and_doubles_nothing(store: UsageStore, point: str) -> None:
    folder = store.folder.parent
    process = worker(folder, "one", crash_at=point)
    try:
        assert process.wait(timeout=60) == -signal.SIGKILL
    finally:
        process.kill()
    require_exactly_once(store)
    again = worker(folder, "two", rows=20)
    assert again.wait(timeout=60) == 0
    assert require_exactly_once(store) >= 80


def test_every_named_point_is_killed_at() -> None:
    marks = test_a_kill_at_a_named_point_loses_and_doubles_nothing.pytestmark
    killed = {str(point).partition(":")[0] for mark in marks for point in mark.args[1]}
    elsewhere = {"after-merge", "before-close", "after-close", "after-gone"}
    assert killed | elsewhere == {*segments.CRASH_POINTS, *STORE_POINTS}


@pytest.mark.parametrize("seed", range(3))
def test_processes_killed_at_any_moment_lose_and_double_nothing(
    store: UsageStore, seed: int
) -> None:
    folder = store.folder.parent
    for turn, wait in enumerate((0.11, 0.37, 0.73)):
        running = [worker(folder, f"{turn}-{name}", flush_ms=60) for name in range(2)]
        try:
            for process in running:
                assert process.stdout is not None
                process.stdout.readline()
            time.sleep(wait + seed * 0.05)
        finally:
            for process in running:
                process.kill()
                process.wait(timeout=60)
    assert require_exactly_once(store) > 0


def test_a_kill_between_merging_and_deleting_doubles_nothing(
    store: UsageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from royalty import store as stores

    def killed(point: str) -> None:
        if point == "after-merge":
            raise KeyboardInterrupt

    with Recorder(store) as recorder:
        for at in range(stores.MAX_PARTS):
            recorder.record(**ROW | {"usage_id": str(at)})
            recorder.flush()
        monkeypatch.setattr(stores, "crash_at", killed)
        recorder.record(**ROW | {"usage_id": "last"})
        with pytest.raises(KeyboardInterrupt):
            recorder.flush()
        monkeypatch.undo()
    (day,) = store.days()
    assert len(store.parts("rows", day)) == stores.MAX_PARTS + 2
    assert qualified(store) == stores.MAX_PARTS + 1
    with Recorder(store) as recorder:
        recorder.record(**ROW | {"usage_id": "more"})
    assert len(store.parts("rows", day)) == 1
    assert len(ids(store)) == stores.MAX_PARTS + 2


def test_a_part_that_changed_is_not_merged_and_refused_by_the_report(store: UsageStore) -> None:
    from royalty import store as stores

    with Recorder(store) as recorder:
        recorder.record(**ROW | {"usage_id": "first"})
        recorder.flush()
        (day,) = store.days()
        (part,) = store.parts("rows", day)
        recorder.record(**ROW | {"usage_id": "other"})
        recorder.flush()
        shutil.copy(store.parts("rows", day)[1], part)
        for at in range(stores.MAX_PARTS):
            recorder.record(**ROW | {"usage_id": str(at)})
            recorder.flush()
    assert len(store.parts("rows", day)) == stores.MAX_PARTS + 2
    with pytest.raises(InputError, match=f"{part.name} is damaged"):
        store.need_whole(Period(day, day), lambda _: 0)


def test_threads_share_syncs(
    store: UsageStore, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = itertools.count()
    sync = os.fdatasync

    def slow(descriptor: int) -> None:
        next(synced)
        time.sleep(0.01)
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)

    def work(thread: int) -> None:
        for at in range(10):
            recorder.record(**ROW | {"usage_id": f"{thread}-{at}"})

    running = [threading.Thread(target=work, args=(thread,)) for thread in range(16)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    assert next(synced) < 80
    assert len(ids(store)) == 160


def test_after_a_fork_both_record_into_segments_of_their_own(
    store: UsageStore, recorder: Recorder
) -> None:
    recorder.record(**ROW)
    child = os.fork()
    if child == 0:
        try:
            recorder.record(**ROW | {"usage_id": "child"})
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    recorder.record(**ROW | {"usage_id": "parent"})
    assert len(list(store.folder.joinpath("ingest").glob("*.seg"))) == 2
    assert ids(store) == ["a", "child", "parent"]


# --- a disk that refuses ---


def test_a_full_disk_refuses_keeps_what_was_acknowledged_and_goes_on(
    store: UsageStore, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite
    full = False

    def pwrite(descriptor: int, data: bytes, at: int) -> int:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    recorder.record(**ROW)
    full = True
    for _ in range(3):
        with pytest.raises(StoreFailed, match="No space left"):
            recorder.record(**ROW | {"usage_id": "refused"})
    full = False
    recorder.record(**ROW | {"usage_id": "later"})
    assert ids(store) == ["a", "later"]


def test_a_sync_that_fails_is_told_to_all_who_shared_it(
    store: UsageStore, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder.record(**ROW)
    sync, broken = os.fdatasync, True

    def fdatasync(descriptor: int) -> None:
        time.sleep(0.02)
        if broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    outcomes: list[str] = []

    def work(at: int) -> None:
        try:
            recorder.record(**ROW | {"usage_id": str(at)})
            outcomes.append("kept")
        except StoreFailed:
            outcomes.append("refused")

    running = [threading.Thread(target=work, args=(at,)) for at in range(8)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    assert outcomes == ["refused"] * 8
    broken = False
    recorder.record(**ROW | {"usage_id": "later"})
    found = ids(store)
    assert {"a", "later"} <= set(found)
    assert len(found) == len(set(found))


def test_a_flush_that_fails_keeps_the_segments_for_the_next(
    store: UsageStore, recorder: Recorder
) -> None:
    recorder.record(**ROW)
    with store.locked(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("royalty.store.LOCK_SECONDS", 0.1)
        recorder._try_flush()
    assert isinstance(recorder.flush_error, StoreFailed)
    recorder._try_flush()
    assert recorder.flush_error is None
    assert ids(store) == ["a"]


def test_a_disk_that_is_full_at_the_flush_keeps_the_segments(
    store: UsageStore, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    recorder.record(**ROW)
    with monkeypatch.context() as patch:
        patch.setattr("royalty.store.sync", full)
        recorder._try_flush()
        assert "No space left" in str(recorder.flush_error)
    with monkeypatch.context() as patch:
        patch.setattr(
            UsageStore,
            "gathered",
            lambda *_: duckdb.sql("SELECT error('IO Error: disk full')").show(),
        )
        recorder._try_flush()
        assert "disk full" in str(recorder.flush_error)
    assert ids(store) == ["a"]


def test_a_full_segment_is_followed_by_another(store: UsageStore) -> None:
    writer = segments.SegmentWriter(store.folder / "ingest", segment_bytes=1 << 20)
    line = (b'{"i": "%d", "w": "1/0", "k": 0, "s": 1, "t": 1, "d": null, "v": null}' % 7).ljust(999)
    for _ in range(30):
        writer.append((line + b"\n") * 100)
    with segments.found(store.folder / "ingest") as listed:
        assert [one.ended for one in listed] == [True, True, False]
        assert sum(one.payload().count(b"\n") for one in listed) == 3000
    assert ids(store) == ["7"]


def test_more_than_fits_a_frame_is_refused(store: UsageStore) -> None:
    writer = segments.SegmentWriter(store.folder / "ingest")
    with pytest.raises(InputError, match="too many"):
        writer.append(bytes(segments.MAX_APPEND + 1))


def test_a_wait_that_a_signal_ends_leaves_nothing_stuck(
    store: UsageStore, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder.record(**ROW)
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: (time.sleep(0.3), sync(descriptor)))
    others = [
        threading.Thread(target=recorder.record, kwargs=ROW | {"usage_id": f"other {at}"})
        for at in range(4)
    ]
    for one in others:
        one.start()
    time.sleep(0.05)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            recorder.record(**ROW | {"usage_id": "interrupted"})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    for one in others:
        one.join(timeout=10)
        assert not one.is_alive()
    recorder.record(**ROW | {"usage_id": "later"})
    assert {"a", "later", *(f"other {at}" for at in range(4))} <= set(ids(store))


# --- the same as one count ---

WORKS = WorkTable([("film", WorkRef(1, 1))], [(1, 1, 0, None)], {1: 3})
DAYS = ("2026-11-18", "2026-11-19")
PERIOD = Period(started_micro(DAYS[0] + "T00:00:00Z") // 86_400_000_000, 20_776)
record_rows = st.fixed_dictionaries(
    {
        "usage_id": st.sampled_from("abcdefgh"),
        "work": st.sampled_from(["1/0", "film", "1/2", "unknown"]),
        "kind": st.sampled_from(["view", "view", "view", "download", "excerpt"]),
        "started_at": st.sampled_from(
            [
                f"{day}T{clock}"
                for day in DAYS
                for clock in ("00:00:00Z", "12:00:09.5Z", "12:00:20Z")
            ]
        ),
        "watched_seconds": st.sampled_from(["0", "0.9", "15", "30", "61.5"]),
        "duration_seconds": st.sampled_from(["", "0", "20", "60"]),
        "viewer": st.sampled_from(["ann", "bob"]),
    }
)


def qualified(store: UsageStore) -> int:
    return sum(count.qualified for count in recount(store).values())


def recount(store: UsageStore) -> dict[int, Any]:
    from royalty.logs import NATIVE

    asked = Question(PERIOD, (), Policy(per_viewer_work_day=2), NATIVE, {})
    with counted(asked, WORKS, store) as (_, found):
        return dict(found.days)


def facts(units: Any, excluded: dict[str, int]) -> tuple[Any, ...]:
    left = ("unmatched_work", "below_threshold", "double_click", "over_cap")
    return units, {reason: excluded[reason] for reason in left}


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(record_rows, min_size=1, max_size=24),
    resend=st.sampled_from(["first", "last"]),
    way=st.sampled_from(["record", "record_all", "ingest", "both"]),
    flushes=st.booleans(),
)
def test_what_was_recorded_counts_as_one_count_of_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, str]],
    resend: str,
    way: str,
    flushes: bool,
) -> None:
    # Rows equal but for the viewer: which viewer counts is open (decision 0021).
    viewers: dict[tuple[str, ...], str] = {}
    for row in rows:
        key = tuple(value for name, value in row.items() if name != "viewer")
        row["viewer"] = viewers.setdefault(key, row["viewer"])
    folder = tmp_path_factory.mktemp("equal")
    store = UsageStore(folder / "platform" / "store")
    log, columns = folder / "log.csv", folder / "columns.toml"
    names = list(rows[0])
    log.write_text(
        "\n".join([",".join(names), *(",".join(map(row.__getitem__, names)) for row in rows)])
        + "\n"
    )
    columns.write_text(f'resend = "{resend}"\n' + "".join(f'{name} = "{name}"\n' for name in names))
    if way in ("ingest", "both"):
        found = ingest.ingest(store, [log], columns=columns)
        assert (found.rows, found.malformed) == (len(rows), 0)
    if way != "ingest":
        with Recorder(store, resend=resend) as recorder:
            if way == "record_all":
                recorder.record_all(rows)
            for row in rows if way != "record_all" else []:
                recorder.record(**row)
                if flushes:
                    recorder.flush()
    from royalty.logs import Columns

    once = count(
        find_sources([log], Columns.load(columns)), PERIOD, WORKS, Policy(per_viewer_work_day=2)
    )
    days = recount(store)
    units = [row for day in days.values() for row in day.units]
    excluded = {
        reason: sum(day.excluded[reason] for day in days.values()) for reason in once.excluded
    }
    assert facts(units, excluded) == facts(once.units, once.excluded)


def test_the_greatest_time_of_a_resent_id_counts(store: UsageStore) -> None:
    with Recorder(store, resend="last") as recorder:
        for seconds in (5, 45, 20):
            recorder.record(**ROW | {"watched_seconds": seconds, "kind": "excerpt"})
    (day,) = store.days()
    assert [row.units for row in recount(store)[day].units] == [45]


def test_a_recorder_of_another_way_to_resend_than_the_two_is_refused(store: UsageStore) -> None:
    with pytest.raises(InputError, match="'first' or 'last'"):
        Recorder(store, resend="all")
