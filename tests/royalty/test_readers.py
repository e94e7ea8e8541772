"""Files of every format: what is read, what is counted as malformed, what is refused."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from royalty import logs
from royalty.days import Period
from royalty.errors import InputError
from royalty.logs.lines import MAX_LINE
from royalty.usage import Kind
from tests.royalty.counted import DAY, HEADER, NUMBER, count, row, write

ROWS = [
    row("a"),
    row("007", work="trailer", kind="download"),
    row("c", kind="excerpt", watched_seconds="7.5"),
]
UNITS = [
    (NUMBER, 1, 0, Kind.VIEW, 1),
    (NUMBER, 1, 0, Kind.EXCERPT, 7),
    (NUMBER, 1, 1, Kind.DOWNLOAD, 1),
]


def zstd(data: bytes) -> bytes:
    return pa.compress(data, "zstd", asbytes=True)


def plain(form: str) -> bytes:
    if form == "jsonl":
        return "\n".join(json.dumps(line) for line in ROWS).encode()
    if form == "parquet":
        sink = pa.BufferOutputStream()
        parquet.write_table(pa.Table.from_pylist(ROWS), sink)
        return sink.getvalue().to_pybytes()
    separator = {"csv": ",", "tsv": "\t", "txt": ";"}[form]
    lines = [HEADER, *([line[name] for name in HEADER] for line in ROWS)]
    return "".join(separator.join(cells) + "\n" for cells in lines).encode()


def malformed(path: Path, tmp_path: Path, **options) -> list[tuple[int, str]]:
    listed = tmp_path / "excluded.csv"
    count(path, excluded_to=listed, **options)
    with listed.open(newline="", encoding="utf-8") as file:
        return [
            (int(line["line"]), line["detail"])
            for line in csv.DictReader(file)
            if line["reason"] == "malformed"
        ]


@pytest.mark.parametrize(
    "pack", [("", bytes), (".gz", gzip.compress), (".zst", zstd)], ids=lambda p: p[0]
)
@pytest.mark.parametrize("form", ["csv", "tsv", "txt", "jsonl", "parquet"])
def test_every_format_and_compression_comes_to_the_same_units(tmp_path, form, pack):
    suffix, compress = pack
    path = tmp_path / f"log.{form}{suffix}"
    path.write_bytes(compress(plain(form)))
    found = count(path)
    assert found.units == UNITS
    (source,) = found.sources
    assert source.sha256 == "0x" + hashlib.sha256(plain(form)).hexdigest()
    assert source.rows == 3


def test_compressed_files_may_be_of_several_parts(tmp_path):
    data = plain("csv")
    for name, pack in (("log.csv.gz", gzip.compress), ("log.csv.zst", zstd)):
        path = tmp_path / name
        path.write_bytes(pack(data[:50]) + pack(data[50:]))
        assert count(path).units == UNITS


def test_a_file_is_known_as_compressed_by_its_content(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(gzip.compress(plain("csv")))
    assert count(path).units == UNITS


def test_names_and_globs_find_each_file_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.csv", "a.csv", "[x].csv"):
        write(tmp_path / name, [row(name)])
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep/c.csv", [row("c")])
    found = logs.find_sources(["a.csv", "*.csv", "./a.csv", "[x].csv", "**/*.csv"])
    assert [str(source.path) for source in found] == ["a.csv", "[x].csv", "b.csv", "deep/c.csv"]


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("log.csv", b"", "is empty"),
        ("log.csv", b"usage_id,work,started_at\n", "has no rows"),
        ("log.csv", b"usage_id,work,started_at", "has no rows"),
        ("log.csv", b"usage_id,work,watched_seconds\na,b,3\n", "no column 'started_at'"),
        (
            "log.csv",
            b"usage_id,work,started_at,work\na,b,c,d\n",
            "'work' stands in the header line twice",
        ),
        ("log.csv", b"a;b;c\n1;2;3\n", "none of the columns usage_id, work, started_at"),
        ("log.csv", b"\xff\xfeu\0", "UTF-16"),
        ("log.csv", b"usage_id,\xff,work\n", "header line cannot be read: not UTF-8"),
        ("log.csv", b'usage_id,work,"started_at\na,b,c\n', "none of the columns|broken quote"),
        ("log.csv", b"x" * (MAX_LINE + 1), "header line cannot be read"),
        ("log.jsonl", b'[{"usage_id": "a"}]', "JSON array"),
        ("log.jsonl", b'[\n{"usage_id": "a"}\n]', "JSON array"),
        ("log.jsonl", b"\n\n", "has no rows"),
        ("log.parquet", b"PAR1 not really", "is not a Parquet file"),
        ("log.doc", b"anything", "unknown format"),
        ("log", b"anything", "unknown format"),
        ("log.csv.gz", gzip.compress(b"usage_id,work,started_at\n" * 9)[:-9], "damaged or cut off"),
        ("log.csv.zst", zstd(b"usage_id,work,started_at\n" * 9999)[:-9], "damaged or cut off"),
        ("log.parquet.gz", gzip.compress(b"nothing"), "log.parquet.gz is not a Parquet file"),
    ],
    # Data stay out of the names: a gzip header holds the time, and parallel workers must agree.
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_cannot_be_read_as_a_whole_is_refused(tmp_path, name, data, why):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=why) as refused:
        count(path)
    assert "\n" not in str(refused.value)


def test_what_is_not_there_is_refused(tmp_path):
    for patterns, why in [
        ([tmp_path / "none.csv"], "does not exist"),
        ([tmp_path / "*.csv"], "no file matches"),
        ([tmp_path], "is a folder"),
        ([], "no log was given"),
    ]:
        with pytest.raises(InputError, match=why):
            logs.find_sources(patterns)


def test_files_without_rows_beside_others_are_no_matter(tmp_path):
    paths = [write(tmp_path / "1.csv", []), write(tmp_path / "2.csv", [row("a")])]
    assert [source.rows for source in count(paths).sources] == [0, 1]


# CSV

GOOD = f"a,film,view,{DAY}T10:00:00Z,60,,anna,\n"


def with_lines(tmp_path: Path, *lines: bytes) -> Path:
    path = tmp_path / "log.csv"
    path.write_bytes(b"".join([(",".join(HEADER) + "\n").encode(), *lines]))
    return path


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"a,film\n", "2 cells instead of 8"),
        (GOOD.replace("\n", ",\n").encode(), "9 cells instead of 8"),
        (b'a,"film,view\n', "broken quote"),
        (b'a,"film"x,view,,,,,\n', "broken quote"),
        (GOOD.replace("anna", "\0").encode(), "NUL byte"),
        (GOOD.encode().replace(b"anna", b"\xe4nna"), "not UTF-8"),
        (GOOD.replace("anna", "an\rna").encode(), "line break within a cell"),
        (GOOD.replace("anna", "x" * MAX_LINE).encode(), "line of more than 131,072 bytes"),
    ],
)
def test_a_bad_line_is_counted_with_its_number_and_the_rest_is_read(tmp_path, line, why):
    path = with_lines(tmp_path, GOOD.encode(), line, GOOD.replace("a,", "b,", 1).encode())
    assert malformed(path, tmp_path) == [(3, why)]
    assert count(path).rows == 3


def test_a_quoted_cell_may_hold_anything_and_line_numbers_stay_right(tmp_path):
    many = b'b,film,view,%sT10:00:00Z,60,,"an,\n""na""\r\n",\n' % DAY.encode()
    path = with_lines(tmp_path, b"\n", many, b"bad\n", b"\r\n", many, b"bad")
    assert [line for line, _ in malformed(path, tmp_path)] == [6, 11]
    with logs.engine() as con:
        logs.read_rows(con, logs.find_sources([path]))
        found = con.execute("SELECT line, identity FROM rows WHERE malformed IS NULL").fetchall()
    assert sorted(found) == [(3, 'an,\n"na"\r\n'), (8, 'an,\n"na"\r\n')]


def test_a_quote_that_never_ends_costs_one_line(tmp_path):
    lines = [GOOD.replace("a,", f"{n},", 1).encode() for n in range(5000)]
    path = with_lines(tmp_path, *lines[:10], b'x,"film,view\n', *lines[10:])
    ((line, why),) = malformed(path, tmp_path)
    assert (line, why.split(",")[0]) == (12, "broken quote")


def test_a_mark_of_byte_order_and_carriage_returns_are_no_text(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"\xef\xbb\xbf" + plain("csv").replace(b"\n", b"\r\n"))
    assert count(path).units == UNITS


def test_the_separator_is_told_from_the_header_or_given(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(plain("csv").replace(b",", b"~"))
    with pytest.raises(InputError, match="none of the columns"):
        count(path)
    assert count(path, separator="~").units == UNITS
    path.write_bytes(plain("tsv"))
    assert count(path, separator="tab").units == UNITS
    with pytest.raises(InputError, match="read with a comma between columns"):
        count(path, separator=",")
    with pytest.raises(InputError, match="not one character"):
        count(path, separator="::")


def test_both_ways_through_a_csv_file_read_the_same(tmp_path, monkeypatch):
    lines = [GOOD.replace("a,", f"{n},", 1).encode() for n in range(2000)]
    path = with_lines(tmp_path, *lines)
    quick = count(path)
    monkeypatch.setattr("royalty.logs.csvrows._quick", lambda *_: None)
    assert count(path) == quick


def test_a_line_without_end_does_not_fill_the_memory(tmp_path):
    path = tmp_path / "log.csv"
    with path.open("wb") as file:
        file.write((",".join(HEADER) + "\n").encode())
        for _ in range(40):
            file.write(b"x" * 2**20)
        file.write(b"\n" + GOOD.encode())
    assert malformed(path, tmp_path) == [(2, "line of more than 131,072 bytes")]


def test_broken_quotes_by_the_thousand_take_seconds_and_not_hours(tmp_path):
    path = with_lines(tmp_path, *[b'"a""\n'] * 20_000)
    before = time.monotonic()
    assert len(malformed(path, tmp_path)) == 20_000
    assert time.monotonic() - before < 60


# JSON


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "broken JSON"),
        ("null", "not a JSON object"),
        ("{} {}", "broken JSON"),
        ("[" * 100_000, "broken JSON"),
        ('{"usage_id": NaN}', "broken JSON"),
        ('{"usage_id": {"$oid": 1}}', "usage_id is neither text nor a number"),
        ('{"viewer": true}', "viewer is neither text nor a number"),
        ('{"work": "\\u0000"}', "work has a NUL character"),
        ('{"work": "\\udc00"}', "work is not UTF-8"),
        ('{"work": ""}', "usage_id is missing"),
        ("\0", "NUL byte"),
    ],
)
def test_a_bad_json_line_is_counted_with_its_number(tmp_path, line, why):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(row("a")) + "\n\n" + line + "\n" + json.dumps(row("b")) + "\n")
    assert malformed(path, tmp_path) == [(3, why)]


def test_json_values_become_text_first(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = [
        {"usage_id": 7, "work": 5, "watched_seconds": 30, "viewer": 1},
        {"usage_id": 7.0, "work": "5", "watched_seconds": 30.0, "viewer": 2},
        {"usage_id": "07", "work": 5.0, "watched_seconds": 0.3e2, "viewer": 3},
        {"usage_id": "x", "work": 5, "watched_seconds": "30", "viewer": 12345678901234567890123},
        {"usage_id": "y", "work": 5, "watched_seconds": 1e21, "viewer": None},
        {"usage_id": "z", "kind": None, "work": 5, "watched_seconds": 30, "viewer": None},
    ]
    path.write_text(
        "\n".join(json.dumps({**line, "started_at": f"{DAY}T10:00:00Z"}) for line in lines)
    )
    with logs.engine() as con:
        logs.read_rows(con, logs.find_sources([path]))
        found = con.execute(
            "SELECT usage_id, work, watched_us, identity FROM rows ORDER BY line"
        ).fetchall()
    assert found == [
        ("7", "5", 30_000_000, "1"),
        ("7", "5", 30_000_000, "2"),
        ("07", "5", 30_000_000, "3"),
        ("x", "5", 30_000_000, "12345678901234567890123"),
        ("y", None, None, None),  # malformed rows keep their id alone: `usage explain` finds them
        ("z", None, None, None),
    ]


# Parquet


def read_back(tmp_path: Path, table: pa.Table, columns: dict | None = None) -> list[tuple]:
    path = tmp_path / "log.parquet"
    parquet.write_table(table, path)
    with logs.engine() as con:
        logs.read_rows(
            con, logs.find_sources([path], None if columns is None else logs.Columns.of(columns))
        )
        return con.execute(
            "SELECT usage_id, started_us, watched_us, malformed FROM rows ORDER BY line"
        ).fetchall()


INSTANT = datetime(2026, 11, 19, 10, 0, 0, 123456, tzinfo=UTC)
MICRO = NUMBER * 86_400_000_000 + 36_000_123_456


@pytest.mark.parametrize(
    "started",
    [
        pa.array([INSTANT], pa.timestamp("us", tz="UTC")),
        pa.array([INSTANT], pa.timestamp("us", tz="Asia/Tokyo")),
        pa.array([INSTANT.replace(tzinfo=None)], pa.timestamp("us")),
        pa.array([MICRO * 1000 + 999], pa.timestamp("ns", tz="UTC")),
        pa.array(["2026-11-19T10:00:00.123456Z"]),
        pa.array(["2026-11-19T10:00:00.123456Z"], pa.large_string()),
        pa.array(["2026-11-19T10:00:00.123456Z"]).dictionary_encode(),
        pa.array([b"2026-11-19T10:00:00.123456Z"]),
    ],
    ids=lambda array: str(array.type),
)
def test_parquet_timestamps_become_rfc_3339(tmp_path, started):
    table = pa.table(
        {"usage_id": ["a"], "work": ["film"], "started_at": started, "watched_seconds": [1]}
    )
    assert read_back(tmp_path, table) == [("a", MICRO, 1_000_000, None)]


def test_a_naive_parquet_timestamp_is_of_the_zone_that_the_columns_file_gives(tmp_path):
    naive = pa.array([INSTANT.replace(tzinfo=None)], pa.timestamp("ms"))
    table = pa.table({"n": ["a"], "work": ["film"], "at": naive})
    columns = {
        "usage_id": "n",
        "work": "work",
        "kind": {"value": "download"},
        "started_at": {"column": "at", "zone": "Europe/Berlin"},
    }
    assert read_back(tmp_path, table, columns)[0][1] == MICRO - 456 - 3_600_000_000


@pytest.mark.parametrize(
    ("watched", "micro"),
    [
        (pa.array([30]), 30_000_000),
        (pa.array([30], pa.uint8()), 30_000_000),
        (pa.array([-1]), None),
        (pa.array([0.1]), 100_000),
        (pa.array([0.1], pa.float32()), 100_000),
        (pa.array([1e-7]), 0),
        (pa.array([1e-7], pa.float32()), 0),
        (pa.array([1e21]), None),
        (pa.array([1e9]), 10**15),
        (pa.array([float("nan")]), None),
        (pa.array([float("inf")]), None),
        (pa.array([-0.5]), None),
        (pa.array([Decimal("30.500000001")]), 30_500_000),
        (pa.array([Decimal("0.00000001")]), 0),
        (pa.array([Decimal("-0.5")]), None),
        (pa.array(["30"]), 30_000_000),
    ],
    ids=str,
)
def test_parquet_numbers_become_their_shortest_exact_text(tmp_path, watched, micro):
    table = pa.table(
        {
            "usage_id": ["a"],
            "work": ["film"],
            "started_at": ["2026-11-19T10:00:00Z"],
            "watched_seconds": watched,
        }
    )
    ((_, _, found, why),) = read_back(tmp_path, table)
    assert found == micro
    assert (why is None) == (micro is not None)


def test_parquet_ids_are_text_and_bytes_that_are_none_are_malformed(tmp_path):
    ids = [b"007", b"\xff", b"a\0", None, b""]
    table = pa.table(
        {
            "usage_id": pa.array(ids, pa.binary()),
            "work": [7, 7, 7, 7, 7],
            "started_at": ["2026-11-19T10:00:00Z"] * 5,
            "watched_seconds": [30] * 5,
        }
    )
    found = read_back(tmp_path, table)
    assert [(row[0], row[3]) for row in found] == [
        ("007", None),
        (None, "usage_id is not UTF-8"),
        (None, "usage_id has a NUL character"),
        (None, "usage_id is missing"),
        (None, "usage_id is missing"),
    ]


def test_a_parquet_file_of_many_batches_numbers_its_rows_through(tmp_path, monkeypatch):
    monkeypatch.setattr("royalty.logs.parquetrows.ROWS_AT_ONCE", 7)
    path = tmp_path / "log.parquet"
    rows = [row(f"{n}", work="" if n in (6, 50) else "film") for n in range(60)]
    parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=10)
    assert [line for line, _ in malformed(path, tmp_path)] == [7, 51]


@pytest.mark.parametrize(
    ("column", "why"),
    [(pa.array([[1]]), "list"), (pa.array([True]), "bool"), (pa.array([{"x": 1}]), "struct")],
    ids=["list", "bool", "struct"],
)
def test_a_parquet_column_without_a_text_form_is_refused(tmp_path, column, why):
    path = tmp_path / "log.parquet"
    parquet.write_table(pa.table({"usage_id": ["a"], "work": column, "started_at": ["x"]}), path)
    with pytest.raises(InputError, match=f"'work' is of type {why}"):
        count(path)


def test_a_parquet_file_without_a_required_column_is_refused(tmp_path):
    path = tmp_path / "log.parquet"
    parquet.write_table(pa.table({"usage_id": ["a"], "work": ["b"]}), path)
    with pytest.raises(InputError, match="no column 'started_at'"):
        count(path)


# The whole


def test_progress_ends_at_the_bytes_that_there_are(tmp_path):
    told: list[tuple[int, int]] = []
    paths = [write(tmp_path / "1.csv", ROWS)]
    for form in ("jsonl", "parquet"):
        paths.append(tmp_path / f"2.{form}.gz")
        paths[-1].write_bytes(gzip.compress(plain(form)))
    count(paths, progress=lambda done, total: told.append((done, total)))
    total = sum(path.stat().st_size for path in paths)
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_little_memory_gives_the_same_count(tmp_path):
    path = tmp_path / "log.csv"
    with path.open("w") as file:
        file.write("usage_id,work,started_at,watched_seconds,viewer\n")
        for n in range(200_000):
            file.write(f"u{n // 2},1/{n % 3},2026-11-{1 + n % 28:02}T10:00:00Z,60,v{n % 1000}\n")
    whole = Period(NUMBER - 30, NUMBER + 30)
    assert count(path, period=whole, memory="150MB") == count(path, period=whole)


def test_too_little_memory_is_said_so(tmp_path):
    path = tmp_path / "log.csv"
    with path.open("w") as file:
        file.write("usage_id,work,started_at,watched_seconds,viewer\n")
        file.writelines(f"u{n},1/0,{DAY}T10:00:00Z,60,v{n}\n" for n in range(100_000))
    with pytest.raises(InputError, match="cannot be counted in 4MB of memory"):
        count(path, memory="4MB")


def test_memory_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="memory 'much'"):
        count(write(tmp_path / "log.csv", ROWS), memory="much")


def test_excluded_rows_that_cannot_be_written_are_said_so(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        count(write(tmp_path / "log.csv", ROWS), excluded_to=tmp_path / "none/excluded.csv")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_a_full_disk_is_said_in_one_line() -> None:
    with (
        pytest.raises(InputError, match="no room is left on the disk to count the log"),
        logs.engine() as con,
    ):
        con.execute("COPY (SELECT * FROM range(100000)) TO '/dev/full' (FORMAT csv)")


def test_ids_in_the_list_of_excluded_rows_do_no_harm(tmp_path: Path) -> None:
    hostile = [
        row("=cmd()", work="\x1b[2Jnone"),
        row("@x", work="+none"),
        row("d", work="no\u202ene"),
    ]
    listed = tmp_path / "excluded.csv"
    count(write(tmp_path / "log.csv", hostile), excluded_to=listed)
    with listed.open(newline="", encoding="utf-8") as file:
        shown = [(line["usage_id"], line["work"]) for line in csv.DictReader(file)]
    assert shown == [("'=cmd()", " [2Jnone"), ("'@x", "'+none"), ("d", "no ne")]
