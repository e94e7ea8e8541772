"""Brings what the journal holds onto the chain: once each, in order, whatever happened before.

The chain decides. A batch has landed where the ledger's event carries its number and its evidence;
until then the very same bytes are sent again, or bytes of the same nonce at a higher fee. Its
transaction can no longer land once another one took its nonce, or once it landed and failed: only
then is the batch signed anew, under its own number, so that at most one of all its transactions can
ever do anything. A number that stands on chain with other evidence stops everything: nothing is
renumbered, and `usage adopt` takes what stands there into the account.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from royalty.errors import (
    ChainError,
    FeeAboveCap,
    FeeTooLow,
    FundsTooLow,
    InputError,
    JournalStopped,
    LimitTooLow,
    NodeRefused,
    NodeTimeout,
    NodeUnreachable,
    NonceTooHigh,
    NonceTooLow,
    RateLimited,
    Reverted,
)
from royalty.evidence import hex_of
from royalty.journal import (
    Attempt,
    AttemptState,
    Batch,
    DayUsage,
    Foreign,
    Journal,
    State,
    Tally,
    crash_at,
)
from royalty.money import NANO_PER_MICRO, format_nano, micro_rounded_up
from royalty.settings import DEADLINE_SECONDS, WINDOW

if TYPE_CHECKING:
    from royalty.chain.accounts import Account
    from royalty.chain.events import Event
    from royalty.chain.ledger import Call, Ledger
    from royalty.chain.node import Node
    from royalty.chain.sender import Receipt

MAX_TRIES = 6
WAIT_SECONDS = float(DEADLINE_SECONDS)
STUCK_SECONDS = 60.0
"""After which a transaction that does not land is offered more."""
RESEND_SECONDS = 15.0
LONGEST_POLL = 2.0
RAISE_LIMIT = 10
"""How many times its first fee a transaction may come to offer where nobody set a cap."""
NEVER = frozenset({"DealUnknown", "DealNotInForce", "TotalMismatch"})
"""Refusals that no waiting and no deposit mends: the deal is not what it was (a reorg)."""
TAKEN_BACK = "its block was taken back by the chain"


Contents = Callable[["Event"], tuple[Tally, tuple[DayUsage, ...]]]
"""What a posted tally is of, from its data; InputError where that is not at hand."""


@dataclass(frozen=True, slots=True)
class Link:
    """Where batches go and who signs: `confirmations` blocks on top of one make it settled.

    `window` batches may be under way that have not landed; `max_fee` is the most wei a gas may cost;
    `deadline` is for how many seconds nothing may move before it ends, for the next run to go on.
    """

    node: Node
    ledger: Ledger
    platform: str
    account: Account
    confirmations: int
    window: int = WINDOW
    max_fee: int | None = None
    deadline: float | None = None
    say: Callable[[str], None] = field(default=lambda _: None)
    settled: Callable[[Batch], None] = field(default=lambda _: None)

    def call(self, batch: Batch, number: int | None = None) -> Call:
        """Return the ledger's call that reports a batch, under another number where one is given."""
        if batch.tally is not None:
            return self.ledger.post(
                self.platform,
                number or batch.number,
                batch.day,
                batch.tally.root,
                batch.tally.leaves,
                batch.total_nano,
                batch.evidence,
                batch.tally.data,
                batch.tally.uri,
            )
        return self.ledger.report(
            self.platform,
            number or batch.number,
            batch.day,
            batch.evidence,
            batch.total_nano,
            batch.usage,
        )

    def landed(self) -> int:
        """Return how many batches of the platform the ledger has."""
        return self.ledger.platform(self.platform).batches


