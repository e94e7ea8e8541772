"""docs/cli.md: every command is documented, and the page is what the commands say now."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT


def test_every_command_is_documented_and_the_page_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/cli_docs.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
