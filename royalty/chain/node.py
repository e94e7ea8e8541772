"""A chain through its nodes: bounded requests, failover, batches, blocks and logs."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from royalty.chain.events import number
from royalty.chain.transport import Endpoint, shown
from royalty.days import day_of_timestamp
from royalty.errors import (
    ChainError,
    NodeBehind,
    NodeRefused,
    NodeTimeout,
    NodeUnreachable,
    RateLimited,
    WrongChain,
)

if TYPE_CHECKING:
    from web3 import HTTPProvider, Web3

__all__ = ["Block", "BlockId", "Node", "backoff", "block_id", "shown", "spread"]

LOCAL_CHAIN_ID = 31337
TIMEOUT_SECONDS = 30.0
BATCH_SIZE = 100
RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})
RETRY_PAUSES = (0.2, 1.0)
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 20.0
MAX_BEHIND = 5
"""How many blocks an address may lack of the best one before another is asked."""

T = TypeVar("T")
BlockId = int | str  # a number, "latest", "pending", never a hash


@dataclass(frozen=True, slots=True)
class Block:
    """One block's head; `timestamp` in Unix seconds, `day` its UTC day as a number."""

    number: int
    hash: str
    parent_hash: str
    timestamp: int
    base_fee: int | None = None

    @property
    def day(self) -> int:
        """The block's UTC day since 1970-01-01."""
        return day_of_timestamp(self.timestamp)


