"""The tests of the rules on Spark: the same logs, the same twin, and the table that DuckDB gives, to the row."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from royalty import logs
from royalty.days import Period
from royalty.errors import EngineFailed, InputError
from royalty.logs.convert import convert
from royalty.logs.sparkengine import Connection, count_on_spark, spark_session
from royalty.usage import WorkRef
from tests.royalty import counted, test_rules, test_rules_twin
from tests.royalty.counted import EVE, MORROW, matcher, period, row, write
from tests.royalty.test_rules_twin import (
    ANSWERS,
    DAY,
    DEALS,
    POLICIES,
    WORKS,
    columns_tables,
    files,
)

pytestmark = pytest.mark.usefixtures("spark", "both")
DUCKDB = logs.count


def on_both(*given: Any, excluded_to: Path | None = None, **options: Any) -> logs.Count:
    """Count on both engines; fails where they differ in anything, the list of excluded rows included."""
    beside = excluded_to and excluded_to.with_suffix(".duckdb")
    expected = DUCKDB(*given, excluded_to=beside, **options)
    found = count_on_spark(*given, excluded_to=excluded_to)
    assert found == expected
    if excluded_to is not None and beside is not None:
        assert excluded_to.read_bytes() == beside.read_bytes()
    return found


@pytest.fixture(scope="module")
def both() -> Any:
    """Every `logs.count` of the tests that are run here counts on both engines."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(logs, "count", on_both)
        yield


@settings(
    max_examples=6,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    written=st.lists(files(), min_size=3, max_size=5),
    table=columns_tables(),
    policy=POLICIES,
    days=st.sampled_from([(DAY, DAY), (DAY - 1, DAY + 1), (DAY + 1, DAY + 2)]),
)
def test_every_row_of_any_log_gets_the_reason_of_the_twin_and_of_duckdb(
    tmp_path_factory, written, table, policy, days
):
    event(f"{len(written)} files")
    folder = tmp_path_factory.mktemp("random")
    test_rules_twin.check(folder, written, table, policy, days)
    shutil.rmtree(folder)


@pytest.mark.parametrize("resend", ["first", "last"])
def test_a_thousand_close_rows_in_four_files_come_to_the_same_tables(tmp_path, resend):
    rng = Random(17)
    paths = []
    for name in ("a.csv", "b.jsonl", "c.csv", "d.parquet"):
        path = tmp_path / name
        make = test_rules_twin.typed_row if name.endswith("parquet") else test_rules_twin.text_row
        rows = [make(rng, 0.01, 300) for _ in range(250)]
        if name.endswith("csv"):
            path.write_bytes(test_rules_twin.csv_bytes(rows, [], "\n"))
        elif name.endswith("jsonl"):
            path.write_bytes(test_rules_twin.json_bytes(rows, []))
        else:
            test_rules_twin.write_parquet(path, rows, "decimal")
        paths.append(path)
    table = {name: {"column": name} for name in test_rules_twin.HEADER} | {"resend": resend}
    found = on_both(
        logs.find_sources(paths, logs.Columns.of(table)),
        Period(DAY - 1, DAY + 1),
        logs.WorkTable([(t, WorkRef(*w)) for t, w in ANSWERS.items()], DEALS, WORKS),
        logs.Policy(per_viewer_work_day=2, double_click_seconds=Decimal("1.5")),
        excluded_to=tmp_path / "excluded.csv",
    )
    assert all(found.excluded.values()), found.excluded
    with (tmp_path / "excluded.csv").open(newline="") as file:
        assert sum(1 for _ in csv.DictReader(file)) == sum(found.excluded.values())


SAME: list[Callable[..., None]] = [
    test_rules.test_the_same_id_counts_once_a_day_and_the_earliest_row_counts,
    test_rules.test_an_excerpts_units_are_its_whole_seconds,
    test_rules.test_of_rows_that_follow_within_thirty_seconds_the_last_counts,
    test_rules.test_the_next_row_counts_as_next_even_if_it_is_excluded_here_itself,
]


