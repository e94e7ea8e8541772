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
from royalty.logs.policy import ALL_REASONS
from royalty.logs.sparkengine import Connection, count_on_spark, spark_session
from royalty.usage import WorkRef
from tests.royalty import counted, test_rules, test_rules_twin, test_steps, test_steps_twin
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


def refusal(count: Callable[..., logs.Count], *given: Any) -> str:
    """What a count says that refuses what it is given."""
    with pytest.raises(InputError) as caught:
        count(*given)
    return str(caught.value)


@pytest.fixture(scope="module")
def both() -> Any:
    """Every `logs.count` of the tests that are run here counts on both engines."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(logs, "count", on_both)
        yield


# A log takes seconds here; two cores and four minutes for all of this folder are what these numbers come of.
few = settings(
    max_examples=8,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@few
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


@few
@given(**test_steps_twin.RANDOM)
def test_every_row_gets_the_reason_of_the_twin_and_of_duckdb_under_any_steps(
    seed, forms, numbers, likely, shape, days
):
    test_steps_twin.check_random(seed, forms, numbers, likely, shape, days)


def test_a_thousand_rows_come_to_the_same_under_all_steps_at_once_and_every_reason_occurs(tmp_path):
    rng = Random(23)
    paths = [tmp_path / name for name in ("a.csv", "b.jsonl", "c.parquet", "d.csv")]
    for path in paths:
        rows = [test_steps_twin.step_row(rng) for _ in range(250)]
        whole = dict.fromkeys(test_steps_twin.FIELDS, "1")
        test_steps_twin.write(path, [*rows, whole], rng)
    steps = {name: some[-1] for name, some in test_steps_twin.STEPS.items()} | {"repeat": 3600}
    numbers = {"minimum": "30", "short": "0.5", "click": "1.5", "cap": 3}
    given = (paths, None, numbers, steps, (DAY - 1, DAY + 1))
    excluded = test_steps_twin.check(tmp_path / "excluded.csv", *given)
    assert set(excluded) == set(ALL_REASONS)


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
    test_rules.test_a_duplicate_itself_makes_the_next_days_row_one,
    test_rules.test_rows_that_are_equal_count_once_over_several_files,
    test_rules.test_without_ids_viewer_work_kind_and_instant_are_the_id,
    test_rules.test_a_cap_of_zero_excludes_every_viewer,
    test_steps.test_a_session_counts_once_within_the_window_and_again_after_it,
    test_steps.test_what_was_excluded_as_a_repeat_takes_no_place_under_the_cap,
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


def test_a_log_without_the_column_of_a_step_is_refused_as_without_spark(tmp_path):
    path = write(tmp_path / "log.csv", [row()])
    given = (logs.find_sources([path]), period(), matcher(), logs.Policy(statuses=(200,)))
    assert refusal(count_on_spark, *given) == refusal(DUCKDB, *given)


def test_a_worker_with_another_list_of_robots_than_the_policys_is_refused(tmp_path):
    policy = logs.Policy(robots_version="2", robots_sha256="0x" + "0" * 64)
    path = test_steps.write(tmp_path, [test_steps.step()])
    said = refusal(count_on_spark, logs.find_sources([path]), period(), matcher(), policy)
    assert "counter-robots 1 " in said and "Install that version" in said


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
    given = (logs.find_sources([good, bad]), period(), matcher())
    assert refusal(count_on_spark, *given) == refusal(DUCKDB, *given)


def test_a_file_of_sums_is_refused_as_without_spark():
    sums = Path(test_rules.__file__).parents[1] / "samples/counter/IRM1_sample_r51.tsv"
    given = (logs.find_sources([sums]), period(), matcher())
    assert refusal(count_on_spark, *given) == refusal(DUCKDB, *given)


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
