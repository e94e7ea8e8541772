"""History of tallies: a settled leaf is usage like any other, and each tally says what is left of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from royalty.days import format_day
from royalty.merkle import Claim, DayLine
from royalty.shares import Share, Split, make_split
from royalty.usage import Kind, Line, Tariff, group_lines, pack_usage, total_nano
from tests.tallies import Posted, claims_of, lying_tree, post

TARIFF = Tariff(3_000_000, 500_000_000, 100_003)
VIEW, DOWNLOAD, EXCERPT = Kind
EVIDENCE, DIGEST = b"\x02" * 32, b"\x03" * 32


@dataclass
class Story:
    """Two catalogues with the same fresh holder, and a platform with funds."""

    royalty: Any
    catalogues: tuple[int, int]
    split: Split
    day: int

    @property
    def platform(self) -> str:
        return str(self.royalty.account.address)

    def lines(self) -> list[DayLine]:
        """Usage of two catalogues, three days, all kinds, one work above what a pair holds."""
        first, second = self.catalogues
        return [
            DayLine(first, 1, self.day - 2, VIEW, 0, 10),
            DayLine(first, 1, self.day - 2, EXCERPT, 1, 2**24 + 5),
            DayLine(first, 1, self.day, VIEW, 0, 4),
            DayLine(first, 1, self.day, DOWNLOAD, 2, 1),
            DayLine(second, 1, self.day - 1, VIEW, 0, 3),
        ]

    def claims(self, most: int = 24_000) -> list[Claim]:
        return claims_of(
            self.lines(), dict.fromkeys(((c, 1) for c in self.catalogues), TARIFF), most
        )

    def report(self) -> None:
        """Report the same usage directly, a batch a day."""
        for day in sorted({line.day for line in self.lines()}):
            groups = group_lines(
                Line(one.catalogue, one.version, one.kind, one.index, one.units)
                for one in self.lines()
                if one.day == day
            )
            total = total_nano(groups, {(group.catalogue, 1): TARIFF for group in groups})
            ledger = self.royalty.ledger
            batch = ledger.platform(self.platform).next_batch
            call = ledger.report(self.platform, batch, day, EVIDENCE, total, pack_usage(groups))
            self.royalty.send(call)

    def post(self, claims: list[Claim] | None = None, **options: Any) -> Posted:
        given = {"evidence": EVIDENCE, "digest": DIGEST} | options
        return post(self.royalty, claims or self.claims(), self.day, **given)

    def tally(self) -> dict[str, Any]:
        (row,) = self.royalty.history.tallies(since=format_day(self.day)).to_list()
        return dict(row)


@pytest.fixture
def story(session: Callable[..., Any], anvil: Any) -> Iterator[Story]:
    snapshot = anvil.request("evm_snapshot")
    royalty = session()
    ledger, today = royalty.ledger, royalty.today()
    split = make_split([Share(royalty.address("0x" + secrets.token_hex(20)), 1_000_000)])
    numbers = []
    for _ in range(2):
        royalty.send(ledger.open(split, TARIFF, today - 10))
        numbers.append(ledger.catalogues())
    royalty.send(ledger.approve(10**12))
    royalty.send(ledger.deposit(royalty.account.address, 10**10))
    yield Story(royalty, (numbers[0], numbers[1]), split, today - 3)
    anvil.request("evm_revert", snapshot)


def plain(rows: Any) -> list[tuple[Any, ...]]:
    """Usage rows without where they stand on the chain."""
    words = [
        "day",
        "platform",
        "catalogue",
        "work",
        "kind",
        "version",
        "units",
        "price_nano",
        "amount_nano",
        "evidence",
    ]
    return sorted(tuple(row[word] for word in words) for row in rows.to_list())


def test_history_is_the_same_whether_usage_was_reported_or_settled(
    story: Story, anvil: Any
) -> None:
    snapshot = anvil.request("evm_snapshot")
    story.report()
    reported = plain(story.royalty.history.usage())
    anvil.request("evm_revert", snapshot)
    posted = story.post()
    assert story.royalty.history.usage().to_list() == [], "posted is not settled"
    posted.settle(story.royalty)
    assert plain(story.royalty.history.usage()) == reported
    assert len(reported) == 5
    assert {row["batch"] for row in story.royalty.history.usage()} == {posted.batch}


def test_a_row_stands_where_its_leaf_was_settled(story: Story) -> None:
    posted = story.post()
    second = posted.settle(story.royalty, 1, 1)
    first = posted.settle(story.royalty, 0, 1)
    rows = story.royalty.history.usage().to_list()
    assert [(row["catalogue"], row["transaction"], row["block"]) for row in rows] == [
        (story.catalogues[1], second.transaction, second.block),
        *[(story.catalogues[0], first.transaction, first.block)] * 4,
    ]


def test_leaves_of_one_transaction_that_hold_the_same_are_one_row(story: Story) -> None:
    """Leaves of one pair each split the work that needs two."""
    claims = story.claims(most=17)
    assert len(claims) == 6
    posted = story.post(claims)
    posted.settle(story.royalty)
    units = [row["units"] for row in story.royalty.history.usage(work=f"{story.catalogues[0]}/1")]
    assert units == [2**24 + 5]


def test_what_two_transactions_settled_is_two_rows_that_add_up(story: Story) -> None:
    posted = story.post(story.claims(most=17))
    for index in range(6):
        posted.settle(story.royalty, index, 1)
    units = [row["units"] for row in story.royalty.history.usage(work=f"{story.catalogues[0]}/1")]
    assert len(units) == 2
    assert sum(units) == 2**24 + 5


def test_filters_narrow_usage_of_leaves_by_its_own_day(story: Story) -> None:
    story.post().settle(story.royalty)
    history, (first, second) = story.royalty.history, story.catalogues
    assert len(history.usage(catalogue=second)) == 1
    assert len(history.usage(work=f"{first}/0")) == 2
    assert len(history.usage(since=format_day(story.day))) == 2
    assert len(history.usage(until=format_day(story.day - 2))) == 2
    assert len(history.usage(platform="dev3")) == 0
    assert len(history.usage(platform=story.platform)) == 5
    assert len(history.usage(holder=story.split[0].holder)) == 5
    assert len(history.usage(holder=story.platform)) == 0


def test_what_settled_leaves_brought_is_credited_as_usage(story: Story) -> None:
    story.post().settle(story.royalty, 0, 1)
    ledger, (first, second) = story.royalty.ledger, story.catalogues
    story.royalty.send(ledger.pay(second, 1_000, b"tips"))
    story.royalty.send(ledger.allocate([(one, 1, story.split) for one in (first, second)]))
    rows = story.royalty.history.credits().to_list()
    assert [(row["catalogue"], row["cause"]) for row in rows] == [
        (first, "usage"),
        (second, "payment"),
    ]
    assert rows[0]["part_nano"] == story.claims()[0].amount


def test_a_tally_says_what_has_become_of_it(story: Story) -> None:
    sound, wrong = story.claims()
    claims = [sound, Claim(wrong.leaf, wrong.amount + 1), story.claims()[1]]
    posted = story.post(claims, uri="ipfs://data")
    fresh = story.tally()
    assert fresh["entry"] == "tally"
    assert (fresh["platform"], fresh["batch"], fresh["day"]) == (
        story.platform,
        posted.batch,
        format_day(story.day),
    )
    assert fresh["root"] == "0x" + posted.tree.root.hex()
    assert (fresh["evidence"], fresh["data_digest"]) == ("0x" + "02" * 32, "0x" + "03" * 32)
    assert fresh["uri"] == "ipfs://data"
    assert story.royalty.node.block(fresh["block"]).day == story.day + 3
    money = ("leaves", "total_nano", "settled_leaves", "settled_nano", "void_nano")
    assert [fresh[word] for word in money] == [3, posted.total, 0, 0, 0]
    assert fresh["unsettled_nano"] == posted.total

    posted.settle(story.royalty, 0, 2)
    told = story.tally()
    assert [told[word] for word in money] == [
        3,
        posted.total,
        2,
        sound.amount,
        wrong.amount + 1,
    ]
    assert told["unsettled_nano"] == claims[2].amount
    state = story.royalty.ledger.tally(story.platform, posted.batch)
    assert (told["settled_leaves"], told["unsettled_nano"]) == (
        state.settled_leaves,
        state.unsettled_nano,
    )
    assert len(story.royalty.history.usage()) == 4, "a void leaf is no usage"


def test_a_tally_whose_nodes_were_closed_says_so(story: Story) -> None:
    claims = story.claims()
    posted = story.post(claims, tree=lying_tree(claims, 7))
    wrong = b"\0" + claims[1].amount.to_bytes(12, "big") + claims[1].leaf
    left, total = posted.tree.levels[0][:44], claims[1].amount + 7
    ledger = story.royalty.ledger
    story.royalty.send(ledger.close_node(story.platform, posted.batch, 0, 1, total, wrong, left))
    told = story.tally()
    assert (told["settled_leaves"], told["settled_nano"], told["void_nano"]) == (1, 0, total)
    assert told["unsettled_nano"] == claims[0].amount


def test_a_closed_node_closes_every_leaf_under_it_and_no_other() -> None:
    from royalty.index.tables import ChainEvent
    from royalty.tallybook import Tally

    def event(name: str, **args: Any) -> ChainEvent:
        return ChainEvent(name, args, "", 0, "", "", 0, 0)

    posted = event("TallyPosted", leaves=7, total=100)
    tally = Tally(posted, nodes=(event("NodeVoid", level=1, index=0, amount=10),))
    assert (tally.closed, tally.open_leaves()) == (2, {2, 3, 4, 5, 6})
    tally = Tally(posted, nodes=(event("NodeVoid", level=2, index=1, amount=10),))
    assert (tally.closed, tally.open_leaves()) == (3, {0, 1, 2, 3}), "the last level is not full"
    tally = Tally(posted, paid=(event("LeafSettled", index=6, amount=1),), nodes=tally.nodes[:0])
    assert (tally.closed, tally.open_leaves()) == (1, {0, 1, 2, 3, 4, 5})


def test_tallies_are_filtered_by_platform_and_last_day(story: Story) -> None:
    story.post()
    history, day = story.royalty.history, format_day(story.day)
    assert len(history.tallies(platform=story.platform, since=day, until=day)) == 1
    assert len(history.tallies(platform="dev3")) == 0
    assert len(history.tallies(since=format_day(story.day + 1))) == 0
    assert len(history.tallies(until=format_day(story.day - 1))) == 0
    assert "tally" in {row["entry"] for row in history.rows(platform=story.platform)}
    assert "tally" not in {row["entry"] for row in history.rows(catalogue=story.catalogues[0])}


def test_arrow_has_counts_and_money_of_tallies_as_numbers(story: Story) -> None:
    import pyarrow as pa

    posted = story.post()
    table = story.royalty.history.tallies().to_arrow()
    assert table.schema.field("leaves").type == pa.int64()
    assert table.schema.field("settled_leaves").type == pa.int64()
    assert table.schema.field("unsettled_nano").type == pa.decimal128(38, 0)
    assert int(table.column("total_nano")[0].as_py()) == posted.total
