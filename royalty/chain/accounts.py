"""Accounts: keystores V3 on disk, Anvil's own accounts on the local chain, names in place of addresses."""

from __future__ import annotations

import getpass
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from royalty.chain.codec import checksum
from royalty.errors import InputError, KeyLocked
from royalty.files import write_whole
from royalty.jsontext import parse_json

# Anvil's accounts: m/44'/60'/0'/0/n of "test test test test test test test test test test test junk".
# The whole world knows these keys. They are offered on the local chain alone.
DEV_ACCOUNTS = (
    ("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"),
    ("0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"),
    ("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC", "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a"),
    ("0x90F79bf6EB2c4f870365E785982E1f101E93b906", "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6"),
    ("0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65", "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a"),
    ("0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc", "8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba"),
    ("0x976EA74026E726554dB657fA54763abd0C3a0aa9", "92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e"),
    ("0x14dC79964da2C08b23698B3D3cc7Ca32193d9955", "4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356"),
    ("0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f", "dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97"),
    ("0xa0Ee7A142d267C1f36714E4a8F75612F20a79720", "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6"),
)  # fmt: skip

_DEV = re.compile(r"dev([0-9])")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{40}")
_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")


@dataclass(slots=True)
class Account:
    """An account that can sign; its key is unlocked when it is first needed, and never shown."""

    name: str
    address: str
    _unlock: Callable[[], bytes] = field(repr=False)
    _key: bytes | None = field(default=None, repr=False)

    def _unlocked(self) -> bytes:
        if self._key is None:
            self._key = self._unlock()
        return self._key

    def unlock(self) -> None:
        """Ask for the password now rather than at the first signature; KeyLocked where it is wrong."""
        self._unlocked()

    def sign(self, transaction: Mapping[str, Any]) -> bytes:
        """Return the signed bytes of a transaction's fields; KeyLocked where no password opens the key."""
        from eth_account import Account as Signing

        return bytes(Signing.sign_transaction(dict(transaction), self._unlocked()).raw_transaction)

    def sign_typed(self, typed: Mapping[str, Any]) -> bytes:
        """Return the 65 bytes that sign EIP-712 typed data (domain, types, primaryType, message)."""
        from eth_account import Account as Signing
        from eth_account.messages import encode_typed_data

        message = encode_typed_data(full_message=dict(typed))
        return bytes(Signing.sign_message(message, self._unlocked()).signature)


@dataclass(frozen=True, slots=True)
class AccountRow:
    """One account as a list shows it."""

    name: str
    address: str
    path: str | None


