"""One RPC address: its connection, and the border where other libraries' errors become ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from royalty.errors import (
    AlreadyKnown,
    ChainError,
    FeeTooLow,
    FundsTooLow,
    InputError,
    NodeRefused,
    NodeTimeout,
    NodeUnreachable,
    NonceTooHigh,
    NonceTooLow,
    RateLimited,
)

if TYPE_CHECKING:
    from web3 import HTTPProvider
    from web3.types import RPCEndpoint

TOO_MANY_REQUESTS = 429
MAX_RETRY_AFTER = 86_400.0

# What nodes (geth, Nethermind, Erigon, Besu, Anvil, and services before them) say, in lower case.
REFUSALS: tuple[tuple[type[NodeRefused], tuple[str, ...]], ...] = (
    (AlreadyKnown, ("already known", "already imported", "known transaction", "alreadyknown")),
    (NonceTooLow, ("nonce too low", "nonce is too low", "oldnonce", "nonce has already been used")),
    (NonceTooHigh, ("nonce too high", "nonce is too high", "nonce gap", "nonce is too distant")),
    (
        FeeTooLow,
        (
            "underpriced",
            "less than block base fee",
            "fee too low",
            "feetoolow",
            "gas price too low",
            "gas price below",
        ),
    ),
    (RateLimited, ("rate limit", "too many requests", "request limit", "compute units")),
)


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


class Endpoint:
    """An RPC address with its connection; `verified` once it was found to be of the right chain."""

    def __init__(self, rpc: str, timeout: float) -> None:
        self.rpc = check_address(rpc)
        self.timeout = timeout
        self.batches = True
        self.verified = False
        self.refused = ""

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

    @property
    def shown(self) -> str:
        """The address fit for a message, without keys."""
        return shown(self.rpc)

    def ask(self, method: str, params: Sequence[Any] = ()) -> Any:
        """Return the result of one request, tried once; ChainError where there is none."""
        with translated(self.rpc, self.timeout, method):
            answer = self.provider.make_request(_endpoint(method), list(params))
        return self.result_of(answer)

    def ask_many(self, requests: Sequence[tuple[str, Sequence[Any]]]) -> Any:
        """Return a list of answers in order; whatever else came from a node that takes no batches."""
        asked = [(_endpoint(method), list(params)) for method, params in requests]
        with translated(self.rpc, self.timeout, "a batch"):
            return self.provider.make_batch_request(asked)

    def result_of(self, answer: Mapping[str, Any]) -> Any:
        """Return the `result` of a JSON-RPC answer, or raise what its `error` stands for."""
        if not isinstance(answer, Mapping) or ("result" not in answer and not answer.get("error")):
            raise NodeRefused(
                f"{self.shown} does not answer as a node does; check --rpc", garbled=True
            )
        if answer.get("error"):
            raise refusal(self.shown, answer["error"])
        return answer["result"]


def refusal(name: str, error: Any) -> ChainError:
    """Return the exception that a JSON-RPC error object of a node stands for; a revert decoded."""
    from royalty.chain.reverts import decode_revert, revert_data

    error = error if isinstance(error, Mapping) else {"message": str(error)}
    message, code = str(error.get("message", "")), error.get("code")
    data = revert_data(error)
    if data is not None:
        return decode_revert(data)
    words = message.lower()
    if "insufficient funds" in words:
        return FundsTooLow(
            "the account has too little of the chain's own coin for gas", answer=message
        )
    kind = next((kind for kind, said in REFUSALS if any(one in words for one in said)), NodeRefused)
    return kind(f"{name} refused: {message[:200] or code}", answer=message, code=code)


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
        raise _of_status(rpc, error.response) from None
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
            f" ({type(error).__name__}); check --rpc",
            garbled=True,
        ) from None


def _of_status(rpc: str, response: Any) -> NodeRefused:
    status = response.status_code if response is not None else 0
    advice = {
        401: "check the key in the RPC address",
        403: "check the key in the RPC address",
        404: "check the path of the RPC address",
        413: "the request is too large for it",
        429: "it asks for fewer requests; try again later",
    }.get(status, "try again later, or name another node with --rpc")
    message = f"{shown(rpc)} answered with HTTP status {status}: {advice}"
    if status == TOO_MANY_REQUESTS:
        return RateLimited(
            message, status=status, retry_after=retry_after(response.headers.get("Retry-After"))
        )
    return NodeRefused(message, status=status)


def retry_after(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header, given as such or as a date; None where it says nothing."""
    import time
    from email.utils import parsedate_to_datetime

    if not header:
        return None
    if header.strip().isascii() and header.strip().isdigit():
        return min(float(header), MAX_RETRY_AFTER)
    try:
        until = parsedate_to_datetime(header).timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        return None
    return min(max(0.0, until - time.time()), MAX_RETRY_AFTER)


def _http_session(rpc: str) -> Any:
    """Return an HTTP session, which keeps its connection; a proxy does not reach this very machine."""
    import requests

    session = requests.Session()
    session.headers["Content-Type"] = "application/json"
    if urlsplit(rpc).hostname in ("127.0.0.1", "localhost", "::1"):
        session.trust_env = False
    return session


def _endpoint(method: str) -> RPCEndpoint:
    from web3.types import RPCEndpoint

    return RPCEndpoint(method)
