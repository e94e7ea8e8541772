"""Transactions: simulated first, signed here, sent once, waited for within bounds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from royalty.chain.codec import checksum
from royalty.chain.events import Event, decode_logs, number
from royalty.chain.ledger import Call
from royalty.chain.node import BlockId, Node, block_id, spread
from royalty.errors import (
    AlreadyKnown,
    ChainError,
    FeeAboveCap,
    FundsTooLow,
    NodeRefused,
    NodeTimeout,
    NodeUnreachable,
    NonceTooLow,
    Reverted,
)

MAX_GAS = 16_777_216  # of one transaction (EIP-7825)
GAS_MARGIN_PERCENT = 10
WAIT_SECONDS = 180.0
LOCAL_WAIT_SECONDS = 30.0
GWEI = 10**9
FEE_WORDS = ("maxFeePerGas", "maxPriorityFeePerGas", "gasPrice")
RAISE_PERMILLE = 125
"""By how much a fee rises that replaces another: 12.5 %, of which geth asks for 10."""


class Signer(Protocol):
    """What signs: an account of `royalty.chain.accounts`."""

    @property
    def address(self) -> str:
        """The checksummed address that signs."""

    def sign(self, transaction: Mapping[str, Any]) -> bytes:
        """Return the signed bytes of a transaction."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A signed transaction that is not sent: its bytes, its hash, and the fields it was signed from."""

    raw: bytes
    hash: str
    nonce: int
    gas: int
    fields: Mapping[str, Any]

    @property
    def highest_cost_wei(self) -> int:
        """The most that its gas can cost, in wei."""
        price = self.fields.get("maxFeePerGas", self.fields.get("gasPrice", 0))
        return self.gas * int(price)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A transaction that landed; `status` is True where it did what it should. Cost in wei of the chain's coin."""

    transaction: str
    block: int
    block_hash: str
    gas_used: int
    cost_wei: int
    status: bool
    events: tuple[Event, ...]
    created: str | None = None  # the contract that the transaction made

    def event(self, name: str) -> Event:
        """Return the first event of a name; ChainError where there is none."""
        for event in self.events:
            if event.name == name:
                return event
        raise ChainError(f"transaction {self.transaction} did not emit {name}; check --contract")


@dataclass(frozen=True, slots=True)
class Plan:
    """What sending a call would cost now: gas and the most in wei, None where it depends on a call before it."""

    call: Call
    gas: int | None
    cost_wei: int | None


def simulate(node: Node, call: Call, sender: str, *, block: BlockId = "latest") -> bytes:
    """Return what the call would return now, raw; Reverted where the contract would refuse it."""
    return bytes.fromhex(node.request("eth_call", [_asked(call, sender), block_id(block)])[2:])


def estimate(node: Node, call: Call, sender: str) -> int:
    """Return the gas that the call would use now; Reverted where the contract would refuse it."""
    return number(node.request("eth_estimateGas", [_asked(call, sender), "latest"]))


def _asked(call: Call, sender: str) -> dict[str, str]:
    asked = {"from": sender, "data": "0x" + call.data.hex()}
    return asked if call.to is None else asked | {"to": call.to}


def plan(node: Node, calls: list[Call], sender: str) -> list[Plan]:
    """Return what the calls would cost; Reverted where already the first would be refused."""
    price = max_fee(fees(node))
    planned = []
    for position, call in enumerate(calls):
        gas = _gas_after(node, call, sender) if position else estimate(node, call, sender)
        planned.append(Plan(call, gas, None if gas is None else gas * price))
    return planned


def _gas_after(node: Node, call: Call, sender: str) -> int | None:
    """Return the gas of a call that may need one before it to land first; None where that shows."""
    if call.to is not None and not node.code(call.to):
        return None
    try:
        return estimate(node, call, sender)
    except (Reverted, NodeRefused):
        return None


def gas_limit(node: Node) -> int:
    """Return the most gas that one transaction can use on this chain now."""
    head = node.request("eth_getBlockByNumber", ["latest", False])
    return min(MAX_GAS, number(head["gasLimit"]))


def fees(node: Node, cap: int | None = None) -> dict[str, int]:
    """Return the fee fields of a transaction now, in wei a gas: EIP-1559, or legacy without a base fee.

    With a `cap` nothing is above it; FeeAboveCap where the chain takes nothing below it now.
    """
    base_fee = node.block("latest").base_fee
    if base_fee is None:
        price = number(node.request("eth_gasPrice"))
        return {"gasPrice": _capped(price, price, cap)}
    try:
        tip = number(node.request("eth_maxPriorityFeePerGas"))
    except NodeRefused as error:
        if error.details.get("status") or error.details.get("garbled"):
            raise
        tip = GWEI
    most = _capped(2 * base_fee + tip, base_fee, cap)
    return {"maxFeePerGas": most, "maxPriorityFeePerGas": min(tip, most)}


def _capped(fee: int, least: int, cap: int | None) -> int:
    if cap is None:
        return fee
    if cap < least:
        raise FeeAboveCap(
            f"the chain takes {_gwei(least)} gwei a gas now, more than the {_gwei(cap)} allowed;"
            " try again later, or raise --max-fee",
            cap=cap,
            fee=least,
        )
    return min(fee, cap)


