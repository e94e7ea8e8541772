"""Tallies' trees: the vectors, the plain tree of tests/vectors, and proofs that were changed."""

from __future__ import annotations

import importlib.util
import json
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from royalty import merkle
from royalty.errors import InputError
from royalty.merkle import Claim, DayGroup, DayLine, Leaf, LeafFault, leaves_of, make_tree, verify
from royalty.usage import Kind, Tariff

VECTORS = Path(__file__).parents[1] / "vectors"
CLAIMS = st.lists(
    st.builds(Claim, st.binary(max_size=40), st.integers(0, 2**70)), min_size=1, max_size=60
)


def load_plain() -> ModuleType:
    """The independent implementation that writes the vectors."""
    spec = importlib.util.spec_from_file_location("make_tally", VECTORS / "make_tally.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plain = load_plain()
tally: dict[str, Any] = json.loads((VECTORS / "tally.json").read_text())


def unhex(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def rows(table: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]


def unpack_claims(packed: bytes) -> list[Claim]:
    claims, at = [], 0
    while at < len(packed):
        end = at + 15 + int.from_bytes(packed[at : at + 3], "big")
        claims.append(Claim(packed[at + 15 : end], int.from_bytes(packed[at + 3 : at + 15], "big")))
        at = end
    return claims


def proven(claims: list[Claim], first: int, count: int) -> tuple[Any, ...]:
    """What `verify` takes for a range of a tree over claims."""
    tree = make_tree(claim.node for claim in claims)
    chosen = claims[first : first + count]
    return chosen, first, len(claims), tree.prove(first, count), tree.root, tree.total


# --- The vectors ---


def test_the_committed_vectors_are_what_the_plain_implementation_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["make_tally.py", "--check"])
    assert plain.main() == 0


@pytest.mark.parametrize("row", rows(tally["leaves"]), ids=lambda row: row["names"])
def test_leaves_hash_as_in_the_vectors(row: dict[str, Any]) -> None:
    node = merkle.leaf_node(unhex(row["packed"]), int(row["amounts"]))
    assert node == unhex(row["hashes"]) + int(row["amounts"]).to_bytes(12, "big")


def test_nodes_join_as_in_the_vectors() -> None:
    node = tally["node"]
    tree = make_tree([unhex(node["left"]), unhex(node["right"])])
    assert (tree.root, tree.total) == (unhex(node["hash"]), int(node["sum"]))


@pytest.mark.parametrize("row", rows(tally["faults"]), ids=lambda row: row["names"])
def test_faults_are_those_of_the_vectors(row: dict[str, Any]) -> None:
    packed = unhex(row["packed"])
    known = packed[:6] == bytes.fromhex("000000010001")
    tariff = Tariff(10, 20, 30) if known else None
    assert merkle.fault_of(packed, int(row["amounts"]), tariff, 100, 200, 210) == row["reasons"]


@pytest.mark.parametrize("size", sorted(set(tally["trees"]["sizes"])))
def test_trees_are_those_of_the_vectors(size: int) -> None:
    tree = make_tree(merkle.leaf_node(*plain.tree_leaf(size, number)) for number in range(size))
    for row in rows(tally["trees"]):
        if row["sizes"] != size:
            continue
        assert (tree.root, tree.total) == (unhex(row["roots"]), int(row["totals"]))
        claims = unpack_claims(unhex(row["leaves"]))
        assert merkle.pack_claims(claims) == unhex(row["leaves"])
        proof = tree.prove(row["firsts"], row["counts"])
        assert proof == unhex(row["proofs"])
        assert verify(claims, row["firsts"], size, proof, tree.root, tree.total)


# --- Trees and proofs ---


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5_000), st.integers(0, 2**64))
def test_trees_equal_the_plain_ones_at_any_size(size: int, seed: int) -> None:
    chance = random.Random(seed)
    nodes = [(chance.randbytes(32), chance.randrange(2**64)) for _ in range(size)]
    tree = make_tree(hash_ + amount.to_bytes(12, "big") for hash_, amount in nodes)
    assert (tree.root, tree.total) == plain.top(nodes)
    count = chance.randint(1, min(size, 200))
    first = chance.randint(0, size - count)
    assert tree.prove(first, count) == plain.prove(nodes, set(range(first, first + count)))
    assert tree.amount(first) == nodes[first][1]


@settings(deadline=None)
@given(CLAIMS, st.data())
def test_a_proof_changed_in_any_field_fails(claims: list[Claim], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(claims)))
    first = data.draw(st.integers(0, len(claims) - count))
    chosen, first, leaves, proof, root, total = proven(claims, first, count)
    assert verify(chosen, first, leaves, proof, root, total)
    at = data.draw(st.integers(0, count - 1))
    flip = data.draw(st.integers(1, 255))
    leaf, amount = chosen[at].leaf, chosen[at].amount

    def replaced(claim: Claim) -> list[Claim]:
        return [*chosen[:at], claim, *chosen[at + 1 :]]

    assert not verify(replaced(Claim(leaf + b"\x00", amount)), first, leaves, proof, root, total)
    assert not verify(replaced(Claim(leaf, amount ^ flip)), first, leaves, proof, root, total)
    if leaf:
        changed = bytes([leaf[0] ^ flip]) + leaf[1:]
        assert not verify(replaced(Claim(changed, amount)), first, leaves, proof, root, total)
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        changed = proof[:place] + bytes([proof[place] ^ flip]) + proof[place + 1 :]
        assert not verify(chosen, first, leaves, changed, root, total)
        assert not verify(chosen, first, leaves, proof[:-1], root, total)
    assert not verify(chosen, first, leaves, proof + b"\x00", root, total)
    assert not verify(chosen, first, leaves, proof, bytes(32), total)
    assert not verify(chosen, first, leaves, proof, root, total + 1)
    assert not verify(chosen, leaves - count + 1, leaves, proof, root, total)
    assert not verify([], first, leaves, proof, root, total)


