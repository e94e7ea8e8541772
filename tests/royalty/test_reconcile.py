"""Reconciliation on a chain of its own: each fault, put there by a platform, is found by its name."""

from __future__ import annotations

import csv
import itertools
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from royalty.days import format_day
from royalty.errors import InputError
from royalty.shares import Share, make_split
from royalty.usage import Kind, Line, Tariff, WorkRef, group_lines, pack_usage, total_nano

TARIFF = Tariff(3_000_000, 500_000_000, 100_003)
VIEW, DOWNLOAD, EXCERPT = Kind
NEVER_USED_DAYS = itertools.count(19_000, 5)

LogRow = tuple[int, str, Kind, int]  # day, work as the log writes it, kind, units


@dataclass
class Scene:
    """A fresh catalogue of three works on days of its own, and a platform that reports what it likes."""

    producer: Any
    platform: Any
    catalogue: int
    day: int
    folder: Path

    def work(self, index: int = 0) -> WorkRef:
        return WorkRef(self.catalogue, index)

    def report(
        self, day: int, lines: Iterable[tuple[WorkRef, Kind, int]], evidence: bytes = bytes(32)
    ) -> int:
        """Report lines as the platform, past all its own checks; return the batch."""
        ledger, me = self.platform.ledger, self.platform.account.address
        groups = group_lines(
            Line(work.catalogue, 1, kind, work.index, n) for work, kind, n in lines
        )
        total = total_nano(groups, {(group.catalogue, 1): TARIFF for group in groups})
        batch = ledger.platform(me).next_batch
        self.platform.send(ledger.report(me, batch, day, evidence, total, pack_usage(groups)))
        return batch

    def log(self, rows: Sequence[LogRow]) -> Path:
        """Write a log whose every row is qualified."""
        path = self.folder / "log.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["usage_id", "work", "kind", "started_at", "watched_seconds", "viewer"])
            for number, (day, work, kind, units) in enumerate(rows):
                rest = 1 if kind == EXCERPT else units
                for at in range(rest):
                    seconds = units if kind == EXCERPT else 40
                    name = f"{number}-{at}"
                    when = f"{format_day(day)}T12:00:00Z"
                    writer.writerow([name, work, kind.word, when, seconds, name])
        return path

    def reconcile(self, rows: Sequence[LogRow], **options: Any) -> Any:
        """What an auditor with a folder of its own is told of this scene's five days."""
        given = {"since": format_day(self.day), "until": format_day(self.day + 4)} | options
        given.setdefault("platform", self.platform.account.address)
        return self.producer.reconcile(self.log(rows), **given)


def open_catalogue(session: Any, day: int, fingerprints: Sequence[bytes]) -> int:
    holders = [
        Share(session.address("0x" + secrets.token_hex(20)), ppm) for ppm in (400_000, 600_000)
    ]
    session.send(session.ledger.open(make_split(holders), TARIFF, day))
    number = session.ledger.catalogues()
    session.send(session.ledger.register(number, fingerprints, bytes(32)))
    return number


@pytest.fixture
def scene(session: Callable[..., Any], folder: Path) -> Scene:
    day = next(NEVER_USED_DAYS)
    producer, platform = session("dev0"), session("dev1")
    number = open_catalogue(producer, day, [secrets.token_bytes(32) for _ in range(3)])
    if not platform.ledger.platform(platform.account.address).funds_nano:
        platform.send(platform.ledger.approve(10**12))
        platform.send(platform.ledger.deposit(platform.account.address, 10**11))
    return Scene(producer, platform, number, day, folder)


def rows_of(found: Any) -> list[tuple[str, str | None, int]]:
    return [(row.reason.value, row.work, row.difference_nano) for row in found.findings]


def usage_of(scene: Scene) -> list[LogRow]:
    work = [str(scene.work(index)) for index in range(3)]
    return [
        (scene.day, work[0], VIEW, 7),
        (scene.day, work[1], DOWNLOAD, 2),
        (scene.day + 1, work[0], VIEW, 3),
        (scene.day + 1, work[2], EXCERPT, 90),
    ]


def report_all(scene: Scene, rows: Sequence[LogRow]) -> None:
    for day in sorted({row[0] for row in rows}):
        mine = [(WorkRef.parse(work), kind, units) for d, work, kind, units in rows if d == day]
        scene.report(day, mine)


WORTH = 10 * 3_000_000 + 2 * 500_000_000 + 90 * 100_003


def test_an_honest_platform_leaves_nothing_to_find(scene: Scene) -> None:
    rows = usage_of(scene)
    report_all(scene, rows)
    found = scene.reconcile(rows)
    assert found.findings == ()
    document = found.document()
    assert (document["rows"], document["qualified"]) == (13, 13)
    assert (
        document["units_logged"]
        == document["units_chain"]
        == {"view": 10, "download": 2, "excerpt": 90}
    )
    assert document["logged_nano"] == document["credited_nano"] == WORTH
    assert document["shortfall_percent"] == "0.0000"
    assert document["over_threshold"] is False
    assert document["solvent"] is True
    assert document["unpaid_nano"] == WORTH, "its holders are new: all that was credited is unpaid"
    assert set(document["excluded"]) == {
        "malformed",
        "duplicate",
        "outside_period",
        "unmatched_work",
        "below_threshold",
        "double_click",
        "over_cap",
    }


