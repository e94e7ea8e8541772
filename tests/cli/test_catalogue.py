"""`royalty catalogue` as a process: opening, reading, amending with signatures, paying, refusals."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.story import (
    COMPOSER,
    DEV,
    DIRECTOR,
    HEAD,
    PRODUCER,
    SPLIT,
    TARIFF,
    open_catalogue,
    write,
)
from tests.conftest import Anvil, Ran

pytestmark = pytest.mark.chain
Run = Callable[..., Ran]
Session = Callable[..., Any]


def days_ahead(anvil: Anvil, days: int) -> str:
    """A UTC day counted from the chain's own."""
    block = anvil.request("eth_getBlockByNumber", "latest", False)
    today = datetime.fromtimestamp(int(block["timestamp"], 16), UTC).date()
    return (today + timedelta(days=days)).isoformat()


# --- open, show, list ---


def test_open_gives_number_version_and_transaction(run: Run, folder: Path) -> None:
    split = write(folder, "split.csv", SPLIT)
    ran = run("catalogue", "open", "--title", "Sintel", "--split", split, *TARIFF)
    assert set(ran.document) == {"catalogue", "version", "transaction"}
    assert ran["version"] == 1
    assert ran["transaction"].startswith("0x")
    assert len(ran["transaction"]) == 66


def test_show_gives_the_deal_as_it_was_opened(quick: Run, folder: Path) -> None:
    number = open_catalogue(quick, folder, SPLIT, "--from", "2020-02-29")
    shown = quick("catalogue", "show", number)
    assert (shown["catalogue"], shown["title"], shown["owner"]) == (number, "Sintel", DEV[0])
    assert (shown["works"], shown["version"], shown["pending"]) == (0, 1, None)
    (deal,) = shown["deals"]
    assert (deal["from"], deal["until"], deal["state"]) == ("2020-02-29", None, "in force")
    assert deal["tariff"] == {
        "view_nano": "3000000",
        "view": "0.003",
        "download_nano": "500000000",
        "download": "0.5",
        "excerpt_nano": "100000",
        "excerpt": "0.0001",
    }
    named = {
        one["address"]: (one["holder"], one["role"], one["share_ppm"]) for one in deal["split"]
    }
    assert named == {
        DIRECTOR: ("Ann", "director", 400_000),
        COMPOSER: ("Bo", "composer", 350_000),
        PRODUCER: ("Cy", "producer", 250_000),
    }
    assert json.loads(base64.b64decode(deal["uri"].split(",")[1]))["title"] == "Sintel"
    text = quick("catalogue", "show", number, json=False).stdout
    assert "from 2020-02-29" in text
    assert max(map(len, text.splitlines())) <= 80


def test_list_shows_every_catalogue_and_can_be_narrowed_to_an_owner(
    quick: Run, folder: Path
) -> None:
    mine = open_catalogue(quick, folder)
    other = open_catalogue(quick, folder, SPLIT, "--account", "dev3")
    every = {one["catalogue"] for one in quick("catalogue", "list")["catalogues"]}
    narrowed = {
        one["catalogue"] for one in quick("catalogue", "list", "--owner", "dev3")["catalogues"]
    }
    assert {mine, other} <= every
    assert other in narrowed
    assert mine not in narrowed
    assert "Sintel" in quick("catalogue", "list", json=False).stdout
    page = quick("catalogue", "list", "--offset", 1, "--limit", 1)
    assert [one["catalogue"] for one in page["catalogues"]] == [2]
    assert page["total"] == max(every)
    narrow = quick("catalogue", "list", "--limit", 1, json=False).stdout
    assert f"1 of {page['total']}" in narrow


def test_dry_run_of_open_sends_nothing(quick: Run, folder: Path) -> None:
    before = len(quick("catalogue", "list")["catalogues"])
    split = write(folder, "split.csv", SPLIT)
    ran = quick("catalogue", "open", "--title", "T", "--split", split, *TARIFF, "--dry-run")
    assert ran["dry_run"] is True
    assert ran["transactions"][0]["function"] == "open"
    assert ran["transactions"][0]["gas"] > 21_000
    assert len(quick("catalogue", "list")["catalogues"]) == before


