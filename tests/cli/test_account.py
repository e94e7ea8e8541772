"""`royalty account` as a process, and the program's own manners: usage errors, versions, help."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from royalty.money import format_wei
from tests.conftest import Ran, free_port

Run = Callable[..., Ran]

PASSWORD = {"ROYALTY_PASSWORD": "correct horse"}
KEY = "0x" + "11" * 32
ADDRESS = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"


def test_a_new_account_is_listed_and_shown(run_alone: Run) -> None:
    made = run_alone("account", "new", "producer", env=PASSWORD)
    assert list(made.document) == ["name", "address", "path"]
    assert json.loads(Path(made["path"]).read_text())["version"] == 3
    listed = run_alone("account", "list")["accounts"]
    assert [row["name"] for row in listed] == [*(f"dev{n}" for n in range(10)), "producer"]
    shown = run_alone("account", "show", "producer")
    assert shown["address"] == made["address"]
    assert shown["coin_wei"] is None


def test_dev_accounts_are_listed_on_the_local_chain_alone(run_alone: Run, folder: Path) -> None:
    (folder / "royalty.toml").write_text("[networks.base]\nchain_id = 8453\n")
    assert run_alone("account", "list", env={"ROYALTY_NETWORK": "base"})["accounts"] == []
    assert (
        "No account yet"
        in run_alone("account", "list", env={"ROYALTY_NETWORK": "base"}, json=False).stdout
    )
    failed = run_alone("account", "show", "dev0", "--network", "base", exit=2)
    assert "the whole world has its key" in failed.stderr


def test_a_key_is_imported_from_stdin_a_file_or_a_keystore(run_alone: Run, folder: Path) -> None:
    first = run_alone("account", "import", "one", "-", stdin=KEY, env=PASSWORD)
    assert first["address"] == ADDRESS
    (folder / "key.txt").write_text(KEY)
    assert run_alone("account", "import", "two", "key.txt", env=PASSWORD)["address"] == ADDRESS
    keystore = run_alone("account", "import", "three", first["path"], env=PASSWORD)
    assert keystore["address"] == ADDRESS
    for ran in (first, keystore):
        assert KEY[2:] not in ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        (("import", "x", "absent.json"), "", "absent.json: No such file"),
        (("import", "x", "-"), "nonsense", "neither a keystore"),
        (("import", "x", "-"), "{}", "does not open"),
        (("import", "x"), "", "no terminal to ask for the key"),
        (("import", "dev1", "-"), KEY, "cannot name an account"),
        (("new", "../x"), "", "cannot name an account"),
        (("new",), "", "NAME"),
        (("show", "nobody"), "", "neither an address nor an account"),
        (("show", "0x12"), "", "not an address"),
        (("show", "0x" + "aB" * 20), "", "wrong checksum"),
        (("delete", "x"), "", "delete"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    run_alone: Run, arguments: tuple[str, ...], stdin: str, says: str
) -> None:
    failed = run_alone("account", *arguments, stdin=stdin, env=PASSWORD, exit=2)
    assert failed.stdout == ""
    assert failed.stderr.startswith("royalty: ")
    assert failed.stderr.count("\n") == 1
    assert says.lower() in failed.stderr.lower()
    assert run_alone("account", "list")["accounts"][-1]["name"] == "dev9"


def test_no_password_and_no_terminal_is_told(run_alone: Run) -> None:
    assert "ROYALTY_PASSWORD_FILE" in run_alone("account", "new", "x", exit=2).stderr
    failed = run_alone("account", "new", "x", env={"ROYALTY_PASSWORD_FILE": "absent"}, exit=2)
    assert "absent: No such file" in failed.stderr


def test_show_goes_on_without_a_node(run_alone: Run) -> None:
    shown = run_alone("account", "show", "dev0", "--rpc", f"http://127.0.0.1:{free_port()}")
    assert shown["tokens_nano"] is None


def test_the_program_introduces_itself(run_alone: Run) -> None:
    from royalty import __version__

    assert run_alone("--version", json=False).stdout == f"royalty {__version__}\n"
    shown = run_alone("--help", json=False).stdout
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert shown.index("chain ") < shown.index("deploy ") < shown.index("account ")
    assert "Usage:" in run_alone("chain", json=False, exit=2).stderr
    assert "Usage:" in run_alone(json=False, exit=2).stderr


def test_usage_errors_say_where_the_help_is(run_alone: Run) -> None:
    failed = run_alone("account", "new", "x", "--frobnicate", exit=2)
    assert failed.stderr.startswith("royalty: No such option")
    assert "royalty account new --help" in failed.stderr


def with_a_fault(fault: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`royalty chain status` where asking for the status meets a fault."""
    program = (
        "from royalty.chain import anvil\nfrom royalty.cli.app import main\n"
        f"def status(_):\n    raise {fault}\nanvil.status = status\nmain(['chain', 'status'])"
    )
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_bug_keeps_its_traceback(folder: Path) -> None:
    failed = with_a_fault("ValueError('surprise')", folder)
    assert failed.returncode == 70
    assert "Traceback" in failed.stderr
    assert "surprise" in failed.stderr
    assert "this is a bug" in failed.stderr


def test_an_interruption_is_exit_130(folder: Path) -> None:
    failed = with_a_fault("KeyboardInterrupt", folder)
    assert failed.returncode == 130
    assert "Traceback" not in failed.stderr


def test_what_this_machine_refuses_is_no_bug(run_alone: Run, folder: Path) -> None:
    (folder / ".royalty").write_text("a file where a folder should be")
    failed = run_alone("chain", "down", exit=2)
    assert ".royalty" in failed.stderr
    (folder / ".royalty").unlink()
    full = with_a_fault("OSError(28, 'No space left on device', 'x.json')", folder)
    assert (full.returncode, full.stderr) == (2, "royalty: x.json: No space left on device\n")


@pytest.mark.chain
def test_show_says_what_an_account_has_in_coin_and_tokens(quick: Run) -> None:
    shown = quick("account", "show", "dev9", json=False).stdout
    exact = quick("account", "show", "dev9")
    coin, tokens = (line.split() for line in shown.splitlines()[2:])
    assert coin == ["coin", format_wei(int(exact["coin_wei"]))]
    assert tokens == ["tokens", exact["tokens"], "TUSD"]
