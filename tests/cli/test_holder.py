"""`royalty holder` as a process: payable is what is then sent, payees, refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.story import COMPOSER, DEV, DIRECTOR, HEAD, PRODUCER, SPLIT, open_catalogue
from tests.conftest import Ran

pytestmark = pytest.mark.chain
Run = Callable[..., Ran]
Session = Callable[..., Any]


def paid_catalogue(run: Run, folder: Path, amount: str, text: str = SPLIT) -> int:
    number = open_catalogue(run, folder, text)
    run("catalogue", "pay", number, amount, "--reason", "ads", "--account", "dev4")
    return number


def test_payable_is_exactly_what_withdrawing_sends(
    run: Run, folder: Path, session: Session
) -> None:
    first = paid_catalogue(run, folder, "1.000001")
    second = paid_catalogue(
        run, folder, "0.000007", HEAD + "A,dev5,x,33.3333%\nB,dev6,y,66.6667%\n"
    )
    shown = run("holder", "payable", DIRECTOR)
    assert set(shown.document) >= {
        "holder",
        "payable_nano",
        "payable",
        "allocated_nano",
        "deals",
    }
    mine = [one for one in shown["deals"] if one["catalogue"] in (first, second)]
    assert [
        (one["catalogue"], one["version"], one["share_ppm"], one["accrued_nano"], one["part_nano"])
        for one in mine
    ] == [
        (first, 1, 400_000, "1000001000", "400000400"),
        (second, 1, 333_333, "7000", "2333"),
    ]
    before = session().ledger.token_balance(DIRECTOR)
    sent = run("holder", "withdraw", DIRECTOR)
    assert sent["paid_nano"] == shown["payable_nano"]
    after = session().ledger.token_balance(DIRECTOR)
    assert (after - before) * 1_000 == int(shown["payable_nano"])
    left = run("holder", "payable", DIRECTOR)
    assert left["payable_nano"] == "0"
    assert 0 < int(left["allocated_nano"]) < 1_000


def test_withdrawing_again_sends_nothing(quick: Run, folder: Path) -> None:
    paid_catalogue(quick, folder, "1")
    quick("holder", "withdraw", "dev6")
    again = quick("holder", "withdraw", "dev6")
    assert (again["paid_nano"], again["transactions"], again["skipped"]) == ("0", [], [])
    assert "Nothing is payable" in quick("holder", "withdraw", "dev6", json=False).stdout


def test_withdrawing_for_one_leaves_the_others_their_parts(quick: Run, folder: Path) -> None:
    before = int(quick("holder", "payable", COMPOSER)["payable_nano"])
    paid_catalogue(quick, folder, "2")
    quick("holder", "withdraw", PRODUCER)
    assert int(quick("holder", "payable", COMPOSER)["payable_nano"]) - before == 700_000_000


def test_payee_receives_until_it_is_cleared(quick: Run, folder: Path, session: Session) -> None:
    assert quick("holder", "payee", "set", "dev9", "--account", "dev5")["payee"] == DEV[9]
    paid_catalogue(quick, folder, "1")
    shown = quick("holder", "payable", DIRECTOR)
    assert shown["payee"] == DEV[9]
    wallet = session().ledger.token_balance(DEV[9])
    quick("holder", "withdraw", DIRECTOR)
    got = session().ledger.token_balance(DEV[9]) - wallet
    assert got * 1_000 == int(shown["payable_nano"])
    assert quick("holder", "payee", "clear", "--account", "dev5")["payee"] == DIRECTOR
    assert quick("holder", "payable", DIRECTOR)["payee"] == DIRECTOR


def test_holder_of_nothing_has_nothing(quick: Run) -> None:
    shown = quick("holder", "payable", "dev9").document
    assert (shown["payable_nano"], shown["deals"]) == ("0", [])
    assert "payable" in quick("holder", "payable", "dev9", json=False).stdout
    assert quick("holder", "payable", "--account", "dev8")["holder"] == DEV[8]


def test_payable_as_text_is_narrow_enough(quick: Run, folder: Path) -> None:
    paid_catalogue(quick, folder, "123456.654321")
    text = quick("holder", "payable", "dev5", json=False).stdout
    assert "123456.654321" in text
    assert max(map(len, text.splitlines())) <= 80


def test_dry_run_of_withdraw_sends_nothing(quick: Run, folder: Path) -> None:
    paid_catalogue(quick, folder, "1")
    before = quick("holder", "payable", "dev6")["payable_nano"]
    assert quick("holder", "withdraw", "dev6", "--dry-run")["dry_run"] is True
    assert quick("holder", "payable", "dev6")["payable_nano"] == before


def test_holder_refuses_bad_input(quick: Run, ledger: dict[str, Any]) -> None:
    for words, reason in [
        (["payable", "nobody"], "'nobody' is neither"),
        (["payable", "0x12"], "is not an address"),
        (["withdraw", "nobody"], "'nobody' is neither"),
        (["payee", "set"], "Missing argument"),
        (["payee", "set", ledger["royalty"]], "the ledger itself"),
        (["payee", "set", ledger["token"]], "the settlement token"),
        (["payee", "set", "0x" + "0" * 40], "the zero address"),
    ]:
        assert reason in quick("holder", *words, exit=2).stderr
