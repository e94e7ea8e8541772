"""Solvency: what the ledger holds is what it owes, and its events alone say the same."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from royalty.audit import (
    Difference,
    Figures,
    Solvency,
    differences,
    replay,
    sentence,
    solvency,
    whole_nano,
)
from royalty.catalogues import Deal
from royalty.chain.events import Event
from royalty.money import TokenUnit
from royalty.shares import Share, divide, make_split
from royalty.usage import Group, Kind, Tariff, pack_usage

UNIT = TokenUnit(6)
TARIFF = Tariff(3_000_001, 7, 0)
HOLDERS = [f"0x{number:040x}" for number in (1, 2, 3)]
PLATFORMS = [f"0x{number:040x}" for number in (11, 12)]
SPLITS = {
    (1, 1): make_split([Share(HOLDERS[0], 333_333), Share(HOLDERS[1], 666_667)]),
    (1, 2): make_split([Share(HOLDERS[1], 1_000_000)]),
    (2, 1): make_split([Share(HOLDERS[0], 1), Share(HOLDERS[1], 2), Share(HOLDERS[2], 999_997)]),
}
DEALS = [
    Deal(catalogue, version, PLATFORMS[0], 0, None, TARIFF, split, "", 0, "")
    for (catalogue, version), split in SPLITS.items()
]


class Twin:
    """A plain-Python ledger that emits the events of what it does."""

    def __init__(self) -> None:
        self.state = Figures()
        self.events: list[Event] = []
        self.tokens = 0

    def emit(self, name: str, **args: Any) -> None:
        place = len(self.events)
        self.events.append(Event(name, args, "0x", place // 3, "", "", place))

    def deposit(self, platform: str, amount: int) -> None:
        self.tokens += amount
        self.state.funds[platform] += UNIT.to_nano(amount)
        self.emit("Deposited", platform=platform, payer=platform, nano=UNIT.to_nano(amount))

    def take_back(self, platform: str, amount: int) -> None:
        amount = min(amount, UNIT.to_smallest(self.state.funds[platform]))
        self.tokens -= amount
        self.state.funds[platform] -= UNIT.to_nano(amount)
        self.emit("FundsWithdrawn", platform=platform, to=platform, nano=UNIT.to_nano(amount))

    def report(self, platform: str, deal: tuple[int, int], units: int) -> None:
        total = units * TARIFF.view
        if total > self.state.funds[platform]:
            return
        usage = pack_usage([Group(*deal, Kind.VIEW, ((0, units),))])
        self.state.funds[platform] -= total
        self.state.accrued[deal] += total
        self.emit("UsageReported", platform=platform, batch=1, total=total, usage=usage)

    def pay(self, deal: tuple[int, int], amount: int) -> None:
        self.tokens += amount
        self.state.accrued[deal] += UNIT.to_nano(amount)
        self.emit("Paid", catalogue=deal[0], version=deal[1], nano=UNIT.to_nano(amount))

    def allocate(self, deal: tuple[int, int]) -> None:
        before = self.state.accrued[deal]
        parts, remainder = divide(before, SPLITS[deal])
        for share, part in zip(SPLITS[deal], parts, strict=True):
            self.state.balances[share.holder] += part
        self.state.accrued[deal] = remainder
        names = {"catalogue": deal[0], "version": deal[1]}
        self.emit("Allocated", **names, accruedBefore=before, remainder=remainder)

    def withdraw(self, holder: str) -> None:
        amount = UNIT.to_smallest(self.state.balances[holder])
        self.tokens -= amount
        self.state.balances[holder] -= UNIT.to_nano(amount)
        self.emit("Withdrawn", holder=holder, to=holder, amount=amount)

    def live(self, seed: int, steps: int) -> Twin:
        """A random life."""
        dice = random.Random(seed)
        for _ in range(steps):
            deal, platform = dice.choice(list(SPLITS)), dice.choice(PLATFORMS)
            step = dice.choice(["deposit", "take_back", "report", "pay", "allocate", "withdraw"])
            given = {
                "deposit": (platform, dice.randrange(1, 10**9)),
                "take_back": (platform, dice.randrange(1, 10**9)),
                "report": (platform, deal, dice.randrange(1, 10**5)),
                "pay": (deal, dice.randrange(1, 10**9)),
                "allocate": (deal,),
                "withdraw": (dice.choice(HOLDERS),),
            }[step]
            getattr(self, step)(*given)
        return self


seeds = st.integers(0, 2**32)


@settings(deadline=None)
@given(seed=seeds, steps=st.integers(0, 60))
def test_events_alone_give_every_figure_whatever_their_order(seed: int, steps: int) -> None:
    twin = Twin().live(seed, steps)
    shuffled = random.Random(seed).sample(twin.events, len(twin.events))
    figures, wrong = replay(shuffled, DEALS, UNIT)
    assert wrong == []
    assert differences(twin.state, figures) == []
    found = Solvency(1, UNIT.to_nano(twin.tokens), figures, ())
    assert (found.surplus_nano, found.solvent, found.ok) == (0, True, True)


@settings(deadline=None)
@given(seed=seeds, change=st.sampled_from([-1, 1, 10**9]))
def test_a_state_that_is_off_by_a_nano_token_is_named(seed: int, change: int) -> None:
    twin = Twin().live(seed, 40)
    figures, _ = replay(twin.events, DEALS, UNIT)
    twin.state.funds[PLATFORMS[0]] += change
    twin.state.accrued[2, 1] += change
    twin.state.balances[HOLDERS[2]] += change
    found = differences(twin.state, figures)
    assert [(one.what, one.whom, one.state_nano - one.events_nano) for one in found] == [
        ("funds", PLATFORMS[0], change),
        ("accrued", "catalogue 2 version 1", change),
        ("balance", HOLDERS[2], change),
    ]


def test_an_event_whose_amount_is_not_what_its_usage_costs_is_named() -> None:
    twin = Twin()
    twin.deposit(PLATFORMS[0], 10**9)
    twin.report(PLATFORMS[0], (1, 1), 5)
    twin.events[-1].args["total"] += 1
    _, wrong = replay(twin.events, DEALS, UNIT)
    assert wrong == [Difference("report", f"batch 1 of {PLATFORMS[0]}", 15_000_006, 15_000_005)]


def test_an_allocation_of_more_than_was_earned_is_named() -> None:
    twin = Twin()
    twin.pay((1, 1), 10)
    twin.allocate((1, 1))
    twin.events[-1].args["accruedBefore"] += 10
    twin.events[-1].args["remainder"] += 1
    _, wrong = replay(twin.events, DEALS, UNIT)
    assert [(one.what, one.whom, one.state_nano - one.events_nano) for one in wrong] == [
        ("allocation", "catalogue 1 version 1", 10),
        ("allocation", "catalogue 1 version 1", 1),
    ]


def test_a_token_finer_than_a_nano_token_is_rounded_down() -> None:
    assert whole_nano(1_999_999_999, TokenUnit(18)) == 1
    assert whole_nano(5, TokenUnit(6)) == 5_000
    assert whole_nano(0, TokenUnit(27)) == 0


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (10, "holds exactly what it owes"),
        (11, "0.000000001 TUSD belong to nobody"),
        (9, "holds 0.000000001 TUSD too little"),
    ],
)
def test_the_sentence_says_what_it_means(held: int, said: str) -> None:
    state = Figures({"a": 1}, {(1, 1): 2}, {"b": 7})
    assert said in sentence(Solvency(1, held, state, ()), "TUSD")
    assert "events differ" in sentence(
        Solvency(1, 10, state, (Difference("funds", "a", 1, 2),)), "TUSD"
    )


# --- on a chain ---


def transfer_from_ledger(royalty: Any, anvil: Any, amount: int) -> None:
    """Take tokens out of the ledger past all its rules, as a thief of its token would."""
    ledger, token = royalty.ledger.address, royalty.token.address
    anvil.request("anvil_setBalance", ledger, hex(10**18))
    anvil.request("anvil_impersonateAccount", ledger)
    data = "0xa9059cbb" + royalty.account.address[2:].rjust(64, "0") + f"{amount:064x}"
    sent = anvil.request("eth_sendTransaction", {"from": ledger, "to": token, "data": data})
    from royalty.chain.sender import wait

    wait(royalty.node, sent, 20)


def test_a_ledger_is_solvent_until_its_tokens_go(session: Callable[..., Any], anvil: Any) -> None:
    royalty = session()
    assert solvency(royalty).ok
    ledger, me = royalty.ledger, royalty.account.address
    holders = [royalty.address("0x" + secrets.token_hex(20)) for _ in range(3)]
    split = make_split([Share(who, ppm) for who, ppm in zip(holders, (1, 2, 999_997), strict=True)])
    royalty.send(ledger.open(split, Tariff(7, 1, 3), royalty.today()))
    number = ledger.catalogues()
    royalty.send(ledger.approve(10**10))
    royalty.send(ledger.deposit(me, 10**9))
    royalty.send(ledger.pay(number, 1_000_003, b"tips"))
    usage = pack_usage([Group(number, 1, Kind.VIEW, ((0, 11),))])
    batch = ledger.platform(me).next_batch
    royalty.send(ledger.report(me, batch, royalty.today(), bytes(32), 77, usage))
    royalty.send(ledger.allocate_and_pay([(number, 1, split)], holders))
    royalty.send(ledger.withdraw_funds(10, me))

    found = solvency(royalty)
    assert found.ok and found.surplus_nano == 0
    document = found.document()
    assert document["block"] == royalty.node.head()
    assert document["held_nano"] == 1_000 * ledger.token_balance(ledger.address)
    assert document["funds_nano"] == 10**12 - 77 - 10_000
    assert (
        document["balances_nano"] + document["accrued_nano"]
        == document["held_nano"] - document["funds_nano"]
    )

    royalty.send(ledger.deposit(me, 5))
    transfer_from_ledger(royalty, anvil, 5)
    stolen = solvency(royalty)
    assert (stolen.surplus_nano, stolen.solvent, stolen.ok) == (-5_000, False, False)
    assert stolen.differences == (), "state and events agree; the tokens are gone all the same"
    give_back = "0xa9059cbb" + ledger.address[2:].rjust(64, "0") + f"{6:064x}"
    from royalty.chain.sender import raw_call

    royalty.send(raw_call(royalty.token.address, bytes.fromhex(give_back[2:]), "give back"))
    mended = solvency(royalty)
    assert (mended.surplus_nano, mended.ok) == (1_000, True), "what was sent by mistake is said"


def test_a_state_that_the_events_do_not_explain_is_named(
    session: Callable[..., Any], anvil: Any
) -> None:
    royalty = session()
    ledger, me = royalty.ledger, royalty.account.address
    royalty.send(ledger.approve(10**9))
    royalty.send(ledger.deposit(me, 10**6))
    from royalty.chain.codec import codec

    data = "0x" + codec().call_data("platformOf", [me]).hex()
    listed = anvil.request("eth_createAccessList", {"to": ledger.address, "data": data}, "latest")
    (slot,) = [key for entry in listed["accessList"] for key in entry["storageKeys"]]
    before = int(anvil.request("eth_getStorageAt", ledger.address, slot, "latest"), 16)
    funds = ledger.platform(me).funds_nano
    anvil.request("anvil_setStorageAt", ledger.address, slot, f"0x{before + 1:064x}")
    anvil.request("evm_mine")
    found = solvency(royalty)
    assert found.differences == (Difference("funds", me, funds + 1, funds),)
    assert found.surplus_nano == 999, "of the 1,000 that the test before left there"
    assert found.solvent and not found.ok
    anvil.request("anvil_setStorageAt", ledger.address, slot, f"0x{before:064x}")