def test_a_sum_that_does_not_fit_the_ledger_is_refused() -> None:
    most = merkle.leaf_node(b"", merkle.MAX_NANO)
    assert make_tree([most, merkle.leaf_node(b"", 0)]).total == merkle.MAX_NANO
    with pytest.raises(InputError, match="does not fit"):
        make_tree([most, merkle.leaf_node(b"", 1)])
    with pytest.raises(InputError, match="does not fit"):
        merkle.leaf_node(b"", merkle.MAX_NANO + 1)


def test_a_tree_of_no_leaf_is_refused() -> None:
    with pytest.raises(InputError, match="1 to"):
        make_tree([])


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (0, 0), (3, 1), (2, 2)])
def test_a_place_outside_the_tree_is_refused(first: int, count: int) -> None:
    tree = make_tree(merkle.leaf_node(b"", number) for number in range(3))
    with pytest.raises(InputError, match="leaves 0 to 2"):
        tree.prove(first, count)


# --- Leaves ---


def test_a_leaf_holds_all_days_and_kinds_of_its_deal() -> None:
    lines = [
        DayLine(1, 1, 100, Kind.VIEW, 3, 7),
        DayLine(1, 1, 100, Kind.VIEW, 4, 1),
        DayLine(1, 1, 100, Kind.EXCERPT, 3, 0),
        DayLine(1, 1, 101, Kind.DOWNLOAD, 3, 2),
        DayLine(1, 2, 102, Kind.VIEW, 3, 5),
    ]
    first, second = leaves_of(lines)
    assert first.groups == (
        DayGroup(100, Kind.VIEW, ((3, 7), (4, 1))),
        DayGroup(101, Kind.DOWNLOAD, ((3, 2),)),
    )
    assert (second.catalogue, second.version) == (1, 2)
    tariff = Tariff(10, 20, 30)
    assert first.cost(tariff) == 8 * 10 + 2 * 20
    assert merkle.fault_of(first.pack(), 120, tariff, 100, 102, 102) is LeafFault.NONE


def test_units_that_a_pair_cannot_hold_become_several() -> None:
    (leaf,) = leaves_of([DayLine(1, 1, 100, Kind.VIEW, 3, 2**25)])
    assert [units for _, units in leaf.groups[0].pairs] == [2**24 - 1, 2**24 - 1, 2]


def test_a_leaf_that_would_be_too_long_is_split_without_losing_a_unit() -> None:
    lines = [DayLine(1, 1, 100 + n % 3, Kind(n % 2), n, n + 1) for n in range(500)]
    leaves = list(leaves_of(sorted(lines), most=100))
    assert all(len(leaf.pack()) <= 100 for leaf in leaves)
    assert len(leaves) > 30
    found = sorted(
        DayLine(leaf.catalogue, leaf.version, group.day, group.kind, *pair)
        for leaf in leaves
        for group in leaf.groups
        for pair in group.pairs
    )
    assert found == sorted(lines)


@given(
    st.builds(
        Leaf,
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**16 - 1),
        st.lists(
            st.builds(
                DayGroup,
                st.integers(0, 2**16 - 1),
                st.sampled_from(Kind),
                st.lists(
                    st.tuples(st.integers(0, 2**24 - 1), st.integers(0, 2**24 - 1)), min_size=1
                ).map(tuple),
            ),
            min_size=1,
        ).map(tuple),
    )
)
def test_leaves_pack_as_the_plain_ones_and_unpack_to_themselves(leaf: Leaf) -> None:
    groups = [(group.day, int(group.kind), list(group.pairs)) for group in leaf.groups]
    assert leaf.pack() == plain.pack_leaf(leaf.catalogue, leaf.version, groups)
    assert merkle.unpack_leaf(leaf.pack()) == leaf


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_cut_leaf_is_refused(cut: int) -> None:
    packed = Leaf(1, 1, (DayGroup(100, Kind.VIEW, ((3, 7),)),)).pack()
    with pytest.raises(InputError, match="malformed"):
        merkle.unpack_leaf(packed[:-cut])


@given(st.binary(max_size=60), st.integers(0, 2**40))
def test_any_bytes_have_a_fault_or_none(packed: bytes, amount: int) -> None:
    fault = merkle.fault_of(packed, amount, Tariff(1, 2, 3), 0, 0, 2**16 - 1)
    assert isinstance(fault, LeafFault)


def test_the_vector_of_the_document_is_true() -> None:
    text = (VECTORS.parents[1] / "docs" / "protocol.md").read_text()
    leaves = [plain.pack_leaf(number, 1, [(20_726, 0, [(0, number)])]) for number in (1, 2, 3)]
    claims = [Claim(leaf, number * 10**7) for number, leaf in enumerate(leaves, 1)]
    tree = make_tree(claim.node for claim in claims)
    shown = [*leaves, tree.root, *(tree.levels[1][:32], tree.prove(1)[:44], tree.prove(2))]
    assert [value.hex() in text for value in shown] == [True] * len(shown)
