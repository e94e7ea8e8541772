"""Solvency with tallies: what is posted and unsettled is owed, shown by age, and said by events alone."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from royalty.audit import Difference, Figures, differences, replay, solvency
from royalty.chain.events import Event
from royalty.days import format_day
from royalty.merkle import Claim, DayLine, LeafFault
from royalty.shares import Share, make_split
from royalty.usage import Kind, Tariff
from tests.royalty.test_audit import DEALS, PLATFORMS, SPLITS, UNIT, Twin
from tests.royalty.test_audit import TARIFF as TWIN_TARIFF
from tests.tallies import Posted, claims_of, lying_tree, post

DAY = 20_000


class TallyTwin(Twin):
    """The plain ledger with tallies of one view a leaf; every third leaf claims too much."""

    def __init__(self) -> None:
        super().__init__()
        self.open: dict[tuple[str, int], list[tuple[int, tuple[int, int], Claim]]] = {}

    def post(self, platform: str, deals: list[tuple[int, int]]) -> None:
        lines = [DayLine(*deal, DAY, Kind.VIEW, at, 1 + at) for at, deal in enumerate(deals)]
        honest = [claims_of([line], dict.fromkeys(SPLITS, TWIN_TARIFF))[0] for line in lines]
        claims = [Claim(c.leaf, c.amount + (at % 3 == 2)) for at, c in enumerate(honest)]
        total = sum(claim.amount for claim in claims)
        if total > self.state.funds[platform]:
            return
        key = platform, len(self.events)
        self.open[key] = list(zip(range(len(claims)), deals, claims, strict=True))
        self.state.funds[platform] -= total
        self.state.unsettled[key] += total
        self.emit("TallyPosted", platform=platform, batch=key[1], total=total, day=DAY)

    def settle(self, dice: random.Random) -> None:
        left = [key for key, leaves in self.open.items() if leaves]
        if not left:
            return
        key = dice.choice(left)
        index, deal, claim = self.open[key].pop(dice.randrange(len(self.open[key])))
        self.state.unsettled[key] -= claim.amount
        told = {"platform": key[0], "batch": key[1], "index": index, "amount": claim.amount}
        if index % 3 == 2:
            self.state.funds[key[0]] += claim.amount
            self.emit("LeafVoid", **told, leaf=claim.leaf, reason=LeafFault.AMOUNT_MISMATCH)
        else:
            self.state.accrued[deal] += claim.amount
            self.emit("LeafSettled", **told, leaf=claim.leaf)

    def close(self, dice: random.Random) -> None:
        left = [key for key, leaves in self.open.items() if leaves]
        if not left:
            return
        key = dice.choice(left)
        index, _, claim = self.open[key].pop()
        self.state.unsettled[key] -= claim.amount
        self.state.funds[key[0]] += claim.amount
        told = {"platform": key[0], "batch": key[1], "index": index, "amount": claim.amount}
        self.emit("NodeVoid", **told, level=0)

    def live_with_tallies(self, seed: int, steps: int) -> TallyTwin:
        dice = random.Random(seed)
        for at in range(steps):
            self.live(seed + at, 2)
            self.post(dice.choice(PLATFORMS), dice.choices(list(SPLITS), k=dice.randrange(1, 6)))
            for step in (self.settle, self.settle, self.close):
                if dice.random() < 0.6:
                    step(dice)
        return self


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 20))
def test_events_alone_give_what_is_unsettled_whatever_their_order(seed: int, steps: int) -> None:
    twin = TallyTwin().live_with_tallies(seed, steps)
    figures, wrong = replay(random.Random(seed).sample(twin.events, len(twin.events)), DEALS, UNIT)
    assert wrong == []
    assert differences(twin.state, figures) == []
    assert UNIT.to_nano(twin.tokens) == figures.owed
    assert Figures(unsettled={(PLATFORMS[0], 1): 7}).owed == 7


def twin_of_two_leaves() -> TallyTwin:
    """A twin that posted two leaves of 1 and 2 views, paid both, and lets a test change the last."""
    twin = TallyTwin()
    twin.deposit(PLATFORMS[0], 10**9)
    twin.post(PLATFORMS[0], [(1, 1), (2, 1)])
    for _ in range(2):
        twin.settle(random.Random(1))
    return twin


def test_a_settled_leaf_that_is_not_units_times_price_is_named() -> None:
    twin = twin_of_two_leaves()
    args = twin.events[-1].args
    args["amount"] += 5
    _, wrong = replay(twin.events, DEALS, UNIT)
    name = f"leaf {args['index']} of tally 1 of {PLATFORMS[0]}"
    assert wrong == [Difference("leaf", name, args["amount"], args["amount"] - 5)]


@pytest.mark.parametrize(
    ("day", "leaf"),
    [(DAY - 1, None), (DAY, b""), (DAY, b"\0\0\0\7\0\1\x4e\x20\0\0\1\0\0\0\0\0\1")],
)
def test_a_leaf_that_should_have_been_void_but_was_paid_is_named(
    day: int, leaf: bytes | None
) -> None:
    """A day after the tally's, no leaf at all, a deal that does not exist."""
    twin = twin_of_two_leaves()
    args = twin.events[-1].args
    twin.events[1].args["day"] = DAY if leaf is not None else day
    args["leaf"] = args["leaf"] if leaf is None else leaf
    _, wrong = replay(twin.events, DEALS, UNIT)
    assert (wrong[-1].what, wrong[-1].state_nano, wrong[-1].events_nano) == (
        "leaf",
        args["amount"],
        0,
    )