class Watch:
    """What one run has tried and when; it ends a run in which nothing moves any more."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.trouble: ChainError | None = None
        self.sent: dict[str, float] = {}
        self.offered: dict[int, float] = {}
        self.failed: dict[int, int] = {}
        self.moved()

    def moved(self) -> None:
        """Begin to wait anew: something changed."""
        from royalty.chain.node import spread

        self.ends = time.monotonic() + self.seconds
        self.pauses: Iterator[float] = spread(most=LONGEST_POLL)

    def wait(self) -> bool:
        """Sleep a little, longer each time; return whether there is time left."""
        pause = next(self.pauses)
        if isinstance(self.trouble, RateLimited):
            pause = max(pause, self.trouble.retry_after or 0.0)
        if time.monotonic() + pause > self.ends:
            return False
        time.sleep(pause)
        return True


def take_up(link: Link, journal: Journal) -> None:
    """Settle everything that the journal holds; `link.settled` is told of each batch that does.

    Raises JournalStopped where chain and journal disagree; FundsTooLow, LimitTooLow, Reverted or
    NodeTimeout where a batch cannot land now. The journal stays then, to be taken up again.
    """
    reopen_taken_back(link, journal)
    stop_at_foreign(link, journal)
    deliver(link, journal)


def deliver(link: Link, journal: Journal) -> None:
    """Bring every pending batch onto the chain, in order, and wait until each is settled."""
    watch = Watch(WAIT_SECONDS if link.deadline is None else link.deadline)
    seen: object = None
    while pending := journal.pending():
        watch.trouble = None
        _round(link, journal, pending, watch)
        stands = [(one.id, one.state, one.block) for one in journal.pending()]
        if stands != seen:
            watch.moved()
        seen = stands
        if stands and not watch.wait():
            raise _too_late(link, journal.pending()[0], watch)


def _round(link: Link, journal: Journal, pending: Sequence[Batch], watch: Watch) -> None:
    """Take every batch one step further, as far as the window allows."""
    on_chain = link.landed()
    if on_chain < pending[0].number - 1:
        reopen_taken_back(link, journal)
        return
    _check_landed(link, journal, [batch for batch in pending if batch.block is not None])
    flying = 0
    for batch in journal.pending():
        if batch.block is None:
            batch = _look(link, journal, batch, on_chain, watch)
        if batch.block is None:
            flying += 1
            if flying > link.window or not _step(link, journal, batch, on_chain, watch):
                break
    _settle_deep(link, journal)


def _too_late(link: Link, first: Batch, watch: Watch) -> ChainError:
    if watch.trouble is not None:
        return watch.trouble
    if first.block is not None:
        return NodeTimeout(
            f"batch {first.number} landed but has not {link.confirmations} blocks on top of it yet;"
            " the next `royalty usage report` settles it"
        )
    return NodeTimeout(
        f"batch {first.number} has not landed within {watch.seconds:g} s; the next `royalty usage"
        " report` goes on with the same bytes",
        transaction=first.transaction,
    )


def reopen_taken_back(link: Link, journal: Journal) -> None:
    """Reopen the settled batches whose block is not on the chain any more.

    A block's hash stands for all blocks before it, so the newest batch that stands ends the search.
    """
    batch = journal.newest_final()
    while batch is not None and not _stands(link, batch):
        if batch.state is State.ADOPTED:
            _find_again(link, journal, batch)
        else:
            link.say(f"batch {batch.number} was taken back by the chain; it is sent again")
            journal.reopen(batch, TAKEN_BACK)
        batch = journal.newest_final(below=batch.number)


def _find_again(link: Link, journal: Journal, batch: Batch) -> None:
    """Note the new block of an adopted batch, or give it up with all after it: they build on it."""
    event = find_on_chain(link, journal, batch.number)
    if event is not None and event.args["evidence"] == batch.evidence:
        journal.mined(batch, event.transaction, event.block, event.block_hash)
        return
    link.say(
        f"batch {batch.number}, adopted, was taken back by the chain; what it had is counted again"
    )
    after = [one for one in journal.batches() if one.number > batch.number]
    journal.drop(batch, after, f"batch {batch.number} was adopted and {TAKEN_BACK}")


def stop_at_foreign(link: Link, journal: Journal) -> None:
    """Raise JournalStopped where the chain has batches of the platform that the journal has not."""
    landed, known = link.landed(), journal.last_number()
    if landed > known:
        raise JournalStopped(
            f"the ledger has {landed} batches of {link.platform}, the journal of this folder knows"
            f" {known}: another folder or machine reports for this platform too; nothing was sent."
            f" Report from where its journal is, or take batch {known + 1} into this one's account with"
            f" `royalty usage adopt {known + 1}`",
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

    before = journal.newest_final(below=number)
    start = (before.block if before else None) or link.ledger.deployed_block
    either = [topic_of("UsageReported"), topic_of("TallyPosted")]
    topics = [either, f"0x{int(link.platform, 16):064x}", f"0x{number:064x}"]
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


def _look(link: Link, journal: Journal, batch: Batch, on_chain: int, watch: Watch) -> Batch:
    """Return the batch after what the chain says: landed, to be sent, or to be signed anew."""
    from royalty.chain.sender import landed_nonce, receipt

    live = journal.attempts(batch, AttemptState.LIVE)
    for attempt in live:
        found = receipt(link.node, attempt.hash, contract=link.ledger.address)
        if found is not None and found.status:
            return journal.mined(batch, found.transaction, found.block, found.block_hash)
        if found is not None:
            return _failed(link, journal, batch, found, watch)
    if batch.block is not None:
        batch = journal.unmined(batch, TAKEN_BACK)
    if on_chain >= batch.number:
        return _landed_otherwise(link, journal, batch)
    if batch.state is State.PLANNED:
        return batch
    if not live:
        return journal.unsign(batch, AttemptState.LOST, "none of its transactions can land")
    if any(landed_nonce(link.node, each.sender) <= each.nonce for each in live):
        return batch
    if any(receipt(link.node, each.hash) for each in live):
        return batch  # it landed between two questions: the next round finds that out
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
        own = journal.given_up(batch.number, event.args["evidence"])
        whose = (
            "which this journal had given up"
            if own
            else "so another folder or machine reports for this platform too"
        )
        raise JournalStopped(
            f"batch {batch.number} of {link.platform} stands on chain with other evidence"
            f" ({hex_of(event.args['evidence'])}, transaction {event.transaction}), {whose}; nothing more"
            f" is sent, nothing renumbered. `royalty usage adopt {batch.number}` takes what stands there"
            " into the account, then report again",
            batch=batch.number,
            transaction=event.transaction,
        )
    return journal.mined(batch, event.transaction, event.block, event.block_hash)


def _step(link: Link, journal: Journal, batch: Batch, on_chain: int, watch: Watch) -> bool:
    """Sign, send, or offer more for a batch; False where those after it have to wait."""
    try:
        if batch.state is State.PLANNED:
            signed = _sign(link, journal, batch, on_chain, watch)
            if signed is None:
                return False
            batch = signed
            watch.offered[batch.id] = time.monotonic()
        elif _is_stuck(batch, watch):
            mended = _mend(link, journal, batch)
            watch.offered[batch.id] = time.monotonic()
            if mended.state is State.PLANNED:
                return False
            batch = mended
        return _send(link, journal, batch, watch)
    except (FeeAboveCap, NonceTooHigh) as error:
        watch.trouble = error
    except Reverted as error:
        if error.name != "BatchNotNext":  # the chain moved between two questions
            raise
        watch.trouble = error
    return False


def _is_stuck(batch: Batch, watch: Watch) -> bool:
    return time.monotonic() > watch.offered.setdefault(batch.id, time.monotonic()) + STUCK_SECONDS


def _sign(link: Link, journal: Journal, batch: Batch, on_chain: int, watch: Watch) -> Batch | None:
    """Sign a batch and write the bytes down; None, with it void, where it never can land."""
    from royalty.chain.sender import next_nonce, prepare

    require_money(link, [each.total_nano for each in journal.batches(State.PLANNED)])
    address = link.account.address
    nonce = max(next_nonce(link.node, address), journal.highest_nonce(address) + 1)
    try:
        prepared = prepare(
            link.node,
            link.call(batch),
            link.account,
            nonce=nonce,
            like=link.call(batch, on_chain + 1),
            cap=link.max_fee,
        )
    except Reverted as error:
        if error.name in NEVER:
            _give_up(link, journal, batch, error, watch)
            return None
        raise
    attempt = Attempt(prepared.hash, nonce, address, prepared.raw, AttemptState.LIVE)
    return journal.sign(batch, attempt)


def _mend(link: Link, journal: Journal, batch: Batch) -> Batch:
    """Return a batch that waits too long: signed anew where a nonce is missing, else at a higher fee."""
    from royalty.chain.sender import next_nonce

    live = journal.attempts(batch, AttemptState.LIVE)
    before = [one for one in journal.pending() if one.number < batch.number and one.block is None]
    if not before and next_nonce(link.node, live[0].sender) < live[0].nonce:
        note = f"a transaction of {live[0].sender} before nonce {live[0].nonce} is lost"
        link.say(f"batch {batch.number} is signed anew: {note}")
        for later in [one for one in journal.pending() if one.number > batch.number]:
            if later.state is not State.PLANNED and later.block is None:
                journal.unsign(later, AttemptState.LOST, note)  # theirs would wait for it for ever
        return journal.unsign(batch, AttemptState.LOST, note)
    return _offer_more(link, journal, batch, live)


def _offer_more(link: Link, journal: Journal, batch: Batch, live: Sequence[Attempt]) -> Batch:
    """Write down a batch's transaction at a higher fee; FeeAboveCap where that may not be."""
    from royalty.chain.sender import fees, fields_of, max_fee, raised, sign

    newest, first = fields_of(live[0].raw), fields_of(live[-1].raw)
    if live[0].sender != link.account.address:
        return batch
    cap = link.max_fee or RAISE_LIMIT * max_fee(first)
    prepared = sign(raised(newest, fees(link.node), cap), link.account)
    link.say(f"batch {batch.number} waits; its transaction is sent again at a higher fee")
    attempt = Attempt(prepared.hash, live[0].nonce, live[0].sender, prepared.raw, AttemptState.LIVE)
    return journal.raise_fee(batch, attempt)


