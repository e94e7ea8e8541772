"""`royalty reconcile` as a process: an auditor's own folder against what a platform reported."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from royalty.merkle import Claim, DayLine, leaves_of
from royalty.tallydata import data_bytes, file_name, rows_of, write_data
from royalty.usage import Kind
from tests.conftest import Anvil, Ran, clean_environment, run_royalty
from tests.royalty.pages import read, same_figures
from tests.tallies import post

FIELDS = ["usage_id", "work", "kind", "started_at", "watched_seconds", "viewer"]
DAYS = ["2026-01-10", "2026-01-11", "2026-01-12"]
TARIFF = ["--tariff", "view=0.003", "--tariff", "download=0.5", "--tariff", "excerpt=0.0001"]
KEYS = {
    "rows",
    "qualified",
    "excluded",
    "units_logged",
    "units_chain",
    "logged_nano",
    "credited_nano",
    "difference_nano",
    "shortfall_percent",
    "over_threshold",
    "unpaid_nano",
    "solvent",
    "findings",
}
COLUMNS = {
    "reason",
    "platform",
    "catalogue",
    "work",
    "day",
    "kind",
    "version",
    "logged_units",
    "chain_units",
    "price_nano",
    "expected_nano",
    "credited_nano",
    "difference_nano",
    "batch",
}
DIGITS = set("0123456789-")


def rows_of_the_log() -> list[list[object]]:
    """Three days of views, downloads and excerpts of three works; some rows are not qualified."""
    rows: list[list[object]] = []
    for day in DAYS:
        for viewer in range(6):
            work = f"film-{viewer % 3}"
            rows.append(
                [f"{day}-v{viewer}", work, "view", f"{day}T10:0{viewer}:00Z", 45, f"p{viewer}"]
            )
            rows.append(
                [f"{day}-s{viewer}", work, "view", f"{day}T11:0{viewer}:00Z", 3, f"p{viewer}"]
            )
        rows.append([f"{day}-d", "film-1", "download", f"{day}T12:00:00Z", "", "p1"])
        rows.append([f"{day}-e", "film-2", "excerpt", f"{day}T13:00:00Z", "12.9", "p2"])
    return rows


def write_log(path: Path, rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([FIELDS, *rows])
    return path


@dataclass
class Story:
    """A platform that has reported an honest log; its folder, the log, the map and the evidence."""

    environ: dict[str, str]
    folder: Path
    log: Path
    works: Path
    evidence: Path
    platform: str

    def run(
        self, *arguments: object, cwd: Path | None = None, account: str = "dev0", **options: Any
    ) -> Ran:
        environ = self.environ | {"ROYALTY_ACCOUNT": account}
        return run_royalty(*arguments, cwd=cwd or self.folder, environ=environ, **options)


@pytest.fixture(scope="module")
def story(anvil: Anvil, ledger: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("platform")
    environ = clean_environment(folder) | {
        "ROYALTY_RPC": anvil.rpc,
        "ROYALTY_CONTRACT": ledger["royalty"],
    }
    told = Story(environ, folder, folder / "log.csv", folder / "map.csv", folder / "evidence", "")
    (folder / "split.csv").write_text(
        "holder,address,role,share\n"
        "Ada,0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65,director,60%\n"
        "Bo,0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc,composer,40%\n"
    )
    told.run(
        *("catalogue", "open", "--title", "Films", "--split", "split.csv", *TARIFF),
        "--from",
        DAYS[0],
    )
    (folder / "works.csv").write_text(
        "fingerprint,title,platform_id\n"
        + "".join(f"{i:064x},Film {i},film-{i}\n" for i in range(3))
    )
    works = told.run("work", "register", "--from", "works.csv", "--catalogue", "1")["works"]
    told.works.write_text(
        "platform_id,work\n" + "".join(f"film-{i},{work}\n" for i, work in enumerate(works))
    )
    write_log(told.log, rows_of_the_log())
    told.run("platform", "accept", "1", account="dev1")
    told.platform = told.run("platform", "deposit", "100", account="dev1")["platform"]
    told.run(
        *(
            "usage",
            "report",
            "log.csv",
            "--since",
            DAYS[0],
            "--until",
            DAYS[-1],
            "--works",
            "map.csv",
        ),
        *("--evidence", "evidence"),
        account="dev1",
    )
    return told


@pytest.fixture
def audit(story: Story, tmp_path: Path) -> Callable[..., Ran]:
    """`royalty reconcile` in an empty folder, as dev3, over the story's days."""
    place = tmp_path / "auditor"
    place.mkdir()

    def run(log: Path, *arguments: object, **options: Any) -> Ran:
        words = ("--since", DAYS[0], "--until", DAYS[-1], "--works", story.works)
        return story.run("reconcile", log, *words, *arguments, cwd=place, account="dev3", **options)

    return run


