"""CloudFront's standard logs: requests become plays, and nobody's address is kept."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from royalty import logs
from royalty.errors import InputError
from royalty.logs import find_sources
from royalty.logs.convert import convert
from royalty.logs.formats.cloudfront import STANDARD, cut_address
from royalty.logs.lines import TOO_LONG
from tests.royalty import formats_twin as twin
from tests.royalty.formats_help import SAMPLES, bad, count_all, rows, write

NAMES = STANDARD.split()
AGENT = "Mozilla/5.0%20(X11;%20Linux)"
HEAD = ("#Version: 1.0", "#Fields: " + " ".join(NAMES))


def request(second: float = 0, **fields: Any) -> dict[str, str]:
    """A request for a segment that ended `second` seconds after ten o'clock."""
    minutes, seconds = divmod(int(second), 60)
    hours, minutes = divmod(minutes, 60)
    usual = {
        **dict.fromkeys(NAMES, "-"),
        "date": "2026-11-19",
        "time": f"{10 + hours:02}:{minutes:02}:{seconds:02}",
        "x-edge-location": "FRA2",
        "sc-bytes": "500",
        "c-ip": "192.0.2.10",
        "cs-method": "GET",
        "cs-uri-stem": f"/film/720p/seg_{int(second):05}.ts",
        "sc-status": "200",
        "cs(User-Agent)": AGENT,
        "time-taken": "0.500",
    }
    names = {name.replace("-", "_").replace("(", "_").replace(")", ""): name for name in NAMES}
    return {**usual, **{names[name]: str(value) for name, value in fields.items()}}


def log(path: Path, *requests: dict[str, str], head: tuple[str, ...] = HEAD) -> Path:
    return write(path, *head, *("\t".join(one[name] for name in NAMES) for one in requests))


def test_requests_of_one_viewer_for_one_work_are_one_play(tmp_path):
    (row,) = rows(log(tmp_path / "log", *(request(at) for at in range(0, 61, 4))))
    assert row["work"] == "/film/720p"
    assert (
        row["started_us"] == 1_795_082_400_000_000 - 500_000
    )  # it ended then, after half a second
    assert row["watched_us"] == 60_500_000
    assert row["duration_us"] is None


def test_a_pause_counts_as_a_minute_at_most(tmp_path):
    (row,) = rows(log(tmp_path / "log", request(0), request(10), request(3000), request(3010)))
    assert row["watched_us"] == (10 + 60 + 10) * 10**6 + 500_000 + 500_000


def test_requests_that_overlap_are_counted_once(tmp_path):
    ranges = [request(20, time_taken="20", sc_range_start=at, sc_status="206") for at in (0, 9, 9)]
    (row,) = rows(log(tmp_path / "log", *ranges, request(30, time_taken="15")))
    assert row["watched_us"] == 30_000_000


def test_a_file_is_its_own_work_and_segments_are_of_their_folder(tmp_path):
    stems = ["/a/film.mp4", "/a/b/seg1.m4s", "/seg1.ts", "/a/b/seg2.m4s"]
    path = log(tmp_path / "log", *(request(at, cs_uri_stem=stem) for at, stem in enumerate(stems)))
    assert sorted(row["work"] for row in rows(path)) == ["/", "/a/b", "/a/film.mp4"]
    found = rows(path, form="cloudfront:1")
    assert sorted(row["work"] for row in found) == ["/a", "/seg1.ts"]


def test_the_depth_is_part_of_the_reading(tmp_path):
    path = log(tmp_path / "log", request())
    digests = {
        find_sources([path], form=form)[0].columns.digest
        for form in ("cloudfront", "cloudfront:1", "cloudfront:2")
    }
    assert len(digests) == 3
    with pytest.raises(InputError, match="1 to 20"):
        rows(path, form="cloudfront:x")


