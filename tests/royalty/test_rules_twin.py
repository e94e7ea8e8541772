"""The rules in SQL against a plain-Python twin, on random logs with every kind of fault."""

from __future__ import annotations

import csv
import gzip
import json
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from royalty import logs
from royalty.days import Period
from royalty.usage import WorkRef

sys.path.insert(0, str(Path(__file__).parent))
import twin

DAY = 20_000
START = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=DAY)
ANSWERS = {"film": (1, 0), "007": (1, 1), "7": (2, 0), "gone": (1, 99), "foreign": (9, 0)}
WORKS = {1: 2, 2: 1, 3: 1}
DEALS = [(1, 1, 0, DAY), (1, 2, DAY, None), (2, 1, DAY, DAY + 1), (3, 1, DAY + 5, None)]
HEADER = list(twin.NATIVE)

IDS = ["a", "b", "c", "d", "e", "007", "7", "é", "z" * 40]
VIEWERS = ["", "", "anna", "anna", "anna", "ben", "Ä"]
WORK_TEXTS = [
    "film",
    "film",
    "film",
    "1/0",
    "1/1",
    "007",
    "7",
    "2/0",
    "3/0",
    "gone",
    "foreign",
    "01/0",
    "?",
]
KIND_TEXTS = ["view", "view", "view", "download", "excerpt"]
BAD_KINDS = ["", "View", "stream", " view"]
NUMBERS = ["0", "0.999999", "1", "1.0", "14.9999999", "15", "29.999999", "30", "30.00", "0030", "61.5",
           "1000000000", "999999999.9999999"]  # fmt: skip
BAD_NUMBERS = ["-1", " 30", "30 ", "1e3", "NaN", "inf", "1,5", "30.", ".5", "٣٠", "1000000000.0000001",
               "1000000001", "99999999999999999999999"]  # fmt: skip
BAD_TIMES = ["", "yesterday", "2024-10-04", "2024-10-04T10:00:00", "2024-02-30T10:00:00Z",
             "2024-10-04 10:00:00Z", "2024-10-04T24:00:00Z", "2024-10-04T23:59:60Z", "1728036000",
             "2024-10-04T10:00:00.Z", "2024-10-04T10:00:00+24:00", "2024-10-04T10:00:00Z "]  # fmt: skip


def start(rng: Random) -> datetime:
    """An instant close to others, around three midnights."""
    seconds = rng.choice([-86_400, 0, 0, 0, 0, 86_400, 86_400, 2 * 86_400, 1000])
    near = rng.choice([-31, -30, -1, 0, 0, 1, 2, 29, 30, 31, 60, 61, rng.randint(0, 80_000)])
    micro = rng.choice([0, 0, 0, 1, 999_999])
    return START + timedelta(seconds=seconds + near, microseconds=micro)


def time_text(rng: Random, faulty: float) -> str:
    at = start(rng)
    if rng.random() < faulty:
        return rng.choice(BAD_TIMES)
    form = rng.choice(["Z", "Z", "z", "offset", "long"])
    if form == "offset":
        hours, minutes = rng.choice([(5, 30), (-11, 0), (0, 0), (14, 0)])
        shifted = at + timedelta(hours=hours, minutes=minutes)
        sign = "-" if hours < 0 else "+"
        return shifted.strftime("%Y-%m-%dT%H:%M:%S.%f") + f"{sign}{abs(hours):02}:{minutes:02}"
    text = at.strftime("%Y-%m-%dT%H:%M:%S.%f")
    return text + ("9Z" if form == "long" else form)


def text_row(rng: Random, faulty: float, ids: int) -> dict[str, str]:
    def some(good: list[str], bad: list[str]) -> str:
        return rng.choice(bad if rng.random() < faulty else good)

    known = rng.random() < 0.7
    return {
        "usage_id": some([*IDS, *(f"u{n}" for n in range(ids))], [""]),
        "work": some(WORK_TEXTS[:4] if known else WORK_TEXTS, [""]),
        "kind": some(KIND_TEXTS, BAD_KINDS),
        "started_at": time_text(rng, faulty),
        "watched_seconds": some([*NUMBERS, "30", "30", "61.5", "90"], ["", *BAD_NUMBERS]),
        "duration_seconds": some(["", "0", *NUMBERS], BAD_NUMBERS),
        "viewer": rng.choice(VIEWERS),
        "session": rng.choice(["", "", "s", "anna"]),
    }


