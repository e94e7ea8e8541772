"""The manifest that a batch's evidence commits to."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.errors import InputError
from royalty.evidence import (
    Counts,
    Document,
    Manifest,
    Source,
    canonical,
    evidence_of,
    new_salt,
    write_evidence,
)

MANIFEST = Manifest(
    chain_id=31337,
    contract="0x" + "11" * 20,
    platform="0x" + "22" * 20,
    batch=7,
    day="2026-11-19",
    since="2026-11-18",
    until="2026-11-19",
    policy="0x" + "33" * 32,
    columns=None,
    works_map="0x" + "44" * 32,
    licences="0x" + "55" * 32,
    sources=(Source("0x" + "66" * 32, 3), Source("0x" + "01" * 32, 9)),
    counts=Counts(12, 10, {"malformed": 2}),
    recount=Counts(10, 10, {"malformed": 0}),
    usage=b"packed",
    program="royalty 0.1.0",
    salt="0x" + "77" * 32,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda held: st.lists(held) | st.dictionaries(st.text(), held),
)


@given(st.dictionaries(st.text(), json_values))
def test_canonical_form_depends_on_meaning_alone(document: dict[str, object]) -> None:
    turned = dict(reversed(list(document.items())))
    assert canonical(turned) == canonical(document)
    assert json.loads(canonical(document)) == document


def test_canonical_form_is_sorted_utf8_without_spaces() -> None:
    assert canonical({"é": [1, {"b": None, "a": True}]}) == '{"é":[1,{"a":true,"b":null}]}'.encode()


@pytest.mark.parametrize("document", [{"a": 1.5}, {"a": [{"b": 2.0}]}, {"a": {1: "b"}}])
def test_canonical_form_refuses_what_has_no_one_form(document: dict[str, object]) -> None:
    with pytest.raises(InputError):
        canonical(document)


def test_evidence_is_the_sha256_of_the_manifest_file(tmp_path: Path) -> None:
    write_evidence(tmp_path, {7: MANIFEST.to_bytes()}, [])
    written = (tmp_path / "manifest-7.json").read_bytes()
    assert hashlib.sha256(written).digest() == evidence_of(MANIFEST.to_bytes())


def test_manifest_orders_its_sources_by_content_not_by_name_or_argument() -> None:
    turned = replace(MANIFEST, sources=MANIFEST.sources[::-1])
    assert turned.to_bytes() == MANIFEST.to_bytes()


@pytest.mark.parametrize(
    "change",
    [{"batch": 8}, {"salt": new_salt()}, {"usage": b"other"}, {"policy": "0x00"}, {"chain_id": 1}],
)
def test_manifest_commits_to_every_field(change: dict[str, object]) -> None:
    changed = replace(MANIFEST, **change)  # type: ignore[arg-type]
    assert evidence_of(changed.to_bytes()) != evidence_of(MANIFEST.to_bytes())


def test_salts_differ() -> None:
    assert new_salt() != new_salt()
    assert len(new_salt()) == 66


def test_evidence_folder_holds_documents_and_sums_that_sha256sum_accepts(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "evidence"
    policy = Document("policy", "json", b'{"name":"default"}')
    write_evidence(folder, {7: MANIFEST.to_bytes()}, [policy])
    write_evidence(folder, {8: replace(MANIFEST, batch=8).to_bytes()}, [policy])
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["SHA256SUMS", "manifest-7.json", "manifest-8.json", policy.file_name]
    checked = subprocess.run(
        ["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
    assert policy.digest[2:] in (folder / "SHA256SUMS").read_text()


def test_an_evidence_folder_that_cannot_be_made_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_evidence(tmp_path / "file", {7: b"{}"}, [])