def test_metadata_can_be_published_elsewhere_and_are_kept_in_the_folder(
    quick: Run, folder: Path
) -> None:
    uri = "https://films.example/{digest}.json"
    number = open_catalogue(quick, folder, SPLIT, "--uri", uri)
    (deal,) = quick("catalogue", "show", number)["deals"]
    digest = deal["uri"].removeprefix("https://films.example/").removesuffix(".json")
    assert len(digest) == 64
    assert {one["holder"] for one in deal["split"]} == {"Ann", "Bo", "Cy"}
    (kept,) = folder.glob(f".royalty/*/*/metadata/deal-{number}-1.json")
    assert json.loads(kept.read_text())["title"] == "Sintel"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            HEAD + "Ann,dev5,x,33.33%\nBo,dev6,x,66.66%\n",
            "line 3: .* 99.99%, not 100%; the nearest",
        ),
        (HEAD + "Ann,dev5,x,50%\nBo,dev5,x,50%\n", "line 3: .* twice"),
        (
            HEAD + f"Ann,{DIRECTOR.swapcase().replace('0X', '0x')},x,100%\n",
            "line 2: .* wrong checksum",
        ),
        (HEAD + "Ann,0x12,x,100%\n", "line 2: '0x12' is not an address"),
        (HEAD + "Ann,nobody,x,100%\n", "line 2: 'nobody' is neither an address nor an account"),
        (HEAD + f"Ann,0x{'0' * 40},x,100%\n", "line 2: .* the zero address"),
        (HEAD + "Ann,LEDGER,x,100%\n", "line 2: .* the ledger itself"),
        (HEAD + "Ann,TOKEN,x,100%\n", "line 2: .* the settlement token"),
        (HEAD + "Ann,dev5,x,33.33333%\nBo,dev6,x,1\n", "line 2: .* finer than a ppm"),
        (HEAD + "Ann,dev5,x,0\nBo,dev6,x,100%\n", "line 2: a share of zero"),
        ("holder,address,share\nAnn,dev5,100%\n", "line 1: no column role"),
        ("", "is empty"),
    ],
)
def test_open_refuses_a_split_sheet_naming_line_and_reason(
    quick: Run, folder: Path, ledger: dict[str, Any], text: str, reason: str
) -> None:
    text = text.replace("LEDGER", ledger["royalty"]).replace("TOKEN", ledger["token"])
    split = write(folder, "split.csv", text)
    ran = quick("catalogue", "open", "--title", "T", "--split", split, *TARIFF, exit=2)
    assert re.search(reason, ran.stderr), ran.stderr
    assert "split.csv" in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert ran.stdout == ""


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--tariff", "view=0.003"], "download and excerpt; write download=0"),
        (["--tariff", "view=1100", *TARIFF[2:]], "above the highest"),
        (["--tariff", "view=0.0000000001", *TARIFF[2:]], "finer than a nano-token"),
        (["--tariff", "stream=1", *TARIFF], "'stream=1' cannot be read"),
        ([*TARIFF, "--from", "tomorrow"], "--from 'tomorrow' is not a date"),
        ([*TARIFF, "--from", "2140-01-01"], "--from 2140-01-01 has not begun"),
        ([*TARIFF, "--title", ""], "title must be"),
        ([*TARIFF, "--uri", "http://x.example"], "not an https"),
        ([*TARIFF, "--split", "none.csv"], "none.csv cannot be read"),
        ([*TARIFF, "--account", "nobody"], "'nobody' is neither"),
    ],
)
def test_open_refuses_bad_options(
    quick: Run, folder: Path, options: list[str], reason: str
) -> None:
    split = write(folder, "split.csv", SPLIT)
    ran = quick("catalogue", "open", "--title", "T", "--split", split, *options, exit=2)
    assert reason in ran.stderr


def test_reading_what_is_not_there_is_refused(quick: Run) -> None:
    for number in (0, 9_999, 2**40):
        ran = quick("catalogue", "show", number, exit=2)
        assert f"there is no catalogue {number}" in ran.stderr


# --- amend and sign ---

FALLS = HEAD + "Ann,dev5,director,50%\nBo,dev6,composer,35%\nCy,dev7,producer,15%\n"


def propose(run: Run, folder: Path, *options: object, text: str | None = FALLS) -> tuple[int, Path]:
    number = open_catalogue(run, folder)
    words: list[object] = ["catalogue", "amend", number, "--out", folder / "p.json", *options]
    if text is not None:
        words += ["--split", write(folder, "new.csv", text)]
    ran = run(*words)
    assert ran["proposal"] == str(folder / "p.json")
    return number, folder / "p.json"


