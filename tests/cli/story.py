"""What the tests of the nouns share: split sheets, works, money, and a token that can refuse."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, Anvil

DEV = [
    "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
    "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
    "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
    "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65",
    "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc",
    "0x976EA74026E726554dB657fA54763abd0C3a0aa9",
    "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955",
    "0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f",
    "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720",
]
TARIFF = ["--tariff", "view=0.003", "--tariff", "download=0.5", "--tariff", "excerpt=0.0001"]
HONEST, TAKES_FEE, REVERTS, REVERTS_HUGELY, BURNS_ALL_GAS = 0, 3, 9, 10, 13  # its habits
EVERYBODY = "0x" + "0" * 40
HABIT = "setHabit(address,uint8)"
HEAD = "holder,address,role,share\n"
DIRECTOR, COMPOSER, PRODUCER = DEV[5], DEV[6], DEV[7]
SPLIT = HEAD + "Ann,dev5,director,40%\nBo,dev6,composer,35%\nCy,dev7,producer,250000\n"


def write(folder: Path, name: str, text: str) -> Path:
    """A file of the folder."""
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def open_catalogue(run: Any, folder: Path, text: str = SPLIT, *more: object, **options: Any) -> int:
    """The number of a catalogue opened as a process."""
    split = write(folder, "split.csv", text)
    ran = run("catalogue", "open", "--title", "Sintel", "--split", split, *TARIFF, *more, **options)
    return int(ran["catalogue"])


def fingerprint(text: str) -> str:
    """The SHA-256 of a text, as a fingerprint."""
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def compiled(path: str, name: str) -> dict[str, Any]:
    """ABI and bytecode of a contract that only tests use."""
    asked = {
        "language": "Solidity",
        "sources": {path: {"urls": [path]}},
        "settings": {
            "remappings": ["@openzeppelin/contracts/=node_modules/@openzeppelin/contracts/"],
            "outputSelection": {path: {name: ["abi", "evm.bytecode.object"]}},
        },
    }
    asked["sources"][path] = {"content": (ROOT / path).read_text()}
    done = subprocess.run(
        [str(ROOT / "scripts/solc"), "--standard-json", "--base-path", str(ROOT)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    output = json.loads(done.stdout)
    return dict(output["contracts"][path][name])


def deploy_hostile_token(anvil: Anvil, decimals: int = 6) -> str:
    """The address of a token that misbehaves on demand, a million given to every dev account."""
    code = compiled("contracts/test/HostileToken.sol", "HostileToken")["evm"]["bytecode"]["object"]
    sent = send(anvil, None, "0x" + code + f"{decimals:064x}")
    token = str(sent["contractAddress"])
    for address in DEV:
        hostile(anvil, token, "mint(address,uint256)", address, 10 ** (6 + decimals))
    return token


def hostile(anvil: Anvil, token: str, signature: str, address: str, value: int) -> None:
    """Call `signature` of the token with an address and a number."""
    from eth_utils.crypto import keccak

    words = f"{int(address, 16):064x}{value:064x}"
    send(anvil, token, "0x" + keccak(text=signature)[:4].hex() + words)


def send(anvil: Anvil, to: str | None, data: str) -> dict[str, Any]:
    """The receipt of a transaction of dev9."""
    fields = {"from": DEV[9], "data": data, "gas": hex(8_000_000)} | ({"to": to} if to else {})
    name = anvil.request("eth_sendTransaction", fields)
    ends = time.monotonic() + 20
    while (found := anvil.request("eth_getTransactionReceipt", name)) is None:
        assert time.monotonic() < ends, f"{name} did not land"
        time.sleep(0.01)
    assert found["status"] == "0x1"
    return dict(found)
