"""`royalty chain` as a process: an Anvil that outlives its command, found again, and ended by its pid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import Ran, clean_environment, free_port, run_royalty

pytestmark = pytest.mark.chain
Run = Callable[..., Ran]


@pytest.fixture
def ended(run_alone: Run) -> Iterator[None]:
    """Whatever a test leaves running in the folder is ended."""
    yield
    run_alone("chain", "down")


def runs(pid: int) -> bool:
    """Whether a process runs, one that ended but was not waited for not counted."""
    with suppress(FileNotFoundError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


@pytest.mark.usefixtures("ended")
def test_up_leaves_a_chain_running_that_the_folder_finds(run_alone: Run, folder: Path) -> None:
    port = free_port()
    up = run_alone("chain", "up", "--port", port)
    assert up.document == {"rpc": f"http://127.0.0.1:{port}", "chain_id": 31337, "pid": up["pid"]}
    assert runs(up["pid"])
    assert os.getsid(up["pid"]) == up["pid"]
    status = run_alone("chain", "status")
    assert status.document == {"running": True, **up.document, "head": 0}
    deployed = run_alone("deploy")
    assert deployed["chain_id"] == 31337
    assert run_alone("chain", "status")["head"] == deployed["block"]
    assert (folder / ".royalty" / "anvil.log").is_file()


@pytest.mark.usefixtures("ended")
def test_up_again_is_the_same_chain(run_alone: Run) -> None:
    first = run_alone("chain", "up", "--port", free_port()).document
    assert run_alone("chain", "up").document == first
    refused = run_alone("chain", "up", "--port", free_port(), exit=2)
    assert "runs on port" in refused.stderr


@pytest.mark.usefixtures("ended")
def test_two_at_once_start_one_chain(run_alone: Run) -> None:
    port = free_port()
    with ThreadPoolExecutor(2) as both:
        pids = set(both.map(lambda _: run_alone("chain", "up", "--port", port)["pid"], range(2)))
    assert len(pids) == 1


def test_down_ends_it_and_is_fine_again(run_alone: Run, folder: Path) -> None:
    pid = run_alone("chain", "up", "--port", free_port())["pid"]
    assert run_alone("chain", "down").document == {"ended": True, "pid": pid}
    assert not runs(pid)
    assert not (folder / ".royalty" / "chain.json").exists()
    assert run_alone("chain", "down").document == {"ended": False, "pid": None}
    assert run_alone("chain", "status", exit=3)["running"] is False


def test_a_pid_that_went_to_another_program_is_left_alone(run_alone: Run, folder: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (folder / ".royalty").mkdir()
        chain = {"rpc": "http://127.0.0.1:1", "chain_id": 31337, "pid": stranger.pid, "port": 1}
        (folder / ".royalty" / "chain.json").write_text(json.dumps(chain))
        assert run_alone("chain", "status", exit=3)["running"] is False
        assert run_alone("chain", "down")["ended"] is False
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.usefixtures("ended")
def test_a_chain_that_was_killed_is_started_anew(run_alone: Run) -> None:
    first = run_alone("chain", "up", "--port", free_port())
    os.kill(first["pid"], signal.SIGKILL)
    ends = time.monotonic() + 10
    while runs(first["pid"]) and time.monotonic() < ends:
        time.sleep(0.02)
    failed = run_alone("deploy", exit=3)
    assert "run `royalty chain up`" in failed.stderr
    assert failed["pending"] == []
    assert run_alone("chain", "up", "--port", free_port())["pid"] != first["pid"]


def test_without_a_chain_commands_say_what_to_do(run_alone: Run) -> None:
    failed = run_alone("deploy", exit=3)
    assert failed.stderr == "royalty: no local chain: run `royalty chain up`\n"
    assert failed["error"] == "ChainError"


def test_without_anvil_the_line_that_installs_it_is_shown(tmp_path: Path) -> None:
    """Run from a copy of the package, so that the checkout's own Anvil is not beside it."""
    site = tmp_path / "site"
    site.mkdir()
    source = Path(__file__).resolve().parents[2] / "royalty"
    for path in source.rglob("*"):
        if path.suffix in (".py", ".json"):
            copy = site / "royalty" / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    home = tmp_path / "home"
    home.mkdir()
    environ = clean_environment(home) | {"PYTHONPATH": str(site), "PATH": str(home)}
    failed = run_royalty("chain", "up", cwd=home, environ=environ, exit=3)
    assert "npm install @foundry-rs/anvil-" in failed.stderr


def test_an_anvil_that_is_none_is_told(run_alone: Run, folder: Path) -> None:
    assert (
        "there is no program absent" in run_alone("chain", "up", "--anvil", "absent", exit=3).stderr
    )
    assert "no program" in run_alone("chain", "up", env={"ROYALTY_ANVIL": "absent"}, exit=3).stderr
    false = folder / "anvil-false"
    false.write_text("#!/bin/sh\necho no such option >&2\nexit 1\n")
    false.chmod(0o755)
    assert (
        "ended at once (no such option)"
        in run_alone("chain", "up", "--anvil", false, exit=3).stderr
    )
    false.write_text("not a program")
    assert "cannot be run" in run_alone("chain", "up", "--anvil", false, exit=3).stderr
    assert not (folder / ".royalty" / "chain.json").exists()


def test_a_port_that_is_taken_or_none_is_told(run_alone: Run, anvil: object) -> None:
    taken = anvil.port  # type: ignore[attr-defined]
    assert f"port {taken} is taken" in run_alone("chain", "up", "--port", taken, exit=3).stderr
    assert "out of range" in run_alone("chain", "up", "--port", "70000", exit=2).stderr
    assert "--port" in run_alone("chain", "up", "--port", "x", exit=2).stderr
