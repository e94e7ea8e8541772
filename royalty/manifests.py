"""What a report commits to, written down: the manifest of each batch and the documents that it names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from royalty.batches import Draft
from royalty.days import format_day
from royalty.errors import StoreFailed
from royalty.evidence import (
    Counts,
    Document,
    Manifest,
    Source,
    TreeMark,
    evidence_of,
    manifest_name,
    new_salt,
    sha256,
    write_evidence,
)
from royalty.journal import Batch, Journal, Plan, Tally, crash_at
from royalty.posting import TallyDraft
from royalty.publishing import publish
from royalty.questions import Accepted, Question, map_document
from royalty.tallydata import file_name

if TYPE_CHECKING:
    from royalty.client import Royalty
    from royalty.logs import Count
    from royalty.recount import Counted
    from royalty.worksmap import WorksMap


class _Form(TypedDict):
    """What differs between the manifests of direct batches and of tallies."""

    recount: Counts | Mapping[str, Counts]
    usage: bytes
    tree: TreeMark | None


def documents_of(
    session: Royalty, question: Question, accepted: Accepted, works_map: WorksMap
) -> dict[str, Document]:
    """Return what the manifests name, by kind: policy, map, licences, and columns where given."""
    from royalty import works

    noted = dict(works.notes(session))
    found = [question.policy_document, map_document({**noted, **works_map}), accepted.document()]
    columns = question.columns_document
    return {document.kind: document for document in [*found, *([columns] if columns else [])]}


def plans_of(
    session: Royalty,
    question: Question,
    found: Counted,
    drafts: Sequence[Draft],
    number: int,
    documents: Mapping[str, Document],
) -> list[Plan]:
    """Return drafts as batches for the journal, each with its manifest, numbered from `number` on."""
    return [
        _plan(found, draft, _manifest(session, question, found, draft, number + at, documents))
        for at, draft in enumerate(drafts)
    ]


def plan_of_tally(
    session: Royalty,
    question: Question,
    found: Counted,
    draft: TallyDraft,
    number: int,
    documents: Mapping[str, Document],
    tally: Tally,
) -> Plan:
    """Return a tally as a batch for the journal, with its manifest."""
    manifest = _manifest(session, question, found, draft, number, documents)
    content = manifest.to_bytes()
    return Plan(
        number,
        draft.day,
        b"",
        draft.total_nano,
        evidence_of(content),
        content,
        manifest.policy,
        "",
        tally,
        draft.days(found.resend),
    )


def _manifest(
    session: Royalty,
    question: Question,
    found: Counted,
    draft: Draft | TallyDraft,
    number: int,
    documents: Mapping[str, Document],
) -> Manifest:
    from royalty import __version__

    columns = documents.get("columns")
    return Manifest(
        chain_id=session.node.chain_id,
        contract=session.ledger.address,
        platform=session.platform,
        batch=number,
        day=format_day(draft.day),
        since=format_day(question.period.since),
        until=format_day(question.period.until),
        policy=documents["policy"].digest,
        columns=columns.digest if columns else None,
        works_map=documents["works"].digest,
        licences=documents["licences"].digest,
        sources=tuple(Source(source.sha256, source.rows) for source in found.alone.sources),
        counts=_counts(found.alone),
        program=f"royalty {__version__}",
        salt=new_salt(),
        released=found.released,
        **_form_of(found, draft),
    )


def _form_of(found: Counted, draft: Draft | TallyDraft) -> _Form:
    """Return what a manifest says of a direct batch, or of a tally."""
    if isinstance(draft, Draft):
        return {"recount": _counts(found.days[draft.day]), "usage": draft.usage, "tree": None}
    recounts = {format_day(day): _counts(found.days[day]) for day in sorted(draft.lines_by_day)}
    mark = TreeMark(draft.tree.root, len(draft.claims), sha256(draft.data))
    return {"recount": recounts, "usage": b"", "tree": mark}


def _counts(count: Count) -> Counts:
    return Counts(count.rows, count.qualified, count.excluded)


def _plan(found: Counted, draft: Draft, manifest: Manifest) -> Plan:
    content = manifest.to_bytes()
    return Plan(
        manifest.batch,
        draft.day,
        draft.usage,
        draft.total_nano,
        evidence_of(content),
        content,
        manifest.policy,
        found.resend[draft.day],
    )


def write_pending(folder: Path | None, journal: Journal, tallies: Path) -> None:
    """Write what is about to be sent, where that was asked: manifests, what they name, tallies' data.

    Into `folder` for the report that asked, and for others where a tally says so. `tallies` is the folder
    that the data of the platform's own tallies lies in.
    """
    pending = journal.pending()
    for batch in pending:
        if batch.tally is not None and batch.tally.target:
            data = _data_of(batch, tallies)
            publish(batch.tally.target, {manifest_name(batch.number): batch.manifest, **data})
            crash_at("after-publish")
    if folder is None or not pending:
        return
    named = [json.loads(batch.manifest) for batch in pending]
    digests = [
        digest
        for manifest in named
        for word in ("policy", "columns", "map", "licences")
        if (digest := manifest[word]) is not None
    ]
    manifests = {batch.number: batch.manifest for batch in pending}
    data = {name: content for one in pending for name, content in _data_of(one, tallies).items()}
    write_evidence(folder, manifests, journal.documents(digests), data)


def _data_of(batch: Batch, tallies: Path) -> dict[str, bytes]:
    """Return a tally's data by its name; nothing for a direct batch."""
    if batch.tally is None:
        return {}
    name = file_name(batch.number, batch.tally.data)
    try:
        return {name: (tallies / name).read_bytes()}
    except OSError as error:
        raise StoreFailed(
            f"the data of tally {batch.number}, {tallies / name}, cannot be read"
            f" ({error.strerror or error}); put it back from a copy"
        ) from None
