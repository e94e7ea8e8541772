"""What settling costs at most, against receipts; and how leaves are cut into transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.batches import MAX_TRANSACTION_GAS
from royalty.merkle import (
    NODE_BYTES,
    Claim,
    DayGroup,
    Leaf,
    make_tree,
    neighbours,
    pack_claims,
)
from royalty.settling import MAX_SETTLE_BYTES, joined, run_gas, settle_gas, spans
from royalty.usage import Kind, Tariff
from tests.conftest import Anvil

TARIFF = Tariff(3_000_000, 5_000_000, 100_000)
FROM = 19_723  # 2024-01-01
DEALS = 128
WITHIN_PERCENT = 25


def claim(leaf: Leaf) -> Claim:
    return Claim(leaf.pack(), leaf.cost(TARIFF))


def one(catalogue: int, units: int = 3, kind: Kind = Kind.VIEW) -> Claim:
    """A leaf of one work on one day."""
    return claim(Leaf(catalogue, 1, (DayGroup(FROM + 5, kind, ((7, units),)),)))


def month(catalogue: int = 1, works: int = 20, units: int = 100) -> Claim:
    """A leaf of 30 days, each with so many works."""
    pairs = tuple((index, units + index) for index in range(works))
    return claim(
        Leaf(catalogue, 1, tuple(DayGroup(FROM + day, Kind.VIEW, pairs) for day in range(30)))
    )


# --- receipts ---


@dataclass
class Settler:
    """A platform on an Anvil with deals to settle into."""

    session: Any
    batch: int = 0
    claims: list[Claim] = field(default_factory=list)

    def call(self, function: str, *args: Any) -> Any:
        from royalty.chain.ledger import Call

        ledger = self.session.ledger
        head = (self.session.platform, self.batch)
        return self.session.send(Call(ledger.address, function, (*head, *args), function))

    def post(self, claims: list[Claim]) -> None:
        """Post a tally of these leaves."""
        self.batch += 1
        self.claims, self.tree = claims, make_tree(one.node for one in claims)
        size, total = len(claims), self.tree.total
        day = self.session.today()
        self.call("post", day, self.tree.root, size, total, bytes(32), bytes(32), "")

    def settle(self, first: int, count: int) -> tuple[int, int]:
        """Settle neighbours; return the receipt's gas and how many leaves it settled or voided."""
        run = pack_claims(self.claims[first : first + count])
        landed = self.call("settle", first, run, self.tree.prove(first, count))
        events = [e for e in landed.events if e.name in ("LeafSettled", "LeafVoid")]
        return landed.gas_used, len(events)

    def bound(self, first: int, count: int, **options: Any) -> int:
        run = self.claims[first : first + count]
        return run_gas(run, first, len(self.claims), **options)


@pytest.fixture(scope="module")
def settler(
    anvil: Anvil, ledger: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settler]:
    from royalty import Royalty
    from royalty.shares import Share, make_split

    session = Royalty.connect(
        account="dev0",
        rpc=anvil.rpc,
        contract=ledger["royalty"],
        folder=tmp_path_factory.mktemp("settler"),
    )
    split = make_split([Share(session.account.address, 1_000_000)])
    for _ in range(DEALS):
        session.send(session.ledger.open(split, TARIFF, FROM))
    session.platforms.deposit(500_000 * 10**6)
    yield Settler(session)


def wide() -> list[Claim]:
    """More leaves than deals, so that a run lies deep in a tree and meets a deal again."""
    return [one(1 + place % DEALS, 3 + place) for place in range(1_500)]


