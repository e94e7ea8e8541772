"""History: every row follows from events, every filter narrows, every form says the same."""

from __future__ import annotations

import csv
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from royalty.days import format_day
from royalty.errors import InputError, MissingProgram
from royalty.history import APPLIES, COLUMNS, KINDS, Filters, choose_kinds
from royalty.index.rows import Rows
from royalty.shares import Share, Split, make_split
from royalty.sheets import csv_text, plain_text
from royalty.usage import Group, Kind, Tariff, pack_usage

TARIFF = Tariff(3_000_000, 500_000_000, 100_003)


@dataclass
class Story:
    """A catalogue of fresh holders: reported to, paid into, allocated twice, paid out."""

    royalty: Any
    catalogue: int
    batch: int
    split: Split
    day: int
    rest: int

    @property
    def holders(self) -> list[str]:
        return [share.holder for share in self.split]


@pytest.fixture
def story(session: Callable[..., Any]) -> Story:
    royalty = session()
    ledger, me, today = royalty.ledger, royalty.account.address, royalty.today()
    fresh = [royalty.address("0x" + secrets.token_hex(20)) for _ in range(2)]
    split = make_split([Share(fresh[0], 333_333), Share(fresh[1], 666_667)])
    royalty.send(ledger.open(split, TARIFF, today - 10, "ipfs://deal"))
    number = ledger.catalogues()
    royalty.send(
        ledger.register(number, [secrets.token_bytes(32) for _ in range(3)], b"\x01" * 32, "x")
    )
    royalty.send(ledger.approve(10**9))
    royalty.send(ledger.deposit(me, 10**8))
    usage = [
        Group(number, 1, Kind.VIEW, ((0, 10), (1, 5))),
        Group(number, 1, Kind.EXCERPT, ((0, 7),)),
    ]
    batch = ledger.platform(me).next_batch
    total = 15 * 3_000_000 + 7 * 100_003
    royalty.send(ledger.report(me, batch, today - 5, b"\x02" * 32, total, pack_usage(usage)))
    deal = [(number, 1, split)]
    royalty.send(ledger.allocate_and_pay(deal, [split[0].holder]))
    royalty.send(ledger.pay(number, 1_000, b"tips"))
    royalty.send(ledger.allocate(deal))
    rest = ledger.deal(number, 1).accrued_nano
    return Story(royalty, number, batch, split, today, rest)


def test_usage_is_one_row_a_batch_work_and_kind_on_its_own_day(story: Story) -> None:
    rows = story.royalty.history.usage(catalogue=story.catalogue).to_list()
    told = [
        (row["work"], row["kind"], row["units"], row["price_nano"], row["amount_nano"])
        for row in rows
    ]
    assert told == [
        (f"{story.catalogue}/0", "view", 10, 3_000_000, 30_000_000),
        (f"{story.catalogue}/1", "view", 5, 3_000_000, 15_000_000),
        (f"{story.catalogue}/0", "excerpt", 7, 100_003, 700_021),
    ]
    assert {row["day"] for row in rows} == {format_day(story.day - 5)}
    assert {row["batch"] for row in rows} == {story.batch}
    assert {row["evidence"] for row in rows} == {"0x" + "02" * 32}
    assert {row["version"] for row in rows} == {1}


def test_credits_are_recomputed_from_allocations_and_say_what_they_came_from(story: Story) -> None:
    rows = story.royalty.history.credits(catalogue=story.catalogue).to_list()
    assert [row["cause"] for row in rows] == ["usage"] * 2 + ["payment"] * 2
    earned = 45_000_000 + 700_021 + 1_000_000
    assert sum(row["part_nano"] for row in rows) == earned - story.rest
    assert [row["part_nano"] for row in rows[:2]] == [
        45_700_021 * share.ppm // 10**6 for share in story.split
    ]
    balances = dict.fromkeys(story.holders, 0)
    for row in rows:
        balances[row["holder"]] += row["part_nano"]
    for row in story.royalty.history.payouts().to_list():
        if row["holder"] in balances:
            balances[row["holder"]] -= row["amount_nano"]
    assert list(balances.values()) == story.royalty.ledger.balances_nano(story.holders)


