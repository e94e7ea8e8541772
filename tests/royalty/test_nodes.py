"""Several nodes of one chain, and what each of their errors is: typed, sat out, bounded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import format_datetime
from typing import Any

import pytest

from royalty.chain import node as node_module
from royalty.chain.node import Node, backoff
from royalty.chain.transport import refusal, retry_after
from royalty.errors import (
    AlreadyKnown,
    FeeTooLow,
    FundsTooLow,
    NodeBehind,
    NodeRefused,
    NodeTimeout,
    NodeUnreachable,
    NonceTooHigh,
    NonceTooLow,
    RateLimited,
    Reverted,
    WrongChain,
)
from tests.conftest import Anvil, free_port, start_anvil
from tests.faulty import FaultyNode, faulty_node


@pytest.fixture
def faulty(anvil: Anvil) -> Iterator[FaultyNode]:
    with faulty_node(anvil.rpc) as node:
        yield node


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("already known", AlreadyKnown),
        ("ALREADY_EXISTS: already known", AlreadyKnown),
        ("nonce too low: next nonce 5, tx nonce 3", NonceTooLow),
        ("OldNonce", NonceTooLow),
        ("nonce too high", NonceTooHigh),
        ("replacement transaction underpriced", FeeTooLow),
        ("transaction underpriced: tip needed 1, tip permitted 0", FeeTooLow),
        ("max fee per gas less than block base fee", FeeTooLow),
        ("FeeTooLow, MaxFeePerGas too low", FeeTooLow),
        ("insufficient funds for gas * price + value", FundsTooLow),
        ("daily request limit reached", RateLimited),
        ("Too Many Requests", RateLimited),
        ("query returned more than 10000 results", NodeRefused),
        ("execution reverted", Reverted),
    ],
)
def test_what_nodes_say_is_typed(message: str, kind: type[Exception]) -> None:
    assert type(refusal("the node", {"code": -32000, "message": message})) is kind


def test_retry_after_is_seconds_or_a_date() -> None:
    from datetime import UTC, datetime, timedelta

    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert retry_after("7") == 7
    assert 50 < (retry_after(soon) or 0) <= 60
    assert retry_after("Fri, 01 Jan 2021 00:00:00 GMT") == 0
    assert [retry_after(text) for text in (None, "", "soon", "-1")] == [None] * 4


def test_pauses_grow_with_jitter_up_to_a_bound() -> None:
    pauses = [pause for pause, _ in zip(backoff(), range(40), strict=False)]
    assert all(0.1 <= pause <= 30 for pause in pauses)
    assert sum(pauses[:3]) < 3 < sum(pauses[10:12])
    assert len(set(pauses)) == 40


@pytest.mark.chain
def test_a_rate_limit_is_waited_for_as_long_as_it_says(faulty: FaultyNode) -> None:
    node = Node.connect(faulty.rpc)
    node.patience = 10
    faulty.headers = {"Retry-After": "1"}
    faults = iter(["429", None])
    faulty.fault = lambda _: next(faults)
    began = time.monotonic()
    assert node.head() >= 0
    assert 1 <= time.monotonic() - began < 5


@pytest.mark.chain
def test_a_rate_limit_beyond_the_deadline_is_told_at_once(faulty: FaultyNode) -> None:
    node = Node.connect(faulty.rpc)
    faulty.headers = {"Retry-After": "3600"}
    faulty.fault = lambda _: "429"
    for patience in (0, 2):
        node.patience = patience
        began = time.monotonic()
        with pytest.raises(RateLimited) as raised:
            node.head()
        assert raised.value.retry_after == 3600
        assert time.monotonic() - began < 2


@pytest.mark.chain
@pytest.mark.parametrize("fault", ["500", "drop", "cut", "429"])
def test_patience_sits_faults_out_and_ends(
    faulty: FaultyNode, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(node_module, "FIRST_PAUSE", 0.02)
    node = Node.connect(faulty.rpc)
    node.patience = 1
    faults = iter([fault] * 4 + [None])
    faulty.fault = lambda _: next(faults)
    assert node.head() >= 0
    faulty.fault = lambda _: fault
    began = time.monotonic()
    with pytest.raises((NodeRefused, NodeUnreachable)):
        node.head()
    assert time.monotonic() - began < 3


@pytest.mark.chain
def test_the_next_address_is_asked_where_one_fails(anvil: Anvil, faulty: FaultyNode) -> None:
    node = Node.connect(faulty.rpc, anvil.rpc)
    assert node.rpc == faulty.rpc
    faulty.fault = lambda _: "500"
    assert node.head() >= 0
    assert node.rpc == anvil.rpc
    assert len(node.blocks([0, 0, 0])) == 3


@pytest.mark.chain
def test_an_address_that_nobody_answers_at_is_passed_over(anvil: Anvil) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    assert Node.connect(nobody, anvil.rpc).rpc == anvil.rpc
    with pytest.raises(NodeUnreachable):
        Node.connect(nobody, nobody + "/other")


@pytest.mark.chain
def test_a_node_of_another_genesis_is_refused(anvil: Anvil) -> None:
    other = start_anvil("--timestamp=1700000000")
    try:
        with pytest.raises(WrongChain, match="its genesis block"):
            Node.connect(anvil.rpc, other.rpc)
        with faulty_node(other.rpc) as late:
            late.fault = lambda _: "drop"
            node = Node.connect(anvil.rpc, late.rpc)
            late.fault = lambda _: None
            assert not node._move_on()
            assert node.rpc == anvil.rpc
    finally:
        other.end()


@pytest.mark.chain
def test_a_node_of_another_chain_is_refused(anvil: Anvil) -> None:
    other = start_anvil("--chain-id=5")
    try:
        with pytest.raises(WrongChain, match="chain 5, not 31337"):
            Node.connect(anvil.rpc, other.rpc)
    finally:
        other.end()


@pytest.mark.chain
def test_a_node_far_behind_is_passed_over(anvil: Anvil, faulty: FaultyNode) -> None:
    anvil.request("anvil_mine", "0x20")
    behind: Any = lambda method: "behind" if method == "eth_blockNumber" else None  # noqa: E731
    faulty.fault = behind
    assert Node.connect(faulty.rpc, anvil.rpc).rpc == anvil.rpc
    faulty.fault = lambda _: None
    node = Node.connect(faulty.rpc, anvil.rpc)
    faulty.fault = behind
    assert node.head() >= 32
    assert node.rpc == anvil.rpc
    with faulty_node(anvil.rpc) as second:
        faulty.fault = lambda _: None
        node = Node.connect(faulty.rpc, second.rpc)
        faulty.fault = second.fault = behind
        with pytest.raises(NodeBehind, match="behind block"):
            node.head()


@pytest.mark.chain
@pytest.mark.parametrize("fault", ["500", "cut", "drop", "drop after"])
def test_what_was_sent_without_a_good_answer_may_have_arrived(
    faulty: FaultyNode, fault: str
) -> None:
    from royalty.chain.sender import send_raw

    node = Node.connect(faulty.rpc)
    faulty.fault = lambda _: fault
    with pytest.raises(NodeTimeout, match="it may land all the same"):
        send_raw(node, b"raw")