def _gwei(wei: int) -> str:
    return f"{wei // GWEI}.{wei % GWEI:09d}".rstrip("0").rstrip(".")


def raised(
    fields: Mapping[str, Any], now: Mapping[str, int], cap: int, permille: int = RAISE_PERMILLE
) -> dict[str, Any]:
    """Return a transaction's fields with every fee raised by at least so much, and to that of `now`.

    Nodes replace a transaction only where each of its fees rises. Raises FeeAboveCap over `cap` wei.
    """
    made = dict(fields)
    for word in FEE_WORDS:
        if word in made:
            least = -(-int(made[word]) * (1000 + permille) // 1000) + 1
            if least > cap:
                raise FeeAboveCap(
                    f"a transaction waits at {_gwei(int(made[word]))} gwei a gas and replacing it takes"
                    f" {_gwei(least)}, more than the {_gwei(cap)} allowed; try again later, or raise"
                    " --max-fee",
                    cap=cap,
                    fee=least,
                )
            made[word] = min(cap, max(least, now.get(word, 0)))
    return made


def fields_of(raw: bytes) -> dict[str, Any]:
    """Return the fields that signed bytes were made from: of type 2, or a legacy transaction."""
    typed = raw[:1] == b"\x02"
    items = _rlp_items(raw[1:] if typed else raw)
    typed_names = ("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas")
    names = typed_names if typed else ("nonce", "gasPrice", "gas")
    fields: dict[str, Any] = {
        name: int.from_bytes(item, "big") for name, item in zip(names, items, strict=False)
    }
    to, value, data = items[len(names) : len(names) + 3]
    fields |= {"value": int.from_bytes(value, "big"), "data": "0x" + data.hex()}
    if to:
        fields["to"] = checksum("0x" + to.hex())
    if "chainId" not in fields:
        fields["chainId"] = (int.from_bytes(items[6], "big") - 35) // 2
    return fields


def _rlp_items(data: bytes) -> list[bytes]:
    """Return the items of an RLP list of strings; a list among them as its bare content."""
    at, end = _rlp_span(data, 0)
    items = []
    while at < end:
        start, stop = _rlp_span(data, at)
        items.append(data[start:stop])
        at = stop
    return items


def _rlp_span(data: bytes, at: int) -> tuple[int, int]:
    """Return where the content of the RLP item at a position begins and ends."""
    head = data[at]
    if head < 0x80:
        return at, at + 1
    base = 0x80 if head < 0xC0 else 0xC0
    if head - base <= 55:
        return at + 1, at + 1 + head - base
    start = at + 1 + head - base - 55
    return start, start + int.from_bytes(data[at + 1 : start], "big")


def max_fee(fee_fields: Mapping[str, int]) -> int:
    """Return the most that one gas can cost, in wei."""
    return fee_fields.get("maxFeePerGas", fee_fields.get("gasPrice", 0))


def prepare(
    node: Node,
    call: Call,
    account: Signer,
    *,
    nonce: int | None = None,
    like: Call | None = None,
    cap: int | None = None,
) -> Prepared:
    """Return the signed transaction of a call, not sent; its nonce is the account's next unless given.

    `like` is a call that can be tried now where `call` cannot yet, and takes the same gas; `cap` is
    the most wei that a gas may cost. Raises Reverted where the contract would refuse it now,
    FundsTooLow where the account cannot pay the gas, FeeAboveCap, and ChainError where it needs more
    gas than one transaction may use.
    """
    gas = checked_gas(node, like or call, account.address)
    if gas > MAX_GAS:
        raise ChainError(
            f"to {call.description} takes {gas:,} gas, more than a transaction may use ({MAX_GAS:,});"
            " do it in parts",
            gas=gas,
        )
    gas = min(MAX_GAS, gas + gas * GAS_MARGIN_PERCENT // 100 + 5_000)
    fields: dict[str, Any] = {
        "chainId": node.chain_id,
        "nonce": next_nonce(node, account.address) if nonce is None else nonce,
        "gas": gas,
        "value": 0,
        "data": "0x" + call.data.hex(),
        **fees(node, cap),
    }
    if call.to is not None:
        fields["to"] = call.to
    cost, coin = gas * max_fee(fields), node.coin(account.address)
    if coin < cost:
        raise FundsTooLow(
            f"{account.address} has {_coin(coin)} of the chain's own coin and its gas can cost"
            f" {_coin(cost)}; send it some"
        )
    return sign(fields, account)


def checked_gas(node: Node, call: Call, sender: str) -> int:
    """Return the gas that the call would use; Reverted with its reason where it would be refused."""
    try:
        return estimate(node, call, sender)
    except ChainError as error:
        if not getattr(error, "name", ""):
            simulate(node, call, sender)  # some nodes tell the reason of a call alone
        raise


def sign(fields: Mapping[str, Any], account: Signer) -> Prepared:
    """Return a transaction's fields signed."""
    raw = account.sign(fields)
    return Prepared(raw, hash_of(raw), fields["nonce"], fields["gas"], dict(fields))


def hash_of(raw: bytes) -> str:
    """Return the hash of a signed transaction's bytes."""
    from eth_utils.crypto import keccak

    return "0x" + bytes(keccak(raw)).hex()


def next_nonce(node: Node, address: str) -> int:
    """Return the account's next nonce, what waits in the node's pool counted."""
    return number(node.request("eth_getTransactionCount", [address, "pending"]))


def landed_nonce(node: Node, address: str) -> int:
    """Return how many transactions of the account have landed."""
    return number(node.request("eth_getTransactionCount", [address, "latest"]))


def reprice(node: Node, prepared: Prepared, account: Signer, *, percent: int = 25) -> Prepared:
    """Return the same transaction with the same nonce at a higher fee: at least `percent` more."""
    return sign(raised(prepared.fields, fees(node), 2**255, percent * 10), account)


def send_raw(node: Node, raw: bytes) -> str:
    """Hand signed bytes to the node and return their hash; to send the same bytes again is fine.

    NodeTimeout where no answer came (it may have arrived all the same), NodeRefused where the node
    does not want it (`details["answer"]` is its reason, for example "nonce too low").
    """
    name = hash_of(raw)
    try:
        node.request("eth_sendRawTransaction", ["0x" + raw.hex()])
    except AlreadyKnown:
        return name
    except NonceTooLow:
        if receipt(node, name) is not None:
            return name
        raise
    except (NodeTimeout, NodeUnreachable, NodeRefused) as error:
        if not _may_have_arrived(error):
            raise
        raise NodeTimeout(
            f"no answer when sending {name}; it may land all the same: look for it before sending again",
            transaction=name,
            pending=[{"transaction": name}],
        ) from None
    return name


def _may_have_arrived(error: ChainError) -> bool:
    """Whether what was sent may have reached a node although no answer said so."""
    if isinstance(error, NodeUnreachable):
        return not error.details.get("refused")
    status = error.details.get("status") or 0
    return isinstance(error, NodeTimeout) or status >= 500 or bool(error.details.get("garbled"))


def receipt(node: Node, transaction: str, *, contract: str | None = None) -> Receipt | None:
    """Return the receipt of a transaction's hash, None where it has not landed.

    `events` are those of the ledger's ABI, of the contract's address where one is given.
    """
    found = node.request("eth_getTransactionReceipt", [transaction])
    if not found or found.get("blockNumber") is None:
        return None
    address = contract or found.get("to") or found.get("contractAddress") or ""
    gas_used = number(found["gasUsed"])
    return Receipt(
        transaction,
        number(found["blockNumber"]),
        found["blockHash"],
        gas_used,
        gas_used * number(found.get("effectiveGasPrice")),
        number(found.get("status", "0x1")) == 1,
        decode_logs(found["logs"], address=address),
        checksum(made) if (made := found.get("contractAddress")) else None,
    )


def wait(node: Node, transaction: str, timeout: float | None = None) -> Receipt:
    """Return the receipt of a transaction as soon as it landed; NodeTimeout names it after `timeout` seconds."""
    if timeout is None:
        timeout = LOCAL_WAIT_SECONDS if node.is_local else WAIT_SECONDS
    ends = time.monotonic() + timeout
    for pause in spread():
        found = receipt(node, transaction)
        if found is not None:
            return found
        if time.monotonic() + pause > ends:
            break
        time.sleep(pause)
    raise NodeTimeout(
        f"transaction {transaction} has not landed within {timeout:g} s; it still may: look for it before"
        " sending again",
        transaction=transaction,
        pending=[{"transaction": transaction}],
    )


def transact(node: Node, call: Call, account: Signer, *, timeout: float | None = None) -> Receipt:
    """Send a call and return its receipt.

    Raises Reverted (before anything is sent, or after where the state changed in between),
    FundsTooLow, NodeTimeout with the transaction's hash, and other ChainErrors.
    """
    prepared = prepare(node, call, account)
    send_raw(node, prepared.raw)
    landed = wait(node, prepared.hash, timeout)
    if not landed.status:
        raise failure(node, call, account.address, landed)
    return landed


def failure(node: Node, call: Call, sender: str, landed: Receipt) -> ChainError:
    """Return why a transaction that landed did nothing, found by running it again on its block."""
    try:
        simulate(node, call, sender, block=landed.block - 1)
        simulate(node, call, sender, block=landed.block)
    except Reverted as error:
        return error
    return ChainError(
        f"transaction {landed.transaction} landed and failed; nothing changed but its gas is spent",
        transaction=landed.transaction,
    )


def raw_call(to: str | None, data: bytes, description: str) -> Call:
    """Return a call of bytes that no ABI describes."""
    return RawCall(to, "", (), description, notes={"data": data})


class RawCall(Call):
    """A call whose bytes are given."""

    __slots__ = ()

    @property
    def data(self) -> bytes:
        """The bytes as given."""
        return bytes(self.notes["data"])


def _coin(wei: int) -> str:
    whole, rest = divmod(wei, 10**18)
    return f"{whole}.{rest:018d}".rstrip("0").rstrip(".")
