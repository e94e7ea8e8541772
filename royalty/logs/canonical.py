"""Canonical forms: settings of equal meaning become equal bytes, and so have equal digests."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

from royalty.errors import InputError


def load_toml(path: Path, what: str) -> dict[str, Any]:
    """Return a TOML file's table, its decimals exact; InputError where it cannot be read."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ArithmeticError, RecursionError) as error:
        raise InputError(f"{what} {path} is not TOML: {error}") from None
    return table


def refuse_unknown(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Raise InputError for the first key that nobody reads: it is most likely misspelt."""
    allowed = sorted(known)
    for key in table:
        if key not in allowed:
            raise InputError(f"{where}: unknown setting '{key[:40]}'; known: {', '.join(allowed)}")


def decimal_text(number: Decimal) -> str:
    """Return a decimal's shortest plain form: no exponent, no zeros at the end of the fraction.

    >>> decimal_text(Decimal("30.0"))
    '30'
    """
    text = format(number if number else Decimal(0), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def canonical_json(document: Any) -> str:
    """Return JSON with sorted keys, no spaces and characters as they are."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(document: Any) -> str:
    """Return `0x` and the SHA-256 of a document's canonical JSON."""
    return "0x" + sha256(canonical_json(document).encode()).hexdigest()
