"""The qualification policy: the numbers of the rules that decide which rows are qualified usage."""

from __future__ import annotations

import re
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
MAX_SPIKE_DAYS = 366
FOLDER = Path(__file__).parent / "policies"
SHIPPED = ("default", "counter", "peertube")
"""The policies that come with the package, by name; a file of such a name is written `./counter`."""

_SECTIONS = {
    "view": ("minimum_seconds", "short_fraction"),
    "double_click": ("seconds",),
    "cap": ("per_viewer_work_day",),
    "watched": ("sections", "at_most_duration"),
    "status": ("accepted",),
    "robots": ("version", "sha256"),
    "own_plays": ("exclude",),
    "autoplay": ("exclude",),
    "territory": ("only",),
    "repeat": ("seconds",),
    "spike": ("multiple", "above", "days"),
}

REASONS = (
    "malformed",
    "duplicate",
    "outside_period",
    "unmatched_work",
    "below_threshold",
    "double_click",
    "over_cap",
)
"""The reasons that every policy has, in the order of the rules."""

ALL_REASONS = (
    "malformed",
    "duplicate",
    "outside_period",
    "unmatched_work",
    "status_code",
    "robot",
    "self_view",
    "autoplay",
    "territory",
    "below_threshold",
    "double_click",
    "repeat_in_window",
    "over_cap",
)
"""Those, and what steps exclude for, in their order."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers of design section 4, and further steps, each off by default (docs/policy.md).

    Seconds and the fraction are exact decimals. `sections` and `at_most_duration` change the watched
    time; the others exclude: `statuses` that are accepted, the list of robots by its version and SHA-256,
    `own_plays`, `autoplay`, the `territories` that count, `repeat_seconds` of a session's window.
    What lies above `spike_multiple` times the median of `spike_days`, and `spike_above`, is held.
    Raises InputError for a number that is negative, not finite, too large, or of more than 18 places.
    """

    name: str = "default"
    version: str = "1"
    minimum_seconds: Decimal = Decimal(30)
    short_fraction: Decimal = Decimal("0.5")
    double_click_seconds: Decimal = Decimal(30)
    per_viewer_work_day: int = 20
    sections: bool = False
    at_most_duration: bool = False
    statuses: tuple[int, ...] = ()
    robots_version: str = ""
    robots_sha256: str = ""
    own_plays: bool = False
    autoplay: bool = False
    territories: tuple[str, ...] = ()
    repeat_seconds: Decimal | None = None
    spike_multiple: Decimal | None = None
    spike_above: int = 100
    spike_days: int = 28

    def __post_init__(self) -> None:
        for what, text in (("name", self.name), ("version", self.version)):
            if not 1 <= len(text) <= MAX_TEXT:
                raise InputError(f"policy: {what} has 1 to {MAX_TEXT} characters")
        _check_number("[view] minimum_seconds", self.minimum_seconds, MAX_SETTING)
        _check_number("[view] short_fraction", self.short_fraction, MAX_FRACTION)
        _check_number("[double_click] seconds", self.double_click_seconds, MAX_SETTING)
        _check_number("[cap] per_viewer_work_day", Decimal(self.per_viewer_work_day), MAX_SETTING)
        if self.repeat_seconds is not None:
            _check_number("[repeat] seconds", self.repeat_seconds, MAX_SETTING)
        if self.spike_multiple is not None:
            _check_number("[spike] multiple", self.spike_multiple, MAX_SETTING)
            _check_number("[spike] above", Decimal(self.spike_above), MAX_SETTING)
        if not 1 <= self.spike_days <= MAX_SPIKE_DAYS:
            raise InputError(f"policy: [spike] days is 1 to {MAX_SPIKE_DAYS}")
        _check_lists(self)

    @classmethod
    def load(cls, path: str | Path | None) -> Policy:
        """Return the policy of a TOML file, a shipped one by its name, or the default one for None.

        Raises InputError for a file that cannot be read, an unknown setting or a number out of range.
        """
        if path is None:
            return cls()
        if path in SHIPPED:
            return cls.of(load_toml(FOLDER / f"{path}.toml", "policy"), str(path))
        return cls.of(load_toml(Path(path), "policy"), str(path))

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
            sections=_flag(sections["watched"], "sections", where),
            at_most_duration=_flag(sections["watched"], "at_most_duration", where),
            statuses=_statuses(sections["status"], where),
            robots_version=_text(sections["robots"], "version", "", where),
            robots_sha256=_text(sections["robots"], "sha256", "", where),
            own_plays=_flag(sections["own_plays"], "exclude", where),
            autoplay=_flag(sections["autoplay"], "exclude", where),
            territories=_territories(sections["territory"], where),
            repeat_seconds=_decimal(sections["repeat"], "seconds", Decimal(0), where)
            if "seconds" in sections["repeat"]
            else None,
            spike_multiple=_multiple(sections["spike"], where),
            spike_above=_whole(sections["spike"], "above", default.spike_above, where),
            spike_days=_whole(sections["spike"], "days", default.spike_days, where),
        )

    def document(self) -> dict[str, Any]:
        """Return the canonical form: every setting, decimals as their shortest text.

        A step that is off does not stand in it, so that a new step changes no digest.
        """
        return {
            "name": self.name,
            "version": self.version,
            "view": {
                "minimum_seconds": decimal_text(self.minimum_seconds),
                "short_fraction": decimal_text(self.short_fraction),
            },
            "double_click": {"seconds": decimal_text(self.double_click_seconds)},
            "cap": {"per_viewer_work_day": self.per_viewer_work_day},
            **self._steps(),
        }

    def _steps(self) -> dict[str, Any]:
        """Return the steps that are on, as they stand in the canonical form."""
        watched = {name: True for name in ("sections", "at_most_duration") if getattr(self, name)}
        repeat = self.repeat_seconds
        found: dict[str, Any] = {
            "watched": watched,
            "status": {"accepted": list(self.statuses)} if self.statuses else {},
            "robots": self._robots(),
            "own_plays": {"exclude": True} if self.own_plays else {},
            "autoplay": {"exclude": True} if self.autoplay else {},
            "territory": {"only": list(self.territories)} if self.territories else {},
            "repeat": {} if repeat is None else {"seconds": decimal_text(repeat)},
            "spike": self._spike(),
        }
        return {name: settings for name, settings in found.items() if settings}

    def _spike(self) -> dict[str, Any]:
        if self.spike_multiple is None:
            return {}
        return {
            "multiple": decimal_text(self.spike_multiple),
            "above": self.spike_above,
            "days": self.spike_days,
        }

    def _robots(self) -> dict[str, str]:
        if not self.robots_sha256:
            return {}
        return {"version": self.robots_version, "sha256": self.robots_sha256}

    @property
    def reasons(self) -> tuple[str, ...]:
        """The seven reasons and those of the steps that are on, in the order of the rules."""
        on = {
            "status_code": self.statuses,
            "robot": self.robots_sha256,
            "self_view": self.own_plays,
            "autoplay": self.autoplay,
            "territory": self.territories,
            "repeat_in_window": self.repeat_seconds is not None,
        }
        return tuple(reason for reason in ALL_REASONS if on.get(reason, True))

    @property
    def needs(self) -> dict[str, str]:
        """Which fields of a log the steps need that are on, each with the setting that asks for it."""
        on = (
            ("sections", "[watched] sections", self.sections),
            ("duration_seconds", "[watched] at_most_duration", self.at_most_duration),
            ("status", "[status]", self.statuses),
            ("user_agent", "[robots]", self.robots_sha256),
            ("viewer", "[own_plays]", self.own_plays),
            ("uploader", "[own_plays]", self.own_plays),
            ("autoplay", "[autoplay]", self.autoplay),
            ("territory", "[territory]", self.territories),
            ("session", "[repeat]", self.repeat_seconds is not None),
        )
        return {name: step for name, step, wanted in on if wanted}

    @property
    def step_columns(self) -> tuple[str, ...]:
        """The columns of rows that the steps look at (`royalty.logs.steps`), in their order there."""
        on = (
            ("union_us", self.sections),
            ("status", self.statuses),
            ("own", self.own_plays),
            ("autoplay", self.autoplay),
            ("territory", self.territories),
            ("robot", self.robots_sha256),
            ("session", self.repeat_seconds is not None),
        )
        return tuple(name for name, wanted in on if wanted)

    @property
    def robots_code(self) -> int:
        """What a row that was looked up in the list of robots is marked with (62 bits)."""
        return code_of(self._robots())

    @property
    def territory_code(self) -> int:
        """What a row whose territory was looked at is marked with (62 bits)."""
        return code_of(list(self.territories))

    @property
    def repeat_micro(self) -> int:
        """The most whole microseconds that are at most `repeat.seconds`."""
        return int(Fraction(self.repeat_seconds or 0) * 10**6 // 1)

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


def code_of(settings: Any) -> int:
    """Return 62 bits of the digest of a step's settings: rows judged by others are told by it."""
    return int(digest(settings)[2:18], 16) >> 2


def _check_lists(policy: Policy) -> None:
    """Raise InputError for codes that no log has, or a list of robots that is named by half."""
    if any(not 100 <= code <= 999 for code in policy.statuses):
        raise InputError(
            "policy: [status] accepted has a number that is no status; write 100 to 999"
        )
    if any(not re.fullmatch("[A-Z]{2}", code) for code in policy.territories):
        raise InputError(
            "policy: [territory] only has what is no country; write codes of two capital letters"
            " (ISO 3166-1), such as DE"
        )
    if not policy.robots_sha256 and not policy.robots_version:
        return
    if not policy.robots_version or not re.fullmatch("0x[0-9a-f]{64}", policy.robots_sha256):
        raise InputError(
            "policy: [robots] names a list by its version and its sha256 (0x and 64 digits in small"
            " letters); docs/policy.md says where they come from"
        )


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


def _flag(section: Mapping[str, Any], key: str, where: str) -> bool:
    value = section.get(key, False)
    if not isinstance(value, bool):
        raise InputError(f"{where}: {key} is true or false")
    return value


def _multiple(section: Mapping[str, Any], where: str) -> Decimal | None:
    if section and "multiple" not in section:
        raise InputError(
            f"{where}: [spike] needs a multiple; leave the section out to switch it off"
        )
    return _decimal(section, "multiple", Decimal(0), where) if section else None


def _listed(section: Mapping[str, Any], key: str, kind: type, where: str) -> list[Any]:
    """Return a list of a section, sorted, each once; empty where the section is not there."""
    if key not in section:
        return []
    values = section[key]
    right = isinstance(values, list) and all(type(value) is kind for value in values)
    if not right or not values:
        raise InputError(
            f"{where}: {key} is a list of {'numbers' if kind is int else 'texts'} with at least one;"
            " leave the section out to switch the step off"
        )
    return sorted(set(values))


def _statuses(section: Mapping[str, Any], where: str) -> tuple[int, ...]:
    return tuple(_listed(section, "accepted", int, where))


def _territories(section: Mapping[str, Any], where: str) -> tuple[str, ...]:
    return tuple(_listed(section, "only", str, where))
