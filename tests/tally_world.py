"""Tallies with their data, for tests of settling and proving: several deals, posted by dev1."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import tallies
from tests.usage_world import DAY, PRICES, World, open_catalogue

URI = "https://films.example/tally.parquet"


@dataclass(frozen=True)
class Posted:
    """A tally on the chain with its data in a file."""

    platform: str
    batch: int
    day: int
    claims: tuple[Any, ...]
    tree: Any
    path: Path

    def amount(self, *places: int) -> int:
        return sum(self.claims[place].amount for place in places)

    def settle(self, session: Any, first: int = 0, count: int | None = None) -> Any:
        """Settle past all checks of the package."""
        plain = tallies.Posted(
            self.platform, self.batch, self.day, self.claims, self.tree, self.tree.total
        )
        return plain.settle(session, first, count)


def day(offset: int = 0) -> int:
    from royalty.days import parse_day

    return parse_day(DAY) + offset


def tariff() -> Any:
    from royalty.usage import Tariff

    return Tariff(*PRICES.values())


def priced(*numbers: int) -> dict[tuple[int, int], Any]:
    """The first deals of catalogues at the world's prices."""
    return {(number, 1): tariff() for number in numbers}


def lines_of(catalogue: int, *views: int, days: int = 1, version: int = 1) -> list[Any]:
    """Usage of one deal: so many views of each work, on each of some days."""
    from royalty.merkle import DayLine
    from royalty.usage import Kind

    return [
        DayLine(catalogue, version, day(at), Kind.VIEW, index, count)
        for at in range(days)
        for index, count in enumerate(views)
    ]


def catalogues(world: World, count: int) -> list[int]:
    """Open so many catalogues of three works beside the world's own; return all, the world's first."""
    producer = world.session("dev0")
    more = [open_catalogue(producer, world.folder, 3, f"{at + 10}") for at in range(count - 1)]
    return [world.catalogue, *more]


def post(
    world: World,
    lines: Iterable[Any],
    *,
    prices: Any = None,
    uri: str = URI,
    keep: bool = False,
    leaf_bytes: int = 24_000,
    account: str = "dev1",
) -> Posted:
    """Post lines as a platform and write their data, `keep` where the platform's own copy lies."""
    from royalty.evidence import sha256
    from royalty.merkle import leaves_of, make_tree
    from royalty.tallydata import data_bytes, file_name, read_claims, rows_of

    session = world.session(account)
    leaves = list(leaves_of(sorted(lines), leaf_bytes))
    priced = prices or {(leaf.catalogue, leaf.version): tariff() for leaf in leaves}
    content = data_bytes(rows_of(leaves, priced))
    batch = session.ledger.platform(session.platform).next_batch
    name = file_name(batch, sha256(content))
    folder = session.platform_dir() / "tallies" if keep else world.folder / "copies"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    claims = tuple(read_claims(path))
    made = tallies.post(session, claims, day(30), digest=sha256(content), uri=uri)
    tree = make_tree(claim.node for claim in claims)
    return Posted(made.platform, made.batch, made.day, claims, tree, path)


def accrued(world: World, catalogue: int, version: int = 1) -> int:
    """What a deal has accrued."""
    return int(world.session("dev3").ledger.deal(catalogue, version).accrued_nano)
