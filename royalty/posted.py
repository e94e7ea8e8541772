"""Tallies as they stand on chain, and copies of their data that rebuild their roots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from royalty.days import format_day
from royalty.errors import InputError
from royalty.fetching import fetch as fetch_file
from royalty.merkle import Claim, LeafFault, Tree, fault_of, make_tree, unpack_leaf
from royalty.money import counted, format_nano
from royalty.records import events
from royalty.tallydata import file_name, find_data, read_claims
from royalty.tallyproof import holds
from royalty.usage import Tariff, WorkRef

if TYPE_CHECKING:
    from royalty.chain.events import Event
    from royalty.chain.ledger import TallyState
    from royalty.client import Royalty

FOLDER = "tallies"


@dataclass(frozen=True, slots=True)
class PostedTally:
    """A tally as it stands: what was posted, and what became of it; `uri` is hostile text.

    `paid_nano` reached deals, `void_nano` went back to the platform, `unsettled_nano` waits.
    """

    platform: str
    batch: int
    day: int
    root: bytes
    leaves: int
    total_nano: int
    evidence: bytes
    data_digest: bytes
    uri: str
    transaction: str
    settled_leaves: int
    settled_nano: int
    void_leaves: int
    void_nano: int

    @property
    def paid_nano(self) -> int:
        """What has reached deals."""
        return self.settled_nano - self.void_nano

    @property
    def unsettled_nano(self) -> int:
        """What was debited and has neither reached a deal nor gone back."""
        return self.total_nano - self.settled_nano

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts in nano-tokens are ints, digests bytes."""
        return {
            "platform": self.platform,
            "batch": self.batch,
            "day": format_day(self.day),
            "root": self.root,
            "leaves": self.leaves,
            "settled_leaves": self.settled_leaves,
            "void_leaves": self.void_leaves,
            "total_nano": self.total_nano,
            "paid_nano": self.paid_nano,
            "void_nano": self.void_nano,
            "unsettled_nano": self.unsettled_nano,
            "evidence": self.evidence,
            "data_digest": self.data_digest,
            "uri": self.uri,
            "transaction": self.transaction,
        }


@dataclass(frozen=True, slots=True)
class Data:
    """A copy of a tally's data that rebuilds its root: the leaves in order, and their tree."""

    path: Path
    claims: Sequence[Claim]
    tree: Tree


class Terms(Protocol):
    """What of a deal decides whether a leaf can be paid: a deal of `royalty.catalogues`, or of the ledger's state."""

    @property
    def tariff(self) -> Tariff:
        """Prices in nano-tokens a unit."""

    @property
    def from_day(self) -> int:
        """The first day on which it is in force."""

    @property
    def until_day(self) -> int | None:
        """The day on which it no longer is."""


# --- which tallies ---


def listing(session: Royalty, *, platform: str | None = None) -> list[PostedTally]:
    """Return the tallies of a platform: of the one named, else the account's own; where it has none, all."""
    block = session.node.head()
    named = _named(session, platform)
    found = _posted(session, block, platform=named)
    if named is None:
        own = _own(session)
        found = [event for event in found if event.args["platform"] == own] or found
    return _tallies(session, found, block)


def find(session: Royalty, batch: int, *, platform: str | None = None) -> PostedTally:
    """Return one tally by its batch; InputError where there is none, or several platforms have one."""
    block = session.node.head()
    named = _named(session, platform)
    found = _posted(session, block, platform=named, batch=batch)
    if named is None and len(found) > 1:
        own = _own(session)
        found = [event for event in found if event.args["platform"] == own] or found
    if not found:
        who = f"platform {named}" if named else "nobody"
        verb = "has posted no" if named else "has posted a"
        raise InputError(f"{who} {verb} tally as batch {batch}; `royalty tally show` lists them")
    if len(found) > 1:
        names = ", ".join(sorted(event.args["platform"] for event in found)[:5])
        raise InputError(
            f"{counted(len(found), 'platform')} have a tally {batch}: name one with --platform ({names})"
        )
    return _tallies(session, found, block)[0]


def _named(session: Royalty, platform: str | None) -> str | None:
    if platform is not None:
        return session.address(platform)
    return session.platform if session.named_platform else None


def _own(session: Royalty) -> str | None:
    """Return the account's address, None where no account is named or known: nothing here is signed."""
    try:
        return session.account.address
    except InputError:
        return None


def _posted(
    session: Royalty, block: int, *, platform: str | None, batch: int | None = None
) -> list[Event]:
    filters: dict[str, Any] = {} if platform is None else {"platform": platform}
    if batch is not None:
        filters["batch"] = batch
    return events(session, "TallyPosted", block=block, **filters)


def _tallies(session: Royalty, posted: Sequence[Event], block: int) -> list[PostedTally]:
    if not posted:
        return []
    keys = [(event.args["platform"], event.args["batch"]) for event in posted]
    states = session.ledger.tallies(keys, block)
    void = _void(session, {(state.platform, state.batch): state.leaves for state in states}, block)
    made = []
    for key, event, state in zip(keys, posted, states, strict=True):
        leaves, nano = void.get(key, (0, 0))
        made.append(_tally(event, state, leaves, nano))
    return made


def _tally(event: Event, state: TallyState, void_leaves: int, void_nano: int) -> PostedTally:
    args = event.args
    return PostedTally(
        platform=state.platform,
        batch=state.batch,
        day=state.day,
        root=state.root,
        leaves=state.leaves,
        total_nano=state.total_nano,
        evidence=bytes(args["evidence"]),
        data_digest=bytes(args["dataDigest"]),
        uri=str(args["uri"]),
        transaction=event.transaction,
        settled_leaves=state.settled_leaves,
        settled_nano=state.settled_nano,
        void_leaves=void_leaves,
        void_nano=void_nano,
    )


