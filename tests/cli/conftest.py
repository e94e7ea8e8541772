"""A faster way to run commands: in this process, through the same door as the program."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Anvil, Ran, clean_environment


@pytest.fixture
def quick(
    folder: Path,
    tmp_path: Path,
    anvil: Anvil,
    ledger: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Ran]:
    """As `run`, without a process of its own: for the many refusals that one test asks for."""
    from royalty.cli.app import run

    known = clean_environment(tmp_path)
    known |= {"ROYALTY_RPC": anvil.rpc, "ROYALTY_CONTRACT": ledger["royalty"]}

    def in_this_process(
        *arguments: object,
        json: bool = True,
        exit: int = 0,
        env: dict[str, str] | None = None,
    ) -> Ran:
        words = [str(argument) for argument in arguments] + (["--json"] if json else [])
        with monkeypatch.context() as patch:
            patch.chdir(folder)
            for word, value in (known | (env or {})).items():
                patch.setenv(word, value)
            capsys.readouterr()
            code = run(words)
        out, err = capsys.readouterr()
        shown = f"royalty {' '.join(words)}\nstdout: {out}\nstderr: {err}"
        assert code == exit, f"exit {code} instead of {exit}: {shown}"
        document = json_module.loads(out) if json and exit in (0, 1, 3) else {}
        return Ran(code, out, err, document)

    return in_this_process
