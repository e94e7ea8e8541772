"""Settings: which network, node, ledger and account; flags, then environment, then royalty.toml, then defaults."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
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
    "rpc": (str, list),
    "anvil": str,
    "networks": dict,
    "max_fee": (str, int),
    "coin_price": (str, int),
    "window": int,
    "deadline": int,
    "store": dict,
}
_STORE = {"retain_days": int}
_NETWORK = {
    "rpc": (str, list),
    "chain_id": int,
    "contract": str,
    "confirmations": int,
    "max_fee": (str, int),
    "coin_price": (str, int),
    "window": int,
    "deadline": int,
}

CONFIRMATIONS = {
    1: 12,  # Ethereum
    10: 20,  # Optimism
    56: 15,  # BNB
    100: 12,  # Gnosis
    137: 64,  # Polygon
    8453: 20,  # Base
    42161: 20,  # Arbitrum
    43114: 2,  # Avalanche
    LOCAL_CHAIN_ID: 0,
    84532: 10,  # Base Sepolia
    11155111: 12,  # Sepolia
}
"""How many blocks settle a batch, by chain id, where nobody says; docs/decisions/0070-delivery.md."""
OTHER_CONFIRMATIONS = 12
WINDOW = 1
MAX_WINDOW = 16
DEADLINE_SECONDS = 600
MAX_DEADLINE_SECONDS = 86_400
GWEI = 10**9


def default_confirmations(chain_id: int) -> int:
    """Return how many blocks settle a batch on a chain where nobody says."""
    return CONFIRMATIONS.get(chain_id, OTHER_CONFIRMATIONS)


def parse_gwei(text: str | int) -> int:
    """Return the wei of a fee in gwei, a decimal of up to nine places; InputError, zero included."""
    match = re.fullmatch(r"([0-9]{1,12})(?:\.([0-9]{1,9}))?", str(text))
    wei = int(match[1]) * GWEI + int((match[2] or "").ljust(9, "0")) if match else 0
    if wei == 0:
        raise InputError(
            f"the fee '{str(text)[:40]}' is not a number of gwei above 0; write for example 50 or 0.05"
        )
    return wei


def split_addresses(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return RPC addresses out of one text with commas, or several; each once, in order."""
    texts = [given] if isinstance(given, str) else list(given or ())
    words = (word.strip() for text in texts for word in text.split(","))
    return tuple(dict.fromkeys(word for word in words if word))


@dataclass(frozen=True, slots=True)
class LocalChain:
    """The Anvil that `royalty chain up` left running for this folder."""

    rpc: str
    chain_id: int
    pid: int
    port: int


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for, resolved; None where nothing says.

    `spares` are further RPC addresses of the same chain, `max_fee` is in gwei, `deadline` in seconds,
    `coin_price` what one coin of the chain costs in tokens.
    """

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
    spares: tuple[str, ...] = ()
    max_fee: str | int | None = None
    window: int | None = None
    deadline: int | None = None
    retain_days: int | None = None
    coin_price: str | int | None = None

    @classmethod
    def load(
        cls,
        *,
        network: str | None = None,
        rpc: str | Sequence[str] | None = None,
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
        given, *spares = (
            split_addresses(rpc)
            or split_addresses(environ.get("ROYALTY_RPC"))
            or split_addresses(table.get("rpc"))
            or split_addresses(toml.get("rpc"))
            or [None]
        )
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
            spares=tuple(one for one in spares if one),
            max_fee=table.get("max_fee", toml.get("max_fee")),
            window=table.get("window", toml.get("window")),
            deadline=table.get("deadline", toml.get("deadline")),
            retain_days=toml.get("store", {}).get("retain_days"),
            coin_price=environ.get("ROYALTY_COIN_PRICE")
            or table.get("coin_price", toml.get("coin_price")),
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
        document = tomllib.loads(path.read_text("utf-8"), parse_float=str)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: {error}") from None
    _check(path, "", document, _TOP)
    _check(path, "store.", document.get("store", {}), _STORE)
    for name, table in document.get("networks", {}).items():
        if not isinstance(table, dict):
            raise InputError(f"{path}: networks.{name} is not a table; write [networks.{name}]")
        _check(path, f"networks.{name}.", table, _NETWORK)
    return document


def _check(path: Path, prefix: str, table: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for word, value in table.items():
        if word not in known:
            raise InputError(
                f"{path}: unknown setting '{prefix}{word}'; known are {', '.join(known)}"
            )
        texts = not isinstance(value, list) or all(isinstance(one, str) for one in value)
        if not isinstance(value, known[word]) or isinstance(value, bool) or not texts:
            raise InputError(f"{path}: {prefix}{word} is not {_wanted(known[word])}")
        if isinstance(value, int) and value < 0:
            raise InputError(f"{path}: {prefix}{word} is negative")


def _wanted(kinds: type | tuple[type, ...]) -> str:
    words = {
        str: "text in quotes",
        int: "a whole number",
        dict: "a table",
        list: "a list of such texts",
    }
    return " or ".join(words[kind] for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))


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
