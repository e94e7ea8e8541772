"""Write tally.json, which Solidity and Python share, by a plain implementation of docs/protocol.md.

    python tests/vectors/make_tally.py            write the file anew
    python tests/vectors/make_tally.py --check    fail where it differs from what this computes

Nothing of the package or of the contracts is used here: two implementations that share a mistake would agree.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

from eth_utils import keccak

PATH = Path(__file__).resolve().parent / "tally.json"
SIZES = [
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    11,
    16,
    17,
    31,
    33,
    64,
    100,
    127,
    129,
    255,
    257,
    1_000,
    4_095,
    4_097,
    5_000,
]

Node = tuple[bytes, int]
Groups = list[tuple[int, int, list[tuple[int, int]]]]


def big(value: int, length: int) -> bytes:
    return value.to_bytes(length, "big")


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


# --- The plain implementation ---


def pack_leaf(catalogue: int, version: int, groups: Groups) -> bytes:
    packed = big(catalogue, 4) + big(version, 2)
    for day, kind, pairs in groups:
        packed += big(day, 2) + big(kind, 1) + big(len(pairs), 2)
        for index, units in pairs:
            packed += big(index, 3) + big(units, 3)
    return packed


def leaf_node(leaf: bytes, amount: int) -> Node:
    return keccak(b"\x00" + big(amount, 12) + leaf), amount


def join(left: Node, right: Node) -> Node:
    return keccak(b"\x01" + left[0] + big(left[1], 12) + right[0] + big(right[1], 12)), left[
        1
    ] + right[1]


def top(nodes: list[Node]) -> Node:
    """The root, by the definition: pair up from the left, carry up who has no partner, until one is left."""
    while len(nodes) > 1:
        pairs = [nodes[at : at + 2] for at in range(0, len(nodes), 2)]
        nodes = [join(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return nodes[0]


def prove(nodes: list[Node], chosen: set[int]) -> bytes:
    """The proof of chosen neighbours: on every level whatever partner of theirs is not above them already."""
    proof = b""
    while len(nodes) > 1:
        for at in range(0, len(nodes) - 1, 2):
            inside = [place for place in (at, at + 1) if place in chosen]
            if len(inside) == 1:
                partner = nodes[at + at + 1 - inside[0]]
                proof += partner[0] + big(partner[1], 12)
        pairs = [nodes[at : at + 2] for at in range(0, len(nodes), 2)]
        nodes = [join(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
        chosen = {place // 2 for place in chosen}
    return proof


# --- The cases ---


def tree_leaf(size: int, number: int) -> tuple[bytes, int]:
    """The leaf `number` of the tree of `size` leaves: at one nano-token a view, two a download, three a second."""
    noise = keccak(b"leaf %d of %d" % (number, size))
    groups: Groups = []
    amount = 0
    for at in range(1 + noise[0] % 3):
        day, kind, count = 20_000 + noise[1 + at], noise[4 + at] % 3, 1 + noise[7 + at] % 7
        pairs = [(noise[10 + pair], 1 + noise[17 + pair] * 997) for pair in range(count)]
        amount += (kind + 1) * sum(units for _, units in pairs)
        groups.append((day, kind, pairs))
    return pack_leaf(1 + number, 1 + noise[31] % 3, groups), amount


def ranges(size: int) -> list[tuple[int, int]]:
    """Where proofs are taken: (first, count), both ends, the whole of a small tree, and some at random."""
    chance = random.Random(size)
    most = min(size, 40)
    found = {(0, 1), (size - 1, 1), (0, most), (size - most, most)}
    for _ in range(3):
        count = chance.randint(1, most)
        found.add((chance.randint(0, size - count), count))
    return sorted(found)


def trees() -> dict[str, list[Any]]:
    """One entry a proof, as parallel lists, which is how forge reads them."""
    table: dict[str, list[Any]] = {
        key: [] for key in ("sizes", "firsts", "counts", "leaves", "proofs", "roots", "totals")
    }
    for size in SIZES:
        claims = [tree_leaf(size, number) for number in range(size)]
        nodes = [leaf_node(*claim) for claim in claims]
        root, total = top(nodes)
        for first, count in ranges(size):
            chosen = claims[first : first + count]
            packed = b"".join(big(len(leaf), 3) + big(amount, 12) + leaf for leaf, amount in chosen)
            row = (
                size,
                first,
                count,
                hexed(packed),
                hexed(prove(nodes, set(range(first, first + count)))),
            )
            for key, value in zip(table, (*row, hexed(root), str(total)), strict=True):
                table[key].append(value)
    return table


def leaves() -> dict[str, list[Any]]:
    table: dict[str, list[Any]] = {key: [] for key in ("names", "packed", "amounts", "hashes")}
    full = [(2**24 - 1, 2**24 - 1)] * 3
    cases: list[tuple[str, bytes, int]] = [
        ("one view", pack_leaf(1, 1, [(20_726, 0, [(0, 1)])]), 10**7),
        ("free", pack_leaf(1, 1, [(20_726, 0, [(0, 0)])]), 0),
        (
            "two days, three kinds",
            pack_leaf(
                12,
                3,
                [(20_725, 0, [(3, 7), (4, 1)]), (20_726, 1, [(3, 2)]), (20_726, 2, [(3, 1_800)])],
            ),
            8 * 10**7 + 2 * 5 * 10**8 + 1_800 * 10**5,
        ),
        ("the largest numbers", pack_leaf(2**32 - 1, 2**16 - 1, [(2**16 - 1, 2, full)]), 2**96 - 1),
        ("nothing at all", b"", 5),
    ]
    for name, packed, amount in cases:
        row = (name, hexed(packed), str(amount), hexed(leaf_node(packed, amount)[0]))
        for key, value in zip(table, row, strict=True):
            table[key].append(value)
    return table


def node() -> dict[str, Any]:
    left, right = (keccak(b"left"), 2**96 - 6), (keccak(b"right"), 5)
    hash_, total = join(left, right)
    return {
        "left": hexed(left[0] + big(left[1], 12)),
        "right": hexed(right[0] + big(right[1], 12)),
        "hash": hexed(hash_),
        "sum": str(total),
    }


def faults() -> dict[str, list[Any]]:
    """Leaves of a deal (catalogue 1, version 1) from day 100 to before day 200 at 10, 20 and 30 nano-tokens, the
    tally's day being 210, with why they are void; 0 where they are not."""
    table: dict[str, list[Any]] = {key: [] for key in ("names", "packed", "amounts", "reasons")}
    good = pack_leaf(1, 1, [(100, 0, [(0, 3)]), (199, 1, [(1, 2), (2, 1)]), (150, 2, [(0, 4)])])
    one = pack_leaf(1, 1, [(150, 0, [(0, 3)])])
    tail = pack_leaf(1, 1, [(150, 0, [(0, 3)]), (150, 0, [(0, 3)])])
    cases: list[tuple[str, bytes, int, int]] = [
        ("good", good, 3 * 10 + 3 * 20 + 4 * 30, 0),
        ("of no units", pack_leaf(1, 1, [(150, 0, [(0, 0)])]), 0, 0),
        ("of a work twice", pack_leaf(1, 1, [(150, 0, [(0, 1), (0, 2)])]), 30, 0),
        ("empty", b"", 0, 1),
        ("a deal without usage", one[:6], 0, 1),
        ("a group without pairs", pack_leaf(1, 1, [(150, 0, [])]), 0, 1),
        ("a group without pairs behind one", tail[:17] + big(150, 2) + b"\x00\x00\x00", 30, 1),
        *((f"cut by {cut}", tail[:-cut], 60 - 30 * (cut < 11), 1) for cut in range(1, 11)),
        *((f"cut to {length}", one[:length], 30, 1) for length in range(1, 17)),
        ("of an unknown catalogue", pack_leaf(99, 1, [(150, 0, [(0, 3)])]), 30, 2),
        ("of an unknown version", pack_leaf(1, 2, [(150, 0, [(0, 3)])]), 30, 2),
        ("of the fourth kind", pack_leaf(1, 1, [(150, 3, [(0, 3)])]), 30, 3),
        ("of the last kind", pack_leaf(1, 1, [(150, 255, [(0, 3)])]), 30, 3),
        ("a day after the tally", pack_leaf(1, 1, [(211, 0, [(0, 3)])]), 30, 4),
        ("the last day there is", pack_leaf(1, 1, [(65_535, 0, [(0, 3)])]), 30, 4),
        ("a day before the deal", pack_leaf(1, 1, [(99, 0, [(0, 3)])]), 30, 5),
        ("the first day there is", pack_leaf(1, 1, [(0, 0, [(0, 3)])]), 30, 5),
        ("the day on which the deal ends", pack_leaf(1, 1, [(200, 0, [(0, 3)])]), 30, 5),
        (
            "the second group too late",
            pack_leaf(1, 1, [(150, 0, [(0, 3)]), (210, 0, [(0, 1)])]),
            40,
            5,
        ),
        ("one nano-token too little", one, 29, 6),
        ("one nano-token too much", one, 31, 6),
        ("nothing claimed", one, 0, 6),
        ("everything claimed", one, 2**95, 6),
    ]
    for name, packed, amount, reason in cases:
        for key, value in zip(table, (name, hexed(packed), str(amount), reason), strict=True):
            table[key].append(value)
    return table


def main() -> int:
    vectors = {"leaves": leaves(), "node": node(), "faults": faults(), "trees": trees()}
    text = json.dumps(vectors, indent=1) + "\n"
    if "--check" not in sys.argv:
        PATH.write_text(text)
    elif PATH.read_text() != text:
        print(
            "tests/vectors/tally.json is not what tests/vectors/make_tally.py computes",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
