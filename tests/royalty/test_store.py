"""The usage store: a day's rows are a set, however they came; viewers are hashes; kills do no harm."""

from __future__ import annotations

import hashlib
import hmac
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from royalty.days import Period, parse_day
from royalty.errors import InputError
from royalty.evidence import Document
from royalty.logs import NATIVE, Columns, Counting, Policy, WorkTable
from royalty.questions import Question
from royalty.recount import count_day
from royalty.store import ROW_FIELDS, UsageStore
from royalty.usage import WorkRef
from royalty.worksmap import map_csv, read_map

FIRST = parse_day("2024-10-30")  # two days before the end of a month
DAYS = range(FIRST, FIRST + 4)
SECOND = 1_000_000
DAY_US = 86_400 * SECOND
POLICY = Policy(per_viewer_work_day=2)
MATCHER = WorkTable(
    [("film", WorkRef(1, 0)), ("other", WorkRef(1, 2))],
    [(1, 1, FIRST - 9, FIRST + 2), (1, 2, FIRST + 2, None)],
    {1: 2},
)


SCHEMA = pyarrow.schema(
    [
        *((name, pyarrow.string()) for name in ("usage_id", "work", "identity", "malformed")),
        *(
            (name, pyarrow.int64())
            for name in ("kind", "started_us", "watched_us", "duration_us", "file", "line", "day")
        ),
        ("resend", pyarrow.bool_()),
    ]
)


@dataclass(frozen=True)
class Row:
    usage_id: str | None
    work: str
    kind: int
    started_us: int
    watched_us: int | None
    duration_us: int | None
    identity: str | None
    malformed: str | None = None

    @property
    def day(self) -> int:
        return self.started_us // DAY_US


@dataclass(frozen=True)
class Coming:
    """Rows that come with one report, which asks for a period."""

    rows: tuple[Row, ...]
    period: Period


