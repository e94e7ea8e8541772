"""One Spark for all tests of this folder: two cores, little memory, set for many small logs.

In an environment of its own (`make test-spark`). Without pyspark or Java these tests fail; none is skipped.
"""

from __future__ import annotations

import os
import sys
import time
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
    "spark.sql.shuffle.partitions": "2",
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


def install_robots(folder: Path, patterns: bytes) -> None:
    """Put a package counter-robots 1 of such patterns into a folder, as pip would."""
    data, said = folder / "counter_robots/data", folder / "counter_robots-1.dist-info"
    for made in (data, said):
        made.mkdir(parents=True)
    (folder / "counter_robots/__init__.py").touch()
    (data / "robot.txt").write_bytes(patterns)
    (data / "machine.txt").touch()
    (said / "METADATA").write_text("Metadata-Version: 2.1\nName: counter-robots\nVersion: 1\n")


def left_behind(folder: Path, within: float = 20) -> list[str]:
    """The processes whose environment names a folder, after some seconds to end in."""
    ends = time.monotonic() + within
    while found := [*_named(folder)]:
        if time.monotonic() > ends:
            return found
        time.sleep(0.2)
    return []


def _named(folder: Path) -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name != str(os.getpid()) and str(folder).encode() in (
                (process / "environ").read_bytes()
            ):
                yield (process / "cmdline").read_text().replace("\0", " ")[:200]
        except OSError:  # it has ended, or is another user's
            continue


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a run red in which a test was skipped: nobody would notice that Spark is not tested."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("\na skipped test is a failure here", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The Spark that counts find running; its workers have the list of robots of the twin's policies."""
    from tests.royalty.test_steps_twin import ROBOTS

    robots = tmp_path_factory.mktemp("robots")
    install_robots(robots, ROBOTS.content)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(robots), os.environ.get("PYTHONPATH", "")])
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").appName("tests")
    for name, value in SMALL.items():
        builder = builder.config(name, value)
    running = builder.getOrCreate()
    yield running
    running.stop()
