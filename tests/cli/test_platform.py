"""`royalty platform` as a process: what it accepts, its funds to the unit, its limit, refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.story import (
    DEV,
    EVERYBODY,
    HABIT,
    SPLIT,
    TAKES_FEE,
    TARIFF,
    deploy_hostile_token,
    hostile,
    open_catalogue,
    write,
)
from tests.conftest import Anvil, Ran

pytestmark = pytest.mark.chain
Run = Callable[..., Ran]
Session = Callable[..., Any]
KEYS = {"platform", "funds_nano", "funds", "next_batch", "limit_nano", "spent_today_nano"}


def test_funds_of_an_unknown_platform_are_zero(run: Run) -> None:
    found = run("platform", "funds", DEV[8])
    assert set(found.document) >= KEYS
    assert (found["platform"], found["funds_nano"], found["next_batch"]) == (DEV[8], "0", 1)
    assert (found["limit_nano"], found["spent_today_nano"]) == ("0", "0")


def test_deposit_and_withdrawal_move_exactly_the_amount(run: Run, session: Session) -> None:
    wallet = session("dev1").ledger.token_balance(DEV[1])
    deposited = run("platform", "deposit", "100.000001", "--account", "dev1")
    assert (deposited["platform"], deposited["funds"]) == (DEV[1], "100.000001")
    assert deposited["deposited_nano"] == "100000001000"
    assert session("dev1").ledger.token_balance(DEV[1]) == wallet - 100_000_001
    assert session("dev1").ledger.allowance(DEV[1]) == 0
    left = run("platform", "withdraw", "99", "--account", "dev1", "--to", "dev2")
    assert (left["funds"], left["withdrawn"]) == ("1.000001", "99")
    assert run("platform", "funds", "--account", "dev1")["funds_nano"] == "1000001000"


def test_anyone_deposits_for_a_platform(quick: Run) -> None:
    quick("platform", "deposit", "5", "--platform", "dev7", "--account", "dev1")
    assert quick("platform", "funds", "dev7")["funds"] == "5"


def test_limit_is_shown_in_nano_tokens(quick: Run) -> None:
    assert quick("platform", "limit", "2.5", "--account", "dev1")["limit_micro"] == "2500000"
    found = quick("platform", "funds", "dev1")
    assert (found["limit_nano"], found["limit"]) == ("2500000000", "2.5")
    text = quick("platform", "funds", "dev1", json=False).stdout
    assert "2.5" in text


def test_dry_run_of_deposit_names_both_transactions_and_sends_none(quick: Run) -> None:
    ran = quick("platform", "deposit", "7", "--account", "dev6", "--dry-run")
    assert [one["function"] for one in ran["transactions"]] == ["approve", "deposit"]
    assert quick("platform", "funds", "dev6")["funds_nano"] == "0"


def test_allowance_that_is_too_small_is_replaced(quick: Run, session: Session) -> None:
    royalty = session("dev9")
    royalty.send(royalty.ledger.approve(3))
    quick("platform", "deposit", "1", "--account", "dev9")
    assert royalty.ledger.allowance(DEV[9]) == 0
    assert royalty.ledger.platform(DEV[9]).funds_nano == 10**9


def test_accept_takes_the_prices_of_today(run: Run, folder: Path, session: Session) -> None:
    number = open_catalogue(run, folder)
    ran = run("platform", "accept", number, "--account", "dev1")
    assert (ran["platform"], ran["catalogue"], ran["despite_rival"]) == (DEV[1], number, False)
    assert [ran[f"max_{kind}"] for kind in ("view", "download", "excerpt")] == [
        "0.003",
        "0.5",
        "0.0001",
    ]
    licence = session("dev1").platforms.licences()[number]
    assert (licence.maximum.view, licence.despite_rival) == (3_000_000, False)


def test_accept_again_replaces_prices_and_keeps_the_rival_accepted(
    quick: Run, folder: Path, session: Session
) -> None:
    number = open_catalogue(quick, folder)
    accept = ["platform", "accept", number, "--account", "dev1"]
    quick(*accept, "--max-view", "1", "--despite-rival")
    ran = quick(*accept, "--max-download", "0")
    assert (ran["max_view"], ran["max_download"], ran["despite_rival"]) == ("0.003", "0", True)
    other = open_catalogue(quick, folder)
    quick("platform", "accept", other, "--account", "dev1")
    assert set(session("dev1").platforms.licences()) == {number, other}
    assert session("dev2").platforms.licences() == {}
    assert session("dev2").platforms.licences("dev1") == session("dev1").platforms.licences()


def test_accept_as_reporter_is_kept_for_the_platform(
    quick: Run, folder: Path, session: Session
) -> None:
    number = open_catalogue(quick, folder)
    ran = quick("platform", "accept", number, "--account", "dev2", "--platform", "dev1")
    assert ran["platform"] == DEV[1]
    assert number in session("dev1").platforms.licences()


def test_accept_refuses_bad_input(quick: Run, folder: Path) -> None:
    number = open_catalogue(quick, folder)
    for words, reason in [
        ([9_999], "there is no catalogue 9999"),
        ([0], "there is no catalogue 0"),
        (["one"], "Invalid value"),
        ([number, "--max-view", "x"], "--max-view 'x' is not a decimal"),
        ([number, "--max-excerpt", "2000"], "--max-excerpt 2000 is above the highest"),
        ([number, "--platform", "nobody"], "'nobody' is neither"),
    ]:
        assert reason in quick("platform", "accept", *words, exit=2).stderr
    quick("platform", "accept", number)
    (path,) = folder.glob(".royalty/*/*/platforms/*/licences.csv")
    path.write_text("catalogue\n1\n")
    assert "licences.csv, line 1: no column" in quick("platform", "accept", number, exit=2).stderr


def test_catalogue_without_a_deal_today_needs_every_price(
    quick: Run, folder: Path, session: Session
) -> None:
    from royalty.platforms import funds

    assert funds(session("dev1"), DEV[1]).platform == DEV[1]
    number = open_catalogue(quick, folder)
    words = ["--max-view", "1", "--max-download", "1", "--max-excerpt", "1"]
    assert quick("platform", "accept", number, *words)["max_view"] == "1"


def test_money_refuses_bad_input(quick: Run) -> None:
    for verb in ("deposit", "withdraw"):
        for amount, reason in [
            ("0", "amount is zero"),
            ("x", "not a decimal"),
            ("0.0000001", "finer than the token's smallest unit"),
            ("9" * 28, "more than the ledger can hold"),
        ]:
            assert reason in quick("platform", verb, amount, exit=2).stderr
    rich = quick("platform", "deposit", "5000000", "--account", "dev3", exit=3)
    assert rich["error"] == "FundsTooLow"
    assert "4000000 are missing" in rich.stderr
    poor = quick("platform", "withdraw", "5", "--account", "dev4", exit=3)
    assert "5 less than 5" in poor.stderr
    zero = "0x" + "0" * 40
    assert "zero address" in quick("platform", "withdraw", "1", "--to", zero, exit=2).stderr
    for limit, reason in [("x", "not a decimal"), ("0.0000001", "finer than a micro-token")]:
        assert reason in quick("platform", "limit", limit, exit=2).stderr
    assert "'nobody' is neither" in quick("platform", "funds", "nobody", exit=2).stderr


def test_token_that_takes_a_fee_is_refused(quick: Run, anvil: Anvil, folder: Path) -> None:
    token = deploy_hostile_token(anvil)
    contract = quick("deploy", "--token", token)["royalty"]
    hostile(anvil, token, HABIT, EVERYBODY, TAKES_FEE)
    ran = quick("platform", "deposit", "1", "--contract", contract, exit=3)
    assert "takes a fee" in ran.stderr
    assert quick("platform", "funds", "--contract", contract)["funds_nano"] == "0"
    split = write(folder, "split.csv", SPLIT)
    quick("catalogue", "open", "--title", "T", "--split", split, *TARIFF, "--contract", contract)
    refused = quick("catalogue", "pay", 1, "1", "--reason", "x", "--contract", contract, exit=3)
    assert refused["reverted"] == "TransferNotExact"


def test_token_of_18_decimals_is_counted_to_the_nano(quick: Run, anvil: Anvil) -> None:
    token = deploy_hostile_token(anvil, 18)
    contract = quick("deploy", "--token", token)["royalty"]
    hostile(anvil, token, "mint(address,uint256)", DEV[0], 7)  # less than a nano-token
    ran = quick("platform", "deposit", "1.000000001", "--contract", contract)
    assert ran["funds_nano"] == "1000000001"
    assert (
        "finer than a nano"
        in quick("platform", "deposit", "0.0000000001", "--contract", contract, exit=2).stderr
    )
    poor = quick("platform", "deposit", "99999999", "--contract", contract, exit=3)
    assert "are missing" in poor.stderr
