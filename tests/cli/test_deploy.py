"""`royalty deploy` as a process: the same address again, other tokens, other chains, and every refusal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from royalty.chain.accounts import DEV_ACCOUNTS
from royalty.chain.deploy import FACTORY, create2_address, init_code
from tests.conftest import Anvil, Ran, clean_environment, free_port, start_anvil

pytestmark = pytest.mark.chain
Run = Callable[..., Ran]

PUBLIC = 8453
KEY = "0x" + "11" * 32
OWNER = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"


@pytest.fixture(scope="module")
def public() -> Iterator[Anvil]:
    """An Anvil that says it is a public chain."""
    started = start_anvil(f"--chain-id={PUBLIC}")
    started.request("anvil_setBalance", OWNER, hex(10**20))
    yield started
    started.end()


@pytest.fixture
def on_public(run_alone: Run, public: Anvil, folder: Path) -> Run:
    """`royalty` on the public chain with the account `owner`."""
    known = {"ROYALTY_PASSWORD": "p", "ROYALTY_NETWORK": "base", "ROYALTY_ACCOUNT": "owner"}
    (folder / "royalty.toml").write_text(
        f'[networks.base]\nrpc = "{public.rpc}"\nchain_id = {PUBLIC}\n'
    )
    run_alone("account", "import", "owner", "-", stdin=KEY, env=known)

    def run(*arguments: object, env: dict[str, str] | None = None, **options: Any) -> Ran:
        return run_alone(*arguments, env=known | (env or {}), **options)

    return run


def test_the_address_follows_from_the_code(ledger: dict[str, Any], run: Run, folder: Path) -> None:
    assert list(ledger) == ["chain_id", "royalty", "token", "block"]
    assert ledger["token"] == create2_address(init_code("TestUSD"))
    assert ledger["royalty"] == create2_address(init_code("Royalty", ledger["token"]))
    assert run("deploy").document == ledger
    kept = list((folder / ".royalty").glob("31337-*/deployment.json"))
    assert [json.loads(path.read_text()) for path in kept] == [ledger]


@pytest.mark.usefixtures("ledger")
def test_the_dev_accounts_have_a_million_each(run: Run) -> None:
    for name in ("dev0", "dev9"):
        assert run("account", "show", name)["tokens"] == "1000000"
    assert run("account", "show", OWNER)["tokens"] == "0"


def test_another_token_is_another_ledger(run: Run, ledger: dict[str, Any]) -> None:
    with_its_own = run("deploy", "--token", ledger["token"])
    assert with_its_own["royalty"] == ledger["royalty"]


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("0x1234", "not an address"),
        ("0x" + "12" * 20, "there is no contract"),
        (FACTORY, "does not tell its decimals"),
        ("nobody", "neither an address nor an account"),
    ],
)
def test_what_is_no_token_is_refused(run: Run, token: str, says: str) -> None:
    assert says in run("deploy", "--token", token, exit=2).stderr


def test_a_dry_run_sends_nothing(run_alone: Run, folder: Path) -> None:
    fresh = start_anvil()
    try:
        shown = run_alone("deploy", "--dry-run", "--rpc", fresh.rpc)
        assert shown["dry_run"] is True
        assert [row["description"] for row in shown["transactions"]][-1] == "make the ledger"
        assert fresh.request("eth_blockNumber") == "0x0"
        text = run_alone("deploy", "--dry-run", "--rpc", fresh.rpc, json=False)
        assert "would make the test token TestUSD" in text.stdout
        assert not (folder / ".royalty").exists()
    finally:
        fresh.end()


def test_a_chain_without_the_factory_gets_a_plain_deployment(
    run_alone: Run, ledger: dict[str, Any], anvil: Anvil
) -> None:
    bare = start_anvil()
    try:
        token = ledger["token"]
        bare.request("anvil_setCode", token, anvil.request("eth_getCode", token, "latest"))
        bare.request("anvil_setCode", FACTORY, "0x")
        assert "no deployment factory" in run_alone("deploy", "--rpc", bare.rpc, exit=3).stderr
        made = run_alone("deploy", "--rpc", bare.rpc, "--token", token).document
        assert len(bare.request("eth_getCode", made["royalty"], "latest")) > 1000
        assert run_alone("deploy", "--rpc", bare.rpc, "--token", token).document == made
    finally:
        bare.end()


def test_a_public_chain_wants_a_token_an_account_and_a_yes(
    on_public: Run, public: Anvil, ledger: dict[str, Any], anvil: Anvil
) -> None:
    token = ledger["token"]
    assert "name its settlement token" in on_public("deploy", exit=2).stderr
    public.request("anvil_setCode", token, anvil.request("eth_getCode", token, "latest"))
    asked = on_public("deploy", "--token", token, exit=4)
    assert "make the ledger" in asked.stderr
    assert "gas" in asked.stderr
    assert asked.stdout == ""
    assert on_public("deploy", "--token", token, "--dry-run")["dry_run"] is True
    unknown = on_public("deploy", "--token", token, "--account", "dev0", "--yes", exit=2)
    assert "the whole world has its key" in unknown.stderr
    locked = on_public(
        "deploy", "--token", token, "--yes", env={"ROYALTY_PASSWORD": "wrong"}, exit=2
    )
    assert "does not open account owner" in locked.stderr
    assert on_public("deploy", "--token", token, "--yes")["chain_id"] == PUBLIC


def test_no_account_on_a_public_chain_is_told(on_public: Run, ledger: dict[str, Any]) -> None:
    failed = on_public(
        "deploy", "--token", ledger["token"], "--yes", env={"ROYALTY_ACCOUNT": ""}, exit=2
    )
    assert "no account" in failed.stderr


def test_trouble_with_the_node_is_exit_3(run: Run, public: Anvil, folder: Path) -> None:
    (folder / "royalty.toml").write_text("[networks.base]\nchain_id = 8453\n")
    wrong = run("deploy", "--network", "base", exit=3)
    assert "chain 31337, not 8453" in wrong.stderr
    assert wrong["error"] == "WrongChain"
    local = run("deploy", "--network", "local", "--rpc", public.rpc, exit=3)
    assert "chain 8453, not 31337" in local.stderr
    nobody = run("deploy", "--rpc", f"http://127.0.0.1:{free_port()}", exit=3)
    assert nobody["error"] == "NodeUnreachable"
    assert nobody.stderr.count("\n") == 1
    assert "no RPC address" in run("deploy", "--rpc", "nonsense", exit=2).stderr
    assert "unknown network" in run("deploy", "--network", "mars", exit=2).stderr


def test_an_address_without_a_ledger_is_told(
    anvil: Anvil, ledger: dict[str, Any], folder: Path
) -> None:
    from royalty import NoContract, Royalty

    with pytest.raises(NoContract, match="no contract at"):
        Royalty.connect(rpc=anvil.rpc, contract=DEV_ACCOUNTS[0][0], folder=folder)
    with pytest.raises(NoContract, match="no Royalty ledger"):
        Royalty.connect(rpc=anvil.rpc, contract=ledger["token"], folder=folder)
    with pytest.raises(NoContract, match="run `royalty deploy`"):
        Royalty.connect(rpc=anvil.rpc, folder=folder)


def at_a_terminal(
    answers: dict[str, str], *words: object, cwd: Path, environ: dict[str, str]
) -> tuple[int, str]:
    """Run `royalty` at a pseudo-terminal that answers each prompt once; its exit code and what it showed."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "royalty.cli.app", *map(str, words)],
        cwd=cwd,
        env=environ,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown, left = "", dict(answers)
    with suppress(OSError):  # what reading gives at the end
        while part := os.read(ours, 4096):
            shown += part.decode()
            for prompt in [prompt for prompt in left if prompt in shown]:
                os.write(ours, left.pop(prompt).encode())
    os.close(ours)
    return process.wait(60), shown


@pytest.mark.usefixtures("on_public")
@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_person_is_asked_and_their_answer_counts(
    public: Anvil, folder: Path, ledger: dict[str, Any], anvil: Anvil, tmp_path: Path
) -> None:
    token = "0x" + "12" * 20
    public.request("anvil_setCode", token, anvil.request("eth_getCode", ledger["token"], "latest"))
    environ = clean_environment(tmp_path) | {"ROYALTY_NETWORK": "base", "ROYALTY_ACCOUNT": "owner"}
    before = public.request("eth_blockNumber")
    words = ("deploy", "--token", token)
    code, shown = at_a_terminal({"[y/N]": "n\n"}, *words, cwd=folder, environ=environ)
    assert code == 4, shown
    assert "make the ledger" in shown
    assert "declined; nothing was sent" in shown
    assert public.request("eth_blockNumber") == before
    answers = {"[y/N]": "y\n", "Password of account owner": "p\n"}
    code, shown = at_a_terminal(answers, *words, cwd=folder, environ=environ)
    assert code == 0, shown
    made = create2_address(init_code("Royalty", token))
    assert made in shown
    assert len(public.request("eth_getCode", made, "latest")) > 1000
