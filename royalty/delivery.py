"""Brings what the journal holds onto the chain: once each, in order, whatever happened before.

The chain decides. A batch has landed where the ledger's event carries its number and its evidence;
until then the very same bytes are sent again. Its transaction can no longer land once another one
took its nonce, or once it landed and failed: only then is the batch signed anew, under its own
number, so that at most one of all its transactions can ever do anything. A number that stands on
chain with other evidence stops everything: nothing is renumbered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from royalty.errors import (
    ChainError,
    FundsTooLow,
    JournalStopped,
    LimitTooLow,
    NodeRefused,
    NodeTimeout,
    Reverted,
)
from royalty.evidence import hex_of
from royalty.journal import Attempt, AttemptState, Batch, Journal, State, crash_at
from royalty.money import NANO_PER_MICRO, format_nano, micro_rounded_up

if TYPE_CHECKING:
    from royalty.chain.accounts import Account
    from royalty.chain.events import Event
    from royalty.chain.ledger import Call, Ledger
    from royalty.chain.node import Node
    from royalty.chain.sender import Receipt

MAX_TRIES = 6
POLL_SECONDS = 0.2
WAIT_SECONDS = 600.0
NEVER = frozenset({"DealUnknown", "DealNotInForce", "TotalMismatch"})
"""Refusals that no waiting and no deposit mends: the deal is not what it was (a reorg)."""


@dataclass(frozen=True, slots=True)
class Link:
    """Where batches go and who signs: `confirmations` blocks on top of one make it settled."""

    node: Node
    ledger: Ledger
    platform: str
    account: Account
    confirmations: int
    say: Callable[[str], None] = field(default=lambda _: None)
    settled: Callable[[Batch], None] = field(default=lambda _: None)

    def call(self, batch: Batch) -> Call:
        """Return the ledger's call that reports a batch."""
        return self.ledger.report(
            self.platform, batch.number, batch.day, batch.evidence, batch.total_nano, batch.usage
        )


def take_up(link: Link, journal: Journal) -> None:
    """Settle everything that the journal holds; `link.settled` is told of each batch that does.

    Raises JournalStopped where chain and journal disagree; FundsTooLow, LimitTooLow, Reverted or
    NodeTimeout where a batch cannot land now. The journal stays then, to be taken up again.
    """
    reopen_taken_back(link, journal)
    stop_at_foreign(link, journal)
    deliver(link, journal)


def deliver(link: Link, journal: Journal) -> None:
    """Send every pending batch in order and wait until it is settled."""
    ends = time.monotonic() + WAIT_SECONDS
    while pending := journal.pending():
        for batch in pending:
            landed = _land(link, journal, batch)
            if landed is None:
                break
            _settle_if_deep(link, journal, landed)
        _wait_for_depth(link, journal, ends)


def reopen_taken_back(link: Link, journal: Journal) -> None:
    """Reopen the settled batches whose block is not on the chain any more.

    A block's hash stands for all blocks before it, so the newest batch that stands ends the search.
    """
    batch = journal.last_settled()
    while batch is not None and not _stands(link, batch):
        link.say(f"batch {batch.number} was taken back by the chain; it is sent again")
        journal.reopen(batch, "its block was taken back by the chain")
        batch = journal.last_settled(below=batch.number)


def stop_at_foreign(link: Link, journal: Journal) -> None:
    """Raise JournalStopped where the chain has batches of the platform that the journal has not."""
    landed, known = link.ledger.platform(link.platform).batches, journal.last_number()
    if landed > known:
        raise JournalStopped(
            f"the ledger has {landed} batches of {link.platform}, the journal of this folder knows"
            f" {known}: another folder or machine reports for this platform too; nothing was sent,"
            " report from where its journal is",
            chain=landed,
            journal=known,
        )


def require_money(link: Link, totals: Sequence[int], gas: int = 0) -> None:
    """Raise FundsTooLow or LimitTooLow where platform, reporter or gas money fall short.

    `totals` are the batches' prices in nano-tokens; `gas` is what they use together. The message
    names everything that is missing. Raises ChainError for an account that may not report.
    """
    needed = sum(totals)
    limit = _missing_of_limit(link, totals) if link.account.address != link.platform else []
    funds = _missing_funds(link, needed) + _missing_gas(link, gas)
    if funds or limit:
        kind = FundsTooLow if funds else LimitTooLow
        raise kind("; ".join(funds + limit), needed_nano=needed)


def find_on_chain(link: Link, journal: Journal, number: int) -> Event | None:
    """Return the event of the platform's batch of this number, None where the chain has none."""
    from royalty.chain.events import decode_logs, topic_of

    before = journal.last_settled(below=number)
    start = (before.block if before else None) or link.ledger.deployed_block
    topics = [topic_of("UsageReported"), f"0x{int(link.platform, 16):064x}", f"0x{number:064x}"]
    logs = link.node.logs(link.ledger.address, start, "latest", topics)
    events = decode_logs(logs, address=link.ledger.address)
    return events[-1] if events else None


