"""What is deployed is the rule: one token, its decimals, nobody in charge."""

from helpers import event, refused


def test_the_ledger_knows_its_token_and_its_decimals(ledger, usd):
    assert ledger.token() == usd.address
    assert ledger.tokenDecimals() == 6
    deployed = event(ledger.tx, "Deployed")
    assert deployed == {"token": usd.address, "decimals": 6}


def test_the_ledger_starts_empty(Royalty, usd, accounts):
    fresh = Royalty.deploy(usd, {"from": accounts[0]})
    assert fresh.catalogues() == 0
    assert usd.balanceOf(fresh) == 0


def test_an_address_without_decimals_is_refused(Royalty, accounts, stranger):
    with refused("DecimalsUnsupported", 2**256 - 1):
        Royalty.deploy(stranger, {"from": accounts[0]})


def test_the_deployed_code_fits_the_limit(ledger, web3):
    assert len(web3.eth.get_code(ledger.address)) <= 24_576


def test_nobody_is_an_owner_or_an_admin(ledger):
    names = {entry["name"] for entry in ledger.abi if entry["type"] == "function"}
    powers = ("owner", "admin", "upgrade", "pause", "role", "sweep", "fee", "initialize")
    found = {name for name in names for power in powers if power in name.casefold()}
    assert found <= {"ownerOf"}


def test_no_function_takes_ether(ledger, catalogue, producer, stranger):
    """The token standard's library has payable functions; they refuse what comes with the call."""
    stranger.transfer(producer, 1)
    with refused("ValueRefused", 1):
        ledger.transferFrom(producer, stranger, catalogue, {"from": producer, "value": 1})
    with refused("ValueRefused", 1):
        ledger.approve(stranger, catalogue, {"from": producer, "value": 1})
