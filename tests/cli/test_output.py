"""What commands print: amounts completed, hostile text made harmless, tables that fit a terminal."""

from __future__ import annotations

import errno
import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.cli import app
from royalty.cli.output import (
    WIDTH,
    add_decimal,
    clean,
    columns,
    pairs,
    table,
    warn,
    wrapped,
)
from royalty.money import counted
from royalty.settings import Settings


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


@given(st.lists(st.text(st.characters(exclude_characters="\n"), max_size=30), max_size=20))
def test_lines_are_broken_between_words_to_fit_a_terminal(words: list[str]) -> None:
    text = " ".join(words)
    shown = wrapped(text)
    assert "".join(shown.split()) == "".join(text.split())
    assert all(columns(line) <= WIDTH for line in shown.split("\n"))


def test_a_word_that_is_too_long_stays_whole_and_short_lines_as_they_are() -> None:
    digest = "0x" + "ab" * 45
    assert wrapped(f"{digest} is not registered.") == f"{digest}\n  is not registered."
    table_line = "a     1\n\n  b   2"
    assert wrapped(table_line) == table_line


def test_an_error_is_one_line_whatever_a_file_put_into_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    warn("royalty: share '\x1b[2J\n\u202e%' cannot be read")
    assert capsys.readouterr().err == "royalty: share '�[2J �%' cannot be read\n"


def test_one_thing_is_not_counted_in_the_plural() -> None:
    assert [counted(n, "batch", "batches") for n in (1, 2)] == ["1 batch", "2 batches"]
    assert [counted(n, "work") for n in (0, 1, 1200)] == ["0 works", "1 work", "1,200 works"]


def test_what_the_machine_refuses_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOSPC):
        name = None if number == errno.ENOSPC else "film.mp4"
        raised = OSError(number, os.strerror(number), name)
        monkeypatch.setattr(app, "_run", lambda _, raised=raised: raises(raised))
        assert app.run([]) == 2
        place = "" if name is None else "film.mp4: "
        assert capsys.readouterr().err == f"royalty: {place}{os.strerror(number)}\n"


def test_an_interrupted_command_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "load", lambda **_: raises(KeyboardInterrupt()))
    assert app.run(["account", "list"]) == 130
    assert capsys.readouterr().err == "royalty: interrupted\n"


def raises(error: BaseException) -> int:
    raise error
