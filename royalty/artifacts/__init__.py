"""ABI and bytecode that `make contracts` writes; they travel in the wheel."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from royalty.errors import MissingProgram


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract: its ABI, the bytecode that a deployment sends, and the one that it leaves.

    `deployed` has zeros where immutables stand; `immutables` says at which bytes those of a name begin.
    """

    name: str
    abi: tuple[dict[str, Any], ...]
    bytecode: bytes
    deployed: bytes = b""
    immutables: Mapping[str, Sequence[int]] = field(default_factory=dict)
    compiler: str = ""


@cache
def artifact(name: str) -> Artifact:
    """Return the artifact of a contract (`Royalty`, `TestUSD`); MissingProgram where it was not built."""
    try:
        document = json.loads(files(__name__).joinpath(f"{name}.json").read_text("utf-8"))
    except FileNotFoundError:
        raise MissingProgram(f"the contract {name} is not compiled; run `make contracts`") from None
    made, deployed = (
        bytes.fromhex(document.get(word, "").removeprefix("0x"))
        for word in ("bytecode", "deployedBytecode")
    )
    return Artifact(
        name,
        tuple(document["abi"]),
        made,
        deployed,
        document.get("immutables", {}),
        document.get("compiler", ""),
    )
