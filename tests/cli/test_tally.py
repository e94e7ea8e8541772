"""`royalty tally` as a process: shown, settled, proven and verified, through kills and hostile files."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from royalty.evidence import canonical
from royalty.usage import Tariff
from tests.conftest import Anvil, Ran
from tests.tally_world import accrued, catalogues, lines_of, post, priced
from tests.usage_world import World
from tests.usage_world import world as world_of

pytestmark = pytest.mark.chain
Run = Callable[..., Ran]


@pytest.fixture
def world(session: Callable[..., Any], folder: Path, anvil: Anvil) -> Iterator[World]:
    with world_of(session, folder, anvil) as made:
        yield made


def many(world: World, count: int, **options: Any) -> tuple[list[int], Any]:
    """So many deals with a leaf each."""
    numbers = catalogues(world, count)
    lines = [line for at, n in enumerate(numbers) for line in lines_of(n, 1 + at, 2, days=2)]
    return numbers, post(world, lines, **options)


# --- show ---


def test_tallies_are_listed_and_one_is_shown_with_its_leaves(world: World, quick: Run) -> None:
    _, made = many(world, 2)
    (one,) = quick("tally", "show", "--account", "dev3")["tallies"]
    assert (one["batch"], one["leaves"], one["day"]) == (made.batch, 2, "2024-06-09")
    assert one["total_nano"] == one["unsettled_nano"] == str(made.tree.total)
    assert one["root"] == "0x" + made.tree.root.hex()
    shown = quick("tally", "show", made.batch, "--data", made.path)
    assert [leaf["state"] for leaf in shown["leaf_list"]] == ["open", "open"]
    assert shown["leaf_list"][1]["units"] == {"view": 8, "download": 0, "excerpt": 0}
    assert shown["leaf_list"][1]["amount_nano"] == str(made.amount(1))
    text = quick("tally", "show", made.batch, "--data", made.path, json=False).stdout
    assert "rebuilds its root" in text and "open" in text
    assert "name a copy with --data" in quick("tally", "show", made.batch, json=False).stdout


def test_a_hostile_address_of_the_data_moves_no_cursor(world: World, quick: Run) -> None:
    many(world, 1, uri="https://x/\x1b[2J\u202e\n" + "y" * 500)
    text = quick("tally", "show", 1, "--account", "dev1", json=False).stdout
    assert "\x1b" not in text and "\u202e" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_data_of_another_tally_is_refused_in_one_line_with_both_roots(
    world: World, quick: Run
) -> None:
    _, made = many(world, 1)
    other = post(world, lines_of(world.catalogue, 9))
    for verb in (("show",), ("settle", "--all")):
        words = (verb[0], made.batch, *verb[1:], "--data", other.path)
        said = quick("tally", *words, exit=2).stderr
        assert len(said.splitlines()) == 1
        assert made.tree.root.hex() in said and other.tree.root.hex() in said


# --- settle ---


def test_a_stranger_settles_what_a_platform_posted(world: World, run: Run) -> None:
    numbers, made = many(world, 3)
    done = run("tally", "settle", made.batch, "--all", "--data", made.path, "--account", "dev4")
    assert (done["paid_leaves"], done["paid_nano"]) == (3, str(made.tree.total))
    assert [accrued(world, n) for n in numbers] == [made.amount(i) for i in range(3)]
    assert len(done["transactions"]) == 1 and int(done["cost_wei"]) > 0
    again = run("tally", "settle", made.batch, "--all", "--data", made.path, "--account", "dev4")
    assert (again["paid_leaves"], again["transactions"]) == (0, [])


def test_a_dry_run_shows_transactions_gas_cost_and_amounts_and_sends_nothing(
    world: World, quick: Run
) -> None:
    _, made = many(world, 3)
    words = ("tally", "settle", made.batch, "--leaf", 0, "--leaf", 2, "--data", made.path)
    planned = quick(*words, "--dry-run", "--account", "dev4")
    assert planned["dry_run"] and planned["chosen_leaves"] == 2
    assert planned["pays_nano"] == str(made.amount(0, 2))
    assert [one["function"] for one in planned["transactions"]] == ["settle", "settle"]
    assert all(one["gas"] > 21_000 for one in planned["transactions"])
    assert int(planned["cost_wei"]) == sum(int(one["cost_wei"]) for one in planned["transactions"])
    text = " ".join(quick(*words, "--dry-run", json=False).stdout.split())
    assert "would settle leaf 2 of tally" in text and "pays 0.03 TUSD" in text
    assert quick("tally", "show", made.batch)["settled_leaves"] == 0


def test_a_void_leaf_is_a_finding_already_in_the_dry_run(world: World, quick: Run) -> None:
    numbers = catalogues(world, 2)
    wrong = priced(numbers[0]) | {(numbers[1], 1): Tariff(1, 1, 1)}
    made = post(world, [line for n in numbers for line in lines_of(n, 5)], prices=wrong)
    words = ("tally", "settle", made.batch, "--all", "--data", made.path)
    assert quick(*words, "--dry-run", exit=1)["voided"][0]["reason"] == "amount_mismatch"
    done = quick(*words, exit=1)
    assert (done["paid_leaves"], done["void_nano"]) == (1, str(made.amount(1)))
    assert [one["leaf"] for one in done["voided"]] == [1]
    shown = quick("tally", "show", made.batch, "--data", made.path, exit=1)
    assert [leaf["state"] for leaf in shown["leaf_list"]] == ["settled", "void"]
    text = quick("tally", "show", made.batch, "--data", made.path, json=False, exit=1).stdout
    assert "Leaf 1" in text and "amount_mismatch" in text


BAD_CHOICES: tuple[tuple[str, ...], ...] = (
    (),
    ("--all", "--mine"),
    ("--leaf", "0", "--work", "1/0"),
    ("--leaf", "7"),
    ("--leaf", "-1"),
    ("--work", "x"),
    ("--worth-gas",),
    ("--worth-gas", "--coin-price", "much"),
    ("--all", "--data", "nowhere.parquet"),
    ("--all", "--data", "royalty.toml"),
)


def test_bad_choices_and_bad_data_are_refused_and_change_nothing(world: World, quick: Run) -> None:
    _, made = many(world, 1, keep=True)
    (world.folder / "royalty.toml").write_text("")
    for words in BAD_CHOICES:
        said = quick("tally", "settle", made.batch, *words, "--platform", "dev1", exit=2).stderr
        assert len(said.splitlines()) == 1 and "Traceback" not in said
    assert quick("tally", "show", made.batch, "--platform", "dev1")["settled_leaves"] == 0


@pytest.mark.parametrize("point", ["registered", "leaves-settled", "leaves-settled:2"])
def test_a_kill_between_transactions_loses_nothing(
    world: World, run_alone: Run, anvil: Anvil, ledger: dict[str, Any], point: str
) -> None:
    numbers, made = many(world, 4)
    words = ("tally", "settle", made.batch, "--data", made.path, "--account", "dev4")
    chosen = ("--leaf", 0, "--leaf", 2, "--leaf", 3)
    known = {"ROYALTY_RPC": anvil.rpc, "ROYALTY_CONTRACT": ledger["royalty"]}
    killed = run_alone(*words, *chosen, env=known | {"ROYALTY_CRASH_AT": point}, exit=-9)
    assert killed.stdout == ""
    before = world.session("dev4").ledger.tally(made.platform, made.batch).settled_leaves
    assert before > 0
    nonce = int(
        anvil.request("eth_getTransactionCount", world.session("dev4").account.address, "latest"),
        16,
    )
    done = run_alone(*words, *chosen, env=known)
    after = int(
        anvil.request("eth_getTransactionCount", world.session("dev4").account.address, "latest"),
        16,
    )
    assert done["paid_leaves"] == 3 - before
    assert after - nonce == len(done["transactions"]) == (1 if before == 1 else 0)
    assert [accrued(world, numbers[i]) for i in (0, 2, 3)] == [made.amount(i) for i in (0, 2, 3)]
    assert accrued(world, numbers[1]) == 0
    assert not list((world.folder / ".royalty").rglob("outbox/*.json"))


def test_a_kill_while_a_transaction_waits_costs_no_second_one(
    world: World, run_alone: Run, anvil: Anvil, ledger: dict[str, Any]
) -> None:
    numbers, made = many(world, 2)
    words = ("tally", "settle", made.batch, "--all", "--data", made.path, "--account", "dev4")
    known = {"ROYALTY_RPC": anvil.rpc, "ROYALTY_CONTRACT": ledger["royalty"]}
    me = world.session("dev4").account.address
    nonce = int(anvil.request("eth_getTransactionCount", me, "latest"), 16)
    anvil.request("evm_setAutomine", False)
    run_alone(*words, env=known | {"ROYALTY_CRASH_AT": "registered"}, exit=-9)
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(run_alone, *words, env=known)
        while not again.done():
            time.sleep(0.2)
            anvil.request("evm_mine")
    assert again.result()["transactions"] == []
    assert int(anvil.request("eth_getTransactionCount", me, "latest"), 16) == nonce + 1
    assert [accrued(world, n) for n in numbers] == [made.amount(0), made.amount(1)]


# --- prove and verify ---


@pytest.fixture
def proven(world: World, quick: Run) -> tuple[Any, Path]:
    """A tally of five leaves and the proof of a work in it."""
    numbers, made = many(world, 5)
    path = world.folder / "proof.json"
    work = f"{numbers[3]}/1"
    said = quick("tally", "prove", work, "--batch", made.batch, "--data", made.path, "--out", path)
    assert said["amount_nano"] == str(2 * 2 * 3_000_000)
    return made, path


def test_a_proof_is_verified_on_the_chain_and_says_whether_its_leaf_is_settled(
    world: World, proven: tuple[Any, Path], quick: Run
) -> None:
    made, path = proven
    found = quick("tally", "verify", path)
    assert found["ok"] and found["on_chain"]
    (leaf,) = found["holding"]
    assert (leaf["leaf"], leaf["state"], leaf["amount_nano"]) == (3, "open", str(made.amount(3)))
    assert [row["units"] for row in leaf["rows"]] == [2, 2]
    made.settle(world.session("dev4"), 3, 1)
    assert quick("tally", "verify", path)["holding"][0]["state"] == "settled"
    text = quick("tally", "verify", path, json=False).stdout
    text = " ".join(text.split())
    assert "commits to this usage of work" in text and "is settled" in text


def test_a_proof_is_verified_without_node_and_folder_against_root_and_total(
    proven: tuple[Any, Path], run_alone: Run
) -> None:
    made, path = proven
    root, total = "0x" + made.tree.root.hex(), str(made.tree.total)
    nowhere = {"ROYALTY_RPC": "http://127.0.0.1:1"}
    found = run_alone("tally", "verify", path, "--root", root, "--total", total, env=nowhere)
    assert found["ok"] and not found["on_chain"]
    assert found["holding"][0]["state"] == "unknown"
    wrong = run_alone("tally", "verify", path, "--root", "0x" + "ab" * 32, "--total", total, exit=1)
    assert [one["what"] for one in wrong["findings"]] == ["root"]
    more = str(made.tree.total + 1)
    assert not run_alone("tally", "verify", path, "--root", root, "--total", more, exit=1)["ok"]
    for words in (("--root", root), ("--total", total), ("--root", "0x12", "--total", total)):
        run_alone("tally", "verify", path, *words, exit=2)


def mutations(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every place of a document with other values for it: changed, of another type, gone."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*where, key), DELETE
            yield from mutations(inner, (*where, key))
        yield (*where, "more"), "field"
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield (*where, at), DELETE
            yield from mutations(inner, (*where, at))
        yield where, [*value, *value[:1]]
        yield where, []
    elif isinstance(value, int):
        for other in (value + 1, value - 1, -value, 2**70, str(value), float(value), True, None):
            if other != value or type(other) is not type(value):
                yield where, other
    else:
        yield from ((where, other) for other in _texts(value))
    yield where, None
    yield where, {"a": 1}


DELETE = object()


def _texts(text: str) -> Iterator[Any]:
    yield 7
    yield text + "0"
    yield text[:-1]
    yield " " + text
    for at in {2, len(text) // 2, len(text) - 1} & set(range(len(text))):
        letter = "1" if text[at] != "1" else "2"
        yield text[:at] + letter + text[at + 1 :]
    if text.startswith("0x"):
        yield text[:-2]
        yield text.upper().replace("0X", "0x")
        yield "0x"
    yield "12345678901234567890"


def mutated(document: Any, where: tuple[Any, ...], value: Any) -> Any:
    made = copy.deepcopy(document)
    if not where:
        return value
    inner = made
    for step in where[:-1]:
        inner = inner[step]
    if value is DELETE:
        del inner[where[-1]]
    else:
        inner[where[-1]] = value
    return made


def test_a_proof_that_is_changed_in_any_field_is_refused_or_found(
    proven: tuple[Any, Path], session: Callable[..., Any]
) -> None:
    from royalty.errors import InputError
    from royalty.tallyproof import parse_proof

    _, path = proven
    document = json.loads(path.read_bytes())
    reader = session("dev3")
    assert reader.tallies.verify(parse_proof(canonical(document))).ok
    tried, missed, refused = 0, [], 0
    for where, value in mutations(document):
        changed = mutated(document, where, value)
        if changed == document and json.dumps(changed) == json.dumps(document):
            continue
        tried += 1
        try:
            proof = parse_proof(json.dumps(changed).encode())
        except InputError:
            refused += 1
            continue
        if reader.tallies.verify(proof).ok:
            missed.append((where, value))
    assert missed == []
    assert tried > 300 and refused < tried
    touched = {where for where, _ in mutations(document) if where}
    assert {(key,) for key in document} <= touched


def test_the_command_ends_with_1_for_what_is_not_so_and_2_for_what_is_no_proof(
    proven: tuple[Any, Path], quick: Run, folder: Path
) -> None:
    _, path = proven
    document = json.loads(path.read_bytes())
    changed = mutated(document, ("holding", 0, "rows", 0, "units"), 3)
    (folder / "wrong.json").write_text(json.dumps(changed))
    found = quick("tally", "verify", "wrong.json", exit=1)
    assert [one["what"] for one in found["findings"]] == ["rows of leaf 3"]
    said = quick("tally", "verify", "wrong.json", json=False, exit=1).stdout
    assert "This is not so" in said
    for content in HOSTILE:
        (folder / "hostile.json").write_bytes(content)
        said = quick("tally", "verify", "hostile.json", exit=2).stderr
        assert len(said.splitlines()) == 1 and "Traceback" not in said
    quick("tally", "verify", "nowhere.json", exit=2)


HOSTILE = [
    b"",
    b"null",
    b"[]",
    b'"x"',
    b"{}",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"format": 1e400}',
    b'{"format": ' + b"9" * 100_000 + b"}",
    b'{"format": "\x1b[2J"}',
    b'{"\x00\xe2\x80\xae": 1}',
    b" " * (17 * 2**20),
]


def test_a_field_that_stands_twice_is_refused(proven: tuple[Any, Path], quick: Run) -> None:
    _, path = proven
    text = path.read_text()
    path.write_text(text.replace('"batch":1', '"batch":1,"batch":1', 1))
    assert "twice" in quick("tally", "verify", path, exit=2).stderr


def test_a_proof_of_another_tally_is_found_out(world: World, quick: Run, folder: Path) -> None:
    numbers, made = many(world, 3)
    other = post(world, lines_of(numbers[0], 7, 2))
    work = f"{numbers[0]}/1"
    for one, name in ((made, "one.json"), (other, "other.json")):
        quick("tally", "prove", work, "--batch", one.batch, "--data", one.path, "--out", name)
    first, second = (
        json.loads((folder / name).read_bytes()) for name in ("one.json", "other.json")
    )
    (folder / "swapped.json").write_text(json.dumps({**first, "batch": second["batch"]}))
    found = quick("tally", "verify", "swapped.json", exit=1)
    assert {one["what"] for one in found["findings"]} >= {"root", "total"}
    spliced = {**second, "holding": first["holding"]}
    (folder / "spliced.json").write_text(json.dumps(spliced))
    assert quick("tally", "verify", "spliced.json", exit=1)["findings"]


def test_prices_that_make_up_the_amount_but_are_not_the_deals_are_found_on_the_chain(
    world: World, quick: Run, folder: Path
) -> None:
    from royalty.merkle import DayLine
    from royalty.usage import Kind
    from tests.tally_world import day

    lines = [
        DayLine(world.catalogue, 1, day(), Kind.VIEW, 0, 500),
        DayLine(world.catalogue, 1, day(), Kind.DOWNLOAD, 0, 3),
    ]
    made = post(world, lines)
    quick(
        "tally",
        "prove",
        world.work(),
        "--batch",
        made.batch,
        "--data",
        made.path,
        "--out",
        "p.json",
    )
    document = json.loads((folder / "p.json").read_bytes())
    leaf = document["holding"][0]
    leaf["prices"] = {"view_nano": "6000000", "download_nano": "0"}
    leaf["rows"][0]["amount_nano"], leaf["rows"][1]["amount_nano"] = "3000000000", "0"
    (folder / "p.json").write_text(json.dumps(document))
    found = quick("tally", "verify", "p.json", exit=1)
    assert {one["what"] for one in found["findings"]} == {
        "price of a view in leaf 0",
        "price of a download in leaf 0",
    }


def test_the_proof_of_a_void_leaf_is_a_finding(world: World, quick: Run, folder: Path) -> None:
    wrong = {(world.catalogue, 1): Tariff(1, 1, 1)}
    made = post(world, lines_of(world.catalogue, 4), prices=wrong)
    work, out = world.work(), folder / "p.json"
    quick("tally", "prove", work, "--batch", made.batch, "--data", made.path, "--out", out)
    assert not quick("tally", "verify", out, exit=1)["ok"]


def test_a_ledger_that_nobody_named_is_not_believed(
    world: World, proven: tuple[Any, Path], run_alone: Run, anvil: Anvil
) -> None:
    """A proof names its ledger itself: without --contract it is told which, and a stranger's is no ledger."""
    _, path = proven
    known = {"ROYALTY_RPC": anvil.rpc}
    found = run_alone("tally", "verify", path, env=known)
    assert found["ok"]
    document = json.loads(path.read_bytes())
    document["contract"] = world.session("dev3").token.address
    path.write_text(json.dumps(document))
    lied = run_alone("tally", "verify", path, env=known, exit=1)
    assert [one["what"] for one in lied["findings"]] == ["ledger"]


