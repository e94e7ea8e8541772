"""Tallies for tests: made, posted and settled past all checks of the package, as any platform can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Deal = tuple[int, int]


@dataclass(frozen=True)
class Posted:
    """A tally on the chain, with everything that its tree is made of."""

    platform: str
    batch: int
    day: int
    claims: tuple[Any, ...]
    tree: Any
    total: int

    def settle(self, session: Any, first: int = 0, count: int | None = None) -> Any:
        """Settle neighbouring leaves (default: all from the first on); return the receipt."""
        from royalty.merkle import pack_claims

        chosen = self.claims[first:] if count is None else self.claims[first : first + count]
        proof = self.tree.prove(first, len(chosen))
        call = session.ledger.settle(self.platform, self.batch, first, pack_claims(chosen), proof)
        return session.send(call)


def claims_of(lines: Iterable[Any], tariffs: Mapping[Deal, Any], most: int = 24_000) -> list[Any]:
    """Return lines' leaves with what they cost, in the order in which the package packs them."""
    from royalty.merkle import Claim, leaves_of

    return [
        Claim(leaf.pack(), leaf.cost(tariffs[leaf.catalogue, leaf.version]))
        for leaf in leaves_of(sorted(lines), most)
    ]


def post(
    session: Any,
    claims: Sequence[Any],
    day: int,
    *,
    tree: Any = None,
    evidence: bytes = bytes(32),
    digest: bytes = bytes(32),
    uri: str = "",
) -> Posted:
    """Post claims as the session's platform; `tree` is another one than theirs."""
    from royalty.merkle import make_tree

    made = tree or make_tree(claim.node for claim in claims)
    me = session.account.address
    batch = session.ledger.platform(me).next_batch
    session.send(
        session.ledger.post(
            me, batch, day, made.root, len(claims), made.total, evidence, digest, uri
        )
    )
    return Posted(me, batch, day, tuple(claims), made, made.total)


def lying_tree(claims: Sequence[Any], extra: int) -> Any:
    """Return the tree of two leaves whose root claims `extra` more than both come to.

    Its root is hashed over a left node that is honest and a right one whose sum is too large.
    """
    from royalty.merkle import NODE_BYTES, Tree, make_tree

    (left, right) = (claim.node for claim in claims)
    inflated = right[:32] + (int.from_bytes(right[32:], "big") + extra).to_bytes(12, "big")
    assert len(inflated) == NODE_BYTES
    top = make_tree([left, inflated]).levels[-1]
    return Tree((left + inflated, top))
