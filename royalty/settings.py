"""Settings: which network, node, ledger and account; flags, then environment, then royalty.toml, then defaults."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from royalty.errors import InputError

LOCAL = "local"
LOCAL_CHAIN_ID = 31337
STATE = ".royalty"
FILE = "royalty.toml"

_TOP = {
    "network": str,
    "account": str,
    "contract": str,
    "rpc": str,
    "anvil": str,
    "networks": dict,
    "store": dict,
}
_STORE = {"retain_days": int}
_NETWORK = {"rpc": str, "chain_id": int, "contract": str, "confirmations": int}


@dataclass(frozen=True, slots=True)
class LocalChain:
    """The Anvil that `royalty chain up` left running for this folder."""

    rpc: str
    chain_id: int
    pid: int
    port: int


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for, resolved; None where nothing says."""

    network: str
    rpc: str | None
    chain_id: int | None
    contract: str | None
    account: str | None
    confirmations: int | None
    anvil: str | None
    folder: Path
    environ: Mapping[str, str] = field(repr=False)
    local_chain: LocalChain | None = None
    retain_days: int | None = None

    @classmethod
    def load(
        cls,
        *,
        network: str | None = None,
        rpc: str | None = None,
        account: str | None = None,
        contract: str | None = None,
        anvil: str | None = None,
        folder: str | Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Settings:
        """Return the settings of a folder (default: here); arguments are what flags gave.

        Raises InputError for a royalty.toml that cannot be read, or a network that nobody defined.
        """
        environ = os.environ if environ is None else environ
        here = Path.cwd() if folder is None else Path(folder).absolute()
        path = find_upwards(here)
        toml = read_toml(path) if path else {}

        def first(flag: str | None, word: str) -> str | None:
            return flag or environ.get(f"ROYALTY_{word.upper()}") or toml.get(word)

        chosen = first(network, "network")
        table = network_table(chosen or LOCAL, toml, path)
        local = read_local_chain(here / STATE) if (chosen or LOCAL) == LOCAL else None
        given = _flag_or_env(rpc, "RPC", environ) or table.get("rpc") or toml.get("rpc")
        # Another node named without a network may be of any chain.
        expected = table.get("chain_id") if chosen or not given else None
        return cls(
            network=chosen or LOCAL,
            rpc=given or (local.rpc if local else None),
            chain_id=expected,
            contract=_flag_or_env(contract, "CONTRACT", environ)
            or table.get("contract")
            or toml.get("contract"),
            account=first(account, "account"),
            confirmations=table.get("confirmations"),
            anvil=first(anvil, "anvil"),
            folder=here,
            environ=environ,
            local_chain=local if not given else None,
            retain_days=toml.get("store", {}).get("retain_days"),
        )

    @property
    def state(self) -> Path:
        """The folder of this working folder's state; made when something is first written."""
        return self.folder / STATE


def _flag_or_env(flag: str | None, word: str, environ: Mapping[str, str]) -> str | None:
    return flag or environ.get(f"ROYALTY_{word}") or None


def find_upwards(folder: Path) -> Path | None:
    """Return the nearest royalty.toml from a folder upwards."""
    for place in (folder, *folder.parents):
        if (place / FILE).is_file():
            return place / FILE
    return None


def read_toml(path: Path) -> dict[str, Any]:
    """Return a royalty.toml; InputError names the file and what is wrong in it."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: {error}") from None
    _check(path, "", document, _TOP)
    _check(path, "store.", document.get("store", {}), _STORE)
    for name, table in document.get("networks", {}).items():
        if not isinstance(table, dict):
            raise InputError(f"{path}: networks.{name} is not a table; write [networks.{name}]")
        _check(path, f"networks.{name}.", table, _NETWORK)
    return document


def _check(path: Path, prefix: str, table: Mapping[str, Any], known: Mapping[str, type]) -> None:
    for word, value in table.items():
        if word not in known:
            raise InputError(
                f"{path}: unknown setting '{prefix}{word}'; known are {', '.join(known)}"
            )
        if not isinstance(value, known[word]) or isinstance(value, bool):
            kind = {"str": "text in quotes", "int": "a whole number", "dict": "a table"}
            raise InputError(f"{path}: {prefix}{word} is not {kind[known[word].__name__]}")
        if isinstance(value, int) and value < 0:
            raise InputError(f"{path}: {prefix}{word} is negative")


def network_table(name: str, toml: Mapping[str, Any], path: Path | None) -> dict[str, Any]:
    """Return what is known of a network by name; InputError where nobody defined it."""
    tables: dict[str, dict[str, Any]] = toml.get("networks", {})
    if name == LOCAL:
        return {"chain_id": LOCAL_CHAIN_ID, **tables.get(name, {})}
    if name not in tables:
        where = f"add [networks.{name}] with rpc and chain_id to {path or FILE}"
        raise InputError(f"unknown network '{name[:40]}'; {where}")
    return tables[name]


def read_local_chain(state: Path) -> LocalChain | None:
    """Return the local chain that this folder remembers, None where it has none."""
    try:
        document = json.loads((state / "chain.json").read_text("utf-8"))
        return LocalChain(
            str(document["rpc"]),
            int(document["chain_id"]),
            int(document["pid"]),
            int(document["port"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{state / 'chain.json'} cannot be read; delete it and run `royalty chain up`"
        ) from None


def chain_dir(state: Path, chain_id: int, genesis_hash: str) -> Path:
    """Return the state folder of one chain: a new local chain has a new genesis, and is another."""
    return state / f"{chain_id}-{genesis_hash.removeprefix('0x')[:8]}"


def ledger_dir(chain: Path, ledger: str) -> Path:
    """Return the state folder of one ledger on a chain."""
    return chain / ledger[:10].lower()
