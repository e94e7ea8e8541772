"""Check, without a network, that the files of the set-up agree; prints one line per fault."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("dev", "build", "brownie", "node", "spark")
# Foundry's packages that not every registry serves; npm verifies those by what its registry says.
UNHASHED = re.compile(r"node_modules/@foundry-rs/(anvil|forge)-(darwin|linux)-(amd64|arm64)$")
HASHED_PLATFORM = "linux-amd64"
# Written so that this file does not match itself.
ADDRESS = re.compile(
    r"registry[.]npmjs|files[.]pythonhosted|pypi[.]org/simple|find[-]links|index[-]url"
    r'|"resolved"[:]|binaries[.]soliditylang'
)
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(?:home|root|Users|w[o]rk)/\w")


def requirements(name: str) -> list[Requirement]:
    """What a lock must hold: its .in file's lines; for dev and spark also pyproject.toml's dependencies."""
    lines = (ROOT / f"requirements/{name}.in").read_text().splitlines()
    asked = [Requirement(line) for line in lines if line and not line.startswith("#")]
    if name in ("dev", "spark"):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        lines = [*project["dependencies"], *project["optional-dependencies"].get(name, [])]
        asked += [Requirement(line) for line in lines]
    return asked


def locked(name: str) -> dict[str, tuple[str, bool]]:
    """Version, and whether there is a hash, by package of one lock file."""
    text = (ROOT / f"requirements/{name}.txt").read_text()
    entries = re.findall(r"^([\w.-]+)==([^\s;\\]+)(.*(?:\n +.*)*)", text, re.MULTILINE)
    return {canonicalize_name(n): (version, "--hash=" in rest) for n, version, rest in entries}


def python_locks() -> Iterator[str]:
    """Faults of the Python locks: out of step with what is asked for, or without a hash."""
    for name in LOCKS:
        entries = locked(name)
        for wanted in requirements(name):
            version, _ = entries.get(canonicalize_name(wanted.name), ("none", False))
            if version == "none" or version not in wanted.specifier:
                yield f"requirements/{name}.txt: expected {wanted}, found {version}: `make locks`"
        yield from (
            f"requirements/{name}.txt: {package} has no hash"
            for package, (_, hashed) in entries.items()
            if not hashed
        )


def npm_locks() -> Iterator[str]:
    """Faults of npm's locks, likewise."""
    for folder in (ROOT, ROOT / "requirements/browser"):
        yield from npm_lock(folder)


def npm_lock(folder: Path) -> Iterator[str]:
    """Faults of one folder's package-lock.json."""
    package = json.loads((folder / "package.json").read_text())
    entries = json.loads((folder / "package-lock.json").read_text())["packages"]
    for kind in ("dependencies", "devDependencies", "optionalDependencies"):
        if package.get(kind) != entries[""].get(kind):
            yield f"package-lock.json: {kind} differ from package.json: run `make locks`"
        for name, version in package.get(kind, {}).items():
            found = entries.get(f"node_modules/{name}", {}).get("version")
            if found != version:
                yield f"package-lock.json: expected {name} {version}, found {found}"
    for path, entry in entries.items():
        excused = UNHASHED.match(path) and not path.endswith(HASHED_PLATFORM)
        if path and "integrity" not in entry and not excused:
            yield f"package-lock.json: {path} has no hash"


def compilers() -> Iterator[str]:
    """Differences between what forge, Brownie and py-solc-x are told."""
    forge = tomllib.loads((ROOT / "foundry.toml").read_text())["profile"]["default"]
    brownie = yaml.safe_load((ROOT / "brownie-config.yaml").read_text())["compiler"]
    solc = json.loads((ROOT / "package.json").read_text())["dependencies"]["solc"]
    make = re.search(r"^SOLC_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    same = {
        "compiler": (solc, brownie["solc"]["version"]),
        "SOLC_VERSION of the Makefile": (solc, make and make[1]),
        "EVM version": (forge["evm_version"], brownie["evm_version"]),
        "optimizer": (forge["optimizer"], brownie["solc"]["optimizer"]["enabled"]),
        "optimizer runs": (forge["optimizer_runs"], brownie["solc"]["optimizer"]["runs"]),
        "viaIR": (forge["via_ir"], brownie["solc"]["viaIR"]),
    }
    for what, (expected, found) in same.items():
        if expected != found:
            yield f"compiler settings: {what}: expected {expected}, found {found}"


def addresses() -> Iterator[str]:
    """Lines of committed text that name a registry's address or a path of somebody's machine."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        try:
            lines = (ROOT / name).read_text().splitlines()
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        for number, line in enumerate(lines, 1):
            if ADDRESS.search(line) or MACHINE_PATH.search(line) or str(ROOT) + "/" in line:
                yield f"{name}:{number}: names a registry or a machine's path: {line.strip()[:80]}"


def faults() -> list[str]:
    """Every fault that was found."""
    return [*python_locks(), *npm_locks(), *compilers(), *addresses()]


def main() -> int:
    found = faults()
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