# --- money ---


def _missing_funds(link: Link, needed: int) -> list[str]:
    funds = link.ledger.platform(link.platform).funds_nano
    if funds >= needed:
        return []
    return [
        f"platform {link.platform} has {format_nano(funds)} of the {format_nano(needed)} tokens that"
        f" this report needs: deposit {format_nano(needed - funds)} more with `royalty platform"
        " deposit`"
    ]


def _missing_gas(link: Link, gas: int) -> list[str]:
    from royalty.chain.sender import fees, max_fee

    if not gas:
        return []
    sender = link.account.address
    coin, cost = link.node.coin(sender), gas * max_fee(fees(link.node))
    if coin >= cost:
        return []
    return [f"{sender} has {coin} wei for gas that can cost {cost}: send it {cost - coin} more"]


def _missing_of_limit(link: Link, totals: Sequence[int]) -> list[str]:
    reporter = link.account.address
    if not link.ledger.is_reporter(link.platform, reporter):
        raise ChainError(
            f"{reporter} is no reporter of platform {link.platform}; the platform adds it with"
            " `royalty reporter add`"
        )
    state = link.ledger.platform(link.platform)
    spent = state.spent_nano(link.node.block().day) // NANO_PER_MICRO
    left = max(0, state.limit_micro - spent) * NANO_PER_MICRO
    needed = sum(micro_rounded_up(total) for total in totals) * NANO_PER_MICRO
    if needed <= left:
        return []
    return [
        f"the reporters of {link.platform} may spend {format_nano(left)} tokens more today and need"
        f" {format_nano(needed)}: the platform raises its limit by {format_nano(needed - left)} or"
        " more with `royalty platform limit`, or report again tomorrow"
    ]


# --- one batch ---


def _land(link: Link, journal: Journal, batch: Batch) -> Batch | None:
    """Send a batch until the chain has it; None where it turned out that it never can land."""
    for _ in range(MAX_TRIES):
        batch = _look(link, journal, batch)
        if batch.block is not None:
            return batch
        if batch.state is State.PLANNED:
            signed = _sign(link, journal, batch)
            if signed is None:
                return None
            batch = signed
        batch, receipt = _send(link, journal, batch)
        if receipt is not None and not receipt.status:
            error = _failed(link, journal, batch, receipt)
            if getattr(error, "name", "") not in NEVER:
                raise error
            batch = journal.batch(batch.id)
    raise ChainError(
        f"batch {batch.number} did not land in {MAX_TRIES} tries; run `royalty usage report` again"
    )


def _look(link: Link, journal: Journal, batch: Batch) -> Batch:
    """Return the batch after what the chain says: landed, to be sent, or to be signed anew."""
    from royalty.chain.sender import landed_nonce, receipt

    live = journal.attempts(batch, AttemptState.LIVE)
    for attempt in live:
        found = receipt(link.node, attempt.hash, contract=link.ledger.address)
        if found is not None and found.status:
            return journal.mined(batch, found.transaction, found.block, found.block_hash)
        if found is not None:
            note = f"transaction {attempt.hash} landed and failed"
            return journal.unsign(batch, AttemptState.REVERTED, note)
    if batch.block is not None:
        batch = journal.unmined(batch, "its block was taken back by the chain")
    if link.ledger.platform(link.platform).batches >= batch.number:
        return _landed_otherwise(link, journal, batch)
    if batch.state is State.PLANNED:
        return batch
    if not live:
        return journal.unsign(batch, AttemptState.LOST, "none of its transactions can land")
    if any(landed_nonce(link.node, each.sender) <= each.nonce for each in live):
        return batch
    if any(receipt(link.node, each.hash) for each in live):
        return batch  # it landed between two questions: sending it again finds that out
    note = f"nonce {live[0].nonce} of {live[0].sender} was used by another transaction"
    link.say(f"batch {batch.number} is signed anew: {note}")
    return journal.unsign(batch, AttemptState.LOST, note)


def _landed_otherwise(link: Link, journal: Journal, batch: Batch) -> Batch:
    """Return the batch whose number is on chain as landed, if it is this one; JournalStopped."""
    event = find_on_chain(link, journal, batch.number)
    if event is None:
        raise ChainError(
            f"the node says that batch {batch.number} landed but has no event of it; it may be"
            " behind, try again later"
        )
    if event.args["evidence"] != batch.evidence:
        raise JournalStopped(
            f"batch {batch.number} of {link.platform} stands on chain with other evidence"
            f" ({hex_of(event.args['evidence'])}, transaction {event.transaction}): another folder"
            " or machine reports for this platform too; nothing more is sent, nothing renumbered",
            batch=batch.number,
            transaction=event.transaction,
        )
    return journal.mined(batch, event.transaction, event.block, event.block_hash)


