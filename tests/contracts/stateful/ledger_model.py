"""The ledger in plain Python, in exact integers of nano-tokens: what the chain must agree with.

Written from the design's rules, not from the contract. Every method either raises `Refused` and
changes nothing, or changes the model as the chain must change.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from helpers import WHOLE, Group, Tariff


class Refused(Exception):  # noqa: N818
    """The ledger must revert with this error and these values."""

    def __init__(self, error: str, *values: object) -> None:
        super().__init__(error, *values)
        self.error = error
        self.values = values


class TokenRefused(Refused):
    """The token does not let this receiver have its money: whatever it says, nothing changes."""

    def __init__(self, to: str) -> None:
        super().__init__("TokenRefused", to)


@dataclass
class Deal:
    """One version of a catalogue's split and tariff."""

    shares: dict[str, int]
    tariff: Tariff
    from_day: int
    until_day: int = 0
    accrued: int = 0

    def in_force(self, day: int) -> bool:
        """Whether usage of a day belongs to this deal."""
        return self.from_day <= day and (self.until_day == 0 or day < self.until_day)

    @property
    def holders(self) -> list[str]:
        """The holders in the order of their addresses."""
        return sorted(self.shares, key=lambda holder: int(holder, 16))


@dataclass
class Platform:
    """A platform's money and what its reporters may spend of it, in micro-tokens."""

    funds: int = 0
    batches: int = 0
    limit: int = 0
    spent: int = 0
    spent_day: int = 0
    reporters: set[str] = field(default_factory=set)


@dataclass
class Paid:
    """What withdrawals for many did: (holder, to, amount in the token's smallest unit)."""

    sent: list[tuple[str, str, int]] = field(default_factory=list)
    skipped: list[tuple[str, str, int]] = field(default_factory=list)


