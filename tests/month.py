"""A month of real views, reported whole and honestly, for tests that then spoil one thing of it.

The rows are those of the three works most seen in `examples/kuairand` (April 2022), as native logs of
two halves: `early.csv` is reported day by day, `late.csv` as a tally. A fault spoils logs, usage,
batches or the folder of evidence before, or after, they are brought onto a chain that is set back
afterwards.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, Anvil

KUAIRAND = ROOT / "examples" / "kuairand" / "processed_standard_kcore_15.csv"
VIDEOS = ("3381812", "3199380", "2303")
FIRST, MIDDLE, LAST = 19_090, 19_097, 19_103  # 2022-04-08, 2022-04-15, 2022-04-21
LEAF_BYTES = 60
PERIOD = {"since": "2022-04-01", "until": "2022-04-30"}
HEADER = ("usage_id", "work", "kind", "started_at", "watched_seconds", "duration_seconds", "viewer")
HOLDERS = (
    ("0x14dC79964da2C08b23698B3D3cc7Ca32193d9955", 700_000),
    ("0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f", 300_000),
)

Row = dict[str, str]
Key = tuple[int, int, Any]  # day, index of the work, kind
Cell = tuple[str, int, str]  # work, day, kind


def tariff() -> Any:
    from royalty.usage import Tariff

    return Tariff(3_000_000, 500_000_000, 100_003)


def real_rows() -> list[Row]:
    """The views of the three works, in the order of the sample; ids are its line numbers."""
    from datetime import UTC, datetime

    rows = []
    with KUAIRAND.open(newline="", encoding="utf-8-sig") as file:
        for line, seen in enumerate(csv.DictReader(file, delimiter="\t"), 2):
            if seen["video_id"] in VIDEOS:
                micro = int(seen["time_ms"]) * 1000
                at = datetime.fromtimestamp(micro // 10**6, UTC).strftime("%Y-%m-%dT%H:%M:%S")
                rows.append(
                    {
                        "usage_id": f"k{line}",
                        "work": f"video-{seen['video_id']}",
                        "kind": "view",
                        "started_at": f"{at}.{micro % 10**6:06d}Z",
                        "watched_seconds": thousandths(seen["play_time_ms"]),
                        "duration_seconds": thousandths(seen["duration_ms"]),
                        "viewer": seen["user_id"],
                    }
                )
    return rows


def thousandths(text: str) -> str:
    return f"{int(text) // 1000}.{int(text) % 1000:03d}"


def day_of(row: Row) -> int:
    from royalty.days import parse_day

    return parse_day(row["started_at"][:10])


@dataclass
class Plan:
    """A batch that is about to go onto the chain: usage by day, work and kind, and the log it counted."""

    logs: tuple[str, ...]
    usage: dict[Key, int]
    tally: bool = False
    day: int = 0
    evidence: bytes | None = None
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Month:
    """A catalogue of three works and a platform with funds on a chain; logs, map and evidence in folders."""

    session: Callable[..., Any]
    folder: Path
    anvil: Anvil
    catalogue: int
    rows: dict[str, list[Row]]
    prices: Any
    evidence: Path
    settled: slice = field(default_factory=lambda: slice(0, None))
    policy: Any = None
    documents: list[Any] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    counts: dict[Any, Any] = field(default_factory=dict)

    @property
    def works(self) -> Path:
        return self.folder / "map.csv"

    @property
    def logs(self) -> list[Path]:
        return [self.folder / name for name in sorted(self.rows)]

    def write_logs(self) -> None:
        self.counts.clear()
        for name, rows in self.rows.items():
            with (self.folder / name).open("w", newline="") as file:
                writer = csv.DictWriter(file, HEADER, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
        lines = [f"video-{video},{self.catalogue}/{at}" for at, video in enumerate(VIDEOS)]
        self.works.write_text("\n".join(["platform_id,work", *lines]) + "\n")

    # --- what an honest platform counts and commits to ---

    def count(self, *names: str) -> Any:
        """What some of the logs come to, by the package; counted once."""
        key = (names, self.policy)
        if key not in self.counts:
            self.counts[key] = self._count(*names)
        return self.counts[key]

    def _count(self, *names: str) -> Any:
        from royalty.days import Period, parse_day
        from royalty.logs import Columns, WorkTable, count, find_sources
        from royalty.worksmap import read_map

        days = Period(parse_day(PERIOD["since"]), parse_day(PERIOD["until"]))
        matcher = WorkTable(
            read_map(self.works).items(),
            [(self.catalogue, 1, FIRST - 10, None)],
            {self.catalogue: self.platform.ledger.catalogue(self.catalogue).works},
        )
        sources = find_sources([str(self.folder / name) for name in names], Columns.load(None))
        return count(sources, days, matcher, self.policy)

    def plans(self) -> list[Plan]:
        """Each day of the early log as a batch, the late log as a tally of all its days."""
        early, late = self.count("early.csv"), self.count("late.csv")
        days: dict[int, dict[Key, int]] = defaultdict(dict)
        for row in early.units:
            days[row.day][row.day, row.index, row.kind] = row.units
        usage = {(row.day, row.index, row.kind): row.units for row in late.units}
        direct = [Plan(("early.csv",), days[day], day=day) for day in sorted(days)]
        return [*direct, Plan(("late.csv",), usage, tally=True, day=max(k[0] for k in usage))]

    def manifest(self, plan: Plan, batch: int, tree: Any, usage: bytes) -> bytes:
        """An honest manifest of a plan, with what the plan says otherwise."""
        from royalty import __version__
        from royalty.days import format_day
        from royalty.evidence import Counts, Document, Manifest, Source, canonical, new_salt
        from royalty.logs import Policy
        from royalty.questions import map_document
        from royalty.worksmap import read_map

        found = self.count(*plan.logs)
        counts = Counts(found.rows, found.qualified, found.excluded)
        listed = {"catalogue": self.catalogue, "despite_rival": False}
        listed |= {f"max_{kind}_nano": 10**9 for kind in ("view", "download", "excerpt")}
        policy = Document("policy", "json", canonical((self.policy or Policy()).document()))
        licences = Document("licences", "json", canonical({"licences": [listed]}))
        works = map_document(read_map(self.works))
        self.documents = [policy, licences, works]
        days = sorted({format_day(day) for day, _, _ in plan.usage})
        made = Manifest(
            chain_id=31337,
            contract=self.session("dev1").ledger.address,
            platform=self.session("dev1").account.address,
            batch=batch,
            day=format_day(plan.day),
            since=PERIOD["since"],
            until=PERIOD["until"],
            policy=policy.digest,
            columns=None,
            works_map=works.digest,
            licences=licences.digest,
            sources=tuple(Source(one.sha256, one.rows) for one in found.sources),
            counts=counts,
            recount=counts if tree is None else dict.fromkeys(days, counts),
            usage=usage,
            program=f"royalty {__version__}",
            salt=new_salt(),
            tree=tree,
        )
        return canonical(made.as_json() | plan.changes)

    def worth(self, usage: Mapping[Key, int], sign: int = 1) -> dict[Cell, int]:
        """What usage is worth, by cell."""
        return {
            (f"{self.catalogue}/{index}", day, kind.word): sign * units * self.prices.price(kind)
            for (day, index, kind), units in usage.items()
        }

    # --- onto the chain ---

    def report(self, plans: Iterable[Plan]) -> list[int]:
        """Bring plans onto the chain in order and return their numbers."""
        return [self.send(plan) for plan in plans]

    def send(self, plan: Plan) -> int:
        """Bring a plan onto the chain with its evidence, past every check of the package."""
        batch = int(self.platform.ledger.platform(self.platform.account.address).next_batch)
        (self._post if plan.tally else self._report)(plan, batch)
        self.batches.append(batch)
        return batch

    @property
    def platform(self) -> Any:
        return self.session("dev1")

    def _report(self, plan: Plan, batch: int) -> None:
        from royalty.usage import Line, group_lines, pack_usage, total_nano

        groups = group_lines(
            Line(self.catalogue, 1, kind, index, units)
            for (_, index, kind), units in plan.usage.items()
        )
        usage = pack_usage(groups)
        evidence = self.keep(plan, batch, None, usage)
        total = total_nano(groups, {(self.catalogue, 1): self.prices})
        me = self.platform.account.address
        self.platform.send(self.platform.ledger.report(me, batch, plan.day, evidence, total, usage))

    def _post(self, plan: Plan, batch: int) -> None:
        from royalty.evidence import TreeMark, sha256
        from royalty.merkle import DayLine, leaves_of, make_tree
        from royalty.tallydata import data_bytes, file_name, rows_of
        from tests import tallies

        lines = sorted(
            DayLine(self.catalogue, 1, day, kind, index, units)
            for (day, index, kind), units in plan.usage.items()
        )
        leaves = list(leaves_of(lines, LEAF_BYTES))
        data = data_bytes(rows_of(leaves, {(self.catalogue, 1): self.prices}))
        (self.evidence / file_name(batch, sha256(data))).write_bytes(data)
        claims = tallies.claims_of(lines, {(self.catalogue, 1): self.prices}, LEAF_BYTES)
        tree = make_tree(claim.node for claim in claims)
        mark = TreeMark(tree.root, len(claims), sha256(data))
        evidence = self.keep(plan, batch, mark, b"")
        posted = tallies.post(
            self.platform, claims, plan.day, evidence=evidence, digest=sha256(data)
        )
        for first in range(len(claims))[self.settled]:
            posted.settle(self.session("dev3"), first, 1)

    def keep(self, plan: Plan, batch: int, tree: Any, usage: bytes) -> bytes:
        """Write a plan's manifest and documents; return the digest that goes on chain."""
        from royalty.evidence import evidence_of, write_evidence

        content = self.manifest(plan, batch, tree, usage)
        write_evidence(self.evidence, {batch: content}, self.documents)
        return plan.evidence if plan.evidence is not None else evidence_of(content)

    # --- what the auditor asks ---

    def auditor(self) -> Any:
        """A session in a folder of its own, which knows nothing but the chain."""
        place = self.folder / "auditor"
        place.mkdir(exist_ok=True)
        from royalty import Royalty

        settings = self.session("dev3").settings
        return Royalty.connect(
            account="dev3", rpc=settings.rpc, contract=settings.contract, folder=place
        )

    def reconcile(self, **options: Any) -> Any:
        given = {**PERIOD, "works": self.works, "evidence": self.evidence} | options
        given.setdefault("platform", self.platform.account.address)
        return self.auditor().reconcile([str(path) for path in self.logs], **given)

    def verify(self, **options: Any) -> Any:
        given = {**PERIOD, "platform": self.platform.account.address} | options
        return self.auditor().audit.evidence(
            self.evidence, [str(path) for path in self.logs], **given
        )

    def manifest_of(self, batch: int) -> dict[str, Any]:
        return dict(json.loads((self.evidence / f"manifest-{batch}.json").read_text()))