def _send(link: Link, journal: Journal, batch: Batch, watch: Watch) -> bool:
    """Hand a batch's bytes to the node where that is due; False where it may not have them.

    Whatever the answer was, or where there was none: what happened to them shows on the chain.
    """
    from royalty.chain.sender import send_raw

    live = journal.attempts(batch, AttemptState.LIVE)
    if time.monotonic() < watch.sent.get(live[0].hash, -RESEND_SECONDS) + RESEND_SECONDS:
        return True
    crash_at("before-send")
    try:
        send_raw(link.node, live[0].raw)
    except FeeTooLow as error:
        watch.trouble = error
        _offer_more(link, journal, batch, live)
        return False
    except (NonceTooLow, NonceTooHigh, NodeTimeout, NodeUnreachable, RateLimited) as error:
        watch.trouble = error
        return False
    except NodeRefused as error:
        if not (error.details.get("status") or error.details.get("garbled")):
            raise
        watch.trouble = error
        return False
    watch.sent[live[0].hash] = time.monotonic()
    journal.sent(batch)
    return True


def _failed(link: Link, journal: Journal, batch: Batch, receipt: Receipt, watch: Watch) -> Batch:
    """Write down that a batch's transaction landed and failed; raise why, if this run sent it."""
    from royalty.chain.sender import failure

    error = failure(link.node, link.call(batch), link.account.address, receipt)
    batch = journal.unsign(
        batch, AttemptState.REVERTED, f"{receipt.transaction} landed and failed: {error}"
    )
    watch.failed[batch.id] = watch.failed.get(batch.id, 0) + 1
    if watch.failed[batch.id] >= MAX_TRIES:
        raise ChainError(
            f"batch {batch.number} failed {MAX_TRIES} times: {error}; run `royalty usage report` again"
        )
    passing = isinstance(error, Reverted) and error.name in {"BatchNotNext", *NEVER}
    if receipt.transaction in watch.sent and not passing:
        raise error
    return batch


