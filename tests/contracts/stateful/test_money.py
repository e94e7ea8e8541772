"""Random stories of platforms, producers and holders, with a plain model beside the chain.

After every step: tokens held = platforms' funds + accrued + balances, exactly, and the chain says
what the model says. Each story ends by paying everybody: only dust remains, nothing is lost.

ROYALTY_STORIES multiplies the stories told; above 1 they are other ones each time.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from typing import Any

import pytest
from helpers import (
    BROKEN,
    DOWNLOAD,
    EXCERPT,
    VIEW,
    WHOLE,
    ZERO_ADDRESS,
    Group,
    Habit,
    Proposal,
    Tariff,
    events,
    pack_allocations,
    pack_split,
    pack_usage,
    read_all,
    refused,
    reverted,
    to_noon,
    today,
)
from hypothesis import HealthCheck
from hypothesis import strategies as st
from ledger_model import LedgerModel, Paid, Refused, TokenRefused

TIMES = int(os.environ.get("ROYALTY_STORIES", "1"))
STORIES = 45
MOST_CATALOGUES = 5
NOTE = b"\0" * 32

# The token's decimals: the usual, finer than a nano-token, and no fractions at all.
DECIMALS = (6, 18, 0)

# What must have happened in the stories, or they prove nothing.
MUST_HAPPEN = {
    *(f"a story with {decimals} decimals" for decimals in DECIMALS),
    "deposit",
    "withdraw_funds",
    "withdraw_funds: FundsInsufficient",
    "open",
    "amend",
    "amend with signatures",
    "amend: ConsentMissing",
    "amend: AmendmentPending",
    "transfer",
    "report by the platform",
    "report by a reporter",
    "report to a former deal",
    "report before the first day",
    "report on the last day",
    "report after the last day",
    "report: BatchNotNext",
    "report: DealNotInForce",
    "report: FundsInsufficient",
    "report: LimitExceeded",
    "report: TotalMismatch",
    "pay",
    "allocate",
    "allocate with a remainder",
    "withdraw",
    "withdraw: NothingPayable",
    "withdraw: TokenRefused",
    "withdraw_many",
    "withdraw_many with a blocked holder",
    "allocate_and_pay",
    "set_payee",
    "paid to a payee",
    "pass_days",
    "sent by mistake",
    "everybody paid",
}

# What is wrong with a report; around which day of a deal it falls.
FAULTS = ["batch", "total", "tomorrow"]
EDGES = ["before the first day", "on the last day", "after the last day"]

prices = st.sampled_from([0, 1, 7, 999, 333_333, 3_000_000, 500_000_001, 7 * 10**9])
tariffs = st.builds(Tariff, prices, prices, prices)
weights = st.lists(st.sampled_from([0, 0, 1, 1, 2, 3, 7]), min_size=5, max_size=5).filter(any)
picks = st.integers(0, 59)
pairs = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 40)), min_size=1, max_size=7)
usages = st.lists(
    st.tuples(picks, st.sampled_from([VIEW, DOWNLOAD, EXCERPT]), pairs), min_size=1, max_size=3
)


def divide(weights: list[int], holders: list[str]) -> dict[str, int]:
    """Shares in proportion to weights; the first holder takes what rounding leaves."""
    named = [(who, weight) for who, weight in zip(holders, weights, strict=True) if weight]
    total = sum(weight for _, weight in named)
    shares = {who: weight * WHOLE // total for who, weight in named}
    shares[named[0][0]] += WHOLE - sum(shares.values())
    return shares


class Stories:
    """The rules of the game; Brownie makes a Hypothesis state machine of this."""

    st_amount = st.tuples(st.integers(0, 300), st.integers(0, 12))
    st_age = st.integers(10, 40)
    st_back = st.integers(0, 14)
    st_bool = st.booleans()
    st_days = st.integers(1, 9)
    st_decimals = st.sampled_from(DECIMALS)
    st_fault = st.sampled_from([""] * 8 + FAULTS + EDGES)
    st_habit = st.sampled_from(BROKEN)
    st_limit = st.integers(0, 40_000_000)
    st_pick = picks
    st_picks = st.lists(picks, min_size=1, max_size=6)
    st_rise = st.sampled_from(["same", "same", "rise", "new"])
    st_tariff = tariffs
    st_usage = usages
    st_weights = weights

    def __init__(cls, worlds, accounts, holders, chain, counts) -> None:  # noqa: N805
        cls.worlds, cls.chain = worlds, chain
        cls.accounts = {account.address: account for account in [*accounts, *holders]}
        cls.holders = [holder.address for holder in holders]
        cls.platforms = [accounts[1].address, accounts[2].address]
        cls.reporters = [accounts[3].address, accounts[4].address]
        cls.bank = accounts[5].address
        cls.payer = accounts[6].address
        cls.happened = counts

    def initialize_a_story(self, decimals="st_decimals") -> None:
        """Where a story begins: a token, two platforms with money and reporters, two catalogues,
        one of them with a former deal.
        """
        self.decimals = decimals
        self.ledger, self.token = self.worlds[decimals]
        self.model = LedgerModel(decimals, self.platforms)
        self.model.today = to_noon(self.chain)
        for payer in [*self.platforms, self.payer]:
            self.model.wallets[payer] = self.token.balanceOf(payer)
        self.supply = self.token.totalSupply()
        for pick, (platform, reporter) in enumerate(
            zip(self.platforms, self.reporters, strict=True)
        ):
            self.ledger.setReporter(reporter, True, {"from": platform})
            self.model.platforms[platform].reporters.add(reporter)
            self.rule_set_limit(pick, 9_000_000)
            self.rule_deposit(pick, (40, 3))
        self.rule_open(0, [1, 2, 3, 0, 0], Tariff(3_000_000, 500_000_001, 333_333), 30)
        self.rule_open(1, [0, 0, 1, 1, 1], Tariff(1, 7, 999), 30)
        self.rule_amend(0, [1, 2, 3, 1, 0], "rise", None, 1, forget=False)
        self.rule_pass_days(5)
        self.happened[f"a story with {decimals} decimals"] += 1

    # --- How a step runs ---

    def step(self, name: str, predict: Callable[[], Any], send: Callable[[], Any]) -> Any:
        """Do it in the model, then on chain; where the model refuses the chain must, alike.

        Return the receipt and what the model returned, or None where it was refused.
        """
        try:
            outcome = predict()
        except Refused as refusal:
            with self.refusing(refusal):
                send()
            self.happened[f"{name}: {refusal.error}"] += 1
            return None
        receipt = send()
        self.happened[name] += 1
        return receipt, outcome

    def refusing(self, refusal: Refused) -> AbstractContextManager[Any]:
        """The claim that the chain refuses too; a misbehaving token can say what it likes."""
        if isinstance(refusal, TokenRefused):
            return reverted()
        return refused(refusal.error, *refusal.values)

    def whole(self, amount: tuple[int, int]) -> int:
        """(tokens, a few of the smallest units that the ledger takes) in the smallest unit."""
        tokens, few = amount
        return tokens * 10**self.decimals + few * self.model.multiple

    def catalogue(self, pick: int) -> int:
        return pick % len(self.model.owners) + 1

    def deal_keys(self, picked: list[int]) -> list[tuple[int, int]]:
        keys = sorted(self.model.deals)
        return [keys[pick % len(keys)] for pick in picked]

    def allocations(self, keys: list[tuple[int, int]]) -> bytes:
        deals = self.model.deals
        return pack_allocations(*((*key, pack_split(deals[key].shares)) for key in keys))

    # --- Rules: catalogues ---

    def rule_open(
        self, pick="st_pick", weights="st_weights", tariff="st_tariff", age="st_age"
    ) -> None:
        if len(self.model.owners) == MOST_CATALOGUES:
            return
        owner = self.holders[pick % 2]
        shares, day = divide(weights, self.holders), self.model.today - age
        self.step(
            "open",
            lambda: self.model.open(owner, shares, tariff, day),
            lambda: self.ledger.open(pack_split(shares), tariff, day, "", {"from": owner}),
        )

    def rule_amend(
        self,
        pick="st_pick",
        weights="st_weights",
        rise="st_rise",
        tariff="st_tariff",
        days="st_days",
        forget="st_bool",
    ) -> None:
        catalogue = self.catalogue(pick)
        version = self.model.newest(catalogue)
        deal, owner = self.model.deals[catalogue, version], self.model.owners[catalogue]
        shares = divide(weights, self.holders)
        if rise != "new":
            tariff = Tariff(*(price + 7 * (rise == "rise") for price in deal.tariff))
        needed = set(self.model.losers(catalogue, shares, tariff)) - {owner}
        signers = set(sorted(needed)[1:]) if forget else needed
        proposal = Proposal(
            chain_id=self.chain.id,
            ledger=self.ledger.address,
            catalogue=catalogue,
            replaces=version,
            producer=owner,
            from_day=self.model.today + days,
            tariff=tariff,
            shares=shares,
            deadline=2**64,
        )
        signatures = proposal.signatures(deal.shares, [self.accounts[who] for who in signers])
        done = self.step(
            "amend",
            lambda: self.model.amend(catalogue, shares, tariff, proposal.from_day, signers),
            lambda: self.ledger.amend(
                proposal.arguments,
                pack_split(deal.shares),
                proposal.split,
                signatures,
                "",
                {"from": owner},
            ),
        )
        self.happened["amend with signatures"] += bool(done and signers)

    def rule_transfer(self, pick="st_pick", to="st_pick") -> None:
        catalogue = self.catalogue(pick)
        former, owner = self.model.owners[catalogue], self.holders[to % 3]
        self.ledger.transferFrom(former, owner, catalogue, {"from": former})
        self.model.owners[catalogue] = owner
        self.happened["transfer"] += 1

    # --- Rules: platforms ---

    def rule_deposit(self, pick="st_pick", amount="st_amount") -> None:
        platform = self.platforms[pick % 2]
        self.step(
            "deposit",
            lambda: self.model.deposit(platform, platform, self.whole(amount)),
            lambda: self.ledger.deposit(platform, self.whole(amount), {"from": platform}),
        )

    def rule_withdraw_funds(self, pick="st_pick", amount="st_amount", to="st_pick") -> None:
        platform, to = self.platforms[pick % 2], [*self.holders, *self.platforms][to % 7]
        self.step(
            "withdraw_funds",
            lambda: self.model.withdraw_funds(platform, self.whole(amount), to),
            lambda: self.ledger.withdrawFunds(self.whole(amount), to, {"from": platform}),
        )

    def rule_set_limit(self, pick="st_pick", limit="st_limit") -> None:
        platform = self.platforms[pick % 2]
        self.ledger.setLimit(limit, {"from": platform})
        self.model.platforms[platform].limit = limit

    # --- Rules: usage ---

    def rule_report_by_platform(
        self, pick="st_pick", usage="st_usage", back="st_back", fault="st_fault"
    ) -> None:
        platform = self.platforms[pick % 2]
        if self.report(platform, platform, usage, back, fault):
            self.happened["report by the platform"] += 1

    def rule_report_by_reporter(
        self, pick="st_pick", usage="st_usage", back="st_back", fault="st_fault", sender="st_pick"
    ) -> None:
        """By the platform's own reporter mostly, by the rival's now and then."""
        mine = pick % 2 if sender % 8 else 1 - pick % 2
        if self.report(self.reporters[mine], self.platforms[pick % 2], usage, back, fault):
            self.happened["report by a reporter"] += 1

    def report(self, sender, platform, usage, back, fault) -> bool:
        day = self.model.today + 1 if fault == "tomorrow" else self.model.today - back
        groups = []
        if fault in EDGES:
            day, (catalogue, version) = self.edge(fault, usage[0][0])
            groups = [Group(catalogue, version, kind, tuple(units)) for _, kind, units in usage]
        for pick, kind, units in usage if not groups else []:
            catalogue = self.catalogue(pick)
            version = self.model.version_on(catalogue, day)
            groups.append(Group(catalogue, version, kind, tuple(units)))
        known = all((group.catalogue, group.version) in self.model.deals for group in groups)
        total = sum(map(self.model.cost, groups)) if known else 0
        total += fault == "total"
        batch = self.model.platforms[platform].batches + (2 if fault == "batch" else 1)
        done = self.step(
            "report",
            lambda: self.model.report(sender, platform, batch, day, total, groups),
            lambda: self.ledger.report(
                platform, batch, day, NOTE, total, pack_usage(*groups), {"from": sender}
            ),
        )
        former = any(
            group.version < self.model.version_on(group.catalogue, self.model.today)
            for group in groups
        )
        self.happened["report to a former deal"] += bool(done and former)
        self.happened[f"report {fault}"] += fault in EDGES
        return bool(done)

    def edge(self, edge: str, pick: int) -> tuple[int, tuple[int, int]]:
        """A day around the begin or end of some deal that began already, and that deal."""
        ended = edge != "before the first day"
        deals = {
            key: deal
            for key, deal in self.model.deals.items()
            if deal.from_day <= self.model.today and (deal.until_day or not ended)
        }
        key = sorted(deals)[pick % len(deals)]
        day = deals[key].until_day if ended else deals[key].from_day
        return day - (edge != "after the last day"), key

    def rule_pay(self, pick="st_pick", amount="st_amount") -> None:
        catalogue, units = self.catalogue(pick), self.whole(amount)
        self.step(
            "pay",
            lambda: self.model.pay(catalogue, self.payer, units),
            lambda: self.ledger.pay(catalogue, units, NOTE, NOTE, {"from": self.payer}),
        )

    # --- Rules: payouts ---

    def rule_allocate(self, picked="st_picks") -> None:
        keys = self.deal_keys(picked)
        self.step(
            "allocate",
            lambda: self.model.allocate(keys),
            lambda: self.ledger.allocate(self.allocations(keys), {"from": self.bank}),
        )
        left = any(self.model.deals[key].accrued for key in keys)
        self.happened["allocate with a remainder"] += left

    def rule_withdraw(self, pick="st_pick") -> None:
        """Mostly somebody who has something to withdraw."""
        rich = [holder for holder in self.holders if self.model.payable(holder)]
        among = rich if rich and pick % 4 else self.holders
        holder = among[pick % len(among)]
        done = self.step(
            "withdraw",
            lambda: self.model.withdraw(holder),
            lambda: self.ledger.withdraw(holder, {"from": self.bank}),
        )
        if done:
            receipt, sent = done
            self.check_paid(receipt, Paid(sent=[sent]))

    def rule_withdraw_many(self, picked="st_picks") -> None:
        holders = [self.holders[pick % 5] for pick in picked]
        receipt, paid = self.step(
            "withdraw_many",
            lambda: self.model.withdraw_many(holders),
            lambda: self.ledger.withdrawMany(holders, {"from": self.bank}),
        )
        self.check_paid(receipt, paid)
        self.happened["withdraw_many with a blocked holder"] += bool(paid.skipped and paid.sent)

    def rule_allocate_and_pay(self, picked="st_picks", paid="st_picks") -> None:
        self.allocate_and_pay(
            self.deal_keys(picked), [self.holders[pick % len(self.holders)] for pick in paid]
        )

    def allocate_and_pay(self, keys: list[tuple[int, int]], holders: list[str]) -> None:
        def predict() -> Paid:
            self.model.allocate(keys)
            return self.model.withdraw_many(holders)

        receipt, paid = self.step(
            "allocate_and_pay",
            predict,
            lambda: self.ledger.allocateAndPay(
                self.allocations(keys), holders, {"from": self.bank}
            ),
        )
        self.check_paid(receipt, paid)

    def check_paid(self, receipt: Any, paid: Paid) -> None:
        """The receipt's events name exactly who was paid and who was skipped."""
        found = {
            name: [(e["holder"], e["to"], e["amount"]) for e in events(receipt, name)]
            for name in ("Withdrawn", "PayoutSkipped")
        }
        assert found == {"Withdrawn": paid.sent, "PayoutSkipped": paid.skipped}
        self.happened["paid to a payee"] += any(holder != to for holder, to, _ in paid.sent)

    def rule_set_payee(self, pick="st_pick", to="st_pick") -> None:
        holder = self.holders[pick % 5]
        payee = [ZERO_ADDRESS, self.bank, *self.holders][to % 7]
        self.ledger.setPayee(payee, {"from": holder})
        self.model.payees[holder] = holder if payee == ZERO_ADDRESS else payee
        self.happened["set_payee"] += 1

    # --- Rules: the world ---

    def rule_block(self, pick="st_pick", habit="st_habit") -> None:
        """The token keeps a holder from its money, in one of many ways, or no longer."""
        holder = self.holders[pick % 5]
        self.model.blocked ^= {holder}
        self.set_habit(holder, habit if holder in self.model.blocked else Habit.HONEST)

    def set_habit(self, receiver: str, habit: Habit) -> None:
        self.token.setHabit(receiver, habit, {"from": self.bank})

    def rule_send_by_mistake(self, few="st_days") -> None:
        self.token.transfer(self.ledger, few, {"from": self.payer})
        self.model.stray += few
        self.model.wallets[self.payer] -= few
        self.happened["sent by mistake"] += 1

    def rule_pass_days(self, days="st_days") -> None:
        self.model.today = to_noon(self.chain, days)
        self.happened["pass_days"] += 1

    # --- What must hold after every step ---

    def invariant_the_books_are_right(self) -> None:
        """Rule 1, from the chain alone; then the chain says all that the model says."""
        seen = self.seen()
        held, owed = seen["held"] - self.model.stray, self.in_units(self.owed(seen))
        assert held == owed, (
            f"the ledger holds {held} units and owes {owed}: {held - owed} too much"
        )
        assert seen == self.expected()

    def in_units(self, nano: int) -> Fraction:
        """Nano-tokens in the token's smallest unit, exactly."""
        return Fraction(nano * self.model.multiple, self.model.unit)

    def owed(self, seen: dict[str, Any]) -> int:
        """Funds, accrued and balances as the chain has them, in nano-tokens."""
        funds = sum(funds for funds, *_ in seen["platforms"].values())
        accrued = sum(accrued for accrued, *_ in seen["deals"].values())
        return funds + accrued + sum(seen["balances"].values())

    def seen(self) -> dict[str, Any]:
        """The state of ledger and token, read in one request."""
        ledger, token, keys, owners = self.ledger, self.token, self.model.deals, self.model.owners
        answers = iter(
            read_all(
                (token.balanceOf, ledger.address),
                (ledger.catalogues,),
                *((ledger.catalogueOf, number) for number in owners),
                *((ledger.dealOf, *key) for key in keys),
                *((ledger.platformOf, platform) for platform in self.platforms),
                *((ledger.balanceOfHolder, holder) for holder in self.holders),
                *((token.balanceOf, wallet) for wallet in self.wallets()),
            )
        )
        return {
            "held": int(next(answers)),
            "catalogues": next(answers),
            "owners": {number: next(answers)[0] for number in owners},
            "deals": {key: tuple(next(answers)[0][:6]) for key in keys},
            "platforms": {who: tuple(next(answers)) for who in self.platforms},
            "balances": {who: next(answers) for who in self.holders},
            "wallets": {who: next(answers) for who in self.wallets()},
            "today": today(self.chain),
        }

    def expected(self) -> dict[str, Any]:
        model = self.model
        held = self.in_units(model.owed()) + model.stray
        return {
            "held": int(held),
            "today": model.today,
            "catalogues": len(model.owners),
            "owners": model.owners,
            "deals": {
                key: (deal.accrued, *deal.tariff, deal.from_day, deal.until_day)
                for key, deal in model.deals.items()
            },
            "platforms": {
                who: (state.funds, state.batches, state.limit, state.spent, state.spent_day)
                for who, state in model.platforms.items()
            },
            "balances": {who: model.balances[who] for who in self.holders},
            "wallets": {who: model.wallets[who] for who in self.wallets()},
        }

    def wallets(self) -> list[str]:
        return [*self.holders, *self.platforms, self.bank, self.payer]

    # --- The end of every story ---

    def teardown(self) -> None:
        """Pay everybody; only dust remains, and nothing is lost."""
        if sys.exc_info()[0] is not None or not hasattr(self, "supply"):
            return  # the story broke off already: its own failure is what matters
        for holder in sorted(self.model.blocked):
            self.set_habit(holder, Habit.HONEST)
        self.model.blocked.clear()
        self.allocate_and_pay(sorted(self.model.deals), self.holders)
        for platform in self.platforms:
            whole = self.model.amount(self.model.platforms[platform].funds)
            if whole:
                self.ledger.withdrawFunds(whole, platform, {"from": platform})
                self.model.withdraw_funds(platform, whole, platform)
        self.invariant_the_books_are_right()
        self.only_dust_remains()
        self.happened["everybody paid"] += 1

    def only_dust_remains(self) -> None:
        """Under a nano-token a holder in each deal, under a smallest unit with each holder."""
        seen = self.seen()
        for key, (accrued, *_) in seen["deals"].items():
            assert accrued < len(self.model.deals[key].shares)
        for nano in seen["balances"].values():
            assert nano < self.model.unit
        for funds, *_ in seen["platforms"].values():
            assert funds < self.model.unit
        outside = sum(seen["wallets"].values())
        assert outside + seen["held"] == self.supply


