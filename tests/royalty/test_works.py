"""Works without a chain: fingerprints, works.csv, the order of registrations, and rivals."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.chain.events import Event
from royalty.errors import InputError
from royalty.usage import WorkRef
from royalty.works import (
    NewWork,
    Registration,
    fingerprint_of,
    fingerprint_or_file,
    new_work,
    parse_fingerprint,
    read_works,
    registrations_of,
    rivals_among,
)

ONE, TWO = "aa" * 32, "bb" * 32
ANN, BO = "0x" + "11" * 20, "0x" + "22" * 20


def sheet(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "works.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_fingerprint_is_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5_000
    (tmp_path / "film.mp4").write_bytes(data)
    assert fingerprint_of(tmp_path / "film.mp4") == hashlib.sha256(data).hexdigest()
    assert fingerprint_or_file(str(tmp_path / "film.mp4")) == hashlib.sha256(data).hexdigest()


def test_fingerprint_is_64_hex_digits_with_or_without_0x() -> None:
    assert parse_fingerprint("0x" + "AB" * 32) == parse_fingerprint("ab" * 32) == "ab" * 32
    assert fingerprint_or_file("0x" + ONE) == ONE
    for text in ("", "ab", "0x" + "ab" * 31, "zz" * 32, "ab" * 33):
        with pytest.raises(InputError, match="not a fingerprint"):
            parse_fingerprint(text)


def test_missing_file_is_said(tmp_path: Path) -> None:
    for text in (str(tmp_path / "none.mp4"), str(tmp_path)):
        with pytest.raises(InputError, match="cannot be read"):
            fingerprint_or_file(text)


def test_works_are_read_with_titles_identifiers_and_notes(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a")
    path = sheet(
        tmp_path,
        "Title,fingerprint,file,eidr,isan,isrc,iswc,platform_id,comment\n"
        f"Sintel,0x{ONE},,10.5240/F85A-E100-B068-5B8F-B1C8-T,,,,v-1,x\n"
        ",,a.mp4,,,USSKG1912345,T0345246801,007,\n",
    )
    assert read_works(path) == [
        NewWork(ONE, "Sintel", {"eidr": "10.5240/F85A-E100-B068-5B8F-B1C8-T"}, "v-1"),
        NewWork(
            hashlib.sha256(b"a").hexdigest(),
            "",
            {"isrc": "US-SKG-19-12345", "iswc": "T-034.524.680-1"},
            "007",
        ),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("title,platform_id\nA,1\n", "must name one of fingerprint, file"),
        ("fingerprint\n", "names no work"),
        (f"fingerprint,title\n{ONE},A\n,B\n", "line 3: neither fingerprint nor file"),
        ("fingerprint\nabc\n", "line 2: 'abc' is not a fingerprint"),
        ("file\nnone.mp4\n", "line 2: .*none.mp4 cannot be read"),
        (f"fingerprint,eidr\n{ONE},10.5240/0\n", "line 2: '10.5240/0' is not an EIDR"),
        (f"fingerprint,isan\n{ONE},1\n", "line 2: '1' is not an ISAN"),
        (f"fingerprint,title\n{ONE},{'t' * 301}\n", "line 2: a title has at most 300"),
        (f"fingerprint,platform_id\n{ONE},{'t' * 201}\n", "line 2: a platform_id has at most"),
        (f"file,fingerprint\nworks.csv,{ONE}\n", "line 2: works.csv has the fingerprint"),
    ],
)
def test_refusals_name_the_line_and_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_works(sheet(tmp_path, text))


@pytest.mark.parametrize("title", ["a\nb", "\x1b[31m", "\u202e"])
def test_title_that_would_move_a_cursor_is_refused(title: str) -> None:
    with pytest.raises(InputError, match="a title has"):
        new_work(ONE, title=title + "x")


def test_metadata_do_not_carry_the_platforms_own_id() -> None:
    assert new_work(ONE, title="A", platform_id="v-1").document() == {"title": "A"}
    assert new_work(ONE).document() == {}


def event(
    catalogue: int, first: int, who: str, prints: list[str], block: int, at: int = 0
) -> Event:
    args = {
        "catalogue": catalogue,
        "firstIndex": first,
        "registrant": who,
        "fingerprints": [bytes.fromhex(text) for text in prints],
        "metadataDigest": bytes(32),
        "uri": "",
    }
    return Event("WorksRegistered", args, "0x", block, "0x", f"0x{block:064x}", at)


def test_registrations_stand_in_order_of_time() -> None:
    found = registrations_of(
        [
            event(2, 0, BO, [ONE], 9, 1),
            event(1, 5, ANN, [TWO, ONE], 9, 0),
            event(3, 0, ANN, [ONE], 4),
        ]
    )
    assert [(str(one.work), one.fingerprint) for one in found] == [
        ("3/0", ONE),
        ("1/5", TWO),
        ("1/6", ONE),
        ("2/0", ONE),
    ]


def rivals(*events: Event) -> set[str]:
    found = registrations_of(events)
    return {str(work) for work in rivals_among(found, [one.work for one in found])}


def test_earlier_registration_by_another_elsewhere_is_a_rival() -> None:
    assert rivals(event(1, 0, ANN, [ONE], 1), event(2, 0, BO, [ONE], 2)) == {"2/0"}


def test_registration_repeated_by_the_same_registrant_is_no_conflict() -> None:
    assert rivals(event(1, 0, ANN, [ONE], 1), event(2, 0, ANN, [ONE], 2)) == set()


def test_registration_in_the_same_catalogue_by_its_next_owner_is_no_conflict() -> None:
    assert rivals(event(1, 0, ANN, [ONE], 1), event(1, 1, BO, [ONE], 2)) == set()


def test_within_one_block_the_earlier_event_is_the_earlier() -> None:
    assert rivals(event(1, 0, ANN, [ONE], 7, 3), event(2, 0, BO, [ONE], 7, 2)) == {"1/0"}


claims = st.lists(
    st.tuples(
        st.integers(1, 4), st.sampled_from([ANN, BO, "0x" + "33" * 20]), st.sampled_from([ONE, TWO])
    ),
    max_size=12,
)


@given(claims, st.data())
def test_rivals_are_those_that_the_definition_names(
    found: list[tuple[int, str, str]], data: st.DataObject
) -> None:
    ordered = [
        Registration(WorkRef(catalogue, at), text, who, at, 0, 0, "", b"", "")
        for at, (catalogue, who, text) in enumerate(found)
    ]
    asked = {one.work for one in ordered if data.draw(st.booleans())}
    expected = {
        one.work
        for at, one in enumerate(ordered)
        if one.work in asked
        and any(
            other.fingerprint == one.fingerprint
            and other.registrant != one.registrant
            and other.work.catalogue != one.work.catalogue
            for other in ordered[:at]
        )
    }
    assert rivals_among(ordered, asked) == expected


def test_an_empty_file_is_no_work(tmp_path: Path) -> None:
    (tmp_path / "cut.mp4").touch()
    with pytest.raises(InputError, match=r"cut\.mp4 is empty"):
        fingerprint_of(tmp_path / "cut.mp4")


def test_a_platform_id_stands_for_one_file(tmp_path: Path) -> None:
    head = "fingerprint,platform_id\n"
    with pytest.raises(InputError, match=r"line 3: platform_id 'x' .* line 2"):
        read_works(sheet(tmp_path, f"{head}{ONE},x\n{TWO},x\n"))
    assert len(read_works(sheet(tmp_path, f"{head}{ONE},x\n{ONE},x\n{TWO},\n{ONE},\n"))) == 4