def _give_up(link: Link, journal: Journal, batch: Batch, why: Reverted, watch: Watch) -> None:
    """Void a batch that can never land with all after it; their units are counted again."""
    later = [each for each in journal.batches() if each.number > batch.number]
    after = [batch, *(_spent(link, journal, each, watch) for each in later)]
    if any(each.state is not State.PLANNED for each in after):
        raise JournalStopped(
            f"batch {batch.number} can never land ({why}) but batches after it are signed; nothing"
            " more is sent"
        )
    journal.void(after, str(why))
    link.say(f"{len(after)} batches from {batch.number} on can never land ({why}); counted again")


def _spent(link: Link, journal: Journal, batch: Batch, watch: Watch) -> Batch:
    """Return a batch after one that can never land, with its signed bytes used up where it has any.

    Void with live bytes it could land later beside those that count its units again. The ledger
    refuses its number while the one before it is missing: sending the bytes uses up their nonce.
    """
    from royalty.chain.sender import wait

    if batch.state in (State.SIGNED, State.SENT) and batch.block is None:
        if _send(link, journal, batch, watch):
            wait(link.node, journal.attempts(batch, AttemptState.LIVE)[0].hash)
        batch = _look(link, journal, journal.batch(batch.id), link.landed(), watch)
    return batch