def test_a_sound_leaf_whose_money_went_back_is_named() -> None:
    twin = twin_of_two_leaves()
    last = twin.events.pop()
    void = {**last.args, "reason": LeafFault.DEAL_UNKNOWN}
    twin.events.append(Event("LeafVoid", void, "0x", 5, "", "", last.log_index))
    _, wrong = replay(twin.events, DEALS, UNIT)
    name = f"leaf {last.args['index']} of tally 1 of {PLATFORMS[0]}"
    assert wrong == [Difference("void", name, last.args["amount"], 0)]
    later = [replace(deal, block=5) for deal in DEALS]
    assert replay(twin.events, later, UNIT)[1] == [], "the deal came after it"


def test_a_leaf_that_is_settled_twice_is_named() -> None:
    twin = twin_of_two_leaves()
    last = twin.events[-1]
    twin.events.append(replace(last, log_index=last.log_index + 1))
    figures, wrong = replay(twin.events, DEALS, UNIT)
    name = f"leaf {last.args['index']} of tally 1 of {PLATFORMS[0]}"
    assert wrong == [Difference("leaf", name, last.args["amount"], 0)]
    assert differences(twin.state, figures) == [], "the second time nothing was due"


@pytest.mark.parametrize(
    ("level", "index", "again"), [(0, 0, True), (0, 1, True), (1, 0, True), (1, 1, False)]
)
def test_a_node_with_leaves_that_are_closed_is_named(level: int, index: int, again: bool) -> None:
    """Two leaves were paid; a node over either, or over both, cannot return their money too."""
    twin = twin_of_two_leaves()
    node = {"platform": PLATFORMS[0], "batch": 1, "level": level, "index": index, "amount": 5}
    twin.emit("NodeVoid", **node)
    _, wrong = replay(twin.events, DEALS, UNIT)
    assert ("void" in {one.what for one in wrong}) == again
    over = next(one for one in wrong if one.what == "overdrawn")
    assert over.state_nano - over.events_nano == 5, "more left it than was debited"
    twin.emit("NodeVoid", **node)
    assert [one.what for one in replay(twin.events, DEALS, UNIT)[1]].count("void") == 1 + again


# --- on a chain ---

TARIFF = Tariff(3_000_000, 500_000_000, 100_003)


@dataclass
class Scene:
    """A catalogue of fresh holders and a platform with funds."""

    royalty: Any
    catalogue: int
    day: int

    def claims(self, *units: int) -> list[Claim]:
        """One leaf for each number of views, of works 0, 1, ..."""
        return [
            claims_of(
                [DayLine(self.catalogue, 1, self.day, Kind.VIEW, index, count)],
                {(self.catalogue, 1): TARIFF},
            )[0]
            for index, count in enumerate(units)
        ]

    def post(self, claims: list[Claim], **options: Any) -> Posted:
        return post(self.royalty, claims, self.day, **options)

    @property
    def funds(self) -> int:
        return int(self.royalty.ledger.platform(self.royalty.account.address).funds_nano)


@pytest.fixture
def scene(session: Callable[..., Any], anvil: Any) -> Iterator[Scene]:
    snapshot = anvil.request("evm_snapshot")
    royalty = session()
    ledger, today = royalty.ledger, royalty.today()
    split = make_split([Share(royalty.address("0x" + secrets.token_hex(20)), 1_000_000)])
    royalty.send(ledger.open(split, TARIFF, today - 10))
    royalty.send(ledger.approve(10**9))
    royalty.send(ledger.deposit(royalty.account.address, 10**6))
    yield Scene(royalty, ledger.catalogues(), today - 2)
    anvil.request("evm_revert", snapshot)


