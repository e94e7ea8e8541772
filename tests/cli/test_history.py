"""`royalty sync` and `royalty history` as processes."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from royalty.merkle import DayLine
from royalty.usage import Kind, Tariff
from tests.conftest import Anvil, Ran, clean_environment
from tests.tallies import claims_of, post

HOLDER = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65"
Run = Callable[..., Ran]


SHEET = f"holder,address,role,share\nAda,{HOLDER},director,100%\n"


def open_catalogue(run: Run, title: str = "Film") -> int:
    Path("split.csv").write_text(SHEET)  # a test stands in its own folder
    tariff = ["--tariff", "view=0.003", "--tariff", "download=0.5", "--tariff", "excerpt=0"]
    return int(
        run("catalogue", "open", "--title", title, "--split", "split.csv", *tariff)["catalogue"]
    )


def test_sync_reads_what_is_new_and_says_what_it_did(run: Run) -> None:
    first = run("sync").document
    assert set(first) == {"block", "final_block", "events", "added", "dropped"}
    assert first["added"] == first["events"] > 0
    assert run("sync")["added"] == 0
    open_catalogue(run)
    again = run("sync").document
    assert (again["added"], again["events"]) == (2, first["events"] + 2)
    assert again["block"] == again["final_block"], "a local chain's blocks are final at once"
    assert "events" in run("sync", json=False).stdout


def test_sync_notices_a_reorg(run: Run, anvil: Anvil) -> None:
    number = open_catalogue(run)
    run("sync")
    anvil.request("anvil_reorg", 1, [])
    told = run("sync").document
    assert told["dropped"] > 0
    rows = run("history", "--kind", "amendment", "--catalogue", number)["rows"]
    assert rows == [], "what the chain took back is not shown"


def test_syncs_at_once_leave_one_whole_index(
    run: Run, anvil: Anvil, ledger: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    environ = clean_environment(tmp_path) | {
        "ROYALTY_RPC": anvil.rpc,
        "ROYALTY_CONTRACT": ledger["royalty"],
    }
    words = [sys.executable, "-m", "royalty.cli.app", "sync", "--json"]
    started = [
        subprocess.Popen(words, cwd=folder, env=environ, stdout=subprocess.DEVNULL)
        for _ in range(4)
    ]
    assert [process.wait(60) for process in started] == [0] * 4
    alone = run("history", "--no-sync")["rows"]
    assert alone == run("history")["rows"]


def test_history_shows_deals_and_payments_until_the_wallet(run: Run, folder: Path) -> None:
    number = open_catalogue(run)
    run("catalogue", "pay", number, "2.5", "--reason", "tips")
    run("payout", "run")
    rows = run("history", "--holder", HOLDER)["rows"]
    mine = [row for row in rows if row.get("catalogue", number) == number]
    assert [row["entry"] for row in mine] == ["amendment", "credit", "payout"]
    assert mine[1]["cause"] == "payment"
    assert (mine[1]["part_nano"], mine[1]["part"]) == ("2500000000", "2.5")
    assert (mine[2]["amount_nano"], mine[2]["to"]) == ("2500000000", HOLDER)
    told = run(
        "history", "--kind", "credit", "--csv", "a.csv", "--parquet", "a.parquet", json=False
    )
    assert "Credits: " in told.stdout
    assert "wrote a.csv" in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 80
    with (folder / "a.csv").open(newline="") as file:
        assert [row["part_nano"] for row in csv.DictReader(file)][-1] == "2500000000"
    import pyarrow.parquet as pq

    assert "part_nano" in pq.read_table(folder / "a.parquet").column_names
    assert max(map(len, run("history", json=False).stdout.splitlines())) <= 80


def test_history_without_sync_shows_what_was_read_before(run: Run) -> None:
    assert run("history", "--no-sync")["rows"] == []
    assert "`royalty sync` reads" in run("history", "--no-sync", json=False).stdout
    open_catalogue(run)
    assert run("history", "--kind", "amendment")["rows"] != []
    assert (
        "Nothing happened"
        in run("history", "--since", "1999-01-01", "--until", "1999-01-02", json=False).stdout
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "views"], "'views' is unknown; give one of usage, credit, payout"),
        (["--kind", "payout", "--catalogue", "1"], "does not apply to --kind payout"),
        (["--work", "twelve"], "'twelve' is not a work"),
        (["--catalogue", "twelve"], "--catalogue"),
        (["--holder", "0x15d34aaf54267DB7D7c367839AAf71A00a2C6A65"], "checksum"),
        (["--platform", "nobody"], "nobody"),
        (["--since", "yesterday"], "'yesterday' is not a date"),
        (["--since", "2026-02-02", "--until", "2026-02-01"], "ends before it starts"),
        (["--csv", "file/a.csv"], "cannot be written"),
    ],
)
def test_bad_input_is_one_clear_line(quick: Run, words: list[str], message: str) -> None:
    Path("file").write_text("")
    told = quick("history", *words, exit=2)
    assert message in told.stderr
    assert len(told.stderr.splitlines()) == 1


def test_trouble_with_node_or_ledger_is_exit_3(run: Run, run_alone: Run, anvil: Anvil) -> None:
    for verb in ("sync", "history"):
        assert "no node answers" in run(verb, "--rpc", "http://127.0.0.1:9", exit=3).stderr
        assert "no contract" in run(verb, "--contract", HOLDER, exit=3).stderr
        told = run_alone(verb, env={"ROYALTY_RPC": anvil.rpc}, exit=3)
        assert "royalty deploy" in told.stderr


def test_an_index_that_was_damaged_is_named(run: Run, folder: Path) -> None:
    run("sync")
    for path in (folder / ".royalty").rglob("Deployed.parquet"):
        path.write_bytes(b"damaged")
    for path in (folder / ".royalty").rglob("CatalogueOpened.parquet"):
        path.write_bytes(b"damaged")
    told = run("history", "--kind", "amendment", exit=2)
    assert "delete the index folder" in told.stderr


def test_tallies_are_shown_and_their_address_does_no_harm(
    run: Run, session: Callable[..., Any]
) -> None:
    number = open_catalogue(run)
    run("platform", "deposit", "1")
    royalty = session()
    line = DayLine(number, 1, royalty.today(), Kind.VIEW, 0, 5)
    claims = claims_of([line], {(number, 1): Tariff(3_000_000, 500_000_000, 0)})
    posted = post(royalty, claims, royalty.today(), uri="\x1b[2J\u202ehttps://x.example/\n=cmd|'a'")
    told = run("history", "--kind", "tally")
    (row,) = told["rows"]
    assert (row["unsettled"], row["total"], row["settled"], row["void"]) == (
        "0.015",
        "0.015",
        "0",
        "0",
    )
    assert (row["batch"], row["leaves"], row["settled_leaves"]) == (posted.batch, 1, 0)
    shown = run("history", "--csv", "a.csv", json=False).stdout
    assert "Tallies: 1, 0.015 TUSD" in shown
    assert "0 of 1" in shown
    assert "https://x" in shown
    for text in (told.stdout, shown, Path("a.csv").read_text()):
        assert "\x1b" not in text and "\u202e" not in text
    assert max(map(len, shown.splitlines())) <= 80
    assert run("history", "--kind", "usage", "--catalogue", number)["rows"] == []
    posted.settle(royalty)
    (usage,) = run("history", "--kind", "usage", "--catalogue", number)["rows"]
    assert (usage["batch"], usage["units"], usage["amount"]) == (posted.batch, 5, "0.015")
    assert "1 of 1" in run("history", "--kind", "tally", json=False).stdout
    told = run("history", "--kind", "tally", "--catalogue", number, exit=2)
    assert "--catalogue does not apply to --kind tally" in told.stderr