@pytest.mark.parametrize("test", SAME, ids=lambda test: test.__name__)
def test_a_rule_holds_on_spark(test, tmp_path):
    test(tmp_path)


def test_the_kuairand_log_comes_to_the_counts_of_the_design():
    test_rules.test_the_kuairand_log_comes_to_the_counts_of_the_design()


def test_the_next_day_knows_the_ids_of_the_day_before(tmp_path):
    rows = [row("a", day=EVE), row("a"), row("b"), row("a", day=MORROW)]
    found = counted.count(write(tmp_path / "log.csv", rows), period=period(EVE, MORROW))
    assert (found.qualified, found.excluded["duplicate"]) == (2, 2)


def test_an_id_with_two_answers_is_refused(tmp_path):
    works = matcher(rows=[("film", WorkRef(1, 0)), ("film", WorkRef(1, 1))])
    path = write(tmp_path / "log.csv", [row()])
    with pytest.raises(InputError, match="stands for two works"):
        count_on_spark(logs.find_sources([path]), period(), works)


def test_a_log_without_a_good_row_comes_to_nothing(tmp_path):
    found = counted.count(
        write(tmp_path / "log.csv", [row(started_at="soon")]), excluded_to=tmp_path / "excluded.csv"
    )
    assert (found.rows, found.excluded["malformed"], found.units) == (1, 1, [])


def test_a_file_that_cannot_be_read_is_refused_as_without_spark(tmp_path):
    good, bad = write(tmp_path / "log.csv", [row()]), tmp_path / "bad.csv"
    bad.write_text("only,three,columns\n1,2,3\n")
    sources = logs.find_sources([good, bad])
    with pytest.raises(InputError) as expected:
        DUCKDB(sources, period(), matcher())
    with pytest.raises(InputError) as found:
        count_on_spark(sources, period(), matcher())
    assert str(found.value) == str(expected.value)


def test_a_sum_that_does_not_fit_is_an_error_and_does_not_wrap_around():
    most = 2**63 - 1
    with spark_session() as session:
        rows = f"(VALUES ({most}), (1))"
        spark = Connection(session)
        (wide,) = spark.execute(f"SELECT sum(CAST(col1 AS HUGEINT)) FROM {rows}").fetchall()
        assert int(wide[0]) == most + 1
        with pytest.raises(Exception, match="ARITHMETIC_OVERFLOW"):
            spark.execute(f"SELECT sum(col1) FROM {rows}").fetchall()


def test_what_spark_cannot_run_is_one_line_of_an_expected_failure(tmp_path, monkeypatch):
    monkeypatch.setattr("royalty.logs.sparkengine.TOTALS", "SELECT raise_error('no\nroom')")
    path = write(tmp_path / "log.csv", [row()])
    with pytest.raises(EngineFailed, match=r"^Spark failed: ") as caught:
        count_on_spark(logs.find_sources([path]), period(), matcher())
    assert "\n" not in str(caught.value)


def test_another_master_than_that_of_the_spark_that_runs_is_refused(tmp_path):
    path = write(tmp_path / "log.csv", [row()])
    with pytest.raises(InputError, match=r"a Spark of local\[2\] runs in this process"):
        count_on_spark(logs.find_sources([path]), period(), matcher(), master="local[1]")


def test_a_log_of_another_programs_format_comes_to_the_same(tmp_path):
    path = tmp_path / "views.json"
    shutil.copy(Path(test_rules.__file__).parents[1] / "samples/mux/list_video_views.json", path)
    found = on_both(logs.find_sources([path]), Period(0, 65_535), matcher())
    assert found.rows > 0


def test_a_log_whose_lines_are_joined_counts_on_spark_once_it_is_converted(tmp_path):
    events = Path(test_rules.__file__).parents[1] / "samples/snowplow/events.csv.gz"
    native = tmp_path / "native.parquet"
    convert(logs.find_sources([events]), native)
    found = on_both(logs.find_sources([native]), Period(0, 65_535), matcher())
    assert found.rows > 0
