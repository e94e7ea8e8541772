"""columns.toml: where the fields of a log come from."""

from __future__ import annotations

from itertools import pairwise

import pytest

from royalty.days import Period
from royalty.errors import InputError
from royalty.logs import NATIVE, Column, Columns
from royalty.logs.zones import stretches
from royalty.usage import Kind
from tests.royalty.counted import DAY, NUMBER, count

LEAST = 'work = "w"\nstarted_at = "t"\n'


def load(tmp_path, text: str) -> Columns:
    path = tmp_path / "columns.toml"
    path.write_text(text, encoding="utf-8")
    return Columns.load(path)


def test_no_file_means_the_native_columns():
    assert Columns.load(None) is NATIVE
    assert NATIVE.has_ids
    assert NATIVE.required_names() == ["usage_id", "work", "started_at"]


def test_a_field_that_is_not_named_is_not_in_the_log(tmp_path):
    columns = load(tmp_path, LEAST)
    assert not columns.has_ids
    assert dict(columns.fields) == {"work": Column("w"), "started_at": Column("t")}


def test_a_field_is_a_name_a_table_or_a_value(tmp_path):
    columns = load(
        tmp_path,
        LEAST + 'kind = {value = "download"}\nviewer = {column = "v"}\n'
        'watched_seconds = {column = "ms", unit = "ms"}\nduration_seconds = {value = 1.50}\n',
    )
    assert columns.fields["kind"] == Column(value="download")
    assert columns.fields["viewer"] == Column("v")
    assert columns.fields["watched_seconds"] == Column("ms", unit="ms")
    assert columns.fields["duration_seconds"] == Column(value="1.5")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('work = "w"', "started_at is missing"),
        ('started_at = "t"', "work is missing"),
        (LEAST + 'wok = "w"', "unknown setting 'wok'"),
        (LEAST + 'viewer = {colum = "v"}', "unknown setting 'colum'"),
        (LEAST + 'viewer = {column = "v", value = "x"}', "either a column or a value"),
        (LEAST + "viewer = {}", "either a column or a value"),
        (LEAST + 'viewer = ""', "name of a column"),
        (LEAST + "viewer = 3", "column's name"),
        (LEAST + "viewer = {value = true}", "text or a number"),
        (LEAST + "viewer = {value = nan}", "text or a number"),
        (LEAST + 'viewer = {column = "v", unit = "s"}', "no unit"),
        (LEAST + 'watched_seconds = {column = "v", unit = "min"}', "unit is"),
        (LEAST + 'watched_seconds = {column = "v", zone = "UTC"}', "no zone"),
        (LEAST + 'usage_id = {value = "1"}', "one id for every row"),
        (LEAST + 'kind = {value = "stream"}', "not view"),
        (LEAST + 'resend = "never"', "'first' or 'last'"),
        (
            'work = "w"\nstarted_at = {column = "t", zone = "Mars/Olympus"}',
            "zone 'Mars/Olympus' is unknown",
        ),
        ('work = "w"\nstarted_at = {column = "t", zone = "../passwd"}', "is unknown"),
        (
            'work = "w"\nstarted_at = {column = "t", unit = "s", zone = "Asia/Tokyo"}',
            "leave the zone out",
        ),
        ("work =", "is not TOML"),
    ],
)
def test_a_columns_file_that_cannot_be_meant_is_refused(tmp_path, text, why):
    with pytest.raises(InputError, match=why):
        load(tmp_path, text)


def test_the_same_meaning_has_the_same_digest(tmp_path):
    one = load(tmp_path, 'resend = "first"\nviewer = "v"\n' + LEAST)
    two = load(tmp_path, LEAST + '# who\nviewer = {column = "v"}\n')
    other = load(tmp_path, LEAST + 'viewer = "u"\n')
    assert one.digest == two.digest != other.digest
    text = LEAST + 'watched_seconds = {column = "s", unit = "s"}'
    assert load(tmp_path, text).digest == load(tmp_path, LEAST + 'watched_seconds = "s"').digest


def test_units_and_values_come_to_the_same_count(tmp_path):
    path = tmp_path / "log.tsv"
    path.write_text(
        "video\tmillis\tplayed\tlength\tuser\nfilm\t1795082400123\t29500\t59000000\tanna\n"
    )
    columns = {
        "work": "video",
        "started_at": {"column": "millis", "unit": "ms"},
        "watched_seconds": {"column": "played", "unit": "ms"},
        "duration_seconds": {"column": "length", "unit": "us"},
        "viewer": "user",
    }
    assert count(path, columns=columns).units == [(NUMBER, 1, 0, Kind.VIEW, 1)]


@pytest.mark.parametrize(
    ("zone", "text", "day"),
    [
        ("Europe/Berlin", f"{DAY} 00:30:00", NUMBER - 1),
        ("Europe/Berlin", f"{DAY}T01:00:00", NUMBER),
        ("America/New_York", f"{DAY} 20:00:00.5", NUMBER + 1),
        ("UTC", f"{DAY} 23:59:59.999999", NUMBER),
        ("Europe/Berlin", f"{DAY}T23:30:00-05:00", NUMBER + 1),
    ],
)
def test_naive_times_are_read_in_their_zone(tmp_path, zone, text, day):
    path = tmp_path / "log.csv"
    path.write_text(f"v,t\nfilm,{text}\n")
    columns = {
        "work": "v",
        "started_at": {"column": "t", "zone": zone},
        "kind": {"value": "download"},
        "viewer": {"value": "x"},
    }
    found = count(path, columns=columns, period=Period(0, 65_535))
    assert [unit.day for unit in found.units] == [day]


def test_a_local_time_that_occurs_twice_is_the_first_and_a_skipped_one_is_none():
    hour = 3_600_000_000
    berlin = stretches("Europe/Berlin")
    for before, after in pairwise(berlin):
        if before[2] < after[2]:  # clocks went forward: nothing lies between
            assert after[0] - before[1] == after[2] - before[2]
        else:  # clocks went back: the hour belongs to what was before
            assert after[0] == before[1]
    assert {offset for *_, offset in berlin} == {hour, 2 * hour}
    assert stretches("UTC") == [(-(2**62), 2**62, 0)]


def test_made_ids_are_none_of_the_log_and_are_in_the_digest():
    made = Columns(NATIVE.fields, made_ids=True)
    assert NATIVE.own_ids
    assert made.has_ids
    assert not made.own_ids
    assert not Columns({"work": Column("w"), "started_at": Column("t")}).own_ids
    assert made.digest != Columns(NATIVE.fields).digest
