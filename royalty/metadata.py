"""Metadata of deals and works: one canonical JSON, its digest, and where others find it.

Its address stands in an event: carried inline as a `data:` URI (the default on the local chain), or
published by the caller at an https or ipfs address. A copy is kept in the state folder. Nothing is
ever fetched from an address that the chain names.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.errors import InputError
from royalty.files import write_whole
from royalty.jsontext import parse_json

if TYPE_CHECKING:
    from royalty.client import Royalty

INLINE = "inline"
INLINE_PREFIX = "data:application/json;base64,"
MAX_READ = 4 * 1024 * 1024
MAX_URI = 1_000
# What a transaction can carry: the gas of calldata (40 a byte) is the bound on the local chain;
# public nodes pass on no transaction above 128 KiB.
MAX_INLINE_LOCAL = 360_000
MAX_INLINE_PUBLIC = 90_000

_PUBLISHED = re.compile(r"(https|ipfs)://[!-~]+")


@dataclass(frozen=True, slots=True)
class Metadata:
    """One metadata document: its canonical bytes, their SHA-256, and the URI that goes on chain."""

    data: bytes
    digest: bytes
    uri: str


def canonical(document: Any) -> bytes:
    """Return a document as canonical JSON: sorted keys, no spaces, UTF-8."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def check_uri(uri: str | None) -> str | None:
    """Return a URI that `--uri` takes: `inline`, https or ipfs, `{digest}` in it allowed.

    Raises InputError for anything else.
    """
    if uri is None or uri == INLINE:
        return uri
    if len(uri) > MAX_URI or not _PUBLISHED.fullmatch(uri):
        raise InputError(
            f"--uri '{uri[:60]}' is not an https:// or ipfs:// address;"
            " write for example https://films.example/{digest}.json, or inline"
        )
    return uri


def make_metadata(document: Any, uri: str | None, *, is_local: bool) -> Metadata:
    """Return the metadata of a document under a checked URI, `{digest}` in it filled in.

    Without a URI it is carried inline on the local chain, and elsewhere kept in the folder alone
    (an empty URI on chain). Raises InputError where it is too large to be carried inline.
    """
    data = canonical(document)
    digest = hashlib.sha256(data).digest()
    if uri is None and not is_local:
        return Metadata(data, digest, "")
    if uri is None or uri == INLINE:
        return Metadata(data, digest, _inline(data, is_local))
    return Metadata(data, digest, uri.replace("{digest}", digest.hex()))


def keep(folder: Path, metadata: Metadata, *, name: str | None = None) -> Path:
    """Write metadata to `folder/metadata/<digest>.json` (or `name`), whole or not at all."""
    path = folder / "metadata" / (name or f"{metadata.digest.hex()}.json")
    write_whole(path, metadata.data)
    return path


def read_inline(uri: str) -> bytes | None:
    """Return what a `data:application/json;base64,` URI carries, or None; other people's text."""
    if not uri.startswith(INLINE_PREFIX) or len(uri) > MAX_READ:
        return None
    try:
        return base64.b64decode(uri[len(INLINE_PREFIX) :], validate=True)
    except (binascii.Error, ValueError):
        return None


def find(
    session: Royalty, uri: str, *, digest: bytes | None = None, name: str | None = None
) -> Any:
    """Return the document that a URI carries, or that this folder keeps; None where neither has it.

    With a digest only a document of that digest is returned. What comes back was written by others:
    it may have any shape.
    """
    candidates = [read_inline(uri)]
    names = [name] if name else []
    names += [f"{digest.hex()}.json"] if digest else []
    for kept in names:
        path = session.state_dir / "metadata" / kept
        candidates.append(path.read_bytes() if path.is_file() else None)
    for data in candidates:
        if data is not None and (digest is None or hashlib.sha256(data).digest() == digest):
            return _parse(data)
    return None


def text_of(document: Any, *keys: str) -> str:
    """Return a text in other people's document by its path of keys, '' where there is none."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, str) else ""


def _parse(data: bytes) -> Any:
    try:
        return parse_json(data)
    except ValueError:
        return None


def _inline(data: bytes, is_local: bool) -> str:
    uri = INLINE_PREFIX + base64.b64encode(data).decode()
    most = MAX_INLINE_LOCAL if is_local else MAX_INLINE_PUBLIC
    if len(uri) > most:
        raise InputError(
            f"the metadata take {len(uri):,} bytes inline, a transaction carries {most:,};"
            " publish them and pass --uri https://.../{digest}.json"
        )
    return uri
