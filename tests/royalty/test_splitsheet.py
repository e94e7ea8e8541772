"""Split sheets: what is read, and what is refused with which line and reason."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.errors import InputError
from royalty.shares import WHOLE_PPM
from royalty.splitsheet import format_share, nearest_whole, parse_share, read_split

DIRECTOR = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
COMPOSER = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
PRODUCER = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"
NAMES = {"director": DIRECTOR, "composer": COMPOSER, "producer": PRODUCER}


def resolve(text: str) -> str:
    """An account's name, or an address taken as it stands."""
    if text.startswith("0x") and len(text) == 42:
        return text
    if text not in NAMES:
        raise InputError(f"'{text}' is neither an address nor an account's name")
    return NAMES[text]


def sheet(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "split.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_percent_and_ppm_and_names_are_read_in_any_order(tmp_path: Path) -> None:
    path = sheet(
        tmp_path,
        "Share, role ,address,holder\n"
        f"40%,director,{DIRECTOR},Ann\n"
        "350000,composer,composer,Bo\n"
        "\n"
        '25.0000 %,producer,producer,"Cy, Ltd"\n',
    )
    found = read_split(path, resolve)
    assert [(p.name, p.address, p.role, p.ppm, p.line) for p in found.parties] == [
        ("Ann", DIRECTOR, "director", 400_000, 2),
        ("Bo", COMPOSER, "composer", 350_000, 3),
        ("Cy, Ltd", PRODUCER, "producer", 250_000, 5),
    ]
    assert [share.holder for share in found.split] == sorted(NAMES.values(), key=str.lower)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separator_is_read_from_the_header(tmp_path: Path, separator: str) -> None:
    text = f"\ufeffholder,address,role,share\r\nAnn,{DIRECTOR},director,100%\r\n"
    found = read_split(sheet(tmp_path, text.replace(",", separator)), resolve)
    assert [party.ppm for party in found.parties] == [WHOLE_PPM]


HEAD = "holder,address,role,share\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("holder,address,role\nAnn,director,x\n", "line 1: no column share"),
        ("holder,address,role,share,role\n", "line 1: column role stands there twice"),
        (HEAD, "names no holder"),
        (HEAD + "Ann,director,x,\n", "line 2: share is missing"),
        (HEAD + "Ann,director\n", "line 2: share is missing"),
        (HEAD + ",director,x,100%\n", "line 2: holder is missing"),
        (HEAD + "Ann,,x,100%\n", "line 2: address is missing"),
        (HEAD + "Ann,nobody,x,100%\n", "line 2: 'nobody' is neither"),
        (HEAD + "Ann,director,x,100%,5\n", "line 2: 5 cells under 4 columns"),
        (HEAD + "Ann,director,x,many\n", "line 2: share 'many' cannot be read"),
        (HEAD + "Ann,director,x,0.4\n", "line 2: share '0.4' cannot be read; write percent"),
        (HEAD + "Ann,director,x,-5%\n", "line 2: share '-5%' cannot be read"),
        (HEAD + "Ann,director,x,0%\n", "line 2: a share of zero"),
        (HEAD + "Ann,director,x,0\n", "line 2: a share of zero"),
        (HEAD + "Ann,director,x,101%\n", "line 2: a share of 101% is more than 100%"),
        (HEAD + "Ann,director,x,33.33333%\n", "line 2: share 33.33333% is finer than a ppm"),
        (HEAD + "Ann,director,x,60%\nBo,composer,x,30%\n", "line 3: .* 90%, not 100%"),
        (HEAD + "Ann,director,x,50%\nBo,director,x,50%\n", r"line 3: .* twice \(Ann in line 2\)"),
        (HEAD + "Ann,director,x,60\nBo,composer,x,40\n", "60% instead of 60"),
        (HEAD + f"{'A' * 201},director,x,100%\n", "line 2: holder is longer"),
        (HEAD + 'Ann,"director,x,100%\n', "cannot be read as CSV"),
        (HEAD + f"Ann,{PRODUCER},x,100%\n", "line 2: .* cannot be a holder: it is the ledger"),
    ],
)
def test_refusals_name_the_line_and_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as refusal:
        read_split(sheet(tmp_path, text), resolve, refused={PRODUCER.lower(): "it is the ledger"})
    assert "split.csv" in str(refusal.value)


def test_sum_that_is_not_whole_suggests_the_nearest_that_is(tmp_path: Path) -> None:
    text = HEAD + "Ann,director,x,33.33%\nBo,composer,x,33.33%\nCy,producer,x,33.33%\n"
    with pytest.raises(InputError) as refusal:
        read_split(sheet(tmp_path, text), resolve)
    assert str(refusal.value).endswith(
        "the shares sum to 99.99%, not 100%; the nearest that do:"
        " line 2 33.3334%, line 3 33.3333%, line 4 33.3333%"
    )


def test_more_holders_than_the_ledger_takes_are_refused(tmp_path: Path) -> None:
    rows = "".join(f"H{n},0x{n:040x},x,1\n" for n in range(1, 258))
    with pytest.raises(
        InputError, match="line 258: a split has at most 256 holders, this file 257"
    ):
        read_split(sheet(tmp_path, HEAD + rows), resolve)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\xff\xfe\x00h", "not UTF-8"), (b"holder\0address", "binary")],
)
def test_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "split.csv").write_bytes(content)
    with pytest.raises(InputError, match=reason):
        read_split(tmp_path / "split.csv", resolve)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_split(path, resolve)


@given(st.integers(1, WHOLE_PPM))
def test_every_share_comes_back_from_both_its_forms(ppm: int) -> None:
    assert parse_share(format_share(ppm)) == ppm
    assert parse_share(str(ppm)) == ppm


@given(st.text(max_size=20))
def test_any_text_is_a_share_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        assert 1 <= parse_share(text) <= WHOLE_PPM


@given(st.lists(st.integers(1, 2 * WHOLE_PPM), min_size=1, max_size=256))
def test_nearest_is_whole_has_no_zero_and_keeps_proportions(shares: list[int]) -> None:
    nearest = nearest_whole(shares)
    assert sum(nearest) == WHOLE_PPM
    assert min(nearest) >= 1
    total = sum(shares)
    for before, after in zip(shares, nearest, strict=True):
        assert abs(before * WHOLE_PPM / total - after) <= 257


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=50))
def test_nearest_of_what_is_whole_is_itself(weights: list[int]) -> None:
    whole = nearest_whole(weights)
    assert nearest_whole(whole) == whole


def test_a_decimal_comma_is_refused_with_the_point_it_wants() -> None:
    with pytest.raises(InputError, match=r"write for example 33\.3333%"):
        parse_share("33,3333%")


def test_a_file_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("royalty.sheets.MAX_BYTES", 1 << 20)
    with pytest.raises(InputError, match="larger than 1 MiB"):
        read_split(Path("/dev/zero"), resolve)
