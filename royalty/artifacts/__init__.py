"""ABI and bytecode that `make contracts` writes; they travel in the wheel."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from royalty.errors import MissingProgram


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract: its ABI, and the bytecode that a deployment sends."""

    name: str
    abi: tuple[dict[str, Any], ...]
    bytecode: bytes


@cache
def artifact(name: str) -> Artifact:
    """Return the artifact of a contract (`Royalty`, `TestUSD`); MissingProgram where it was not built."""
    try:
        document = json.loads(files(__name__).joinpath(f"{name}.json").read_text("utf-8"))
    except FileNotFoundError:
        raise MissingProgram(f"the contract {name} is not compiled; run `make contracts`") from None
    code = document.get("bytecode", "")
    return Artifact(name, tuple(document["abi"]), bytes.fromhex(code.removeprefix("0x")))