def test_what_is_withheld_is_found_to_the_nano_token(scene: Scene) -> None:
    rows = usage_of(scene)
    report_all(scene, rows[:-1])
    found = scene.reconcile(rows)
    assert rows_of(found) == [("missing_on_chain", f"{scene.catalogue}/2", 90 * 100_003)]
    assert found.difference_nano == 90 * 100_003
    assert found.shortfall_percent == "0.8662"  # 9000270 of 1039000270
    assert not found.over_threshold
    assert scene.reconcile(rows, threshold="0.8").over_threshold
    assert scene.reconcile(rows, threshold="0.9").over_threshold is False


def test_a_batch_of_what_nobody_watched_is_found(scene: Scene) -> None:
    rows = usage_of(scene)
    report_all(scene, rows)
    batch = scene.report(scene.day + 2, [(scene.work(1), VIEW, 5)])
    found = scene.reconcile(rows)
    assert rows_of(found) == [("not_in_log", f"{scene.catalogue}/1", -15_000_000)]
    assert found.findings[0].batch == batch


def test_too_few_and_too_many_are_found(scene: Scene) -> None:
    scene.report(scene.day, [(scene.work(0), VIEW, 5), (scene.work(1), DOWNLOAD, 4)])
    rows = usage_of(scene)[:2]
    assert rows_of(scene.reconcile(rows)) == [
        ("under_reported", f"{scene.catalogue}/0", 2 * 3_000_000),
        ("over_reported", f"{scene.catalogue}/1", -2 * 500_000_000),
    ]


def test_a_day_reported_as_another_is_found(scene: Scene) -> None:
    scene.report(scene.day + 3, [(scene.work(0), VIEW, 7)])
    found = scene.reconcile(usage_of(scene)[:1])
    assert [row.reason for row in found.findings] == ["wrong_day", "wrong_day"]
    assert [row.day for row in found.findings] == [scene.day, scene.day + 3]
    assert found.difference_nano == 0


def test_units_credited_to_another_catalogue_of_the_same_file_are_found(
    scene: Scene,
) -> None:
    from royalty.index import events

    (event,) = events(scene.producer, "WorksRegistered", catalogue=scene.catalogue)
    other = open_catalogue(scene.producer, scene.day, event.args["fingerprints"][:1])
    scene.report(scene.day, [(WorkRef(other, 0), VIEW, 7)])
    found = scene.reconcile(usage_of(scene)[:1])
    assert rows_of(found) == [
        ("wrong_deal", f"{scene.catalogue}/0", 21_000_000),
        ("wrong_deal", f"{other}/0", -21_000_000),
    ]


def test_an_index_that_was_never_registered_is_found(scene: Scene) -> None:
    scene.report(scene.day, [(scene.work(7), VIEW, 2)])
    found = scene.reconcile([(scene.day, f"{scene.catalogue}/7", VIEW, 2)])
    assert [(row[0], row[1]) for row in rows_of(found)] == [
        ("unknown_work", f"{scene.catalogue}/7"),
        ("unmatched_work", f"{scene.catalogue}/7"),
    ]
    assert found.findings[0].difference_nano == -6_000_000 == found.difference_nano


def test_rows_of_no_work_are_found_without_money(scene: Scene) -> None:
    found = scene.reconcile([(scene.day, "=cmd|' /C calc'!A0", VIEW, 3)])
    (row,) = found.findings
    assert (row.reason, row.work, row.logged_units) == ("unmatched_work", "=cmd|' /C calc'!A0", 3)
    assert row.expected_nano is row.difference_nano is row.catalogue is None
    assert found.shortfall_percent is None
    assert found.excluded["unmatched_work"] == 3
    paths = found.write(scene.folder / "out")
    text = paths[0].read_text()
    assert "'=cmd|' /C calc'!A0" in text
    assert ",=cmd" not in text


def test_usage_of_a_work_that_a_rival_has_earlier_is_explained_by_it(
    scene: Scene, session: Callable[..., Any]
) -> None:
    rival, fingerprint = session("dev8"), secrets.token_bytes(32)
    open_catalogue(rival, scene.day, [fingerprint])
    mine = open_catalogue(scene.producer, scene.day, [fingerprint])
    rows = [(scene.day, f"{mine}/0", VIEW, 4)]
    assert rows_of(scene.reconcile(rows)) == [("rival_catalogue", f"{mine}/0", 12_000_000)]
    from royalty import platforms

    me = scene.platform.account.address
    platforms.accept(scene.platform, me, mine, despite_rival=True)
    assert rows_of(scene.reconcile(rows)) == [("missing_on_chain", f"{mine}/0", 12_000_000)]