def test_others_networks_and_agents_are_others_plays(tmp_path):
    path = log(
        tmp_path / "log",
        request(0, c_ip="192.0.2.10"),
        request(4, c_ip="192.0.2.99"),
        request(8, c_ip="192.0.3.10"),
        request(12, c_ip="192.0.2.10", cs_User_Agent="other"),
        request(16, c_ip="2001:db8:1:2::3"),
        request(20, c_ip="2001:db8:1:9::4"),
        request(24, c_ip="2001:db8:2:2::3"),
    )
    found = rows(path)
    assert len({row["identity"] for row in found}) == len(found) == 5


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.147", "192.0.2.0/24"),
        ("::ffff:192.0.2.147", "192.0.2.0/24"),
        ("2001:db8:7:8:9::1", "2001:db8:7::/48"),
        ("2001:DB8:7::", "2001:db8:7::/48"),
    ],
)
def test_an_address_is_cut_to_its_network(address, network):
    assert cut_address(address) == network


def test_no_address_and_no_agent_leaves_the_reader(tmp_path):
    path = log(tmp_path / "log", *(request(at, c_ip=f"192.0.2.{at}") for at in range(40)))
    (source,) = find_sources([path])
    out = tmp_path / "native.parquet"
    convert([source], out)
    from pyarrow import parquet

    written = str(parquet.read_table(out).to_pylist())
    with logs.engine() as con:
        logs.read_rows(con, [source])
        kept = str(con.execute("SELECT * FROM rows").fetchall())
    from royalty.logs.formats.cloudfront import CLOUDFRONT

    passed_on = str(
        [t.to_pylist() for t in CLOUDFRONT.read([path.read_bytes()], path, None).tables]
    )
    for text in (written, kept, passed_on):
        assert "/film/720p" in text
        assert "192.0.2" not in text
        assert "Mozilla" not in text


def test_other_requests_are_passed_over_and_counted(tmp_path):
    path = log(
        tmp_path / "log",
        request(0),
        request(1, cs_uri_stem="/film/index.m3u8"),
        request(2, cs_uri_stem="/poster.jpg"),
        request(3, sc_status="404"),
        request(4, sc_status="000"),
        request(5, cs_method="HEAD"),
        request(6, sc_status="304"),
        request(7, cs_uri_query='CMCD=ot%3Di%2Csid%3D"s"', cs_uri_stem="/film/720p/init.m4s"),
    )
    found = count_all(path)
    (source,) = found.sources
    assert source.passed == {
        "not sound or pictures": 3,
        "status of no success": 2,
        "not a GET": 1,
    }
    assert (found.rows, source.rows) == (1, 2)


def test_real_logs_are_read_to_their_end():
    folder = SAMPLES / "cloudfront"
    (row,) = rows(folder / "web-1-0.txt")
    assert (row["work"], row["watched_us"], row["line"]) == ("/soundtrack/happy.mp3", 2000, 4)
    for name, lines in (("web-1-0-2019-12.txt", 3), ("2015-10-19-17.e5b6526a.tsv", 9)):
        with pytest.raises(InputError, match=f"lines passed over: {lines} not sound or pictures"):
            rows(folder / name)
    for name in ("rtmp-1-0.txt", "kinesis-1-0.txt"):
        with pytest.raises(InputError, match="no standard log of CloudFront"):
            rows(folder / name, form="cloudfront")


def test_without_a_line_of_fields_the_standard_order_holds(tmp_path):
    requests = [request(at) for at in range(0, 41, 4)]
    with_head = rows(log(tmp_path / "a", *requests))
    without = rows(log(tmp_path / "b", *requests, head=()))
    assert [{**row, "line": 0} for row in with_head] == [{**row, "line": 0} for row in without]


