"""The noun `royalty.audit`: one door to what an auditor asks of the ledger, evidence and logs.

Every method hands on to the module whose job it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from royalty.audit import Solvency, solvency
from royalty.questions import Day, Logs
from royalty.samples import Sample, sample
from royalty.seeds import Planned, SeedCheck, check, plan
from royalty.traces import Trace, trace
from royalty.verification import Verification, evidence

if TYPE_CHECKING:
    from royalty.chain.code import CodeCheck
    from royalty.client import Royalty


class Audit:
    """What anybody can check, for a session: `royalty.audit`.

    Days are `YYYY-MM-DD`, dates, or numbers since 1970-01-01; a period's ends are inclusive.
    """

    def __init__(self, session: Royalty) -> None:
        self._session = session

    def solvency(self) -> Solvency:
        """Return whether the ledger can pay everybody, at the newest block; see `royalty.audit.solvency`.

        >>> royalty.audit.solvency().ok  # doctest: +SKIP
        """
        return solvency(self._session)

    def code(self, token: str | None = None) -> CodeCheck:
        """Return whether the ledger's code is this package's; see `royalty.chain.code.check_code`.

        >>> royalty.audit.code().same  # doctest: +SKIP
        """
        from royalty import __version__
        from royalty.chain.code import check_code

        session = self._session
        expected = None if token is None else session.address(token)
        return check_code(session.node, session.ledger, __version__, expected)

    def evidence(
        self,
        folder: str | Path,
        logs: Logs | None = None,
        *,
        platform: str | None = None,
        since: Day | None = None,
        until: Day | None = None,
        separator: str | None = None,
    ) -> Verification:
        """Return what the evidence in a folder is worth; see `royalty.verification.evidence`.

        >>> royalty.audit.evidence("evidence", "views/*.csv").flaws  # doctest: +SKIP
        """
        return evidence(
            self._session,
            folder,
            logs,
            platform=platform or self._session.named_platform,
            since=since,
            until=until,
            separator=separator,
        )

    def seed(
        self,
        out: str | Path,
        works: Sequence[str],
        *,
        since: Day,
        until: Day,
        plays: int = 20,
        kind: str = "view",
        watched: str | int = 60,
        duration: str | int | None = None,
        seed: str | None = None,
        policy: str | Path | None = None,
    ) -> Planned:
        """Write a plan of plays to perform; see `royalty.seeds.plan`.

        >>> royalty.audit.seed("seeded.csv", ["1/0"], since="2026-12-01", until="2026-12-31")
        ... # doctest: +SKIP
        """
        return plan(
            out,
            works,
            since=since,
            until=until,
            plays=plays,
            kind=kind,
            watched=watched,
            duration=duration,
            seed=seed,
            policy=policy,
        )

    def check_seeds(
        self,
        seeded: str | Path,
        logs: Logs | None = None,
        *,
        works: str | Path | None = None,
        columns: str | Path | None = None,
        policy: str | Path | None = None,
        separator: str | None = None,
        format: str | None = None,
        platform: str | None = None,
        evidence: str | Path | None = None,
        within: int = 0,
    ) -> SeedCheck:
        """Return what became of plays that were performed; see `royalty.seeds.check`.

        >>> royalty.audit.check_seeds("seeded.csv", "views/*.csv").states()  # doctest: +SKIP
        """
        return check(
            self._session,
            seeded,
            logs,
            works=works,
            columns=columns,
            policy=policy,
            separator=separator,
            format=format,
            platform=platform or self._session.named_platform,
            evidence=evidence,
            within=within,
        )

    def sample(
        self,
        number: int,
        logs: Logs,
        *,
        seed: str,
        since: Day,
        until: Day,
        works: str | Path | None = None,
        columns: str | Path | None = None,
        policy: str | Path | None = None,
        separator: str | None = None,
        format: str | None = None,
        platform: str | None = None,
        evidence: str | Path | None = None,
    ) -> Sample:
        """Return rows drawn by a stated seed, each traced to its payout; see `royalty.samples.sample`.

        >>> royalty.audit.sample(5, "v.csv", seed="x", since="2026-11-01", until="2026-11-30").rows
        ... # doctest: +SKIP
        """
        return sample(
            self._session,
            number,
            logs,
            seed=seed,
            since=since,
            until=until,
            works=works,
            columns=columns,
            policy=policy,
            separator=separator,
            format=format,
            platform=platform or self._session.named_platform,
            evidence=evidence,
        )

    def trace(self, what: str, *, platform: str | None = None) -> Trace:
        """Return the money of a work, a batch or a holder, recomputed; see `royalty.traces.trace`.

        >>> royalty.audit.trace("12/3").amount_nano  # doctest: +SKIP
        """
        return trace(self._session, what, platform=platform)