def make_month(session: Callable[..., Any], folder: Path, anvil: Anvil) -> Month:
    """Open the catalogue, give the platform funds, write the logs; nothing is reported yet."""
    from royalty.shares import Share, make_split

    producer, platform = session("dev0"), session("dev1")
    split = make_split([Share(holder, ppm) for holder, ppm in HOLDERS])
    producer.send(producer.ledger.open(split, tariff(), FIRST - 10))
    number = producer.ledger.catalogues()
    files = [fingerprint(at) for at in range(len(VIDEOS))]
    producer.send(producer.ledger.register(number, files, bytes(32)))
    me = platform.account.address
    platform.send_all([platform.ledger.approve(10**12), platform.ledger.deposit(me, 10**11)])
    rows = real_rows()
    halves = {
        "early.csv": [row for row in rows if FIRST <= day_of(row) <= MIDDLE],
        "late.csv": [row for row in rows if MIDDLE < day_of(row) <= LAST],
    }
    halves["early.csv"] += more_rows(FIRST + 2)
    halves["late.csv"] += more_rows(MIDDLE + 2)
    evidence = folder / "evidence"
    evidence.mkdir()
    made = Month(session, folder, anvil, number, halves, tariff(), evidence)
    made.write_logs()
    return made


def more_rows(day: int) -> Iterable[Row]:
    """Two downloads and an excerpt, which the sample has none of."""
    from royalty.days import format_day

    for at, (kind, seconds) in enumerate((("download", ""), ("download", ""), ("excerpt", "41.5"))):
        yield {
            "usage_id": f"{kind}-{day}-{at}",
            "work": f"video-{VIDEOS[at % 2]}",
            "kind": kind,
            "started_at": f"{format_day(day)}T12:00:0{at}Z",
            "watched_seconds": seconds,
            "duration_seconds": "60",
            "viewer": f"buyer {at}",
        }


def fingerprint(at: int) -> bytes:
    from hashlib import sha256

    return sha256(f"kuairand:{VIDEOS[at]}".encode()).digest()


@contextmanager
def month(session: Callable[..., Any], folder: Path, anvil: Anvil) -> Iterator[Month]:
    """Yield a month that nothing is reported of, on a chain that is set back afterwards."""
    snapshot = anvil.request("evm_snapshot")
    try:
        yield make_month(session, folder, anvil)
    finally:
        anvil.request("evm_revert", snapshot)