def test_another_line_of_fields_holds_from_there_on(tmp_path):
    turned = [*NAMES[2:], *NAMES[:2]]
    path = tmp_path / "log"
    lines = [
        "\t".join(request(at)[name] for name in names) for at, names in ((0, NAMES), (9, turned))
    ]
    write(path, *HEAD, lines[0], HEAD[0], "#Fields:\t" + "\t".join(turned), lines[1])
    (row,) = rows(path)
    assert row["watched_us"] == 9_500_000


# CMCD --------------------------------------------------------------------------------------------


def real_requests() -> list[dict[str, str]]:
    """A real session of CMCD, each request two seconds after the one before."""
    urls = (SAMPLES / "cmcd" / "cmcd-data-samples-queries.txt").read_text().split()
    parts = [urlsplit(url) for url in urls]
    return [
        request(2 * at, cs_uri_stem=part.path, cs_uri_query=part.query)
        for at, part in enumerate(parts)
    ]


def test_a_real_cmcd_session_is_one_play_of_its_content_id(tmp_path):
    requests = real_requests()
    (row,) = rows(log(tmp_path / "log", *requests))
    ((work, start, watched),) = twin.cloudfront_plays(
        [{**one, "cs-uri-stem": one["cs-uri-stem"].replace("m4v", "m4s")} for one in requests]
    )
    assert row["work"] == work == "21cf726cfe3d937b5f974f72bb5bd06a"
    assert (row["started_us"], row["watched_us"]) == (start * 10**6, watched * 10**6)
    assert row["watched_us"] > 0


def test_a_query_that_was_encoded_again_says_the_same(tmp_path):
    requests = real_requests()
    again = [{**one, "cs-uri-query": one["cs-uri-query"].replace("%", "%25")} for one in requests]
    once = rows(log(tmp_path / "a", *requests))
    assert rows(log(tmp_path / "b", *again)) == once


def test_what_was_fetched_ahead_is_not_watched(tmp_path):
    def segment(second: int, number: int) -> dict[str, str]:
        query = "CMCD=" + quote(f'cid="film",d=4000,ot=v,sid="s{second > 99}"')
        return request(second, cs_uri_query=query, cs_uri_stem=f"/x/{number}.m4s")

    ahead = [segment(1, number) for number in range(10)]  # forty seconds of film in one
    slow = [
        segment(100 + 5 * number, number) for number in range(5)
    ]  # and again: four of each five
    found = rows(log(tmp_path / "log", *ahead, *slow, segment(140, 4)))
    assert [row["watched_us"] for row in found] == [500_000, 20_000_000]


def test_a_session_is_one_play_wherever_its_viewer_goes_and_a_viewer_has_many(tmp_path):
    def at(second: int, session: str, address: str) -> dict[str, str]:
        return request(second, c_ip=address, cs_uri_query=f'CMCD=sid%3D"{session}"%2Cot%3Dv')

    path = log(
        tmp_path / "log",
        at(0, "one", "192.0.2.1"),
        at(40, "one", "198.51.100.1"),
        at(100, "two", "192.0.2.1"),
    )
    found = rows(path)
    assert len(found) == 2
    assert found[0]["identity"] == found[1]["identity"]


# Late files, twins, hostile lines -----------------------------------------------------------------


def test_lines_that_come_later_are_never_a_second_play(tmp_path):
    first = log(tmp_path / "a", *(request(at) for at in range(20, 41, 4)))
    late = log(tmp_path / "b", *(request(at) for at in range(0, 20, 4)))
    alone, both = rows(first), rows(first, late)
    assert alone[0]["usage_id"] == both[0]["usage_id"]
    assert alone[0]["watched_us"] < both[0]["watched_us"]
    assert find_sources([first])[0].columns.resend == "last"  # so the longer of the two counts


def test_random_logs_are_those_of_the_twin(tmp_path):
    for seed in range(12):
        chance = random.Random(seed)
        requests = [random_request(chance) for _ in range(400)]
        chance.shuffle(requests)
        paths = [
            log(tmp_path / f"{part}.log", *requests[part::3], head=HEAD if part else ())
            for part in range(3)
        ]
        found = sorted((row["work"], row["started_us"], row["watched_us"]) for row in rows(*paths))
        plays = twin.cloudfront_plays(requests)
        assert found == [(work, at * 10**6, watched * 10**6) for work, at, watched in plays]
        assert len(found) > 20


