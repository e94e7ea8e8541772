"""What a report commits to, written down: the manifest of each batch and the documents that it names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from royalty.batches import Draft
from royalty.days import format_day
from royalty.evidence import (
    Counts,
    Document,
    Manifest,
    Source,
    evidence_of,
    new_salt,
    write_evidence,
)
from royalty.journal import Journal, Plan
from royalty.questions import Accepted, Question, map_document

if TYPE_CHECKING:
    from royalty.client import Royalty
    from royalty.logs import Count
    from royalty.recount import Counted
    from royalty.worksmap import WorksMap


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


def _manifest(
    session: Royalty,
    question: Question,
    found: Counted,
    draft: Draft,
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
        recount=_counts(found.days[draft.day]),
        usage=draft.usage,
        program=f"royalty {__version__}",
        salt=new_salt(),
    )


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


def write_pending(folder: Path | None, journal: Journal) -> None:
    """Write the manifests of what is about to be sent, and what they name, where that was asked."""
    pending = journal.pending()
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
    write_evidence(folder, manifests, journal.documents(digests))
