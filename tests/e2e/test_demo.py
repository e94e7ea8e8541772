"""The demo, as a person runs it: `royalty demo` in an empty folder of a checkout."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from royalty import demo
from tests.conftest import Ran
from tests.royalty.pages import read


@pytest.fixture
def told(run_alone: Callable[..., Ran]) -> str:
    """What the demo prints."""
    return run_alone("demo", json=False, timeout=300).stdout


def test_the_demo_pays_what_was_watched_and_finds_what_was_withheld(
    told: str, folder: Path
) -> None:
    # Design, section 4, and examples/open-movies/README.md, counted by hand.
    for line in (
        "rows of the log  41,828",
        "duplicate           124",
        "below threshold  19,129",
        "qualified        22,575",
        "9,359 works registered in 19 transactions",
        "15 batches reported, one a day: 67.725 TestUSD",
        "what the chain paid         67.725",
        "Jan Morgenstern    big-buck-bunny 15%, sintel 20%   0.08034",
        "what the chain paid         1.1397",
        "in a browser: royalty-demo/real-log.html",
        "in a browser: royalty-demo/left-out.html",
        "difference                  0.0177",
        "missing_on_chain  3/0        2026-10-06  excerpt      45      0      0.0045",
    ):
        assert line in told
    assert max(len(line) for line in told.splitlines()) <= 80
    assert "All checks held" in told
    real, left_out = (
        read((folder / demo.FOLDER / name).read_text("utf-8"))
        for name in (demo.REAL_PAGE, demo.LIE_PAGE)
    )
    assert "Log and chain agree, to the last nano-token." in real.text
    assert "The evidence of 15 batches is what was committed to on chain" in real.text
    assert "The log is worth 0.0177 TUSD more than the chain credited." in left_out.text
    assert not (folder / demo.FOLDER / ".royalty" / "chain.json").exists(), (
        "the chain is left running"
    )


def test_the_demo_empties_no_folder_that_is_not_its_own(
    run_alone: Callable[..., Ran], folder: Path
) -> None:
    (folder / demo.FOLDER).mkdir()
    (folder / demo.FOLDER / "thesis.txt").write_text("years of work")
    ran = run_alone("demo", exit=2)
    assert "was not made by the demo" in ran.stderr
    assert (folder / demo.FOLDER / "thesis.txt").read_text() == "years of work"


def test_the_demo_fails_where_a_result_is_another_than_the_design_says() -> None:
    with pytest.raises(demo.DemoFailed, match="the counts should be 1, but is 2"):
        demo.expect("the counts", 2, 1)


def test_the_demo_ignores_settings_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv("ROYALTY_RPC", "http://127.0.0.1:1")
    monkeypatch.setenv("ROYALTY_ACCOUNT", "somebody")
    settings = demo.settings_of(folder)
    assert (settings.rpc, settings.account) == (None, None)
    assert os.environ["PATH"] == settings.environ["PATH"]


def test_every_number_of_the_story_stands_in_its_readme() -> None:
    readme = (demo.find_examples() / "open-movies" / "README.md").read_text("utf-8")
    total = re.search(r"\*\*([0-9.]+)\*\*\s*\|\s*$", readme, re.MULTILINE)
    assert total is not None
    assert demo.parse_tokens(total.group(1)) == demo.STORY_AMOUNT_NANO
