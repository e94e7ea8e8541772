"""Which format a file is of is told by its content, or by name; both make one reading of a log."""

from __future__ import annotations

import csv
import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from royalty import logs
from royalty.days import Period
from royalty.errors import InputError
from royalty.logs.columns import FIELDS, STEP_FIELDS
from royalty.logs.formats import FORMATS, HEAD, detect, named
from tests.royalty.counted import HEADER, row
from tests.royalty.formats_help import SAMPLES, rows, write
from tests.royalty.test_format_cloudfront import log as cloudfront_log
from tests.royalty.test_format_cloudfront import request
from tests.royalty.test_format_peertube import action

JELLYFIN = "2026-11-19 10:00:00.1234567\tuser\titem\tMovie\tFilm\tDirectPlay\tWeb\tTV\t120"


def examples(folder: Path) -> dict[str, Path]:
    """A file of each format, none with a name that says so."""
    return {
        "peertube": write(folder / "a", json.dumps(action(1, (0, 40)))),
        "cloudfront": cloudfront_log(folder / "b", request()),
        "snowplow": SAMPLES / "snowplow" / "events.csv.gz",
        "mux": SAMPLES / "mux" / "list_video_views.json",
        "jellyfin": write(folder / "c", JELLYFIN),
        "dsr": next((SAMPLES / "ddex").glob("DSR_TEST_*")),
        "youtube": SAMPLES / "youtube" / "youtube_channel_basic_data.csv",
        "counter": SAMPLES / "counter" / "IRM1_sample_r51.tsv",
    }


REAL = {
    "cloudfront/web-1-0.txt": "cloudfront",
    "cloudfront/web-1-0-2019-12.txt": "cloudfront",
    "cloudfront/2015-10-19-17.e5b6526a.tsv": "cloudfront",
    "cloudfront/rtmp-1-0.txt": None,
    "cloudfront/kinesis-1-0.txt": None,
    "cmcd/cmcd-data-samples-queries.txt": None,
    "mux/get_video_view.json": "mux",
    "mux/list_video_views.json": "mux",
    "mux/view_exports.json": None,
    "snowplow/events.csv.gz": "snowplow",
    "snowplow/sessions.csv.gz": "snowplow",
    "snowplow/events_expected.csv": None,
    "snowplow/sessions_expected.csv": None,
    "youtube/youtube_channel_basic_data.csv": "youtube",
    "counter/IRM1_sample_r51.tsv": "counter",
    "counter/IR_sample_r51.tsv": None,
    "README.md": None,
    "mux/mux-elixir-MIT.txt": None,
}


@pytest.mark.parametrize("name", REAL)
def test_the_content_of_a_real_file_says_its_format(name):
    data = (SAMPLES / name).read_bytes()
    data = gzip.decompress(data) if name.endswith(".gz") else data
    assert detect(data[:HEAD]) == REAL[name]


def test_every_format_has_an_example_that_is_of_it_alone(tmp_path):
    found = examples(tmp_path)
    assert found.keys() == FORMATS.keys()
    for name, path in found.items():
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        assert [form for form in FORMATS if FORMATS[form].looks(data[:HEAD])] == [name]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_names_say_nothing_of_a_format(tmp_path, pack):
    for name, path in examples(tmp_path).items():
        data = path.read_bytes()
        packed = path.suffix == ".gz" or pack is not bytes
        other = tmp_path / f"{name}.parquet"
        other.write_bytes(data if path.suffix == ".gz" else pack(data))
        (source,) = logs.find_sources([other])
        assert (source.format, source.columns.format) == (name, name)
        assert source.compression == ("gzip" if packed else None)
        assert FORMATS[name].sums or rows(other)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\n\n",
        b"{",
        b"{}\n",
        b"[]",
        b"\xff\xfe\0\0",
        b"\0" * HEAD,
        b"\t" * HEAD,
        b"{" * HEAD,
        b'{"a":' * 30_000,
        b'"' * HEAD,
        b"#Version: 1.0\n#Fields: date time\n",
        b"#Version: 1.0",
        b"1970-01-01\t00:00:00" + b"\t" * 20,
        b"a,b\n1,2\n",
        "é".encode() * (HEAD // 2),
        b"event_id,derived_tstamp\n",
        b'{"view_id": 3}',
        ",".join(HEADER).encode() + b"\n",
    ],
)
def test_a_file_of_no_format_is_of_none(head):
    assert detect(head[:HEAD]) is None


def test_native_logs_are_read_as_before(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(row()) + "\n")
    (source,) = logs.find_sources([path])
    assert source.columns is logs.NATIVE
    table = tmp_path / "log.parquet"
    parquet.write_table(pa.Table.from_pylist([row()]), table)
    assert logs.find_sources([table])[0].format == "parquet"


