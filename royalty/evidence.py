"""The evidence of a batch: a manifest of what was counted, whose digest goes on chain.

A manifest is canonical JSON (UTF-8, sorted keys, no spaces, integers only): equal content is equal
bytes. `evidence` is the SHA-256 of those bytes: `sha256sum manifest-7.json` shows it. Nothing in a
manifest names a viewer, a file or a machine; the salt keeps its counts from being guessed.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from royalty.errors import InputError

FORMAT = "royalty-evidence-1"
SALT_BYTES = 32
SUMS = "SHA256SUMS"


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return a document as canonical JSON; InputError for a float, which has no one form.

    >>> canonical({"b": 1, "a": [2]})
    b'{"a":[2],"b":1}'
    """
    _refuse_floats(document)
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def sha256(content: bytes) -> bytes:
    """Return the 32 bytes of the SHA-256 of `content`."""
    return hashlib.sha256(content).digest()


def hex_of(digest: bytes) -> str:
    """Return a digest as `0x` and lower-case hex."""
    return "0x" + digest.hex()


def new_salt() -> str:
    """Return a fresh salt of 32 random bytes as `0x...`."""
    return hex_of(secrets.token_bytes(SALT_BYTES))


@dataclass(frozen=True, slots=True)
class Document:
    """Something that a manifest names by digest: the policy, columns, map or licences of a count.

    `digest` is the SHA-256 of `content`, which is its canonical form: same meaning, same digest.
    """

    kind: str
    suffix: str
    content: bytes

    @property
    def digest(self) -> str:
        """The SHA-256 of the content as `0x...`."""
        return hex_of(sha256(self.content))

    @property
    def file_name(self) -> str:
        """The name of its copy, with the start of its digest: several of a kind fit a folder."""
        return f"{self.kind}-{self.digest[2:18]}.{self.suffix}"


@dataclass(frozen=True, slots=True)
class Source:
    """A log as it was counted: SHA-256 of its decompressed content (`0x...`) and its rows."""

    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What a count made of its rows: `rows` = `qualified` + the sum of `excluded`."""

    rows: int
    qualified: int
    excluded: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """Return the counts as a manifest holds them."""
        return {"rows": self.rows, "qualified": self.qualified, "excluded": dict(self.excluded)}


@dataclass(frozen=True, slots=True)
class TreeMark:
    """What a manifest commits to of a tally: its root, its number of leaves, the SHA-256 of its data."""

    root: bytes
    leaves: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that a batch's evidence commits to.

    `counts` are those of the sources alone over `since` to `until`, as `usage check` repeats them;
    `recount` are those of the batch's day in the usage store, where earlier reports' rows are too; a
    tally, which has a `tree` and no packed `usage`, has them for each of its days, up to `day`. Digests
    are `0x...`; `columns` is None where the log has the native columns.
    """

    chain_id: int
    contract: str
    platform: str
    batch: int
    day: str
    since: str
    until: str
    policy: str
    columns: str | None
    works_map: str
    licences: str
    sources: tuple[Source, ...]
    counts: Counts
    recount: Counts | Mapping[str, Counts]
    usage: bytes
    program: str
    salt: str
    tree: TreeMark | None = None
    released: tuple[str, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the manifest as a JSON document; `groups` is the SHA-256 of the packed usage.

        `released` are the spikes of these days that a person let go, where the policy holds spikes. A
        tally's has `as`, `root`, `leaves` and `data` instead, and its `recount` by day.
        """
        sources = sorted(self.sources, key=lambda source: (source.sha256, source.rows))
        return {
            "format": FORMAT,
            "chain_id": self.chain_id,
            "contract": self.contract,
            "platform": self.platform,
            "batch": self.batch,
            "day": self.day,
            "since": self.since,
            "until": self.until,
            "policy": self.policy,
            "columns": self.columns,
            "map": self.works_map,
            "licences": self.licences,
            "sources": [{"sha256": source.sha256, "rows": source.rows} for source in sources],
            "counts": self.counts.as_json(),
            "program": self.program,
            "salt": self.salt,
            **({} if self.released is None else {"released": list(self.released)}),
            **self._form(),
        }

    def _form(self) -> dict[str, Any]:
        if self.tree is None:
            assert isinstance(self.recount, Counts)
            return {"recount": self.recount.as_json(), "groups": hex_of(sha256(self.usage))}
        assert not isinstance(self.recount, Counts)
        return {
            "as": "tally",
            "recount": {day: counts.as_json() for day, counts in self.recount.items()},
            "root": hex_of(self.tree.root),
            "leaves": self.tree.leaves,
            "data": hex_of(self.tree.data),
        }

    def to_bytes(self) -> bytes:
        """Return the canonical bytes: what `--evidence` writes and the chain commits to."""
        return canonical(self.as_json())


def recounted_rows(manifest: Mapping[str, Any], day: str) -> int:
    """Return how many rows of a day a manifest counted in the usage store."""
    recount = manifest["recount"]
    return int((recount[day] if manifest.get("as") == "tally" else recount)["rows"])


def evidence_of(manifest: bytes) -> bytes:
    """Return the 32 bytes that go on chain for a manifest's canonical bytes."""
    return sha256(manifest)


def manifest_name(batch: int) -> str:
    """Return the name of a batch's manifest among files of evidence."""
    return f"manifest-{batch}.json"


def write_evidence(
    folder: Path,
    manifests: Mapping[int, bytes],
    documents: Iterable[Document],
    data: Mapping[str, bytes] | None = None,
) -> list[Path]:
    """Write `manifest-<batch>.json`, the documents they name, tallies' `data` and SHA256SUMS; return the paths.

    What lies there already stays, and is summed too. `sha256sum -c SHA256SUMS` checks the folder.
    Raises InputError where the folder cannot be written.
    """
    files = {manifest_name(batch): content for batch, content in manifests.items()}
    files |= data or {}
    files |= {document.file_name: document.content for document in documents}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        (folder / SUMS).write_text(_sums(folder))
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"the evidence folder {folder} cannot be written: {reason}") from None
    return [folder / name for name in sorted(files)]


def _sums(folder: Path) -> str:
    """Return one line of `sha256sum` for each evidence file of a folder, by name."""
    kinds = ("manifest-", "policy-", "columns-", "works-", "licences-", "tally-")
    names = sorted(path.name for path in folder.iterdir() if path.name.startswith(kinds))
    return "".join(f"{sha256((folder / name).read_bytes()).hex()}  {name}\n" for name in names)


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        raise InputError(f"{value} is a float; canonical JSON holds integers and text only")
    if isinstance(value, Mapping):
        for key, held in value.items():
            _refuse_floats(held)
            if not isinstance(key, str):
                raise InputError(f"the key {key!r} of canonical JSON is not text")
    elif isinstance(value, list | tuple):
        for held in value:
            _refuse_floats(held)