def test_only_accepted_catalogues_count_where_the_folder_knows_them(scene: Scene) -> None:
    from royalty import platforms

    other = open_catalogue(scene.producer, scene.day, [secrets.token_bytes(32)])
    rows = [(scene.day, f"{other}/0", VIEW, 1), (scene.day, f"{scene.catalogue}/0", VIEW, 1)]
    assert [row[0] for row in rows_of(scene.reconcile(rows))] == ["missing_on_chain"] * 2
    platforms.accept(scene.platform, scene.platform.account.address, scene.catalogue)
    found = scene.reconcile(rows)
    assert [row[:2] for row in rows_of(found)] == [
        ("missing_on_chain", f"{scene.catalogue}/0"),
        ("unmatched_work", f"{other}/0"),
    ]


def test_one_digest_in_two_batches_is_found_and_no_digest_is_none(scene: Scene) -> None:
    digest = secrets.token_bytes(32)
    rows = usage_of(scene)
    first = scene.report(
        scene.day, [(scene.work(0), VIEW, 7), (scene.work(1), DOWNLOAD, 2)], digest
    )
    second = scene.report(
        scene.day + 1, [(scene.work(0), VIEW, 3), (scene.work(2), EXCERPT, 90)], digest
    )
    found = scene.reconcile(rows)
    assert [(row.reason, row.batch) for row in found.findings] == [
        ("evidence_reused", first),
        ("evidence_reused", second),
    ]
    assert found.difference_nano == 0


def test_units_above_a_pairs_limit_are_added_up(scene: Scene) -> None:
    many = 2**24 + 5
    scene.report(scene.day, [(scene.work(2), EXCERPT, many)])
    found = scene.reconcile([(scene.day, str(scene.work(2)), EXCERPT, many)])
    assert found.findings == ()
    assert found.credited_nano == many * 100_003


def test_the_price_is_that_of_the_usages_day_however_late_it_is_reported(
    scene: Scene, anvil: Any
) -> None:
    """A dearer deal starts tomorrow; what is reported then for today keeps today's price."""
    from royalty.index import events

    producer, number = scene.producer, scene.catalogue
    (opened,) = events(producer, "CatalogueOpened", catalogue=number)
    from royalty.shares import unpack_split

    split = unpack_split(opened.args["split"])
    dearer = Tariff(4_000_000, 500_000_000, 100_003)
    start = producer.today() + 1
    deadline = producer.node.block().timestamp + 3_600
    call = producer.ledger.amend(number, start, dearer, deadline, split, split, [b"", b""])
    producer.send(call)
    anvil.mine_days(1)
    scene.report(start - 1, [(scene.work(0), VIEW, 5)])
    rows = [(start - 1, str(scene.work(0)), VIEW, 5), (start, str(scene.work(0)), VIEW, 5)]
    found = scene.reconcile(rows, since=format_day(start - 1), until=format_day(start))
    (row,) = found.findings
    assert (row.reason, row.version, row.price_nano) == ("missing_on_chain", 2, 4_000_000)
    assert found.logged_nano == 5 * 3_000_000 + 5 * 4_000_000


def test_without_a_platform_there_must_be_one(scene: Scene, session: Callable[..., Any]) -> None:
    rows = usage_of(scene)
    with pytest.raises(InputError, match=r"no platform has reported usage of .* --platform"):
        scene.reconcile(rows, platform=None)
    report_all(scene, rows)
    assert scene.reconcile(rows, platform=None).findings == ()
    other = session("dev2")
    other.send(other.ledger.approve(10**9))
    other.send(other.ledger.deposit(other.account.address, 10**6))
    lone = Scene(scene.producer, other, scene.catalogue, scene.day, scene.folder)
    lone.report(scene.day, [(scene.work(0), VIEW, 1)])
    with pytest.raises(InputError, match=r"2 platforms have reported .*0x.*, 0x.*--platform"):
        scene.reconcile(rows, platform=None)
    assert scene.reconcile(rows, platform="dev1").findings == ()


def test_findings_files_have_the_columns_of_the_design(scene: Scene) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = scene.reconcile(usage_of(scene))
    folder = scene.folder / "out"
    found.write(folder)
    names = [
        "reason",
        "platform",
        "catalogue",
        "work",
        "day",
        "kind",
        "version",
        "logged_units",
        "chain_units",
        "price_nano",
        "expected_nano",
        "credited_nano",
        "difference_nano",
        "batch",
    ]
    table = pq.read_table(folder / "findings.parquet")
    assert table.column_names == names
    assert table.schema.field("difference_nano").type == pa.decimal128(38, 0)
    assert table.schema.field("day").type == pa.date32()
    assert sum(int(value) for value in table.column("difference_nano").to_pylist()) == WORTH
    with (folder / "findings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == names
    assert sum(int(row["difference_nano"]) for row in rows) == WORTH
    assert {row["day"] for row in rows} == {format_day(scene.day), format_day(scene.day + 1)}


@pytest.mark.parametrize("text", ["", "-1", "3%", "1e2", "nan", "1/3", "three", "9" * 10])
def test_a_threshold_that_is_no_percentage_is_refused(text: str) -> None:
    from royalty.reconcile import parse_threshold

    with pytest.raises(InputError, match="--threshold"):
        parse_threshold(text)