# --- depth ---


def _stands(link: Link, batch: Batch) -> bool:
    """Return whether the block that a batch landed in is still on the chain."""
    if batch.block is None or batch.block > link.node.head():
        return False
    try:
        return link.node.block(batch.block).hash == batch.block_hash
    except NodeRefused as error:
        if error.details.get("absent"):
            return False  # taken back between the two questions
        raise


def _check_landed(link: Link, journal: Journal, landed: Sequence[Batch]) -> None:
    """Note of landed batches that a reorg took them; the newest that stands speaks for all before."""
    for batch in reversed(landed):
        if _stands(link, batch):
            return
        journal.unmined(batch, TAKEN_BACK)


def _settle_deep(link: Link, journal: Journal) -> None:
    """Settle, in order, what landed deep enough and still stands."""
    head = link.node.head()
    for batch in journal.pending():
        if batch.block is None or head - batch.block < link.confirmations:
            return
        if not _stands(link, batch):
            journal.unmined(batch, TAKEN_BACK)
            return
        link.settled(
            journal.settle(batch, batch.transaction or "", batch.block, batch.block_hash or "")
        )


# --- foreign batches ---


def foreign_batches(link: Link, journal: Journal) -> list[Event]:
    """Return the platform's batches on chain that the journal has not, or has with other evidence."""
    known = {batch.number: batch.evidence for batch in journal.batches()}
    final = journal.newest_final()
    first = (final.number if final else 0) + 1
    found = (find_on_chain(link, journal, number) for number in range(first, link.landed() + 1))
    return [
        event
        for event in found
        if event is not None and known.get(int(event.args["batch"])) != event.args["evidence"]
    ]


def adopt(
    link: Link, journal: Journal, number: int, contents: Contents
) -> tuple[Batch, list[Batch]]:
    """Take a foreign batch of the chain into the account; return it and what became void for it.

    `contents` gives what a tally is of. Void are the journalled batch of its number and all later ones
    that have not landed: they were counted without it. Raises InputError where it is not on chain, not
    foreign, or others come first, ChainError where it is not at the confirmation depth yet.
    """
    reopen_taken_back(link, journal)
    event = find_on_chain(link, journal, number)
    if event is None:
        raise InputError(
            f"the chain has no batch {number} of {link.platform}; `royalty usage status` shows what it has"
        )
    foreign = _foreign_of(event, contents)
    mine = [batch for batch in journal.batches() if batch.number >= number]
    _require_adoptable(link, journal, foreign, mine)
    void = [batch for batch in mine if batch.number == number or batch.block is None]
    adopted = journal.adopt(foreign, void, f"batch {number} was adopted from the chain")
    return adopted, void


def _require_adoptable(
    link: Link, journal: Journal, foreign: Foreign, mine: Sequence[Batch]
) -> None:
    number = foreign.number
    if number > journal.last_number() + 1:
        raise InputError(
            f"the journal ends at batch {journal.last_number()}; adopt batch"
            f" {journal.last_number() + 1} first"
        )
    if any(one.number == number and one.evidence == foreign.evidence for one in mine):
        raise InputError(
            f"batch {number} on chain is this journal's own; there is nothing to adopt"
        )
    depth = link.node.head() - foreign.block
    if depth < link.confirmations:
        raise ChainError(
            f"batch {number} has {depth} of the {link.confirmations} blocks on top of it that make it"
            " final; adopt it when it has them"
        )


def _foreign_of(event: Event, contents: Contents) -> Foreign:
    is_tally = event.name == "TallyPosted"
    tally, days = contents(event) if is_tally else (None, ())
    return Foreign(
        int(event.args["batch"]),
        int(event.args["day"]),
        b"" if is_tally else bytes(event.args["usage"]),
        int(event.args["total"]),
        bytes(event.args["evidence"]),
        event.transaction,
        event.block,
        event.block_hash,
        tally,
        days,
    )
