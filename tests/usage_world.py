"""A small world for tests of usage: a producer's catalogue, a platform with funds, logs to report."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import Anvil

DAY = "2024-05-10"
NEXT = "2024-05-11"
HEADER = (
    "usage_id",
    "work",
    "kind",
    "started_at",
    "watched_seconds",
    "duration_seconds",
    "viewer",
)
PRICES = {"view": 3_000_000, "download": 500_000_000, "excerpt": 100_000}


@dataclass
class World:
    """A catalogue of three works by dev0 (from 2024-01-01), accepted and prepaid by dev1."""

    session: Callable[..., Any]
    folder: Path
    anvil: Anvil
    catalogue: int
    platform: str

    def as_platform(self, **options: Any) -> Any:
        """A new session of the platform."""
        return self.session("dev1", **options)

    def work(self, index: int = 0) -> str:
        return f"{self.catalogue}/{index}"

    def log(self, name: str, rows: Iterable[tuple[Any, ...]]) -> Path:
        """Write a native log: (id, index or work, kind, day or instant, seconds, viewer)."""
        path = self.folder / name
        with path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADER)
            for usage_id, work, kind, at, seconds, viewer in rows:
                shown = self.work(work) if isinstance(work, int) else work
                instant = at if "T" in at else f"{at}T12:00:00Z"
                writer.writerow([usage_id, shown, kind, instant, seconds, 600, viewer])
        return path

    def views(self, name: str, *counts: int, day: str = DAY, first: int = 0) -> Path:
        """Write a log of so many views of each work, each by a viewer of its own."""
        return self.log(
            name,
            [
                (f"{day}-{index}-{at}", index, "view", day, 40, f"viewer {index} {at}")
                for index, count in enumerate(counts)
                for at in range(first, first + count)
            ],
        )

    # --- what the chain says, without any table of ours ---

    def reported(self) -> list[dict[str, Any]]:
        """The platform's reports as the ledger's events have them, in order."""
        from royalty.records import events

        session = self.session("dev3")
        return [event.args for event in events(session, "UsageReported", platform=self.platform)]

    def units_on_chain(self) -> dict[tuple[int, str, str], int]:
        """Units by (day, work, kind), added up over all reports and settled leaves."""
        from royalty.usage import lines_of, unpack_usage

        units: dict[tuple[int, str, str], int] = {}
        for args in self.reported():
            for line in lines_of(unpack_usage(args["usage"])):
                key = (args["day"], f"{line.catalogue}/{line.index}", line.kind.word)
                units[key] = units.get(key, 0) + line.units
        for args in self.settled():
            for key, count in leaf_units(args["leaf"]).items():
                units[key] = units.get(key, 0) + count
        return units

    def posted(self) -> list[dict[str, Any]]:
        """The platform's tallies as the ledger's events have them, in order."""
        return self._args("TallyPosted")

    def settled(self) -> list[dict[str, Any]]:
        """The leaves of the platform's tallies that were paid, in order."""
        return self._args("LeafSettled")

    def _args(self, name: str) -> list[dict[str, Any]]:
        from royalty.records import events

        session = self.session("dev3")
        return [event.args for event in events(session, name, platform=self.platform)]

    def views_on_chain(self, day: str = DAY) -> list[int]:
        """Views of the three works on a day."""
        from royalty.days import parse_day

        units = self.units_on_chain()
        return [units.get((parse_day(day), self.work(index), "view"), 0) for index in range(3)]


def leaf_units(leaf: bytes) -> dict[tuple[int, str, str], int]:
    """Units by (day, work, kind) of a packed leaf, read by the format's own words (docs/protocol.md)."""
    units: dict[tuple[int, str, str], int] = {}
    catalogue, at = int.from_bytes(leaf[:4]), 6
    while at < len(leaf):
        day, kind, count = (
            int.from_bytes(leaf[at + a : at + b]) for a, b in ((0, 2), (2, 3), (3, 5))
        )
        for pair in range(at + 5, at + 5 + 6 * count, 6):
            index, number = (
                int.from_bytes(leaf[pair : pair + 3]),
                int.from_bytes(leaf[pair + 3 : pair + 6]),
            )
            key = (day, f"{catalogue}/{index}", ("view", "download", "excerpt")[kind])
            units[key] = units.get(key, 0) + number
        at += 5 + 6 * count
    return units


@contextmanager
def world(session: Callable[..., Any], folder: Path, anvil: Anvil) -> Iterator[World]:
    """Yield a world on a chain that is set back afterwards."""
    snapshot = anvil.request("evm_snapshot")
    try:
        yield make_world(session, folder, anvil)
    finally:
        anvil.request("evm_setAutomine", True)
        anvil.request("evm_revert", snapshot)


def make_world(session: Callable[..., Any], folder: Path, anvil: Anvil) -> World:
    """Make a catalogue, its works, its acceptance and funds of 100 tokens."""
    producer, platform = session("dev0"), session("dev1")
    catalogue = open_catalogue(producer, folder, 3)
    platform.platforms.accept(catalogue)
    platform.platforms.deposit(100 * 10**6)
    return World(session, folder, anvil, catalogue, platform.platform)


def open_catalogue(producer: Any, folder: Path, works: int, salt: str = "") -> int:
    """Open a catalogue of two holders with works, and return its number."""
    from royalty.days import parse_day
    from royalty.usage import Tariff
    from royalty.works import new_work

    split = folder / "split.csv"
    split.write_text(
        "holder,address,role,share\n"
        "Director,0x14dC79964da2C08b23698B3D3cc7Ca32193d9955,director,70%\n"
        "Composer,0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f,composer,30%\n"
    )
    opened = producer.catalogues.open(
        "A film", split, Tariff(*PRICES.values()), from_day=parse_day("2024-01-01")
    )
    catalogue = int(opened.catalogue)
    fingerprints = [f"{index:02d}{salt}".ljust(64, "0") for index in range(works)]
    producer.works.register(catalogue, [new_work(one) for one in fingerprints])
    return catalogue
