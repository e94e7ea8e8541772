"""What a day was first reported under holds for it ever after: policy, way to resend, columns, rows.

Each function raises InputError where a report would depart from that, before anything is changed: the
same rows would be counted by other rules, taken for others and paid twice, or be missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from royalty.days import Period, format_day
from royalty.errors import InputError
from royalty.evidence import recounted_rows
from royalty.journal import Journal
from royalty.store import UsageStore

if TYPE_CHECKING:
    from royalty.logs import Source
    from royalty.questions import Question


def require_rules(journal: Journal, question: Question, store: UsageStore) -> None:
    """Raise InputError where a day was first reported under another policy, or way to resend."""
    policy, resend = question.policy.digest, question.columns.resend
    for day in question.period:
        before = journal.rules(day)
        if before is not None and before[0] != policy:
            raise InputError(
                f"{format_day(day)} was first reported under the policy {_policy_name(journal, before[0])}"
                f" ({before[0][:18]}…), not under {question.policy.name} {question.policy.version}"
                f" ({policy[:18]}…); pass that one with --policy: what was reported is final"
            )
        if not question.sources or store.last_counts(day):
            continue  # what was recorded is counted as the day was first reported
        if before is not None and before[1] != resend:
            raise InputError(
                f'{format_day(day)} was first reported with resend = "{before[1]}" in its columns'
                f' file, not "{resend}"; report it with that again'
            )


def require_columns(journal: Journal, question: Question, sources: Iterable[Source]) -> None:
    """Raise InputError where a log that was reported is read by other columns, and has no ids.

    Its rows would be taken for others, since viewer, work, kind and instant are their id: paid twice.
    """
    given = {source.sha256: source.path for source in sources}
    now = question.columns_document
    for day in question.period:
        for manifest in map(json.loads, journal.manifests(day)):
            before = manifest["columns"]
            if before == (now.digest if now else None):
                continue
            if question.columns.own_ids and _had_ids(journal, before):
                continue
            for source in manifest["sources"]:
                if source["sha256"] in given:
                    raise InputError(
                        f"{given[source['sha256']]} was reported for {format_day(day)} with other"
                        " columns, and without ids its rows would be paid again; report it with"
                        " the columns file of then"
                    )


def require_rows(journal: Journal, period: Period, store: UsageStore) -> None:
    """Raise InputError where rows that were reported are not in the store any more."""

    def reported(day: int) -> int:
        found = (json.loads(manifest) for manifest in journal.manifests(day))
        return max((recounted_rows(one, format_day(day)) for one in found), default=0)

    store.need_whole(period, reported)


def _had_ids(journal: Journal, columns: str | None) -> bool:
    """Return whether rows read by the columns of a digest (None: the native ones) carry ids."""
    from royalty.logs import has_own_ids

    if columns is None:
        return True
    return any(has_own_ids(json.loads(one.content)) for one in journal.documents([columns]))


def _policy_name(journal: Journal, digest: str) -> str:
    found = journal.documents([digest])
    if not found:
        return "of this digest"
    document = json.loads(found[0].content)
    return f"{document['name']} {document['version']}"
