"""`usage convert`: counting the Parquet gives the count of the log."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from royalty import logs
from royalty.days import Period
from royalty.errors import InputError
from royalty.logs.convert import Converted, convert
from royalty.logs.formats import FORMATS
from royalty.logs.policy import Policy
from royalty.usage import WorkRef
from tests.royalty.counted import DAY, matcher, row, write
from tests.royalty.formats_help import count_all
from tests.royalty.test_formats import examples

EVER = Period(0, 60_000)
NATIVE = (
    "usage_id",
    "work",
    "kind",
    "started_at",
    "watched_seconds",
    "duration_seconds",
    "viewer",
    "session",
)


def converted(path: Path, out: Path, **options: Any) -> Converted:
    return convert(logs.find_sources([path], options.pop("columns", None), **options), out)


def same(one: logs.Count, other: logs.Count) -> bool:
    return replace(one, sources=[]) == replace(other, sources=[])


def test_a_file_of_every_format_counts_the_same_before_and_after(tmp_path):
    for name, path in examples(tmp_path).items():
        if FORMATS[name].sums:
            continue
        out = tmp_path / f"{name}.parquet"
        made = converted(path, out)
        assert same(count_all(out), count_all(path)), name
        assert parquet.read_schema(out).names == [*NATIVE, "malformed"]
        assert made.rows == parquet.read_metadata(out).num_rows
        (source,) = made.document()["sources"]
        assert source["format"] == name


def random_row(chance: random.Random) -> dict[str, str]:
    return row(
        chance.choice(["", *map(str, range(150))]),
        day=chance.choice(["2026-11-18", DAY, "2026-11-20"]),
        at=chance.choice(["10:00:00", "10:00:20.1234567", "10:00:45", "23:59:59", "24:00:00"]),
        work=chance.choice(["film", "trailer", "film ", "2/0", "1/1", "none"]),
        kind=chance.choice(["view", "view", "download", "excerpt", "x"]),
        watched_seconds=chance.choice(["", "0", "29.9999999", "30", "0030.50", "1000000000", "-1"]),
        duration_seconds=chance.choice(["", "0", "40", "59.9999"]),
        viewer=chance.choice(["", "ann", "bob"]),
        session=chance.choice(["", "ann", "s"]),
    )


@pytest.mark.parametrize("ids", [True, False])
def test_random_logs_count_the_same(tmp_path, ids):
    columns = None if ids else logs.Columns({n: logs.Column(n) for n in NATIVE if n != "usage_id"})
    answers = matcher(
        rows=[("film", WorkRef(1, 0)), ("film ", WorkRef(1, 0)), ("trailer", WorkRef(1, 1))]
    )
    for seed in range(15):
        chance = random.Random(seed)
        log = write(tmp_path / "log.csv", [random_row(chance) for _ in range(300)])
        out = tmp_path / "native.parquet"
        converted(log, out, columns=columns)
        policy = Policy.of({"cap": {"per_viewer_work_day": 2}})
        sources = logs.find_sources([log], columns)
        before = logs.count(sources, EVER, answers, policy)
        after = logs.count(logs.find_sources([out]), EVER, answers, policy)
        assert same(before, after)
        assert before.qualified > 20


def test_text_is_exact(tmp_path):
    log = write(
        tmp_path / "log.csv",
        [
            row("007", at="10:00:00.1234567", watched_seconds="0030.5000009", viewer=" é,\t"),
            row("b", started_at="9999-12-31T23:59:59-23:59", watched_seconds="30"),
            row("c", started_at="0000-01-01T00:00:00+23:59", watched_seconds="1000000000"),
            row("d", started_at="1969-12-31T23:59:59.999999Z", watched_seconds="0.000001"),
        ],
    )
    out = tmp_path / "native.parquet"
    converted(log, out)
    found = parquet.read_table(out).to_pylist()
    assert [one["started_at"] for one in found] == [
        f"{DAY}T10:00:00.123456Z",
        "9999-12-31T23:59:59.000000-23:59",
        "0000-01-01T00:00:00.000000+23:59",
        "1969-12-31T23:59:59.999999Z",
    ]
    assert [one["watched_seconds"] for one in found] == ["30.5", "30", "1000000000", "0.000001"]
    assert (found[0]["usage_id"], found[0]["viewer"]) == ("007", " é,\t")
    assert {str(field.type) for field in parquet.read_schema(out)} == {"string"}


def test_bad_rows_stay_rows_and_are_listed(tmp_path):
    log = tmp_path / "log.csv"
    write(log, [row("a"), row("b", kind="x"), row("c")])
    out = tmp_path / "native.parquet"
    made = converted(log, out)
    assert (made.rows, made.malformed) == (3, 1)
    reason = "kind is not view, download or excerpt"
    assert made.listed == ((str(log), 3, reason),)
    second = parquet.read_table(out).to_pylist()[1]
    assert second == {**dict.fromkeys(NATIVE), "malformed": reason}
    assert json.dumps(made.document())


def test_what_cannot_be_written_is_refused_and_leaves_no_file(tmp_path):
    log = write(tmp_path / "log.csv", [row()])
    before = log.read_bytes()
    with pytest.raises(InputError, match="one of the logs"):
        converted(log, log)
    with pytest.raises(InputError, match="cannot be written"):
        converted(log, tmp_path / "none" / "native.parquet")
    last = logs.Columns({name: logs.Column(name) for name in NATIVE}, resend="last")
    with pytest.raises(InputError, match="resend"):
        converted(log, tmp_path / "native.parquet", columns=last)
    assert log.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_an_old_file_is_replaced_whole(tmp_path):
    out = tmp_path / "native.parquet"
    out.write_bytes(b"old")
    converted(write(tmp_path / "log.csv", [row()]), out)
    assert parquet.read_metadata(out).num_rows == 1
    broken = tmp_path / "broken.csv"
    broken.write_text("usage_id,work,started_at\n")
    with pytest.raises(InputError, match="has no rows"):
        converted(broken, out)
    assert parquet.read_metadata(out).num_rows == 1
