"""Identifiers of works, checked: ISAN and EIDR of a film, ISRC of a recording, ISWC of music.

ISAN, ISRC and ISO 7064 come from python-stdnum; EIDR and ISWC, which it has not, from their rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from royalty.errors import InputError

_EIDR = re.compile(r"10\.5240/((?:[0-9A-F]{4}-){5})([0-9A-Z])")
_ISWC = re.compile(r"T-?([0-9]{3})\.?([0-9]{3})\.?([0-9]{3})-?([0-9])")
_PREFIX = re.compile(
    r"(?:https?://(?:dx\.)?doi\.org/|doi:|urn:isan:|isan|eidr|isrc|iswc)[:\s]*", re.I
)


def check_isan(text: str) -> str:
    """Return an ISAN in its written form with its check characters.

    Raises InputError where it is not one. Missing check characters are added.

    >>> check_isan("0000-0001-8947-0000")
    '0000-0001-8947-0000-8'
    """
    from stdnum import isan
    from stdnum.exceptions import ValidationError

    plain = _plain(text).replace("-", "").replace(" ", "").upper()
    if not re.fullmatch(r"[0-9A-F]{16}([0-9A-Z]|[0-9A-F]{8}|[0-9A-Z][0-9A-F]{8}[0-9A-Z])?", plain):
        raise _refused("ISAN", text, "write for example 0000-0001-8947-0000-8-0000-0000-D")
    try:
        return str(isan.format(isan.validate(plain)))
    except ValidationError:
        raise _refused(
            "ISAN", text, "a check character does not fit; look for a mistyped digit"
        ) from None


def check_isrc(text: str) -> str:
    """Return an ISRC in its written form; InputError where it is not one.

    >>> check_isrc("USSKG1912345")
    'US-SKG-19-12345'
    """
    from stdnum import isrc
    from stdnum.exceptions import InvalidComponent, ValidationError

    plain = _plain(text)
    try:
        return str(isrc.format(isrc.validate(plain)))
    except InvalidComponent:
        raise _refused("ISRC", text, f"there is no country code {plain[:2].upper()}") from None
    except ValidationError:
        raise _refused("ISRC", text, "write for example US-SKG-19-12345") from None


def check_eidr(text: str) -> str:
    """Return an EIDR in its written form, `10.5240/...`; InputError where it is not one.

    Its last character is ISO 7064 Mod 37,36 over the 20 hexadecimal digits.
    """
    from stdnum.iso7064 import mod_37_36

    match = _EIDR.fullmatch(_plain(text).upper())
    if match is None:
        raise _refused("EIDR", text, "write for example 10.5240/F85A-E100-B068-5B8F-B1C8-T")
    expected = mod_37_36.calc_check_digit(match.group(1).replace("-", ""))
    if match.group(2) != expected:
        raise _refused(
            "EIDR", text, f"the check character is {match.group(2)}, these digits give {expected}"
        )
    return match.group(0)


def check_iswc(text: str) -> str:
    """Return an ISWC in its written form; InputError where it is not one.

    >>> check_iswc("T0345246801")
    'T-034.524.680-1'
    """
    match = _ISWC.fullmatch(_plain(text).upper())
    if match is None:
        raise _refused("ISWC", text, "write for example T-034.524.680-1")
    digits = "".join(match.groups()[:3])
    weighted = 1 + sum(place * int(digit) for place, digit in enumerate(digits, start=1))
    expected = (10 - weighted % 10) % 10
    if int(match.group(4)) != expected:
        raise _refused(
            "ISWC", text, f"the check digit is {match.group(4)}, these digits give {expected}"
        )
    return "T-{}.{}.{}-{}".format(*match.groups())


SCHEMES: dict[str, Callable[[str], str]] = {
    "isan": check_isan,
    "eidr": check_eidr,
    "isrc": check_isrc,
    "iswc": check_iswc,
}


def check_identifiers(given: Mapping[str, str | None]) -> dict[str, str]:
    """Return the identifiers given, by scheme, in their written forms; empty ones are left out.

    Raises InputError for the first that is not valid.
    """
    return {
        scheme: check(text)
        for scheme, check in SCHEMES.items()
        if (text := (given.get(scheme) or "").strip())
    }


def _plain(text: str) -> str:
    return _PREFIX.sub("", text.strip(), count=1) if _PREFIX.match(text.strip()) else text.strip()


def _refused(scheme: str, text: str, reason: str) -> InputError:
    return InputError(f"'{text[:60]}' is not an {scheme}: {reason}")