@st.composite
def rows(draw: st.DrawFn) -> Row:
    at = draw(st.sampled_from([0, 1, 20 * SECOND, 31 * SECOND, DAY_US // 2, DAY_US - SECOND]))
    usage_id = draw(st.sampled_from([None, "a", "b", "c", "d", "e", "f"]))
    kind = draw(st.sampled_from([0, 0, 0, 1, 2]))
    watched = [0, 900_000, 15 * SECOND, 30 * SECOND, 61_500_000]
    return Row(
        usage_id,
        draw(st.sampled_from(["1/0", "1/1", "film", "other", "unknown"])),
        kind,
        draw(st.sampled_from(DAYS)) * DAY_US + at,
        draw(st.sampled_from([None, *watched] if kind == 1 else watched)),
        draw(st.sampled_from([None, 0, 20 * SECOND, 60 * SECOND])),
        draw(st.sampled_from(["ann", "bob"] if usage_id is None else [None, "ann", "bob"])),
        draw(st.sampled_from([None] * 9 + ["work is missing"])),
    )


periods = st.tuples(st.sampled_from(DAYS), st.sampled_from(DAYS)).map(
    lambda ends: Period(min(ends), max(ends))
)
WHOLE = Period(DAYS[0], DAYS[-1])


def same_viewer(found: list[Row]) -> list[Row]:
    """Rows equal but for the viewer get one viewer: which of them counts is open (decision 0021)."""
    viewers: dict[tuple[object, ...], str | None] = {}
    made = []
    for row in found:
        key = (row.usage_id, row.work, row.kind, row.started_us, row.watched_us, row.duration_us)
        if row.usage_id is not None:
            row = replace(row, identity=viewers.setdefault(key, row.identity))
        made.append(row)
    return made


CONNECTION = duckdb.connect(config={"threads": 1})


def load(found: list[Row], resend: bool) -> duckdb.DuckDBPyConnection:
    """Put rows into the table `rows`, of the shape that `royalty.logs.read_rows` makes."""
    fields = ", ".join(f"{field} {kind}" for field, kind in ROW_FIELDS if field != "identity")
    CONNECTION.execute(
        f"CREATE OR REPLACE TABLE rows (file INTEGER, line BIGINT, {fields}, identity VARCHAR,"
        " day INTEGER, resend BOOLEAN, malformed VARCHAR)"
    )
    values = [
        {**asdict(row), "file": 0, "line": line, "day": row.day, "resend": resend}
        for line, row in enumerate(found)
    ]
    if values:
        table = pyarrow.Table.from_pylist(values, schema=SCHEMA)
        CONNECTION.register("coming", table)
        CONNECTION.execute("INSERT INTO rows BY NAME SELECT * FROM coming")
        CONNECTION.unregister("coming")
    return CONNECTION


def come(store: UsageStore, coming: Coming, resend: bool = False) -> None:
    connection = load(list(coming.rows), resend)
    with store.staged(connection, "rows", coming.period) as staged:
        staged.commit()


def question(resend: bool) -> Question:
    columns = Columns(NATIVE.fields, "last" if resend else "first")
    return Question(WHOLE, (), POLICY, columns, {})


def recounted(store: UsageStore, resend: bool = False) -> dict[int, dict[str, Any]]:
    """What each day comes to when it is counted out of the store."""
    connection = load([], resend)
    with store.staged(connection, "rows", WHOLE) as staged:
        return {
            day: facts(count_day(connection, staged, day, MATCHER, question(resend)))
            for day in DAYS
        }


def qualified(store: UsageStore) -> list[int]:
    return [day["qualified"] for day in recounted(store).values()]


def counted_at_once(found: list[Row], day: int, resend: bool) -> dict[str, Any]:
    """What a day comes to when all rows are counted together, without any store."""
    connection = load([row for row in found if not row.malformed], resend)
    only = Period(day, day)
    counting = Counting(connection, MATCHER, POLICY, only)
    counting.add("SELECT * EXCLUDE (malformed) FROM rows", only)
    return facts(counting.result([]))


def facts(count: Any) -> dict[str, Any]:
    """What a recount must have in common with one count: all but how often equal rows came."""
    excluded = {
        why: n for why, n in count.excluded.items() if why not in ("duplicate", "malformed")
    }
    return {
        "units": count.units,
        "qualified": count.qualified,
        "without_identity": count.without_identity,
        "excluded": excluded,
    }


def known_of(day: int, comings: list[Coming]) -> list[Row]:
    """Every row of a day that was asked for, and of the day before where either was asked for."""
    return [
        row
        for coming in comings
        for row in coming.rows
        if (row.day == day and day in coming.period)
        or (row.day == day - 1 and (day in coming.period or day - 1 in coming.period))
    ]


@pytest.fixture
def store(tmp_path: Path) -> UsageStore:
    return UsageStore(tmp_path / "store")


slow = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@slow
@given(
    found=st.lists(rows(), max_size=24).map(same_viewer),
    cuts=st.lists(st.integers(0, 3), min_size=24, max_size=24),
    resend=st.booleans(),
)
def test_any_partition_of_a_log_counts_as_the_whole_log_at_once(
    tmp_path: Path, found: list[Row], cuts: list[int], resend: bool
) -> None:
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    store = UsageStore(tmp_path / "store")
    for part in range(4):
        mine = [row for row, cut in zip(found, cuts, strict=False) if cut == part]
        come(store, Coming(tuple(mine + mine[:2]), WHOLE), resend)
    assert recounted(store, resend) == {day: counted_at_once(found, day, resend) for day in DAYS}


@slow
@given(
    comings=st.lists(st.tuples(st.lists(rows(), max_size=8), periods), min_size=1, max_size=4),
    resend=st.booleans(),
)
@example(
    comings=[
        ([Row("a", "film", 0, (FIRST + 1) * DAY_US, 40 * SECOND, None, "ann")], WHOLE),
        ([Row("a", "film", 0, FIRST * DAY_US, 0, None, "ann")], Period(FIRST + 1, FIRST + 1)),
    ],
    resend=False,
)
def test_a_day_counts_what_was_asked_of_it_and_the_ids_of_the_day_before(
    tmp_path: Path, comings: list[tuple[list[Row], Period]], resend: bool
) -> None:
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    store = UsageStore(tmp_path / "store")
    every = iter(same_viewer([row for found, _ in comings for row in found]))
    made = [Coming(tuple(next(every) for _ in found), period) for found, period in comings]
    for coming in made:
        come(store, coming, resend)
    assert recounted(store, resend) == {
        day: counted_at_once(known_of(day, made), day, resend) for day in DAYS
    }


ROW = Row("a", "film", 0, FIRST * DAY_US + 7, 40 * SECOND, None, "ann")


def test_the_same_rows_again_add_nothing(store: UsageStore) -> None:
    found = (ROW, replace(ROW, usage_id="b", duration_us=9), replace(ROW, usage_id=None))
    come(store, Coming(found, WHOLE))
    before = sorted(store.folder.rglob("*.parquet"))
    come(store, Coming(found[::-1] + found, WHOLE))
    assert sorted(store.folder.rglob("*.parquet")) == before
    assert store.days() == [FIRST]


def test_a_duplicate_itself_makes_the_next_days_row_one(store: UsageStore) -> None:
    again = [replace(ROW, started_us=(FIRST + later) * DAY_US) for later in (0, 1, 2, 3)]
    for row in reversed(again):
        come(store, Coming((row,), Period(row.day, row.day)))
    assert qualified(store) == [1, 0, 0, 0]


def test_of_the_day_before_only_ids_are_kept(store: UsageStore) -> None:
    eve = replace(ROW, started_us=(FIRST - 1) * DAY_US)
    come(store, Coming((eve, replace(eve, usage_id=None), ROW), Period(FIRST, FIRST)))
    (ids,) = store.parts("ids", FIRST - 1)
    assert duckdb.sql(f"SELECT * FROM '{ids}'").fetchall() == [("a",)]
    assert store.days() == [FIRST]
    assert qualified(store) == [0, 0, 0, 0]


def test_viewers_are_kept_as_keyed_hashes_that_change_with_the_month(store: UsageStore) -> None:
    late = replace(ROW, started_us=(FIRST + 2) * DAY_US)
    come(store, Coming((ROW, late), WHOLE))
    kept = {}
    for day, month in ((FIRST, "2024-10"), (FIRST + 2, "2024-11")):
        key = (store.folder / "secrets" / f"{month}.key").read_bytes()
        (part,) = store.parts("rows", day)
        ((kept[month],),) = duckdb.sql(f"SELECT identity FROM '{part}'").fetchall()
        digest = hmac.new(key, b"ann", hashlib.sha256).digest()
        assert kept[month] == int.from_bytes(digest[:8])
    assert kept["2024-10"] != kept["2024-11"]
    for path in store.folder.rglob("*"):
        assert path.is_dir() or b"ann" not in path.read_bytes()


def test_secrets_are_for_their_owner_alone_and_stay(store: UsageStore) -> None:
    come(store, Coming((ROW,), Period(FIRST, FIRST)))
    key = store.folder / "secrets" / "2024-10.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o077 == 0
    before = key.read_bytes()
    come(store, Coming((ROW, replace(ROW, usage_id="b")), WHOLE))
    assert key.read_bytes() == before


def test_stored_rows_that_changed_or_are_gone_are_refused(store: UsageStore) -> None:
    found = (ROW, replace(ROW, usage_id="b"), replace(ROW, started_us=(FIRST - 1) * DAY_US))
    come(store, Coming(found, Period(FIRST, FIRST)))

    def check(reported: int = 2, day: int = FIRST) -> None:
        store.need_whole(Period(day, day), lambda asked: reported if asked == FIRST else 0)

    check()
    check(day=FIRST + 1)  # its eve counts too
    with pytest.raises(InputError, match="has 2 of the 3 rows that 2024-10-30 was reported with"):
        check(3, day=FIRST + 1)
    for what, day in (("rows", FIRST), ("ids", FIRST - 1)):
        (part,) = store.parts(what, day)
        content = part.read_bytes()
        for changed in (content[:-1], b"", bytes([content[0], content[1] ^ 1]) + content[2:]):
            part.write_bytes(changed)
            with pytest.raises(InputError, match=f"{part.name} is damaged; bring it back"):
                check()
        part.write_bytes(content)
    store.parts("rows", FIRST)[0].unlink()
    with pytest.raises(InputError, match="has 0 of the 2 rows"):
        check()


def test_without_its_secret_a_month_is_closed(store: UsageStore) -> None:
    come(store, Coming((ROW,), WHOLE))
    (store.folder / "secrets" / "2024-10.key").unlink()
    with pytest.raises(InputError, match=r"2024-10\.key is gone"):
        come(store, Coming((ROW,), WHOLE))
    come(
        store,
        Coming((replace(ROW, started_us=(FIRST + 3) * DAY_US),), Period(FIRST + 3, FIRST + 3)),
    )


def test_a_damaged_secret_is_refused(store: UsageStore) -> None:
    come(store, Coming((ROW,), WHOLE))
    (store.folder / "secrets" / "2024-10.key").write_bytes(b"short")
    with pytest.raises(InputError, match="damaged"):
        come(store, Coming((ROW,), WHOLE))


def test_what_is_not_committed_leaves_nothing(store: UsageStore, tmp_path: Path) -> None:
    connection = load([ROW], False)
    with store.staged(connection, "rows", WHOLE, area=tmp_path / "area") as staged:
        count = count_day(connection, staged, FIRST, MATCHER, question(False))
        assert count.qualified == 1
    assert not store.folder.exists()
    assert not (tmp_path / "area").exists()


def test_staging_left_by_a_kill_is_swept(store: UsageStore, tmp_path: Path) -> None:
    left = load([ROW], False)
    with store.staged(left, "rows", WHOLE, area=tmp_path / "area"):
        shutil.copytree(tmp_path / "area", store.folder / ".staging")
    come(store, Coming((replace(ROW, usage_id="b"),), WHOLE))
    assert qualified(store) == [1, 0, 0, 0]
    assert not (store.folder / ".staging").exists()


def test_a_kill_between_two_days_is_made_good(
    store: UsageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = (ROW, replace(ROW, usage_id="b", started_us=(FIRST + 1) * DAY_US))
    from royalty.store import Staged

    write, written = Staged._write, []

    def killed(self: Staged, what: str, day: int, query: str) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(day)
        write(self, what, day, query)

    with monkeypatch.context() as patched:
        patched.setattr(Staged, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            come(store, Coming(found, WHOLE))
    assert len(store.days()) == 1
    come(store, Coming(found, WHOLE))
    assert qualified(store) == [1, 1, 0, 0]


def test_a_map_is_kept_and_reads_back(store: UsageStore) -> None:
    assert store.works_map() == {}
    works = {'a "quoted", id': WorkRef(1, 2), "007": WorkRef(4, 0), "a\rb\nc": WorkRef(1, 1)}
    store.keep_map(works)
    assert store.works_map() == works
    assert Document("works", "csv", map_csv(works)).content.startswith(
        b"platform_id,work\n007,4/0\n"
    )


def test_a_map_with_two_answers_is_refused_with_both_lines(tmp_path: Path) -> None:
    path = tmp_path / "works.csv"
    path.write_text("platform_id,work\nfilm,1/0\nclip,1/1\nfilm,1/0\nfilm,1/2\n")
    with pytest.raises(
        InputError, match="line 5: 'film' stands for 1/2 here and for 1/0 in line 2"
    ):
        read_map(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("platform_id,work\nfilm,twelve\n", "line 2: 'twelve' is not a work"),
        ("platform_id,work\n,1/0\n", "line 2: platform_id is missing"),
        ("id,work\nfilm,1/0\n", "no column platform_id"),
    ],
)
def test_a_map_that_cannot_be_read_says_where(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "works.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=reason):
        read_map(path)