def test_amendment_waits_for_exactly_who_loses(run: Run, folder: Path, anvil: Anvil) -> None:
    number, file = propose(run, folder)
    sent = run("catalogue", "amend", "--submit", file, exit=1)
    assert sent["transaction"] is None
    assert sent["missing"] == [
        {"holder": PRODUCER, "name": "Cy", "reason": "its share falls from 25% to 15%"}
    ]
    assert run("catalogue", "show", number)["pending"] is None

    signed = run("catalogue", "sign", file, "--account", "dev7")
    assert (signed["signed_by"], signed["missing"]) == (PRODUCER, [])
    assert run("catalogue", "amend", "--submit", file)["version"] == 2
    shown = run("catalogue", "show", number)
    assert (shown["version"], shown["pending"]) == (1, 2)
    before, after = shown["deals"]
    assert before["until"] == after["from"] == days_ahead(anvil, 1)
    assert {one["holder"]: one["share_ppm"] for one in after["split"]} == {
        "Ann": 500_000,
        "Bo": 350_000,
        "Cy": 150_000,
    }


def test_price_that_falls_needs_every_holder(quick: Run, folder: Path) -> None:
    number, file = propose(quick, folder, "--tariff", "view=0.002", text=None)
    for account in ("dev5", "dev6"):
        quick("catalogue", "sign", file, "--account", account)
    sent = quick("catalogue", "amend", "--submit", file, exit=1)
    assert [one["holder"] for one in sent["missing"]] == [PRODUCER]
    assert "the price of a view falls" in sent["missing"][0]["reason"]
    quick("catalogue", "sign", file, "--account", "dev7")
    assert quick("catalogue", "amend", "--submit", file)["missing"] == []
    tariff = quick("catalogue", "show", number)["deals"][1]["tariff"]
    assert (tariff["view"], tariff["download"], tariff["excerpt"]) == ("0.002", "0.5", "0.0001")


def test_price_that_rises_needs_nobody(quick: Run, folder: Path) -> None:
    _, file = propose(quick, folder, "--tariff", "view=0.004", text=None)
    assert quick("catalogue", "amend", "--submit", file)["version"] == 2


def test_signatures_of_several_copies_are_joined(quick: Run, folder: Path) -> None:
    _, file = propose(quick, folder, "--tariff", "view=0.001", text=None)
    copies = []
    for account in ("dev5", "dev6", "dev7"):
        copies += ["--submit", write(folder, f"{account}.json", file.read_text())]
        quick("catalogue", "sign", copies[-1], "--account", account)
    assert quick("catalogue", "amend", *copies)["version"] == 2


def test_signature_of_another_is_missing_not_counted(quick: Run, folder: Path) -> None:
    _, file = propose(quick, folder)
    quick("catalogue", "sign", file, "--account", "dev5")
    document = json.loads(file.read_text())
    document["signatures"][PRODUCER] = document["signatures"].pop(DIRECTOR)
    file.write_text(json.dumps(document))
    sent = quick("catalogue", "amend", "--submit", file, exit=1)
    assert [one["holder"] for one in sent["missing"]] == [PRODUCER]
    assert "not its own" in sent["missing"][0]["reason"]


def test_signature_made_elsewhere_is_taken_if_it_is_the_holders(
    quick: Run, folder: Path, session: Session
) -> None:
    from royalty.amendments import read_proposal

    _, file = propose(quick, folder)
    typed = read_proposal(file).typed_data
    own, foreign = (
        "0x" + session(name).account.sign_typed(typed).hex() for name in ("dev7", "dev8")
    )
    refused = quick("catalogue", "sign", file, "--holder", PRODUCER, "--signature", foreign, exit=2)
    assert f"not {PRODUCER}'s" in refused.stderr
    quick("catalogue", "sign", file, "--holder", PRODUCER, "--signature", own)
    assert quick("catalogue", "amend", "--submit", file)["version"] == 2


def test_what_holders_sign_is_what_the_ledger_checks(
    quick: Run, folder: Path, session: Session
) -> None:
    from royalty.amendments import read_proposal
    from royalty.chain.amendments import typed_digest

    _, file = propose(quick, folder)
    p = read_proposal(file)
    digest = session().ledger.amendment_digest(
        p.catalogue, p.from_day, p.tariff, p.deadline, p.split
    )
    assert typed_digest(p.typed_data) == digest