def test_a_proof_that_is_printed_is_the_file(world: World, quick: Run, folder: Path) -> None:
    _, made = many(world, 2)
    words = ("tally", "prove", world.work(), "--batch", made.batch, "--data", made.path)
    quick(*words, "--out", "proof.json")
    assert quick(*words).stdout == quick(*words, json=False).stdout
    assert quick(*words).stdout.encode() == (folder / "proof.json").read_bytes()


def test_a_proof_of_another_ledger_than_the_one_that_was_named_is_a_finding(
    world: World, proven: tuple[Any, Path], quick: Run
) -> None:
    """Anybody can deploy a contract that says what a proof file needs."""
    _, path = proven
    other = world.session("dev3").token.address
    found = quick("tally", "verify", path, "--contract", other, exit=1)
    assert [one["what"] for one in found["findings"]] == ["ledger"]


def test_a_work_without_usage_has_no_proof(world: World, quick: Run) -> None:
    _, made = many(world, 2)
    words = ("tally", "prove", f"{world.catalogue}/2", "--batch", made.batch, "--data", made.path)
    assert "no usage of work" in quick(*words, exit=2).stderr
    assert os.listdir(world.folder).count("proof.json") == 0  # noqa: PTH208


# --- post and rebuild ---


def test_a_month_is_posted_settled_and_rebuilt_from_its_log(world: World, quick: Run) -> None:
    rows = [
        (f"{day}-{index}", index, "view", f"2024-05-{day:02}", 40, f"ann {day} {index}")
        for day in range(1, 21)
        for index in range(3)
    ]
    log, period = world.log("month.csv", rows), ("--since", "2024-05-01", "--until", "2024-05-20")
    both = (*period, "--account", "dev1")
    would = quick("usage", "report", log, *both, "--dry-run")
    assert would["as"] == would["costs"]["cheaper"] == "tally"
    assert would["costs"]["tally"]["gas"] < would["costs"]["direct"]["gas"]
    text = quick("usage", "report", log, *both, "--dry-run", json=False).stdout
    assert "tally costs less" in text and "nothing was sent" in text
    made = quick("tally", "post", log, *both, "--no-settle")
    (batch,) = made["batches"]
    assert (batch["as"], batch["since"], batch["until"]) == ("tally", "2024-05-01", "2024-05-20")
    assert "day" not in batch
    again = quick("tally", "rebuild", 1, log, *both, "--out", "copy.parquet")
    assert (again["ok"], again["rebuilt_root"]) == (True, again["root"])
    done = quick(
        "tally",
        "settle",
        1,
        "--all",
        "--data",
        "copy.parquet",
        "--account",
        "dev3",
        "--platform",
        "dev1",
    )
    assert done["paid_nano"] == batch["amount_nano"]
    assert sum(world.units_on_chain().values()) == 60
    changed = world.log("changed.csv", rows[1:])
    other = quick("tally", "rebuild", 1, changed, *both, exit=1)
    assert other["rebuilt_root"] != other["root"]
    assert (other["data"], other["ok"]) == (None, False)