def _sign(link: Link, journal: Journal, batch: Batch) -> Batch | None:
    """Sign a batch and write the bytes down; None, with it void, where it never can land."""
    from royalty.chain.sender import prepare

    require_money(link, [each.total_nano for each in journal.batches(State.PLANNED)])
    try:
        prepared = prepare(link.node, link.call(batch), link.account)
    except Reverted as error:
        if error.name in NEVER:
            _give_up(link, journal, batch, error)
            return None
        raise
    attempt = Attempt(
        prepared.hash, prepared.nonce, link.account.address, prepared.raw, AttemptState.LIVE
    )
    batch = journal.sign(batch, attempt)
    crash_at("after-sign")
    return batch


def _send(link: Link, journal: Journal, batch: Batch) -> tuple[Batch, Receipt | None]:
    """Hand a batch's bytes to the node, wait for its receipt; None where its nonce was taken."""
    from royalty.chain.sender import send_raw, wait

    attempt = journal.attempts(batch, AttemptState.LIVE)[0]
    crash_at("before-send")
    try:
        send_raw(link.node, attempt.raw)
    except NodeRefused as error:
        if "nonce too low" in str(error.details.get("answer", "")).lower():
            return batch, None
        raise
    crash_at("after-send")
    batch = journal.sent(batch)
    receipt = wait(link.node, attempt.hash)
    crash_at("after-receipt")
    return batch, receipt


def _failed(link: Link, journal: Journal, batch: Batch, receipt: Receipt) -> ChainError:
    """Write down that a batch's transaction landed and failed; return the error that says why."""
    from royalty.chain.sender import failure

    error = failure(link.node, link.call(batch), link.account.address, receipt)
    journal.unsign(batch, AttemptState.REVERTED, f"{receipt.transaction} failed: {error}")
    return error


def _give_up(link: Link, journal: Journal, batch: Batch, why: Reverted) -> None:
    """Void a batch that can never land with all after it; their units are counted again."""
    later = [each for each in journal.batches() if each.number > batch.number]
    after = [batch, *(_spent(link, journal, each) for each in later)]
    if any(each.state is not State.PLANNED for each in after):
        raise JournalStopped(
            f"batch {batch.number} can never land ({why}) but batches after it are signed; nothing"
            " more is sent"
        )
    journal.void(after, str(why))
    link.say(f"{len(after)} batches from {batch.number} on can never land ({why}); counted again")


def _spent(link: Link, journal: Journal, batch: Batch) -> Batch:
    """Return a batch after one that can never land, with its signed bytes used up where it has any.

    Void with live bytes it could land later beside those that count its units again. The ledger
    refuses its number while the one before it is missing: sending the bytes uses up their nonce.
    """
    if batch.state is State.PLANNED:
        return batch
    if batch.state is not State.SETTLED:
        batch = _look(link, journal, batch)
    if batch.state in (State.SIGNED, State.SENT) and batch.block is None:
        batch, _ = _send(link, journal, batch)
        batch = _look(link, journal, batch)
    return batch


def _stands(link: Link, batch: Batch) -> bool:
    """Return whether the block that a batch landed in is still on the chain."""
    if batch.block is None or batch.block > link.node.head():
        return False
    return link.node.block(batch.block).hash == batch.block_hash


# --- depth ---


def _settle_if_deep(link: Link, journal: Journal, batch: Batch) -> bool:
    """Settle a batch that landed deep enough and still stands; return whether it is settled."""
    if link.node.head() - (batch.block or 0) < link.confirmations:
        return False
    if not _stands(link, batch):
        journal.unmined(batch, "its block was taken back by the chain")
        return False
    crash_at("before-settle")
    link.settled(
        journal.settle(batch, batch.transaction or "", batch.block or 0, batch.block_hash or "")
    )
    crash_at("after-settle")
    return True


def _wait_for_depth(link: Link, journal: Journal, ends: float) -> None:
    """Wait until what landed is settled, or one is taken back; NodeTimeout after `ends`."""
    for pending in journal.pending():
        while (batch := journal.batch(pending.id)).block is not None:
            if _settle_if_deep(link, journal, batch):
                break
            if time.monotonic() > ends:
                raise NodeTimeout(
                    f"batch {batch.number} landed but has not {link.confirmations} blocks on top of"
                    " it yet; the next `royalty usage report` settles it"
                )
            time.sleep(POLL_SECONDS)