def keys_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder of keystores: ROYALTY_KEYS, or ~/.royalty/keys."""
    named = (os.environ if environ is None else environ).get("ROYALTY_KEYS")
    return Path(named) if named else Path.home() / ".royalty" / "keys"


# --- names and addresses ---


def parse_address(text: str) -> str:
    """Return a checksummed address; InputError where it is none or its mixed case is not its checksum."""
    if not _ADDRESS.fullmatch(text):
        raise InputError(f"'{text[:60]}' is not an address; write 0x and 40 hex digits")
    proper = checksum("0x" + text[2:].lower())
    digits = text[2:]
    if digits not in (digits.lower(), digits.upper()) and digits != proper[2:]:
        raise InputError(
            f"address {text} has a wrong checksum; a digit is mistyped, or write {proper}"
        )
    return proper


def resolve_address(
    text: str, *, local: bool = True, environ: Mapping[str, str] | None = None
) -> str:
    """Return the checksummed address of an address or an account's name; dev0 to dev9 where `local`.

    Raises InputError where it is neither.
    """
    if text[:2].lower() == "0x":
        return parse_address(text)
    dev = _DEV.fullmatch(text)
    if dev:
        _only_local(text, local)
        return DEV_ACCOUNTS[int(dev.group(1))][0]
    return _address_in(_keystore(text, environ))


def _only_local(name: str, local: bool) -> None:
    if not local:
        raise InputError(
            f"{name} exists on the local chain alone, for the whole world has its key;"
            " name an account of your own: `royalty account list`"
        )


def load_account(
    text: str, *, local: bool = True, environ: Mapping[str, str] | None = None
) -> Account:
    """Return the account of a name, or the one whose keystore has the address given; still locked.

    Raises InputError where there is no such account.
    """
    dev = _dev_number(text)
    if dev is not None:
        _only_local(text, local)
        address, key = DEV_ACCOUNTS[dev]
        return Account(f"dev{dev}", address, lambda: bytes.fromhex(key))
    path = _of_address(parse_address(text), environ) if text[:2].lower() == "0x" else None
    path = path or _keystore(text, environ)
    return Account(path.stem, _address_in(path), lambda: open_keystore(path, environ))


def _dev_number(text: str) -> int | None:
    found = _DEV.fullmatch(text)
    if found:
        return int(found.group(1))
    addresses = [address.lower() for address, _ in DEV_ACCOUNTS]
    return addresses.index(text.lower()) if text.lower() in addresses else None


def _of_address(address: str, environ: Mapping[str, str] | None) -> Path:
    for row in list_accounts(environ=environ):
        if row.address == address and row.path:
            return Path(row.path)
    raise InputError(f"no keystore has the address {address}; `royalty account list` shows yours")


def _keystore(name: str, environ: Mapping[str, str] | None) -> Path:
    path = keys_folder(environ) / f"{name}.json"
    if not _NAME.fullmatch(name) or not path.is_file():
        raise InputError(
            f"'{name[:60]}' is neither an address nor an account; `royalty account list` shows yours"
        )
    return path


def _read_keystore(path: Path) -> dict[str, Any]:
    try:
        document = parse_json(path.read_bytes())
        if document["version"] != 3 or not isinstance(document["crypto"], dict):
            raise ValueError
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path} is not a keystore of version 3") from None
    return dict(document)


def _address_in(path: Path) -> str:
    address = str(_read_keystore(path).get("address", ""))
    return parse_address(address if address[:2].lower() == "0x" else "0x" + address)


# --- keystores ---


def list_accounts(
    *, local: bool = False, environ: Mapping[str, str] | None = None
) -> list[AccountRow]:
    """Return the accounts by name, dev0 to dev9 first where `local`; files that are no keystore are left out."""
    rows = [AccountRow(f"dev{n}", address, None) for n, (address, _) in enumerate(DEV_ACCOUNTS)]
    found = rows if local else []
    for path in sorted(keys_folder(environ).glob("*.json")):
        try:
            found.append(AccountRow(path.stem, _address_in(path), str(path)))
        except InputError:
            continue
    return found


def new_account(name: str, *, environ: Mapping[str, str] | None = None) -> AccountRow:
    """Make a key, keep it in a keystore under a new password, and return its account."""
    import secrets

    _check_new(name, environ)
    return _store(name, secrets.token_bytes(32), new_password(environ), environ)


def import_account(
    name: str, source: str, *, environ: Mapping[str, str] | None = None
) -> AccountRow:
    """Keep the key of a keystore V3 file, or of a text of 64 hex digits, and return its account.

    `source` is the content. A keystore is opened once with its password and kept as it is. Raises
    InputError where it is neither, KeyLocked where the password does not open it.
    """
    _check_new(name, environ)
    text = source.strip()
    if text.startswith("{"):
        return _import_keystore(name, text, environ)
    if not _KEY.fullmatch(text):
        raise InputError("that is neither a keystore of version 3 nor a key of 64 hex digits")
    return _store(
        name, _checked_key(bytes.fromhex(text.removeprefix("0x"))), new_password(environ), environ
    )


def _import_keystore(name: str, text: str, environ: Mapping[str, str] | None) -> AccountRow:
    try:
        document = dict(parse_json(text))
    except ValueError:
        raise InputError("that is not a keystore of version 3") from None
    key = _decrypt(document, f"the keystore to import as {name}", environ)
    address = address_of(key)
    stated = str(document.get("address", "")).lower().removeprefix("0x")
    if stated and stated != address[2:].lower():
        raise InputError(
            f"the keystore says address 0x{stated[:40]} but holds the key of {address}"
        )
    return _write(name, document | {"address": address[2:].lower()}, environ)


def _checked_key(key: bytes) -> bytes:
    try:
        address_of(key)
    except Exception:  # eth-keys has its own errors; the key must not stand in any message
        raise InputError("that is not a key: it is zero, or too large") from None
    return key


def address_of(key: bytes) -> str:
    """Return the checksummed address of a private key."""
    from eth_account import Account as Signing

    return str(Signing.from_key(key).address)


def _check_new(name: str, environ: Mapping[str, str] | None) -> None:
    if not _NAME.fullmatch(name) or _DEV.fullmatch(name):
        raise InputError(
            f"'{name[:60]}' cannot name an account; use letters, digits, - and _, not dev0 to dev9"
        )
    path = keys_folder(environ) / f"{name}.json"
    if path.exists():
        raise InputError(f"an account {name} exists already ({path}); choose another name")


def _store(name: str, key: bytes, password: str, environ: Mapping[str, str] | None) -> AccountRow:
    from eth_account import Account as Signing

    return _write(name, dict(Signing.encrypt(key, password)), environ)


def _write(name: str, document: Mapping[str, Any], environ: Mapping[str, str] | None) -> AccountRow:
    path = keys_folder(environ) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(path, json.dumps(document) + "\n", mode=0o600)
    return AccountRow(name, _address_in(path), str(path))


def open_keystore(path: Path, environ: Mapping[str, str] | None = None) -> bytes:
    """Return the key of a keystore, its password from the environment, a file or the prompt; KeyLocked."""
    return _decrypt(_read_keystore(path), f"account {path.stem}", environ)


def _decrypt(document: Mapping[str, Any], what: str, environ: Mapping[str, str] | None) -> bytes:
    from eth_account import Account as Signing

    password = given_password(environ)
    if password is None:
        password = _prompt(f"Password of {what}: ", what)
    try:
        return bytes(Signing.decrypt(dict(document), password))
    except (
        Exception
    ):  # a wrong password and a broken file raise many things, none of them fit to show
        raise KeyLocked(
            f"the password given does not open {what}; check ROYALTY_PASSWORD or ROYALTY_PASSWORD_FILE,"
            " or unset them to be asked"
        ) from None


# --- passwords ---


def given_password(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the password in ROYALTY_PASSWORD or ROYALTY_PASSWORD_FILE (its first line), None without."""
    environ = os.environ if environ is None else environ
    if "ROYALTY_PASSWORD" in environ:
        return environ["ROYALTY_PASSWORD"]
    path = environ.get("ROYALTY_PASSWORD_FILE")
    if path is None:
        return None
    try:
        return (Path(path).read_text("utf-8").splitlines() or [""])[0]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text"
        raise KeyLocked(f"ROYALTY_PASSWORD_FILE {path}: {reason}") from None


def new_password(environ: Mapping[str, str] | None = None) -> str:
    """Return a password for a new keystore: given, or asked for twice; InputError where it is empty."""
    password = given_password(environ)
    if password is None:
        password = _prompt("New password: ", "the new account")
        if password != _prompt("Again: ", "the new account"):
            raise InputError("the two passwords differ; nothing was written")
    if not password:
        raise InputError("an empty password protects nothing; nothing was written")
    return password


def _prompt(text: str, what: str) -> str:
    if not sys.stdin.isatty():
        raise KeyLocked(
            f"{what} needs a password and there is no terminal to ask at; set ROYALTY_PASSWORD_FILE"
        )
    try:
        return getpass.getpass(text)
    except EOFError:
        raise KeyLocked(f"{what} needs a password") from None
