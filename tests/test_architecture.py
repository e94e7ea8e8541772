"""Who may import what: the layers of the package, and the few places that know a heavy library."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "royalty"

# Lowest first; a module imports only what stands on a line above it, or beside it, and never in a circle.
# Imports under TYPE_CHECKING do not count: they name the types of what is passed in.
LAYERS = (
    {"errors"},
    {"money", "days", "shares", "usage", "merkle", "files", "identifiers", "artifacts", "sheets"}
    | {"jsontext"},
    {"splitsheet", "evidence", "findings", "batches", "settling", "metadata", "settings"}
    | {"terms", "spikes", "due", "costs", "publishing", "tallyproof", "fetching", "tallybook"}
    | {"breakdown", "exhibits", "heldback"},
    {"chain"},
    {"journal", "logs", "index", "worksmap", "tallydata", "openleaves"},
    {"segments", "pages"},
    {"store", "records", "sending", "delivery", "proof", "sent", "ways", "division", "precedent"}
    | {"posting", "offers"},
    {"posted", "repeated"},
    {"catalogues", "works", "platforms", "payouts", "holders", "amendments", "history", "reconcile"}
    | {"audit", "questions", "ingest", "recorder", "recount", "manifests", "voids"}
    | {"checks", "reports", "standing", "usages", "settlement", "tallies", "rebuilding"}
    | {"verification", "audits", "moneypaths", "samples", "seeds", "traces"}
    | {"exporting", "explain"},
    {"client"},
    {"demo"},
    {"cli"},
)
READERS = {"logs", "store", "tallydata", "ingest", "index", "history", "reconcile", "recount"}
KNOWN_BY: dict[str, set[str]] = {
    "web3": {"chain"},
    "eth_account": {"chain"},
    "requests": {"chain", "fetching"},
    "fsspec": {"publishing"},
    "duckdb": READERS,
    "pyarrow": READERS,
    "pyspark": {"logs"},
    "py4j": {"logs"},
    "typer": {"cli"},
    "rich": {"cli"},
    "brownie": set(),
}
HEAVY = (
    "web3",
    "eth_account",
    "duckdb",
    "pyarrow",
    "pyspark",
    "requests",
    "fsspec",
    "rich",
    "stdnum",
    "solcx",
)


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """The module or package right under royalty/ that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """The modules that a tree imports when it runs."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imports(node)


def graph() -> dict[str, set[str]]:
    """Which parts of the package, and which libraries of KNOWN_BY as `!name`, each part imports."""
    names = {part(path) for path in modules()}
    found: dict[str, set[str]] = {name: set() for name in names}
    for path in modules():
        for words in (name.split(".") for name in imports(ast.parse(path.read_text()))):
            if words[0] in KNOWN_BY:
                found[part(path)].add("!" + words[0])
            elif words[0] == "royalty" and len(words) > 1 and words[1] in names - {part(path)}:
                found[part(path)].add(words[1])
    return found


GRAPH = graph()


@pytest.mark.parametrize("name", sorted(set(GRAPH) - {"__init__"}))
def test_a_module_imports_only_what_stands_below_it(name: str) -> None:
    level = {module: height for height, layer in enumerate(LAYERS) for module in layer}
    assert name in level, f"{name} stands in no layer: add it to LAYERS"
    known = [other for other in GRAPH[name] if not other.startswith("!")]
    assert [other for other in known if level.get(other, 0) > level[name]] == []


@pytest.mark.parametrize("library", sorted(KNOWN_BY))
def test_a_library_is_imported_only_where_it_belongs(library: str) -> None:
    assert {name for name, found in GRAPH.items() if "!" + library in found} <= KNOWN_BY[library]


def test_only_the_engine_of_spark_imports_spark() -> None:
    found = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        for name in imports(ast.parse(path.read_text()))
        if name.split(".")[0] in ("pyspark", "py4j")
    }
    assert found == {"logs/sparkengine.py"}


def test_nothing_imports_in_a_circle() -> None:
    left = dict(GRAPH)
    while free := [name for name, found in left.items() if not found & set(left)]:
        left = {name: found for name, found in left.items() if name not in free}
    assert left == {}


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from royalty.cli.app import run; code = run(['--help']);"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    assert "chain" in done.stdout


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = f"import sys, royalty; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
