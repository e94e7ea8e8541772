"""Evidence: a manifest is believed where chain and logs say the same, and nowhere else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from royalty.errors import InputError
from royalty.evidence import Counts, Manifest, Source
from royalty.findings import Cell, ChainLine
from royalty.index.tables import ChainEvent
from royalty.proof import Batch, Known, check, read_manifests
from royalty.tallybook import Tally
from royalty.usage import Group, Kind, WorkRef, pack_usage

CONTRACT = "0x" + "1A" * 20
PLATFORM = "0x" + "2B" * 20
POLICY = "0x" + "33" * 32
LOG = Source("0x" + "44" * 32, 12)
OTHER_LOG = Source("0x" + "55" * 32, 3)
EXCLUDED = dict.fromkeys(
    [
        "malformed",
        "duplicate",
        "outside_period",
        "unmatched_work",
        "below_threshold",
        "double_click",
        "over_cap",
    ],
    0,
) | {"duplicate": 2}
KNOWN = Known(
    chain_id=31337,
    contract=CONTRACT,
    policy=POLICY,
    sources={LOG.sha256: LOG.rows},
    since="1970-01-11",
    until="1970-01-11",
    rows=12,
    excluded=EXCLUDED,
)
WORK = WorkRef(1, 5)


def manifest(batch: int = 1, **changes: Any) -> Manifest:
    usage = pack_usage([Group(1, 1, Kind.VIEW, ((5, 10),))])
    made = Manifest(
        chain_id=31337,
        contract=CONTRACT,
        platform=PLATFORM,
        batch=batch,
        day="1970-01-11",
        since="1970-01-11",
        until="1970-01-11",
        policy=POLICY,
        columns=None,
        works_map="0x" + "66" * 32,
        licences="0x" + "77" * 32,
        sources=(LOG,),
        counts=Counts(12, 10, EXCLUDED),
        recount=Counts(12, 10, EXCLUDED),
        usage=usage,
        program="royalty 0.1.0",
        salt="0x" + "88" * 32,
    )
    return replace(made, **changes)


def batch_of(content: bytes, number: int = 1) -> Batch:
    """The batch whose evidence some bytes are."""
    return Batch(
        PLATFORM,
        number,
        10,
        hashlib.sha256(content).digest(),
        pack_usage([Group(1, 1, Kind.VIEW, ((5, 10),))]),
        (ChainLine(number, 10, WORK, 1, Kind.VIEW, 10),),
    )


def complaints(content: bytes, known: Known = KNOWN) -> list[str]:
    return [why for _, why in check([batch_of(content)], {1: content}, known).wrong]


def test_honest_evidence_is_believed() -> None:
    assert complaints(manifest().to_bytes()) == []


def test_other_bytes_than_those_committed_to_are_a_mismatch() -> None:
    honest = manifest().to_bytes()
    other = manifest(salt="0x" + "99" * 32).to_bytes()
    checked = check([batch_of(honest)], {1: other}, KNOWN)
    assert [why for _, why in checked.wrong] == [
        "manifest-1.json is not the one that the batch committed to"
    ]


def test_a_batch_without_a_manifest_is_a_mismatch() -> None:
    checked = check([batch_of(b"")], {}, KNOWN)
    assert [why for _, why in checked.wrong] == ["there is no manifest-1.json"]


@pytest.mark.parametrize(
    ("found", "changed"),
    [
        ('[{"rows":12', '[{"rows":1e999'),
        ('[{"rows":12', '[{"rows":"12"'),
        ('[{"rows":12', '[{"rows":true'),
        ('[{"rows":12', '[{"rows":' + "1" * 5000),
        (LOG.sha256, "0x\\ud800\\u001b[31m" + "4" * 40),
        (LOG.sha256, LOG.sha256[:-1]),
        ('"sources":[{', '"sources":[[],{'),
        ('"sources":[{', '"sources":{"a":{'),
    ],
)
def test_a_manifest_that_no_program_wrote_is_a_mismatch_and_no_crash(
    found: str, changed: str
) -> None:
    text = manifest().to_bytes().decode()
    assert found in text
    (why,) = complaints(text.replace(found, changed, 1).encode())
    assert why == "manifest-1.json cannot be read"


def test_evidence_that_names_no_log_is_a_mismatch() -> None:
    assert complaints(manifest(sources=()).to_bytes()) == ["manifest-1.json names no log"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"chain_id": 1}, "chain_id"),
        ({"contract": PLATFORM}, "contract"),
        ({"platform": CONTRACT}, "platform"),
        ({"batch": 2}, "batch"),
        ({"day": "1970-01-12"}, "day"),
        ({"usage": b"other"}, "groups"),
        ({"policy": "0x" + "00" * 32}, "policy"),
    ],
)
def test_a_manifest_of_something_else_is_a_mismatch(changes: dict[str, Any], word: str) -> None:
    assert complaints(manifest(**changes).to_bytes()) == [f"manifest-1.json names another {word}"]


def test_a_log_that_is_not_at_hand_or_of_other_length_is_a_mismatch() -> None:
    for source in (OTHER_LOG, replace(LOG, rows=11)):
        (why,) = complaints(manifest(sources=(LOG, source)).to_bytes())
        assert why.startswith("it counted a log that is not among those given")


def test_counts_of_the_same_logs_must_be_the_same_before_works_are_matched() -> None:
    def excluded(**changes: int) -> Manifest:
        return manifest(counts=Counts(12, 10, EXCLUDED | changes))

    assert complaints(excluded(duplicate=1).to_bytes()) == [
        "its counts are not those of the same logs counted again"
    ]
    assert complaints(manifest(counts=Counts(11, 9, EXCLUDED)).to_bytes()) != []
    assert complaints(excluded(unmatched_work=4).to_bytes()) == []


def test_counts_of_other_logs_or_days_are_not_compared() -> None:
    told = manifest(counts=Counts(1, 1, EXCLUDED))
    more_logs = replace(KNOWN, sources={**KNOWN.sources, OTHER_LOG.sha256: OTHER_LOG.rows})
    assert complaints(told.to_bytes(), more_logs) == []
    assert complaints(told.to_bytes(), replace(KNOWN, until="1970-01-12")) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'"text"',
        b"{}",
        b'{"sources": 3}',
        b'{"sources": [3]}',
        b'{"sources": [{"sha256": "x"}]}',
        b'{"sources": [{"sha256": "x", "rows": "many"}]}',
        b'{"sources": {"sha256": "x", "rows": 1}}',
        b'{"sources": null}',
        b"[" * 100_000,
        b'{"sources": [], "chain_id": ' + b"9" * 10_000 + b"}",
        json.dumps({**manifest().as_json(), "counts": [1]}).encode(),
        json.dumps({**manifest().as_json(), "counts": {"rows": 12, "excluded": None}}).encode(),
        json.dumps({**manifest().as_json(), "day": ["1970-01-11"]}).encode(),
    ],
)
def test_whatever_was_committed_to_that_is_no_manifest_is_a_mismatch(content: bytes) -> None:
    assert len(complaints(content)) == 1


ROOT, DATA = b"\x99" * 32, b"\xaa" * 32


def tally_manifest(**changes: Any) -> bytes:
    """What a platform commits to for a tally of two days, up to 1970-01-12."""
    made = manifest(day="1970-01-12").as_json()
    del made["groups"]
    counts = made["recount"]
    made |= {"as": "tally", "root": "0x" + ROOT.hex(), "leaves": 3, "data": "0x" + DATA.hex()}
    made |= {"recount": {"1970-01-11": counts, "1970-01-12": counts}}
    return json.dumps(made | changes).encode()


def tally_complaints(content: bytes, *days: int) -> list[str]:
    """What is wrong with a tally's manifest, of which leaves of some days were settled."""
    args = {"platform": PLATFORM, "batch": 1, "day": 11, "root": ROOT, "leaves": 3}
    posted = ChainEvent("TallyPosted", args | {"dataDigest": DATA}, "", 0, "", "", 0, 0)
    lines = tuple(ChainLine(1, day, WORK, 1, Kind.VIEW, 10) for day in days)
    batch = Batch(PLATFORM, 1, 11, hashlib.sha256(content).digest(), b"", lines, Tally(posted))
    return [why for _, why in check([batch], {1: content}, KNOWN).wrong]


