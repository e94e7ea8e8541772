"""The nouns on a chain that is not local: asking before sending, the index, metadata kept back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.story import DEV, HEAD, compiled, fingerprint, send, write
from tests.conftest import Anvil, Ran, run_royalty, start_anvil

pytestmark = pytest.mark.chain
Run = Callable[..., Ran]

CHAIN_ID = 8453
KEY = "0x" + "11" * 32
OWNER = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
SPLIT = HEAD + f"Ann,{OWNER},director,60%\nBo,{DEV[6]},composer,40%\n"
TARIFF = ["--tariff", "view=0.003", "--tariff", "download=0", "--tariff", "excerpt=0"]


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    """An Anvil that says it is a public chain."""
    started = start_anvil(f"--chain-id={CHAIN_ID}")
    started.request("anvil_setBalance", OWNER, hex(10**20))
    yield started
    started.end()


@pytest.fixture(scope="module")
def environ(anvil: Anvil, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of somebody with one keystore, `owner`, and a ledger for a token of their own."""
    from tests.conftest import clean_environment

    home = tmp_path_factory.mktemp("home")
    (home / "royalty.toml").write_text(
        f'[networks.base]\nrpc = "{anvil.rpc}"\nchain_id = {CHAIN_ID}\nconfirmations = 2\n'
    )
    code = compiled("contracts/test/TestUSD.sol", "TestUSD")["evm"]["bytecode"]["object"]
    token = send(anvil, None, "0x" + code)["contractAddress"]
    known = clean_environment(home) | {
        "ROYALTY_NETWORK": "base",
        "ROYALTY_ACCOUNT": "owner",
        "ROYALTY_PASSWORD": "p",
    }
    run_royalty("account", "import", "owner", "-", cwd=home, environ=known, stdin=KEY)
    made = run_royalty("deploy", "--token", token, "--yes", cwd=home, environ=known)
    return known | {"ROYALTY_CONTRACT": made["royalty"]}


@pytest.fixture
def run(folder: Path, anvil: Anvil, environ: dict[str, str]) -> Run:
    """`royalty` as a process of that somebody."""
    (folder / "royalty.toml").write_text(
        f'[networks.base]\nrpc = "{anvil.rpc}"\nchain_id = {CHAIN_ID}\nconfirmations = 2\n'
    )

    def asked(*words: object, **options: Any) -> Ran:
        return run_royalty(*words, cwd=folder, environ=environ, **options)

    return asked


def test_nothing_is_sent_unless_somebody_says_yes(run: Run, folder: Path) -> None:
    words = ["catalogue", "open", "--title", "T", "--split", write(folder, "s.csv", SPLIT), *TARIFF]
    ran = run(*words, exit=4)
    assert "open a catalogue for 2 holders" in ran.stderr
    assert "--yes" in ran.stderr
    assert run("catalogue", "list")["catalogues"] == []
    number = run(*words, "--yes")["catalogue"]
    shown = run("catalogue", "show", number)
    (deal,) = shown["deals"]
    assert deal["uri"] == ""  # kept in the folder until it is published
    assert {one["holder"] for one in deal["split"]} == {"Ann", "Bo"}
    assert list(folder.glob(f".royalty/{CHAIN_ID}-*/*/metadata/deal-{number}-1.json"))


def test_nouns_read_their_events_through_the_index(run: Run, folder: Path) -> None:
    split = write(folder, "s.csv", SPLIT)
    opened = ["catalogue", "open", "--title", "T", "--split", split, *TARIFF, "--yes"]
    number = run(*opened, "--uri", "inline")["catalogue"]
    film = write(folder, "film", f"film {number}")
    assert run("work", "register", film, "--catalogue", number, "--yes")["works"] == [f"{number}/0"]
    (found,) = run("work", "verify", fingerprint(f"film {number}"))["registrations"]
    assert found["registrant"] == OWNER
    run("reporter", "add", DEV[2], "--yes")
    assert run("reporter", "list")["reporters"] == [DEV[2]]
    run("platform", "accept", number)
    assert list(folder.glob(f".royalty/{CHAIN_ID}-*/*/index"))