def test_stranger_cannot_sign_and_only_the_owner_submits(quick: Run, folder: Path) -> None:
    _, file = propose(quick, folder)
    ran = quick("catalogue", "sign", file, "--account", "dev8", exit=2)
    assert "has no share" in ran.stderr
    quick("catalogue", "sign", file, "--account", "dev7")
    ran = quick("catalogue", "amend", "--submit", file, "--account", "dev8", exit=2)
    assert "belongs to" in ran.stderr


def test_altered_proposal_is_refused(quick: Run, folder: Path) -> None:
    _, file = propose(quick, folder)
    document = json.loads(file.read_text())
    document["split"][0]["share_ppm"] += 1
    document["split"][1]["share_ppm"] -= 1
    file.write_text(json.dumps(document))
    for words in (["sign", file, "--account", "dev7"], ["amend", "--submit", file]):
        assert "was altered" in quick("catalogue", *words, exit=2).stderr


def test_proposal_outdated_by_another_deal_is_refused(quick: Run, folder: Path) -> None:
    number, file = propose(quick, folder)
    quick("catalogue", "sign", file, "--account", "dev7")
    other = folder / "other.json"
    quick("catalogue", "amend", number, "--tariff", "view=1", "--out", other)
    quick("catalogue", "amend", "--submit", other)
    assert "propose it again" in quick("catalogue", "amend", "--submit", file, exit=2).stderr
    waiting = quick("catalogue", "amend", number, "--tariff", "view=2", exit=2)
    assert "amendment waiting for" in waiting.stderr


def test_proposal_past_its_deadline_is_refused(quick: Run, folder: Path, anvil: Anvil) -> None:
    _, file = propose(
        quick, folder, "--from", days_ahead(anvil, 5), "--deadline", days_ahead(anvil, 1)
    )
    quick("catalogue", "sign", file, "--account", "dev7")
    anvil.mine_days(2)
    ran = quick("catalogue", "amend", "--submit", file, exit=2)
    assert "could be submitted until" in ran.stderr
    assert (
        "could be submitted" in quick("catalogue", "sign", file, "--account", "dev6", exit=2).stderr
    )


def test_amend_refuses_bad_input(quick: Run, folder: Path, anvil: Anvil) -> None:
    number = open_catalogue(quick, folder)
    same = write(folder, "same.csv", SPLIT)
    for words, reason in [
        ([], "name the catalogue"),
        ([number], "nothing would change"),
        ([number, "--split", same], "nothing would change"),
        ([9_999, "--tariff", "view=1"], "there is no catalogue"),
        ([number, "--tariff", "view=x"], "not a decimal"),
        ([number, "--tariff", "view=1", "--from", days_ahead(anvil, 0)], "1 to 366 days ahead"),
        ([number, "--tariff", "view=1", "--from", days_ahead(anvil, 367)], "1 to 366 days ahead"),
        (
            [
                number,
                "--tariff",
                "view=1",
                "--from",
                days_ahead(anvil, 3),
                "--deadline",
                days_ahead(anvil, 3),
            ],
            "before the new deal starts",
        ),
        ([number, "--tariff", "view=1", "--account", "dev4"], "belongs to"),
        (["--submit", folder / "none.json"], "cannot be read"),
        (["--submit", same], "is not a proposal"),
        (["--submit", same, "--tariff", "view=1"], "no other option"),
        ([number, "--tariff", "view=1", "--out", same], "exists already"),
    ]:
        assert reason in quick("catalogue", "amend", *words, exit=2).stderr
    missing = folder / "none.json"
    assert "cannot be read" in quick("catalogue", "sign", missing, exit=2).stderr
    words = ["catalogue", "sign", missing, "--signature", "0x12"]
    assert "go together" in quick(*words, exit=2).stderr


# --- transfer and pay ---


def test_transfer_gives_the_catalogue_and_keeps_the_deal(quick: Run, folder: Path) -> None:
    number = open_catalogue(quick, folder)
    deals = quick("catalogue", "show", number)["deals"]
    assert quick("catalogue", "transfer", number, "dev8")["owner"] == DEV[8]
    shown = quick("catalogue", "show", number)
    assert (shown["owner"], shown["deals"]) == (DEV[8], deals)
    ran = quick("catalogue", "transfer", number, "dev1", exit=2)
    assert f"belongs to {DEV[8]}" in ran.stderr


