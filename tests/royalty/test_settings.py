"""Settings: flags, then environment, then royalty.toml found upwards, then the folder's local chain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from royalty.errors import InputError
from royalty.settings import Settings, chain_dir, ledger_dir

TOML = """
network = "base"
account = "studio"

[networks.base]
rpc = "https://base.example"
chain_id = 8453
contract = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
confirmations = 10

[networks.other]
rpc = "https://other.example"
"""


def load(folder: Path, environ: dict[str, str] | None = None, **flags: str) -> Settings:
    return Settings.load(folder=folder, environ=environ or {}, **flags)  # type: ignore[arg-type]


def remember_local_chain(folder: Path) -> None:
    (folder / ".royalty").mkdir()
    chain = {"rpc": "http://127.0.0.1:8545", "chain_id": 31337, "pid": 7, "port": 8545}
    (folder / ".royalty" / "chain.json").write_text(json.dumps(chain))


def test_nothing_said_is_the_local_chain_that_is_not_there(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert (settings.network, settings.rpc, settings.account) == ("local", None, None)
    assert settings.state == tmp_path / ".royalty"
    assert not settings.state.exists()


def test_the_folders_local_chain_is_found(tmp_path: Path) -> None:
    remember_local_chain(tmp_path)
    settings = load(tmp_path)
    assert settings.rpc == "http://127.0.0.1:8545"
    assert settings.chain_id == 31337
    assert settings.local_chain is not None


def test_flags_stand_above_environment_above_toml_above_the_local_chain(tmp_path: Path) -> None:
    remember_local_chain(tmp_path)
    (tmp_path / "royalty.toml").write_text(TOML)
    assert load(tmp_path).rpc == "https://base.example"
    assert load(tmp_path).account == "studio"
    environ = {"ROYALTY_RPC": "http://env", "ROYALTY_ACCOUNT": "env", "ROYALTY_CONTRACT": "0xenv"}
    settings = load(tmp_path, environ)
    assert (settings.rpc, settings.account, settings.contract) == ("http://env", "env", "0xenv")
    settings = load(tmp_path, environ, rpc="http://flag", account="flag", contract="0xflag")
    assert (settings.rpc, settings.account, settings.contract) == ("http://flag", "flag", "0xflag")
    assert settings.chain_id == 8453
    assert load(tmp_path, {"ROYALTY_NETWORK": "other"}).rpc == "https://other.example"
    assert load(tmp_path, {"ROYALTY_NETWORK": "other"}, network="base").confirmations == 10
    assert load(tmp_path, network="local").rpc == "http://127.0.0.1:8545"


def test_a_toml_is_found_upwards(tmp_path: Path) -> None:
    (tmp_path / "royalty.toml").write_text(TOML)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    settings = load(inner)
    assert settings.network == "base"
    assert settings.folder == inner


def test_a_node_named_without_a_network_may_be_of_any_chain(tmp_path: Path) -> None:
    assert load(tmp_path, rpc="http://x").chain_id is None
    assert load(tmp_path, rpc="http://x", network="local").chain_id == 31337


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("network = ", "royalty.toml"),
        ("netwrok = 'base'", "unknown setting 'netwrok'"),
        ("network = 5", "network is not text"),
        ("[networks.base]\nchain_id = 'one'", "networks.base.chain_id is not a whole number"),
        ("[networks.base]\nconfirmations = true", "is not a whole number"),
        ("[networks.base]\nconfirmations = -1", "is negative"),
        ("[networks.base]\nurl = 'x'", "unknown setting 'networks.base.url'"),
        ("networks = 5", "networks is not a table"),
        ("[networks]\nbase = 5", "networks.base is not a table"),
        ("network = 'absent'", "unknown network 'absent'"),
        ("\xff", "royalty.toml"),
    ],
)
def test_a_bad_toml_names_the_file_and_the_fault(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "royalty.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=says):
        load(tmp_path)


def test_a_broken_memory_of_the_local_chain_is_told(tmp_path: Path) -> None:
    (tmp_path / ".royalty").mkdir()
    (tmp_path / ".royalty" / "chain.json").write_text("{")
    with pytest.raises(InputError, match="delete it"):
        load(tmp_path)


def test_state_is_kept_apart_by_chain_genesis_and_ledger() -> None:
    chain = chain_dir(Path("s"), 31337, "0x1234567890abcdef")
    assert chain == Path("s/31337-12345678")
    assert ledger_dir(chain, "0xABCDEF1234567890") == chain / "0xabcdef12"
