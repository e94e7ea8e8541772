"""Accounts: keystores that other programs open too, names and addresses, and no key where it can leak."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path

import pytest
from eth_account import Account as Signing

from royalty.chain import accounts
from royalty.errors import InputError, KeyLocked

KEY = "0x" + "11" * 32
ADDRESS = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"ROYALTY_KEYS": str(tmp_path / "keys"), "ROYALTY_PASSWORD": "correct horse"}


def test_the_dev_accounts_are_those_of_anvils_mnemonic() -> None:
    Signing.enable_unaudited_hdwallet_features()
    words = "test " * 11 + "junk"
    for number, (address, key) in enumerate(accounts.DEV_ACCOUNTS):
        derived = Signing.from_mnemonic(words, account_path=f"m/44'/60'/0'/0/{number}")
        assert (derived.address, derived.key.hex().removeprefix("0x")) == (address, key)


def test_a_new_account_is_a_keystore_that_eth_account_opens(environ: dict[str, str]) -> None:
    row = accounts.new_account("producer", environ=environ)
    path = Path(row.path or "")
    document = json.loads(path.read_text())
    assert document["version"] == 3
    key = Signing.decrypt(document, "correct horse")
    assert Signing.from_key(key).address == row.address
    assert accounts.list_accounts(environ=environ) == [row]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_key_is_imported_and_signs_as_itself(environ: dict[str, str]) -> None:
    row = accounts.import_account("studio", KEY + "\n", environ=environ)
    assert row.address == ADDRESS
    loaded = accounts.load_account("studio", local=False, environ=environ)
    assert accounts.load_account(ADDRESS.lower(), local=False, environ=environ).address == ADDRESS
    fields = {
        "chainId": 1,
        "nonce": 0,
        "gas": 21_000,
        "gasPrice": 1,
        "to": ADDRESS,
        "value": 0,
        "data": "0x",
    }
    assert Signing.recover_transaction(loaded.sign(fields)) == ADDRESS
    assert KEY[2:] not in repr(loaded)


def test_a_keystore_is_imported_as_it_is(environ: dict[str, str]) -> None:
    keystore = Signing.encrypt(KEY, "correct horse", iterations=1024)
    row = accounts.import_account("studio", json.dumps(keystore), environ=environ)
    assert row.address == ADDRESS
    assert json.loads(Path(row.path or "").read_text())["crypto"] == keystore["crypto"]


def test_a_wrong_password_says_so_and_shows_nothing(environ: dict[str, str]) -> None:
    accounts.import_account("studio", KEY, environ=environ)
    locked = accounts.load_account("studio", environ=environ | {"ROYALTY_PASSWORD": "wrong"})
    with pytest.raises(KeyLocked, match="does not open account studio") as raised:
        locked.unlock()
    assert "wrong" not in str(raised.value)
    assert raised.value.exit_code == 2


def test_the_password_may_stand_in_a_file(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from a file\nsecond line\n")
    from_file = {
        "ROYALTY_KEYS": environ["ROYALTY_KEYS"],
        "ROYALTY_PASSWORD_FILE": str(tmp_path / "password"),
    }
    row = accounts.new_account("filed", environ=from_file)
    assert Signing.decrypt(json.loads(Path(row.path or "").read_text()), "from a file")
    with pytest.raises(KeyLocked, match="No such file"):
        accounts.new_account("other", environ=from_file | {"ROYALTY_PASSWORD_FILE": "absent"})


def test_without_password_and_terminal_it_is_locked(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.import_account("studio", KEY, environ=environ)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    locked = accounts.load_account("studio", environ={"ROYALTY_KEYS": environ["ROYALTY_KEYS"]})
    with pytest.raises(KeyLocked, match="no terminal to ask at"):
        locked.unlock()


@pytest.mark.parametrize(
    "source",
    [
        "",
        "0x12",
        "{}",
        '{"version": 1, "crypto": {}}',
        "{",
        "0x" + "00" * 32,
        "ff" * 32,
        "word " * 12,
    ],
)
def test_what_is_no_key_is_not_imported(environ: dict[str, str], source: str) -> None:
    with pytest.raises(InputError) as raised:
        accounts.import_account("studio", source, environ=environ)
    assert source.strip() in ("", "{", "{}") or source not in str(raised.value)
    assert accounts.list_accounts(environ=environ) == []


def test_a_keystore_that_lies_about_its_address_is_refused(environ: dict[str, str]) -> None:
    keystore = Signing.encrypt(KEY, "correct horse", iterations=1024) | {"address": "ab" * 20}
    with pytest.raises(InputError, match="holds the key of"):
        accounts.import_account("studio", json.dumps(keystore), environ=environ)


@pytest.mark.parametrize("name", ["", "dev1", "../x", "a b", "-x", "0x12", "x" * 41, "ünı"])
def test_names_that_would_confuse_are_refused(environ: dict[str, str], name: str) -> None:
    with pytest.raises(InputError, match="cannot name an account"):
        accounts.new_account(name, environ=environ)


def test_a_name_is_taken_once(environ: dict[str, str]) -> None:
    accounts.import_account("studio", KEY, environ=environ)
    with pytest.raises(InputError, match="exists already"):
        accounts.new_account("studio", environ=environ)


def test_an_empty_password_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(InputError, match="protects nothing"):
        accounts.new_account("studio", environ=environ | {"ROYALTY_PASSWORD": ""})


def test_files_that_are_no_keystore_are_left_out_of_the_list(environ: dict[str, str]) -> None:
    folder = Path(environ["ROYALTY_KEYS"])
    folder.mkdir()
    (folder / "notes.json").write_text("[]")
    (folder / "broken.json").write_bytes(b"\xff\xfe")
    assert accounts.list_accounts(environ=environ) == []
    assert [row.name for row in accounts.list_accounts(local=True, environ=environ)] == [
        f"dev{n}" for n in range(10)
    ]


def test_addresses_and_names_resolve(environ: dict[str, str]) -> None:
    accounts.import_account("studio", KEY, environ=environ)
    for text in (ADDRESS, ADDRESS.lower(), "0x" + ADDRESS[2:].upper(), "studio"):
        assert accounts.resolve_address(text, environ=environ) == ADDRESS
    assert accounts.resolve_address("dev3") == accounts.DEV_ACCOUNTS[3][0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ADDRESS[:-1] + "B", "not an address|checksum"),
        (ADDRESS.replace("E7E3", "E7e3"), "wrong checksum"),
        ("0x1234", "not an address"),
        ("0xzz" + "0" * 38, "not an address"),
        ("nobody", "neither an address nor an account"),
        ("../../etc/passwd", "neither an address nor an account"),
        ("dev10", "neither an address nor an account"),
        ("", "neither an address nor an account"),
    ],
)
def test_what_is_neither_is_refused(environ: dict[str, str], text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        accounts.resolve_address(text, environ=environ)


def test_the_worlds_keys_are_not_offered_on_a_public_chain() -> None:
    for text in ("dev0", accounts.DEV_ACCOUNTS[0][0]):
        with pytest.raises(InputError, match="the whole world has its key"):
            accounts.load_account(text, local=False)
    with pytest.raises(InputError, match="the whole world has its key"):
        accounts.resolve_address("dev0", local=False)
