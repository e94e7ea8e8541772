"""The node's border: every fault of a node is one of our errors, in bounded time, without leaking keys."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from royalty.chain import node as node_module
from royalty.chain.node import Node, shown
from royalty.errors import (
    InputError,
    NodeRefused,
    NodeTimeout,
    NodeUnreachable,
    RoyaltyError,
    WrongChain,
)
from tests.conftest import Anvil, free_port
from tests.faulty import FaultyNode, faulty_node

pytestmark = pytest.mark.chain


@pytest.fixture
def faulty(anvil: Anvil, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyNode]:
    monkeypatch.setattr(node_module, "RETRY_PAUSES", (0.0, 0.0))
    with faulty_node(anvil.rpc) as node:
        yield node


def always(fault: str) -> Any:
    return lambda _: fault


def once(fault: str) -> Any:
    faults = itertools.chain([fault], itertools.repeat(None))
    return lambda _: next(faults)


def test_connect_knows_chain_and_genesis(anvil: Anvil) -> None:
    node = Node.connect(anvil.rpc, expected_chain_id=31337)
    assert node.chain_id == 31337
    assert node.is_local
    assert node.genesis_hash == anvil.request("eth_getBlockByNumber", "0x0", False)["hash"]
    assert node.w3.eth.chain_id == 31337


def test_blocks_are_read_one_by_one_and_many_at_once(anvil: Anvil) -> None:
    anvil.request("anvil_mine", "0xfa")
    node = Node.connect(anvil.rpc)
    blocks = node.blocks(range(251))
    assert [block.number for block in blocks] == list(range(251))
    assert blocks[7] == node.block(7)
    assert blocks[8].parent_hash == blocks[7].hash
    assert blocks[8].day == blocks[8].timestamp // 86_400
    assert node.head() == 250


def test_an_absent_block_is_refused(anvil: Anvil) -> None:
    node = Node.connect(anvil.rpc)
    with pytest.raises(NodeRefused, match="has no block 100000"):
        node.block(100_000)
    with pytest.raises(NodeRefused, match="has no block 100001"):
        node.blocks([0, 100_001])


def test_another_chain_than_expected_is_refused(anvil: Anvil) -> None:
    with pytest.raises(WrongChain, match="chain 31337, not 8453"):
        Node.connect(anvil.rpc, expected_chain_id=8453)


def test_nobody_at_the_address_is_unreachable() -> None:
    with pytest.raises(NodeUnreachable, match="nothing listens there"):
        Node.connect(f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize(
    "rpc", ["", "8545", "ws://127.0.0.1:8545", "http://", "file:///etc/passwd", "http://a:b"]
)
def test_what_is_no_address_is_bad_input(rpc: str) -> None:
    with pytest.raises(InputError, match="no RPC address"):
        Node.connect(rpc)


def test_keys_in_an_address_are_not_shown() -> None:
    assert (
        shown("https://me:secret@node.example:8443/v3/secret?key=secret")
        == "https://node.example:8443"
    )


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("500", NodeRefused, "HTTP status 500"),
        ("429", NodeRefused, "fewer requests"),
        ("401", NodeRefused, "check the key"),
        ("html", NodeRefused, "as a node does"),
        ("list", NodeRefused, "as a node does"),
        ("null", NodeRefused, "as a node does"),
        ("cut", NodeRefused, "as a node does"),
        ("drop", NodeUnreachable, "no node answers"),
        ("hang", NodeTimeout, "within 1 s"),
    ],
)
def test_a_fault_that_stays_is_one_of_our_errors(
    faulty: FaultyNode, fault: str, error: type[RoyaltyError], says: str
) -> None:
    faulty.fault = always(fault)
    with pytest.raises(error, match=says) as raised:
        Node.connect(faulty.rpc, timeout=1)
    assert "key-that-nobody-may-see" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(faulty.asked) <= 3


@pytest.mark.parametrize("fault", ["500", "429", "drop"])
def test_a_fault_that_passes_is_not_noticed(faulty: FaultyNode, fault: str) -> None:
    node = Node.connect(faulty.rpc)
    faulty.fault = once(fault)
    assert node.head() >= 0
    faulty.fault = once(fault)
    assert len(node.blocks([0, 0, 0])) == 3


def test_a_node_without_batches_is_asked_one_by_one(faulty: FaultyNode) -> None:
    faulty.fault = lambda method: "no batches" if method == "batch" else None
    node = Node.connect(faulty.rpc)
    faulty.asked.clear()
    assert len(node.blocks([0] * 150)) == 150
    assert faulty.asked.count("batch") == 1
    assert faulty.asked.count("eth_getBlockByNumber") == 150


def test_batches_are_bounded_and_keep_their_order(faulty: FaultyNode) -> None:
    node = Node.connect(faulty.rpc)
    faulty.asked.clear()
    head = node.head()
    numbers = [number % (head + 1) for number in range(250)]
    assert [block.number for block in node.blocks(numbers)] == numbers
    assert faulty.asked.count("batch") == 3


def test_an_error_in_a_batch_is_raised(anvil: Anvil) -> None:
    node = Node.connect(anvil.rpc)
    with pytest.raises(NodeRefused, match="refused"):
        node.batch([("eth_blockNumber", []), ("eth_getNothing", [])])