class Node:
    """A chain through one node, or several of which the next is asked where one fails.

    Made by `Node.connect`, which asks for the chain and its genesis block. `patience` is for how many
    seconds a request is tried again, 0 for a few quick tries.
    """

    def __init__(self, rpc: str, *spares: str, timeout: float | None = None) -> None:
        self.timeout = TIMEOUT_SECONDS if timeout is None else timeout
        self.chain_id = 0
        self.genesis_hash = ""
        self.patience = 0.0
        self._endpoints = [Endpoint(one, self.timeout) for one in dict.fromkeys((rpc, *spares))]
        self._at = 0
        self._best = 0

    @classmethod
    def connect(
        cls,
        rpc: str,
        *spares: str,
        expected_chain_id: int | None = None,
        timeout: float | None = None,
    ) -> Node:
        """Return the node at an http(s) address, with other addresses of the same chain.

        Raises InputError for a bad address, NodeUnreachable, NodeTimeout (seconds), NodeRefused where
        none answers, and WrongChain where one is of another chain than expected, or than the others.
        """
        node = cls(rpc, *spares, timeout=timeout)
        if spares:
            node._meet_all(expected_chain_id)
        else:
            node._require_chain(number(node.request("eth_chainId")), expected_chain_id)
            node.genesis_hash = node.block(0).hash
        return node

    def _meet_all(self, expected_chain_id: int | None) -> None:
        """Ask every address for its chain, and begin with the first that is not far behind."""
        heads: dict[int, int] = {}
        errors: list[ChainError] = []
        for at, endpoint in enumerate(self._endpoints):
            self._at = at
            try:
                chain, genesis, head = _identity(endpoint)
            except (NodeUnreachable, NodeTimeout, NodeRefused) as error:
                errors.append(error)
                continue
            self._require_chain(chain, self.chain_id if heads else expected_chain_id)
            self._require_genesis(endpoint, genesis)
            endpoint.verified, heads[at] = True, head
        if not heads:
            raise errors[0]
        self._best = max(heads.values())
        self._at = next(at for at, head in heads.items() if head >= self._best - MAX_BEHIND)

    def _require_chain(self, found: int, expected: int | None) -> None:
        if expected is not None and found != expected:
            raise WrongChain(
                f"{self.shown} is a node of chain {found}, not {expected};"
                " check --network and --rpc",
                expected=expected,
                found=found,
            )
        self.chain_id = found

    def _require_genesis(self, endpoint: Endpoint, genesis: str) -> None:
        if self.genesis_hash and genesis != self.genesis_hash:
            raise WrongChain(
                f"{endpoint.shown} is of another chain {self.chain_id}: its genesis block is {genesis},"
                f" that of the other addresses {self.genesis_hash}; check --rpc",
                expected=self.genesis_hash,
                found=genesis,
            )
        self.genesis_hash = genesis

    @property
    def rpc(self) -> str:
        """The address that is asked now."""
        return self._endpoint.rpc

    @property
    def provider(self) -> HTTPProvider:
        """web3.py's transport to the address that is asked now."""
        return self._endpoint.provider

    @property
    def _endpoint(self) -> Endpoint:
        return self._endpoints[self._at]

    @cached_property
    def w3(self) -> Web3:
        """web3.py on this node, for what this package has no word for; its own errors come through."""
        from web3 import Web3

        return Web3(self.provider)

    @property
    def is_local(self) -> bool:
        """Whether this is a local development chain, where accounts and money are free."""
        return self.chain_id == LOCAL_CHAIN_ID

    @property
    def shown(self) -> str:
        """The address fit for a message, without keys."""
        return shown(self.rpc)

    # --- requests ---

    def request(self, method: str, params: Sequence[Any] = ()) -> Any:
        """Return the result of one JSON-RPC request, raw; ChainError where there is none.

        A fault of the transport is tried again, at the next address where there is one; but what
        sends a transaction is tried once: whether it arrived is for the caller to find out.
        """
        return self._patiently(method, lambda: self._endpoint.ask(method, params))

    def batch(self, requests: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Return the results of many requests in order, sent a hundred at a time.

        A node that takes no batches is asked one by one. The first error of any request is raised.
        """
        results: list[Any] = []
        for at in range(0, len(requests), BATCH_SIZE):
            results += self._batch(requests[at : at + BATCH_SIZE])
        return results

    def _batch(self, requests: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        if self._endpoint.batches and len(requests) > 1:
            try:
                answers = self._patiently("a batch", lambda: self._endpoint.ask_many(requests))
            except NodeRefused:
                answers = None
            if isinstance(answers, list) and len(answers) == len(requests):
                return [self._endpoint.result_of(answer) for answer in answers]
            self._endpoint.batches = False
        return [self.request(method, params) for method, params in requests]

    def _patiently(self, method: str, ask: Callable[[], T]) -> T:
        """Return what `ask` returns, asked again over faults that are likely to pass."""
        ends = time.monotonic() + self.patience
        pauses = backoff() if self.patience else iter(RETRY_PAUSES)
        tried = 1
        while True:
            try:
                return ask()
            except (NodeUnreachable, NodeTimeout, NodeRefused) as error:
                if not self._may_pass(error):
                    raise
                moved = self._move_on()
                if method.startswith("eth_send"):
                    raise
                pause = 0.0
                if not moved or tried % len(self._endpoints) == 0:
                    pause = next(pauses, -1.0)
                    if pause < 0:
                        raise
                    pause = max(pause, getattr(error, "retry_after", None) or 0.0)
                if time.monotonic() + pause > ends + (0 if self.patience else LONGEST_PAUSE):
                    raise
            tried += 1
            time.sleep(pause)

    def _may_pass(self, error: ChainError) -> bool:
        """Whether a fault is likely to pass: a status, a broken connection; with patience more."""
        patient = bool(self.patience) or len(self._endpoints) > 1
        if isinstance(error, NodeUnreachable):
            return patient or not error.details.get("refused")
        if isinstance(error, NodeTimeout) or error.details.get("garbled"):
            return patient
        return isinstance(error, RateLimited) or error.details.get("status") in RETRIED_STATUSES

    def _move_on(self) -> bool:
        """Turn to the next address that serves; return whether there is another one."""
        count = len(self._endpoints)
        for step in range(1, count):
            at = (self._at + step) % count
            if self._serves(self._endpoints[at]):
                self._at = at
                return True
        return False

    def _serves(self, endpoint: Endpoint) -> bool:
        """Whether an address answers, is of this chain and is not far behind."""
        if endpoint.refused:
            return False
        try:
            if endpoint.verified:
                head = number(endpoint.ask("eth_blockNumber"))
            else:
                chain, genesis, head = _identity(endpoint)
                if (chain, genesis) != (self.chain_id, self.genesis_hash):
                    endpoint.refused = "it is of another chain"
                    return False
                endpoint.verified = True
        except (NodeUnreachable, NodeTimeout, NodeRefused):
            return False
        return head >= self._best - MAX_BEHIND

    # --- reads ---

    def head(self) -> int:
        """Return the newest block's number; NodeBehind where every address is far behind the best."""
        for _ in self._endpoints:
            found = number(self.request("eth_blockNumber"))
            if len(self._endpoints) == 1 or found >= self._best - MAX_BEHIND:
                self._best = max(self._best, found)
                return found
            if not self._move_on():
                break
        raise NodeBehind(
            f"{self.shown} is at block {found}, more than {MAX_BEHIND} behind block {self._best}, which"
            " another address had; try again later",
            found=found,
            best=self._best,
        )

    def block(self, block: BlockId = "latest") -> Block:
        """Return one block's head; NodeRefused where the node does not have it."""
        found = self.request("eth_getBlockByNumber", [block_id(block), False])
        if found is None:
            raise NodeRefused(f"{self.shown} has no block {block}", absent=True)
        return _block(found)

    def blocks(self, numbers: Sequence[int]) -> list[Block]:
        """Return the heads of many blocks, in order."""
        asked = [("eth_getBlockByNumber", [block_id(one), False]) for one in numbers]
        found = self.batch(asked)
        if None in found:
            raise NodeRefused(f"{self.shown} has no block {numbers[found.index(None)]}")
        return [_block(one) for one in found]

    def code(self, address: str, block: BlockId = "latest") -> bytes:
        """Return the code at an address; empty where there is none."""
        return bytes.fromhex(self.request("eth_getCode", [address, block_id(block)])[2:])

    def coin(self, address: str) -> int:
        """Return an account's money for gas, in wei."""
        return number(self.request("eth_getBalance", [address, "latest"]))

    def logs(
        self,
        address: str | Sequence[str],
        from_block: int,
        to_block: BlockId,
        topics: Sequence[Any] = (),
    ) -> list[dict[str, Any]]:
        """Return the raw logs of a range of blocks, both inclusive; NodeRefused where it is too large."""
        query = {
            "address": address,
            "fromBlock": block_id(from_block),
            "toBlock": block_id(to_block),
            "topics": list(topics),
        }
        return list(self.request("eth_getLogs", [query]))


def block_id(block: BlockId) -> str:
    """Return a block as JSON-RPC names it."""
    return hex(block) if isinstance(block, int) else block


def _block(found: Mapping[str, Any]) -> Block:
    base_fee = found.get("baseFeePerGas")
    return Block(
        number(found["number"]),
        found["hash"],
        found["parentHash"],
        number(found["timestamp"]),
        None if base_fee is None else number(base_fee),
    )


def _identity(endpoint: Endpoint) -> tuple[int, str, int]:
    """Return chain id, genesis hash and head of an address."""
    chain = number(endpoint.ask("eth_chainId"))
    genesis = endpoint.ask("eth_getBlockByNumber", ["0x0", False])
    if not isinstance(genesis, Mapping) or "hash" not in genesis:
        raise NodeRefused(f"{endpoint.shown} has no block 0")
    return chain, str(genesis["hash"]), number(endpoint.ask("eth_blockNumber"))


def backoff() -> Iterator[float]:
    """Yield pauses in seconds that double up to a bound, each spread at random by half."""
    for step in itertools.count():
        yield min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(step, 20)) * random.uniform(0.5, 1.5)


def spread(start: float = 0.02, most: float = 1.0) -> Iterator[float]:
    """Yield growing pauses in seconds, for polling."""
    return (min(most, start * 1.5**step) for step in itertools.count())