def test_a_format_can_be_forced_and_so_can_a_table(tmp_path):
    path = write(tmp_path / "log.csv", JELLYFIN, "no\tmore")
    assert logs.find_sources([path])[0].format == "jellyfin"
    assert logs.find_sources([path], form="native")[0].format == "csv"
    forced = write(tmp_path / "other", "no\tmore", JELLYFIN)
    with pytest.raises(InputError, match="unknown format"):
        logs.find_sources([forced])
    assert [one["malformed"] for one in rows(forced, form="jellyfin")] == [
        "2 cells instead of 9",
        None,
    ]


def test_columns_or_a_separator_say_that_a_log_is_a_table(tmp_path):
    path = write(tmp_path / "views.jsonl", json.dumps(action(1, (0, 40))))
    columns = logs.Columns.of({"work": "object", "started_at": "startTime", "viewer": "id"})
    assert logs.find_sources([path], columns)[0].columns is columns
    assert logs.find_sources([path], separator=";")[0].columns is logs.NATIVE
    for given in ({"columns": columns}, {"separator": ";"}):
        with pytest.raises(InputError, match="leave --columns and --separator out"):
            logs.find_sources([path], form="peertube", **given)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (
            "vlc",
            "known: native, cloudfront, counter, dsr, jellyfin, mux, peertube, snowplow, youtube",
        ),
        ("peertube:3", "takes nothing after a colon"),
        ("jellyfin:Mars/Olympus", "zone 'Mars/Olympus' is unknown"),
        ("", "is not known"),
    ],
)
def test_a_format_that_is_not_there_is_refused(tmp_path, spec, why):
    with pytest.raises(InputError, match=why):
        logs.find_sources([write(tmp_path / "log", JELLYFIN)], form=spec)


def test_a_log_is_of_one_format(tmp_path):
    found = examples(tmp_path)
    with pytest.raises(InputError, match=r"peertube and .* jellyfin; give files of one format"):
        logs.find_sources([found["peertube"], found["jellyfin"]])


def test_the_format_is_in_what_the_evidence_names():
    documents = [named(name)[0].columns.document() for name in FORMATS]
    assert [one["format"] for one in documents] == list(FORMATS)
    digests = {named(name)[0].columns.digest for name in (*FORMATS, "cloudfront:2")}
    assert len(digests) == len(FORMATS) + 1
    assert "format" not in logs.NATIVE.document()
    assert not any(form.columns.native for form in FORMATS.values())


def test_a_format_gives_native_fields_alone():
    for form in FORMATS.values():
        assert set(form.columns.fields) <= {*FIELDS, *STEP_FIELDS}
        assert {"work", "started_at"} <= set(form.columns.fields)
        assert form.title


def test_a_file_that_two_formats_claim_is_refused(tmp_path, monkeypatch):
    from dataclasses import replace

    monkeypatch.setitem(FORMATS, "other", replace(FORMATS["jellyfin"], name="other"))
    with pytest.raises(InputError, match="jellyfin or other; say which with --format"):
        logs.find_sources([write(tmp_path / "log", JELLYFIN)])


# Jellyfin and Mux --------------------------------------------------------------------------------


def test_jellyfin_rows_have_no_ids_and_times_of_a_zone(tmp_path):
    path = write(tmp_path / "log", JELLYFIN, JELLYFIN.replace("120", "-5"), JELLYFIN + "\t")
    utc = rows(path)
    assert [one["malformed"] for one in utc] == [
        None,
        "watched_seconds cannot be read",
        "10 cells instead of 9",
    ]
    assert (utc[0]["usage_id"], utc[0]["identity"], utc[0]["work"]) == (None, "user", "item")
    assert (utc[0]["started_us"], utc[0]["watched_us"]) == (1_795_082_400_123_456, 120_000_000)
    there = rows(path, form="jellyfin:Europe/Berlin")
    assert utc[0]["started_us"] - there[0]["started_us"] == 3600 * 10**6
    assert not logs.find_sources([path])[0].columns.has_ids


def mux(**view: object) -> str:
    usual = {
        "view_id": "v",
        "video_id": "film",
        "view_start": "2026-11-19T10:00:00.000Z",
        "watch_time": 61_500,
        "video_duration": 90_000.5,
        "mux_viewer_id": "m",
        "viewer_application_name": "Safari",
    }
    return json.dumps({**usual, **view})


def test_mux_views_count_what_was_played(tmp_path):
    path = write(
        tmp_path / "log",
        mux(),
        mux(view_id="w", view_playing_time=40_000, viewer_user_id="u"),
        mux(view_id="x", view_total_content_playback_time=30_000, view_playing_time=40_000),
        '{"data": ' + mux(view_id="y") + "}",
        '{"data": [' + mux(view_id="z") + "]}",
    )
    found = rows(path)
    assert [one["watched_us"] for one in found] == [
        61_500_000,
        40_000_000,
        30_000_000,
        61_500_000,
        None,
    ]
    assert [one["identity"] for one in found][:3] == ["m", "u", "m"]
    assert found[0]["duration_us"] == 90_000_500
    assert found[4]["malformed"] == "not one view"


