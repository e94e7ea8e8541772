"""Sending: refused before it is sent where the contract would, sent once, found again by its hash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from royalty.chain import sender
from royalty.chain.accounts import DEV_ACCOUNTS
from royalty.chain.node import Node
from royalty.client import DryRun, Royalty
from royalty.errors import ChainError, Declined, FundsTooLow, NodeRefused, NodeTimeout, Reverted
from royalty.shares import Share, make_split
from royalty.usage import Tariff
from tests.conftest import Anvil
from tests.faulty import FaultyNode, faulty_node

pytestmark = pytest.mark.chain

PRODUCER, PLATFORM = DEV_ACCOUNTS[0][0], DEV_ACCOUNTS[1][0]
Sessions = Callable[..., Royalty]


def opening(session: Royalty) -> Any:
    split = make_split([Share(PRODUCER, 1_000_000)])
    return session.ledger.open(split, Tariff(1, 2, 3), session.today(), "")


@pytest.fixture
def faulty(anvil: Anvil) -> Iterator[FaultyNode]:
    with faulty_node(anvil.rpc) as node:
        yield node


@pytest.fixture
def no_automine(anvil: Anvil) -> Iterator[None]:
    anvil.request("evm_setAutomine", False)
    yield
    anvil.request("evm_setAutomine", True)
    anvil.request("evm_mine")


def test_a_refused_call_is_never_sent(session: Sessions) -> None:
    platform = session("dev1")
    nonce = sender.next_nonce(platform.node, PLATFORM)
    with pytest.raises(Reverted, match="the amount is zero") as raised:
        platform.send(platform.ledger.deposit(PLATFORM, 0))
    assert raised.value.name == "ZeroAmount"
    assert raised.value.details["pending"] == [{"description": f"deposit 0 TUSD for {PLATFORM}"}]
    assert sender.next_nonce(platform.node, PLATFORM) == nonce


def test_what_was_left_undone_is_listed(session: Sessions) -> None:
    platform, ledger = session("dev1"), session().ledger
    calls = [ledger.approve(5), ledger.set_payee(ledger.address), ledger.approve(0)]
    with pytest.raises(Reverted, match="would be stuck there") as raised:
        platform.send_all(calls)
    assert len(raised.value.details["transactions"]) == 1
    assert [row["description"] for row in raised.value.details["pending"]] == [
        calls[1].description,
        calls[2].description,
    ]


def test_a_dry_run_says_what_it_would_cost_and_sends_nothing(session: Sessions) -> None:
    platform, ledger = session("dev1"), session().ledger
    platform.dry_run = True
    before = ledger.allowance(PLATFORM)
    with pytest.raises(DryRun) as end:
        platform.send_all([ledger.approve(10**15), ledger.deposit(PLATFORM, 10**12)])
    approval, deposit = end.value.plans
    assert approval.gas and approval.gas > 21_000
    assert approval.cost_wei and approval.cost_wei > approval.gas
    assert deposit.gas is None
    assert ledger.allowance(PLATFORM) == before


def test_prepared_bytes_may_be_sent_twice_and_land_once(session: Sessions) -> None:
    producer = session("dev0")
    count = producer.ledger.catalogues()
    prepared = sender.prepare(producer.node, opening(producer), producer.account)
    assert sender.receipt(producer.node, prepared.hash) is None
    assert sender.send_raw(producer.node, prepared.raw) == prepared.hash
    assert sender.send_raw(producer.node, prepared.raw) == prepared.hash
    landed = sender.wait(producer.node, prepared.hash)
    assert landed.status
    assert landed.gas_used <= prepared.gas
    assert 0 < landed.cost_wei <= prepared.highest_cost_wei
    assert sender.send_raw(producer.node, prepared.raw) == prepared.hash
    assert producer.ledger.catalogues() == count + 1


@pytest.mark.usefixtures("no_automine")
def test_a_higher_fee_replaces_what_waits(session: Sessions, anvil: Anvil) -> None:
    producer = session("dev0")
    first = sender.prepare(producer.node, opening(producer), producer.account)
    sender.send_raw(producer.node, first.raw)
    second = sender.reprice(producer.node, first, producer.account)
    assert second.nonce == first.nonce
    assert second.fields["maxFeePerGas"] * 100 >= first.fields["maxFeePerGas"] * 125
    sender.send_raw(producer.node, second.raw)
    anvil.request("evm_mine")
    assert sender.receipt(producer.node, first.hash) is None
    assert sender.wait(producer.node, second.hash).status


def test_another_transaction_with_the_same_nonce_is_told(session: Sessions) -> None:
    producer = session("dev0")
    first = sender.prepare(producer.node, opening(producer), producer.account)
    second = sender.prepare(
        producer.node, producer.ledger.approve(1), producer.account, nonce=first.nonce
    )
    sender.send_raw(producer.node, first.raw)
    with pytest.raises(NodeRefused) as raised:
        sender.send_raw(producer.node, second.raw)
    assert "nonce too low" in raised.value.details["answer"]


@pytest.mark.usefixtures("no_automine")
def test_a_wait_ends_and_names_the_transaction(session: Sessions) -> None:
    producer = session("dev0")
    prepared = sender.prepare(producer.node, opening(producer), producer.account)
    sender.send_raw(producer.node, prepared.raw)
    with pytest.raises(NodeTimeout, match=prepared.hash) as raised:
        sender.wait(producer.node, prepared.hash, 0.1)
    assert raised.value.details["pending"] == [{"transaction": prepared.hash}]


@pytest.mark.usefixtures("no_automine")
def test_a_transaction_that_failed_on_chain_says_why(session: Sessions, anvil: Anvil) -> None:
    """The state changes between the simulation and the block: the first of two takes the allowance."""
    platform, ledger = session("dev1"), session().ledger
    anvil.request("evm_setAutomine", True)
    platform.send(ledger.approve(10**6))
    anvil.request("evm_setAutomine", False)
    call = ledger.deposit(PLATFORM, 10**6)
    first = sender.prepare(platform.node, call, platform.account)
    second = sender.prepare(platform.node, call, platform.account, nonce=first.nonce + 1)
    for prepared in (first, second):
        sender.send_raw(platform.node, prepared.raw)
    anvil.request("evm_mine")
    assert sender.wait(platform.node, first.hash).status
    landed = sender.wait(platform.node, second.hash)
    assert not landed.status
    reason = sender.failure(platform.node, call, PLATFORM, landed)
    assert isinstance(reason, Reverted)
    assert reason.name == "ERC20InsufficientAllowance"


def test_no_money_for_gas_is_told_before_sending(session: Sessions, anvil: Anvil) -> None:
    poor = session("dev9")
    anvil.request("anvil_setBalance", poor.account.address, "0x10")
    with pytest.raises(FundsTooLow, match="chain's own coin"):
        poor.send(poor.ledger.approve(1))
    anvil.request("anvil_setBalance", poor.account.address, hex(10**20))


def through(faulty: FaultyNode) -> Node:
    return Node.connect(faulty.rpc, timeout=2)


def test_already_known_is_fine(session: Sessions, faulty: FaultyNode) -> None:
    producer = session("dev0")
    node = through(faulty)
    prepared = sender.prepare(node, opening(producer), producer.account)
    faulty.fault = lambda method: "already known" if method == "eth_sendRawTransaction" else None
    assert sender.send_raw(node, prepared.raw) == prepared.hash
    assert sender.wait(node, prepared.hash).status


@pytest.mark.parametrize("fault", ["drop after", "drop", "hang"])
def test_no_answer_when_sending_names_the_hash_and_asks_once(
    session: Sessions, faulty: FaultyNode, fault: str
) -> None:
    producer = session("dev0")
    node = through(faulty)
    prepared = sender.prepare(node, opening(producer), producer.account)
    faulty.asked.clear()
    faulty.fault = lambda method: fault if method == "eth_sendRawTransaction" else None
    with pytest.raises(NodeTimeout, match=prepared.hash):
        sender.send_raw(node, prepared.raw)
    assert faulty.asked == ["eth_sendRawTransaction"]
    landed = sender.receipt(node, prepared.hash)
    assert (landed is not None) == (fault == "drop after")


def test_nonce_too_low_for_our_own_landed_bytes_is_fine(
    session: Sessions, faulty: FaultyNode
) -> None:
    producer = session("dev0")
    node = through(faulty)
    prepared = sender.prepare(node, opening(producer), producer.account)
    faulty.fault = lambda method: "nonce too low" if method == "eth_sendRawTransaction" else None
    with pytest.raises(NodeRefused):
        sender.send_raw(node, prepared.raw)
    sender.send_raw(producer.node, prepared.raw)
    sender.wait(node, prepared.hash)
    assert sender.send_raw(node, prepared.raw) == prepared.hash


def test_a_declined_question_sends_nothing(
    session: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def say_no(_: Royalty, plans: Any) -> None:
        asked.append([plan.call.function for plan in plans])
        raise Declined("no")

    producer = session("dev0")
    producer.approver = say_no
    count = producer.ledger.catalogues()
    assert producer.account.name == "dev0"
    monkeypatch.setattr(type(producer.node), "is_local", property(lambda _: False))
    with pytest.raises(Declined):
        producer.send(opening(producer))
    assert asked == [["open"]]
    assert producer.ledger.catalogues() == count


def test_too_much_gas_for_one_transaction_is_refused(
    session: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = session("dev0")
    monkeypatch.setattr(sender, "MAX_GAS", 50_000)
    with pytest.raises(ChainError, match="do it in parts"):
        producer.send(opening(producer))