def test_payouts_are_what_was_sent(story: Story) -> None:
    (row,) = story.royalty.history.payouts(holder=story.holders[0]).to_list()
    part = 45_700_021 * story.split[0].ppm // 10**6
    assert row["amount_nano"] == part // 1_000 * 1_000
    assert row["to"] == story.holders[0]
    assert row["day"] == format_day(story.royalty.node.block(row["block"]).day)
    assert story.royalty.history.payouts(holder=story.holders[1]).to_list() == []


def test_deals_and_works_are_listed_with_who_and_when(story: Story) -> None:
    history = story.royalty.history
    (deal,) = history.amendments(catalogue=story.catalogue).to_list()
    assert (deal["version"], deal["from_day"], deal["until_day"]) == (
        1,
        format_day(story.day - 10),
        None,
    )
    assert (deal["view_nano"], deal["uri"]) == (3_000_000, "ipfs://deal")
    assert deal["split"] == " ".join(f"{share.holder}={share.ppm}" for share in story.split)
    works = history.works(catalogue=story.catalogue).to_list()
    assert [row["work"] for row in works] == [f"{story.catalogue}/{index}" for index in range(3)]
    assert {row["registrant"] for row in works} == {story.royalty.account.address}
    assert works[0]["metadata_digest"] == "0x" + "01" * 32


def test_each_filter_narrows(story: Story) -> None:
    history, number = story.royalty.history, story.catalogue
    assert len(history.usage(work=f"{number}/0")) == 2
    assert len(history.usage(holder=story.holders[0])) == 3, "usage of the deals it shares in"
    assert len(history.usage(catalogue=number, platform="dev0")) == 3
    assert len(history.usage(catalogue=number, platform="dev3")) == 0
    day = format_day(story.day - 5)
    assert len(history.usage(catalogue=number, since=day, until=day)) == 3
    assert len(history.usage(catalogue=number, since=format_day(story.day - 4))) == 0
    assert len(history.usage(catalogue=number, until=format_day(story.day - 6))) == 0
    assert len(history.credits(holder=story.holders[0])) == 2
    assert len(history.payouts(holder=story.holders[0], until=day)) == 0
    assert len(history.amendments(holder=story.holders[1])) == 1
    assert len(history.works(work=f"{number}/2")) == 1


def test_all_kinds_together_stand_in_the_order_of_the_chain(story: Story) -> None:
    rows = story.royalty.history.rows(catalogue=story.catalogue)
    entries = list(dict.fromkeys(row["entry"] for row in rows))
    assert entries == ["amendment", "work", "usage", "credit"]
    blocks = [row["block"] for row in rows]
    assert blocks == sorted(blocks)
    assert set(rows.columns) == {name for kind in entries for name in COLUMNS[kind]}


def test_without_sync_only_what_was_read_before_is_shown(story: Story) -> None:
    history = story.royalty.history
    assert history.rows(sync=False).to_list() == []
    read = history.rows().to_list()
    story.royalty.send(story.royalty.ledger.open(story.split, TARIFF, story.day))
    assert history.rows(sync=False).to_list() == read
    assert len(history.rows()) == len(read) + 1