CASES: dict[str, tuple[Callable[[], list[Claim]], int, int]] = {
    "the only leaf": (lambda: [one(1)], 0, 1),
    "10 of 10 leaves": (lambda: [one(1 + place) for place in range(10)], 0, 10),
    "128 of 128 leaves": (lambda: [one(1 + place) for place in range(DEALS)], 0, DEALS),
    "30 days of 20 works": (lambda: [month()], 0, 1),
    **{
        f"20 days of {works} works of each kind": (
            lambda works=works: [
                claim(
                    Leaf(
                        1,
                        1,
                        tuple(
                            DayGroup(FROM + day, kind, tuple((w, 77 + w) for w in range(works)))
                            for day in range(20)
                            for kind in Kind
                        ),
                    )
                )
            ],
            0,
            1,
        )
        for works in range(1, 12)
    },
    "30 days of 20 works among others": (lambda: [one(1), month(), one(2), one(3)], 1, 1),
    "1 leaf of 1,500": (wide, 999, 1),
    "10 leaves of 1,500": (wide, 251, 10),
    "128 leaves of 1,500": (wide, 300, DEALS),
    "1,000 leaves of 1,500": (wide, 100, 1_000),
    "4,000 works on a day": (
        lambda: [
            claim(
                Leaf(
                    1,
                    1,
                    (DayGroup(FROM, Kind.VIEW, tuple((w, 0x111 + w) for w in range(4_000))),),
                )
            )
        ],
        0,
        1,
    ),
    "900 groups of a work": (
        lambda: [
            claim(
                Leaf(
                    1,
                    1,
                    tuple(DayGroup(FROM + d, k, ((5, 70),)) for d in range(300) for k in Kind),
                )
            )
        ],
        0,
        1,
    ),
    "100 leaves of two kinds": (
        lambda: [
            claim(
                Leaf(
                    1 + place,
                    1,
                    (
                        DayGroup(FROM, Kind.VIEW, ((1, 1),)),
                        DayGroup(FROM, Kind.DOWNLOAD, ((2, 1),)),
                    ),
                )
            )
            for place in range(100)
        ],
        0,
        100,
    ),
}


@pytest.mark.chain
@pytest.mark.parametrize("case", CASES)
def test_the_bound_of_settling_is_no_less_than_the_receipt_and_at_most_a_quarter_above(
    settler: Settler, case: str
) -> None:
    make, first, count = CASES[case]
    settler.post(make())
    used, settled = settler.settle(first, count)
    bound = settler.bound(first, count)
    assert settled == count
    assert used <= bound, f"{case}: {bound:,} is below the receipt's {used:,}"
    assert 100 * bound <= (100 + WITHIN_PERCENT) * used, f"{case}: {bound:,} for {used:,}"


