"""One Spark for all tests of this folder: two cores, little memory, set for many small logs.

In an environment of its own (`make test-spark`). Without pyspark or Java these tests fail; none is skipped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SMALL = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.driver.memory": "1g",
    # Small logs: to compile what is run once takes longer than to run it. The cluster's test does compile.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}


def write_settings(folder: Path, **changes: str) -> dict[str, str]:
    """Write Spark's own file of settings, as a user has it, and return the environment that names it."""
    folder.mkdir()
    lines = (f"{name} {value}\n" for name, value in {**SMALL, **changes}.items() if value)
    (folder / "spark-defaults.conf").write_text("".join(lines))
    return {"SPARK_CONF_DIR": str(folder)}


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a run red in which a test was skipped: nobody would notice that Spark is not tested."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """The Spark that counts find running."""
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").appName("tests")
    for name, value in SMALL.items():
        builder = builder.config(name, value)
    running = builder.getOrCreate()
    yield running
    running.stop()