class LedgerModel:
    """Everybody's money, by the rules."""

    def __init__(self, decimals: int, platforms: list[str]) -> None:
        self.unit = 10 ** max(9 - decimals, 0)  # nano-tokens in the token's smallest unit
        self.multiple = 10 ** max(decimals - 9, 0)  # smallest units in a nano-token
        self.today = 0
        self.owners: dict[int, str] = {}
        self.deals: dict[tuple[int, int], Deal] = {}
        self.platforms = {platform: Platform() for platform in platforms}
        self.balances: Counter[str] = Counter()
        self.payees: dict[str, str] = {}
        self.blocked: set[str] = set()
        self.wallets: Counter[str] = Counter()  # in the token's smallest unit
        self.stray = 0  # what somebody sent to the ledger by mistake, in the smallest unit

    # --- Amounts ---

    def nano(self, amount: int) -> int:
        """An amount from outside in nano-tokens."""
        if amount == 0:
            raise Refused("ZeroAmount")
        if amount % self.multiple:
            raise Refused("AmountNotWholeNano", amount, self.multiple)
        return amount // self.multiple * self.unit

    def amount(self, nano: int) -> int:
        """Nano-tokens in the token's smallest unit, rounded down."""
        return nano // self.unit * self.multiple

    # --- Catalogues ---

    def newest(self, catalogue: int) -> int:
        """The newest version of a catalogue's deals, in force or not."""
        return max(version for number, version in self.deals if number == catalogue)

    def version_on(self, catalogue: int, day: int) -> int:
        """The version in force on a day, 0 if none."""
        found = [v for (n, v), deal in self.deals.items() if n == catalogue and deal.in_force(day)]
        assert len(found) <= 1, f"two deals of {catalogue} in force on {day}"
        return found[0] if found else 0

    def open(self, owner: str, shares: dict[str, int], tariff: Tariff, from_day: int) -> int:
        """Open a catalogue; return its number."""
        if from_day > self.today:
            raise Refused("DayOutOfRange", from_day, 0, self.today)
        catalogue = len(self.owners) + 1
        self.owners[catalogue] = owner
        self.deals[catalogue, 1] = Deal(shares, tariff, from_day)
        return catalogue

    def losers(self, catalogue: int, shares: dict[str, int], tariff: Tariff) -> list[str]:
        """Holders without whose signature an amendment must not pass, the owner among them."""
        deal = self.deals[catalogue, self.newest(catalogue)]
        if any(new < old for new, old in zip(tariff, deal.tariff, strict=True)):
            return deal.holders
        return [who for who in deal.holders if shares.get(who, 0) < deal.shares[who]]

    def amend(
        self,
        catalogue: int,
        shares: dict[str, int],
        tariff: Tariff,
        from_day: int,
        signers: set[str],
    ) -> int:
        """Replace the newest deal, the owner sending; return the new version."""
        version = self.newest(catalogue)
        deal = self.deals[catalogue, version]
        if deal.from_day > self.today:
            raise Refused("AmendmentPending", catalogue, version, deal.from_day)
        if not self.today < from_day <= self.today + 366:
            raise Refused("DayOutOfRange", from_day, self.today + 1, self.today + 366)
        for holder in self.losers(catalogue, shares, tariff):
            if holder not in signers and holder != self.owners[catalogue]:
                raise Refused("ConsentMissing", holder)
        deal.until_day = from_day
        self.deals[catalogue, version + 1] = Deal(shares, tariff, from_day)
        return version + 1

    # --- Platforms ---

    def deposit(self, platform: str, payer: str, amount: int) -> None:
        """Money from a payer's wallet into a platform's funds."""
        nano = self.nano(amount)
        self.platforms[platform].funds += nano
        self.wallets[payer] -= amount

    def withdraw_funds(self, platform: str, amount: int, to: str) -> None:
        """Unreported money back to where the platform wants it."""
        nano, state = self.nano(amount), self.platforms[platform]
        if nano > state.funds:
            raise Refused("FundsInsufficient", platform, nano, state.funds)
        if to in self.blocked:
            raise TokenRefused(to)
        state.funds -= nano
        self.wallets[to] += amount

    # --- Usage ---

    def cost(self, group: Group) -> int:
        """What a group of a deal that exists costs."""
        price = self.deals[group.catalogue, group.version].tariff[group.kind]
        return price * sum(units for _, units in group.pairs)

    def report(
        self, sender: str, platform: str, batch: int, day: int, total: int, groups: list[Group]
    ) -> None:
        """Usage of a day, into the deals."""
        state = self.platforms[platform]
        if sender != platform and sender not in state.reporters:
            raise Refused("NotReporter", platform, sender)
        if batch != state.batches + 1:
            raise Refused("BatchNotNext", state.batches + 1, batch)
        if day > self.today:
            raise Refused("DayInFuture", day, self.today)
        for group in groups:
            self._refuse_not_in_force(group, day)
        computed = sum(self.cost(group) for group in groups)
        if total != computed:
            raise Refused("TotalMismatch", computed, total)
        if total > state.funds:
            raise Refused("FundsInsufficient", platform, total, state.funds)
        if sender != platform:
            self._spend_limit(platform, total)
        state.funds -= total
        state.batches += 1
        for group in groups:
            self.deals[group.catalogue, group.version].accrued += self.cost(group)

    def _refuse_not_in_force(self, group: Group, day: int) -> None:
        key = (group.catalogue, group.version)
        if key not in self.deals:
            raise Refused("DealUnknown", *key)
        deal = self.deals[key]
        if not deal.in_force(day):
            raise Refused("DealNotInForce", *key, day, deal.from_day, deal.until_day)

    def _spend_limit(self, platform: str, total: int) -> None:
        state = self.platforms[platform]
        spent = state.spent if state.spent_day == self.today else 0
        needed, left = -(-total // 1_000), max(state.limit - spent, 0)
        if needed > left:
            raise Refused("LimitExceeded", platform, needed, left)
        state.spent, state.spent_day = spent + needed, self.today

    def pay(self, catalogue: int, payer: str, amount: int) -> None:
        """Money that is not metered, into the deal of today."""
        nano = self.nano(amount)
        self.deals[catalogue, self.version_on(catalogue, self.today)].accrued += nano
        self.wallets[payer] -= amount

    # --- Payouts ---

    def allocate(self, keys: list[tuple[int, int]]) -> None:
        """Divide what deals have accrued; the remainders stay."""
        for key in keys:
            deal = self.deals[key]
            parts = {who: deal.accrued * ppm // WHOLE for who, ppm in deal.shares.items()}
            self.balances.update(parts)
            deal.accrued -= sum(parts.values())

    def payable(self, holder: str) -> int:
        """What a holder could withdraw now, in the token's smallest unit."""
        return self.amount(self.balances[holder])

    def withdraw(self, holder: str) -> tuple[str, str, int]:
        """All of a holder's whole units to the holder or its payee."""
        amount, to = self.payable(holder), self.payees.get(holder, holder)
        if amount == 0:
            raise Refused("NothingPayable", holder)
        if to in self.blocked:
            raise TokenRefused(to)
        self.balances[holder] -= self.nano(amount)
        self.wallets[to] += amount
        return (holder, to, amount)

    def withdraw_many(self, holders: list[str]) -> Paid:
        """Withdraw for many: who cannot be paid keeps the balance."""
        paid = Paid()
        for holder in holders:
            amount, to = self.payable(holder), self.payees.get(holder, holder)
            if amount and to in self.blocked:
                paid.skipped.append((holder, to, amount))
            elif amount:
                paid.sent.append(self.withdraw(holder))
        return paid

    # --- The rule above all ---

    def owed(self) -> int:
        """Platforms' funds, what deals have accrued and balances together, in nano-tokens."""
        funds = sum(state.funds for state in self.platforms.values())
        accrued = sum(deal.accrued for deal in self.deals.values())
        return funds + accrued + sum(self.balances.values())