def shaped(catalogue: int, groups: int, pairs: int) -> Claim:
    """A leaf of so many groups of so many pairs each."""
    held = tuple((65_000 + index, 17 + index) for index in range(pairs))
    days = [(FROM + day, kind) for day in range(groups // 3 + 1) for kind in Kind][:groups]
    return claim(Leaf(catalogue, 1, tuple(DayGroup(*one, held) for one in days)))


@pytest.mark.chain
@pytest.mark.parametrize("pairs", [1, 2, 3, 4, 5, 6, 9, 14, 15, 31])
@pytest.mark.parametrize("groups", [2, 60, 250])
def test_the_bound_holds_for_groups_of_every_shape(
    settler: Settler, groups: int, pairs: int
) -> None:
    settler.post([shaped(1, groups, pairs)])
    used, _ = settler.settle(0, 1)
    bound = settler.bound(0, 1)
    assert used <= bound <= used * (100 + WITHIN_PERCENT) // 100, (used, bound)


@pytest.mark.chain
@pytest.mark.parametrize("seed", range(8))
def test_the_bound_holds_for_runs_of_leaves_of_all_shapes(settler: Settler, seed: int) -> None:
    rng = Random(seed)
    settler.post(
        [
            shaped(rng.randint(1, DEALS), rng.randint(1, 30), rng.randint(1, 12))
            for _ in range(rng.randint(2, 300))
        ]
    )
    first = rng.randrange(len(settler.claims))
    count = min(rng.randint(1, 40), len(settler.claims) - first)
    used, _ = settler.settle(first, count)
    bound = settler.bound(first, count)
    assert used <= bound <= used * (100 + WITHIN_PERCENT) // 100, (used, bound)


@pytest.mark.chain
def test_the_bound_knows_what_settled_leaves_and_their_word_of_bits_cost(settler: Settler) -> None:
    settler.post([one(1 + place) for place in range(DEALS)])
    settler.settle(20, 100)
    closed = set(range(20, 120))
    for first, count, left in ((5, 1, 1), (30, 80, 0), (6, 122, 22)):
        used, settled = settler.settle(first, count)
        bound = settler.bound(first, count, closed=closed)
        assert settled == left
        assert used <= bound <= used * (100 + WITHIN_PERCENT) // 100, (first, count, used, bound)
        closed |= set(range(first, first + count))


@pytest.mark.chain
@pytest.mark.parametrize(
    "claims",
    [
        [one(900_000)],
        [one(900_000 + place) for place in range(40)],
        [Claim(one(1).leaf, 5)],
        [Claim(month().leaf, 5)],
        [Claim(one(1).leaf[:-1], 5)],
        [Claim(b"", 5)],
        [Claim(one(1).leaf + bytes(3_000), 5)],
    ],
    ids=["no deal", "no deals", "wrong price", "wrong price of a month", "cut", "empty", "zeros"],
)
def test_the_bound_holds_for_leaves_that_turn_out_void(
    settler: Settler, claims: list[Claim]
) -> None:
    settler.post(claims)
    used, settled = settler.settle(0, len(claims))
    assert settled == len(claims)
    assert used <= settler.bound(0, len(claims))


# --- how they are cut ---

LEAVES = [one(1 + place % 300, place) for place in range(4_000)] + [month(works=300)] * 6


@pytest.mark.parametrize("gas_limit", [300_000, 1_500_000, MAX_TRANSACTION_GAS, 60_000_000])
def test_every_leaf_is_in_exactly_one_transaction_and_each_fits(gas_limit: int) -> None:
    found = list(spans(LEAVES, len(LEAVES), gas_limit=gas_limit))
    assert [index for span in found for index in span.indexes] == list(range(len(LEAVES)))
    assert len(found) > 1
    for span in found:
        run = LEAVES[span.first : span.first + span.count]
        proof = len(list(neighbours(span.first, span.count, len(LEAVES)))) * NODE_BYTES
        assert span.gas == run_gas(run, span.first, len(LEAVES))
        alone = span.count == 1
        assert alone or span.gas <= min(gas_limit, MAX_TRANSACTION_GAS)
        assert alone or len(pack_claims(run)) + proof <= MAX_SETTLE_BYTES


def test_transactions_are_filled() -> None:
    found = list(spans(LEAVES[:4_000], len(LEAVES)))
    assert [span.gas * 100 // MAX_TRANSACTION_GAS for span in found[:-1]] == [89] * (len(found) - 1)


def test_settling_everything_costs_what_its_transactions_cost() -> None:
    assert settle_gas(LEAVES, len(LEAVES)) == sum(span.gas for span in spans(LEAVES, len(LEAVES)))
    assert settle_gas(LEAVES[:1], 1) == run_gas(LEAVES[:1], 0, 1)


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_runs_hold_every_chosen_leaf_and_no_open_one_that_nobody_chose(chosen, closed) -> None:
    runs = list(joined(chosen, LEAVES, closed=closed))
    held = [index for first, count in runs for index in range(first, first + count)]
    assert held == sorted(set(held))
    assert chosen <= set(held)
    assert set(held) - chosen <= closed


def test_settled_leaves_between_are_crossed_only_where_that_is_cheaper_than_a_transaction() -> None:
    assert list(joined([0, 2], LEAVES, closed={1})) == [(0, 3)]
    assert list(joined([0, 2], LEAVES)) == [(0, 1), (2, 1)]
    assert list(joined([0, 500], LEAVES, closed=set(range(1, 500)))) == [(0, 1), (500, 1)]
    for gap in (2, 10, 20, 30, 500):
        closed = set(range(1, gap))
        together = run_gas(LEAVES[: gap + 1], 0, len(LEAVES), closed=closed)
        apart = sum(run_gas([LEAVES[at]], at, len(LEAVES), closed=closed) for at in (0, gap))
        if len(list(joined([0, gap], LEAVES, closed=closed))) == 1:
            assert together < apart