def random_request(chance: random.Random) -> dict[str, str]:
    stem = chance.choice(
        ["/a/1.ts", "/a/2.ts", "/b/3.m4s", "/b/4.m4a", "/c.mp4", "/d.html", "/e/5.ts"]
    )
    said = {
        "sid": chance.choice([None, None, '"x"', '"y,z"']),
        "cid": chance.choice([None, None, '"k"']),
        "ot": chance.choice([None, "v", "a", "av", "m"]),
        "d": chance.choice([None, "4000", "2002", "1001.5"]),
    }
    text = ",".join(f"{key}={value}" for key, value in said.items() if value)
    return request(
        chance.randrange(9000),
        cs_uri_stem=stem,
        c_ip=chance.choice(["192.0.2.1", "192.0.2.2", "198.51.100.7", "2001:db8::1"]),
        cs_User_Agent=chance.choice(["one", "two"]),
        cs_method=chance.choice(["GET"] * 9 + ["HEAD"]),
        sc_status=chance.choice(["200", "206", "304", "404"]),
        time_taken=chance.choice(["0.000", "0.125", "3.5", "75"]),
        sc_range_start=chance.choice(["-", "0", "900"]),
        cs_uri_query="a=b&CMCD=" + quote(text) + "&c=d" if text and chance.random() < 0.7 else "-",
        date=chance.choice(["2026-11-18", "2026-11-19"]),
    )


def test_a_bad_line_costs_itself_and_says_why(tmp_path):
    good = "\t".join(request(0).values())
    bad_lines: list[tuple[bytes, str]] = [
        (b"\t".join([b"x"] * 20), "20 fields instead of 33"),
        (good.encode() + b"\tmore", "34 fields instead of 33"),
        (good.replace("2026-11-19", "2026-13-19").encode(), "date and time cannot be read"),
        (good.replace("2026-11-19", "1960-11-19").encode(), "date and time lie before 1970"),
        (good.replace("10:00:00", "10:00:61").encode(), "date and time cannot be read"),
        (good.replace("192.0.2.10", "192.0.2.300").encode(), "c-ip is no address"),
        (good.replace("\t200\t", "\tno\t").encode(), "sc-status is no status"),
        (good.replace("0.500", "-1").encode(), "time-taken cannot be read"),
        (good.replace("0.500", "1e9").encode(), "time-taken cannot be read"),
        (good.replace("/film", "/f\xff").encode("latin-1"), "not UTF-8"),
        (good.replace("/film", "/f\0").encode(), "NUL byte"),
        (good.replace("/film", "/f" * 100_000).encode(), TOO_LONG),
    ]
    path = tmp_path / "log.gz"
    lines = [line.encode() for line in HEAD] + [line for line, _ in bad_lines]
    path.write_bytes(
        gzip.compress(b"\r\n".join([*lines, good.encode() + b"\t", b"", good.encode()]))
    )
    assert bad(path) == [(number, why) for number, (_, why) in enumerate(bad_lines, 3)]
    found = count_all(path)
    assert (found.rows, found.excluded["malformed"], found.sources[0].rows) == (13, 12, 14)


def test_hostile_cmcd_is_no_error(tmp_path):
    queries = [
        "CMCD",
        "CMCD=",
        "CMCD=%22",
        "CMCD=sid=%2522,,=",
        "CMCD=%FF%00",
        "CMCD=d=9e9,sid=",
        "&&=",
    ]
    path = log(tmp_path / "log", *(request(0, cs_uri_query=query) for query in queries))
    assert {row["malformed"] for row in rows(path)} == {None}
