"""The README's first five minutes, run as they stand there, one after the other in one folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, clean_environment

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"<!-- test: (\w+) -->\n```sh\n(.*?)```", README, re.DOTALL)


def run_block(script: str, folder: Path, home: Path) -> str:
    """What a block prints; fails where one of its commands fails."""
    environ = clean_environment(home)
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    environ["ROYALTY_ANVIL"] = os.environ.get("ROYALTY_ANVIL", "")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_first_five_minutes_run_as_the_readme_shows_them(folder: Path, tmp_path: Path) -> None:
    assert [name for name, _ in BLOCKS] == ["producer", "platform", "holders", "auditor"]
    try:
        said = {name: run_block(script, folder, tmp_path) for name, script in BLOCKS}
    except BaseException:
        run_block("royalty chain down", folder, tmp_path)
        raise
    # One view at 0.003 and 45 excerpt seconds at 0.0001; 12 s are below the threshold.
    assert "0.0075" in said["platform"]
    assert "0.0075" in said["holders"]
    assert "0.0075" in said["auditor"]
    assert not (folder / ".royalty" / "chain.json").exists()


def test_every_file_that_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
