"""Sums of YouTube, COUNTER and DDEX: rules 1, 3 and 4 alone, shown apart, never reported."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from royalty import logs
from royalty.days import Period, parse_day
from royalty.errors import InputError
from royalty.logs.convert import convert
from royalty.usage import Kind, WorkRef
from tests.royalty.formats_help import SAMPLES, write

YOUTUBE = SAMPLES / "youtube" / "youtube_channel_basic_data.csv"
COUNTER = SAMPLES / "counter" / "IRM1_sample_r51.tsv"
EVER = Period(0, 60_000)


def add_up(path: Path, period: Period = EVER, form: str | None = None, **options: Any) -> Any:
    """What a file comes to, with every id of `works` in catalogue 1 (in order)."""
    ids = options.pop("works", [])
    deals = options.pop("deals", [(1, 1, 0, None)])
    rows = [(text, WorkRef(1, at)) for at, text in enumerate(ids)]
    table = logs.WorkTable(rows=rows, deals=deals, works={1: max(len(ids), 1)})
    return logs.add_up(logs.find_sources([path], form=form), period, table, **options)


def test_a_channels_views_are_added_up_by_video_and_day():
    with YOUTUBE.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wanted: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if row["video_id"]:
            wanted[row["video_id"], row["date"]] += int(row["views"])
    ids = sorted({video for video, _ in wanted})
    found = add_up(YOUTUBE, works=ids)
    units = {
        (ids[row.index], date.fromordinal(719_163 + row.day).isoformat()): row.units
        for row in found.aggregates.units
    }
    assert units == dict(wanted)
    assert sum(units.values()) == 1843
    assert found.sources[0].passed == {"channel without a video": 2}
    assert (found.aggregates.rows, found.rows, found.units) == (998, 0, [])


def test_a_day_may_be_written_without_hyphens(tmp_path):
    path = write(
        tmp_path / "report",
        "date,channel_id,video_id,views,watch_time_minutes",
        "20260101,c,v,3,1.5",
        "2026-13-01,c,v,3,1.5",
        "20260101,c,v,1.5,1.5",
        "20260101,c,v",
    )
    found = add_up(path, works=["v"])
    assert found.aggregates.units == [(parse_day("2026-01-01"), 1, 0, Kind.VIEW, 3)]
    assert found.aggregates.excluded["malformed"] == 3


def test_total_requests_of_what_is_seen_and_heard_are_units_of_a_month():
    lines = COUNTER.read_text(encoding="utf-8-sig").splitlines()
    table = list(csv.DictReader(lines[14:], delimiter="\t"))
    wanted = {
        row["Proprietary_ID"]: int(row["Reporting_Period_Total"])
        for row in table
        if row["Metric_Type"] == "Total_Item_Requests"
        and row["Data_Type"] in ("Audiovisual", "Multimedia", "Sound")
    }
    ids = sorted(wanted)
    found = add_up(COUNTER, works=ids)
    total: Counter[str] = Counter()
    for row in found.aggregates.units:
        total[ids[row.index]] += row.units
    assert total == wanted
    assert len(found.aggregates.units) == 36
    assert found.sources[0].passed == {"another Metric_Type": 5, "another Data_Type": 2}


def test_a_month_counts_where_all_of_its_days_do_on_the_last_of_them():
    february = Period(parse_day("2022-02-01"), parse_day("2022-02-28"))
    found = add_up(COUNTER, february, works=["P1:I02"])
    assert found.aggregates.units == [(parse_day("2022-02-28"), 1, 0, Kind.VIEW, 794)]
    assert found.aggregates.excluded == {"malformed": 0, "outside_period": 33, "unmatched_work": 2}
    short = Period(february.since + 1, february.until)
    assert add_up(COUNTER, short, works=["P1:I02"]).aggregates.units == []


def test_a_deal_must_be_in_force_on_the_last_day():
    late = [(1, 1, parse_day("2022-02-28"), parse_day("2022-03-01"))]
    found = add_up(COUNTER, works=["P1:I02"], deals=late)
    assert [row.units for row in found.aggregates.units] == [794]
    assert found.aggregates.excluded["unmatched_work"] == 35


def test_a_total_that_its_months_do_not_come_to_is_malformed_with_both_numbers(tmp_path):
    text = COUNTER.read_text(encoding="utf-8").replace("\t9986\t", "\t9987\t")
    path = tmp_path / "report.tsv"
    path.write_text(text, encoding="utf-8")
    out = tmp_path / "excluded.csv"
    assert add_up(path, works=[], excluded_to=out).aggregates.excluded["malformed"] == 1
    with out.open(newline="", encoding="utf-8") as file:
        (row,) = [row for row in csv.DictReader(file) if row["reason"] == "malformed"]
    assert row["line"] == "16"
    assert row["detail"] == "the months come to 9986, not to the total of 9987"


def test_another_report_of_counter_is_refused():
    other = SAMPLES / "counter" / "IR_sample_r51.tsv"
    with pytest.raises(InputError, match="is the report IR; IR_M1 is read"):
        add_up(other, form="counter")
    with pytest.raises(InputError, match="no line of columns"):
        add_up(SAMPLES / "README.md", form="counter")


# DDEX --------------------------------------------------------------------------------------------

SR05 = (
    "#SR05\tRecordType\tSummaryRecordId\tDspResourceId\tIsRoyaltyBearing\tNumberOfStreams",
    "#SR04\tSummaryRecordId\tDspResourceId\tIsRoyaltyBearing\tDownloads\tReturns",
)
HEAD = "HEAD\tdsrf/30\tAudioVisualProfile\t1.1\tm\t2026-01-01T00:00:00Z\t1\t1\t2025-10-01\t2025-12-31\tP\tN"
BODY = (
    "SY06.01\ts1\t\t\tSubscriptionModel\tOnDemandStream\tDE\tsvc\t100",
    "SY06.01\ts2\t\t\tPayAsYouGoModel\tPermanentDownload\tDE\tsvc\t100",
    "SR05\ts1\tfilm\ttrue\t70",
    "SR05\ts1\tfilm\tfalse\t9",
    "SR04\ts2\tfilm\t1\t12.0\t2",
    "AS03.01\tB1\tA1\tserial\t\t\t\tEpisode\tTitle",
    "CU01\tB1\tA1\tPT1M\tPT1M30.5S\tUSRC17607839\t\tSong",
    "SU04.01\tB1\ts1\tt1\t\tA1\t\tHD\t\t\t\t\ttrue\tfalse\t50\t10",
    "SU04.01\tB1\ts2\tt2\t\tA1\t\tHD\t\t\t\t\ttrue\tfalse\t3\t0",
    "AS03.01\tB2\tA1\tother\t\t\t\tEpisode\tTitle",
    "SU04.01\tB2\ts1\tt3\t\tA1\t\tHD\t\t\t\t\ttrue\tfalse\t4\t0",
)
WORKS = ["film", "serial", "other", "USRC17607839"]


def dsr(path: Path, *lines: str, foot: str | None = None, head: str = HEAD) -> Path:
    whole = [head, *SR05, *lines]
    foot = foot or f"FOOT\t{len(whole) + 1}\t{len(whole) + 1}\t2\t2\t2"
    return write(path, *whole, foot)


def test_streams_downloads_uses_and_cues_become_units_of_the_period(tmp_path):
    found = add_up(dsr(tmp_path / "report", *BODY), works=WORKS)
    units = {(WORKS[row.index], row.kind.word): row.units for row in found.aggregates.units}
    assert units == {
        ("film", "view"): 70,
        ("film", "download"): 10,
        ("serial", "view"): 40,
        ("serial", "download"): 3,
        ("other", "view"): 4,
        ("USRC17607839", "excerpt"): 90
        * 40,  # whole seconds of the cue, as often as it was streamed
    }
    assert {row.day for row in found.aggregates.units} == {parse_day("2025-12-31")}
    assert found.sources[0].passed == {"not royalty-bearing": 1}


@pytest.mark.parametrize(
    ("foot", "why"),
    [
        ("FOOT\t13\t13\t2\t2\t2", "says 13 lines, it has 15"),
        ("FOOT\t15\t15\t3\t2\t2", "says 3 summary records, it has 2"),
        ("FOOT\t15\t15\t2\t1\t2", "says 1 blocks, it has 2"),
        ("SRFO\t15\t15\t2\t1\t2", "says 1 blocks, it has 2"),
        ("SY06.01\ts3", "has no FOOT: it is cut off"),
    ],
)
def test_a_wrong_footer_is_an_error_with_both_numbers(tmp_path, foot, why):
    with pytest.raises(InputError, match=why):
        add_up(dsr(tmp_path / "report", *BODY, foot=foot), works=WORKS)


def test_real_reports_are_known_by_their_head_and_counted_by_their_foot(tmp_path):
    folder = SAMPLES / "ddex"
    (whole,) = folder.glob("DSR_TEST_*")
    (cut,) = folder.glob("DSR_TEST2_*")
    for path in (whole, cut):
        assert logs.find_sources([path])[0].format == "dsr"
    with pytest.raises(InputError, match="its footer says 35 lines, it has 34"):
        add_up(cut)
    with pytest.raises(InputError, match=r"no rows of usage .*6 SU03 is not read"):
        add_up(whole)  # its frame is right; its records are those of another profile
    packed = tmp_path / "report.gz"
    packed.write_bytes(gzip.compress(whole.read_bytes()))
    with pytest.raises(InputError, match="no rows of usage"):
        add_up(packed)


def test_without_comment_lines_the_cells_of_the_profile_hold(tmp_path):
    from royalty.logs.formats.dsr import LAYOUTS

    names = LAYOUTS["SR05"].split()
    given = {"RecordType": "SR05", "DspResourceId": "film", "IsRoyaltyBearing": "true"}
    cells = [{**given, "NumberOfStreams": "5"}.get(name, "") for name in names]
    path = write(tmp_path / "report", HEAD, "\t".join(cells), "FOOT\t3\t3\t0\t0\t0")
    assert [row.units for row in add_up(path, works=["film"]).aggregates.units] == [5]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("SR05\ts1\tfilm\ttrue\tmany", "NumberOfStreams is not a number of units"),
        ("SR05\ts1\tfilm\ttrue\t1.5", "NumberOfStreams is not a number of units"),
        ("SR04\ts1\tfilm\ttrue\t1\t2", "more returns than uses"),
        ("SR05\ts1\t\ttrue\t1", "work is missing"),
        ("SU04.01\tB2\ts9\tt\t\tA1\t\t\t\t\t\t\ttrue\t\t1\t0", "UseType is no stream"),
        ("SU04.01\tB2\ts1\tt\t\tA9\t\t\t\t\t\t\ttrue\t\t1\t0", "work is missing"),
        ("CU01\tB2\tA1\t\tninety\tISRC", "CueDuration is not a duration"),
    ],
)
def test_a_bad_record_costs_itself(tmp_path, line, why):
    out = tmp_path / "excluded.csv"
    found = add_up(dsr(tmp_path / "report", *BODY, line), works=WORKS, excluded_to=out)
    assert found.aggregates.excluded["malformed"] == 1
    assert why in out.read_text()
    assert sum(row.units for row in found.aggregates.units) == 70 + 10 + 40 + 3 + 4 + 3600


def test_a_report_without_its_days_is_refused(tmp_path):
    with pytest.raises(InputError, match="names no UsageStartDate"):
        add_up(dsr(tmp_path / "a", *BODY, head="HEAD\tdsrf/30\tAudioVisualProfile\t1.1"))
    with pytest.raises(InputError, match="SR05 stands before the HEAD"):
        add_up(write(tmp_path / "b", SR05[0], BODY[2], HEAD), form="dsr")


# Apart -------------------------------------------------------------------------------------------


def test_sums_are_no_rows_so_nothing_counts_reports_or_converts_them(tmp_path):
    sources = logs.find_sources([COUNTER])
    table = logs.WorkTable([], [], {})
    with pytest.raises(InputError, match=r"holds sums \(counter\), no rows"):
        logs.count(sources, EVER, table)
    with pytest.raises(InputError, match="holds sums"):
        convert(sources, tmp_path / "native.parquet")
    assert logs.are_sums(sources)
    assert not logs.are_sums(logs.find_sources([write(tmp_path / "log.csv", "usage_id")]))


def test_an_id_with_two_answers_is_refused_where_it_counts():
    table = logs.WorkTable(
        [("P1:I02", WorkRef(1, 0)), ("P1:I02", WorkRef(1, 1))], [(1, 1, 0, None)], {1: 2}
    )
    with pytest.raises(InputError, match="stands for two works"):
        logs.add_up(logs.find_sources([COUNTER]), EVER, table)
    never = Period(0, 1)
    assert logs.add_up(logs.find_sources([COUNTER]), never, table).aggregates.qualified == 0
