"""The seven rules of design section 4, a sentence at a time."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from royalty import logs
from royalty.days import Period
from royalty.errors import InputError
from royalty.usage import Kind, WorkRef
from tests.royalty.counted import (
    DAY,
    EVE,
    MORROW,
    NUMBER,
    count,
    matcher,
    period,
    reasons,
    row,
    write,
)

KUAIRAND = Path(__file__).parents[2] / "examples/kuairand"


def test_the_kuairand_log_comes_to_the_counts_of_the_design():
    log = KUAIRAND / "processed_standard_kcore_15.csv"
    with log.open() as file:
        videos = sorted({line.split("\t")[1] for line in file} - {"video_id"})
    assert len(videos) == 9_359
    works = logs.WorkTable(
        [(video, WorkRef(1, at)) for at, video in enumerate(videos)], [(1, 1, 0, None)], {1: 9_359}
    )
    found = logs.count(
        logs.find_sources([log], logs.Columns.load(KUAIRAND / "columns.toml")),
        Period(0, 65_535),
        works,
    )
    assert (found.rows, found.qualified, found.without_identity) == (41_828, 22_575, 0)
    assert {reason: n for reason, n in found.excluded.items() if n} == {
        "duplicate": 124,
        "below_threshold": 19_129,
    }
    assert len({unit.day for unit in found.units}) == 15
    assert sum(unit.units for unit in found.units) == 22_575


# malformed


@pytest.mark.parametrize(
    "cells",
    [
        {"usage_id": ""},
        {"work": ""},
        {"started_at": ""},
        {"started_at": "2026-11-19T10:00:00"},
        {"started_at": "2026-02-30T10:00:00Z"},
        {"started_at": "2026-11-19T23:59:60Z"},
        {"started_at": "2026-11-19 10:00:00Z"},
        {"kind": ""},
        {"kind": "VIEW"},
        {"watched_seconds": ""},
        {"watched_seconds": "-1"},
        {"watched_seconds": "nan"},
        {"watched_seconds": "1e2"},
        {"watched_seconds": " 60"},
        {"watched_seconds": "60."},
        {"watched_seconds": "1000000000.0000000001"},
        {"duration_seconds": "long"},
        {"duration_seconds": "-0"},
        {"kind": "download", "watched_seconds": "much"},
    ],
)
def test_a_row_is_malformed_where_a_field_is_missing_or_cannot_be_read(tmp_path, cells):
    assert reasons(tmp_path, [{**row(), **cells}, row("b")]) == ["malformed", "qualified"]


@pytest.mark.parametrize(
    "cells",
    [
        {"started_at": "2026-11-19t10:00:00z"},
        {"started_at": "2026-11-19T10:00:00.123456789+05:30"},
        {"started_at": "2026-11-20T05:00:00-00:00", "watched_seconds": "00060.0"},
        {"started_at": "2026-11-18T20:00:00-05:00"},
        {"watched_seconds": "1000000000.000"},
        {"watched_seconds": "", "kind": "download"},
        {"usage_id": "007"},
        {"viewer": "", "session": ""},
    ],
)
def test_a_row_is_well_formed_where_every_field_can_be_read(tmp_path, cells):
    assert reasons(tmp_path, [{**row(), **cells}], period=period(DAY, MORROW)) == ["qualified"]


def test_an_absent_kind_column_means_view(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(f"usage_id,work,started_at,watched_seconds\na,film,{DAY}T10:00:00Z,60\n")
    assert count(path).units == [(NUMBER, 1, 0, Kind.VIEW, 1)]


# duplicate


def test_the_same_id_counts_once_a_day_and_the_earliest_row_counts(tmp_path):
    rows = [row("a", "10:00:02"), row("a", "10:00:01"), row("a", "10:00:03")]
    assert reasons(tmp_path, rows) == ["duplicate", "qualified", "duplicate"]


def test_ids_are_text_and_not_numbers(tmp_path):
    assert reasons(tmp_path, [row("7"), row("007"), row("7.0")]) == ["qualified"] * 3


def test_an_id_of_the_previous_day_makes_a_row_a_duplicate(tmp_path):
    rows = [row("a", "23:59:59", EVE), row("a", "00:00:01")]
    assert reasons(tmp_path, rows) == ["outside_period", "duplicate"]


def test_a_duplicate_itself_makes_the_next_days_row_one(tmp_path):
    rows = [
        row("a", day=EVE),
        row("a"),
        row("a", day=MORROW),
        row("b", day=EVE),
        row("b", day=MORROW),
    ]
    found = reasons(tmp_path, rows, period=period(EVE, MORROW))
    assert found == ["qualified", "duplicate", "duplicate", "qualified", "qualified"]


def test_a_malformed_row_makes_no_row_a_duplicate(tmp_path):
    assert reasons(tmp_path, [row("a", work=""), row("a")]) == ["malformed", "qualified"]


def test_an_excluded_row_makes_others_duplicates_all_the_same(tmp_path):
    rows = [row("a", "10:00:00", watched_seconds=1), row("a", "10:00:01")]
    assert reasons(tmp_path, rows) == ["below_threshold", "duplicate"]


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"work": "1/1"}, {"work": "film"}),
        ({"kind": "download"}, {"kind": "view"}),
        ({"kind": "download"}, {"kind": "excerpt"}),
        ({"kind": "excerpt"}, {"kind": "view"}),
        ({"watched_seconds": "9"}, {"watched_seconds": "10"}),
        ({"kind": "download", "watched_seconds": ""}, {"kind": "download", "watched_seconds": "0"}),
        ({"duration_seconds": ""}, {"duration_seconds": "0"}),
        ({"duration_seconds": "9"}, {"duration_seconds": "10.0"}),
    ],
)
def test_between_equal_times_the_smaller_values_count_and_missing_ones_are_smallest(
    tmp_path, less, more
):
    found = reasons(tmp_path, [row("a", **more), row("a", **less)])
    assert found[0] == "duplicate" != found[1]
    found = reasons(tmp_path, [row("a", **less), row("a", **more)])
    assert found[1] == "duplicate" != found[0]


def test_rows_that_are_equal_count_once_over_several_files(tmp_path):
    one, two = (write(tmp_path / name, [row("a"), row("b")]) for name in ("1.csv", "2.csv"))
    found = count([one, two])
    assert (found.qualified, found.excluded["duplicate"]) == (2, 2)


NO_IDS = {
    name: name for name in ("work", "kind", "started_at", "watched_seconds", "viewer", "session")
}


def test_without_ids_viewer_work_kind_and_instant_are_the_id(tmp_path):
    rows = [
        row("x", viewer="anna"),
        row("y", viewer="anna"),
        row("y", viewer="", session="anna"),
        row("y", viewer="ben"),
        row("y", viewer="anna", kind="download"),
        row("y", viewer="anna", work="1/0"),
        row("y", viewer="anna", started_at=f"{DAY}T11:00:00+01:00"),
    ]
    found = reasons(tmp_path, rows, columns=NO_IDS)
    assert found[:5] == ["qualified", "duplicate", "duplicate", "qualified", "qualified"] or (
        found[:5] == ["double_click", "duplicate", "duplicate", "qualified", "qualified"]
    )
    assert found[6] == "duplicate"
    assert found[5] != "duplicate"


def test_without_ids_a_row_without_an_identity_is_malformed(tmp_path):
    assert reasons(tmp_path, [row(viewer="", session="")], columns=NO_IDS) == ["malformed"]


def test_where_players_resend_the_greatest_watched_time_counts(tmp_path):
    columns = {name: name for name in row()} | {"resend": "last"}
    rows = [
        row("a", "10:00:00", watched_seconds=10),
        row("a", "10:00:00", watched_seconds=40),
        row("a", "10:00:00", watched_seconds=20),
    ]
    assert reasons(tmp_path, rows, columns=columns) == ["duplicate", "qualified", "duplicate"]
    rows = [row("a", "23:59:00", EVE, watched_seconds=1), row("a", watched_seconds=50)]
    assert reasons(tmp_path, rows, columns=columns) == ["outside_period", "duplicate"]


# outside_period


def test_the_utc_day_decides_whether_a_row_is_asked_for(tmp_path):
    rows = [
        row("a", started_at="2026-11-18T23:59:59.999999Z"),
        row("b", started_at="2026-11-19T00:00:00Z"),
        row("c", started_at="2026-11-19T00:30:00+01:00"),
        row("d", started_at="2026-11-19T23:59:59.9999999Z"),
        row("e", started_at="2026-11-20T00:00:00Z"),
        row("f", started_at="1960-01-01T00:00:00Z"),
        row("g", started_at="9999-12-31T23:59:59Z"),
    ]
    outside = "outside_period"
    assert reasons(tmp_path, rows) == [outside, "qualified", outside, "qualified", *[outside] * 3]


# unmatched_work


def test_a_work_is_matched_by_map_or_reference_in_an_accepted_catalogue(tmp_path):
    works = ["film", "1/0", "1/2", "1/3", "2/0", "3/0", "unknown", "01/0", "1/00", "1/0 "]
    found = reasons(tmp_path, [row(f"{at}", work=work) for at, work in enumerate(works)])
    assert found == ["qualified"] * 3 + ["unmatched_work"] + ["qualified"] + ["unmatched_work"] * 5


def test_a_work_whose_catalogue_has_no_deal_on_the_day_is_unmatched(tmp_path):
    rows = [
        row("a", day=EVE, work="2/0"),
        row("b", day=DAY, work="2/0"),
        row("c", day=MORROW, work="2/0"),
    ]
    deals = [(1, 1, 0, None), (2, 1, NUMBER, NUMBER + 1)]
    found = reasons(tmp_path, rows, period=period(EVE, MORROW), matcher=matcher(deals=deals))
    assert found == ["unmatched_work", "qualified", "unmatched_work"]


def test_unmatched_works_are_listed_as_the_log_writes_them(tmp_path):
    path = write(tmp_path / "log.csv", [row("a", work="x"), row("b", work="x"), row("c", work="y")])
    found = count(path)
    assert found.unmatched == [("x", NUMBER, Kind.VIEW, 2), ("y", NUMBER, Kind.VIEW, 1)]
    assert found.unmatched_total == 2


@pytest.mark.parametrize(
    "rows",
    [
        [("film", WorkRef(1, 0)), ("film", WorkRef(1, 1))],
        [("film", WorkRef(1, 0)), ("film", WorkRef(9, 9))],
        [("1/0", WorkRef(1, 1))],
    ],
)
def test_a_log_is_refused_where_one_of_its_ids_has_two_answers(tmp_path, rows):
    works = matcher(rows=rows)
    path = write(tmp_path / "log.csv", [row("a", work=rows[0][0])])
    with pytest.raises(InputError, match="two works"):
        count(path, matcher=works)
    with pytest.raises(InputError, match="two works"):
        works.match(rows[0][0])


def test_two_answers_to_an_id_that_the_log_does_not_have_are_no_matter(tmp_path):
    rows = [("film", WorkRef(1, 0)), ("other", WorkRef(1, 0)), ("other", WorkRef(1, 1))]
    works = matcher(rows=[*rows, ("film", WorkRef(1, 0)), ("9/9", WorkRef(1, 1))])
    path = write(tmp_path / "log.csv", [row("a"), row("b", work="9/9")])
    assert count(path, matcher=works).qualified == 2


def test_a_work_table_answers_for_one_id_as_it_does_for_a_log():
    works = matcher()
    assert works.match("film") == WorkRef(1, 0)
    assert works.match("1/2") == WorkRef(1, 2)
    assert works.match("1/3") is None
    assert works.match("nothing") is None
    assert (works.version_on(2, NUMBER - 1), works.version_on(2, NUMBER)) == (None, 1)


# below_threshold


@pytest.mark.parametrize(
    ("watched", "duration", "enough"),
    [
        ("29.999999", "", False),
        ("29.9999999999", "", False),
        ("30", "", True),
        ("30.000000", "0", True),
        ("29", "0", False),
        ("10", "20", True),
        ("9.999999", "20", False),
        ("30", "100000", True),
        ("0", "0.000001", False),
        ("0.000001", "0.000002", True),
    ],
)
def test_a_view_needs_thirty_seconds_or_half_of_a_shorter_work(tmp_path, watched, duration, enough):
    rows = [row("a", watched_seconds=watched, duration_seconds=duration)]
    assert reasons(tmp_path, rows) == ["qualified" if enough else "below_threshold"]


def test_a_fraction_is_compared_exactly(tmp_path):
    policy = logs.Policy(short_fraction=Decimal("0.333333333333333333"))
    rows = [
        row("a", watched_seconds="10", duration_seconds="30.000001"),
        row("b", watched_seconds="10.000001", duration_seconds="30.000003"),
        row("c", watched_seconds="10", duration_seconds="30"),
    ]
    assert reasons(tmp_path, rows, policy=policy) == ["below_threshold", "qualified", "qualified"]


def test_a_download_needs_no_time_and_an_excerpt_a_whole_second(tmp_path):
    rows = [
        row("a", kind="download", watched_seconds="0"),
        row("b", kind="excerpt", watched_seconds="0.999999"),
        row("c", kind="excerpt", watched_seconds="1"),
    ]
    assert reasons(tmp_path, rows) == ["qualified", "below_threshold", "qualified"]


def test_an_excerpts_units_are_its_whole_seconds(tmp_path):
    rows = [
        row("a", kind="excerpt", watched_seconds="1.999999"),
        row("b", kind="excerpt", watched_seconds="1000000000"),
        row("c", kind="excerpt", watched_seconds="12.5"),
    ]
    found = count(write(tmp_path / "log.csv", rows))
    assert found.units == [(NUMBER, 1, 0, Kind.EXCERPT, 1_000_000_013)]


# double_click


def test_of_rows_that_follow_within_thirty_seconds_the_last_counts(tmp_path):
    at = ["10:00:00", "10:00:30", "10:01:00", "10:01:30.000001", "10:02:30"]
    rows = [row(f"{n}", text, viewer="anna") for n, text in enumerate(at)]
    click = "double_click"
    assert reasons(tmp_path, rows) == [click, click, "qualified", "qualified", "qualified"]


def test_the_next_row_counts_as_next_even_if_it_is_excluded_here_itself(tmp_path):
    at = ["10:00:00", "10:00:20", "10:00:40"]
    rows = [row(f"{n}", text, viewer="anna") for n, text in enumerate(at)]
    assert reasons(tmp_path, rows) == ["double_click", "double_click", "qualified"]


def test_the_next_row_is_one_that_passed_the_rules_before(tmp_path):
    rows = [
        row("a", "10:00:00", viewer="anna"),
        row("b", "10:00:10", viewer="anna", watched_seconds=1),
        row("c", "10:00:31", viewer="anna"),
    ]
    assert reasons(tmp_path, rows) == ["qualified", "below_threshold", "qualified"]


@pytest.mark.parametrize(
    "other",
    [{"viewer": "ben"}, {"work": "trailer"}, {"kind": "download"}, {"viewer": "", "session": ""}],
)
def test_rows_of_another_viewer_work_or_kind_are_no_double_click(tmp_path, other):
    rows = [row("a", "10:00:00", viewer="anna"), {**row("b", "10:00:01", viewer="anna"), **other}]
    assert reasons(tmp_path, rows) == ["qualified", "qualified"]


def test_viewers_and_sessions_share_one_name_space_and_a_work_has_many_names(tmp_path):
    rows = [
        row("a", "10:00:00", viewer="anna", session="s"),
        row("b", "10:00:01", viewer="", session="anna", work="1/0"),
    ]
    assert reasons(tmp_path, rows) == ["double_click", "qualified"]


def test_a_day_ends_what_a_double_click_looks_at(tmp_path):
    rows = [row("a", "23:59:59", EVE, viewer="anna"), row("b", "00:00:00", viewer="anna")]
    assert reasons(tmp_path, rows, period=period(EVE, DAY)) == ["qualified", "qualified"]


def test_between_equal_times_the_greater_id_is_the_later(tmp_path):
    rows = [row("b", viewer="anna"), row("é", viewer="anna"), row("a", viewer="anna")]
    assert reasons(tmp_path, rows) == ["double_click", "qualified", "double_click"]


# over_cap


def test_beyond_twenty_rows_of_a_viewer_work_kind_and_day_nothing_counts(tmp_path):
    rows = [row(f"{n:02}", f"10:{n:02}:00", viewer="anna") for n in range(23)]
    rows += [row("other", "11:00:00", viewer="anna", work="trailer")]
    assert reasons(tmp_path, rows) == ["qualified"] * 20 + ["over_cap"] * 3 + ["qualified"]


def test_the_cap_counts_only_rows_that_passed_the_double_click(tmp_path):
    policy = logs.Policy(per_viewer_work_day=1)
    rows = [
        row("a", "10:00:00", viewer="v"),
        row("b", "10:00:30", viewer="v"),
        row("c", viewer="v", at="12:00:00"),
    ]
    assert reasons(tmp_path, rows, policy=policy) == ["double_click", "qualified", "over_cap"]


def test_a_cap_of_zero_excludes_every_viewer(tmp_path):
    policy = logs.Policy(per_viewer_work_day=0)
    assert reasons(tmp_path, [row("a"), row("b", viewer="")], policy=policy) == [
        "over_cap",
        "qualified",
    ]


def test_rows_without_an_identity_skip_the_last_two_rules_and_are_numbered(tmp_path):
    rows = [row(f"{n:02}", "10:00:00", viewer="") for n in range(25)]
    found = count(write(tmp_path / "log.csv", [*rows, row("z")]))
    assert (found.qualified, found.without_identity) == (26, 25)


# the whole


def test_a_row_carries_its_first_reason_and_the_counts_add_up_to_the_rows(tmp_path):
    rows = [
        row("a", work="", watched_seconds="1"),
        row("b", watched_seconds=1, work="unknown", day=EVE),
        row("b", watched_seconds=1, work="unknown"),
        row("c", watched_seconds=1, work="unknown"),
        row("d", watched_seconds=1),
        row("e"),
    ]
    found = count(write(tmp_path / "log.csv", rows))
    assert found.excluded == {
        "malformed": 1,
        "duplicate": 1,
        "outside_period": 1,
        "unmatched_work": 1,
        "below_threshold": 1,
        "double_click": 0,
        "over_cap": 0,
    }
    assert found.rows == found.qualified + sum(found.excluded.values()) == 6
    assert found.works == [(1, 0, Kind.VIEW, 2, 1, 1)]


def test_days_judged_apart_come_to_what_they_come_to_together(tmp_path, monkeypatch):
    rows = [
        row(f"{n % 40}", f"10:{n % 60:02}:00", day, viewer=f"{n % 3}")
        for day in (EVE, DAY, MORROW)
        for n in range(100)
    ]
    path = write(tmp_path / "log.csv", rows)
    together = count(path, period=period(EVE, MORROW))
    monkeypatch.setattr("royalty.logs.counting.ROWS_AT_ONCE", 1)
    assert count(path, period=period(EVE, MORROW)) == together


def test_rows_kept_by_day_are_judged_as_those_of_the_log(tmp_path):
    """The seam of the usage store: rows as Parquet by day, identities as hashes."""
    rows = [row("a", day=EVE), row("a"), row("b", viewer="v"), row("c", viewer="v"), row("d")]
    path = write(tmp_path / "log.csv", rows)
    expected = count(path)
    with logs.engine() as con:
        logs.read_rows(con, logs.find_sources([path]))
        for day in (NUMBER - 1, NUMBER):
            con.execute(
                f"COPY (SELECT * REPLACE (unhex(sha256(identity)) AS identity) FROM ({logs.GOOD_ROWS})"
                f" WHERE day = {day}) TO '{tmp_path}/{day}.parquet' (FORMAT parquet)"
            )
        counting = logs.Counting(con, matcher(), logs.Policy(), period())
        stored = f"SELECT * FROM read_parquet(['{tmp_path}/{NUMBER - 1}.parquet', '{tmp_path}/{NUMBER}.parquet'])"
        counting.add(stored, days=period())
        found = counting.result([])
    assert found.units == expected.units
    assert (found.rows, found.excluded["duplicate"], found.excluded["double_click"]) == (4, 1, 1)