def typed_row(rng: Random, faulty: float, ids: int) -> dict[str, object]:
    row: dict[str, object] = dict(text_row(rng, faulty, ids))
    row["started_at"] = None if rng.random() < faulty else start(rng)
    row["watched_seconds"] = rng.choice([None, -1] if rng.random() < faulty else [0, 1, 15, 30, 61])
    row["duration_seconds"] = rng.choice(
        [1_000_000_001, -5] if rng.random() < faulty else [0, 30, 60, 15, None]
    )
    return {
        name: None if value == "" and rng.random() < 0.5 else value for name, value in row.items()
    }


CSV_FAULTS = [
    b"",
    b"\r",
    b"only,three,cells",
    b"a,film,view,2024-10-04T00:00:00Z,30,,anna,,one more",
    b'a,"film,view,2024-10-04T00:00:00Z,30,,anna,',
    b'a,"film"x,view,2024-10-04T00:00:00Z,30,,anna,',
    b'a,fi"lm,view,2024-10-04T00:00:00Z,30,,anna,',
    b'q,film,view,2024-10-04T00:00:00Z,30,,"an\nna",',
    b'q,film,view,2024-10-04T00:00:00Z,30,,"an""na\r\n\r\n",',
    b"a,film,view,2024-10-04T00:00:00Z,30,,an\rna,",
    b"a,film,view,2024-10-04T00:00:00Z,30,,an\xffna,",
    b"a,film,view,2024-10-04T00:00:00Z,30,,an\0na,",
    b"a,film,view,2024-10-04T00:00:00Z,30,," + b"x" * 131_072 + b",",
    b"w,film,view,2024-10-04T00:00:00Z,30,," + b"x" * 131_000 + b",",
    b'"',
]
JSON_FAULTS = [
    b"",
    b"{",
    b"[]",
    b"7",
    b'{"usage_id": "a", "work": "film"',
    b'{"usage_id": "a"} {"usage_id": "b"}',
    b'{"usage_id": NaN}',
    b'{"usage_id": "\xff"}',
    b'{"usage_id": "a", "work": ["film"], "started_at": "2024-10-04T00:00:00Z", "watched_seconds": 30}',
    b'{"usage_id": "k", "work": "film", "started_at": "2024-10-04T00:00:00Z", "watched_seconds": 30}',
    b'{"usage_id": "k", "work": "film", "started_at": "2024-10-04T00:00:00Z", "watched_seconds": true}',
    b'{"usage_id": "\\u0000", "work": "film", "started_at": "2024-10-04T00:00:00Z"}',
    b'{"usage_id": "\\ud800", "work": "film", "started_at": "2024-10-04T00:00:00Z"}',
    b'{"usage_id": "k", "kind": null, "work": "film", "started_at": "2024-10-04T00:00:00Z"}',
    b'{"usage_id": 7, "work": 7.0, "started_at": "2024-10-04T00:00:00Z", "watched_seconds": 3.0e1}',
]


def csv_bytes(rows: list[dict], faults: list[tuple[int, bytes]], newline: str) -> bytes:
    lines = [(",".join(HEADER)).encode()]
    lines += [",".join(quoted(row[name]) for name in HEADER).encode() for row in rows]
    for at, fault in faults:
        lines.insert(1 + at % len(lines), fault)
    return newline.encode().join(lines) + newline.encode()


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text


def json_bytes(rows: list[dict], faults: list[tuple[int, bytes]]) -> bytes:
    lines = [json.dumps(loosened(row), ensure_ascii=False).encode() for row in rows]
    for at, fault in faults:
        lines.insert(at % (len(lines) + 1), fault)
    return b"\n".join(lines)


def loosened(row: dict) -> dict:
    """A row with numbers as JSON numbers where they are some, and empty cells left out at random."""
    found = {}
    for name, text in row.items():
        if name.endswith("_seconds") and text in ("0", "1", "15", "30", "61.5", "1.0", "30.00"):
            found[name] = float(text) if "." in text else int(text)
        elif text != "" or name in ("work", "viewer"):
            found[name] = text
    return found


