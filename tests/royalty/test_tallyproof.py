"""Proof files without any chain: what follows from a root, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from royalty.errors import InputError
from royalty.evidence import canonical
from royalty.merkle import Claim, DayGroup, Leaf, make_tree
from royalty.tallies import verify
from royalty.tallyproof import Proof, ProofLeaf, faults, parse_proof, rows_of
from royalty.usage import Kind, WorkRef

DAY = 20_000
PRICES = {Kind.VIEW: 3_000_000, Kind.DOWNLOAD: 500_000_000}
WORK = WorkRef(3, 7)


def leaf(catalogue: int) -> Leaf:
    """Two works on two days, views and downloads; one work's units of a day are several pairs."""
    views = DayGroup(DAY, Kind.VIEW, ((7, 10), (7, 5), (8, 1)))
    return Leaf(catalogue, 1, (views, DayGroup(DAY + 1, Kind.DOWNLOAD, ((7, 2), (9, 1)))))


def cost(one: Leaf) -> int:
    return sum(PRICES[group.kind] * units for group in one.groups for _, units in group.pairs)


LEAVES = [leaf(catalogue) for catalogue in range(1, 6)]
CLAIMS = [Claim(one.pack(), cost(one)) for one in LEAVES]
TREE = make_tree(claim.node for claim in CLAIMS)


@pytest.fixture
def proof() -> Proof:
    """The proof of a work in the third of five leaves."""
    held = ProofLeaf(2, CLAIMS[2], TREE.prove(2), PRICES, rows_of(LEAVES[2], 7, PRICES))
    address = "0x" + "1" * 40
    return Proof(
        31337, bytes(32), address, address, 4, DAY + 1, TREE.root, TREE.total, 5, WORK, (held,)
    )


def changed(proof: Proof, /, **fields: object) -> Proof:
    """The proof with its leaf changed."""
    return replace(proof, holding=(replace(proof.holding[0], **fields),))  # type: ignore[arg-type]


def whats(proof: Proof) -> list[str]:
    return [fault.what for fault in faults(proof)]


def test_an_honest_proof_has_no_fault_and_reads_back_as_it_was_written(proof: Proof) -> None:
    assert faults(proof) == []
    assert parse_proof(proof.to_bytes()) == proof
    assert proof.amount_nano == 15 * 3_000_000 + 2 * 500_000_000
    assert [row.units for row in proof.holding[0].rows] == [15, 2]


def test_whitespace_in_the_file_changes_nothing(proof: Proof) -> None:
    import json

    assert parse_proof(json.dumps(proof.document(), indent=4).encode()) == proof


def test_prices_and_rows_that_agree_with_each_other_must_make_up_the_leafs_amount(
    proof: Proof,
) -> None:
    dearer = {kind: 2 * price for kind, price in PRICES.items()}
    lied = changed(proof, prices=dearer, rows=rows_of(LEAVES[2], 7, dearer))
    assert whats(lied) == ["amount of leaf 2 at its prices"]


def test_a_total_that_the_tree_does_not_have_is_found_even_where_the_same_is_given(
    proof: Proof,
) -> None:
    lied = replace(proof, total_nano=proof.total_nano + 1)
    assert whats(lied) == ["total over leaf 2"]
    assert not verify(None, lied, root=lied.root, total_nano=lied.total_nano).ok
    assert verify(None, proof, root=proof.root, total_nano=proof.total_nano).ok


def test_a_leaf_must_stand_at_its_place_with_its_bytes_and_amount(proof: Proof) -> None:
    claim = CLAIMS[2]
    assert whats(changed(proof, index=3))
    assert whats(changed(proof, claim=CLAIMS[1], rows=rows_of(LEAVES[1], 7, PRICES)))
    assert "root over leaf 2" in whats(changed(proof, claim=Claim(claim.leaf, claim.amount + 1)))
    assert "root over leaf 2" in whats(
        changed(proof, claim=Claim(claim.leaf + b"\0", claim.amount))
    )
    for cut in (TREE.prove(2)[:-44], TREE.prove(2)[:-1], TREE.prove(2) + bytes(44), b""):
        assert whats(changed(proof, proof=cut)) == ["proof of leaf 2"]
    assert whats(changed(proof, index=5)) == ["proof of leaf 2".replace("2", "5")]


def test_rows_are_all_those_of_the_work_and_no_others(proof: Proof) -> None:
    rows = proof.holding[0].rows
    for other in (rows[:1], rows[1:], (), (*rows, rows[0]), rows[::-1]):
        assert whats(changed(proof, rows=other)) == ["rows of leaf 2"]
    assert whats(replace(proof, work=WorkRef(3, 8))) == ["rows of leaf 2"]
    assert "work in leaf 2" in whats(replace(proof, work=WorkRef(4, 7)))
    assert "work in leaf 2" in whats(replace(proof, work=WorkRef(3, 6)))


def test_prices_are_those_of_the_kinds_that_occur(proof: Proof) -> None:
    for prices in ({}, {Kind.VIEW: 3_000_000}, PRICES | {Kind.EXCERPT: 1}):
        assert whats(changed(proof, prices=prices)) == ["prices of leaf 2"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "royalty-tally-proof-2"),
        ("chain_id", -1),
        ("chain_id", True),
        ("chain_id", "1"),
        ("leaves", 0),
        ("leaves", 2**24),
        ("batch", 0),
        ("total_nano", 5),
        ("total_nano", "05"),
        ("total_nano", "-5"),
        ("total_nano", "５"),
        ("total_nano", str(2**96)),
        ("root", "0x12"),
        ("root", "0x" + "A" * 64),
        ("contract", "0x" + "f" * 40),
        ("day", "2026-02-30"),
        ("work", "3/07"),
        ("holding", []),
        ("holding", {}),
        ("holding", [1]),
    ],
)
def test_a_field_of_another_shape_is_refused_by_name(
    proof: Proof, field: str, value: object
) -> None:
    with pytest.raises(InputError, match="format" if field == "format" else field):
        parse_proof(canonical({**proof.document(), field: value}))


def test_a_leaf_that_stands_twice_is_refused(proof: Proof) -> None:
    twice = replace(proof, holding=proof.holding * 2)
    with pytest.raises(InputError, match="each once"):
        parse_proof(twice.to_bytes())