def test_index_and_node_give_the_same_events(
    run: Run, folder: Path, environ: dict[str, str], anvil: Anvil
) -> None:
    from royalty import Royalty, records

    split = write(folder, "s.csv", SPLIT)
    run("catalogue", "open", "--title", "T", "--split", split, *TARIFF, "--yes")
    session = Royalty.connect("base", contract=environ["ROYALTY_CONTRACT"], folder=folder)
    assert session.node.chain_id == CHAIN_ID
    head = anvil.request("eth_blockNumber")
    for name in ("CatalogueOpened", "WorksRegistered", "ReporterSet"):
        direct = records.read_events(session, name)
        indexed = records.events(session, name)
        assert [(one.args, one.block, one.log_index) for one in direct] == [
            (one.args, one.block, one.log_index) for one in indexed
        ]
    found = records.events(session, "CatalogueOpened", catalogue=1)
    assert [one.args["catalogue"] for one in found] == [1]
    assert records.events(session, "CatalogueOpened", block=0) == []
    with pytest.raises(KeyError, match="no indexed fromDay"):
        records.events(session, "CatalogueOpened", fromDay=1)
    assert head == anvil.request("eth_blockNumber")


def test_settling_asks_first_and_reads_tallies_through_the_index(
    run: Run, folder: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from royalty import Royalty
    from royalty.evidence import sha256
    from royalty.merkle import DayLine, leaves_of
    from royalty.tallydata import data_bytes, read_claims, rows_of
    from royalty.usage import Kind, Tariff
    from tests import tallies

    split = write(folder, "s.csv", SPLIT)
    opened = ["catalogue", "open", "--title", "T", "--split", split, *TARIFF, "--yes"]
    number = run(*opened)["catalogue"]
    for word, value in environ.items():
        if word.startswith("ROYALTY_"):
            monkeypatch.setenv(word, value)
    session = Royalty.connect("base", folder=folder)
    day = session.today()
    leaves = list(
        leaves_of([DayLine(number, 1, day, Kind.DOWNLOAD, 0, 5)])
    )  # free, as are its funds
    data = folder / "data.parquet"
    data.write_bytes(data_bytes(rows_of(leaves, {(number, 1): Tariff(1, 0, 0)})))
    claims, digest = list(read_claims(data)), sha256(data.read_bytes())
    batch = tallies.post(session, claims, day, digest=digest).batch
    words = ("tally", "settle", batch, "--all", "--data", data)
    asked = run(*words, exit=4).stderr
    assert "settle leaf 0 of tally" in asked and "--yes" in asked
    assert run("tally", "show", batch)["settled_leaves"] == 0
    assert run(*words, "--yes")["paid_leaves"] == 1
    shown = run("tally", "show", batch, "--data", data)
    assert [leaf["state"] for leaf in shown["leaf_list"]] == ["settled"]
    assert run(*words, "--yes")["transactions"] == []


def test_signing_shows_what_changes_and_asks(run: Run, folder: Path) -> None:
    split = write(folder, "s.csv", SPLIT)
    opened = ["catalogue", "open", "--title", "T", "--split", split, *TARIFF, "--yes"]
    number = run(*opened)["catalogue"]
    file = folder / "p.json"
    run("catalogue", "amend", number, "--tariff", "view=0.001", "--out", file)
    ran = run("catalogue", "sign", file, exit=4)
    assert "view 0.003" in ran.stderr
    assert "view 0.001" in ran.stderr
    assert '"signatures": {}' in file.read_text()
    assert run("catalogue", "sign", file, "--yes")["signed_by"] == OWNER
    missing = run("catalogue", "amend", "--submit", file, "--yes", exit=1)["missing"]
    assert [one["holder"] for one in missing] == [DEV[6]]


def test_contract_that_holds_a_share_consents_by_erc_1271(
    run: Run, folder: Path, anvil: Anvil
) -> None:
    from royalty.amendments import read_proposal
    from royalty.chain.accounts import Account

    wallet_of = compiled("contracts/test/Wallets.sol", "GoodWallet")["evm"]["bytecode"]["object"]
    wallet = send(anvil, None, "0x" + wallet_of + f"{int(OWNER, 16):064x}")["contractAddress"]
    split = write(folder, "s.csv", HEAD + f"Safe,{wallet},x,60%\nBo,{OWNER},y,40%\n")
    opened = ["catalogue", "open", "--title", "T", "--split", split, *TARIFF, "--yes"]
    number = run(*opened)["catalogue"]
    file = folder / "p.json"
    run("catalogue", "amend", number, "--tariff", "view=0.001", "--out", file)
    typed = read_proposal(file).typed_data
    signature = "0x" + Account("x", OWNER, lambda: bytes.fromhex(KEY[2:])).sign_typed(typed).hex()
    add = ["catalogue", "sign", file, "--holder", wallet, "--yes", "--signature"]
    run(*add, signature[:-4] + "0000")
    refused = run("catalogue", "amend", "--submit", file, "--yes", exit=1)
    assert [one["holder"].lower() for one in refused["missing"]] == [wallet.lower()]
    run(*add, signature)
    assert run("catalogue", "amend", "--submit", file, "--yes")["version"] == 2