def test_transfer_refuses_bad_input(quick: Run, folder: Path, ledger: dict[str, Any]) -> None:
    number = open_catalogue(quick, folder)
    assert "no catalogue" in quick("catalogue", "transfer", 9_999, "dev1", exit=2).stderr
    assert "zero address" in quick("catalogue", "transfer", number, "0x" + "0" * 40, exit=2).stderr
    assert "the ledger" in quick("catalogue", "transfer", number, ledger["royalty"], exit=2).stderr
    assert "neither" in quick("catalogue", "transfer", number, "nobody", exit=2).stderr


def test_pay_moves_exactly_the_amount_into_the_deal(
    run: Run, folder: Path, session: Session
) -> None:
    number = open_catalogue(run, folder)
    before = session("dev4").ledger.token_balance(DEV[4])
    memo = "0x" + "ab" * 32
    paid = run(
        "catalogue",
        "pay",
        number,
        "12.345678",
        "--reason",
        "ads",
        "--memo",
        memo,
        "--account",
        "dev4",
    )
    assert paid["amount_nano"] == "12345678000"
    assert (paid["version"], paid["reason"], paid["memo"]) == (1, "ads", memo)
    assert before - session("dev4").ledger.token_balance(DEV[4]) == 12_345_678
    assert session("dev4").ledger.allowance(DEV[4]) == 0
    assert run("catalogue", "show", number)["accrued"] == "12.345678"


def test_pay_refuses_bad_input(quick: Run, folder: Path) -> None:
    number = open_catalogue(quick, folder)
    for words, reason in [
        ([9_999, "1", "--reason", "x"], "there is no catalogue"),
        ([number, "0", "--reason", "x"], "amount is zero"),
        ([number, "-1", "--reason", "x"], "No such option"),
        ([number, "1e3", "--reason", "x"], "not a decimal"),
        ([number, "0.0000001", "--reason", "x"], "finer than the token's smallest unit"),
        ([number, "9" * 29, "--reason", "x"], "more than the ledger can hold"),
        ([number, "1", "--reason", "x" * 32], "31 bytes"),
        ([number, "1", "--reason", ""], "31 bytes"),
        ([number, "1", "--reason", "x", "--memo", "0x12"], "64 hex digits"),
        ([number, "1"], "Missing option"),
    ]:
        assert reason in quick("catalogue", "pay", *words, exit=2).stderr
    ran = quick("catalogue", "pay", number, "2000000000", "--reason", "x", exit=3)
    assert "are missing" in ran.stderr
    assert ran["error"] == "FundsTooLow"


def test_first_deal_in_the_past_and_pay_before_any_deal(quick: Run, folder: Path) -> None:
    number = open_catalogue(quick, folder, SPLIT, "--from", "1970-01-01")
    assert quick("catalogue", "show", number)["deals"][0]["from"] == "1970-01-01"


def test_no_node_no_contract_and_wrong_chain_are_said(run_alone: Run, anvil: Anvil) -> None:
    ran = run_alone("catalogue", "list", exit=3)
    assert "chain up" in ran.stderr
    ran = run_alone("catalogue", "list", exit=3, env={"ROYALTY_RPC": "http://127.0.0.1:1"})
    assert "no node answers" in ran.stderr
    known = {"ROYALTY_RPC": anvil.rpc}
    assert "royalty deploy" in run_alone("catalogue", "list", exit=3, env=known).stderr
    known["ROYALTY_CONTRACT"] = DEV[9]
    assert "no contract at" in run_alone("catalogue", "list", exit=3, env=known).stderr


def test_hostile_titles_move_no_cursor(run: Run, session: Session) -> None:
    from royalty.metadata import make_metadata
    from royalty.shares import Share, make_split
    from royalty.usage import Tariff

    evil = {
        "title": "\x1b[2J\u202eevil\n" + "x" * 500,
        "holders": [{"name": "\x07", "address": DEV[5], "share_ppm": 1}],
    }
    royalty = session("dev6")
    call = royalty.ledger.open(
        make_split([Share(DEV[5], 1_000_000)]),
        Tariff(1, 1, 1),
        1,
        make_metadata(evil, None, is_local=True).uri,
    )
    number = royalty.send(call).event("CatalogueOpened").args["catalogue"]
    for words in (["show", number], ["list"]):
        for as_json in (True, False):
            out = run("catalogue", *words, json=as_json).stdout
            assert not any(sign in out for sign in "\x1b\x07\u202e")
            if not as_json:
                assert max(map(len, out.splitlines())) <= 80
