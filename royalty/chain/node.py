"""One node behind an RPC address: bounded requests, batches, blocks and logs, and the border of its errors."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from royalty.chain.events import number
from royalty.days import day_of_timestamp
from royalty.errors import (
    ChainError,
    FundsTooLow,
    InputError,
    NodeRefused,
    NodeTimeout,
    NodeUnreachable,
    WrongChain,
)

if TYPE_CHECKING:
    from web3 import HTTPProvider, Web3
    from web3.types import RPCEndpoint

LOCAL_CHAIN_ID = 31337
TIMEOUT_SECONDS = 30.0
BATCH_SIZE = 100
RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})
RETRY_PAUSES = (0.2, 1.0)

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


def shown(rpc: str) -> str:
    """Return an RPC address fit for a message: without user, path and query, which often hold a key."""
    try:
        parts = urlsplit(rpc)
        host = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    except ValueError:
        return "the RPC address"
    return f"{parts.scheme}://{host}"


def check_address(rpc: str) -> str:
    """Return the RPC address; InputError where it is not http(s)."""
    try:
        parts = urlsplit(rpc)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise InputError(f"'{rpc[:60]}' is no RPC address; write for example http://127.0.0.1:8545")
    return rpc


@contextmanager
def translated(rpc: str, timeout: float, method: str = "") -> Iterator[None]:
    """Turn what the transport raises, and answers that no node gives, into our tree; nowhere else."""
    import requests

    try:
        yield
    except requests.Timeout:
        raise NodeTimeout(
            f"{shown(rpc)} gave no answer to {method or 'a request'} within {timeout:g} s; try again later"
        ) from None
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        raise NodeRefused(_status_message(rpc, status), status=status) from None
    except requests.RequestException as error:
        refused = "Connection refused" in str(error)
        reason = "nothing listens there" if refused else type(error).__name__
        raise NodeUnreachable(
            f"no node answers at {shown(rpc)} ({reason}); check --rpc, or run `royalty chain up`",
            refused=refused,
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NodeRefused(
            f"{shown(rpc)} does not answer {method or 'a request'} as a node does"
            f" ({type(error).__name__}); check --rpc"
        ) from None


def _status_message(rpc: str, status: int) -> str:
    advice = {
        401: "check the key in the RPC address",
        403: "check the key in the RPC address",
        404: "check the path of the RPC address",
        413: "the request is too large for it",
        429: "it asks for fewer requests; try again later",
    }.get(status, "try again later, or name another node with --rpc")
    return f"{shown(rpc)} answered with HTTP status {status}: {advice}"


def _http_session(rpc: str) -> Any:
    """Return an HTTP session, which keeps its connection; a proxy does not reach this very machine."""
    import requests

    session = requests.Session()
    session.headers["Content-Type"] = "application/json"
    if urlsplit(rpc).hostname in ("127.0.0.1", "localhost", "::1"):
        session.trust_env = False
    return session


class Node:
    """A node of one chain. Made by `Node.connect`, which asks it for its chain and its genesis block."""

    def __init__(self, rpc: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self.rpc = check_address(rpc)
        self.timeout = timeout
        self._batches = True
        self.chain_id = 0
        self.genesis_hash = ""

    @classmethod
    def connect(
        cls, rpc: str, *, expected_chain_id: int | None = None, timeout: float = TIMEOUT_SECONDS
    ) -> Node:
        """Return the node at an http(s) address.

        Raises InputError for a bad address, NodeUnreachable, NodeTimeout (seconds), NodeRefused, and
        WrongChain where its chain id is not the one expected.
        """
        node = cls(rpc, timeout=timeout)
        node.chain_id = number(node.request("eth_chainId"))
        if expected_chain_id is not None and node.chain_id != expected_chain_id:
            raise WrongChain(
                f"{shown(rpc)} is a node of chain {node.chain_id}, not {expected_chain_id};"
                " check --network and --rpc",
                expected=expected_chain_id,
                found=node.chain_id,
            )
        node.genesis_hash = node.block(0).hash
        return node

    @cached_property
    def provider(self) -> HTTPProvider:
        """web3.py's transport to this node, without its own retries: ours are bounded and say so."""
        from web3 import HTTPProvider

        return HTTPProvider(
            self.rpc,
            request_kwargs={"timeout": self.timeout},
            session=_http_session(self.rpc),
            exception_retry_configuration=None,
        )

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

        A fault of the transport is tried again up to twice, except when sending a transaction.
        """
        return self.result_of(self._patiently(method, lambda: self._ask(method, params)))

    def batch(self, requests: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Return the results of many requests in order, sent a hundred at a time.

        A node that takes no batches is asked one by one. The first error of any request is raised.
        """
        results: list[Any] = []
        for at in range(0, len(requests), BATCH_SIZE):
            results += self._batch(requests[at : at + BATCH_SIZE])
        return results

    def _batch(self, requests: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        if self._batches and len(requests) > 1:
            try:
                answers = self._patiently("a batch", lambda: self._ask_many(requests))
            except NodeRefused:
                answers = None
            if isinstance(answers, list) and len(answers) == len(requests):
                return [self.result_of(answer) for answer in answers]
            self._batches = False
        return [self.request(method, params) for method, params in requests]

    def _patiently(self, method: str, ask: Callable[[], T]) -> T:
        pauses = iter(() if method.startswith("eth_send") else RETRY_PAUSES)
        while True:
            try:
                with translated(self.rpc, self.timeout, method):
                    return ask()
            except (NodeUnreachable, NodeRefused) as error:
                pause = next(pauses, None) if _passing(error) else None
                if pause is None:
                    raise
            time.sleep(pause)

    def result_of(self, answer: Mapping[str, Any]) -> Any:
        """Return the `result` of a JSON-RPC answer, or raise what its `error` stands for."""
        if not isinstance(answer, Mapping) or ("result" not in answer and not answer.get("error")):
            raise NodeRefused(f"{self.shown} does not answer as a node does; check --rpc")
        if answer.get("error"):
            raise self.refusal(answer["error"])
        return answer["result"]

    def refusal(self, error: Any) -> ChainError:
        """Return the exception that a JSON-RPC error object stands for; a revert decoded."""
        from royalty.chain.reverts import decode_revert, revert_data

        error = error if isinstance(error, Mapping) else {"message": str(error)}
        message, code = str(error.get("message", "")), error.get("code")
        data = revert_data(error)
        if data is not None:
            return decode_revert(data)
        if "insufficient funds" in message.lower():
            return FundsTooLow(
                "the account has too little of the chain's own coin for gas", answer=message
            )
        return NodeRefused(
            f"{self.shown} refused: {message[:200] or code}", answer=message, code=code
        )

    # --- reads ---

    def head(self) -> int:
        """Return the newest block's number."""
        return number(self.request("eth_blockNumber"))

    def block(self, block: BlockId = "latest") -> Block:
        """Return one block's head; NodeRefused where the node does not have it."""
        found = self.request("eth_getBlockByNumber", [block_id(block), False])
        if found is None:
            raise NodeRefused(f"{self.shown} has no block {block}")
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

    def _ask(self, method: str, params: Sequence[Any]) -> Mapping[str, Any]:
        return self.provider.make_request(_endpoint(method), list(params))

    def _ask_many(self, requests: Sequence[tuple[str, Sequence[Any]]]) -> Any:
        """Return a list of answers in order; whatever else came from a node that takes no batches."""
        asked = [(_endpoint(method), list(params)) for method, params in requests]
        return self.provider.make_batch_request(asked)


def _endpoint(method: str) -> RPCEndpoint:
    from web3.types import RPCEndpoint

    return RPCEndpoint(method)


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


def _passing(error: ChainError) -> bool:
    """Whether a fault of the transport is likely to pass: a status, or a connection that broke."""
    if isinstance(error, NodeUnreachable):
        return not error.details.get("refused")
    return error.details.get("status") in RETRIED_STATUSES


def spread(start: float = 0.02, most: float = 1.0) -> Iterator[float]:
    """Yield growing pauses in seconds, for polling."""
    return (min(most, start * 1.5**step) for step in itertools.count())