def test_an_honest_log_and_the_chain_agree(story: Story, audit: Callable[..., Ran]) -> None:
    told = audit(story.log, "--evidence", story.evidence)
    document = told.document
    assert set(document) >= KEYS
    assert document["findings"] == []
    assert told.stderr == ""
    assert (document["rows"], document["qualified"]) == (42, 24)
    assert document["excluded"]["below_threshold"] == 18
    assert document["units_logged"] == {"view": 18, "download": 3, "excerpt": 36}
    assert document["units_chain"] == document["units_logged"]
    worth = 18 * 3_000_000 + 3 * 500_000_000 + 36 * 100_000
    assert document["logged_nano"] == document["credited_nano"] == str(worth)
    assert document["logged"] == "1.5576"
    assert document["difference_nano"] == "0"
    assert document["shortfall_percent"] == "0.0000"
    assert document["over_threshold"] is False
    assert document["solvent"] is True
    assert document["unpaid_nano"] == str(worth)


def test_what_the_platform_withheld_is_a_finding(
    story: Story, audit: Callable[..., Ran], tmp_path: Path
) -> None:
    extra = [f"{DAYS[1]}-x", "film-0", "download", f"{DAYS[1]}T15:00:00Z", "", "p9"]
    log = write_log(tmp_path / "log.csv", [*rows_of_the_log(), extra])
    told = audit(log, "--out", tmp_path / "out", exit=1)
    (row,) = told["findings"]
    assert set(row) >= COLUMNS
    assert {name: row[name] for name in ("reason", "platform", "work", "day", "kind")} == {
        "reason": "missing_on_chain",
        "platform": story.platform,
        "work": "1/0",
        "day": DAYS[1],
        "kind": "download",
    }
    assert (row["catalogue"], row["version"], row["batch"]) == (1, 1, None)
    assert (row["logged_units"], row["chain_units"]) == (1, 0)
    assert row["difference_nano"] == row["expected_nano"] == "500000000"
    assert row["difference"] == "0.5"
    assert told["shortfall_percent"] == "24.3002"
    assert told["over_threshold"] is True
    assert audit(log, "--threshold", "24.4", exit=1)["over_threshold"] is False
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "findings.csv",
        "findings.parquet",
    ]


def test_people_are_told_what_it_means_in_80_columns(
    story: Story, audit: Callable[..., Ran], tmp_path: Path
) -> None:
    assert "agree, to the last nano-token" in audit(story.log, json=False).stdout
    evil = [
        f"{DAYS[1]}-z",
        "\x1b[2J\u202e=cmd()" + "w" * 200,
        "view",
        f"{DAYS[1]}T15:00:00Z",
        50,
        "p9",
    ]
    log = write_log(tmp_path / "log.csv", [*rows_of_the_log()[:-2], evil])
    told = audit(log, json=False, exit=1)
    assert "The chain credited 0.5012 TUSD more than the log is worth." in told.stdout
    assert "unmatched_work" in told.stdout
    assert "not_in_log" in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 80
    assert "\x1b" not in told.stdout
    assert "\u202e" not in told.stdout


def test_evidence_that_was_changed_or_is_missing_is_a_finding(
    story: Story, audit: Callable[..., Ran], tmp_path: Path
) -> None:
    shutil.copytree(story.evidence, tmp_path / "evidence")
    manifests = sorted((tmp_path / "evidence").glob("manifest-*.json"))
    document = json.loads(manifests[0].read_text())
    document["counts"]["qualified"] += 1
    manifests[0].write_text(json.dumps(document))
    manifests[1].unlink()
    told = audit(story.log, "--evidence", tmp_path / "evidence", exit=1)
    assert [(row["reason"], row["batch"]) for row in told["findings"]] == [
        ("evidence_mismatch", 1),
        ("evidence_mismatch", 2),
    ]
    assert "batch 1: manifest-1.json is not the one that the batch committed to" in told.stderr
    assert "batch 2: there is no manifest-2.json" in told.stderr
    assert told["difference_nano"] == "0"


