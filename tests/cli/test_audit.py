"""`royalty audit solvency` as a process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from royalty.merkle import DayLine
from royalty.usage import Kind, Tariff
from tests.conftest import Anvil, Ran
from tests.tallies import claims_of, post

HOLDER = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65"
Run = Callable[..., Ran]
KEYS = {
    "block",
    "held_nano",
    "funds_nano",
    "accrued_nano",
    "balances_nano",
    "surplus_nano",
    "solvent",
}


def steal(anvil: Anvil, ledger: dict[str, Any], amount: int) -> None:
    """Take tokens out of the ledger past all its rules, as a thief of its token would."""
    anvil.request("anvil_setBalance", ledger["royalty"], hex(10**18))
    anvil.request("anvil_impersonateAccount", ledger["royalty"])
    data = "0xa9059cbb" + HOLDER[2:].rjust(64, "0") + f"{amount:064x}"
    call = {"from": ledger["royalty"], "to": ledger["token"], "data": data}
    before = int(anvil.request("eth_blockNumber"), 16)
    anvil.request("eth_sendTransaction", call)
    while int(anvil.request("eth_blockNumber"), 16) == before:
        pass


def test_unsettled_money_is_owed_and_listed_by_age(
    run: Run, anvil: Anvil, session: Callable[..., Any], folder: Path
) -> None:
    snapshot = anvil.request("evm_snapshot")
    (folder / "split.csv").write_text(f"holder,address,role,share\nAda,{HOLDER},director,100%\n")
    tariff = ["--tariff", "view=0.003", "--tariff", "download=0", "--tariff", "excerpt=0"]
    number = run("catalogue", "open", "--title", "F", "--split", "split.csv", *tariff)["catalogue"]
    run("platform", "deposit", "3")
    royalty = session()
    line = DayLine(number, 1, royalty.today(), Kind.VIEW, 0, 5)
    claims = claims_of([line], {(number, 1): Tariff(3_000_000, 0, 0)})
    posted = post(royalty, claims, royalty.today())
    anvil.mine_days(2)
    told = run("audit", "solvency").document
    assert (told["unsettled"], told["tallies"]) == ("0.015", 1)
    assert told["surplus_nano"] == "0"
    (waiting,) = told["unsettled_tallies"]
    assert (waiting["batch"], waiting["age_days"], waiting["leaves"]) == (posted.batch, 2, 1)
    assert (waiting["unsettled_nano"], waiting["unsettled"]) == ("15000000", "0.015")
    shown = run("audit", "solvency", json=False).stdout
    assert "unsettled in 1 tally" in shown
    assert "2 days ago" in shown
    assert max(map(len, shown.splitlines())) <= 80
    posted.settle(royalty)
    assert run("audit", "solvency").document["unsettled_tallies"] == []
    assert "ago" not in run("audit", "solvency", json=False).stdout
    anvil.request("evm_revert", snapshot)


def test_a_ledger_that_holds_what_it_owes_is_solvent_until_it_does_not(
    run: Run, anvil: Anvil, ledger: dict[str, Any], folder: Path
) -> None:
    empty = run("audit", "solvency").document
    assert set(empty) >= KEYS
    assert (empty["held_nano"], empty["solvent"]) == ("0", True)
    run("platform", "deposit", "3")
    (folder / "split.csv").write_text(f"holder,address,role,share\nAda,{HOLDER},director,100%\n")
    tariff = ["--tariff", "view=0.003", "--tariff", "download=0.5", "--tariff", "excerpt=0"]
    number = run("catalogue", "open", "--title", "F", "--split", "split.csv", *tariff)["catalogue"]
    run("catalogue", "pay", number, "2", "--reason", "tips")
    told = run("audit", "solvency").document
    assert told["held_nano"] == "5000000000"
    assert (told["funds"], told["accrued"], told["balances"], told["surplus"]) == (
        "3",
        "2",
        "0",
        "0",
    )
    assert told["solvent"] is True
    assert told["differences"] == []
    shown = run("audit", "solvency", json=False).stdout
    assert "holds exactly what it owes" in shown
    assert max(map(len, shown.splitlines())) <= 80

    steal(anvil, ledger, 1)
    told = run("audit", "solvency", exit=1).document
    assert (told["surplus_nano"], told["solvent"]) == ("-1000", False)
    assert told["differences"] == []
    shown = run("audit", "solvency", json=False, exit=1).stdout
    assert "0.000001 TUSD too little" in shown


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--rpc", "http://127.0.0.1:9"], 3, "no node answers"),
        (["--rpc", "ftp://x"], 2, "is no RPC address"),
        (["--contract", HOLDER], 3, "no contract"),
        (["--contract", "0x15d34aaf54267DB7D7c367839AAf71A00a2C6A65"], 2, "checksum"),
        (["--network", "mars"], 2, "unknown network 'mars'"),
        (["extra"], 2, "extra"),
    ],
)
def test_bad_input_and_trouble_are_one_clear_line(
    quick: Run, words: list[str], code: int, message: str
) -> None:
    told = quick("audit", "solvency", *words, exit=code)
    assert message in told.stderr
    assert len(told.stderr.splitlines()) == 1
