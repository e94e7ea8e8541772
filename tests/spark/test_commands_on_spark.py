"""`--engine spark` as a process: the documents are those of DuckDB, to the letter."""

from __future__ import annotations

import pytest

from tests.cli.test_usage import here, mixed, usage  # noqa: F401
from tests.spark.conftest import left_behind, write_settings
from tests.usage_world import DAY

pytestmark = pytest.mark.chain
SPARK = ("--engine", "spark", "--master", "local[2]")


def test_check_and_reconcile_print_on_spark_what_they_print_on_duckdb(
    here,  # noqa: F811
    usage,  # noqa: F811
    run,
    tmp_path,
):
    options = {"env": write_settings(tmp_path / "conf"), "timeout": 300}
    log = mixed(here)
    check = ("check", log, "--day", DAY)
    expected = usage(*check)
    found = usage(*check, *SPARK, **options)
    assert found.document == expected.document
    assert found["rows"] == 10

    here.as_platform().usage.report(here.views("reported.csv", 2), day=DAY)
    reconcile = ("reconcile", log, "--since", DAY, "--until", DAY)
    expected = run(*reconcile, exit=1)
    found = run(*reconcile, *SPARK, exit=1, **options)
    assert found.document == expected.document
    assert found["findings"]
    assert left_behind(tmp_path / "conf") == []
