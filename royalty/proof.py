"""Whether a folder of evidence is what batches committed to, and what it says of rows reported twice.

Manifests come from the platform: they are read as other people's text, and believed in nothing that
the chain or the logs at hand do not say too.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.days import format_day
from royalty.errors import InputError
from royalty.evidence import manifest_name
from royalty.exhibits import MAX_MANIFEST_BYTES, read_exhibit
from royalty.findings import Cell, ChainLine
from royalty.jsontext import parse_json
from royalty.spikes import Release, parse_release

if TYPE_CHECKING:
    from royalty.tallybook import Tally

BEFORE_MATCHING = ("malformed", "duplicate", "outside_period")
_DIGEST = re.compile(r"0x[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch as the chain has it; `usage` is its packed usage, `lines` what that says.

    Of a tally `usage` is empty, `day` its last, and `lines` are what was settled of it.
    """

    platform: str
    batch: int
    day: int
    evidence: bytes
    usage: bytes
    lines: tuple[ChainLine, ...]
    tally: Tally | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What a manifest must agree with besides its batch.

    `sources` maps the SHA-256 (`0x...`) of each log at hand to its rows; over `since` to `until` they
    have `rows` rows, `excluded` of them by reason.
    """

    chain_id: int
    contract: str
    policy: str
    sources: Mapping[str, int]
    since: str
    until: str
    rows: int
    excluded: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Checked:
    """What the evidence is worth: (batch, what is wrong) pairs, and cells with rows reported twice.

    `sources` are the logs (SHA-256) that each batch with nothing wrong says that it counted.
    """

    wrong: tuple[tuple[Batch, str], ...]
    twice: frozenset[Cell]
    sources: Mapping[int, frozenset[str]]


def need_folder(folder: Path) -> None:
    """Raise InputError where there is no such folder."""
    if not folder.is_dir():
        raise InputError(f"--evidence {folder} is no folder; give the one that the platform wrote")


def read_manifests(folder: Path, batches: Iterable[Batch]) -> dict[int, bytes]:
    """Return the bytes of `manifest-<batch>.json` for the batches that have one in the folder.

    Raises InputError where the folder or a manifest cannot be read, one leads out of the folder, or is
    over 64 MiB.
    """
    need_folder(folder)
    found = {}
    for batch in batches:
        content = read_exhibit(folder, manifest_name(batch.batch), MAX_MANIFEST_BYTES)
        if content is not None:
            found[batch.batch] = content
    return found


def released_in(batches: Iterable[Batch], manifests: Mapping[int, bytes]) -> frozenset[Release]:
    """Return the spikes that manifests say were let go; those that no batch committed to say nothing."""
    found: set[Release] = set()
    for batch in batches:
        content = manifests.get(batch.batch, b"")
        if hashlib.sha256(content).digest() == batch.evidence:
            found |= _released(content)
    return frozenset(found)


def _released(content: bytes) -> set[Release]:
    try:
        return {parse_release(one) for one in parse_json(content).get("released", ())}
    except (InputError, ValueError, TypeError, AttributeError):
        return set()


def check(batches: Collection[Batch], manifests: Mapping[int, bytes], known: Known) -> Checked:
    """Return what does not fit: each batch without evidence, or whose evidence says otherwise."""
    wrong: list[tuple[Batch, str]] = []
    sources: dict[int, frozenset[str]] = {}
    for batch in batches:
        content = manifests.get(batch.batch)
        if content is None:
            wrong.append((batch, f"there is no manifest-{batch.batch}.json"))
            continue
        complaint = _complaint(batch, content, known)
        if complaint:
            wrong.append((batch, complaint))
        else:
            found = sources_of(parse_json(content))
            sources[batch.batch] = frozenset(digest for digest, _ in found)
    return Checked(tuple(wrong), frozenset(_reported_twice(batches, sources)), sources)


def _complaint(batch: Batch, content: bytes, known: Known) -> str:
    """Return what is wrong with a manifest in words, '' where nothing is."""
    if hashlib.sha256(content).digest() != batch.evidence:
        return f"manifest-{batch.batch}.json is not the one that the batch committed to"
    try:
        manifest = parse_json(content)
        given = sources_of(manifest)
    except (ValueError, KeyError, TypeError):
        return f"manifest-{batch.batch}.json cannot be read"
    if not given:
        return f"manifest-{batch.batch}.json names no log"
    for day in uncounted(batch, manifest):
        return f"manifest-{batch.batch}.json does not count {format_day(day)}, which was settled"
    for word, expected in _expected(batch, known).items():
        if not same(manifest.get(word), expected):
            return f"manifest-{batch.batch}.json names another {word}"
    for digest, rows in sorted(given):
        if known.sources.get(digest) != rows:
            return f"it counted a log that is not among those given ({digest[:18]}…, {rows} rows)"
    if _same_count(manifest, given, known) and not _counts_agree(manifest.get("counts"), known):
        return "its counts are not those of the same logs counted again"
    return ""


def _expected(batch: Batch, known: Known) -> dict[str, Any]:
    return identity_of(batch, known.chain_id, known.contract) | {"policy": known.policy}


def identity_of(batch: Batch, chain_id: int, contract: str) -> dict[str, Any]:
    """Return what the manifest of a batch must say of it, whatever was counted."""
    return {
        "chain_id": chain_id,
        "contract": contract,
        "platform": batch.platform,
        "batch": batch.batch,
        "day": format_day(batch.day),
        **_content(batch),
    }


def _content(batch: Batch) -> dict[str, Any]:
    """Return what names the usage of a batch: its groups' digest, or its tally's root and data."""
    if batch.tally is None:
        return {"groups": "0x" + hashlib.sha256(batch.usage).hexdigest()}
    return {
        "as": "tally",
        "root": "0x" + batch.tally.root.hex(),
        "leaves": batch.tally.leaves,
        "data": "0x" + batch.tally.posted.args["dataDigest"].hex(),
    }


def uncounted(batch: Batch, manifest: Mapping[str, Any]) -> list[int]:
    """Return the days of which a tally's leaves were settled, but which its manifest has not counted."""
    if batch.tally is None:
        return []
    counted = manifest.get("recount")
    days = set(counted) if isinstance(counted, Mapping) else set()
    return sorted(day for day in {line.day for line in batch.lines} if format_day(day) not in days)


