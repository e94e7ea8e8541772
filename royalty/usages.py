"""The noun `royalty.usage`: one door to checking, keeping and reporting a platform's usage.

Every method hands on to the module whose job it is; only the store's place is found here, since usage
must be kept while no node answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from royalty.checks import Check, check
from royalty.days import parse_day
from royalty.errors import NodeRefused, NodeTimeout, NodeUnreachable
from royalty.explain import Explanation, explain
from royalty.files import write_json
from royalty.questions import Day, Logs
from royalty.recorder import FLUSH_BYTES, FLUSH_SECONDS, Recorder
from royalty.reports import Report, report
from royalty.settings import LOCAL
from royalty.standing import Adoption, Status, adopt, status
from royalty.store import STORE, UsageStore

if TYPE_CHECKING:
    from royalty.client import Royalty
    from royalty.ingest import Ingested
    from royalty.recount import Progress
    from royalty.ways import Say


class Usage:
    """Usage of one platform, for a session: `royalty.usage`.

    Days are `YYYY-MM-DD`, dates, or numbers since 1970-01-01; a period's ends are inclusive.
    """

    def __init__(self, session: Royalty) -> None:
        self._session = session

    def check(
        self,
        logs: Logs,
        *,
        day: Day | None = None,
        since: Day | None = None,
        until: Day | None = None,
        works: str | Path | None = None,
        columns: str | Path | None = None,
        policy: str | Path | None = None,
        separator: str | None = None,
        format: str | None = None,
        memory: str | None = None,
        partial: bool = False,
        out: str | Path | None = None,
        max_excluded: str | int | None = None,
        engine: str = "duckdb",
        master: str | None = None,
    ) -> Check:
        """Return what logs come to, sending nothing; see `royalty.checks.check`.

        >>> royalty.usage.check("views.csv", day="2026-11-19").amount_nano  # doctest: +SKIP
        """
        return check(
            self._session,
            logs,
            day=day,
            since=since,
            until=until,
            works=works,
            columns=columns,
            policy=policy,
            separator=separator,
            format=format,
            memory=memory,
            partial=partial,
            out=out,
            max_excluded=max_excluded,
            engine=engine,
            master=master,
        )

    def explain(
        self,
        usage_id: str,
        logs: Logs,
        *,
        day: Day | None = None,
        since: Day | None = None,
        until: Day | None = None,
        works: str | Path | None = None,
        columns: str | Path | None = None,
        policy: str | Path | None = None,
        separator: str | None = None,
        partial: bool = False,
    ) -> Explanation:
        """Return what happened to the rows with an id, rule by rule; see `royalty.explain.explain`.

        >>> royalty.usage.explain("a1", "views.csv", day="2026-11-19").rows  # doctest: +SKIP
        """
        return explain(
            self._session,
            usage_id,
            logs,
            day=day,
            since=since,
            until=until,
            works=works,
            columns=columns,
            policy=policy,
            separator=separator,
            partial=partial,
        )

    def report(
        self,
        logs: Logs | None = None,
        *,
        day: Day | None = None,
        since: Day | None = None,
        until: Day | None = None,
        works: str | Path | None = None,
        columns: str | Path | None = None,
        policy: str | Path | None = None,
        separator: str | None = None,
        format: str | None = None,
        memory: str | None = None,
        partial: bool = False,
        evidence: str | Path | None = None,
        confirmations: int | None = None,
        window: int | None = None,
        max_fee: str | int | None = None,
        deadline: float | None = None,
        as_: str | None = None,
        publish: str | Path | None = None,
        uri: str | None = None,
        settle: bool = True,
        release: Iterable[str] = (),
        into: Report | None = None,
        say: Say | None = None,
    ) -> Report:
        """Report the usage in logs and return what was sent; see `royalty.reports.report`.

        >>> royalty.usage.report("views/*.parquet", day="2026-11-19").batches  # doctest: +SKIP
        """
        return report(
            self._session,
            logs,
            day=day,
            since=since,
            until=until,
            works=works,
            columns=columns,
            policy=policy,
            separator=separator,
            format=format,
            memory=memory,
            partial=partial,
            evidence=evidence,
            confirmations=confirmations,
            window=window,
            max_fee=max_fee,
            deadline=deadline,
            as_=as_,
            publish=publish,
            uri=uri,
            settle=settle,
            release=release,
            into=into,
            say=say,
        )

    def recorder(
        self,
        *,
        resend: str = "first",
        flush_seconds: float = FLUSH_SECONDS,
        flush_bytes: int = FLUSH_BYTES,
        policy: str | Path | None = None,
    ) -> Recorder:
        """Return what keeps single rows, durable when its `record` returns; see `royalty.recorder.Recorder`.

        >>> with royalty.usage.recorder() as recorder:  # doctest: +SKIP
        ...     recorder.record(usage_id="a1", work="12/3", watched_seconds=184)
        """
        from royalty.logs import Policy

        return Recorder(
            store_of(self._session),
            resend=resend,
            flush_seconds=flush_seconds,
            flush_bytes=flush_bytes,
            policy=None if policy is None else Policy.load(policy),
        )

    def ingest(
        self,
        logs: Logs,
        *,
        columns: str | Path | None = None,
        separator: str | None = None,
        format: str | None = None,
        policy: str | Path | None = None,
        progress: Progress | None = None,
    ) -> Ingested:
        """Keep the rows of files (`-`: standard input) for later reports; see `royalty.ingest.ingest`.

        >>> royalty.usage.ingest("views.csv").kept  # doctest: +SKIP
        """
        from royalty.ingest import ingest

        store = store_of(self._session)
        named = [logs] if isinstance(logs, str | Path) else logs
        return ingest(
            store,
            named,
            columns=columns,
            separator=separator,
            format=format,
            policy=policy,
            progress=progress,
        )

    def forget(self, month: str) -> None:
        """Destroy the secret of a month (`YYYY-MM`) of which every day is closed; see `UsageStore.forget`.

        Raises InputError where a day is open.

        >>> royalty.usage.forget("2026-01")  # doctest: +SKIP
        """
        parse_day(f"{month}-01", what="month")
        store_of(self._session).forget(month)

    def status(self) -> Status:
        """Return the journal beside what the ledger has; reads only.

        >>> royalty.usage.status().pending  # doctest: +SKIP
        """
        return status(self._session)

    def adopt(
        self,
        number: int,
        *,
        confirmations: int | None = None,
        data: str | Path | None = None,
    ) -> Adoption:
        """Take a foreign batch of the chain into the account; see `royalty.standing.adopt`.

        >>> royalty.usage.adopt(7).voided  # doctest: +SKIP
        """
        return adopt(self._session, number, confirmations=confirmations, data=data)


def store_of(session: Royalty) -> UsageStore:
    """Return the store of a session's platform, without a node too where one has answered before.

    Its folder is named after the chain's genesis, so it is noted down for every named network: usage
    must be kept while no node answers. Of the local chain, which begins anew, nothing is noted.
    """
    settings = session.settings
    path = settings.state / "stores.json"
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    key = json.dumps(
        [settings.network, settings.contract, settings.account, session.named_platform]
    )
    try:
        folder = session.platform_dir()
    except (NodeUnreachable, NodeTimeout, NodeRefused):  # of several addresses: what the first said
        if key not in known:
            raise
        return UsageStore(settings.state / known[key] / STORE)
    noted = str(folder.relative_to(settings.state))
    if settings.network != LOCAL and known.get(key) != noted:
        write_json(path, known | {key: noted})
    return UsageStore(folder / STORE)
