"""Deploy the ledger for a token, under Brownie: `scripts/run_brownie.py run deploy`.

Without a token's address it deploys TestUSD, which anyone can mint and which is worth nothing:
`run deploy main 0x...` names a real one.
"""

from __future__ import annotations

from typing import Any

from brownie import Contract, Royalty, TestUSD, accounts, network
from brownie.network.account import Account


def main(token: str | None = None) -> None:
    """Deploy for a token from Brownie's first account and say where."""
    ledger = deploy(accounts[0], token)
    print(f"Royalty {ledger.address} for token {ledger.token()} on {network.show_active()}")


def deploy(deployer: Account, token: str | None = None) -> Any:
    """Deploy the ledger; return Brownie's contract. Nobody owns it afterwards, nor the token."""
    usd = token or TestUSD.deploy({"from": deployer})
    return Royalty.deploy(usd, {"from": deployer})


def token_of(ledger: Any) -> Any:
    """The ledger's token as Brownie's contract, with the face of TestUSD."""
    return Contract.from_abi("token", ledger.token(), TestUSD.abi)
