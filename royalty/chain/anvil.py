"""A local chain: the native Anvil of Foundry, left running for a folder, found again, ended by its pid."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from royalty.chain.node import Node, spread
from royalty.errors import ChainError, InputError, MissingProgram
from royalty.files import write_json
from royalty.settings import LOCAL_CHAIN_ID, LocalChain, Settings, read_local_chain

PORT = 8545
START_SECONDS = 20.0
END_SECONDS = 10.0
ACCOUNTS = 20
HARDFORK = "prague"


@dataclass(frozen=True, slots=True)
class Status:
    """Whether this folder's local chain runs; `head` is its newest block, None where it does not answer."""

    running: bool
    chain: LocalChain | None
    head: int | None


def package_name() -> str:
    """Return the npm package that holds this machine's native Anvil."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}
    system, kind = platform.system().lower(), platform.machine().lower()
    return (
        f"@foundry-rs/anvil-{'win32' if system == 'windows' else system}-{machine.get(kind, kind)}"
    )


def find_anvil(settings: Settings) -> Path:
    """Return the Anvil to run: --anvil or ROYALTY_ANVIL, the checkout's own, PATH; MissingProgram without."""
    if settings.anvil:
        named = shutil.which(settings.anvil)
        if named is None:
            raise MissingProgram(
                f"there is no program {settings.anvil}; check --anvil or ROYALTY_ANVIL"
            )
        return Path(named).absolute()
    program = "anvil.exe" if os.name == "nt" else "anvil"
    for place in _checkouts(settings.folder):
        found = place / "node_modules" / package_name() / "bin" / program
        if os.access(found, os.X_OK):
            return found
    on_path = shutil.which("anvil")
    if on_path is None:
        raise MissingProgram(
            "Anvil, the local chain, is not to be found; install it with"
            f" `npm install {package_name()}`, or name one with --anvil"
        )
    return Path(on_path).absolute()


def _checkouts(folder: Path) -> list[Path]:
    """Return where node_modules may lie: this package's checkout, then the folder and those above it."""
    return [Path(__file__).resolve().parents[2], folder, *folder.parents]


def up(settings: Settings, *, port: int | None = None) -> LocalChain:
    """Return the folder's local chain, started unless it runs already; it goes on when this process ends.

    Raises InputError where it runs on another port than asked for, MissingProgram without Anvil,
    ChainError where it does not answer in time or the port is taken.
    """
    with _alone(settings.state):
        return _up(settings, port)


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Keep two `chain up` in one folder from starting two chains, where the system has such locks."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "chain.lock").open("w") as file:
        with suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _up(settings: Settings, port: int | None) -> LocalChain:
    known = read_local_chain(settings.state)
    if known is not None and is_ours(known):
        if port is not None and port != known.port:
            raise InputError(
                f"the local chain of this folder runs on port {known.port} already;"
                " run `royalty chain down` first"
            )
        return known
    binary = find_anvil(settings)
    chosen = choose_port(port)
    log = settings.state / "anvil.log"
    process = spawn(binary, chosen, log)
    chain = LocalChain(f"http://127.0.0.1:{chosen}", LOCAL_CHAIN_ID, process.pid, chosen)
    try:
        _await(process, chain, log)
    except BaseException:
        process.kill()
        process.wait()
        raise
    write_json(settings.state / "chain.json", asdict(chain))
    return chain


def choose_port(port: int | None) -> int:
    """Return the port asked for, or 8545 where it is free, or any free one; ChainError where it is taken."""
    if port is not None:
        if not 1 <= port <= 65_535:
            raise InputError(f"--port {port} is out of range; give 1 to 65535")
        if not _is_free(port):
            raise ChainError(
                f"port {port} is taken by another program; give another --port, or none"
            )
        return port
    return PORT if _is_free(PORT) else free_port()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a TCP port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def spawn(binary: Path, port: int, log: Path) -> subprocess.Popen[bytes]:
    """Start Anvil in a session of its own, so that it outlives this process and its terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        try:
            return subprocess.Popen(
                [str(binary), *_options(port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=log.parent,
            )
        except OSError as error:
            raise MissingProgram(
                f"{binary} cannot be run: {error.strerror}; name another with --anvil"
            ) from None


def _await(process: subprocess.Popen[bytes], chain: LocalChain, log: Path) -> None:
    ends = time.monotonic() + START_SECONDS
    for pause in spread(0.02, 0.2):
        if process.poll() is not None:
            raise ChainError(f"Anvil ended at once ({_last_line(log)}); see {log}")
        if _listens(chain.port):
            with suppress(ChainError):
                Node.connect(chain.rpc, expected_chain_id=LOCAL_CHAIN_ID, timeout=5)
                return
        if time.monotonic() > ends:
            raise ChainError(
                f"Anvil does not answer at {chain.rpc} within {START_SECONDS:g} s; see {log}"
            )
        time.sleep(pause)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _last_line(log: Path) -> str:
    with suppress(OSError):
        lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1][:160] if lines else "no output"
    return "no output"


def is_ours(chain: LocalChain) -> bool:
    """Whether the process of that pid is the Anvil we started; a pid may have gone to another program."""
    return set(_options(chain.port)) <= set(_command_line(chain.pid))


def _options(port: int) -> list[str]:
    return [
        "--host=127.0.0.1",
        f"--port={port}",
        f"--chain-id={LOCAL_CHAIN_ID}",
        f"--accounts={ACCOUNTS}",
        f"--hardfork={HARDFORK}",
        "--quiet",
    ]


def _command_line(pid: int) -> list[str]:
    """Return the words of a running process, empty where it is gone (or a zombie)."""
    path = Path(f"/proc/{pid}/cmdline")
    if Path("/proc/self").exists():
        with suppress(OSError):
            return [
                word for word in path.read_bytes().decode("utf-8", "replace").split("\0") if word
            ]
        return []
    shown = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.split()


def down(settings: Settings) -> LocalChain | None:
    """End the folder's local chain and return it, None where none runs; its state is gone for good."""
    chain = read_local_chain(settings.state)
    if chain is None:
        return None
    ours = is_ours(chain)
    if ours:
        _end(chain)
    with suppress(FileNotFoundError):
        (settings.state / "chain.json").unlink()
    return chain if ours else None


def _end(chain: LocalChain) -> None:
    ends = time.monotonic() + END_SECONDS
    _signal(chain.pid, signal.SIGTERM)
    for pause in spread(0.02, 0.2):
        if not is_ours(chain):
            return
        if time.monotonic() > ends:
            _signal(chain.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
            return
        time.sleep(pause)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        _reap(pid)


def _reap(pid: int) -> None:
    """Let go of a child that ended; only where this very process started it."""
    with suppress(ChildProcessError, AttributeError):
        os.waitpid(pid, os.WNOHANG)


def status(settings: Settings) -> Status:
    """Return whether the folder's local chain runs, and its head."""
    chain = read_local_chain(settings.state)
    if chain is None or not is_ours(chain):
        return Status(False, chain, None)
    head: Any = None
    with suppress(ChainError):
        head = Node.connect(chain.rpc, timeout=5).head()
    return Status(head is not None, chain, head)
