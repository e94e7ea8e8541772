"""Tallies: what platforms posted by the root of a tree, settling its leaves, and proofs of what is in them.

A leaf's money reaches its deal when somebody settles it; anybody can, for anybody. Whoever has the
tally's data rebuilds the tree; what does not rebuild the root is refused. See docs/tallies.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from royalty.days import format_day
from royalty.errors import InputError, NoContract
from royalty.merkle import Leaf, LeafFault, unpack_leaf
from royalty.posted import (
    Data,
    PostedTally,
    copy_of,
    deal_of,
    fates_of,
    find,
    holding,
    leaf_fault,
    listing,
    load,
    reason_word,
)
from royalty.questions import Asked, Logs
from royalty.rebuilding import Rebuilt, rebuild
from royalty.settlement import Choice, Settled, SettlePlan, plan, settle
from royalty.tallyproof import Fault, Proof, ProofLeaf, faults, read_proof, rows_of
from royalty.usage import Kind, WorkRef

if TYPE_CHECKING:
    from royalty.chain.ledger import DealState, Ledger
    from royalty.client import Royalty


@dataclass(frozen=True, slots=True)
class LeafLine:
    """A leaf as it stands: what it says, and whether it is `open`, `settled` or `void` with a reason."""

    index: int
    leaf: Leaf
    amount_nano: int
    state: str
    reason: LeafFault = LeafFault.NONE

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        days = [group.day for group in self.leaf.groups]
        units = dict.fromkeys((kind.word for kind in Kind), 0)
        for group in self.leaf.groups:
            units[group.kind.word] += sum(count for _, count in group.pairs)
        return {
            "leaf": self.index,
            "catalogue": self.leaf.catalogue,
            "version": self.leaf.version,
            "since": format_day(min(days)),
            "until": format_day(max(days)),
            "units": units,
            "amount_nano": self.amount_nano,
            "state": self.state,
            "reason": reason_word(self.reason),
        }


@dataclass(frozen=True, slots=True)
class Shown:
    """One tally, with its leaves where its data is at hand."""

    tally: PostedTally
    data: Data | None
    leaves: tuple[LeafLine, ...] | None

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        lines = None if self.leaves is None else [line.document() for line in self.leaves]
        where = None if self.data is None else str(self.data.path)
        return {**self.tally.document(), "data": where, "leaf_list": lines}


# --- its leaves ---


def show(
    session: Royalty,
    batch: int,
    *,
    platform: str | None = None,
    data: str | Path | None = None,
    fetch: bool = False,
) -> Shown:
    """Return one tally, with what became of each leaf where its data is given, at hand, or fetched."""
    tally = find(session, batch, platform=platform)
    if data is None and not fetch and copy_of(session, tally, None) is None:
        return Shown(tally, None, None)
    found = load(session, tally, data=data, fetch=fetch)
    return Shown(tally, found, tuple(_lines(found, fates_of(session, tally))))


def _lines(data: Data, fates: Mapping[int, LeafFault]) -> Iterator[LeafLine]:
    for index, claim in enumerate(data.claims):
        fate = fates.get(index)
        state = "open" if fate is None else "void" if fate else "settled"
        yield LeafLine(index, unpack_leaf(claim.leaf), claim.amount, state, fate or LeafFault.NONE)


# --- proofs ---


@dataclass(frozen=True, slots=True)
class Verified:
    """What a proof file comes to: what in it is not so, and, on a chain, what became of its leaves.

    `on_chain` is False where root and total were given by hand: then nothing in the file about chain,
    ledger, platform, batch, day and number of leaves was compared with anything.
    """

    proof: Proof
    faults: tuple[Fault, ...]
    on_chain: bool
    states: Mapping[int, LeafFault | None] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether everything that could be compared is so."""
        return not self.faults

    def state(self, index: int) -> str:
        """Return `open`, `settled` or `void`; `unknown` without a chain."""
        if index not in self.states:
            return "unknown"
        fate = self.states[index]
        return "open" if fate is None else "void" if fate else "settled"

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        proof = self.proof
        return {
            "ok": self.ok,
            "on_chain": self.on_chain,
            "chain_id": proof.chain_id,
            "contract": proof.contract,
            "platform": proof.platform,
            "batch": proof.batch,
            "day": format_day(proof.day),
            "root": proof.root,
            "total_nano": proof.total_nano,
            "work": str(proof.work),
            "amount_nano": proof.amount_nano,
            "holding": [
                {
                    "leaf": leaf.index,
                    "amount_nano": leaf.claim.amount,
                    "state": self.state(leaf.index),
                    "rows": [row.document() for row in leaf.rows],
                }
                for leaf in proof.holding
            ],
            "findings": [fault.document() for fault in self.faults],
        }


