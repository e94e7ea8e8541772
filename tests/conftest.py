"""Fixtures of the package's tests: an Anvil of the module's own, a folder, and `royalty` as a process.

Brownie's pytest reads this file too, in an environment without the package: import it inside fixtures only.
"""

from __future__ import annotations

import json as json_module
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    """A TCP port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def anvil_program() -> str:
    """The native Anvil: ROYALTY_ANVIL, the checkout's, or PATH's."""
    machine = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "")
    system = {"Linux": "linux", "Darwin": "darwin"}.get(platform.system(), "")
    native = ROOT / f"node_modules/@foundry-rs/anvil-{system}-{machine}/bin/anvil"
    found = os.environ.get("ROYALTY_ANVIL") or (
        str(native) if native.is_file() else shutil.which("anvil")
    )
    if found is None:
        pytest.fail("no Anvil: run `make setup`")
    return found


@dataclass
class Anvil:
    """A running Anvil and a bare JSON-RPC client for what only a test asks of it."""

    rpc: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    def request(self, method: str, *params: Any) -> Any:
        """The result of one JSON-RPC request."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        asked = urllib.request.Request(
            self.rpc, json_module.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(asked, timeout=20) as answer:
            document = json_module.loads(answer.read())
        if "error" in document:
            raise AssertionError(document["error"])
        return document["result"]

    def mine_days(self, days: int) -> None:
        """Move the chain's clock on by whole days."""
        self.request("evm_increaseTime", days * 86_400)
        self.request("evm_mine")

    def end(self) -> None:
        """End it by its process id."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_anvil(*options: str) -> Anvil:
    """Start an Anvil on a free port and wait until it answers."""
    port = free_port()
    process = subprocess.Popen(
        [
            anvil_program(),
            f"--port={port}",
            "--accounts=20",
            "--hardfork=prague",
            "--quiet",
            *options,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    anvil = Anvil(f"http://127.0.0.1:{port}", port, process)
    ends = time.monotonic() + 20
    while True:
        try:
            anvil.request("eth_chainId")
            return anvil
        except OSError:
            if process.poll() is not None or time.monotonic() > ends:
                anvil.end()
                raise
            time.sleep(0.02)


@dataclass
class Ran:
    """What one run of the program left behind; `ran["key"]` reads its JSON document."""

    code: int
    stdout: str
    stderr: str
    document: dict[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.document[key]


def run_royalty(
    *arguments: object,
    cwd: Path,
    environ: dict[str, str],
    json: bool = True,
    exit: int = 0,
    stdin: str = "",
    timeout: float = 120,
) -> Ran:
    """Run `royalty` as a process; fails where it does not end with the exit code expected."""
    words = [str(argument) for argument in arguments] + (["--json"] if json else [])
    done = subprocess.run(
        [sys.executable, "-m", "royalty.cli.app", *words],
        cwd=cwd,
        env=environ,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    shown = f"royalty {' '.join(words)}\nstdout: {done.stdout}\nstderr: {done.stderr}"
    assert done.returncode == exit, f"exit {done.returncode} instead of {exit}: {shown}"
    if exit not in (0, 1):
        assert "Traceback" not in done.stderr, shown
    wanted = json and exit in (0, 1, 3)
    return Ran(
        done.returncode, done.stdout, done.stderr, json_module.loads(done.stdout) if wanted else {}
    )


def clean_environment(home: Path) -> dict[str, str]:
    """The environment without this machine's own settings of royalty."""
    kept = {word: value for word, value in os.environ.items() if not word.startswith("ROYALTY_")}
    return kept | {"HOME": str(home), "ROYALTY_KEYS": str(home / "keys")}


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    """An Anvil of this module's own on a free port."""
    started = start_anvil()
    yield started
    started.end()


@pytest.fixture(scope="module")
def ledger(anvil: Anvil, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `royalty deploy --json` says of the ledger on the module's Anvil."""
    home = tmp_path_factory.mktemp("deploy")
    environ = clean_environment(home) | {"ROYALTY_RPC": anvil.rpc}
    return run_royalty("deploy", cwd=home, environ=environ).document


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, which is also where the test itself stands."""
    place = tmp_path / "folder"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def run_alone(folder: Path, tmp_path: Path) -> Callable[..., Ran]:
    """`royalty` as a process in the folder, without any chain: run_alone("chain", "up", exit=0, env={...})."""

    def run(*arguments: object, env: dict[str, str] | None = None, **options: Any) -> Ran:
        environ = clean_environment(tmp_path) | (env or {})
        return run_royalty(*arguments, cwd=folder, environ=environ, **options)

    return run


@pytest.fixture
def run(run_alone: Callable[..., Ran], anvil: Anvil, ledger: dict[str, Any]) -> Callable[..., Ran]:
    """`royalty` as a process in the folder on the module's Anvil and ledger.

    run("catalogue", "open", ..., json=True, exit=0, env={...}, stdin="") -> Ran
    """
    known = {"ROYALTY_RPC": anvil.rpc, "ROYALTY_CONTRACT": ledger["royalty"]}

    def on_chain(*arguments: object, env: dict[str, str] | None = None, **options: Any) -> Ran:
        return run_alone(*arguments, env=known | (env or {}), **options)

    return on_chain


@pytest.fixture
def session(folder: Path, anvil: Anvil, ledger: dict[str, Any]) -> Callable[..., Any]:
    """A maker of sessions on the module's ledger: session("dev1", platform="dev1") -> Royalty."""

    def make(account: str = "dev0", **options: Any) -> Any:
        from royalty import Royalty

        return Royalty.connect(
            account=account, rpc=anvil.rpc, contract=ledger["royalty"], folder=folder, **options
        )

    return make
