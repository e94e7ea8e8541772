"""The whole story on a local chain, told to one person at a terminal; runs from a checkout.

dev0 is a producer, dev1 the platform, dev2 its reporter, dev3 an auditor. Nothing is simulated: it is
the same contract, the same calls and the same checks as anywhere else, on an Anvil of its own.
"""

from __future__ import annotations

import csv
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.client import Royalty
from royalty.days import format_day, parse_day
from royalty.errors import InputError, RoyaltyError
from royalty.money import format_nano, parse_tokens
from royalty.settings import Settings
from royalty.usage import Tariff

if TYPE_CHECKING:
    from royalty.findings import Finding
    from royalty.reconcile import Reconciliation
    from royalty.reports import Report
    from royalty.works import NewWork

FOLDER = "royalty-demo"
MARK = ".royalty-demo"
EVIDENCE = "evidence"

# What the auditor found, as pages: of the real log, and of the film that was left out.
REAL_PAGE, LIE_PAGE = "real-log.html", "left-out.html"

KUAIRAND = "processed_standard_kcore_15.csv"
KUAIRAND_SINCE, KUAIRAND_UNTIL = "2022-04-07", "2022-04-21"
# Design, section 4: what the rules make of this file.
KUAIRAND_COUNTS = {
    "rows": 41_828,
    "duplicate": 124,
    "below_threshold": 19_129,
    "qualified": 22_575,
}
KUAIRAND_VIDEOS = 9_359
KUAIRAND_DAYS = 15
KUAIRAND_TARIFF = Tariff(3_000_000, 500_000_000, 100_000)

STORY_SINCE, STORY_UNTIL = "2026-10-05", "2026-10-06"
STORY_FILMS = {
    "big-buck-bunny": ("Big Buck Bunny", Tariff(3_000_000, 500_000_000, 100_000)),
    "sintel": ("Sintel", Tariff(4_000_000, 500_000_000, 100_000)),
    "spring": ("Spring", Tariff(5_000_000, 500_000_000, 100_000)),
}
STORY_AMOUNT_NANO = 1_139_700_000  # examples/open-movies/README.md, by hand
FILMS = range(2, 2 + len(STORY_FILMS))  # catalogue 1 is the real log's
SECOND = "dev4"
WITHHELD = "sintel"
WITHHELD_NANO = 17_700_000  # 3 views at 0.004 and 57 excerpt seconds at 0.0001

Say = Callable[[str], None]
Bar = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
Table = Callable[..., str]


@dataclass(frozen=True, slots=True)
class Stage:
    """What the story is told with: where it happens, its examples, and how it speaks."""

    folder: Path
    examples: Path
    say: Say
    bar: Bar
    table: Table

    def session(self, account: str, platform: str | None = None) -> Royalty:
        """Return a session of one of the four people."""
        return Royalty(settings_of(self.folder, account), platform=platform)


class DemoFailed(RoyaltyError):  # noqa: N818 - named after what happened, as all our errors are
    """The demo saw another result than the one that stands in the design."""

    exit_code = 1


def expect(what: str, found: object, expected: object) -> None:
    """Raise DemoFailed where a result is not what it must be."""
    if found != expected:
        raise DemoFailed(f"demo: {what} should be {expected}, but is {found}")


def settings_of(folder: Path, account: str | None = None) -> Settings:
    """Return the settings of the demo's own chain, whatever this machine's own settings say."""
    return Settings.load(
        network="local", account=account, folder=folder, environ=bare_environment()
    )


def bare_environment() -> dict[str, str]:
    """Return the environment without ROYALTY_* settings, which are about somebody's real work."""
    kept = "ROYALTY_ANVIL"
    return {k: v for k, v in os.environ.items() if not k.startswith("ROYALTY_") or k == kept}


def find_examples() -> Path:
    """Return the checkout's `examples/`; InputError where this is no checkout."""
    examples = Path(__file__).resolve().parent.parent / "examples"
    if not (examples / "kuairand" / KUAIRAND).is_file():
        raise InputError("the demo runs from a checkout: its data are not part of the package")
    return examples


def prepare_folder(folder: Path) -> Path:
    """Return an empty folder for the demo; InputError rather than empty a folder that is not its own."""
    if folder.exists() and not (folder / MARK).is_file():
        raise InputError(f"{folder} exists and was not made by the demo; move it, or pass --folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARK).write_text(
        "This folder belongs to `royalty demo`, which empties it.\n", "utf-8"
    )
    return folder


