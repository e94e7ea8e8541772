"""Proof files: that a tally commits to a work's usage, checked with nothing but the tally's root.

A proof is canonical JSON, format `royalty-tally-proof-1` (docs/tallies.md). Files come from anybody:
what has another shape is refused, what does not add up is a finding. No node is needed here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from royalty.days import format_day, parse_day
from royalty.errors import InputError
from royalty.evidence import canonical
from royalty.jsontext import parse_json
from royalty.merkle import MAX_LEAVES, MAX_NANO, NODE_BYTES, Claim, Leaf, climb, unpack_leaf
from royalty.usage import KINDS, Kind, WorkRef

FORMAT = "royalty-tally-proof-1"
MAX_BYTES = 16 * 2**20
MAX_PRICE = 2**40 - 1
MAX_LEVELS = 24

_KEYS = frozenset(
    {"format", "chain_id", "genesis", "contract", "platform", "batch", "day", "root"}
    | {"total_nano", "leaves", "work", "holding"}
)
_LEAF_KEYS = frozenset({"index", "leaf", "amount_nano", "proof", "prices", "rows"})
_ROW_KEYS = frozenset({"day", "kind", "units", "amount_nano"})

_DIGITS = re.compile(r"0|[1-9][0-9]{0,29}")
_BYTES = re.compile(r"0x((?:[0-9a-f]{2})*)")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


@dataclass(frozen=True, slots=True)
class ProofRow:
    """Units of the work on one day in one kind, and what they cost."""

    day: int
    kind: Kind
    units: int
    amount_nano: int

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts are strings of digits."""
        return {
            "day": format_day(self.day),
            "kind": self.kind.word,
            "units": self.units,
            "amount_nano": str(self.amount_nano),
        }