def prove(
    session: Royalty,
    work: str | WorkRef,
    batch: int,
    *,
    platform: str | None = None,
    data: str | Path | None = None,
    fetch: bool = False,
) -> Proof:
    """Return the proof that a tally holds usage of a work, out of its data; InputError where it has none."""
    work = WorkRef.parse(work) if isinstance(work, str) else work
    tally = find(session, batch, platform=platform)
    found = load(session, tally, data=data, fetch=fetch)
    places = holding(found, work)
    if not places:
        raise InputError(f"tally {batch} has no usage of work {work}")
    keys = sorted({deal_of(found.claims[index]) for index in places})
    deals = dict(zip(keys, session.ledger.deals(keys), strict=True))
    return Proof(
        chain_id=session.node.chain_id,
        genesis=bytes.fromhex(session.node.genesis_hash.removeprefix("0x")),
        contract=session.ledger.address,
        platform=tally.platform,
        batch=batch,
        day=tally.day,
        root=tally.root,
        total_nano=tally.total_nano,
        leaves=tally.leaves,
        work=work,
        holding=tuple(
            _proof_leaf(found, index, work, deals[deal_of(found.claims[index])]) for index in places
        ),
    )


def _proof_leaf(data: Data, index: int, work: WorkRef, deal: DealState) -> ProofLeaf:
    claim = data.claims[index]
    leaf = unpack_leaf(claim.leaf)
    prices = {kind: deal.tariff.price(kind) for kind in sorted({g.kind for g in leaf.groups})}
    rows = rows_of(leaf, work.index, prices)
    return ProofLeaf(index, claim, data.tree.prove(index), prices, rows)


def verify(
    session: Royalty | None,
    proof: str | Path | Proof,
    *,
    root: str | bytes | None = None,
    total_nano: int | None = None,
) -> Verified:
    """Return what a proof comes to against the root and total on its chain, or against those given.

    With a root and total given no node is asked, and `session` may be None. Raises InputError for a
    file that is no proof; what is not so is in `faults`.
    """
    given = proof if isinstance(proof, Proof) else read_proof(Path(proof))
    if (root is None) != (total_nano is None):
        raise InputError("--root and --total go together: give both, or neither to ask the chain")
    inner = faults(given)
    if root is not None and total_nano is not None:
        outer = _differences(given, {"root": _root(root), "total": total_nano})
        return Verified(given, (*outer, *inner), on_chain=False)
    if session is None:
        raise InputError("give a root and a total, or a session to ask the chain with")
    return _verified_on_chain(session, given, inner)


def _root(given: str | bytes) -> bytes:
    if isinstance(given, bytes):
        return given
    digits = given.removeprefix("0x")
    try:
        found = bytes.fromhex(digits)
    except ValueError:
        found = b""
    if len(found) != 32 or len(digits) != 64:
        raise InputError("--root is 32 bytes: write 0x and 64 hex digits")
    return found


def _differences(proof: Proof, known: Mapping[str, Any]) -> list[Fault]:
    """Return where the proof says other than what is known."""
    says = {
        "chain": proof.chain_id,
        "genesis block": proof.genesis,
        "ledger": proof.contract,
        "root": proof.root,
        "total": proof.total_nano,
        "number of leaves": proof.leaves,
        "day": proof.day,
    }
    return [
        Fault(what, _text(what, value), _text(what, says[what]))
        for what, value in known.items()
        if says[what] != value
    ]


def _text(what: str, value: Any) -> str:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return format_day(value) if what == "day" else str(value)


def _verified_on_chain(session: Royalty, proof: Proof, inner: Sequence[Fault]) -> Verified:
    """Compare a proof with the tally that its ledger has; what is not to be found there is a fault."""
    node = session.node
    known: dict[str, Any] = {
        "chain": node.chain_id,
        "genesis block": bytes.fromhex(node.genesis_hash.removeprefix("0x")),
    }
    trusted = _known_ledger(session)
    if trusted is not None:
        known["ledger"] = trusted
    outer = _differences(proof, known)
    if outer:
        return Verified(proof, (*outer, *inner), on_chain=True)
    ledger = _ledger(session, proof.contract)
    if ledger is None:
        outer = [Fault("ledger", "a Royalty ledger", f"none at {proof.contract}")]
        return Verified(proof, (*outer, *inner), on_chain=True)
    state = ledger.tally(proof.platform, proof.batch)
    if not state.exists:
        outer = [Fault("tally", "one that was posted", f"none of this platform as {proof.batch}")]
        return Verified(proof, (*outer, *inner), on_chain=True)
    says = {
        "root": state.root,
        "total": state.total_nano,
        "number of leaves": state.leaves,
        "day": state.day,
    }
    outer = _differences(proof, says)
    prices, states = _fates_on(ledger, proof)
    every = [*outer, *inner, *([] if outer or inner else prices)]
    return Verified(proof, tuple(every), on_chain=True, states={} if outer or inner else states)