def write_parquet(path: Path, rows: list[dict], number: str) -> None:
    kinds = {"int": pa.int64(), "float": pa.float64(), "decimal": pa.decimal128(20, 3)}
    cast = {"int": int, "float": float, "decimal": Decimal}[number]
    rows = [
        {
            name: cast(v) if name.endswith("_seconds") and v is not None else v
            for name, v in row.items()
        }
        for row in rows
    ]
    schema = pa.schema(
        [
            (name, kinds[number] if name.endswith("_seconds") else pa.timestamp("us", tz="UTC"))
            if name.endswith(("_seconds", "_at"))
            else (name, pa.string())
            for name in HEADER
        ]
    )
    parquet.write_table(pa.Table.from_pylist(rows, schema), path)


@st.composite
def files(draw):
    """(name, how to write it) of one file; the rows come of a seed, so that they are rich."""
    form = draw(st.sampled_from(["csv", "csv", "jsonl", "parquet"]))
    rng = Random(draw(st.integers(0, 2**32)))
    make = typed_row if form == "parquet" else text_row
    faulty, ids = rng.choice([0.0, 0.02, 0.2]), rng.choice([1, 30, 1000])
    rows = [make(rng, faulty, ids) for _ in range(draw(st.integers(1, 60)))]
    if form == "parquet":
        number = rng.choice(["int", "float", "decimal"])
        return "log.parquet", lambda path: write_parquet(path, rows, number)
    pool = CSV_FAULTS if form == "csv" else JSON_FAULTS
    faults = [(rng.randint(0, 60), rng.choice(pool)) for _ in range(rng.choice([0, 0, 1, 3]))]
    newline = rng.choice(["\n", "\n", "\r\n"])
    data = csv_bytes(rows, faults, newline) if form == "csv" else json_bytes(rows, faults)
    packing = rng.choice(["", "", ".gz", ".zst"])
    if packing:
        pack = {".gz": gzip.compress, ".zst": lambda d: pa.compress(d, "zstd", asbytes=True)}
        data = pack[packing](data)
    return f"log.{form}{packing}", lambda path: path.write_bytes(data)


@st.composite
def columns_tables(draw):
    """None (native), or a columns file that may drop ids, take the last, or name a value."""
    if draw(st.booleans()):
        return None
    names = list(HEADER)
    if draw(st.booleans()):
        names.remove("usage_id")
    table = {name: {"column": name} for name in names}
    if draw(st.booleans()):
        table["kind"] = {"value": draw(st.sampled_from(["view", "excerpt"]))}
    if draw(st.booleans()):
        table["watched_seconds"]["unit"] = "ms"
    return {**table, "resend": draw(st.sampled_from(["first", "last"]))}


POLICIES = st.fixed_dictionaries(
    {
        "minimum": st.sampled_from(["30", "0", "14.9999999", "1", "30.0000000001"]),
        "short": st.sampled_from(["0.5", "0", "1", "0.333333333333", "0.5000000000000001"]),
        "click": st.sampled_from(["30", "0", "1.5", "29.9999999"]),
        "cap": st.sampled_from([20, 0, 1, 2, 3]),
    }
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    written=st.lists(files(), min_size=1, max_size=3),
    table=columns_tables(),
    policy=POLICIES,
    days=st.sampled_from([(DAY, DAY), (DAY - 1, DAY + 1), (DAY + 1, DAY + 2)]),
    block=st.sampled_from([8 * 2**20, 64, 301]),
    at_once=st.sampled_from([2_000_000, 1]),
)
def test_every_row_of_any_log_gets_the_reason_that_the_twin_gives_it(
    written, table, policy, days, block, at_once
):
    with (
        tempfile.TemporaryDirectory() as folder,
        patch("royalty.logs.reading.BLOCK", block),
        patch("royalty.logs.counting.ROWS_AT_ONCE", at_once),
    ):
        check(Path(folder), written, table, policy, days)


