"""Whether the code at a ledger's address is this package's: every byte, immutables computed, not masked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from royalty.artifacts import artifact
from royalty.chain.codec import encode
from royalty.chain.deploy import create2_address, init_code, token_decimals
from royalty.chain.ledger import Ledger
from royalty.chain.node import Node
from royalty.errors import MissingProgram

WORD = 32
DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
NAME, VERSION = "Royalty", "1"


@dataclass(frozen=True, slots=True)
class Immutable:
    """A value that stands in the code: what it is here, and what it must be; both are words as `0x...`."""

    name: str
    expected: str
    found: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether it is what it must be wherever it stands."""
        return set(self.found) == {self.expected}

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "name": self.name,
            "expected": self.expected,
            "found": list(self.found),
            "right": self.right,
        }


@dataclass(frozen=True, slots=True)
class CodeCheck:
    """The code at an address beside the package's.

    `differs_at` are the first bytes, at most ten, that differ apart from immutables. `deterministic` says
    whether the address is the one that CREATE2 gives this code with this token: proof by itself.
    """

    address: str
    version: str
    compiler: str
    size: int
    expected_size: int
    differs_at: tuple[int, ...]
    immutables: tuple[Immutable, ...]
    deterministic: bool
    code_sha256: str

    @property
    def same(self) -> bool:
        """Whether it is this package's code, with the values that belong there."""
        rights = all(immutable.right for immutable in self.immutables)
        return self.size == self.expected_size and not self.differs_at and rights

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "address": self.address,
            "same": self.same,
            "version": self.version if self.same else None,
            "compared_with": self.version,
            "compiler": self.compiler,
            "size": self.size,
            "expected_size": self.expected_size,
            "differs_at": list(self.differs_at),
            "immutables": [immutable.document() for immutable in self.immutables],
            "deterministic_address": self.deterministic,
            "code_sha256": self.code_sha256,
        }


def check_code(node: Node, ledger: Ledger, version: str, token: str | None = None) -> CodeCheck:
    """Return the code at the ledger's address beside what this package deploys for a token.

    `token` is the one to expect (default: the one that the ledger names); its decimals are asked of the
    token itself. Raises InputError where there is no token, MissingProgram where the package's artifact
    does not say where immutables stand.
    """
    token = token or ledger.token().address
    decimals = token_decimals(node, token)
    made = artifact("Royalty")
    if not made.immutables:
        raise MissingProgram("the contract's artifact is of an older kind; run `make contracts`")
    found = node.code(ledger.address)
    values = _values(ledger.address, token, decimals, node.chain_id)
    immutables, places = [], set()
    for name, starts in sorted(made.immutables.items()):
        words = {found[start : start + WORD] for start in starts}
        expected = values.get(name, b"")
        immutables.append(Immutable(name, _hex(expected), tuple(sorted(map(_hex, words)))))
        places |= {at for start in starts for at in range(start, start + WORD)}
    differs = [
        at
        for at, (here, there) in enumerate(zip(found, made.deployed, strict=False))
        if here != there and at not in places
    ]
    return CodeCheck(
        address=ledger.address,
        version=version,
        compiler=made.compiler,
        size=len(found),
        expected_size=len(made.deployed),
        differs_at=tuple(differs[:10]),
        immutables=tuple(immutables),
        deterministic=create2_address(init_code("Royalty", token)) == ledger.address,
        code_sha256="0x" + sha256(found).hexdigest(),
    )


def _hex(word: bytes) -> str:
    return "0x" + word.hex()


def _values(address: str, token: str, decimals: int, chain_id: int) -> Mapping[str, bytes]:
    """Return what each immutable must be for a ledger of a token on a chain."""
    from eth_utils.crypto import keccak

    kind, name, version = keccak(text=DOMAIN), keccak(text=NAME), keccak(text=VERSION)
    types = ("bytes32", "bytes32", "bytes32", "uint256", "address")
    fields = [{"name": "", "type": word} for word in types]
    separator = keccak(encode(fields, (kind, name, version, chain_id, address)))
    return {
        "_token": _word(int(token, 16)),
        "_decimals": _word(decimals),
        "_nanoPerUnit": _word(10 ** max(0, 9 - decimals)),
        "_unitsPerNano": _word(10 ** max(0, decimals - 9)),
        "_cachedThis": _word(int(address, 16)),
        "_cachedChainId": _word(chain_id),
        "_hashedName": name,
        "_hashedVersion": version,
        "_cachedDomainSeparator": separator,
        "_name": _short(NAME),
        "_version": _short(VERSION),
    }


def _word(number: int) -> bytes:
    return number.to_bytes(WORD, "big")


def _short(text: str) -> bytes:
    """Return a short string as the contract keeps it: its bytes, and their number in the last one."""
    data = text.encode()
    return data.ljust(WORD - 1, b"\0") + bytes([len(data)])
