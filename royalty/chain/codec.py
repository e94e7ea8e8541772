"""Calls, answers, errors and events of our contracts as bytes and back, from their ABI through eth-abi."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from royalty.artifacts import artifact

# Errors of other people's tokens (ERC-6093, OpenZeppelin 5) and of the compiler, which no ABI of ours lists.
FOREIGN_ERRORS = (
    "Error(string reason)",
    "Panic(uint256 code)",
    "ERC20InsufficientBalance(address sender,uint256 balance,uint256 needed)",
    "ERC20InsufficientAllowance(address spender,uint256 allowance,uint256 needed)",
    "ERC20InvalidSender(address sender)",
    "ERC20InvalidReceiver(address receiver)",
    "ERC20InvalidSpender(address spender)",
    "ERC20InvalidApprover(address approver)",
    "SafeERC20FailedOperation(address token)",
    "EnforcedPause()",
    "ReentrancyGuardReentrantCall()",
)


_TEXT = re.compile(r"\bstring\b")


@dataclass(frozen=True, slots=True)
class Entry:
    """One function, error or event: names and ABI types of what goes in and comes out."""

    name: str
    signature: str
    inputs: tuple[Mapping[str, Any], ...]
    outputs: tuple[Mapping[str, Any], ...] = ()

    @property
    def hash(self) -> bytes:
        """Keccak-256 of the signature: an event's topic; its first 4 bytes select a function."""
        return keccak(self.signature)

    @property
    def selector(self) -> bytes:
        """The 4 bytes that a call or an error starts with."""
        return self.hash[:4]


@lru_cache(maxsize=1024)
def keccak(text: str) -> bytes:
    """Return the 32 bytes of Keccak-256 of a text."""
    from eth_utils.crypto import keccak as hashed

    return bytes(hashed(text=text))


def abi_type(field: Mapping[str, Any]) -> str:
    """Return a field's canonical type, a struct as its tuple: `(uint40,uint40)[]`."""
    kind = str(field["type"])
    if not kind.startswith("tuple"):
        return kind
    return "(" + ",".join(map(abi_type, field["components"])) + ")" + kind[len("tuple") :]


def encode(fields: Sequence[Mapping[str, Any]], values: Sequence[Any]) -> bytes:
    """Return the ABI encoding of values under their fields."""
    from eth_abi import abi

    return bytes(abi.encode([abi_type(field) for field in fields], list(values)))


def decode(fields: Sequence[Mapping[str, Any]], data: bytes) -> dict[str, Any]:
    """Return what `data` holds, by field name; a nameless field is called by its position.

    Text is other people's: what is not UTF-8 in it becomes '�', or one event could stop every reader.
    """
    from eth_abi import abi

    values = abi.decode([_TEXT.sub("bytes", abi_type(field)) for field in fields], data)
    return {
        str(field.get("name") or position): plain(field, value)
        for position, (field, value) in enumerate(zip(fields, values, strict=True))
    }


def plain(field: Mapping[str, Any], value: Any) -> Any:
    """Return a decoded value as plain Python: addresses checksummed, structs as dicts, lists as lists."""
    kind = str(field["type"])
    if kind.endswith("]"):
        inner = {**field, "type": kind[: kind.rindex("[")]}
        return [plain(inner, item) for item in value]
    if kind == "tuple":
        return {
            part["name"]: plain(part, item)
            for part, item in zip(field["components"], value, strict=True)
        }
    if kind == "string":
        return value.decode("utf-8", "replace")
    return checksum(value) if kind == "address" else value


@lru_cache(maxsize=65_536)
def checksum(address: str | bytes) -> str:
    """Return an address with its EIP-55 checksum."""
    from eth_utils.address import to_checksum_address

    return str(to_checksum_address(address))


def _entry(item: Mapping[str, Any]) -> Entry:
    inputs = tuple(item.get("inputs", ()))
    signature = f"{item['name']}({','.join(map(abi_type, inputs))})"
    return Entry(item["name"], signature, inputs, tuple(item.get("outputs", ())))


@dataclass(frozen=True)
class Codec:
    """A contract's functions by name (an overloaded one by signature), errors by selector, events by topic."""

    functions: Mapping[str, Entry]
    errors: Mapping[bytes, Entry]
    events: Mapping[bytes, tuple[Entry, Mapping[str, Any]]]

    def call_data(self, function: str, arguments: Sequence[Any]) -> bytes:
        """Return the bytes of a call; structs are given as tuples."""
        entry = self.functions[function]
        return entry.selector + encode(entry.inputs, arguments)

    def result(self, function: str, data: bytes) -> tuple[Any, ...]:
        """Return a call's results in order, as plain Python."""
        return tuple(decode_ordered(self.functions[function].outputs, data))


def decode_ordered(fields: Sequence[Mapping[str, Any]], data: bytes) -> list[Any]:
    """Return the values of `data` in the order of their fields."""
    numbered = [{**field, "name": str(position)} for position, field in enumerate(fields)]
    return list(decode(numbered, data).values())


@cache
def codec(name: str = "Royalty") -> Codec:
    """Return the codec of one of our contracts."""
    functions: dict[str, Entry] = {}
    errors = {entry.selector: entry for entry in map(parse_error, FOREIGN_ERRORS)}
    events = {}
    for item in artifact(name).abi:
        if item["type"] == "function":
            entry = _entry(item)
            functions.setdefault(entry.name, entry)
            functions[entry.signature] = entry
        elif item["type"] == "error":
            entry = _entry(item)
            errors[entry.selector] = entry
        elif item["type"] == "event":
            entry = _entry(item)
            events[entry.hash] = (entry, item)
    return Codec(functions, errors, events)


def parse_error(text: str) -> Entry:
    """Return the entry of an error written as `Name(type name,...)`; plain types only."""
    name, _, rest = text.partition("(")
    fields = [part.split(" ") for part in rest.rstrip(")").split(",") if part]
    return _entry({"name": name, "inputs": [{"type": kind, "name": word} for kind, word in fields]})
