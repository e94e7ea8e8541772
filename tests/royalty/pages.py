"""Reconciliations made up for tests of pages, and a reader of what a page says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Any

from royalty.breakdown import Basis, BatchUsed, DayRow, SourceUsed, Sum, WorkRow
from royalty.days import Period, parse_day
from royalty.findings import Finding, Reason, unmatched
from royalty.logs import REASONS
from royalty.reconcile import Reconciliation
from royalty.usage import Kind, WorkRef

PLATFORM = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65"
SINCE = parse_day("2026-10-05")
PRICE = {"view": 3_000_000, "download": 500_000_000, "excerpt": 100_003}
VOID = {"meta", "br", "hr", "img", "input", "link"}


def sum_of(logged: Sequence[int], chain: Sequence[int]) -> Sum:
    """Both sides of so many views, downloads and excerpt seconds."""
    units = [dict(zip(PRICE, side, strict=True)) for side in (logged, chain)]
    nano = [sum(PRICE[kind] * n for kind, n in side.items()) for side in units]
    return Sum(units[0], units[1], nano[0], nano[1])


def missing(
    index: int, day: int, units: int = 1, reason: Reason = Reason.MISSING_ON_CHAIN
) -> Finding:
    """A view that the chain lacks."""
    nano = units * PRICE["view"]
    return Finding(
        reason, PLATFORM, 1, f"1/{index}", day, Kind.VIEW, 1, units, 0, PRICE["view"], nano, 0, nano, None
    )  # fmt: skip


def made_up(days: int = 2, works: int = 3, **changes: Any) -> Reconciliation:
    """A reconciliation in which each day lacks one view of work 1/0 on the chain."""
    sums = [sum_of((10 + at, at % 2, 30), (9 + at, at % 2, 30)) for at in range(days)]
    whole = Sum()
    for one in sums:
        whole.add(one)
    shares = [sum_of((50 - at, 0, 0), (50 - at - (at == 0), 0, 0)) for at in range(works)]
    found = Reconciliation(
        platform=PLATFORM,
        period=Period(SINCE, SINCE + days - 1),
        block=67,
        rows=100,
        qualified=40,
        excluded=dict.fromkeys(REASONS, 1) | {"below_threshold": 54},
        units_logged=whole.units_logged,
        units_chain=whole.units_chain,
        logged_nano=whole.logged_nano,
        credited_nano=whole.credited_nano,
        over_threshold=False,
        unpaid_nano=12_345_678_901,
        solvent=True,
        findings=tuple(missing(0, SINCE + at) for at in range(days)),
        basis=basis(),
        days=tuple(DayRow(SINCE + at, one) for at, one in enumerate(sums)),
        works=tuple(WorkRow(WorkRef(1, at), f"Film {at}", one) for at, one in enumerate(shares)),
    )
    return replace(found, **changes)


def basis(**changes: Any) -> Basis:
    """What it stands on."""
    made = Basis(
        chain_id=31337,
        contract="0xAdF23C89A4698623fEdBDb09473f45eA94eb727C",
        token="TUSD",
        block=67,
        block_hash="0x" + "ab" * 32,
        block_time=1_790_000_000,
        policy={
            "name": "default",
            "version": "1",
            "view": {"minimum_seconds": "30", "short_fraction": "0.5"},
            "double_click": {"seconds": "31"},
            "cap": {"per_viewer_work_day": 20},
        },
        policy_digest="0x" + "cd" * 32,
        columns=None,
        works_map="0x" + "ef" * 32,
        folder_ids=0,
        accepted=0,
        sources=(SourceUsed("views.csv", "0x" + "12" * 32, 100),),
        batches=(BatchUsed(1, SINCE, "0x" + "34" * 32, False), BatchUsed(2, SINCE, "0x" + "00" * 32, True)),
        evidence=False,
        threshold="3",
        command=("royalty", "reconcile", "views.csv", "--since", "2026-10-05", "--rpc", "URL"),
    )  # fmt: skip
    return replace(made, **changes)


def unmatched_id(text: str) -> Finding:
    """A row of a work that nobody knows, as the log writes it."""
    return unmatched(PLATFORM, [(text, SINCE, Kind.VIEW, 1)])[0]


@dataclass
class Node:
    """An element as a browser without any leniency would read it."""

    name: str
    attributes: Mapping[str, str]
    children: list[Node | str] = field(default_factory=list)

    def all(self, *names: str) -> list[Node]:
        """The elements of these names in it, itself included; without a name all."""
        found = [self] if not names or self.name in names else []
        for child in self.children:
            if isinstance(child, Node):
                found += child.all(*names)
        return found

    @property
    def text(self) -> str:
        """All text in it."""
        return "".join(child if isinstance(child, str) else child.text for child in self.children)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> has an attribute twice"
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].name == tag, f"</{tag}> closes <{self.open[-1].name}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def read(page: str) -> Node:
    """The page as a tree; AssertionError where its elements do not nest."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == [reader.root], f"<{reader.open[-1].name}> is never closed"
    return reader.root


def figures(page: Node) -> dict[str, tuple[str, str]]:
    """The figures that have a name in JSON: (the exact value, what a person reads)."""
    return {
        node.attributes["data-field"]: (node.attributes["value"], node.text)
        for node in page.all("data")
        if "data-field" in node.attributes
    }


def same_figures(page: Node, document: Mapping[str, Any]) -> None:
    """Assert that every named figure of a page is what the JSON document says, and that none lacks."""
    found = figures(page)
    for side in ("units_logged", "units_chain"):
        for kind, count in document[side].items():
            assert found.pop(f"{side}.{kind}") == (str(count), f"{count:,}")
    if document["held"]:
        for kind, count in document["units_held"].items():
            if count:
                assert found.pop(f"units_held.{kind}") == (str(count), f"{count:,}")
        assert found.pop("held_amount_nano") == (
            str(document["held_amount_nano"]),
            document["held_amount"],
        )
    for reason, count in document["excluded"].items():
        assert found.pop(f"excluded.{reason}") == (str(count), f"{count:,}")
    for name in ("logged", "credited", "difference", "unpaid"):
        assert found.pop(f"{name}_nano") == (str(document[f"{name}_nano"]), document[name])
    for name in ("rows", "qualified", "block"):
        assert found.pop(name) == (str(document[name]), f"{document[name]:,}")
    rows = document["findings"]
    if rows:
        assert found.pop("findings")[0] == str(len(rows))
    for name in sorted(found):
        reason = name.removeprefix("reason.")
        nano = sum(int(row["difference_nano"] or 0) for row in rows if row["reason"] == reason)
        assert found[name][0] == str(nano), name


def amount_of(text: str) -> int:
    """The nano-tokens of a decimal string, by another way than the program's."""
    sign, whole, _, fraction = re.fullmatch(r"(-?)(\d+)(\.(\d{1,9}))?", text).groups()  # type: ignore[union-attr]
    return int(f"{sign}{whole}{(fraction or '').ljust(9, '0')}")
