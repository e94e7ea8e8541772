"""Deployment: at an address that its code alone decides (CREATE2), and so found again on every chain."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from royalty.artifacts import artifact
from royalty.chain.accounts import DEV_ACCOUNTS
from royalty.chain.codec import checksum, codec, encode
from royalty.chain.events import number, topic_of
from royalty.chain.ledger import Call
from royalty.chain.node import Node
from royalty.chain.sender import Signer, raw_call, transact
from royalty.errors import ChainError, InputError
from royalty.files import write_json
from royalty.money import MAX_DECIMALS

# The deterministic deployment proxy that stands on most chains at this address, on Anvil from its start.
FACTORY = "0x4e59b44847b379578588920cA78FbF26c0B4956C"
SALT = bytes(32)
DEV_TOKENS = 1_000_000
TEST_TOKEN_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Deployment:
    """A ledger on a chain: its address, its token's, and the block that it was made in."""

    chain_id: int
    royalty: str
    token: str
    block: int


def init_code(contract: str, *arguments: object) -> bytes:
    """Return the bytes that create a contract of ours: its bytecode, then its encoded arguments."""
    made = artifact(contract)
    fields: list[dict[str, Any]] = next(
        (item["inputs"] for item in made.abi if item["type"] == "constructor"), []
    )
    return made.bytecode + encode(fields, arguments)


def create2_address(code: bytes, salt: bytes = SALT) -> str:
    """Return the address that the factory gives to init code."""
    from eth_utils.crypto import keccak

    return checksum(keccak(b"\xff" + bytes.fromhex(FACTORY[2:]) + salt + keccak(code))[12:])


def deployment_call(node: Node, code: bytes, description: str) -> Call | None:
    """Return the call that makes a contract, None where it stands at its CREATE2 address already.

    Without the factory on a chain the contract gets an address that the account and its nonce decide.
    """
    if not node.code(FACTORY):
        return raw_call(None, code, description)
    if node.code(create2_address(code)):
        return None
    return raw_call(FACTORY, SALT + code, description)


def check_token(node: Node, token: str) -> None:
    """Raise InputError where there is no token of 0 to 27 decimals at an address."""
    token_decimals(node, token)


def token_decimals(node: Node, token: str) -> int:
    """Return a token's decimals; InputError where there is no token of 0 to 27 decimals at an address."""
    if not node.code(token):
        raise InputError(f"there is no contract at {token} on chain {node.chain_id}; check --token")
    data = "0x" + codec("TestUSD").call_data("decimals", ()).hex()
    try:
        decimals = int(node.request("eth_call", [{"to": token, "data": data}, "latest"]), 16)
    except (ChainError, ValueError):
        raise InputError(
            f"the contract at {token} does not tell its decimals; check --token"
        ) from None
    if decimals > MAX_DECIMALS:
        raise InputError(
            f"the token at {token} has {decimals} decimals; 0 to {MAX_DECIMALS} are supported"
        )
    return decimals


def plan_deployment(
    node: Node, token: str | None, known: Deployment | None = None
) -> tuple[str, list[Call]]:
    """Return the token's address and the calls still to send; without a token, the local chain's TestUSD.

    `known` is a deployment of before: where it stands and is for this token, nothing is to be sent.
    """
    calls: list[Call] = []
    if token is None:
        token, calls = _test_token(node)
    else:
        check_token(node, token)
    if known is not None and known.token == token and node.code(known.royalty):
        return token, calls
    ledger = deployment_call(node, init_code("Royalty", token), "make the ledger")
    return token, [*calls, ledger] if ledger else calls


def _test_token(node: Node) -> tuple[str, list[Call]]:
    if not node.is_local:
        raise InputError(
            f"chain {node.chain_id} is no local chain; name its settlement token with --token"
        )
    code = init_code("TestUSD")
    made = deployment_call(node, code, "make the test token TestUSD")
    token = create2_address(code)
    if made is None:
        return token, []
    if made.to is None:
        raise ChainError(
            "this local chain has no deployment factory, which Anvil has; run `royalty chain up`,"
            " or name a token with --token"
        )
    return token, [made, *(mint(token, address) for address, _ in DEV_ACCOUNTS)]


def mint(token: str, to: str) -> Call:
    """Give a million of the test token."""
    amount = DEV_TOKENS * 10**TEST_TOKEN_DECIMALS
    return Call(token, "mint", (to, amount), f"mint {DEV_TOKENS:,} TUSD for {to}", "TestUSD")


def deploy(
    node: Node, account: Signer, token: str, calls: list[Call], known: Deployment | None = None
) -> Deployment:
    """Send the calls of `plan_deployment` and return where the ledger stands; the same again is the same."""
    landed = [transact(node, call, account) for call in calls]
    made = bool(calls) and calls[-1].to in (FACTORY, None)
    if not made and known is not None and known.token == token and node.code(known.royalty):
        return known
    address = landed[-1].created if made else None
    address = address or create2_address(init_code("Royalty", token))
    if not node.code(address):
        raise ChainError(
            f"there is no code at {address} after the deployment; this is a bug, report it"
        )
    block = landed[-1].block if made else deployed_block(node, address)
    return Deployment(node.chain_id, address, token, block)


def deployed_block(node: Node, address: str) -> int:
    """Return the block that a ledger was made in, or an earlier one where the node keeps no old state."""
    try:
        logs = node.logs(address, 0, "latest", [topic_of("Deployed")])
        if logs:
            return number(logs[0]["blockNumber"])
    except ChainError:
        pass  # public nodes refuse such a range
    try:
        return _first_block_with_code(node, address)
    except ChainError:
        return 0


def _first_block_with_code(node: Node, address: str) -> int:
    low, high = 0, node.head()
    while low < high:
        middle = (low + high) // 2
        if node.code(address, middle):
            high = middle
        else:
            low = middle + 1
    return low


def save(folder: Path, deployment: Deployment) -> None:
    """Keep a deployment in a chain's state folder."""
    write_json(folder / "deployment.json", asdict(deployment))


def load(folder: Path) -> Deployment | None:
    """Return the deployment kept in a chain's state folder, None without one."""
    path = folder / "deployment.json"
    try:
        found = json.loads(path.read_text("utf-8"))
        return Deployment(found["chain_id"], found["royalty"], found["token"], found["block"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{path} cannot be read; delete it and run `royalty deploy` again"
        ) from None
