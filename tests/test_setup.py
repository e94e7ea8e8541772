"""The set-up keeps its promises: locked, hashed, in step, and idle the second time."""

import importlib.util
import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
LISTED = (
    "setup demo test test-package faults test-contracts test-spark lint contracts gas docs clean"
)


@pytest.fixture(scope="module")
def check_setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_setup", ROOT / "scripts/check_setup.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_make_alone_lists_the_targets() -> None:
    listed = [line.split()[1] for line in make().stdout.splitlines()]
    assert listed == LISTED.split()


def test_second_setup_installs_nothing() -> None:
    if not all((ROOT / env / ".installed").exists() for env in (".venv-brownie", "node_modules")):
        pytest.skip("only a checkout that `make setup` has set up in full can show it")
    assert make("--question", "setup").returncode == 0


def test_locks_hold_what_is_asked_for_with_hashes(check_setup: ModuleType) -> None:
    assert [*check_setup.python_locks(), *check_setup.npm_locks()] == []


def test_no_committed_file_names_a_registry_or_a_machine(check_setup: ModuleType) -> None:
    assert list(check_setup.addresses()) == []


def test_forge_brownie_and_solcx_compile_alike(check_setup: ModuleType) -> None:
    assert list(check_setup.compilers()) == []


@pytest.mark.parametrize(
    "line",
    [
        "https://registry" + ".npmjs.org/solc/-/solc-0.8.30.tgz",
        "--index" + "-url https://example.org/simple",
        "see /home" + "/alice/royalty",
    ],
)
def test_addresses_and_machine_paths_are_recognized(check_setup: ModuleType, line: str) -> None:
    assert check_setup.ADDRESS.search(line) or check_setup.MACHINE_PATH.search(line)


def test_every_test_path_exists() -> None:
    pytest_options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]
    paths = pytest_options["ini_options"]["testpaths"]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_anvil_and_forge_are_native_packages() -> None:
    package = json.loads((ROOT / "package.json").read_text())
    asked = {**package["dependencies"], **package["devDependencies"]}
    assert not [name for name in asked if name.startswith("@foundry-rs/")]
    launchers = {"@foundry-rs/anvil", "@foundry-rs/forge"}
    assert not launchers & set(package["optionalDependencies"])


def test_wheel_carries_the_artifacts_and_no_examples(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the throw-away environments of the ranges build none")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    carried = {
        "royalty/artifacts/Royalty.json",
        "royalty/artifacts/TestUSD.json",
        "royalty/py.typed",
    }
    assert carried <= set(names)
    assert all(name.startswith(("royalty/", "royalty-")) for name in names)
