"""The Brownie scripts do what they print."""

import pytest
from helpers import platform_of


@pytest.fixture(scope="module")
def deployed(accounts):
    from scripts.deploy import deploy

    return deploy(accounts[0])


def test_deploy_makes_a_ledger_for_a_test_token(deployed, TestUSD):
    assert deployed.tokenDecimals() == 6
    assert deployed.catalogues() == 0


def test_deploy_takes_a_token_that_is_there(deployed, accounts):
    from scripts.deploy import deploy

    again = deploy(accounts[0], deployed.token())
    assert again != deployed
    assert again.token() == deployed.token()


def test_the_demo_pays_every_holder_its_share(deployed, accounts, capsys):
    from scripts import demo

    got = demo.tell(deployed)
    total = 18_342 * 3_000_000 + 977 * 3_000_000 + 61 * 500_000_000 + 4_805 * 100_000
    assert got == {role: total * ppm // 10**6 // 1_000 for role, (_, ppm) in demo.HOLDERS.items()}
    assert platform_of(deployed, accounts[6]).funds == 200 * 10**9 - total
    printed = capsys.readouterr().out
    assert "director    40.0000 %     35.575000000" in printed
    told = [line for line in printed.splitlines() if "\x1b" not in line]  # Brownie colours its own
    assert max(map(len, told)) <= 80


def test_each_script_has_a_door(monkeypatch, deployed, capsys):
    from scripts import demo, deploy

    deploy.main()
    assert "on anvil" in capsys.readouterr().out
    demo.main()
    assert "left to divide" in capsys.readouterr().out
