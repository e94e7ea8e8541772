"""`royalty reporter` as a process: adding, removing, listing, refusals."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.story import DEV
from tests.conftest import Ran

pytestmark = pytest.mark.chain
Run = Callable[..., Ran]


def test_reporters_are_added_removed_and_listed(run: Run) -> None:
    added = run("reporter", "add", "dev2", "--account", "dev1")
    assert (added["platform"], added["reporter"], added["allowed"]) == (DEV[1], DEV[2], True)
    run("reporter", "add", DEV[3], "--account", "dev1")
    assert run("reporter", "list", "--platform", "dev1").document == {
        "platform": DEV[1],
        "reporters": sorted([DEV[2], DEV[3]], key=str.lower),
    }
    assert run("reporter", "remove", "dev2", "--account", "dev1")["allowed"] is False
    assert run("reporter", "list", "--account", "dev1")["reporters"] == [DEV[3]]


def test_what_is_so_already_sends_nothing(quick: Run) -> None:
    assert quick("reporter", "remove", "dev8", "--account", "dev4")["transaction"] is None
    quick("reporter", "add", "dev8", "--account", "dev4")
    assert quick("reporter", "add", "dev8", "--account", "dev4")["transaction"] is None


def test_reporters_are_each_platforms_own(quick: Run) -> None:
    quick("reporter", "add", "dev9", "--account", "dev5")
    assert quick("reporter", "list", "--account", "dev6")["reporters"] == []
    assert "No reporter" in quick("reporter", "list", "--account", "dev6", json=False).stdout


def test_reporter_refuses_bad_input(quick: Run) -> None:
    for words, reason in [
        (["add"], "Missing argument"),
        (["add", "nobody"], "'nobody' is neither"),
        (["remove", "0x12"], "'0x12' is not an address"),
        (["add", DEV[2][:-1] + "b"], "wrong checksum"),
        (["add", "0x" + "0" * 40], "nobody has the key"),
        (["list", "--platform", "nobody"], "'nobody' is neither"),
    ]:
        assert reason in quick("reporter", *words, exit=2).stderr
