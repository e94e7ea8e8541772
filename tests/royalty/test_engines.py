"""Which engine counts, and what is said where it cannot; Spark itself is tested in tests/spark."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from royalty import logs
from royalty.errors import InputError, MissingProgram
from royalty.logs import rules, sparkengine
from royalty.logs.sparksql import is_drop, macro_of, table_of, to_spark
from tests.royalty.counted import matcher, period, row, write

SAMPLES = Path(__file__).parents[1] / "samples"


def on_spark(path: Path, policy: Any = None) -> logs.Count:
    return sparkengine.count_on_spark(
        logs.find_sources([path]), period(), matcher(), policy or logs.Policy()
    )


def java(folder: Path, words: str) -> str:
    """A JAVA_HOME whose Java says words."""
    program = folder / "bin/java"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{words}' >&2\n")
    program.chmod(0o755)
    return str(folder)


def test_duckdb_counts_unless_another_engine_is_asked_for():
    assert logs.counter() is logs.count


@pytest.mark.parametrize(
    ("engine", "master", "said"),
    [("dask", None, "write duckdb or spark"), ("duckdb", "local[2]", "add --engine spark")],
)
def test_an_engine_that_is_not_known_is_refused(engine, master, said):
    with pytest.raises(InputError, match=said):
        logs.counter(engine, master)


def test_without_pyspark_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(MissingProgram, match=r"pip install 'royalty\[spark\]'") as caught:
        logs.counter("spark", "local[2]")
    assert "\n" not in str(caught.value)


def test_without_java_the_error_names_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(MissingProgram, match="no Java was found; Spark needs Java 17 or later"):
        sparkengine.require_java()


@pytest.mark.parametrize("version", ['openjdk version "11.0.2"', 'java version "1.8.0_292"'])
def test_a_java_that_is_too_old_is_refused(tmp_path, monkeypatch, version):
    monkeypatch.setenv("JAVA_HOME", java(tmp_path, version))
    with pytest.raises(MissingProgram, match=r"Java (8|11) is too old; Spark needs Java 17"):
        sparkengine.require_java()


@pytest.mark.parametrize("version", ['openjdk version "17.0.15"', 'openjdk version "26" 2026-03'])
def test_a_java_of_17_or_later_will_do(tmp_path, monkeypatch, version):
    monkeypatch.setenv("JAVA_HOME", java(tmp_path, version))
    sparkengine.require_java()


def test_a_policy_with_a_step_that_spark_does_not_know_is_refused_before_anything_starts(tmp_path):
    class Further:
        """A policy with a step of tomorrow."""

        def document(self) -> dict[str, Any]:
            return {**logs.Policy().document(), "robots": {"version": "1"}}

    with pytest.raises(InputError, match=r"does not know the policy's step \[robots\]"):
        on_spark(write(tmp_path / "log.csv", [row()]), Further())


def test_a_log_whose_lines_are_joined_is_refused_before_anything_starts():
    with pytest.raises(InputError, match="which the Spark engine does not count"):
        on_spark(next((SAMPLES / "cloudfront").glob("web-1-0.txt")))


def test_every_policy_of_this_version_is_counted_on_spark():
    assert set(logs.Policy().document()) == sparkengine.STEPS


def test_words_of_duckdb_become_words_of_spark():
    assert to_spark("SELECT hash(a, b), CAST(x AS HUGEINT) // 2") == (
        "SELECT xxhash64(a, b), CAST(x AS DECIMAL(38, 0)) div 2"
    )
    assert to_spark("SELECT five.* EXCLUDE (key)") == "SELECT five.* EXCEPT (key)"
    assert to_spark("SELECT n AS m, * REPLACE (f(w) AS w) FROM t") == (
        "SELECT n AS m, * EXCEPT (w), f(w) AS w FROM t"
    )
    assert to_spark("count(*) FILTER (a)") == to_spark("count(*) FILTER (WHERE a)")


def test_statements_that_make_tables_and_tests_are_taken_apart():
    assert table_of("\nCREATE OR REPLACE TEMP TABLE t AS\nSELECT 1") == ("t", "\nSELECT 1")
    assert table_of("SELECT 1") is None
    made = macro_of("CREATE OR REPLACE TEMP MACRO m(w) AS regexp_full_match(w, '[0-9]')")
    assert made is not None and made.endswith(r"RETURN  regexp_like(w, r'\A(?:[0-9])\z')")
    assert is_drop("DROP TABLE t") and not is_drop("SELECT 1")


def test_no_word_of_duckdb_alone_is_left_in_the_rules():
    statements = []

    class Listener:
        def execute(self, sql: str) -> Listener:
            statements.append((table_of(sql) or ("", to_spark(sql)))[1])
            return self

        def fetchall(self) -> list[tuple[bool]]:
            return [(True,)]

    rules.apply_rules(Listener(), "everything", period(), logs.Policy(), matcher())  # type: ignore[arg-type]
    text = "\n".join(statements)
    assert "row_number()" in text and "lead(" in text
    assert [
        word for word in ("HUGEINT", "EXCLUDE", "REPLACE", " // ", " hash(") if word in text
    ] == []


def test_a_file_that_only_the_driver_sees_is_told_by_its_summary(tmp_path):
    (source,) = logs.find_sources([write(tmp_path / "log.csv", [row()])])
    gone = replace(source, path=tmp_path / "gone.csv")
    (summary,) = sparkengine.read_file(gone, 0, sparkengine.our_version())
    assert "gone.csv" in summary.to_pylist()[0]["summary"]


def test_a_worker_of_another_version_is_refused(tmp_path):
    (source,) = logs.find_sources([write(tmp_path / "log.csv", [row()])])
    (summary,) = sparkengine.read_file(source, 0, "0.0.1")
    assert "a worker has royalty" in summary.to_pylist()[0]["summary"]