def test_a_response_of_mux_is_read_whole(tmp_path, monkeypatch):
    path = tmp_path / "views.json"
    data = {"data": [json.loads(mux(view_id=str(at))) for at in range(30)] + [3], "timeframe": [1]}
    path.write_text(json.dumps(data, indent=1))
    found = rows(path)
    assert [one["usage_id"] for one in found] == [*map(str, range(30)), None]
    assert (found[30]["line"], found[30]["malformed"]) == (31, "not a JSON object")
    from royalty.logs.formats import mux as module

    monkeypatch.setattr(module, "MAX_RESPONSE", 1000)
    with pytest.raises(InputError, match="one JSON document of more than"):
        rows(path)


def test_real_mux_fixtures_say_what_they_lack():
    (one,) = rows(SAMPLES / "mux" / "get_video_view.json")
    assert one["malformed"] == "work is missing"
    found = rows(SAMPLES / "mux" / "list_video_views.json")
    assert [row["malformed"] for row in found] == ["work is missing"] * 2
    with pytest.raises(InputError, match="no response of Mux"):
        rows(SAMPLES / "mux" / "mux-elixir-MIT.txt", form="mux")


# Bounds ------------------------------------------------------------------------------------------


def test_the_content_is_read_no_further_than_needed_to_tell(tmp_path, monkeypatch):
    path = tmp_path / "log"
    path.write_bytes((JELLYFIN + "\n").encode() * 200_000)
    from royalty.logs import sources

    asked = []
    real = sources.read_chunks

    def counted(stream, path, size):
        for chunk in real(stream, path, size):
            asked.append(len(chunk))
            yield chunk

    monkeypatch.setattr(sources, "read_chunks", counted)
    assert sources.find_sources([path])[0].format == "jellyfin"
    assert sum(asked) == HEAD


def test_a_record_that_csv_cannot_hold_costs_itself(tmp_path):
    path = tmp_path / "events.csv"
    event = '"[{""current_time"":1}]"'
    name = "contexts_com_snowplowanalytics_snowplow_media_player_1_0_0"
    write(path, f"event_id,{name}", f'"a,{event}', f"b,{event}", f"{'x' * 200_000},{event}")
    found = {one["line"]: one["malformed"] for one in rows(path)}
    assert found[3] == "no player id, element id or label names the work"
    assert found[2] is not None
    assert found[4] == "line of more than 131,072 bytes"
    assert csv.field_size_limit() == 131_072


# Damage ------------------------------------------------------------------------------------------

PIECES = (
    b"\t",
    b"\n",
    b'"',
    b",",
    b"{",
    b"}",
    b"[",
    b"\0",
    b"\xff",
    b"9" * 40,
    b"-1",
    b"1e999",
    b"NaN",
)
PIECES += (
    b"\\ud800",
    b"%",
    b"%00",
    "\u0669".encode(),
    b"9999-12-31",
    b"0000-00-00",
    b"null",
    b"true",
)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A file with some bytes replaced, taken out or doubled."""
    for _ in range(chance.randrange(1, 30)):
        at = chance.randrange(len(data) + 1)
        until = at + chance.choice([0, 1, 1, 10, 300])
        piece = chance.choice([*PIECES, data[at:until] * 2])
        data = data[:at] + piece + data[until:]
    return data


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_counted_or_refused_and_no_line_is_lost(tmp_path, name):
    many = {
        "cloudfront": cloudfront_log(tmp_path / "many", *(request(at) for at in range(60))),
        "mux": write(tmp_path / "views", *(mux(view_id=str(at)) for at in range(60))),
    }
    whole = (examples(tmp_path) | many)[name].read_bytes()
    whole = gzip.decompress(whole)[:60_000] if whole[:2] == b"\x1f\x8b" else whole[:60_000]
    counted = 0
    for seed in range(40):
        path = tmp_path / "damaged"
        path.write_bytes(damaged(whole, random.Random(seed)))
        sources = logs.find_sources([path], form=name)
        table = logs.WorkTable([], [(1, 1, 0, None)], {1: 1})
        try:
            if FORMATS[name].sums:
                found = logs.add_up(sources, Period(0, 60_000), table).aggregates
            else:
                found = logs.count(sources, Period(0, 60_000), table)
        except InputError:
            continue
        counted += 1
        assert found.rows == found.qualified + sum(found.excluded.values())
    assert counted > 0 or name == "dsr"  # whose footer refuses nearly all damage
