"""What a report says of each reason: what it means stands in `findings.MEANING`, here what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from royalty.findings import Reason

ADVICE: dict[Reason, str] = {
    Reason.MISSING_ON_CHAIN: "Ask the platform for a report of these days; a late report sends what is missing.",
    Reason.NOT_IN_LOG: "Ask for the log that these units were counted from; what landed is final and stays paid.",
    Reason.UNDER_REPORTED: "Ask the platform to report these days again; it then sends the rest.",
    Reason.OVER_REPORTED: "Ask what else was counted, and under which policy; what landed stays paid.",
    Reason.WRONG_DAY: "Compare the time zone of the log's start times with the columns file: days are UTC.",
    Reason.WRONG_DEAL: "See which deal was in force that day (`royalty catalogue show`): the money went to"
    " another, or to another catalogue of the same file.",
    Reason.UNMATCHED_WORK: "Find out what these ids stand for and add them to the map (`--works`), or have the"
    " work registered. Until then nobody is paid for them.",
    Reason.UNKNOWN_WORK: "Ask the platform which work it meant: nothing is registered under this number.",
    Reason.RIVAL_CATALOGUE: "Find out whose work it is; the platform pays once it has run"
    " `royalty platform accept N --despite-rival`.",
    Reason.EVIDENCE_MISMATCH: "Ask for the manifest, log, policy and map that the batch was made from; the"
    " notes say what does not fit.",
    Reason.EVIDENCE_REUSED: "Ask for the evidence of each batch: one manifest can stand behind one batch only.",
    Reason.REPORTED_TWICE: "Ask the platform why both batches hold the same rows; what landed stays paid.",
    Reason.UNSETTLED: "Anybody who has the tally's data can settle it: `royalty tally settle`.",
}

HELD_ADVICE = (
    "Ask the platform whether somebody has looked at these days: `royalty usage report` with"
    " `--release WORK:DAY` lets such a day go and sends the rest. Until then it is neither due nor paid."
)


def rule_of(reason: str, policy: Mapping[str, Any]) -> str:
    """Return what excluded a row, with the policy's own numbers; '' for a reason that is not known here."""
    view = policy["view"]
    said = {
        "malformed": "a required field is missing or cannot be read",
        "duplicate": "the same id again, on the same UTC day or the one before",
        "outside_period": "not on a day that was asked for",
        "unmatched_work": "no work of the catalogues that count, or no deal on that day",
        "below_threshold": f"a view shorter than {view['minimum_seconds']} s and than"
        f" {view['short_fraction']} of the work; an excerpt under 1 s",
        "double_click": f"followed within {policy['double_click']['seconds']} s by the same viewer, work"
        " and kind",
        "over_cap": f"beyond {policy['cap']['per_viewer_work_day']} of one viewer, work, kind and day",
    }
    return said.get(reason, "")
