"""Sending beyond one call: amounts read from text, approvals, and calls that a kill does not double."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from royalty.errors import ChainError, FundsTooLow, InputError, NodeRefused, NodeUnreachable
from royalty.files import write_json
from royalty.money import MAX_NANO, parse_tokens

if TYPE_CHECKING:
    from royalty.chain.ledger import Call
    from royalty.chain.sender import Receipt
    from royalty.client import Royalty


def with_approval(session: Royalty, amount: int, call: Call) -> list[Call]:
    """Return the call, and before it the approval of exactly `amount` smallest units that it pulls.

    No approval where the ledger may already pull that much. One that is there but too small is
    cleared first, as some tokens demand. Raises FundsTooLow where the account has fewer tokens.
    """
    owner, token = session.account.address, session.token
    has = session.ledger.token_balance(owner)
    if has < amount:
        raise FundsTooLow(
            f"{owner} has {format_amount(session, has)} {token.symbol} and needs"
            f" {format_amount(session, amount)}; {format_amount(session, amount - has)} are missing"
        )
    allowed = session.ledger.allowance(owner)
    if allowed >= amount:
        return [call]
    clear = [session.ledger.approve(0)] if allowed else []
    return [*clear, session.ledger.approve(amount), call]


def format_amount(session: Royalty, amount: int) -> str:
    """Return smallest units of the token as a decimal string of tokens, without trailing zeros."""
    decimals = session.token.decimals
    whole, rest = divmod(amount, 10**decimals)
    digits = f"{rest:0{decimals}d}".rstrip("0") if decimals else ""
    return f"{whole}.{digits}" if digits else str(whole)


def parse_amount(session: Royalty, text: str) -> int:
    """Return the token's smallest units of a decimal string of tokens, more than zero.

    Raises InputError where it is no decimal, zero, too large, or finer than the token's smallest unit.
    """
    nano = parse_tokens(text)
    if nano == 0:
        raise InputError("the amount is zero; give a larger one")
    if nano > MAX_NANO:
        raise InputError(f"amount {text[:40]} is more than the ledger can hold")
    return session.token.unit.from_nano_exact(nano)


# --- sending once, through kills ---


def send_once(session: Royalty, call: Call) -> Receipt:
    """Send one call, already confirmed, so that a kill at any moment does not make it land twice.

    Its signed bytes are written to the state folder first; `finish` of the next run resends them.
    """
    from royalty.chain import sender
    from royalty.journal import crash_at

    prepared = sender.prepare(session.node, call, session.account)
    path = _outbox(session) / f"{prepared.nonce:012d}-{prepared.hash[2:18]}.json"
    write_json(
        path,
        {
            "sender": session.account.address,
            "nonce": prepared.nonce,
            "transaction": prepared.hash,
            "raw": "0x" + prepared.raw.hex(),
            "description": call.description,
        },
    )
    try:
        sender.send_raw(session.node, prepared.raw)
    except (NodeRefused, FundsTooLow, NodeUnreachable):
        path.unlink()  # the node did not take it: nothing is under way
        raise
    crash_at("registered")
    landed = sender.wait(session.node, prepared.hash)
    path.unlink()
    if not landed.status:
        raise sender.failure(session.node, call, session.account.address, landed)
    return landed


def finish(session: Royalty) -> list[str]:
    """Bring to an end what a killed run of the same account was sending; return the transactions.

    The same bytes are sent again unless their nonce has landed, and waited for.
    """
    from royalty.chain import sender

    done = []
    for path in sorted(_outbox(session).glob("*.json")):
        left = json.loads(path.read_text("utf-8"))
        if left["sender"] != session.account.address:
            continue
        if sender.landed_nonce(session.node, left["sender"]) <= left["nonce"]:
            sender.send_raw(session.node, bytes.fromhex(left["raw"][2:]))
            sender.wait(session.node, left["transaction"])
        path.unlink()
        done.append(left["transaction"])
    return done


def send_confirmed(session: Royalty, call: Call) -> Receipt:
    """Send one call that was confirmed together with others; ChainErrors say what is pending."""
    from royalty.chain import sender

    try:
        return sender.transact(session.node, call, session.account)
    except ChainError as error:
        error.details.setdefault("pending", [{"description": call.description}])
        raise


def _outbox(session: Royalty) -> Path:
    return session.state_dir / "outbox"