def test_arrow_csv_and_parquet_say_the_same(story: Story, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = story.royalty.history.rows(catalogue=story.catalogue)
    table = rows.to_arrow()
    assert table.schema.field("amount_nano").type == pa.decimal128(38, 0)
    assert table.schema.field("day").type == pa.date32()
    amounts = [
        None if value is None else int(value) for value in table.column("amount_nano").to_pylist()
    ]
    assert amounts == [row.get("amount_nano") for row in rows.to_list()]
    rows.to_parquet(tmp_path / "deep" / "history.parquet")
    assert pq.read_table(tmp_path / "deep" / "history.parquet").equals(table)
    rows.to_csv(tmp_path / "history.csv")
    with (tmp_path / "history.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["amount_nano"] for row in read] == ["" if a is None else str(a) for a in amounts]
    assert not [path for path in tmp_path.rglob(".*") if path.suffix in (".csv", ".parquet")]


def test_missing_libraries_are_named() -> None:
    try:
        import polars  # noqa: F401
    except ImportError:
        with pytest.raises(MissingProgram, match="pip install polars"):
            Rows(("day",), ()).to_polars()


# --- pure ---


def test_an_allocation_of_earlier_remainders_alone_says_so() -> None:
    from royalty.history import credit_rows
    from royalty.index.tables import ChainEvent
    from royalty.shares import pack_split

    split = make_split([Share("0x" + "11" * 20, 400_000), Share("0x" + "22" * 20, 600_000)])
    tariff = {"viewPrice": 1, "downloadPrice": 0, "excerptPrice": 0}
    deal = {"catalogue": 1, "version": 1}
    opened = deal | {
        "owner": "0x",
        "fromDay": 0,
        "tariff": tariff,
        "split": pack_split(split),
        "uri": "",
    }
    usage = pack_usage([Group(1, 1, Kind.VIEW, ((0, 1),))])
    told = [
        ("CatalogueOpened", opened),
        ("Paid", deal),
        ("UsageReported", {"usage": usage}),
        ("Allocated", deal | {"accruedBefore": 4}),
        ("Allocated", deal | {"accruedBefore": 2}),
    ]
    chain = [ChainEvent(name, args, "", at, "", "", 0, 0) for at, (name, args) in enumerate(told)]
    rows = credit_rows(lambda name: [event for event in chain if event.name == name], Filters())
    assert [(row["part_nano"], row["cause"]) for row in rows] == [
        (1, "usage+payment"),
        (2, "usage+payment"),
        (0, "remainder"),
        (1, "remainder"),
    ]


def test_a_kind_is_refused_where_it_is_unknown_or_a_filter_is_in_vain() -> None:
    with pytest.raises(InputError, match="usage, credit, payout, amendment, work"):
        choose_kinds("views", Filters())
    with pytest.raises(InputError, match="--platform does not apply to --kind payout"):
        choose_kinds("payout", Filters(platform="0x"))
    with pytest.raises(InputError, match="ends before it starts"):
        Filters(since=5, until=4)


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_that_a_filter_applies_to_are_shown(kind: str) -> None:
    for word, value in {"catalogue": 1, "holder": "0x", "platform": "0x"}.items():
        assert (kind in choose_kinds(None, Filters(**{word: value}))) == (word in APPLIES[kind])
    assert kind in choose_kinds(None, Filters())


@pytest.mark.parametrize("mark", ["=", "+", "-", "@", "\t=", " =", "\r="])
def test_no_spreadsheet_takes_text_for_a_formula(mark: str) -> None:
    assert csv_text(f"{mark}1+1").startswith("'")
    assert csv_text("12/3") == "12/3"


def test_text_is_cut_and_loses_what_moves_a_cursor() -> None:
    assert plain_text("a\x1b[2J\u202eb\nc\x00") == "a [2J b c "
    assert len(plain_text("x" * 5_000)) == 1_000


def test_numbers_and_days_are_never_quoted(tmp_path: Path) -> None:
    row = {"day": "2026-11-19", "difference_nano": -5, "work": "-1/0", "price_nano": None}
    table = Rows(tuple(row), (row,))
    table.to_csv(tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == (
        "day,difference_nano,work,price_nano\n2026-11-19,-5,'-1/0,\n"
    )
    assert table.to_arrow().to_pylist()[0]["difference_nano"] == Decimal(-5)


def test_a_file_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Rows(("day",), ()).to_csv(tmp_path / "file" / "history.csv")


def test_a_folder_is_no_file_to_write_rows_to(tmp_path: Path) -> None:
    for path in (tmp_path, Path()):
        with pytest.raises(InputError, match="is a folder"):
            Rows(("day",), ()).to_csv(path)
