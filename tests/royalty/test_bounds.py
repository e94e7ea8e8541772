"""Counts and money at the bounds of what the ledger holds, and at one nano-token: exact, or refused."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from royalty import logs
from royalty.days import Period, format_day
from royalty.errors import InputError
from royalty.money import MAX_PRICE_NANO
from royalty.shares import Share, make_split
from royalty.usage import Kind, Line, Tariff, WorkRef, group_lines, pack_usage

DAY = 18_900
LONGEST = 1_000_000_000
"""Seconds: what section 4 of the design reads at most."""
PREPAID = 2_200 * 10**6
"""Smallest units of the token of six decimals: twice the highest price, rounded up."""
TARIFF = Tariff(1, MAX_PRICE_NANO, MAX_PRICE_NANO)


def of_works(day: int = DAY) -> logs.WorkTable:
    return logs.WorkTable([], [(1, 1, day - 10, None)], {1: 3})


def excerpts(seconds: list[int]) -> str:
    """A relation of one work's excerpts, as the store keeps them."""
    rows = ", ".join(f"({at}, {watched}::BIGINT * 1000000)" for at, watched in enumerate(seconds))
    return f"""
SELECT 0 AS file, id AS line, 'u' || id AS usage_id, '1/0' AS work, {Kind.EXCERPT.value}::UTINYINT AS kind,
  {DAY}::BIGINT * 86400000000 + id AS started_us, {DAY} AS day, watched AS watched_us,
  NULL::BIGINT AS duration_us, NULL::VARCHAR AS identity, FALSE AS resend
FROM (VALUES {rows}) AS given(id, watched)"""


def counted(rows: str) -> Any:
    with logs.engine() as con:
        counting = logs.Counting(con, of_works(), logs.Policy(), Period(DAY, DAY))
        counting.add(rows)
        return counting.result([])


@pytest.mark.parametrize("extra", [[], [1]])
def test_units_are_exact_up_to_what_a_count_holds_and_refused_beyond(extra: list[int]) -> None:
    """Each row has the most seconds that 63 bits of microseconds hold; the last ones fill the sum up."""
    most, full = (2**63 - 1) // 10**6, 2**63 - 1
    lots = 250_000
    rest = full - 4 * lots * most
    rows = (
        "SELECT * EXCLUDE (lot) REPLACE (usage_id || '-' || lot AS usage_id)"
        f" FROM ({excerpts([most] * 4)}), range({lots}) AS t(lot)"
        " UNION ALL SELECT * REPLACE ('r' || usage_id AS usage_id)"
        f" FROM ({excerpts([rest, *extra])})"
    )
    if extra:
        with pytest.raises(InputError, match="9,223,372,036,854,775,807 units"):
            counted(rows)
        return
    found = counted(rows)
    assert [row.units for row in found.units] == [full]
    assert [row.units for row in found.works] == [full]


def test_the_longest_excerpt_is_read_to_the_second_and_one_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    when = f"{format_day(DAY)}T12:00:00Z"
    path.write_text(
        "usage_id,work,kind,started_at,watched_seconds\n"
        f"a,1/0,excerpt,{when},{LONGEST}\nb,1/0,excerpt,{when},{LONGEST}.000001\n"
        f"c,1/1,excerpt,{when},0.999999\nd,1/1,excerpt,{when},1.999999\n"
    )
    found = logs.count(logs.find_sources([path]), Period(DAY, DAY), of_works())
    assert [(row.index, row.units) for row in found.units] == [(0, LONGEST), (1, 1)]
    assert found.excluded["malformed"] == found.excluded["below_threshold"] == 1


@pytest.fixture
def highest(session: Callable[..., Any]) -> tuple[Any, Any, int]:
    """A producer, a platform with funds, and a catalogue of the lowest and the highest price there is."""
    producer, platform = session("dev0"), session("dev1")
    holder = producer.address("0x" + secrets.token_hex(20))
    producer.send(producer.ledger.open(make_split([Share(holder, 1_000_000)]), TARIFF, DAY))
    number = producer.ledger.catalogues()
    works = [secrets.token_bytes(32) for _ in range(2)]
    producer.send(producer.ledger.register(number, works, bytes(32)))
    platform.send(platform.ledger.approve(PREPAID))
    platform.send(platform.ledger.deposit(platform.account.address, PREPAID))
    return producer, platform, number


def report(platform: Any, lines: list[tuple[WorkRef, Kind, int]], total: int) -> None:
    groups = group_lines(Line(work.catalogue, 1, kind, work.index, n) for work, kind, n in lines)
    me = platform.account.address
    batch = platform.ledger.platform(me).next_batch
    platform.send(platform.ledger.report(me, batch, DAY, bytes(32), total, pack_usage(groups)))


def test_a_reconciliation_is_exact_at_one_nano_token_and_far_beyond_64_bits(
    highest: tuple[Any, Any, int], folder: Path
) -> None:
    producer, platform, number = highest
    first, second = WorkRef(number, 0), WorkRef(number, 1)
    paid = 1 + MAX_PRICE_NANO
    report(platform, [(first, Kind.VIEW, 1), (second, Kind.EXCERPT, 1)], paid)
    when = f"{format_day(DAY)}T12:00:00Z"
    log = folder / "log.csv"
    log.write_text(
        "usage_id,work,kind,started_at,watched_seconds\n"
        f"a,{first},view,{when},40\nb,{first},view,{when},40\nc,{second},excerpt,{when},1\n"
        + "".join(f"l{at},{first},excerpt,{when},{LONGEST}\n" for at in range(20))
    )
    missing = 20 * LONGEST * MAX_PRICE_NANO
    assert missing > 2**64
    found = producer.reconcile(
        log,
        since=format_day(DAY),
        until=format_day(DAY),
        platform=platform.account.address,
    )
    assert found.logged_nano == paid + 1 + missing
    assert found.credited_nano == paid
    assert sorted((row.reason.value, row.difference_nano) for row in found.findings) == [
        ("missing_on_chain", missing),
        ("under_reported", 1),
    ]
    assert sum(day.sum.logged_nano for day in found.days) == paid + 1 + missing
    assert sum(work.sum.logged_nano for work in found.works) == paid + 1 + missing
    found.write(folder)
    in_parquet = {row["difference_nano"] for row in parquet_rows(folder / "findings.parquet")}
    assert in_parquet == {missing, 1}
    assert not any(isinstance(amount, float) for amount in in_parquet)
    assert found.document()["logged_nano"] == paid + 1 + missing
    page = found.to_html(folder / "report.html").read_text()
    assert "21990232555500.000000001" in page  # 20 x 10^9 s at 1,099.511627775, and 1 nano-token


def parquet_rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return list(pq.read_table(path).to_pylist())