def check(folder, written, table, policy, days) -> None:
    paths = [folder / f"{at}-{name}" for at, (name, _) in enumerate(written)]
    for path, (_, write) in zip(paths, written, strict=True):
        write(path)
    expected = twin.count(
        paths,
        table,
        *days,
        ANSWERS,
        DEALS,
        WORKS,
        minimum=Fraction(policy["minimum"]),
        short=Fraction(policy["short"]),
        click=Fraction(policy["click"]),
        cap=policy["cap"],
    )
    if not expected.rows:
        return
    listed = folder / "excluded.csv"
    found = logs.count(
        logs.find_sources(paths, None if table is None else logs.Columns.of(table)),
        Period(*days),
        logs.WorkTable([(text, WorkRef(*work)) for text, work in ANSWERS.items()], DEALS, WORKS),
        logs.Policy(
            minimum_seconds=Decimal(policy["minimum"]),
            short_fraction=Decimal(policy["short"]),
            double_click_seconds=Decimal(policy["click"]),
            per_viewer_work_day=policy["cap"],
        ),
        excluded_to=listed,
    )
    for reason in expected.excluded:
        event(reason)
    names = [str(path) for path in paths]
    with listed.open(newline="", encoding="utf-8") as file:
        reasons = {
            (names.index(row["file"]), int(row["line"])): row["reason"]
            for row in csv.DictReader(file)
        }
    assert reasons == expected.reasons
    assert (found.rows, found.qualified) == (expected.rows, expected.qualified)
    assert {r: n for r, n in found.excluded.items() if n} == expected.excluded
    assert found.without_identity == expected.without_identity
    assert {
        (u.day, u.catalogue, u.index, u.kind.word): u.units for u in found.units
    } == expected.units


EPOCHS = st.one_of(
    st.integers(0, 2**32).map(lambda seed: str(int(start(Random(seed)).timestamp()))),
    st.sampled_from(
        ["1728036000.9999999", "1e9", "-1", "253402300799", "253402300800", "9" * 30, "007"]
    ),
)
NAIVE = st.sampled_from(
    ["2026-03-29 01:59:59", "2026-03-29 02:00:00", "2026-03-29T02:59:59.5", "2026-03-29 03:00:00",
     "2026-10-25 01:59:59", "2026-10-25 02:00:00", "2026-10-25 02:30:00", "2026-10-25 03:00:00",
     "2026-10-25T02:30:00Z", "2026-10-25T02:30:00+02:00", "2026-10-25 00:00:00", "2026-10-25"]
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(st.one_of(EPOCHS, NAIVE), min_size=1, max_size=20),
    form=st.sampled_from(
        [
            {"unit": "s"},
            {"unit": "ms"},
            {"unit": "us"},
            {"zone": "Europe/Berlin"},
            {"zone": "UTC"},
            {"zone": "America/New_York"},
            {"zone": "Pacific/Apia"},
            {"zone": "Asia/Shanghai"},
        ]
    ),
)
def test_epochs_and_naive_times_are_read_as_the_twin_reads_them(texts, form):
    table = {
        "usage_id": {"column": "n"},
        "work": {"value": "film"},
        "kind": {"value": "download"},
        "started_at": {"column": "at", **form},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log.csv")
        path.write_text("n,at\n" + "".join(f"{n},{text}\n" for n, text in enumerate(texts)))
        rows = twin.read_file(path, table, 0)
        with logs.engine() as con:
            logs.read_rows(con, logs.find_sources([path], logs.Columns.of(table)))
            found = con.execute("SELECT line, started_us, day FROM rows ORDER BY line").fetchall()
    assert found == [
        (row.line, None, None) if row.fault else (row.line, row.started, row.day) for row in rows
    ]


@pytest.mark.parametrize("data", CSV_FAULTS)
def test_a_fault_in_a_line_takes_no_other_line_with_it(tmp_path, data):
    good = b"%d,film,view,2024-10-04T00:00:00Z,30,,%d,\n"
    lines = [good % (n, n) for n in range(1000)]
    path = tmp_path / "log.csv"
    head = ",".join(HEADER).encode() + b"\n"
    path.write_bytes(head + b"".join(lines[:500]) + data + b"\n" + b"".join(lines[500:]))
    rows = twin.read_file(path, twin.NATIVE, 0)
    with logs.engine() as con:
        logs.read_rows(con, logs.find_sources([path]))
        found = con.execute("SELECT line, malformed IS NULL FROM rows ORDER BY line").fetchall()
    assert found == [(row.line, row.fault is None) for row in rows]
    assert sum(good for _, good in found) >= 1000
