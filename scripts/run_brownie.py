"""Run Brownie inside this checkout: its own HOME, compiler, Anvil and a free port.

`.venv-brownie/bin/python scripts/run_brownie.py test` takes what `brownie test` takes.
"""

import hashlib
import os
import shutil
import socket
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLCHAIN = ROOT / ".toolchain"


def free_port() -> int:
    """A TCP port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def enclose() -> None:
    """Point Brownie at this checkout; it reads all of this when it is imported."""
    home = TOOLCHAIN / "home"
    home.mkdir(parents=True, exist_ok=True)
    os.environ["HOME"] = str(home)
    os.environ["SOLCX_BINARY_PATH"] = str(TOOLCHAIN / "solcx")
    os.environ["PATH"] = os.pathsep.join([str(ROOT / "node_modules/.bin"), os.environ["PATH"]])
    os.chdir(ROOT)
    sys.path.remove(str(ROOT / "scripts"))


def forget_stale_build() -> None:
    """Drop what was compiled from other sources: Brownie does not notice that a library changed."""
    sources = [ROOT / "brownie-config.yaml", *sorted((ROOT / "contracts").rglob("*.sol"))]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    stamp = ROOT / "build/sources.sha256"
    if not stamp.is_file() or stamp.read_text() != digest:
        shutil.rmtree(ROOT / "build/contracts", ignore_errors=True)
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(digest)


def main() -> None:
    enclose()
    forget_stale_build()
    from brownie._config import CONFIG

    settings = CONFIG.networks["anvil"]["cmd_settings"]
    # A fixed port would attach Brownie to whatever chain already listens there.
    settings["port"] = free_port()
    settings["steps_tracing"] = bool({"--coverage", "-C"} & set(sys.argv))

    from brownie._cli.__main__ import main as brownie

    sys.argv[0] = "brownie"
    brownie()


if __name__ == "__main__":
    main()
