"""Identifiers: what is a valid one, how it is written, and that a wrong character is noticed."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from royalty.errors import InputError
from royalty.identifiers import (
    check_eidr,
    check_identifiers,
    check_isan,
    check_isrc,
    check_iswc,
)


@pytest.mark.parametrize(
    ("check", "text", "written"),
    [
        (check_eidr, "10.5240/F85A-E100-B068-5B8F-B1C8-T", "10.5240/F85A-E100-B068-5B8F-B1C8-T"),
        (check_eidr, "10.5240/f85a-e100-b068-5b8f-b1c8-t", "10.5240/F85A-E100-B068-5B8F-B1C8-T"),
        (
            check_eidr,
            "https://doi.org/10.5240/F85A-E100-B068-5B8F-B1C8-T",
            "10.5240/F85A-E100-B068-5B8F-B1C8-T",
        ),
        (check_isan, "0000-0001-8947-0000", "0000-0001-8947-0000-8"),
        (check_isan, "ISAN 0000-0001-8947-0000-8-0000-0000-D", "0000-0001-8947-0000-8-0000-0000-D"),
        (check_isan, "000000018947000000000000", "0000-0001-8947-0000-8-0000-0000-D"),
        (check_isrc, "USSKG1912345", "US-SKG-19-12345"),
        (check_isrc, "isrc:us-skg-19-12345", "US-SKG-19-12345"),
        (check_iswc, "T-034.524.680-1", "T-034.524.680-1"),
        (check_iswc, "T0345246801", "T-034.524.680-1"),
    ],
)
def test_valid_identifiers_come_back_in_their_written_form(check, text: str, written: str) -> None:
    assert check(text) == written
    assert check(written) == written


@pytest.mark.parametrize(
    ("check", "text", "reason"),
    [
        (check_eidr, "10.5240/F85A-E100-B068-5B8F-B1C8-X", "these digits give T"),
        (check_eidr, "10.5239/F85A-E100-B068-5B8F-B1C8-T", "not an EIDR"),
        (check_eidr, "F85A", "not an EIDR"),
        (check_isan, "0000-0001-8947-0000-9", "check character"),
        (check_isan, "0000-0001-8947-000", "not an ISAN"),
        (check_isan, "0000-0001-8947-0000-8-0000-0000-D-1", "not an ISAN"),
        (check_isrc, "XX-SKG-19-12345", "country code XX"),
        (check_isrc, "US-SKG-19-1234", "not an ISRC"),
        (check_iswc, "T-034.524.680-2", "these digits give 1"),
        (check_iswc, "034.524.680-1", "not an ISWC"),
        (check_iswc, "", "not an ISWC"),
    ],
)
def test_invalid_identifiers_are_refused_with_the_reason(check, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        check(text)


@given(st.text("0123456789ABCDEF", min_size=20, max_size=20), st.integers(0, 19), st.data())
def test_one_wrong_digit_of_an_eidr_is_always_noticed(digits: str, at: int, data) -> None:
    from stdnum.iso7064 import mod_37_36

    def written(text: str) -> str:
        groups = "-".join(text[i : i + 4] for i in range(0, 20, 4))
        return f"10.5240/{groups}-{mod_37_36.calc_check_digit(digits)}"

    assert check_eidr(written(digits)) == written(digits)
    other = data.draw(st.sampled_from("0123456789ABCDEF"))
    assume(other != digits[at])
    with pytest.raises(InputError, match="check character"):
        check_eidr(written(digits[:at] + other + digits[at + 1 :]))


@given(st.text("0123456789", min_size=9, max_size=9))
def test_exactly_one_check_digit_fits_an_iswc(digits: str) -> None:
    def fits(check: int) -> bool:
        try:
            check_iswc(f"T{digits}{check}")
        except InputError:
            return False
        return True

    assert sum(fits(check) for check in range(10)) == 1


@given(st.text(max_size=60))
def test_any_text_is_either_an_identifier_or_refused(text: str) -> None:
    for check in (check_isan, check_eidr, check_isrc, check_iswc):
        try:
            assert check(check(text)) == check(text)
        except InputError as error:
            assert "\n" not in str(error)


def test_check_identifiers_leaves_out_the_empty_ones() -> None:
    given_texts = {"isrc": "USSKG1912345", "eidr": "", "isan": None, "title": "ignored"}
    assert check_identifiers(given_texts) == {"isrc": "US-SKG-19-12345"}