def _known_ledger(session: Royalty) -> str | None:
    """Return the ledger that this folder trusts: the one that was named, or deployed from here."""
    if session.settings.contract is not None:
        return session.address(session.settings.contract)
    return None if session.deployment is None else session.deployment.royalty


def _ledger(session: Royalty, address: str) -> Ledger | None:
    from royalty.chain.ledger import Ledger

    try:
        return Ledger.connect(session.node, address)
    except NoContract:
        return None


def _fates_on(ledger: Ledger, proof: Proof) -> tuple[list[Fault], dict[int, LeafFault | None]]:
    """Return what of a proof's prices is not its deals', and what became of its leaves."""
    places = [leaf.index for leaf in proof.holding]
    settled = ledger.are_settled(proof.platform, proof.batch, places)
    deals = ledger.deals([deal_of(leaf.claim) for leaf in proof.holding])
    wrong: list[Fault] = []
    states: dict[int, LeafFault | None] = {}
    for leaf, is_settled, deal in zip(proof.holding, settled, deals, strict=True):
        fault = leaf_fault(leaf.claim, deal if deal.exists else None, proof.day)
        states[leaf.index] = fault if is_settled else None
        if fault:
            word = reason_word(fault)
            wrong.append(Fault(f"leaf {leaf.index}", "one that can be paid", f"void: {word}"))
        for kind, price in leaf.prices.items():
            if deal.tariff.price(kind) != price:
                what = f"price of a {kind.word} in leaf {leaf.index}"
                wrong.append(Fault(what, str(deal.tariff.price(kind)), str(price)))
    return wrong, states


class Tallies:
    """The tallies of one ledger, for a session: `royalty.tallies`."""

    def __init__(self, session: Royalty) -> None:
        self._session = session

    def all(self, *, platform: str | None = None) -> list[PostedTally]:
        """Return the tallies of a platform: the one named, else the account's own; where it has none, all."""
        return listing(self._session, platform=platform)

    def show(
        self,
        batch: int,
        *,
        platform: str | None = None,
        data: str | Path | None = None,
        fetch: bool = False,
    ) -> Shown:
        """Return one tally, with what became of each leaf where its data is at hand; see `show`.

        >>> royalty.tallies.show(3).tally.unsettled_nano  # doctest: +SKIP
        """
        return show(self._session, batch, platform=platform, data=data, fetch=fetch)

    def rebuild(
        self,
        batch: int,
        logs: Logs,
        *,
        platform: str | None = None,
        out: str | Path | None = None,
        **asked: Unpack[Asked],
    ) -> Rebuilt:
        """Return a tally beside the tree that its log leads to; see `royalty.rebuilding.rebuild`.

        >>> royalty.tallies.rebuild(3, "views/*.parquet", since="2026-11-01", until="2026-11-30").ok  # doctest: +SKIP
        """
        return rebuild(self._session, batch, logs, platform=platform, out=out, **asked)

    def plan(self, batch: int, **choice: Unpack[Choice]) -> SettlePlan:
        """Return what settling would do; takes what `settle` takes."""
        return plan(self._session, batch, **choice)

    def settle(self, batch: int, **choice: Unpack[Choice]) -> Settled:
        """Settle leaves of a tally, chosen in exactly one way, and return what became of them.

        `leaves=[0, 7]`, `work="12/3"`, `mine=True`, `all=True` or `worth_gas=True`; with `coin_price`,
        `platform`, `data` and `fetch` as `plan` takes them.

        >>> royalty.tallies.settle(3, mine=True).paid_nano  # doctest: +SKIP
        """
        return settle(self._session, batch, **choice)

    def prove(
        self,
        work: str | WorkRef,
        batch: int,
        *,
        platform: str | None = None,
        data: str | Path | None = None,
        fetch: bool = False,
    ) -> Proof:
        """Return the proof of a work's usage in a tally; `to_bytes` is its file.

        >>> royalty.tallies.prove("12/3", 3).amount_nano  # doctest: +SKIP
        """
        return prove(self._session, work, batch, platform=platform, data=data, fetch=fetch)

    def verify(
        self,
        proof: str | Path | Proof,
        *,
        root: str | bytes | None = None,
        total_nano: int | None = None,
    ) -> Verified:
        """Return what a proof comes to on its chain, or against a root and total; see `verify`.

        >>> royalty.tallies.verify("proof.json").ok  # doctest: +SKIP
        """
        return verify(self._session, proof, root=root, total_nano=total_nano)