# --- the chain ---


def deploy(stage: Stage) -> None:
    """Put the ledger and a token of play money on the local chain of the demo's folder."""
    from royalty.chain import deploy as deployment

    session = stage.session("dev0")
    address, calls = deployment.plan_deployment(session.node, None, None)
    made = deployment.deploy(session.node, session.account, address, calls, None)
    deployment.save(session.chain_dir, made)
    stage.say(f"ledger {made.royalty}")
    stage.say(f"token  {made.token} (TestUSD, play money)")


def enrol(stage: Stage, catalogues: Iterable[int], deposit: str, account: str = "dev1") -> None:
    """Let a platform accept catalogues at today's prices, and prepay."""
    platform = stage.session(account)
    for catalogue in catalogues:
        platform.platforms.accept(catalogue)
    nano = parse_tokens(deposit)
    platform.platforms.deposit(platform.token.unit.from_nano_exact(nano))


# --- the real log ---


def videos(log: Path) -> list[str]:
    """Return the ids of the videos of the watch log, in order of first appearance."""
    with log.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return list(dict.fromkeys(row["video_id"] for row in rows))


def video_works(ids: Iterable[str]) -> list[NewWork]:
    """Return the videos as works; nobody here has the files, so `kuairand:<id>` stands for them."""
    from royalty.works import NewWork

    return [
        NewWork(sha256(f"kuairand:{video}".encode()).hexdigest(), f"KuaiRand {video}", {}, video)
        for video in ids
    ]


def real_log(stage: Stage) -> None:
    """Register, report, pay and reconcile the real watch log."""
    log = stage.examples / "kuairand" / KUAIRAND
    columns = stage.examples / "kuairand" / "columns.toml"
    register_videos(stage, log)
    enrol(stage, [1], "1000")
    reported = report_real_log(stage, log, columns)
    pay_out(stage)
    with stage.bar("reconciling", None):
        found = stage.session("dev3").reconcile(
            log,
            columns=columns,
            platform="dev1",
            since=KUAIRAND_SINCE,
            until=KUAIRAND_UNTIL,
            evidence=stage.folder / EVIDENCE,
        )
    show_reconciliation(stage, found)
    write_report(stage, found, REAL_PAGE)
    expect("findings", reasons(found), [])
    expect("what was paid", found.credited_nano, reported)


def register_videos(stage: Stage, log: Path) -> None:
    """Open one catalogue and register every video of the log in it."""
    producer = stage.session("dev0")
    producer.catalogues.open(
        "KuaiRand videos",
        stage.examples / "kuairand" / "split.csv",
        KUAIRAND_TARIFF,
        from_day=parse_day(KUAIRAND_SINCE),
    )
    ids = videos(log)
    expect("videos", len(ids), KUAIRAND_VIDEOS)
    with stage.bar("registering works", len(ids)) as advance:
        registered = producer.works.register(1, video_works(ids), progress=advance)
    stage.say(
        f"{len(ids):,} works registered in {len(registered.transactions)} transactions; the file of"
    )
    stage.say("a video is not public, so the SHA-256 of `kuairand:<id>` stands for it")


def report_real_log(stage: Stage, log: Path, columns: Path) -> int:
    """Count the log, show what each rule excluded, report it; return the nano-tokens paid."""
    platform = stage.session("dev1")
    with stage.bar("counting", None):
        checked = platform.usage.check(
            log, columns=columns, since=KUAIRAND_SINCE, until=KUAIRAND_UNTIL
        )
    stage.say("")
    show_counts(stage, checked.document())
    seen = {"rows": checked.count.rows, "qualified": checked.count.qualified}
    seen |= {
        reason: checked.count.excluded[reason] for reason in KUAIRAND_COUNTS if reason not in seen
    }
    expect("the counts", seen, KUAIRAND_COUNTS)
    with stage.bar("reporting days", None):
        report = platform.usage.report(
            log,
            columns=columns,
            since=KUAIRAND_SINCE,
            until=KUAIRAND_UNTIL,
            as_="direct",
            evidence=stage.folder / EVIDENCE,
        )
    expect("days reported", len({batch.day for batch in report.batches}), KUAIRAND_DAYS)
    paid = int(sum(batch.amount_nano for batch in report.batches))
    stage.say("")
    stage.say(f"{len(report.batches)} batches reported, one a day: {format_nano(paid)} TestUSD")
    again = platform.usage.report(log, columns=columns, since=KUAIRAND_SINCE, until=KUAIRAND_UNTIL)
    expect("batches when the same log is reported again", len(again.batches), 0)
    stage.say("the same log reported again: 0 batches")
    return paid


