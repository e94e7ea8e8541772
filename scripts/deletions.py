"""Take named rules out of a copy of the checkout, one at a time, and see the tests turn red.

    .venv/bin/python scripts/deletions.py            every deletion of tests/deletions.toml
    .venv/bin/python scripts/deletions.py "rule 6"   those whose name has this in it

The tests run once on the copy as it is, and must pass there. Exit 1 where they do not, or where a
deletion leaves them green.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = (".venv", ".venv-brownie", ".toolchain", "node_modules")


@dataclass(frozen=True, slots=True)
class Deletion:
    """What is taken out of which file, the command that must fail then, and the tests it must name."""

    name: str
    file: str
    old: str
    command: str
    red: tuple[str, ...]
    new: str = ""


def load(path: Path) -> list[Deletion]:
    """Return the deletions of a TOML file."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return [Deletion(**{**entry, "red": tuple(entry["red"])}) for entry in table["deletion"]]


def copy_checkout(to: Path) -> None:
    """Copy the files of the checkout, committed or not, and link its environments."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    for name in filter(None, listing.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    for name in ENVIRONMENTS:
        if (ROOT / name).exists():
            (to / name).symlink_to(ROOT / name)


def run(command: str, folder: Path) -> tuple[int, str]:
    """Run a command in the copy, its `royalty` before the checkout's; return exit status and output."""
    done = subprocess.run(
        shlex.split(command),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


def without(deletion: Deletion, folder: Path) -> str | None:
    """Apply a deletion, run its tests, put the file back; return what is wrong, None where it is red."""
    path = folder / deletion.file
    whole = path.read_text(encoding="utf-8")
    if whole.count(deletion.old) != 1:
        return f"the text stands {whole.count(deletion.old)} times in {deletion.file}, not once"
    path.write_text(whole.replace(deletion.old, deletion.new), encoding="utf-8")
    try:
        status, output = run(deletion.command, folder)
    finally:
        path.write_text(whole, encoding="utf-8")
    if status == 0:
        return "no test notices"
    missing = [name for name in deletion.red if not failed(name, output)]
    return f"{', '.join(missing)} did not fail:\n{output[-2000:]}" if missing else None


def failed(test: str, output: str) -> bool:
    """Return whether a line of pytest, forge or Brownie says that a test failed."""
    return any(test in line and "FAIL" in line for line in output.splitlines())


def main(wanted: list[str]) -> int:
    """Run the deletions whose name has one of the words in it, or all; return the exit status."""
    deletions = [
        deletion
        for deletion in load(ROOT / "tests/deletions.toml")
        if not wanted or any(word in deletion.name for word in wanted)
    ]
    if not deletions:
        print("no such deletion", file=sys.stderr)
        return 2
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="royalty-deletions-") as name:
        folder = Path(name)
        copy_checkout(folder)
        for command in dict.fromkeys(deletion.command for deletion in deletions):
            status, output = run(command, folder)
            if status:
                print(f"fails with nothing deleted: {command}\n{output[-2000:]}")
                return 1
        for deletion in deletions:
            fault = without(deletion, folder)
            wrong += fault is not None
            print(
                f"{'red' if fault is None else 'GREEN'}  {deletion.name}"
                + (f": {fault}" if fault else "")
            )
    print(f"{len(deletions) - wrong} of {len(deletions)} deletions turn the tests red")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
