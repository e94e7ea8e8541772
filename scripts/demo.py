"""A catalogue's money from usage to wallets, at the contract alone: `scripts/run_brownie.py run demo`.

`make demo` tells the whole story, from a real watch log. This one is for who works on the contract.
"""

from __future__ import annotations

from typing import Any

from brownie import accounts, chain

from scripts.deploy import deploy, token_of

NANO = 10**9
MICRO = 10**6  # the smallest unit of a token with six decimals
DAY = 86_400
VIEW, DOWNLOAD, EXCERPT = range(3)
NOTE = b"\0" * 32

# Holder -> account of Brownie's, share in parts per million.
HOLDERS = {
    "director": (1, 400_000),
    "composer": (2, 150_000),
    "editor": (3, 110_000),
    "producer": (4, 333_334),
    "archive": (5, 6_666),
}
# Nano-tokens: 0.003 a view, 0.5 a download, 0.0001 a second of an excerpt.
TARIFF = (3_000_000, 500_000_000, 100_000)
# Kind -> (work, units): what the platform's log says of one day.
USAGE = {VIEW: [(0, 18_342), (1, 977)], DOWNLOAD: [(0, 61)], EXCERPT: [(1, 4_805)]}


def main() -> None:
    """Open, register, deposit, report, allocate and pay, then print what each holder got."""
    tell(deploy(accounts[0]))


def tell(ledger: Any) -> dict[str, int]:
    """Play the story on a new ledger; return what each holder got, in the smallest unit."""
    usd, producer, platform = token_of(ledger), accounts[HOLDERS["producer"][0]], accounts[6]
    catalogue = open_catalogue(ledger, producer)
    fund(ledger, usd, platform, tokens=200)
    total = report(ledger, platform, catalogue)
    pay(ledger, catalogue)
    got = {role: usd.balanceOf(accounts[account]) for role, (account, _) in HOLDERS.items()}
    show(got, total, left=ledger.dealOf(catalogue, 1)[0][0])
    return got


def open_catalogue(ledger: Any, producer: Any) -> int:
    """Open a catalogue with its deal and register two works into it; return its number."""
    opened = ledger.open(packed_split(), TARIFF, today(), "", {"from": producer})
    catalogue = int(opened.events["CatalogueOpened"]["catalogue"])
    works = [bytes([number]) * 32 for number in (1, 2)]
    ledger.register(catalogue, works, NOTE, "", {"from": producer})
    print(f"Catalogue {catalogue}: {len(works)} works, {len(HOLDERS)} holders")
    return catalogue


def fund(ledger: Any, usd: Any, platform: Any, tokens: int) -> None:
    """Mint a platform its tokens and deposit them."""
    usd.mint(platform, tokens * MICRO, {"from": platform})
    usd.approve(ledger, tokens * MICRO, {"from": platform})
    ledger.deposit(platform, tokens * MICRO, {"from": platform})
    print(f"The platform deposits {tokens} tokens")


def report(ledger: Any, platform: Any, catalogue: int) -> int:
    """Report the day's usage; return what it costs, in nano-tokens."""
    total = sum(TARIFF[kind] * units for kind, pairs in USAGE.items() for _, units in pairs)
    usage = packed_usage(catalogue)
    batch = ledger.platformOf(platform)[1] + 1
    ledger.report(platform, batch, today(), NOTE, total, usage, {"from": platform})
    print(f"It reports a day's usage for {decimal(total)}")
    return total


def pay(ledger: Any, catalogue: int) -> None:
    """Allocate what accrued and send every holder its part; anyone may do this."""
    split = packed_split()
    deal = catalogue.to_bytes(4, "big") + b"\0\1" + len(HOLDERS).to_bytes(2, "big") + split
    holders = [accounts[account] for account, _ in HOLDERS.values()]
    ledger.allocateAndPay(deal, holders, {"from": accounts[9]})
    print("A stranger allocates and pays: the money can go to the holders alone")


def show(got: dict[str, int], total: int, left: int) -> None:
    """Print who got what, and what of the total is not paid yet."""
    for role, (_, ppm) in HOLDERS.items():
        print(f"  {role:10} {ppm / 10_000:8.4f} % {decimal(got[role] * 1_000):>16}")
    paid = sum(got.values()) * 1_000
    print(f"  {'paid':21} {decimal(paid):>16}")
    print(f"  {'waiting in balances':21} {decimal(total - paid - left):>16}")
    print(f"  {'left to divide':21} {decimal(left):>16}")


def packed_split() -> bytes:
    """The split as the ledger takes it: 24 bytes a holder, ascending by address."""
    entries = [(int(str(accounts[at]), 16), ppm) for at, ppm in HOLDERS.values()]
    return b"".join(
        who.to_bytes(20, "big") + ppm.to_bytes(4, "big") for who, ppm in sorted(entries)
    )


def packed_usage(catalogue: int) -> bytes:
    """The usage as the ledger takes it: a group for each kind, 6 bytes a work."""
    groups = b""
    for kind, pairs in USAGE.items():
        groups += catalogue.to_bytes(4, "big") + b"\0\1" + bytes([kind])
        groups += len(pairs).to_bytes(2, "big")
        groups += b"".join(w.to_bytes(3, "big") + units.to_bytes(3, "big") for w, units in pairs)
    return groups


def today() -> int:
    """The chain's UTC day."""
    return int(chain[-1].timestamp) // DAY


def decimal(nano: int) -> str:
    """Nano-tokens as a decimal of tokens."""
    return f"{nano // NANO:,}.{nano % NANO:09}"