def test_another_log_or_policy_than_the_platforms_shows_in_the_evidence(
    story: Story, audit: Callable[..., Ran], tmp_path: Path
) -> None:
    log = write_log(tmp_path / "log.csv", list(reversed(rows_of_the_log())))
    told = audit(log, "--evidence", story.evidence, exit=1)
    assert {row["reason"] for row in told["findings"]} == {"evidence_mismatch"}
    assert "it counted a log that is not among those given" in told.stderr
    policy = tmp_path / "policy.toml"
    policy.write_text('name = "other"\nversion = "2"\n')
    told = audit(story.log, "--policy", policy, "--evidence", story.evidence, exit=1)
    assert {row["reason"] for row in told["findings"]} == {"evidence_mismatch"}
    assert "names another policy" in told.stderr


def test_the_platforms_own_folder_says_the_same(story: Story, audit: Callable[..., Ran]) -> None:
    words = ("reconcile", "log.csv", "--since", DAYS[0], "--until", DAYS[-1])
    own = story.run(*words, account="dev1").document  # its folder has notes of the works
    given = audit(story.log).document
    differ = ("works_digest", "folder_ids", "accepted_catalogues")
    assert [own.pop(word) for word in differ] == [None, 3, 1]
    assert [given.pop(word) for word in differ][1:] == [0, 0]
    assert own == given


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.csv", "--since", DAYS[0], "--until", DAYS[1]], "nowhere.csv"),
        (["--since", DAYS[0], "--until", DAYS[1]], "LOG"),
        (["LOG", "--until", DAYS[1]], "--since"),
        (["LOG", "--since", DAYS[1], "--until", DAYS[0]], "ends before it starts"),
        (["LOG", "--since", "yesterday", "--until", DAYS[1]], "'yesterday' is not a date"),
        (["LOG", "--since", "2026-02-30", "--until", DAYS[1]], "is not a date"),
        (
            ["LOG", "--since", DAYS[0], "--until", DAYS[1], "--threshold", "lots"],
            "not a percentage",
        ),
        (["LOG", "--since", DAYS[0], "--until", DAYS[1], "--platform", "nobody"], "nobody"),
        (["LOG", "--since", DAYS[0], "--until", DAYS[1], "--platform", "0x12"], "0x12"),
        (["LOG", "--since", DAYS[0], "--until", DAYS[1], "--evidence", "nowhere"], "is no folder"),
        (["LOG", "--since", DAYS[0], "--until", DAYS[1], "--works", "nowhere"], "nowhere"),
        (["LOG", "--since", DAYS[0], "--until", DAYS[1], "--policy", "nowhere"], "nowhere"),
        (["LOG", "--since", DAYS[0], "--until", DAYS[1], "--columns", "nowhere"], "nowhere"),
        (["LOG", "--since", "2026-03-01", "--until", "2026-03-02"], "no platform has reported"),
    ],
)
def test_bad_input_is_one_clear_line(
    story: Story, quick: Callable[..., Ran], words: list[str], message: str
) -> None:
    given = [str(story.log) if word == "LOG" else word for word in words]
    told = quick("reconcile", *given, exit=2)
    assert message in told.stderr
    assert told.stderr.startswith("royalty: ")
    assert len(told.stderr.splitlines()) == 1