@dataclass(frozen=True, slots=True)
class ProofLeaf:
    """A leaf that holds the work: its place, its bytes with their amount, its proof, and what it says of the work.

    `prices` are those of the kinds that occur in the leaf.
    """

    index: int
    claim: Claim
    proof: bytes
    prices: Mapping[Kind, int]
    rows: tuple[ProofRow, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts are strings of digits, bytes are hex."""
        return {
            "index": self.index,
            "leaf": _hex(self.claim.leaf),
            "amount_nano": str(self.claim.amount),
            "proof": _hex(self.proof),
            "prices": {f"{kind.word}_nano": str(price) for kind, price in self.prices.items()},
            "rows": [row.document() for row in self.rows],
        }


@dataclass(frozen=True, slots=True)
class Proof:
    """That leaves of one tally hold usage of a work; addresses are checksummed, `genesis` and `root` 32 bytes."""

    chain_id: int
    genesis: bytes
    contract: str
    platform: str
    batch: int
    day: int
    root: bytes
    total_nano: int
    leaves: int
    work: WorkRef
    holding: tuple[ProofLeaf, ...]

    @property
    def amount_nano(self) -> int:
        """What the rows of the work come to."""
        return sum(row.amount_nano for leaf in self.holding for row in leaf.rows)

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts are strings of digits, bytes are hex."""
        return {
            "format": FORMAT,
            "chain_id": self.chain_id,
            "genesis": _hex(self.genesis),
            "contract": self.contract,
            "platform": self.platform,
            "batch": self.batch,
            "day": format_day(self.day),
            "root": _hex(self.root),
            "total_nano": str(self.total_nano),
            "leaves": self.leaves,
            "work": str(self.work),
            "holding": [leaf.document() for leaf in self.holding],
        }

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of the file."""
        return canonical(self.document()) + b"\n"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that a proof says and that is not so."""

    what: str
    expected: str
    found: str

    def document(self) -> dict[str, str]:
        """Return the JSON document."""
        return {"what": self.what, "expected": self.expected, "found": self.found}


def rows_of(leaf: Leaf, index: int, prices: Mapping[Kind, int]) -> tuple[ProofRow, ...]:
    """Return what a leaf says of one work of its catalogue, by day and kind, at these prices."""
    units: dict[tuple[int, Kind], int] = {}
    for group in leaf.groups:
        for work, count in group.pairs:
            if work == index:
                key = (group.day, group.kind)
                units[key] = units.get(key, 0) + count
    return tuple(
        ProofRow(day, kind, count, count * prices.get(kind, 0))
        for (day, kind), count in sorted(units.items())
    )


def holds(leaf: Leaf, work: WorkRef) -> bool:
    """Whether a leaf has usage of a work."""
    return leaf.catalogue == work.catalogue and any(
        index == work.index for group in leaf.groups for index, _ in group.pairs
    )


# --- checking ---


def faults(proof: Proof) -> list[Fault]:
    """Return what in a proof does not follow from its root: nothing, if the tree has these leaves with these rows.

    Says nothing of whether the root stands on a chain.
    """
    found: list[Fault] = []
    for leaf in proof.holding:
        found += _leaf_faults(proof, leaf)
    return found


def _leaf_faults(proof: Proof, held: ProofLeaf) -> Iterator[Fault]:
    name = f"leaf {held.index}"
    try:
        root, total = climb([held.claim.node], held.index, proof.leaves, held.proof)
    except InputError as error:
        yield Fault(f"proof of {name}", "a proof of its place", str(error))
        return
    if root != proof.root:
        yield Fault(f"root over {name}", _hex(proof.root), _hex(root))
    if total != proof.total_nano:
        yield Fault(f"total over {name}", str(proof.total_nano), str(total))
    try:
        leaf = unpack_leaf(held.claim.leaf)
    except InputError as error:
        yield Fault(name, "usage of a deal", str(error))
        return
    yield from _content_faults(proof, held, leaf, name)


def _content_faults(proof: Proof, held: ProofLeaf, leaf: Leaf, name: str) -> Iterator[Fault]:
    if not holds(leaf, proof.work):
        yield Fault(f"work in {name}", str(proof.work), f"none of catalogue {leaf.catalogue}")
    kinds = sorted({group.kind for group in leaf.groups})
    if sorted(held.prices) != kinds:
        yield Fault(f"prices of {name}", _words(kinds), _words(sorted(held.prices)))
        return
    cost = sum(
        held.prices[group.kind] * sum(units for _, units in group.pairs) for group in leaf.groups
    )
    if cost != held.claim.amount:
        yield Fault(f"amount of {name} at its prices", str(held.claim.amount), str(cost))
    decoded = rows_of(leaf, proof.work.index, held.prices)
    if decoded != held.rows:
        yield Fault(f"rows of {name}", _shown(decoded), _shown(held.rows))


def _words(kinds: Sequence[Kind]) -> str:
    return ", ".join(kind.word for kind in kinds)


def _shown(rows: Sequence[ProofRow]) -> str:
    shown = [
        f"{format_day(r.day)} {r.kind.word} {r.units} for {r.amount_nano} nano" for r in rows[:3]
    ]
    return "; ".join(shown) + (f"; ... ({len(rows)} rows)" if len(rows) > 3 else "")


# --- files ---


def read_proof(path: Path) -> Proof:
    """Return the proof in a file; InputError for whatever is none, or is longer than 16 MiB."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{path} is longer than a proof may be ({MAX_BYTES:,} bytes)")
    try:
        return parse_proof(content)
    except InputError as error:
        raise InputError(f"{path} is no proof of a tally: {error}") from None


def parse_proof(content: bytes) -> Proof:
    """Return the proof of a file's bytes; InputError, which names the field, for whatever is none."""
    decoder = json.JSONDecoder(object_pairs_hook=_object, parse_float=_no_float)
    try:
        document = parse_json(content, decoder.decode)
    except InputError:
        raise
    except (ValueError, RecursionError):
        raise InputError("it is not JSON, or nested too deep") from None
    fields = _Fields(document, _KEYS, "")
    if fields.text("format") != FORMAT:
        raise InputError(f"its format is not {FORMAT}")
    leaves = fields.number("leaves", MAX_LEAVES, least=1)
    holding = [_leaf(entry, at) for at, entry in enumerate(fields.list("holding"))]
    places = [leaf.index for leaf in holding]
    if not places or places != sorted(set(places)):
        raise InputError("holding does not list leaves, each once, in order")
    work = WorkRef.match(fields.text("work"))
    if work is None:
        raise InputError("work is not written catalogue/index")
    return Proof(
        chain_id=fields.number("chain_id", 2**63 - 1),
        genesis=fields.bytes("genesis", 32),
        contract=fields.address("contract"),
        platform=fields.address("platform"),
        batch=fields.number("batch", 2**32 - 1, least=1),
        day=fields.day("day"),
        root=fields.bytes("root", 32),
        total_nano=fields.digits("total_nano", MAX_NANO),
        leaves=leaves,
        work=work,
        holding=tuple(holding),
    )


def _leaf(document: Any, at: int) -> ProofLeaf:
    fields = _Fields(document, _LEAF_KEYS, f"holding[{at}].")
    prices = fields.mapping("prices")
    named = {f"{kind.word}_nano": kind for kind in Kind}
    if not set(prices) <= set(named):
        raise InputError(f"holding[{at}].prices has an unknown kind")
    proof = fields.bytes("proof")
    if len(proof) > MAX_LEVELS * NODE_BYTES:
        raise InputError(f"holding[{at}].proof is longer than any proof")
    priced = _Fields(prices, frozenset(prices), f"holding[{at}].prices.")
    return ProofLeaf(
        index=fields.number("index", MAX_LEAVES - 1),
        claim=Claim(fields.bytes("leaf"), fields.digits("amount_nano", MAX_NANO)),
        proof=proof,
        prices={named[word]: priced.digits(word, MAX_PRICE) for word in prices},
        rows=tuple(
            _row(row, f"holding[{at}].rows[{n}].") for n, row in enumerate(fields.list("rows"))
        ),
    )


def _row(document: Any, where: str) -> ProofRow:
    fields = _Fields(document, _ROW_KEYS, where)
    kind = KINDS.get(fields.text("kind"))
    if kind is None:
        raise InputError(f"{where}kind is unknown")
    return ProofRow(
        fields.day("day"),
        kind,
        fields.number("units", 2**63 - 1, least=1),
        fields.digits("amount_nano", MAX_NANO),
    )


class _Fields:
    """An object of hostile JSON, read field by field; InputError names the field that is wrong."""

    def __init__(self, document: Any, keys: frozenset[str], where: str) -> None:
        if not isinstance(document, dict):
            raise InputError(f"{where.rstrip('.') or 'it'} is no object")
        wrong = sorted(keys.symmetric_difference(document))
        if wrong:
            word = ascii(wrong[0])[:60]
            state = "missing" if wrong[0] in keys else "unknown"
            raise InputError(f"field {where}{word} is {state}")
        self.document, self.where = document, where

    def _of(self, word: str, kind: type, wanted: str) -> Any:
        value = self.document[word]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(f"{self.where}{word} is not {wanted}")
        return value

    def _refuse(self, word: str, wanted: str) -> InputError:
        return InputError(f"{self.where}{word} is not {wanted}")

    def text(self, word: str) -> str:
        return str(self._of(word, str, "a text"))

    def list(self, word: str) -> Sequence[Any]:
        found: Sequence[Any] = self._of(word, list, "a list")
        return found

    def mapping(self, word: str) -> dict[str, Any]:
        found: dict[str, Any] = self._of(word, dict, "an object")
        return found

    def number(self, word: str, most: int, *, least: int = 0) -> int:
        value = int(self._of(word, int, "a whole number"))
        if not least <= value <= most:
            raise self._refuse(word, f"from {least} to {most}")
        return value

    def digits(self, word: str, most: int) -> int:
        text = self.text(word)
        if not _DIGITS.fullmatch(text) or int(text) > most:
            raise self._refuse(word, "an amount in digits that the ledger can hold")
        return int(text)

    def bytes(self, word: str, size: int | None = None) -> bytes:
        found = _BYTES.fullmatch(self.text(word))
        if found is None or (size is not None and len(found[1]) != 2 * size):
            wanted = "bytes" if size is None else f"{size} bytes"
            raise self._refuse(word, f"{wanted} in hex, 0x first, in small letters")
        return bytes.fromhex(found[1])

    def address(self, word: str) -> str:
        text = self.text(word)
        if not _ADDRESS.fullmatch(text) or _checksummed(text) != text:
            raise self._refuse(word, "an address with its checksum")
        return text

    def day(self, word: str) -> int:
        text = self.text(word)
        try:
            return parse_day(text)
        except InputError:
            raise self._refuse(word, "a day, YYYY-MM-DD") from None


def _checksummed(address: str) -> str:
    """Return an address with the capitals of EIP-55, which its digits' Keccak-256 tells."""
    from tiny_keccak import keccak256

    small = address[2:].lower()
    digest: str = keccak256(small.encode()).hex()
    shown = (a.upper() if int(d, 16) > 7 else a for a, d in zip(small, digest, strict=False))
    return "0x" + "".join(shown)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InputError("a field stands in it twice")
    return found


def _no_float(_: str) -> Callable[[], None]:
    raise InputError("a number in it is not whole")


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
