"""The list of what `make deletions` takes out keeps up with the code: a text that moved takes nothing out."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_each_deletion_names_text_that_its_file_has_once() -> None:
    listed = tomllib.loads((ROOT / "tests/deletions.toml").read_text(encoding="utf-8"))["deletion"]
    assert len(listed) > 20
    found = {
        entry["name"]: (ROOT / entry["file"]).read_text(encoding="utf-8").count(entry["old"])
        for entry in listed
    }
    assert {name for name, times in found.items() if times != 1} == set()
