"""A standalone cluster of a master and two workers on this machine's loopback, whose statements Spark compiles."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random

import pytest

from tests.conftest import free_port
from tests.royalty import test_steps_twin
from tests.spark.conftest import SMALL, left_behind, write_settings

# The driver is a process of its own: it starts as a user's does.
DRIVER = """
import json, sys
from decimal import Decimal
from royalty import logs
from royalty.days import Period
from tests.royalty.test_rules_twin import ANSWERS, DAY, DEALS, WORKS
from royalty.usage import WorkRef

given = (
    logs.find_sources(sys.argv[2:]),
    Period(DAY - 1, DAY + 1),
    logs.WorkTable([(text, WorkRef(*work)) for text, work in ANSWERS.items()], DEALS, WORKS),
    logs.Policy(sections=True, statuses=(200, 206), territories=("DE",), repeat_seconds=Decimal(3600)),
)
found = logs.counter("spark", sys.argv[1])(*given)
same = found == logs.count(*given)
print(json.dumps({"same": same, "rows": found.rows, "excluded": found.excluded, "qualified": found.qualified}))
"""


@contextmanager
def part(folder: Path, *words: str, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """A part of the cluster in a process group of its own, which is ended whatever happens."""
    import pyspark

    home = Path(pyspark.__file__).parent
    with (folder / f"{len([*folder.iterdir()])}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(home / "bin/spark-class"), *words],
            env={**os.environ, "SPARK_HOME": str(home), **environ},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            for mark in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, mark)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)


def workers_of(port: int) -> int:
    """How many workers the master has, as its page says."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/json/", timeout=5) as answer:
            return int(json.load(answer)["aliveworkers"])
    except OSError:
        return 0


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[Path]]]:
    """The address of a master with two workers, and the workers' folders."""
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("SPARK_NO_DAEMONIZE", "1")
    logs, deploy = tmp_path / "logs", "org.apache.spark.deploy"
    logs.mkdir()
    port, page = free_port(), free_port()
    folders = [tmp_path / "one", tmp_path / "two"]
    address = f"spark://127.0.0.1:{port}"
    with ExitStack() as stack:
        stack.enter_context(
            part(
                logs,
                *(f"{deploy}.master.Master", "--host", "127.0.0.1", "--port", str(port)),
                *("--webui-port", str(page)),
                SPARK_DAEMON_MEMORY="256m",
                SPARK_LOG_DIR=str(logs),
            )
        )
        for folder in folders:
            words = ("--host", "127.0.0.1", "--cores", "1", "--memory", "600m", "--webui-port", "0")
            stack.enter_context(
                part(
                    logs,
                    *(f"{deploy}.worker.Worker", *words, "--work-dir", str(folder), address),
                    SPARK_DAEMON_MEMORY="256m",
                    SPARK_LOG_DIR=str(logs),
                )
            )
        ends = time.monotonic() + 120
        while workers_of(page) < 2:
            said = "\n".join(path.read_text()[-1500:] for path in sorted(logs.iterdir()))
            assert time.monotonic() < ends, f"no two workers within two minutes:\n{said}"
            time.sleep(0.5)
        yield address, folders
    assert left_behind(logs) == []


def test_a_cluster_of_two_workers_comes_to_the_tables_of_duckdb(cluster, tmp_path):
    address, folders = cluster
    settings = write_settings(
        tmp_path / "conf",
        **{
            "spark.executor.memory": "512m",
            "spark.executor.extraJavaOptions": SMALL["spark.driver.extraJavaOptions"],
            "spark.sql.shuffle.partitions": "4",
            "spark.scheduler.minRegisteredResourcesRatio": "1",
        },
        **{name: "" for name in SMALL if "codegen" in name or "adaptive" in name},
    )
    rng = Random(4)
    paths = []
    for at in range(4):
        paths.append(tmp_path / f"log-{at}.csv")
        test_steps_twin.write(paths[-1], [test_steps_twin.step_row(rng) for _ in range(200)], rng)
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, address, *map(str, paths)],
        env={**os.environ, **settings},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["same"] and found["rows"] == 800 and found["qualified"] > 0, found
    assert found["excluded"]["repeat_in_window"] > 0, found
    assert left_behind(tmp_path / "conf") == []
    assert [len(list(folder.glob("app-*/*"))) for folder in folders] == [1, 1]