# --- the story ---


def story(stage: Stage) -> None:
    """Tell the small story: three open movies, one log in which every rule fires."""
    expect("the films' catalogues", open_films(stage), list(FILMS))
    enrol(stage, FILMS, "10")
    log = stage.examples / "open-movies" / "views.csv"
    report = report_story(stage, log)
    pay_out(stage)
    show_payouts(stage)
    found = reconcile_story(stage, log)
    show_reconciliation(stage, found)
    stage.say("the one finding: a row of `cat-video`, which nobody has registered")
    expect("findings", reasons(found), ["unmatched_work"])
    expect("what was paid", found.credited_nano, STORY_AMOUNT_NANO)
    expect("what was reported", sum(b.amount_nano for b in report.batches), STORY_AMOUNT_NANO)


def open_films(stage: Stage) -> list[int]:
    """Open a catalogue for each film and register it; return the catalogues' numbers."""
    from royalty.works import NewWork

    producer = stage.session("dev0")
    opened = []
    for name, (title, tariff) in STORY_FILMS.items():
        split = stage.examples / "open-movies" / f"{name}.split.csv"
        catalogue = producer.catalogues.open(
            title, split, tariff, from_day=parse_day(STORY_SINCE)
        ).catalogue
        fingerprint = sha256(f"open-movies:{name}".encode()).hexdigest()
        producer.works.register(catalogue, [NewWork(fingerprint, title, {}, name)])
        opened.append(catalogue)
        names = ", ".join(f"{party['holder']} {party['share']}" for party in read_rows(split))
        for line in wrap(f"{title}: {names}", 78):
            stage.say(line)
    return opened


def report_story(stage: Stage, log: Path) -> Report:
    """Report the small log through the platform's reporter, a key with a limit."""
    platform = stage.session("dev1")
    platform.platforms.set_reporter(platform.address("dev2"), True)
    platform.platforms.set_limit(5_000_000)
    reporter = stage.session("dev2", platform="dev1")
    checked = reporter.usage.check(log, since=STORY_SINCE, until=STORY_UNTIL)
    stage.say("")
    show_counts(stage, checked.document())
    expect(
        "rules that fired",
        sorted(r for r, n in checked.count.excluded.items() if n),
        sorted(checked.count.excluded),
    )
    report: Report = reporter.usage.report(
        log, since=STORY_SINCE, until=STORY_UNTIL, evidence=stage.folder / EVIDENCE
    )
    paid = sum(batch.amount_nano for batch in report.batches)
    stage.say("")
    stage.say(f"reported by dev2, a key that can lose at most 5 TestUSD a day: {format_nano(paid)}")
    return report


def reconcile_story(stage: Stage, log: Path, platform: str = "dev1") -> Reconciliation:
    """Return what the auditor finds in the small log."""
    found: Reconciliation = stage.session("dev3").reconcile(
        log, since=STORY_SINCE, until=STORY_UNTIL, platform=platform
    )
    return found


def write_report(stage: Stage, found: Reconciliation, name: str) -> None:
    """Write what the auditor found as a page, and name it."""
    stage.say(f"the same for people, in a browser: {found.to_html(stage.folder / name)}")


def withhold(stage: Stage) -> None:
    """Let a second platform leave a film out of the same log, and show what the auditor finds."""
    source = stage.examples / "open-movies" / "views.csv"
    short = stage.folder / "views-without-sintel.csv"
    kept = [line for line in source.read_text("utf-8").splitlines() if f",{WITHHELD}," not in line]
    short.write_text("\n".join(kept) + "\n", "utf-8")
    enrol(stage, FILMS, "10", account=SECOND)
    platform = stage.session(SECOND)
    report: Report = platform.usage.report(short, since=STORY_SINCE, until=STORY_UNTIL)
    paid = sum(batch.amount_nano for batch in report.batches)
    stage.say(f"{SECOND}, a second platform, had the same views; it reported {format_nano(paid)}")
    found = reconcile_story(stage, source, platform=SECOND)
    show_reconciliation(stage, found)
    stage.say("")
    show_findings(stage, found.findings)
    stage.say("")
    stage.say("Sintel was watched and not paid for: to the second and to the nano-token")
    write_report(stage, found, LIE_PAGE)
    expect("findings", reasons(found), ["missing_on_chain", "unmatched_work"])
    expect("the difference", found.difference_nano, WITHHELD_NANO)


