"""What commands print: amounts completed, hostile text made harmless, tables that fit a terminal."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from royalty.cli.output import add_decimal, clean, columns, pairs, table


def test_every_nano_amount_has_its_decimal_beside_it() -> None:
    document = {
        "funds_nano": 3_000_000,
        "held": [{"amount_nano": -1, "work": "1/0"}],
        "limit_nano": None,
        "evidence": b"\1\2",
    }
    assert add_decimal(document) == {
        "funds_nano": "3000000",
        "funds": "0.003",
        "held": [{"amount_nano": "-1", "amount": "-0.000000001", "work": "1/0"}],
        "limit_nano": None,
        "evidence": "0x0102",
    }
    assert add_decimal(add_decimal(document)) == add_decimal(document)


@given(st.text(max_size=60), st.integers(6, 50))
def test_no_text_moves_a_cursor_or_grows_beyond_its_column(text: str, width: int) -> None:
    shown = clean(text, width)
    assert columns(shown) <= width
    assert not any(unicodedata.category(letter)[0] == "C" for letter in shown)
    assert "\n" not in shown


def test_direction_marks_and_escapes_are_shown_as_what_they_are_not() -> None:
    assert clean("a\u202eb\x1b[31mc\u200bd") == "a�b�[31mc�d"
    assert clean("x" * 50, 10) == "x" * 9 + "…"


@given(
    st.lists(
        st.tuples(st.text(max_size=100), st.integers(0, 10**24), st.text(max_size=60)), max_size=8
    )
)
def test_tables_fit_and_never_cut_numbers(rows: list[tuple[str, int, str]]) -> None:
    shown = table(("title", "amount", "note"), rows, right=[1])
    assert all(columns(line) <= 80 for line in shown.splitlines())
    for _, amount, _ in rows:
        assert str(amount) in shown


def test_pairs_stand_in_two_columns() -> None:
    assert pairs({"rpc": "http://x", "chain": 1}) == "rpc    http://x\nchain  1"
    assert pairs({}) == ""
