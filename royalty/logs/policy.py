"""The qualification policy: the numbers of the rules that decide which rows are qualified usage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from royalty.errors import InputError
from royalty.logs.canonical import decimal_text, digest, load_toml, refuse_unknown

MAX_SETTING = Decimal(10**9)
MAX_FRACTION = Decimal(1000)
MAX_PLACES = 18
MAX_TEXT = 100

_SECTIONS = {
    "view": ("minimum_seconds", "short_fraction"),
    "double_click": ("seconds",),
    "cap": ("per_viewer_work_day",),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers of design section 4; seconds and the fraction are exact decimals.

    Raises InputError for a number that is negative, not finite, too large, or of more than 18 places.
    """

    name: str = "default"
    version: str = "1"
    minimum_seconds: Decimal = Decimal(30)
    short_fraction: Decimal = Decimal("0.5")
    double_click_seconds: Decimal = Decimal(30)
    per_viewer_work_day: int = 20

    def __post_init__(self) -> None:
        for what, text in (("name", self.name), ("version", self.version)):
            if not 1 <= len(text) <= MAX_TEXT:
                raise InputError(f"policy: {what} has 1 to {MAX_TEXT} characters")
        _check_number("[view] minimum_seconds", self.minimum_seconds, MAX_SETTING)
        _check_number("[view] short_fraction", self.short_fraction, MAX_FRACTION)
        _check_number("[double_click] seconds", self.double_click_seconds, MAX_SETTING)
        _check_number("[cap] per_viewer_work_day", Decimal(self.per_viewer_work_day), MAX_SETTING)

    @classmethod
    def load(cls, path: str | Path | None) -> Policy:
        """Return the policy of a TOML file, or the default one for None.

        Raises InputError for a file that cannot be read, an unknown setting or a number out of range.
        """
        return cls() if path is None else cls.of(load_toml(Path(path), "policy"), str(path))

    @classmethod
    def of(cls, table: Mapping[str, Any], where: str = "policy") -> Policy:
        """Return the policy of a parsed TOML table; InputError where it is not one."""
        refuse_unknown(table, ("name", "version", *_SECTIONS), where)
        sections = {name: _section(table, name, where) for name in _SECTIONS}
        default = cls()
        return cls(
            name=_text(table, "name", default.name, where),
            version=_text(table, "version", default.version, where),
            minimum_seconds=_decimal(
                sections["view"], "minimum_seconds", default.minimum_seconds, where
            ),
            short_fraction=_decimal(
                sections["view"], "short_fraction", default.short_fraction, where
            ),
            double_click_seconds=_decimal(
                sections["double_click"], "seconds", default.double_click_seconds, where
            ),
            per_viewer_work_day=_whole(
                sections["cap"], "per_viewer_work_day", default.per_viewer_work_day, where
            ),
        )

    def document(self) -> dict[str, Any]:
        """Return the canonical form: every setting, decimals as their shortest text."""
        return {
            "name": self.name,
            "version": self.version,
            "view": {
                "minimum_seconds": decimal_text(self.minimum_seconds),
                "short_fraction": decimal_text(self.short_fraction),
            },
            "double_click": {"seconds": decimal_text(self.double_click_seconds)},
            "cap": {"per_viewer_work_day": self.per_viewer_work_day},
        }

    @property
    def digest(self) -> str:
        """`0x` and the SHA-256 of the canonical form: same meaning, same digest."""
        return digest(self.document())

    @property
    def minimum_micro(self) -> int:
        """The fewest whole microseconds that are at least `minimum_seconds`."""
        return -int(-Fraction(self.minimum_seconds) * 10**6 // 1)

    @property
    def fraction(self) -> Fraction:
        """`short_fraction` as an exact fraction in lowest terms."""
        return Fraction(self.short_fraction)

    @property
    def double_click_micro(self) -> int:
        """The most whole microseconds that are at most `double_click.seconds`."""
        return int(Fraction(self.double_click_seconds) * 10**6 // 1)


def _check_number(what: str, number: Decimal, most: Decimal) -> None:
    if not number.is_finite() or number < 0:
        raise InputError(f"policy: {what} is {number}; give a number of 0 or more")
    if number > most:
        raise InputError(f"policy: {what} is {number}; at most {most} is allowed")
    exponent = number.normalize().as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MAX_PLACES:
        raise InputError(f"policy: {what} has more than {MAX_PLACES} places after the point")


def _section(table: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    section = table.get(name, {})
    if not isinstance(section, dict):
        raise InputError(f"{where}: '{name}' is a table; write [{name}]")
    refuse_unknown(section, _SECTIONS[name], f"{where} [{name}]")
    return section


def _text(table: Mapping[str, Any], key: str, default: str, where: str) -> str:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise InputError(f"{where}: {key} is a text")
    return decimal_text(value) if isinstance(value, Decimal) else str(value)


def _decimal(section: Mapping[str, Any], key: str, default: Decimal, where: str) -> Decimal:
    value = section.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise InputError(f"{where}: {key} is a number without quotes")
    return Decimal(value)


def _whole(section: Mapping[str, Any], key: str, default: int, where: str) -> int:
    number = _decimal(section, key, Decimal(default), where)
    _check_number(key, number, MAX_SETTING)
    if number != int(number):
        raise InputError(f"{where}: {key} is {number}; give a whole number")
    return int(number)
