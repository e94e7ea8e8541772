"""Platforms without a chain: licences.csv and limits."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.errors import InputError
from royalty.platforms import (
    MAX_LIMIT_MICRO,
    Licence,
    parse_limit,
    read_licences,
    write_licences,
)
from royalty.usage import Kind, Tariff

prices = st.integers(0, 2**40 - 1)
tariffs = st.builds(Tariff, prices, prices, prices)
licences = st.builds(Licence, tariffs, st.booleans())

HEAD = "catalogue,max_view,max_download,max_excerpt,despite_rival\n"


@given(known=st.dictionaries(st.integers(1, 2**32 - 1), licences, max_size=5))
def test_licences_come_back_from_their_file(
    tmp_path_factory: pytest.TempPathFactory, known: dict[int, Licence]
) -> None:
    path = tmp_path_factory.mktemp("licences") / "licences.csv"
    write_licences(path, known)
    assert read_licences(path) == known


@given(licences, tariffs)
def test_licence_covers_what_is_nowhere_dearer(licence: Licence, tariff: Tariff) -> None:
    dearer = [kind for kind in Kind if tariff.price(kind) > licence.maximum.price(kind)]
    assert licence.covers(tariff) == (not dearer)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("catalogue,max_view\n1,2\n", "no column max_download"),
        (HEAD + "x,1,1,1,no\n", "line 2: 'x' is not a catalogue's number"),
        (HEAD + "0,1,1,1,no\n", "line 2: '0' is not a catalogue's number"),
        (HEAD + "4294967296,1,1,1,no\n", "not a catalogue's number"),
        (HEAD + "1,1,,1,no\n", "line 2: max_download is missing"),
        (HEAD + "1,1,-1,1,no\n", "line 2: max_download '-1' is not a decimal"),
        (HEAD + "1,1,1,9999,no\n", "line 2: max_excerpt 9999 is above the highest"),
        (HEAD + "1,1,1,1,maybe\n", "line 2: despite_rival is yes or no"),
        (HEAD + "1,1,1,1,no\n1,2,2,2,no\n", "line 3: catalogue 1 stands there twice"),
    ],
)
def test_licences_that_cannot_be_read_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "licences.csv").write_text(text)
    with pytest.raises(InputError, match=reason):
        read_licences(tmp_path / "licences.csv")


def test_limit_is_in_whole_micro_tokens() -> None:
    assert parse_limit("5") == 5_000_000
    assert parse_limit("0") == 0
    assert parse_limit("0.000001") == 1
    assert parse_limit("72057594037.927935") == MAX_LIMIT_MICRO
    with pytest.raises(InputError, match="finer than a micro-token"):
        parse_limit("0.0000001")
    with pytest.raises(InputError, match="above the highest"):
        parse_limit("72057594037.927936")
    with pytest.raises(InputError, match="limit 'many' is not a decimal"):
        parse_limit("many")
