"""However a driver ends, its Java and the Python workers end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.spark.conftest import left_behind, write_settings

DRIVER = """
import time
from royalty.logs.sparkengine import spark_session

with spark_session("local[2]") as session:
    session.range(2).mapInArrow(lambda batches: batches, "id BIGINT").count()
    print("counting", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("mark", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_a_driver_that_is_ended_leaves_no_process_behind(tmp_path, mark):
    settings = write_settings(tmp_path / "conf")
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        env={**os.environ, **settings},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as driver:
        try:
            assert driver.stdout is not None and driver.stdout.readline() == "counting\n"
            up = " ".join(left_behind(tmp_path / "conf", within=0))
            assert "java" in up and "pyspark.daemon" in up, up
        finally:
            driver.send_signal(mark)
        driver.wait(60)
    assert left_behind(tmp_path / "conf") == []
