"""The columns file: which columns of a log hold the native fields, in what unit and zone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

from royalty.errors import InputError
from royalty.logs.canonical import decimal_text, digest, load_toml, refuse_unknown
from royalty.usage import KINDS

FIELDS = (
    "usage_id",
    "work",
    "kind",
    "started_at",
    "watched_seconds",
    "duration_seconds",
    "viewer",
    "session",
)
STEP_FIELDS = ("sections", "status", "user_agent", "uploader", "autoplay", "territory")
"""Fields that are read only where a step of the policy needs them."""
REQUIRED = ("usage_id", "work", "started_at")
UNITS = {"s": 6, "ms": 3, "us": 0}
RESENDS = ("first", "last")

_SETTINGS = ("column", "value", "unit", "zone")
_WITH_UNIT = ("started_at", "watched_seconds", "duration_seconds")


@dataclass(frozen=True, slots=True)
class Column:
    """Where one field comes from: a column's name, or a value that every row has.

    `unit` is `s`, `ms` or `us`; for `started_at` it says that the column holds an epoch. `zone` is an
    IANA name such as `Europe/Berlin` and says that `started_at` holds naive times of that zone.
    """

    column: str | None = None
    value: str | None = None
    unit: str | None = None
    zone: str | None = None

    def document(self) -> dict[str, str]:
        """Return what is set, for the canonical form."""
        return {key: text for key in _SETTINGS if (text := getattr(self, key)) is not None}


@dataclass(frozen=True, slots=True)
class Columns:
    """The fields that a log has, and which row counts where players resend a growing time.

    A field that is not in `fields` is not in the log. Without `usage_id` the log has no ids. `format`
    names the reader of another program's log (`royalty.logs.formats`), None for a table of columns;
    `made_ids` says that its ids are made of other fields, so that another reading makes others.
    """

    fields: Mapping[str, Column] = field(default_factory=dict)
    resend: str = "first"
    native: bool = False
    format: str | None = None
    made_ids: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", MappingProxyType(dict(self.fields)))

    @classmethod
    def load(cls, path: str | Path | None) -> Columns:
        """Return the columns of a TOML file, or the native ones for None.

        Raises InputError for a file that cannot be read, an unknown field or setting, or a log that
        would have no `work` or `started_at`.
        """
        return NATIVE if path is None else cls.of(load_toml(Path(path), "columns"), str(path))

    @classmethod
    def of(cls, table: Mapping[str, Any], where: str = "columns") -> Columns:
        """Return the columns of a parsed TOML table; InputError where it is not one."""
        refuse_unknown(table, (*FIELDS, *STEP_FIELDS, "resend"), where)
        for name in ("work", "started_at"):
            if name not in table:
                raise InputError(f"{where}: {name} is missing; say which column holds it")
        resend = table.get("resend", "first")
        if resend not in RESENDS:
            raise InputError(f"{where}: resend is 'first' or 'last'")
        fields = {
            name: _column(name, table[name], where)
            for name in (*FIELDS, *STEP_FIELDS)
            if name in table
        }
        return cls(fields, resend)

    @property
    def has_ids(self) -> bool:
        """Whether rows carry an id; otherwise viewer, work, kind and instant are the id."""
        return "usage_id" in self.fields

    @property
    def own_ids(self) -> bool:
        """Whether the log itself has ids, which another reading of it finds again."""
        return has_own_ids(self.document())

    def required_names(self) -> list[str]:
        """Return the names of the columns that a file with a header must have."""
        return [
            column.column
            for name, column in self.fields.items()
            if column.column is not None
            and name not in STEP_FIELDS
            and (name in REQUIRED or not self.native)
        ]

    def for_steps(self, needs: Mapping[str, str]) -> Columns:
        """Return the columns with the fields that the steps of a policy need, and no others of theirs.

        Raises InputError where the columns file does not say which column holds one.
        """
        kept = {
            name: column
            for name, column in self.fields.items()
            if name not in STEP_FIELDS or name in needs
        }
        for name, step in needs.items():
            if name not in kept and not self.native:
                whose = (
                    "the columns file names" if self.format is None else f"{self.format} logs have"
                )
                raise InputError(f"{whose} no '{name}', which {step} of the policy needs")
            kept.setdefault(name, Column(name))
        return replace(self, fields=kept)

    def document(self) -> dict[str, Any]:
        """Return the canonical form: each field's column or value, unit and zone, `resend`, `format`.

        The same log under another format is another reading, so the format is in the digest.
        """
        fields: dict[str, Any] = {name: column.document() for name, column in self.fields.items()}
        form: dict[str, Any] = {} if self.format is None else {"format": self.format}
        made = {"made_ids": True} if self.made_ids else {}
        return {**fields, "resend": self.resend, **form, **made}

    @property
    def digest(self) -> str:
        """`0x` and the SHA-256 of the canonical form: same meaning, same digest."""
        return digest(self.document())


def has_own_ids(document: Mapping[str, Any]) -> bool:
    """Return whether a log that was read by the columns of a canonical form has ids of its own."""
    return "usage_id" in document and not document.get("made_ids")


NATIVE = Columns({name: Column(name) for name in FIELDS}, native=True)


def _column(name: str, value: Any, where: str) -> Column:
    place = f"{where}: {name}"
    if isinstance(value, str):
        value = {"column": value}
    if not isinstance(value, dict):
        raise InputError(f'{place} is a column\'s name, {{column = "..."}} or {{value = "..."}}')
    refuse_unknown(value, _SETTINGS, place)
    if ("column" in value) == ("value" in value):
        raise InputError(f"{place} has either a column or a value")
    column = Column(
        column=_name(value, place),
        value=_value(value, place),
        unit=_unit(name, value, place),
        zone=_zone(name, value, place),
    )
    _check(name, column, place)
    return column


def _name(table: Mapping[str, Any], place: str) -> str | None:
    name = table.get("column")
    if "column" in table and (not isinstance(name, str) or not name):
        raise InputError(f"{place}: column is the name of a column")
    return name


def _value(table: Mapping[str, Any], place: str) -> str | None:
    if "value" not in table:
        return None
    value = table["value"]
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) < 40:
        return decimal_text(value)
    if isinstance(value, bool) or not isinstance(value, str | int) or "\0" in str(value):
        raise InputError(f"{place}: value is a text or a number")
    return str(value)


def _unit(name: str, table: Mapping[str, Any], place: str) -> str | None:
    unit = table.get("unit")
    if unit is None:
        return None
    if name not in _WITH_UNIT:
        raise InputError(f"{place} has no unit")
    if unit not in UNITS:
        raise InputError(f'{place}: unit is "s", "ms" or "us"')
    return None if unit == "s" and name != "started_at" else str(unit)  # seconds are the default


def _zone(name: str, table: Mapping[str, Any], place: str) -> str | None:
    zone = table.get("zone")
    if zone is None:
        return None
    if name != "started_at":
        raise InputError(f"{place} has no zone")
    if table.get("unit") is not None:
        if zone != "UTC":
            raise InputError(f"{place}: an epoch counts from 1970 UTC; leave the zone out")
        return None
    from royalty.logs.zones import load_zone

    load_zone(zone)
    return str(zone)


def _check(name: str, column: Column, place: str) -> None:
    if name == "usage_id" and column.value is not None:
        raise InputError(f"{place}: one id for every row is none; leave usage_id out")
    if name == "kind" and column.value is not None and column.value not in KINDS:
        raise InputError(f"{place}: '{column.value[:40]}' is not view, download or excerpt")
