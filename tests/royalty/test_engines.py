"""Which engine counts, and what is said where it cannot; Spark itself is tested in tests/spark."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from royalty import logs
from royalty.errors import InputError, MissingProgram
from royalty.logs import counting, policy, rules, sparkengine
from royalty.logs.sparksql import empty_of, insert_of, is_drop, macro_of, relation_of, to_spark
from tests.royalty.counted import matcher, period, row, write
from tests.royalty.test_steps import EVERY

SAMPLES = Path(__file__).parents[1] / "samples"


def on_spark(path: Path, policy: Any = None) -> logs.Count:
    return sparkengine.count_on_spark(
        logs.find_sources([path]), period(), matcher(), policy or logs.Policy()
    )


def reader(source: logs.Source, version: str = "") -> sparkengine.Reader:
    """What an executor is given to read a file with."""
    return sparkengine.Reader((source,), logs.Policy(), "1GB", version or sparkengine.our_version())


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
            return {**logs.Policy().document(), "moods": {"only": ["good"]}}

    with pytest.raises(InputError, match=r"does not know the policy's step \[moods\]"):
        on_spark(write(tmp_path / "log.csv", [row()]), Further())


def test_a_log_whose_lines_are_joined_is_refused_before_anything_starts():
    with pytest.raises(InputError, match="which the Spark engine does not count"):
        on_spark(next((SAMPLES / "cloudfront").glob("web-1-0.txt")))


def test_every_policy_of_this_version_is_counted_on_spark():
    assert set(policy._SECTIONS) | {"name", "version"} == sparkengine.STEPS


def test_words_of_duckdb_become_words_of_spark():
    assert to_spark("SELECT hash(a, b), CAST(x AS HUGEINT) // 2") == (
        "SELECT xxhash64(a, b), CAST(x AS DECIMAL(38, 0)) div 2"
    )
    assert to_spark("SELECT five.* EXCLUDE (key)") == "SELECT five.* EXCEPT (key)"
    assert to_spark("SELECT t.* EXCLUDE (a, b) REPLACE (f(w, 0) AS w), m FROM t") == (
        "SELECT t.* EXCEPT (a, b, w), f(w, 0) AS w, m FROM t"
    )
    assert to_spark("CAST('robot' AS ENUM('malformed', 'robot'))") == "CAST('robot' AS STRING)"
    assert to_spark("b AS NOT MATERIALIZED (x), c AS MATERIALIZED (y)") == "b AS (x), c AS (y)"
    assert to_spark("count(*) FILTER (a)") == to_spark("count(*) FILTER (WHERE a)")


def test_statements_that_make_tables_and_tests_are_taken_apart():
    for what in ("TABLE", "VIEW"):
        assert relation_of(f"\nCREATE OR REPLACE TEMP {what} t AS\nSELECT 1") == ("t", "\nSELECT 1")
    assert relation_of("SELECT 1") is None
    empty = "CREATE OR REPLACE TEMP TABLE t (a BIGINT, b VARCHAR)"
    assert empty_of(empty) == ("t", "a BIGINT, b STRING") and relation_of(empty) is None
    assert insert_of("INSERT INTO t SELECT a // 2 FROM b") == ("t", "SELECT a div 2 FROM b")
    assert insert_of("SELECT a FROM b") is None
    made = macro_of("CREATE OR REPLACE TEMP MACRO m(w) AS regexp_full_match(w, '[0-9]')")
    assert made is not None and made.endswith(r"RETURN  regexp_like(w, r'\A(?:[0-9])\z')")
    assert is_drop("DROP TABLE t") and is_drop("DROP VIEW t") and not is_drop("SELECT 1")


class Listener:
    """Takes the statements of the rules, as Spark would be given them, and finds nothing."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def execute(self, sql: str) -> Listener:
        made = relation_of(sql) or empty_of(sql) or insert_of(sql)
        self.given.append(made[1] if made else to_spark(sql))
        return self

    def fetchall(self) -> list[tuple[bool]]:
        return [] if "lacking" in self.given[-1] else [(True,)]

    def fetchmany(self, _size: int) -> list[tuple[int, ...]]:
        return []


@pytest.mark.parametrize("steps", [{}, EVERY], ids=["no step", "every step"])
def test_no_word_of_duckdb_alone_is_left_in_the_rules(steps):
    spark = Listener()
    policy = logs.Policy.of(steps)
    rules.apply_rules(spark, "everything", period(), policy, matcher())  # type: ignore[arg-type]
    spark.execute(counting.TOTALS)
    text = "\n".join(spark.given)
    assert "row_number()" in text and "lead(" in text
    words = ("HUGEINT", "VARCHAR", "ENUM", "EXCLUDE", "REPLACE", "MATERIALIZED", "QUALIFY")
    assert [word for word in (*words, " // ", " hash(", "FILTER (anonymous") if word in text] == []


def test_a_run_with_a_skipped_test_on_spark_is_red(tmp_path):
    path = tmp_path / "test_two.py"
    path.write_text(
        "import pytest\n\n\ndef test_one():\n    pass\n\n\ndef test_two():\n    pytest.skip('no Java')\n"
    )
    words = (
        "-q",
        "-p",
        "tests.spark.conftest",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
    )
    ran = {
        which: subprocess.run(
            [sys.executable, "-m", "pytest", *words, "-k", which, str(path)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        for which in ("one", "two")
    }
    assert (ran["one"].returncode, ran["two"].returncode) == (0, 1), ran
    assert "a skipped test is a failure here" in ran["two"].stdout


def test_a_file_that_only_the_driver_sees_is_told_by_its_summary(tmp_path):
    (source,) = logs.find_sources([write(tmp_path / "log.csv", [row()])])
    gone = replace(source, path=tmp_path / "gone.csv")
    (summary,) = reader(gone).read_file(0)
    assert "gone.csv" in summary.to_pylist()[0]["summary"]


def test_a_worker_of_another_version_is_refused(tmp_path):
    (source,) = logs.find_sources([write(tmp_path / "log.csv", [row()])])
    (summary,) = reader(source, "0.0.1").read_file(0)
    assert "a worker has royalty" in summary.to_pylist()[0]["summary"]
