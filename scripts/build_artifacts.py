"""Compile the contracts through py-solc-x and write what the package ships of them.

`--check` writes nothing and fails when the committed artifacts are not what the contracts give now.
"""

import argparse
import json
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import solcx

ROOT = Path(__file__).resolve().parent.parent
ARTIFACTS = ROOT / "royalty" / "artifacts"
SHIPPED = {"Royalty": "contracts/Royalty.sol", "TestUSD": "contracts/test/TestUSD.sol"}
WANTED = ["abi", "metadata", "evm.bytecode.object", "evm.deployedBytecode.object"]
WANTED += ["evm.deployedBytecode.immutableReferences"]


def foundry() -> dict[str, Any]:
    """The compiler settings that forge uses; the artifacts are compiled with the same."""
    settings = tomllib.loads((ROOT / "foundry.toml").read_text())
    profile: dict[str, Any] = settings["profile"]["default"]
    return profile


def solc_version() -> str:
    """The compiler's version, as package.json pins it."""
    package = json.loads((ROOT / "package.json").read_text())
    return str(package["dependencies"]["solc"])


def standard_json(profile: dict[str, Any]) -> dict[str, Any]:
    """Solc's input: the shipped contracts; the compiler reads what they import itself."""
    return {
        "language": "Solidity",
        "sources": {path: {"content": (ROOT / path).read_text()} for path in SHIPPED.values()},
        "settings": {
            "remappings": profile["remappings"],
            "optimizer": {"enabled": profile["optimizer"], "runs": profile["optimizer_runs"]},
            "viaIR": profile["via_ir"],
            "evmVersion": profile["evm_version"],
            "metadata": {
                "bytecodeHash": profile["bytecode_hash"],
                "appendCBOR": profile["cbor_metadata"],
            },
            "outputSelection": {path: {name: WANTED} for name, path in SHIPPED.items()}
            | {"*": {"": ["ast"]}},
        },
    }


def artifacts() -> dict[str, str]:
    """The text of each artifact by contract name, compiled now; the same everywhere."""
    profile = foundry()
    source = standard_json(profile)
    output = solcx.compile_standard(
        source, base_path=ROOT, allow_paths=[ROOT], solc_version=solc_version()
    )
    settings = {key: value for key, value in source["settings"].items() if key != "outputSelection"}
    named = names_by_id([source["ast"] for source in output["sources"].values()])
    return {
        name: render(name, output["contracts"][path][name], settings, named)
        for name, path in SHIPPED.items()
    }


def names_by_id(node: Any) -> dict[int, str]:
    """The name of every immutable variable of syntax trees by its id."""
    found: dict[int, str] = {}
    if isinstance(node, dict):
        if node.get("nodeType") == "VariableDeclaration" and node.get("mutability") == "immutable":
            found[node["id"]] = node["name"]
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            found |= names_by_id(each)
    return found


def render(
    name: str, contract: dict[str, Any], settings: dict[str, Any], named: dict[int, str]
) -> str:
    """One artifact as JSON with a line per ABI entry, so that a change shows in a diff."""
    bytecode = contract["evm"]["bytecode"]["object"]
    deployed = contract["evm"]["deployedBytecode"]["object"]
    references = contract["evm"]["deployedBytecode"].get("immutableReferences", {})
    places = {
        named[int(number)]: [place["start"] for place in found]
        for number, found in references.items()
    }
    head = {
        "contractName": name,
        "compiler": json.loads(contract["metadata"])["compiler"]["version"],
        "settings": settings,
        "deployedSize": len(deployed) // 2,
        "bytecode": "0x" + bytecode,
        "deployedBytecode": "0x" + deployed,
        "immutables": dict(sorted(places.items())),
    }
    fields = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    entries = ",\n".join("    " + json.dumps(entry) for entry in contract["abi"])
    fields.append(f'"abi": [\n{entries}\n  ]')
    return "{\n  " + ",\n  ".join(fields) + "\n}\n"


def stale(made: dict[str, str]) -> list[str]:
    """The names of the artifacts on disk that differ from those."""
    return [
        name
        for name, text in made.items()
        if not (path := ARTIFACTS / f"{name}.json").is_file() or path.read_text() != text
    ]


def complaints(error: solcx.exceptions.SolcError) -> str:
    """What the compiler said, without the output that py-solc-x repeats."""
    try:
        errors = json.loads(error.stdout_data)["errors"]
    except (ValueError, KeyError):
        return str(error.stderr_data or error)
    return "\n".join(each["formattedMessage"] for each in errors if each["severity"] == "error")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    os.environ.setdefault("SOLCX_BINARY_PATH", str(ROOT / ".toolchain/solcx"))
    try:
        made = artifacts()
    except solcx.exceptions.SolcError as error:
        print(complaints(error), file=sys.stderr)
        return 1
    changed = stale(made)
    if check:
        for name in changed:
            print(f"royalty/artifacts/{name}.json is stale: run `make contracts`", file=sys.stderr)
        return 1 if changed else 0
    ARTIFACTS.mkdir(exist_ok=True)
    for name in changed:
        (ARTIFACTS / f"{name}.json").write_text(made[name])
    for name, text in made.items():
        state = "written" if name in changed else "unchanged"
        print(f"{name}: {json.loads(text)['deployedSize']:,} bytes deployed, {state}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
