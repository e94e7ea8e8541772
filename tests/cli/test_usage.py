"""`royalty usage` as a process: its documents, its exit codes, its refusals."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from royalty import Royalty
from tests.conftest import Anvil, Ran, free_port
from tests.usage_world import DAY, NEXT, World, world

pytestmark = pytest.mark.chain

Run = Callable[..., Ran]


@pytest.fixture
def here(session: Callable[..., Any], folder: Path, anvil: Anvil) -> Iterator[World]:
    with world(session, folder, anvil) as made:
        yield made


@pytest.fixture
def usage(run: Run) -> Run:
    """`royalty usage ...` as the platform."""

    def as_platform(*words: object, **options: Any) -> Ran:
        return run("usage", *words, "--account", "dev1", **options)

    return as_platform


def mixed(here: World) -> Path:
    """Ten rows: four qualified, and one for each reason but the cap."""
    rows = [
        ("1", 0, "view", f"{DAY}T10:00:00Z", 40, "ann"),
        ("2", 0, "view", f"{DAY}T11:00:00Z", 40, ""),
        ("3", 1, "download", f"{DAY}T10:00:00Z", "", "ann"),
        ("4", 1, "excerpt", f"{DAY}T10:00:00Z", "12.5", "ann"),
        ("1", 0, "view", f"{DAY}T12:00:00Z", 40, "ann"),
        ("5", 0, "view", f"{DAY}T10:00:00Z", "soon", "ann"),
        ("6", 0, "view", f"{NEXT}T10:00:00Z", 40, "ann"),
        ("7", "99/9", "view", f"{DAY}T10:00:00Z", 40, "ann"),
        ("8", 0, "view", f"{DAY}T10:00:00Z", 4, "bob"),
        ("9", 0, "view", f"{DAY}T09:59:50Z", 40, "ann"),
    ]
    return here.log("mixed.csv", rows)


EXCLUDED = {
    "malformed": 1,
    "duplicate": 1,
    "outside_period": 1,
    "unmatched_work": 1,
    "below_threshold": 1,
    "double_click": 1,
    "over_cap": 0,
}


def test_check_has_the_shape_that_scripts_rely_on(here: World, usage: Run) -> None:
    made = usage("check", mixed(here), "--day", DAY)
    assert made.document == {
        "rows": 10,
        "qualified": 4,
        "excluded": EXCLUDED,
        "units": {"view": 2, "download": 1, "excerpt": 12},
        "amount_nano": "507200000",
        "amount": "0.5072",
        "without_identity": 1,
        "held": [],
    }


def test_check_shows_a_table_per_work(here: World, usage: Run) -> None:
    shown = usage("check", mixed(here), "--day", DAY, json=False).stdout
    lines = [line.split() for line in shown.splitlines()]
    assert [here.work(1), "0", "1", "12", "0.5012"] in lines
    assert ["below_threshold", "1"] in lines
    assert "no work of an accepted catalogue: 99/9" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_check_lists_excluded_rows_with_reason_file_and_line(here: World, usage: Run) -> None:
    usage("check", mixed(here), "--day", DAY, "--out", "out")
    with (here.folder / "out" / "excluded.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["reason"], row["line"]) for row in rows] == [
        ("duplicate", "6"),
        ("malformed", "7"),
        ("outside_period", "8"),
        ("unmatched_work", "9"),
        ("below_threshold", "10"),
        ("double_click", "11"),
    ]
    assert all(row["file"].endswith("mixed.csv") for row in rows)


@pytest.mark.parametrize(("percent", "code"), [("60", 0), ("59.9", 1), ("0", 1), ("100", 0)])
def test_check_finds_too_much_excluded(here: World, usage: Run, percent: str, code: int) -> None:
    usage("check", mixed(here), "--day", DAY, "--max-excluded", percent, exit=code)


def test_explain_tells_each_rule_of_a_row_and_what_it_comes_to(here: World, usage: Run) -> None:
    made = usage("explain", "4", mixed(here), "--day", DAY)
    (row,) = made["rows"]
    rules = row.pop("rules")
    assert [rule["rule"] for rule in rules] == list(EXCLUDED)
    assert {rule["outcome"] for rule in rules} == {"passed"}
    assert row.pop("file").endswith("mixed.csv")
    assert row == {
        "line": 5,
        "work_id": here.work(1),
        "reason": None,
        "units": {"view": 0, "download": 0, "excerpt": 12},
        "day": DAY,
        "work": here.work(1),
        "kind": "excerpt",
        "version": 1,
        "price_nano": "100000",
        "price": "0.0001",
        "amount_nano": "1200000",
        "amount": "0.0012",
        "held": None,
    }
    assert (made["found"], made["files"], made["rows_read"]) == (True, 1, 10)


def test_explain_tells_the_numbers_of_what_excludes_and_every_row_with_the_id(
    here: World, usage: Run
) -> None:
    shown = usage("explain", "8", mixed(here), "--day", DAY, json=False).stdout
    assert "below_threshold  excluded watched 4 s < 30 s (minimum_seconds)" in shown
    made = usage("explain", "1", mixed(here), "--day", DAY)
    assert [(row["line"], row["reason"]) for row in made["rows"]] == [(2, None), (6, "duplicate")]
    assert made["rows"][1]["rules"][-1]["outcome"] == "excluded"
    malformed = usage("explain", "5", mixed(here), "--day", DAY)["rows"]
    assert [row["rules"][-1]["detail"] for row in malformed] == ["watched_seconds cannot be read"]


def test_explain_says_that_an_id_is_not_in_the_logs(here: World, usage: Run) -> None:
    made = usage("explain", "10", mixed(here), "--day", DAY, exit=1)
    assert (made["found"], made["rows"], made["rows_read"]) == (False, [], 10)
    shown = usage("explain", "10", mixed(here), "--day", DAY, exit=1, json=False).stdout
    assert "no row has the id 10: looked at 10 rows of 1 file" in shown


def test_explain_finds_what_is_held_and_refuses_a_log_without_ids(
    here: World, usage: Run, run: Run
) -> None:
    run("platform", "accept", here.catalogue, "--max-view", "0.001", "--account", "dev1")
    made = usage("explain", "1", mixed(here), "--day", DAY, exit=1)
    assert made["rows"][0]["held"] == "dearer_than_accepted"
    columns = here.folder / "columns.toml"
    columns.write_text(
        'work = "work"\nstarted_at = "started_at"\nkind = {value = "download"}\nviewer = "viewer"\n'
    )
    refused = usage("explain", "1", mixed(here), "--day", DAY, "--columns", columns, exit=2)
    assert "this log has no ids" in refused.stderr


def test_check_counts_under_a_shipped_policy_by_its_name(here: World, usage: Run) -> None:
    log = mixed(here)
    assert usage("check", log, "--day", DAY, "--policy", "default")["excluded"] == EXCLUDED
    refused = usage("check", log, "--day", DAY, "--policy", "peertube", exit=2)
    assert "no column 'session', which [repeat] of the policy peertube needs" in refused.stderr


def test_report_has_the_shape_that_scripts_rely_on(here: World, usage: Run) -> None:
    made = usage("report", mixed(here), "--day", DAY, "--evidence", "evidence")
    (args,) = here.reported()
    (batch,) = made["batches"]
    transaction = batch.pop("transaction")
    assert (len(transaction), transaction[:2]) == (66, "0x")
    assert made.document == {
        "batches": [
            {
                "batch": 1,
                "day": DAY,
                "works": 2,
                "units": {"view": 2, "download": 1, "excerpt": 12},
                "amount_nano": "507200000",
                "amount": "0.5072",
                "evidence": "0x" + args["evidence"].hex(),
            }
        ],
        "already_reported": {"view": 0, "download": 0, "excerpt": 0},
        "held": [],
        "negative": [],
    }
    manifest = json.loads((here.folder / "evidence" / "manifest-1.json").read_text())
    assert manifest["counts"] == {"rows": 10, "qualified": 4, "excluded": EXCLUDED}
    again = usage("report", "mixed.csv", "--day", DAY)
    assert (again["batches"], again["already_reported"]["excerpt"]) == ([], 12)


def test_a_reporter_reports_for_its_platform(here: World, run: Run) -> None:
    run("platform", "limit", "1", "--account", "dev1")
    run("reporter", "add", "dev2", "--account", "dev1")
    log = here.views("views.csv", 3)
    made = run("usage", "report", log, "--day", DAY, "--account", "dev2", "--platform", "dev1")
    assert made["batches"][0]["amount_nano"] == "9000000"
    refused = run(
        "usage", "report", log, "--day", DAY, "--account", "dev4", "--platform", here.platform
    )
    assert refused["batches"] == []  # nothing is left to send, so nobody is refused


def test_held_makes_check_and_report_exit_1(here: World, usage: Run, run: Run) -> None:
    log = here.views("views.csv", 2)
    run("platform", "accept", here.catalogue, "--max-view", "0.001", "--account", "dev1")
    held = [
        {
            "reason": "dearer_than_accepted",
            "work": here.work(0),
            "units": {"view": 2, "download": 0, "excerpt": 0},
            "amount_nano": "6000000",
            "amount": "0.006",
        }
    ]
    assert usage("check", log, "--day", DAY, exit=1)["held"] == held
    made = usage("report", log, "--day", DAY, exit=1)
    assert (made["held"], made["batches"]) == (held, [])
    assert here.reported() == []


SPIKE = "[spike]\nmultiple = 2\nabove = 1\ndays = 7\n"


def test_a_spike_is_held_until_it_is_released_and_stays_so(
    here: World, usage: Run, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(SPIKE)
    options = ("--day", DAY, "--policy", policy)
    log = here.views("views.csv", 5, 1)
    held = [
        {
            "reason": "spike_hold",
            "work": here.work(0),
            "units": {"view": 4, "download": 0, "excerpt": 0},
            "amount_nano": "12000000",
            "amount": "0.012",
        }
    ]
    assert usage("check", log, *options, exit=1)["held"] == held
    made = usage("report", log, *options, exit=1)
    assert (made["held"], here.views_on_chain()) == (held, [1, 1, 0])
    told = usage("explain", f"{DAY}-0-0", log, *options, exit=1)["rows"]
    assert [row["spike_hold_units"] for row in told] == [4]
    assert (
        usage("report", log, *options, exit=1)["batches"] == []
    )  # the same log again changes nothing

    name = f"{here.work(0)}:{DAY}"
    previewed = usage("report", log, *options, "--release", name, "--dry-run")
    assert previewed["batches"][0]["units"]["view"] == 4
    assert usage("check", log, *options, exit=1)["held"] == held  # a dry run lets nothing go
    made = usage("report", log, *options, "--release", name, "--evidence", "evidence")
    assert (made["held"], here.views_on_chain()) == ([], [5, 1, 0])
    (manifest,) = (here.folder / "evidence").glob("manifest-*.json")
    assert json.loads(manifest.read_text())["released"] == [name]

    late = here.views("late.csv", 9, 1)
    made = usage("report", late, *options)  # let go once is let go for every recount
    assert (made["held"], here.views_on_chain()) == ([], [9, 1, 0])


def test_reconcile_holds_what_the_report_held_until_it_is_released(
    here: World, usage: Run, run: Run, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(SPIKE)
    options = ("--day", DAY, "--policy", policy)
    log = here.views("views.csv", 5, 1)
    usage("report", log, *options, exit=1)
    words = ("reconcile", log, "--since", DAY, "--until", DAY, "--policy", policy)
    told = run(*words, exit=1).document
    (row,) = told["held"]
    assert (row["reason"], row["work"], row["day"], row["kind"], row["held_units"]) == (
        *("spike_hold", here.work(0), DAY, "view", 4),
    )
    assert (row["amount_nano"], row["amount"]) == ("12000000", "0.012")
    assert (told["findings"], told["units_held"]["view"], told["held_amount"]) == ([], 4, "0.012")
    assert (told["difference_nano"], told["shortfall_percent"]) == ("0", "0.0000")
    shown = run(*words, json=False, exit=1).stdout
    assert "No findings." in shown
    assert "held until a person lets it go; no finding" in shown
    assert max(map(len, shown.splitlines())) <= 80
    strict = run(*words[:-2], exit=1).document
    assert [row["reason"] for row in strict["findings"]] == ["under_reported"]

    usage("report", log, *options, "--release", f"{here.work(0)}:{DAY}")
    told = run(*words).document
    assert (told["findings"], told["held"], told["held_amount_nano"]) == ([], [], "0")
    late = here.views("late.csv", 9, 1)
    told = run("reconcile", late, *words[2:], exit=1).document
    (row,) = told["findings"]
    assert (row["reason"], row["logged_units"], row["chain_units"]) == ("under_reported", 9, 5)
    assert told["held"] == []


def test_the_days_before_say_what_is_usual(here: World, usage: Run, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(SPIKE + "[cap]\nper_viewer_work_day = 99\n")
    first, second = here.views("first.csv", 3), here.views("second.csv", 8, day=NEXT)
    usage("report", first, "--day", DAY, "--policy", policy, "--release", f"{here.work(0)}:{DAY}")
    found = usage("check", second, "--day", NEXT, "--policy", policy, exit=1)
    assert [row["units"]["view"] for row in found["held"]] == [8 - (2 * 3 + 1)]
    made = usage("report", second, "--day", NEXT, "--policy", policy, exit=1)
    assert [row["units"]["view"] for row in made["held"]] == [1]
    assert here.views_on_chain(NEXT) == [7, 0, 0]


@pytest.mark.parametrize(
    ("release", "spike", "why"),
    [
        ("{work}:" + NEXT, SPIKE, "not one that is reported now"),
        ("{work}:" + DAY, "", "has none"),
        ("99/9:" + DAY, SPIKE, "no units on that day"),
        ("{work}", SPIKE, "is not WORK:DAY"),
    ],
)
def test_a_release_of_what_is_not_held_is_refused(
    here: World, usage: Run, tmp_path: Path, release: str, spike: str, why: str
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(spike)
    log, named = here.views("views.csv", 5), release.format(work=here.work(0))
    made = usage("report", log, "--day", DAY, "--policy", policy, "--release", named, exit=2)
    assert why in made.stderr
    assert here.reported() == []


def test_money_that_does_not_suffice_is_named_before_anything_is_sent(
    here: World, usage: Run
) -> None:
    here.as_platform().platforms.withdraw(100 * 10**6)
    made = usage("report", here.views("v.csv", 2), "--day", DAY, exit=3)
    assert "deposit 0.006 more with `royalty platform deposit`" in made.stderr
    assert made.document["batches"] == []
    assert made.document["pending"] == []
    assert made.document["error"] == "FundsTooLow"
    assert here.reported() == []


def test_a_limit_that_does_not_suffice_is_named(here: World, run: Run) -> None:
    run("reporter", "add", "dev2", "--account", "dev1")
    log = here.views("v.csv", 2)
    words = ("usage", "report", log, "--day", DAY, "--account", "dev2", "--platform", "dev1")
    made = run(*words, exit=3)
    assert "royalty platform limit" in made.stderr
    assert made.document["error"] == "LimitTooLow"


def test_a_dry_run_shows_what_would_be_sent_and_its_cost(here: World, usage: Run) -> None:
    made = usage("report", here.views("v.csv", 2), "--day", DAY, "--dry-run")
    assert made["dry_run"] is True
    assert made["batches"][0]["amount"] == "0.006"
    assert made["gas"] > 21_000
    assert here.reported() == []
    shown = usage("report", "v.csv", "--day", DAY, "--dry-run", json=False).stdout
    assert "would send 1 batch for 0.006" in shown


def test_status_shows_the_journal_beside_the_chain(here: World, usage: Run) -> None:
    usage("report", here.views("v.csv", 2), "--day", DAY)
    made = usage("status")
    assert (made["platform"], made["next_batch"], made["pending"]) == (here.platform, 2, [])
    (batch,) = made["batches"]
    assert (batch["batch"], batch["state"], batch["amount"]) == (1, "settled", "0.006")
    assert "settled" in usage("status", json=False).stdout


def test_status_finds_batches_of_another_folder(here: World, usage: Run) -> None:
    usage("report", here.views("v.csv", 2), "--day", DAY)
    for path in here.as_platform().platform_dir().glob("journal*"):
        path.unlink()
    assert usage("status", exit=1)["in_step"] is False
    made = usage("report", "v.csv", "--day", DAY, exit=3)
    assert made.document["error"] == "JournalStopped"


REFUSED_DAY = ["v.csv", "--day", "2100-01-01"]
REFUSED: list[tuple[list[str], str]] = [
    (["missing.csv", "--day", DAY], "missing.csv does not exist"),
    (["v.csv"], "either --day, or both --since and --until"),
    (["v.csv", "--day", DAY, "--since", DAY], "either --day, or both"),
    (["v.csv", "--since", DAY], "either --day, or both"),
    (["v.csv", "--since", NEXT, "--until", DAY], "ends before it starts"),
    (["v.csv", "--day", "yesterday"], "'yesterday' is not a date"),
    (REFUSED_DAY, "2100-01-01 has not begun"),
    (["v.csv", "--day", DAY, "--policy", "nowhere.toml"], "nowhere.toml"),
    (["v.csv", "--day", DAY, "--policy", "odd.toml"], "unknown setting"),
    (["v.csv", "--day", DAY, "--columns", "odd.toml"], "unknown setting"),
    (["v.csv", "--day", DAY, "--works", "odd.csv"], "line 3"),
    (["odd.toml", "--day", DAY], "unknown format"),
    (["v.csv", "--day", DAY, "--separator", "::"], "separator"),
    (["v.csv", "--day", DAY, "--platform", "nobody"], "nobody"),
    (["v.csv", "--day", DAY, "--platform", "0x12"], "0x12"),
]


@pytest.mark.parametrize("verb", ["check", "report"])
def test_bad_input_is_refused_in_one_line_and_changes_nothing(
    here: World,
    ledger: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: str,
) -> None:
    from royalty.cli import app

    monkeypatch.setenv("ROYALTY_RPC", here.anvil.rpc)
    monkeypatch.setenv("ROYALTY_CONTRACT", ledger["royalty"])
    here.views("v.csv", 2)
    (here.folder / "odd.toml").write_text('colour = "red"\n')
    (here.folder / "odd.csv").write_text("platform_id,work\nfilm,1/0\nfilm,1/1\n")
    before = sorted(here.folder.rglob("*"))
    folder = ["--out" if verb == "check" else "--evidence", "made"]
    for words, told in [*REFUSED, ([*REFUSED_DAY, *folder], "has not begun")]:
        assert app.run(["usage", verb, *words, "--account", "dev1", "--json"]) == 2, words
        output = capsys.readouterr()
        assert told in output.err, words
        assert len(output.err.strip().splitlines()) == 1, words
        assert output.out == "", words
        assert sorted(here.folder.rglob("*")) == before, words
    assert here.reported() == []


def test_an_id_with_two_answers_is_refused(here: World, usage: Run) -> None:
    (here.folder / "map.csv").write_text(f"platform_id,work\n{here.work(0)},{here.work(1)}\n")
    made = usage("report", here.views("v.csv", 1), "--day", DAY, "--works", "map.csv", exit=2)
    assert "stands for two works" in made.stderr
    assert here.reported() == []


def test_no_node_no_code_and_a_wrong_chain_exit_3_with_the_document(
    here: World, usage: Run
) -> None:
    log = here.views("v.csv", 1)
    nowhere = f"http://127.0.0.1:{free_port()}"
    empty = "0x" + "12" * 20
    (here.folder / "royalty.toml").write_text(
        f'[networks.other]\nrpc = "{here.anvil.rpc}"\nchain_id = 5\n'
    )
    for words, error in (
        (("--rpc", nowhere), "NodeUnreachable"),
        (("--contract", empty), "NoContract"),
        (("--network", "other", "--rpc", here.anvil.rpc), "WrongChain"),
    ):
        made = usage("report", log, "--day", DAY, *words, exit=3)
        assert made.document["error"] == error
        assert (made["batches"], made["pending"], made["held"]) == ([], [], [])
        assert made["already_reported"] == {"view": 0, "download": 0, "excerpt": 0}


def test_malformed_rows_are_counted_and_the_rest_is_reported(here: World, usage: Run) -> None:
    log = here.views("v.csv", 2)
    with log.open("a") as file:
        file.write("only,two\n,,,,,,\n\xff\n")
    made = usage("report", log, "--day", DAY)
    assert made["batches"][0]["units"]["view"] == 2
    assert usage("check", log, "--day", DAY)["excluded"]["malformed"] == 3
    assert "every row" not in usage("check", log, "--day", DAY, json=False).stdout


def test_a_log_of_malformed_rows_alone_says_where_to_look(here: World, usage: Run) -> None:
    log = here.folder / "document.json"
    log.write_text('{\n"Report_Header": {},\n"Report_Items": []\n}\n')
    shown = usage("check", log, "--day", DAY, json=False).stdout
    assert "every row is malformed; `--out DIR` lists why" in shown


def test_what_another_machine_reported_is_shown_and_adopted(
    here: World, usage: Run, tmp_path: Path
) -> None:
    log = here.views("v.csv", 2, 1)
    other = tmp_path / "other"
    shutil.copytree(here.folder, other)
    contract = here.as_platform().ledger.address
    Royalty.connect(
        account="dev1", rpc=here.anvil.rpc, contract=contract, folder=other
    ).usage.report(log, day=DAY)
    stopped = usage("report", log, "--day", DAY, exit=3)
    assert stopped["error"] == "JournalStopped"
    assert "royalty usage adopt 1" in stopped.stderr
    shown = usage("status", exit=1)
    assert (shown["in_step"], [one["batch"] for one in shown["foreign"]]) == (False, [1])
    assert "royalty usage adopt 1" in usage("status", json=False, exit=1).stdout
    assert "no batch 2" in usage("adopt", 2, exit=2).stderr
    made = usage("adopt", 1)
    assert (made["units"]["view"], made["voided"]) == (3, [])
    again = usage("report", log, "--day", DAY, "--window", 2, "--max-fee", "90.5", "--deadline", 60)
    assert (again["batches"], again["already_reported"]["view"]) == ([], 3)
    assert usage("status")["in_step"] is True
    assert len(here.reported()) == 1


def test_several_nodes_may_be_named(here: World, usage: Run) -> None:
    log = here.views("v.csv", 2)
    nowhere = f"http://127.0.0.1:{free_port()}"
    for words in (
        ("--rpc", nowhere, "--rpc", here.anvil.rpc),
        ("--rpc", f"{nowhere},{here.anvil.rpc}"),
    ):
        usage("report", log, "--day", DAY, *words)
    assert here.views_on_chain() == [2, 0, 0]
    usage("report", log, "--day", DAY, "--window", 17, exit=2)
    assert "gwei" in usage("report", log, "--day", DAY, "--max-fee", "much", exit=2).stderr
