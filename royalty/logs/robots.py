"""The list of robots of Project COUNTER, as the package counter-robots brings it.

A policy names the list that it means by version and SHA-256, so that evidence can be repeated: with
another list installed nothing is counted. Nothing of the list is copied into this package.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from royalty.errors import InputError

PACKAGE = "counter-robots"
FILES = ("robot.txt", "machine.txt")
INSTALL = "pip install 'royalty[robots]'"


@dataclass(frozen=True, slots=True)
class RobotList:
    """The patterns of an installed list; a user agent that any of them finds is a robot or a machine."""

    version: str
    content: bytes

    @property
    def sha256(self) -> str:
        """`0x` and the SHA-256 of the list's files, one after the other: robot.txt, machine.txt."""
        return "0x" + sha256(self.content).hexdigest()

    @property
    def matcher(self) -> Callable[[str], bool]:
        """What tells of a user agent whether it is a robot; capital letters matter, as in the package."""
        lines = self.content.decode().splitlines()
        search = re.compile("|".join(lines)).search
        return lambda agent: search(agent) is not None


def installed() -> RobotList | None:
    """Return the list that is installed here, None where there is none."""
    from importlib.metadata import PackageNotFoundError, version
    from importlib.resources import files

    try:
        folder = files("counter_robots") / "data"
        content = b"".join((folder / name).read_bytes() for name in FILES)
        return RobotList(version(PACKAGE), content)
    except (ModuleNotFoundError, PackageNotFoundError, OSError):
        return None


def need(version: str, digest: str) -> RobotList:
    """Return the list that a policy names; InputError where another is installed, or none."""
    found = installed()
    if found is not None and found.sha256 == digest:
        return found
    have = "none is" if found is None else f"{PACKAGE} {found.version} ({found.sha256}) is"
    raise InputError(
        f"[robots] of the policy names the list of {PACKAGE} {version} ({digest[:18]}…); {have}"
        f" installed. Install that version: {INSTALL} {PACKAGE}=={version}"
    )
