"""`royalty payout run` as a process: everybody paid once, minimum, blocked wallets, many transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.story import (
    BURNS_ALL_GAS,
    COMPOSER,
    DEV,
    DIRECTOR,
    HABIT,
    HEAD,
    HONEST,
    PRODUCER,
    REVERTS,
    REVERTS_HUGELY,
    SPLIT,
    deploy_hostile_token,
    hostile,
    open_catalogue,
)
from tests.conftest import Anvil, Ran

pytestmark = pytest.mark.chain
Run = Callable[..., Ran]
Session = Callable[..., Any]


def paid(run: Run, folder: Path, amount: str, text: str = SPLIT, *more: object) -> int:
    number = open_catalogue(run, folder, text, *more)
    run("catalogue", "pay", number, amount, "--reason", "ads", "--account", "dev4", *more)
    return number


def test_everybody_is_paid_what_was_payable_and_a_second_run_pays_nobody(
    run: Run, folder: Path, session: Session
) -> None:
    paid(run, folder, "10.000003")
    paid(run, folder, "0.5", HEAD + "A,dev5,x,1\nB,dev8,y,999999\n")
    everybody = (DIRECTOR, COMPOSER, PRODUCER, DEV[8])
    payable = {who: int(run("holder", "payable", who)["payable_nano"]) for who in everybody}
    wallets = {who: session().ledger.token_balance(who) for who in everybody}
    ran = run("payout", "run")
    assert (ran["deals"], ran["holders"], ran["skipped"]) == (2, 4, [])
    assert int(ran["paid_nano"]) == sum(payable.values())
    assert len(ran["transactions"]) == 1
    for who in everybody:
        got = session().ledger.token_balance(who) - wallets[who]
        assert got * 1_000 == payable[who]
    again = run("payout", "run")
    assert (again["deals"], again["paid_nano"], again["transactions"]) == (0, "0", [])


def test_minimum_carries_small_amounts_until_they_add_up(quick: Run, folder: Path) -> None:
    quick("payout", "run")
    paid(quick, folder, "2")
    ran = quick("payout", "run", "--minimum", "0.75")
    assert (ran["holders"], ran["paid"], ran["skipped"]) == (1, "0.8", [])
    assert ran["carried_holders"] >= 2
    paid(quick, folder, "2")
    assert quick("payout", "run", "--minimum", "1.00")["paid"] == "2.4"
    assert quick("payout", "run", "--minimum", "1.00")["transactions"] == []
    assert quick("payout", "run")["paid"] == "0.8"
    text = quick("payout", "run", json=False).stdout
    assert "Nobody is paid" in text


def test_dry_run_pays_nobody(quick: Run, folder: Path) -> None:
    paid(quick, folder, "1")
    ran = quick("payout", "run", "--dry-run")
    assert [one["function"] for one in ran["transactions"]] == ["allocateAndPay"]
    assert ran["transactions"][0]["gas"] > 100_000
    assert quick("payout", "run")["paid"] == "1"


@pytest.fixture
def small_blocks(anvil: Anvil) -> Iterator[Anvil]:
    """The chain with blocks that hold two million gas."""
    before = anvil.request("eth_getBlockByNumber", "latest", False)["gasLimit"]
    anvil.request("evm_setBlockGasLimit", hex(2_000_000))
    anvil.request("evm_mine")
    yield anvil
    anvil.request("evm_setBlockGasLimit", before)
    anvil.request("evm_mine")


def test_what_does_not_fit_into_one_transaction_takes_several(
    session: Session, anvil: Anvil, small_blocks: Anvil, quick: Run
) -> None:
    from royalty.splitsheet import Party
    from royalty.usage import Tariff

    assert small_blocks is anvil
    quick("payout", "run")
    royalty = session()
    people = [f"0x{0xABC000 + n:040x}" for n in range(30)]
    for n in range(40):
        parties = [Party("x", people[(n + k) % 30], "y", 200_000) for k in range(5)]
        number = royalty.catalogues.open(f"F{n}", parties, Tariff(1, 1, 1)).catalogue
        royalty.catalogues.pay(number, 1_000_000, reason="x")
    ran = quick("payout", "run")
    assert (ran["deals"], ran["holders"], ran["paid"]) == (40, 30, "40")
    used = [
        int(anvil.request("eth_getTransactionReceipt", name)["gasUsed"], 16)
        for name in ran["transactions"]
    ]
    assert max(used) < 2_000_000
    assert 2 <= len(used) <= 1 + -(-sum(used) // 1_500_000)
    assert quick("payout", "run")["transactions"] == []


@pytest.mark.parametrize("habit", [REVERTS, REVERTS_HUGELY, BURNS_ALL_GAS])
def test_blocked_wallet_is_skipped_named_and_paid_once_it_is_open_again(
    quick: Run, folder: Path, anvil: Anvil, habit: int
) -> None:
    token = deploy_hostile_token(anvil)
    here = ["--contract", quick("deploy", "--token", token)["royalty"]]
    paid(quick, folder, "10", SPLIT, *here)
    hostile(anvil, token, HABIT, COMPOSER, habit)

    ran = quick("payout", "run", *here, exit=1)
    assert (ran["holders"], ran["paid"]) == (2, "6.5")
    (skipped,) = ran["skipped"]
    assert (skipped["holder"], skipped["to"], skipped["balance"]) == (COMPOSER, COMPOSER, "3.5")
    assert skipped["reason"]

    again = quick("payout", "run", *here, exit=1)
    assert again["transactions"] == []  # known to fail: nobody pays gas for it again
    assert [one["holder"] for one in again["skipped"]] == [COMPOSER]
    assert "Skipped:" in quick("payout", "run", *here, json=False, exit=1).stdout
    withdrawn = quick("holder", "withdraw", COMPOSER, *here, exit=1)
    assert (withdrawn["paid_nano"], withdrawn["payee"]) == ("0", COMPOSER)
    assert quick("holder", "payable", COMPOSER, *here)["payable"] == "3.5"

    paid(quick, folder, "1", SPLIT, *here)
    mixed = quick("payout", "run", *here, exit=1)
    assert (mixed["holders"], mixed["paid"]) == (2, "0.65")

    hostile(anvil, token, HABIT, COMPOSER, HONEST)
    assert quick("payout", "run", *here)["paid"] == "3.85"


def test_payee_of_a_blocked_wallet_is_paid(quick: Run, folder: Path, anvil: Anvil) -> None:
    token = deploy_hostile_token(anvil)
    here = ["--contract", quick("deploy", "--token", token)["royalty"]]
    paid(quick, folder, "10", SPLIT, *here)
    hostile(anvil, token, HABIT, DIRECTOR, REVERTS)
    quick("holder", "payee", "set", "dev3", "--account", "dev5", *here)
    ran = quick("payout", "run", *here)
    assert (ran["paid"], ran["skipped"]) == ("10", [])


def test_payout_refuses_bad_input(quick: Run) -> None:
    for words, reason in [
        (["--minimum", "x"], "--minimum 'x' is not a decimal"),
        (["--minimum", "-1"], "--minimum '-1' is not a decimal"),
        (["--minimum", "0.0000000001"], "finer than a nano-token"),
        (["--account", "nobody"], "'nobody' is neither"),
    ]:
        assert reason in quick("payout", "run", *words, exit=2).stderr