def test_the_page_says_what_the_json_document_says_and_hostile_words_are_words(
    story: Story, audit: Callable[..., Ran], tmp_path: Path, anvil: Anvil, ledger: dict[str, Any]
) -> None:
    """A title from the chain, a file's name and an id from the log, none of which we chose."""
    from royalty import Royalty
    from royalty.works import NewWork

    snapshot = anvil.request("evm_snapshot")
    producer = Royalty.connect(
        rpc=anvil.rpc, contract=ledger["royalty"], account="dev0", folder=story.folder / "producer"
    )
    title = "<script>alert('title')</script>"
    producer.works.register(1, [NewWork("f" * 64, title, {}, "")])
    work = "\u202e<img src=//evil.example onerror=alert('id')>"
    extra = [
        ["x1", "1/3", "view", f"{DAYS[1]}T15:00:00Z", 45, "p8"],
        ["x2", work, "view", f"{DAYS[1]}T15:00:00Z", 45, "p9"],
    ]
    log = write_log(tmp_path / "<b>log'.csv", [*rows_of_the_log(), *extra])
    page = tmp_path / "out" / "report.html"
    document = audit(log, "--html", page, "--evidence", story.evidence, exit=1).document
    shown = read(page.read_text("utf-8"))
    same_figures(shown, document)
    assert shown.all("script", "img") == []
    assert title in [node.text for node in shown.all("bdi")]
    assert "U+202E<img src=//evil.example onerror=alert('id')>" in [
        node.text for node in shown.all("bdi")
    ]
    assert "<b>log'.csv" in shown.text
    assert document["sources"][0]["name"] == "<b>log'.csv"
    assert str(tmp_path) not in page.read_text("utf-8")
    assert anvil.rpc not in page.read_text("utf-8")
    for fact in ("contract", "block_hash", "works_digest"):
        assert document[fact] in shown.text
    for one in [*document["sources"], *document["batches"]]:
        assert one.get("sha256", one.get("evidence")) in shown.text
    assert document["policy"]["digest"] in shown.text
    told = audit(story.log, "--html", page, json=False)
    assert f"wrote {page}" in " ".join(told.stdout.split())
    assert "evidence" in read(page.read_text("utf-8")).text
    anvil.request("evm_revert", snapshot)