def test_honest_evidence_of_a_tally_is_believed() -> None:
    assert tally_complaints(tally_manifest(), 10, 11) == []
    assert tally_complaints(tally_manifest()) == [], "nothing of it is settled yet"


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("as", "direct"),
        ("as", None),
        ("root", "0x" + "98" * 32),
        ("leaves", 4),
        ("leaves", "3"),
        ("data", "0x" + "ab" * 32),
        ("day", "1970-01-11"),
        ("batch", 2),
        ("platform", CONTRACT),
        ("policy", "0x" + "34" * 32),
    ],
)
def test_evidence_of_another_tally_is_a_mismatch_that_names_the_word(word: str, value: Any) -> None:
    assert tally_complaints(tally_manifest(**{word: value})) == [
        f"manifest-1.json names another {word}"
    ]


def test_a_manifest_of_a_direct_batch_is_none_of_a_tally_and_the_other_way_round() -> None:
    assert tally_complaints(manifest(day="1970-01-12").to_bytes()) == [
        "manifest-1.json names another as"
    ]
    assert complaints(tally_manifest(day="1970-01-11")) == ["manifest-1.json names another groups"]


@pytest.mark.parametrize("recount", [{"1970-01-11": {}}, {}, None, [], "1970-01-12", 5])
def test_a_day_that_was_settled_but_not_counted_is_a_mismatch(recount: Any) -> None:
    (why,) = tally_complaints(tally_manifest(recount=recount), 11)
    assert why == "manifest-1.json does not count 1970-01-12, which was settled"


def test_rows_of_one_log_in_two_batches_are_named() -> None:
    first, second = manifest(1).to_bytes(), manifest(2).to_bytes()
    other = manifest(3, sources=(OTHER_LOG,)).to_bytes()
    known = replace(KNOWN, sources={s.sha256: s.rows for s in (LOG, OTHER_LOG)})
    content = {1: first, 2: second, 3: other}
    batches = [batch_of(content[number], number) for number in content]
    cell = Cell(WORK, 10, Kind.VIEW)
    assert check(batches, content, known).twice == {cell}
    assert check([batches[0], batches[2]], content, known).twice == set()


def test_manifests_are_read_by_batch_and_a_wrong_folder_is_bad_input(tmp_path: Path) -> None:
    batch = batch_of(b"x")
    with pytest.raises(InputError, match="is no folder"):
        read_manifests(tmp_path / "none", [batch])
    assert read_manifests(tmp_path, [batch]) == {}
    (tmp_path / "manifest-1.json").write_bytes(b"x")
    assert read_manifests(tmp_path, [batch]) == {1: b"x"}
    (tmp_path / "manifest-1.json").unlink()
    (tmp_path / "manifest-1.json").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        read_manifests(tmp_path, [batch])