def _void(
    session: Royalty, sizes: Mapping[tuple[str, int], int], block: int
) -> dict[tuple[str, int], tuple[int, int]]:
    """Return (leaves, nano-tokens) that turned out void, of those tallies, given with their sizes, that have any."""
    filters: dict[str, Any] = {}
    keys = list(sizes)
    if len({platform for platform, _ in keys}) == 1:
        filters["platform"] = keys[0][0]
    if len(keys) == 1:
        filters["batch"] = keys[0][1]
    found: dict[tuple[str, int], tuple[int, int]] = {}
    for name in ("LeafVoid", "NodeVoid"):
        for event in events(session, name, block=block, **filters):
            args = event.args
            key = (args["platform"], args["batch"])
            leaves, nano = found.get(key, (0, 0))
            under = _leaves_under(args, sizes.get(key, 0)) if name == "NodeVoid" else 1
            found[key] = (leaves + under, nano + args["amount"])
    return found


def _leaves_under(args: Mapping[str, Any], leaves: int) -> int:
    start = int(args["index"]) << int(args["level"])
    return max(0, min(leaves, start + (1 << int(args["level"]))) - start)


# --- its data ---


def load(
    session: Royalty,
    tally: PostedTally,
    *,
    data: str | Path | None = None,
    fetch: bool = False,
) -> Data:
    """Return the data of a tally: a file or folder given, else this folder's own copy, or fetched if asked.

    Raises InputError where there is none, or what there is does not rebuild the root and total.
    """
    path = copy_of(session, tally, None if data is None else Path(data))
    if path is None and fetch:
        path = _fetched(session, tally)
    if path is None:
        hint = (
            "take it from the address that was posted with --fetch, or name"
            if tally.uri
            else "name"
        )
        where = f"{data} has no" if data is not None else "this folder has no"
        raise InputError(
            f"{where} copy of the data of tally {tally.batch} (SHA-256 0x{tally.data_digest.hex()});"
            f" {hint} a copy with --data"
        )
    return rebuilt(tally, path)


def rebuilt(tally: PostedTally, path: Path) -> Data:
    """Return the data in a file; InputError with both roots where it does not rebuild the tally's."""
    claims = list(read_claims(path))
    tree = make_tree(claim.node for claim in claims)
    if (tree.root, tree.total, tree.leaves) != (tally.root, tally.total_nano, tally.leaves):
        raise InputError(
            f"{path} is not the data of tally {tally.batch}: it rebuilds root 0x{tree.root.hex()} with"
            f" {format_nano(tree.total)} tokens over {counted(tree.leaves, 'leaf', 'leaves')}, the chain"
            f" has root 0x{tally.root.hex()} with {format_nano(tally.total_nano)} over {tally.leaves:,}"
        )
    return Data(path, claims, tree)


def copy_of(session: Royalty, tally: PostedTally, data: Path | None) -> Path | None:
    if data is None:
        return find_data([_folder(session, tally)], tally.data_digest)
    if data.is_dir():
        return find_data([data], tally.data_digest)
    if not data.is_file():
        raise InputError(f"{data} is no file or folder; name a copy of the tally's data")
    return data


def _folder(session: Royalty, tally: PostedTally) -> Path:
    return session.platform_dir(tally.platform) / FOLDER


def _fetched(session: Royalty, tally: PostedTally) -> Path:
    """Fetch a tally's data from the address that its event names, and keep it."""
    path = _folder(session, tally) / file_name(tally.batch, tally.data_digest)
    if not tally.uri:
        raise InputError(f"tally {tally.batch} was posted without an address to fetch from")
    fetch_file(tally.uri, tally.data_digest, path)
    return path


# --- its leaves ---


def fates_of(session: Royalty, tally: PostedTally) -> dict[int, LeafFault]:
    """Return why leaves that are settled were void (`NONE`: they were paid), by index; open ones are not in it."""
    filters: dict[str, Any] = {"platform": tally.platform, "batch": tally.batch}
    fates = {
        event.args["index"]: LeafFault.NONE for event in events(session, "LeafSettled", **filters)
    }
    for event in events(session, "LeafVoid", **filters):
        fates[event.args["index"]] = LeafFault(event.args["reason"])
    return fates


def holding(data: Data, work: WorkRef) -> list[int]:
    """Return the places of the leaves that hold a work."""
    start = work.catalogue.to_bytes(4, "big")
    return [
        index
        for index, claim in enumerate(data.claims)
        if claim.leaf.startswith(start) and holds(unpack_leaf(claim.leaf), work)
    ]


def deal_of(claim: Claim) -> tuple[int, int]:
    return int.from_bytes(claim.leaf[:4], "big"), int.from_bytes(claim.leaf[4:6], "big")


def leaf_fault(claim: Claim, deal: Terms | None, last_day: int) -> LeafFault:
    """Return why the ledger would void a leaf of a deal, None where there is no such deal; `NONE` if it would not."""
    if deal is None:
        return fault_of(claim.leaf, claim.amount, None, 0, 0, last_day)
    until = deal.until_day or 0
    return fault_of(claim.leaf, claim.amount, deal.tariff, deal.from_day, until, last_day)


def reason_word(reason: LeafFault) -> str | None:
    """Return a fault in words of small letters, None where there is none."""
    return reason.name.lower() if reason else None
