"""The noun `royalty.audit`: one door to what an auditor asks of the ledger, evidence and logs.

Every method hands on to the module whose job it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from royalty.audit import Solvency, solvency
from royalty.questions import Day, Logs
from royalty.verification import Verification, evidence

if TYPE_CHECKING:
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