# --- what is shown ---


def show_counts(stage: Stage, document: Mapping[str, Any]) -> None:
    """Show the rows of a log by what became of them."""
    rows = [(reason.replace("_", " "), f"{n:,}") for reason, n in document["excluded"].items() if n]
    rows = [("rows of the log", f"{document['rows']:,}"), *rows]
    rows.append(("qualified", f"{document['qualified']:,}"))
    stage.say(stage.table(("counted", "rows"), rows, right=[1]))


def pay_out(stage: Stage) -> None:
    """Allocate and pay everybody, and show who got what."""
    with stage.bar("paying out", None):
        run = stage.session("dev0").payouts.run()
    expect("payouts skipped", list(run.skipped), [])
    stage.say(
        f"{run.holders} rights holders paid {format_nano(run.paid_nano)} TestUSD"
        f" in {len(run.transactions)} transaction{'s' * (len(run.transactions) != 1)}"
    )


def show_payouts(stage: Stage) -> None:
    """Show what each holder of the films was paid, from the chain's own history."""
    paid: dict[str, int] = {}
    for row in stage.session("dev3").history.payouts().to_list():
        paid[row["holder"]] = paid.get(row["holder"], 0) + int(row["amount_nano"])
    parties: dict[str, list[dict[str, str]]] = {}
    for name in STORY_FILMS:
        for party in read_rows(stage.examples / "open-movies" / f"{name}.split.csv"):
            parties.setdefault(party["address"], []).append(party | {"film": name})
    rows = [
        (
            shares[0]["holder"],
            ", ".join(f"{one['film']} {one['share']}" for one in shares),
            format_nano(paid.get(address, 0)),
        )
        for address, shares in parties.items()
    ]
    stage.say("")
    stage.say(stage.table(("holder", "shares", "TestUSD"), rows, right=[2]))
    stage.say("one balance and one transfer a holder, over all works")


def reasons(found: Reconciliation) -> list[str]:
    """Return the reasons of a reconciliation's findings, each once."""
    return sorted({finding.reason.value for finding in found.findings})


def show_reconciliation(stage: Stage, found: Reconciliation) -> None:
    """Show both sides of a reconciliation."""
    stage.say("")
    rows = [
        ("what the log says", format_nano(found.logged_nano)),
        ("what the chain paid", format_nano(found.credited_nano)),
        ("difference", format_nano(found.difference_nano)),
    ]
    stage.say(stage.table(("reconciled by the auditor", "TestUSD"), rows, right=[1]))
    stage.say(f"findings: {len(found.findings)}; solvent: {'yes' if found.solvent else 'NO'}")


def show_findings(stage: Stage, findings: Sequence[Finding]) -> None:
    """Show findings as the auditor's rows."""
    head = ("reason", "work", "day", "kind", "logged", "chain", "difference")
    rows = [
        (
            found.reason.value,
            found.work,
            "" if found.day is None else format_day(found.day),
            "" if found.kind is None else found.kind.word,
            found.logged_units,
            "" if found.chain_units is None else found.chain_units,
            "" if found.difference_nano is None else format_nano(found.difference_nano),
        )
        for found in findings
    ]
    stage.say(stage.table(head, rows, right=[4, 5, 6]))


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a small CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def wrap(text: str, width: int) -> list[str]:
    """Return text in lines of at most `width`, all but the first indented."""
    import textwrap

    return textwrap.wrap(text, width, subsequent_indent="  ")


def run(stage: Stage, heading: Say) -> float:
    """Tell the whole story on the chain that runs in the stage's folder; return the seconds it took."""
    began = time.monotonic()
    heading("1  A contract without an owner, on a local chain")
    deploy(stage)
    heading("2  A real watch log: KuaiRand, 41,828 views of 9,359 videos in 2022")
    real_log(stage)
    heading("3  Three open movies; shares, wallets and this log are invented")
    story(stage)
    heading("4  A platform that leaves a film out of its report")
    withhold(stage)
    return time.monotonic() - began