def same(said: Any, expected: Any) -> bool:
    """Return whether two values of a manifest mean the same: hex and addresses in any case."""
    return bool(_plain(said) == _plain(expected)) and type(said) is type(expected)


def _plain(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def sources_of(manifest: Mapping[str, Any]) -> set[tuple[str, int]]:
    """Return the (SHA-256, rows) of the logs that a manifest counted; ValueError where one is neither."""
    given = set()
    for one in manifest["sources"]:
        digest, rows = one["sha256"], one["rows"]
        if not _DIGEST.fullmatch(digest) or type(rows) is not int:
            raise ValueError("neither a digest nor a number of rows")
        given.add((digest, rows))
    return given


def _same_count(
    manifest: Mapping[str, Any], given: Collection[tuple[str, int]], known: Known
) -> bool:
    """Return whether a manifest's counts are of the same logs and days as those at hand."""
    days = manifest.get("since"), manifest.get("until")
    return set(given) == set(known.sources.items()) and days == (known.since, known.until)


def _counts_agree(counts: Any, known: Known) -> bool:
    """Return whether rows, and those excluded before works are matched, are what was counted here.

    What comes after depends on the catalogues, map and notes at hand, which may differ in good faith.
    """
    if not isinstance(counts, dict) or not isinstance(counts.get("excluded"), dict):
        return False
    return counts.get("rows") == known.rows and all(
        counts["excluded"].get(reason) == known.excluded[reason] for reason in BEFORE_MATCHING
    )


def _reported_twice(batches: Iterable[Batch], sources: Mapping[int, Collection[str]]) -> set[Cell]:
    """Return the cells that two batches report which both counted the same log, so the same ids.

    That is how late rows look too: it is a finding only where the chain has too much in all.
    """
    holders: dict[Cell, set[int]] = defaultdict(set)
    for batch in batches:
        for line in batch.lines:
            holders[line.cell].add(batch.batch)
    return {
        cell
        for cell, numbers in holders.items()
        if any(
            set(sources.get(one, ())) & set(sources.get(other, ()))
            for one, other in combinations(sorted(numbers), 2)
        )
    }
