"""Actors and deployments of the contract tests.

Every module deploys its own ledger, at noon of a UTC day; every test starts from that state.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from brownie.network.transaction import TransactionReceipt
from eth_utils import keccak
from helpers import NANO, Proposal, Tariff, event, pack_split, to_noon
from web3.exceptions import TransactionNotFound

# 0.003, 0.5 and 0.0001 of a token.
PRICES = Tariff(view=3_000_000, download=500_000_000, excerpt=100_000)

# Of a token with six decimals.
ONE_TOKEN = 10**6
UNIT = NANO // ONE_TOKEN


@pytest.fixture(scope="session", autouse=True)
def fresh_build():
    """Brownie compiles the ledger anew when a base contract changes, not when a library does."""
    built = {path.stem: path.stat().st_mtime for path in Path("build/contracts").glob("*.json")}
    parts = [path.stem for path in Path("contracts").glob("[lp]*s/*.sol")]  # libraries, parts
    newer = [name for name in parts if built.get(name, 0) > built["Royalty"] + 15]
    if newer:
        pytest.exit(f"stale build: {sorted(newer)} newer than Royalty; rm -r build/contracts", 1)


@pytest.fixture(scope="session", autouse=True)
def lean_requests(web3):
    """web3's validation asks for the chain's id twice before each request: three times the traffic."""
    web3.middleware_onion.remove("validation")


@pytest.fixture(scope="session", autouse=True)
def patient_receipts(web3):
    """Anvil counts a nonce a moment before it has the receipt; Brownie takes that for a lost transaction."""
    confirm = TransactionReceipt._await_confirmation

    def await_confirmation(receipt, *args, **kwargs):
        ends = time.monotonic() + 10
        while time.monotonic() < ends:
            try:
                web3.eth.get_transaction_receipt(receipt.txid)
                break
            except TransactionNotFound:
                time.sleep(0.005)
        return confirm(receipt, *args, **kwargs)

    TransactionReceipt._await_confirmation = await_confirmation
    yield
    TransactionReceipt._await_confirmation = confirm


@pytest.fixture(autouse=True)
def isolation(fn_isolation):
    """Each test begins with the state that the module's fixtures left."""


@pytest.fixture(scope="module", autouse=True)
def opening_day(module_isolation, chain) -> int:
    """The UTC day on which a module's tests begin."""
    return to_noon(chain)


# --- Actors: holders have keys of their own, since they sign ---


@pytest.fixture(scope="session")
def keyed(accounts):
    """Make an account whose key is known, by its role."""
    return lambda role: accounts.add(keccak(text=f"royalty test key: {role}"))


@pytest.fixture(scope="session")
def director(keyed):
    return keyed("director")


@pytest.fixture(scope="session")
def composer(keyed):
    return keyed("composer")


@pytest.fixture(scope="session")
def editor(keyed):
    """A rights holder who is in no split at first."""
    return keyed("editor")


@pytest.fixture(scope="session")
def producer(keyed):
    """Owns the catalogue and holds a share in it."""
    return keyed("producer")


@pytest.fixture(scope="session")
def platform(accounts):
    return accounts[1]


@pytest.fixture(scope="session")
def rival_platform(accounts):
    return accounts[2]


@pytest.fixture(scope="session")
def reporter(accounts):
    return accounts[3]


@pytest.fixture(scope="session")
def stranger(accounts):
    return accounts[9]


# --- Deployments ---


@pytest.fixture(scope="module")
def usd(TestUSD, accounts):
    return TestUSD.deploy({"from": accounts[0]})


@pytest.fixture(scope="module")
def ledger(Royalty, usd, accounts):
    return Royalty.deploy(usd, {"from": accounts[0]})


@pytest.fixture(scope="module")
def shares(director, composer, producer) -> dict[str, int]:
    """The split of the catalogue that most tests use."""
    return {director.address: 500_000, composer.address: 300_000, producer.address: 200_000}


@pytest.fixture(scope="module")
def split(shares) -> bytes:
    return pack_split(shares)


@pytest.fixture(scope="module")
def catalogue(ledger, producer, split, opening_day) -> int:
    """A catalogue opened by the producer, in force for a month already."""
    opening = ledger.open(split, PRICES, opening_day - 30, "ipfs://deal", {"from": producer})
    return event(opening, "CatalogueOpened")["catalogue"]


@pytest.fixture(scope="module")
def fund(usd, ledger):
    """Deposit whole tokens for a platform, from its own pocket."""

    def deposit(platform, tokens: int):
        amount = tokens * ONE_TOKEN
        usd.mint(platform, amount, {"from": platform})
        usd.approve(ledger, amount, {"from": platform})
        return ledger.deposit(platform, amount, {"from": platform})

    return deposit


@pytest.fixture(scope="module")
def pay_in(usd, ledger, stranger):
    """Pay units of the token's smallest into a catalogue."""

    def pay(catalogue: int, amount: int):
        usd.mint(stranger, amount, {"from": stranger})
        usd.approve(ledger, amount, {"from": stranger})
        return ledger.pay(
            catalogue, amount, b"tip".ljust(32, b"\0"), b"\0" * 32, {"from": stranger}
        )

    return pay


@pytest.fixture(scope="module")
def propose(chain, ledger, catalogue, producer, shares, opening_day):
    """Make an amendment of the catalogue's first deal; what is not named stays as it is."""

    def proposal(**changes) -> Proposal:
        plain = Proposal(
            chain_id=chain.id,
            ledger=ledger.address,
            catalogue=catalogue,
            replaces=1,
            producer=producer.address,
            from_day=opening_day + 10,
            tariff=PRICES,
            shares=shares,
            deadline=2**64,
        )
        return plain._replace(**changes)

    return proposal


@pytest.fixture(scope="module")
def submit(ledger, producer, shares):
    """Send an amendment with the signatures of some holders of the current split."""

    def amend(proposal: Proposal, signers=(), sender=producer, current=shares, signed=None):
        signatures = (signed or proposal).signatures(current, signers)
        arguments = (proposal.arguments, pack_split(current), proposal.split, signatures, "")
        return ledger.amend(*arguments, {"from": sender})

    return amend