def test_what_is_posted_is_owed_until_it_is_settled(scene: Scene) -> None:
    before = solvency(scene.royalty).document()
    posted = scene.post(scene.claims(5, 7, 9))
    found = solvency(scene.royalty)
    assert found.ok and found.surplus_nano == 0
    told = found.document()
    assert told["held_nano"] == before["held_nano"]
    assert told["unsettled_nano"] == 21 * TARIFF.view
    assert told["funds_nano"] == before["funds_nano"] - 21 * TARIFF.view
    assert told["accrued_nano"] == before["accrued_nano"]
    assert told["tallies"] == 1
    posted.settle(scene.royalty, 1, 1)
    told = solvency(scene.royalty).document()
    assert told["unsettled_nano"] == 14 * TARIFF.view
    assert told["accrued_nano"] == before["accrued_nano"] + 7 * TARIFF.view
    posted.settle(scene.royalty)
    found = solvency(scene.royalty)
    assert found.ok and found.surplus_nano == 0
    assert (found.document()["unsettled_nano"], found.waiting) == (0, ())


def test_unsettled_money_is_shown_by_age(scene: Scene, anvil: Any) -> None:
    old = scene.post(scene.claims(5, 7))
    anvil.mine_days(3)
    new = scene.post(scene.claims(1))
    done = scene.post(scene.claims(2))
    done.settle(scene.royalty)
    old.settle(scene.royalty, 0, 1)
    me = scene.royalty.account.address
    told = solvency(scene.royalty).document()["unsettled_tallies"]
    day = format_day(scene.day)
    assert told == [
        {
            "platform": me,
            "batch": old.batch,
            "day": day,
            "age_days": 3,
            "leaves": 1,
            "unsettled_nano": 7 * TARIFF.view,
        },
        {
            "platform": me,
            "batch": new.batch,
            "day": day,
            "age_days": 0,
            "leaves": 1,
            "unsettled_nano": TARIFF.view,
        },
    ]


def test_a_void_leaf_returns_its_money(scene: Scene) -> None:
    sound, wrong = scene.claims(5, 7)
    before = scene.funds
    posted = scene.post([sound, Claim(wrong.leaf, wrong.amount + 1)])
    posted.settle(scene.royalty)
    assert scene.funds == before - sound.amount
    found = solvency(scene.royalty)
    assert found.ok and found.surplus_nano == 0
    assert found.document()["unsettled_nano"] == 0


def test_a_platform_that_lies_about_sums_locks_only_its_own_money(scene: Scene) -> None:
    claims = scene.claims(5, 7)
    before = scene.funds
    posted = scene.post(claims, tree=lying_tree(claims, 1_000))
    posted.settle(scene.royalty, 0, 1)
    found = solvency(scene.royalty)
    assert found.ok and found.surplus_nano == 0
    assert [one.unsettled_nano for one in found.waiting] == [claims[1].amount + 1_000]
    wrong = b"\0" + claims[1].amount.to_bytes(12, "big") + claims[1].leaf
    left, total = posted.tree.levels[0][:44], claims[1].amount + 1_000
    ledger = scene.royalty.ledger
    me = scene.royalty.account.address
    scene.royalty.send(ledger.close_node(me, posted.batch, 0, 1, total, wrong, left))
    found = solvency(scene.royalty)
    assert found.ok and found.surplus_nano == 0
    assert found.waiting == ()
    assert scene.funds == before - claims[0].amount


def storage_of(scene: Scene, anvil: Any, batch: int) -> list[str]:
    """The slots that `tallyOf` reads."""
    from royalty.chain.codec import codec

    ledger = scene.royalty.ledger.address
    data = "0x" + codec().call_data("tallyOf", [scene.royalty.account.address, batch]).hex()
    listed = anvil.request("eth_createAccessList", {"to": ledger, "data": data}, "latest")
    return [key for entry in listed["accessList"] for key in entry["storageKeys"]]


def test_a_tally_that_the_contract_keeps_otherwise_than_its_events_say_is_named(
    scene: Scene, anvil: Any
) -> None:
    posted = scene.post(scene.claims(5, 7))
    ledger = scene.royalty.ledger.address
    name = f"tally {posted.batch} of {scene.royalty.account.address}"
    for slot in storage_of(scene, anvil, posted.batch):
        before = int(anvil.request("eth_getStorageAt", ledger, slot, "latest"), 16)
        anvil.request("anvil_setStorageAt", ledger, slot, f"0x{before ^ 1:064x}")
        anvil.request("evm_mine")
        found = solvency(scene.royalty)
        total = posted.total
        if before == int.from_bytes(posted.tree.root, "big"):
            assert found.differences == (Difference("tally_terms", name, total, total),)
        else:
            assert {one.what for one in found.differences} == {"tally", "tally_terms"}
            assert found.differences[0] == Difference("tally", name, total ^ 1, total)
        assert not found.ok
        anvil.request("anvil_setStorageAt", ledger, slot, f"0x{before:064x}")
    anvil.request("evm_mine")
    assert solvency(scene.royalty).ok
