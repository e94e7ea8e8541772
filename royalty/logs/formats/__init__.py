"""Logs of other programs, one small file a format: each gives native rows, which the same rules judge."""

from __future__ import annotations

from dataclasses import replace

from royalty.errors import InputError
from royalty.logs.formats.base import HEAD, Format, Gather
from royalty.logs.formats.cloudfront import CLOUDFRONT
from royalty.logs.formats.counter import COUNTER
from royalty.logs.formats.dsr import DSR
from royalty.logs.formats.jellyfin import JELLYFIN
from royalty.logs.formats.mux import MUX
from royalty.logs.formats.peertube import PEERTUBE
from royalty.logs.formats.snowplow import SNOWPLOW
from royalty.logs.formats.youtube import YOUTUBE

__all__ = ["FORMATS", "HEAD", "Format", "Gather", "detect", "named"]

FORMATS = {
    form.name: form
    for form in (PEERTUBE, CLOUDFRONT, SNOWPLOW, MUX, JELLYFIN, DSR, YOUTUBE, COUNTER)
}


def named(spec: str) -> tuple[Format, str | None]:
    """Return the format of a name and what stands after its colon, as in `cloudfront:3`.

    The format's columns carry all of it, so that another setting is another reading. Raises
    InputError for a name that no format has, or a setting that it does not take.
    """
    name, colon, option = spec.partition(":")
    form = FORMATS.get(name)
    if form is None:
        raise InputError(
            f"--format '{spec[:40]}' is not known; known: native, {', '.join(sorted(FORMATS))}"
        )
    if colon and not form.option:
        raise InputError(f"--format {name} takes nothing after a colon")
    if colon:
        columns = form.columns if form.columns_with is None else form.columns_with(option)
        form = replace(form, columns=replace(columns, format=spec))
    return form, option if colon else None


def detect(head: bytes) -> str | None:
    """Return the name of the format that a file's first bytes are of, None where they are of none."""
    found = [name for name, form in FORMATS.items() if form.looks(head)]
    if len(found) > 1:
        raise InputError(f"the file may be {' or '.join(found)}; say which with --format")
    return found[0] if found else None