def test_the_command_on_the_page_repeats_it_in_another_folder(
    story: Story, audit: Callable[..., Ran], tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    extra = [f"{DAYS[1]}-x", "film-0", "download", f"{DAYS[1]}T15:00:00Z", "", "p9"]
    log = write_log(tmp_path / "my $(log).csv", [*rows_of_the_log(), extra])
    words = ("--html", page, "--evidence", story.evidence, "--threshold", "25")
    first = audit(log, *words, exit=1).document
    lines = [node.text for node in read(page.read_text("utf-8")).all("pre")[0].all("code")]
    shell = ["sh", "-c", "printf '%s\\0' " + "\n".join(lines)]
    command = subprocess.run(shell, capture_output=True, text=True, check=True).stdout.split("\0")
    command.pop()
    assert command[-1] == "URL"
    place = tmp_path / "elsewhere"
    shutil.copytree(story.evidence, place / "evidence")
    for file in (log, story.works):
        shutil.copy(file, place / file.name)
    again = story.run(
        *command[1:-1], story.environ["ROYALTY_RPC"], cwd=place, account="dev3", exit=1
    )
    assert again.document == first


def test_days_and_works_add_up_to_the_totals(story: Story, audit: Callable[..., Ran]) -> None:
    document = audit(story.log).document
    for rows in (document["days"], document["works"]):
        assert len(rows) == 3
        for word in ("logged_nano", "credited_nano", "difference_nano"):
            assert sum(int(row[word]) for row in rows) == int(document[word])
        for side in ("units_logged", "units_chain"):
            for kind, units in document[side].items():
                assert sum(row[side][kind] for row in rows) == units
    assert [row["day"] for row in document["days"]] == DAYS
    assert [row["title"] for row in document["works"]] == ["Film 1", "Film 2", "Film 0"]


def test_a_page_that_has_no_place_is_refused_before_anything_is_read(
    story: Story, audit: Callable[..., Ran], tmp_path: Path
) -> None:
    told = audit(tmp_path / "nowhere.csv", "--html", tmp_path, exit=2)
    assert "is a folder; name a file in it" in told.stderr
    told = audit(story.log, "--html", story.log / "report.html", exit=2)
    assert "cannot be written" in told.stderr


def test_a_folder_that_cannot_be_written_is_bad_input(
    story: Story, audit: Callable[..., Ran]
) -> None:
    told = audit(story.log, "--out", story.log, exit=2)
    assert "cannot be written" in told.stderr


def test_no_node_no_ledger_and_another_chain_are_trouble(story: Story) -> None:
    words = ["reconcile", story.log, "--since", DAYS[0], "--until", DAYS[1]]
    assert "no node answers" in story.run(*words, "--rpc", "http://127.0.0.1:9", exit=3).stderr
    bare = ["--contract", "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65"]
    assert "no contract" in story.run(*words, *bare, exit=3).stderr
    (story.folder / "royalty.toml").write_text("[networks.far]\nchain_id = 5\n")
    rpc = story.environ["ROYALTY_RPC"]
    told = story.run(*words, "--network", "far", "--rpc", rpc, exit=3)
    assert "chain 31337, not 5" in told.stderr
    (story.folder / "royalty.toml").unlink()


def test_amounts_are_digits_and_decimals_stand_beside(
    story: Story, audit: Callable[..., Ran]
) -> None:
    document = audit(story.log).document
    for word in ("logged", "credited", "difference", "unpaid"):
        assert set(document[f"{word}_nano"]) <= DIGITS
        assert isinstance(document[word], str)


def test_a_log_that_was_reported_again_is_found_as_reported_twice(
    story: Story, audit: Callable[..., Ran], anvil: Anvil, ledger: dict[str, Any]
) -> None:
    """By a program of the platform's own, with evidence as it should be; last, as it stays."""
    from royalty import Royalty, index
    from royalty.evidence import canonical, evidence_of

    platform = Royalty.connect(
        rpc=anvil.rpc, contract=ledger["royalty"], account="dev1", folder=story.folder
    )
    last = index.events(platform, "UsageReported")[-1].args
    manifest = json.loads((story.evidence / f"manifest-{last['batch']}.json").read_text())
    again = canonical({**manifest, "batch": last["batch"] + 1})
    (story.evidence / f"manifest-{last['batch'] + 1}.json").write_bytes(again)
    values = (last["day"], evidence_of(again), last["total"], last["usage"])
    platform.send(platform.ledger.report(last["platform"], last["batch"] + 1, *values))
    told = audit(story.log, "--evidence", story.evidence, exit=1)
    assert {(row["reason"], row["day"]) for row in told["findings"]} == {
        ("reported_twice", DAYS[2])
    }
    assert {row["batch"] for row in told["findings"]} == {last["batch"] + 1}
    assert told["difference_nano"] == str(-last["total"])
    assert told["shortfall_percent"].startswith("-")
    alone = audit(story.log, exit=1)
    assert {row["reason"] for row in alone["findings"]} == {"over_reported"}


def test_an_unsettled_tally_is_told_by_cell_with_its_data_and_as_a_whole_without(
    story: Story, tmp_path: Path, anvil: Anvil, ledger: dict[str, Any]
) -> None:
    """A platform of its own posts three views of a day of its own."""
    from royalty import Royalty

    snapshot = anvil.request("evm_snapshot")
    folder = tmp_path / "other"
    folder.mkdir()
    royalty = Royalty.connect(
        account="dev7", rpc=anvil.rpc, contract=ledger["royalty"], folder=folder
    )
    me = royalty.account.address
    royalty.send_all([royalty.ledger.approve(10**6), royalty.ledger.deposit(me, 10**6)])
    deal = royalty.ledger.deal(1, 1)
    leaves = list(leaves_of([DayLine(1, 1, deal.from_day + 1, Kind.VIEW, 0, 3)]))
    content = data_bytes(rows_of(leaves, {(1, 1): deal.tariff}))
    digest = hashlib.sha256(content).digest()
    claims = [Claim(leaf.pack(), leaf.cost(deal.tariff)) for leaf in leaves]
    posted = post(royalty, claims, deal.from_day + 1, digest=digest)
    log = write_log(
        folder / "log.csv",
        [[f"x{at}", "1/0", "view", f"{DAYS[1]}T10:00:00Z", 45, f"v{at}"] for at in range(3)],
    )
    words = ["reconcile", log, "--since", DAYS[1], "--until", DAYS[1], "--platform", me]
    told = story.run(*words, cwd=folder, exit=1)
    assert [row["reason"] for row in told["findings"]] == ["missing_on_chain", "unsettled"]
    assert (told["findings"][1]["batch"], told["findings"][1]["difference_nano"]) == (
        posted.batch,
        None,
    )
    assert "0.009 tokens in 1 leaf are unsettled" in told.stderr
    write_data(royalty.platform_dir(me) / "tallies" / file_name(posted.batch, digest), content)
    told = story.run(*words, cwd=folder, exit=1)
    (row,) = told["findings"]
    assert (row["reason"], row["work"], row["logged_units"], row["chain_units"]) == (
        "unsettled",
        "1/0",
        3,
        0,
    )
    assert (row["difference"], told["difference"]) == ("0.009", "0.009")
    shown = story.run(*words, cwd=folder, exit=1, json=False).stdout
    assert "in a tally's leaf that nobody has settled" in shown
    assert max(map(len, shown.splitlines())) <= 80
    posted.settle(royalty)
    assert story.run(*words, cwd=folder)["findings"] == []
    anvil.request("evm_revert", snapshot)