@pytest.fixture(scope="module")
def holders(keyed, director, composer, editor, producer):
    return [producer, director, composer, editor, keyed("singer")]


@pytest.fixture(scope="module")
def worlds(Royalty, HostileToken, accounts):
    """A ledger and its token, by the token's decimals."""
    deployer = {"from": accounts[0]}
    made = {}
    for decimals in DECIMALS:
        token = HostileToken.deploy(decimals, deployer)
        made[decimals] = (Royalty.deploy(token, deployer), token)
        for payer in (accounts[1], accounts[2], accounts[6]):
            token.mint(payer, 10**6 * 10**decimals, deployer)
            token.approve(made[decimals][0], 2**255, {"from": payer})
    return made


def test_money_is_never_lost_nor_made(state_machine, worlds, accounts, holders, chain):
    happened: Counter[str] = Counter()
    settings = {
        "max_examples": STORIES * TIMES,
        "stateful_step_count": 50,
        "derandomize": TIMES == 1,
        "database": None,
        "suppress_health_check": HealthCheck.all(),
    }
    state_machine(Stories, worlds, accounts, holders, chain, happened, settings=settings)
    print("\n".join(f"{count:6} {name}" for name, count in sorted(happened.items())))
    never = {name for name in MUST_HAPPEN if not happened[name]}
    assert not never, f"never happened: {sorted(never)}"
