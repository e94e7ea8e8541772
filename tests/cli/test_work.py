"""`royalty work` as a process: registering once, in lots, through a kill; reading, verifying, refusals."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.story import DEV, fingerprint, open_catalogue, write
from tests.conftest import Anvil, Ran, clean_environment

pytestmark = pytest.mark.chain
Run = Callable[..., Ran]
Session = Callable[..., Any]

EIDR = "10.5240/F85A-E100-B068-5B8F-B1C8-T"


def noted(folder: Path) -> list[str]:
    """The lines of this folder's notes, without the registrant."""
    (path,) = folder.glob(".royalty/*/*/works.csv")
    return [line.rsplit(",", 1)[0] for line in path.read_text().splitlines()]


def test_files_are_registered_in_order_and_verified(run: Run, folder: Path) -> None:
    number = open_catalogue(run, folder)
    one, two = write(folder, "a.mp4", "a"), write(folder, "b.mp4", "b")
    ran = run("work", "register", one, two, "--catalogue", number)
    assert ran["works"] == [f"{number}/0", f"{number}/1"]
    assert len(ran["transactions"]) == 1
    verified = run("work", "verify", two)
    assert verified["fingerprint"] == "0x" + fingerprint("b")
    (found,) = verified["registrations"]
    assert (found["work"], found["registrant"]) == (f"{number}/1", DEV[0])
    assert found["transaction"] == ran["transactions"][0]
    assert found["time"].endswith("Z")


def test_titles_and_identifiers_stand_in_metadata_of_the_digest_on_chain(
    quick: Run, folder: Path, session: Session
) -> None:
    number = open_catalogue(quick, folder)
    film = write(folder, "sintel.mp4", "sintel")
    options = ["--title", "Sintel", "--eidr", EIDR.lower(), "--isrc", "USSKG1912345"]
    quick("work", "register", film, "--catalogue", number, *options, "--platform-id", "yt:1")
    shown = quick("work", "show", f"{number}/0").document
    assert (shown["title"], shown["eidr"], shown["isrc"]) == ("Sintel", EIDR, "US-SKG-19-12345")
    one = session().works.all(number)[0]
    data = base64.b64decode(one.uri.split(",")[1])
    assert hashlib.sha256(data).digest() == one.metadata_digest
    assert json.loads(data) == {
        "works": [{"title": "Sintel", "eidr": EIDR, "isrc": "US-SKG-19-12345"}]
    }
    assert noted(folder)[1] == f"{number}/0,{fingerprint('sintel')},yt:1,Sintel"
    assert [(text, str(work)) for text, work in session().works.notes()] == [
        ("yt:1", f"{number}/0")
    ]


def test_metadata_of_another_digest_are_not_shown(
    quick: Run, folder: Path, session: Session
) -> None:
    from royalty.metadata import make_metadata

    number = open_catalogue(quick, folder)
    lie = make_metadata({"works": [{"title": "a lie"}]}, None, is_local=True)
    royalty = session()
    royalty.send(royalty.ledger.register(number, [bytes(32)], bytes(32), lie.uri))
    assert quick("work", "show", f"{number}/0")["title"] == ""


def test_same_owner_registers_nothing_twice_unless_told(quick: Run, folder: Path) -> None:
    number = open_catalogue(quick, folder)
    film, other = write(folder, "a.mp4", "a"), write(folder, "b.mp4", "b")
    quick("work", "register", film, "--catalogue", number)
    ran = quick("work", "register", other, film, "--catalogue", number)
    assert ran["works"] == [f"{number}/1", f"{number}/0"]
    assert ran["already_registered"] == [f"{number}/0"]
    again = quick("work", "register", film, "--catalogue", number, "--platform-id", "x")
    assert (again["works"], again["transactions"]) == ([f"{number}/0"], [])
    assert f"{number}/0,{fingerprint('a')},x," in noted(folder)
    told = quick("work", "register", film, "--catalogue", number, json=False).stdout
    assert "registered before" in told
    once_more = quick("work", "register", film, "--catalogue", number, "--again")
    assert once_more["works"] == [f"{number}/2"]
    assert len(quick("work", "verify", film)["registrations"]) >= 2


def test_many_works_take_no_more_transactions_than_lots_of_500(quick: Run, folder: Path) -> None:
    number = open_catalogue(quick, folder)
    lines = [f"{fingerprint(f'{number}:{n}')},Video {n},id-{n}" for n in range(1_101)]
    sheet = write(folder, "works.csv", "fingerprint,title,platform_id\n" + "\n".join(lines) + "\n")
    ran = quick("work", "register", "--from", sheet, "--catalogue", number)
    assert ran["works"] == [f"{number}/{n}" for n in range(1_101)]
    assert len(ran["transactions"]) == 3
    assert quick("work", "show", f"{number}/1100")["title"] == "Video 1100"
    page = quick("work", "list", "--catalogue", number, "--offset", 1_099, "--limit", 5)
    assert ([one["title"] for one in page["works"]], page["total"]) == (
        ["Video 1099", "Video 1100"],
        1_101,
    )
    assert len(noted(folder)) == 1_102
    text = quick("work", "list", "--catalogue", number, "--limit", 3, json=False).stdout
    assert text.endswith("3 of 1101\n")
    assert max(map(len, text.splitlines())) <= 80


def test_same_fingerprint_twice_in_a_sheet_is_one_work_with_two_notes(
    quick: Run, folder: Path
) -> None:
    number = open_catalogue(quick, folder)
    print_ = fingerprint(f"twice {number}")
    sheet = write(folder, "works.csv", f"fingerprint,platform_id\n{print_},a\n{print_},b\n")
    ran = quick("work", "register", "--from", sheet, "--catalogue", number)
    assert ran["works"] == [f"{number}/0"] * 2
    assert len(quick("work", "list", "--catalogue", number)["works"]) == 1
    again = quick("work", "register", "--from", sheet, "--catalogue", number)
    assert again["transactions"] == []
    assert noted(folder)[1:] == [f"{number}/0,{print_},a,", f"{number}/0,{print_},b,"]


@pytest.mark.parametrize("mined", [True, False], ids=["landed", "still in the pool"])
def test_killed_midway_and_run_again_registers_each_work_once(
    quick: Run,
    folder: Path,
    tmp_path: Path,
    anvil: Anvil,
    ledger: dict[str, Any],
    session: Session,
    mined: bool,
) -> None:
    number = open_catalogue(quick, folder)
    lines = [fingerprint(f"{number}:{n}") + f",{n}" for n in range(700)]
    write(folder, "works.csv", "fingerprint,platform_id\n" + "\n".join(lines) + "\n")
    command = ["work", "register", "--from", "works.csv", "--catalogue", str(number)]
    environ = clean_environment(tmp_path) | {
        "ROYALTY_RPC": anvil.rpc,
        "ROYALTY_CONTRACT": ledger["royalty"],
        "ROYALTY_CRASH_AT": "registered",
    }
    if not mined:
        anvil.request("evm_setAutomine", False)
    killed = subprocess.run(
        [sys.executable, "-m", "royalty.cli.app", *command], cwd=folder, env=environ, check=False
    )
    assert killed.returncode == -9
    if not mined:
        anvil.request("evm_setAutomine", True)
    ran = quick(*command)
    assert ran["works"] == [f"{number}/{n}" for n in range(700)]
    assert len(ran["already_registered"]) == 500
    assert session().ledger.catalogue(number).works == 700
    assert sorted(text for text, _ in session().works.notes()) == sorted(map(str, range(700)))
    assert not list(folder.glob(".royalty/*/*/outbox/*"))


def test_earliest_registration_comes_first_and_later_ones_are_rivals(
    quick: Run, folder: Path, session: Session
) -> None:
    from royalty.usage import WorkRef

    mine = open_catalogue(quick, folder)
    quick("catalogue", "transfer", mine, "dev3")
    theirs = open_catalogue(quick, folder)
    film = write(folder, "film.mp4", f"film of {mine}")
    quick("work", "register", film, "--catalogue", mine, "--account", "dev3")
    quick("work", "register", film, "--catalogue", theirs)
    found = quick("work", "verify", film)["registrations"]
    assert [(one["work"], one["registrant"]) for one in found] == [
        (f"{mine}/0", DEV[3]),
        (f"{theirs}/0", DEV[0]),
    ]
    works = [WorkRef(mine, 0), WorkRef(theirs, 0)]
    assert session().works.rivals(works) == {WorkRef(theirs, 0)}


def test_verify_of_what_is_not_registered_is_exit_1(run: Run) -> None:
    ran = run("work", "verify", "ab" * 32, exit=1)
    assert ran.document == {"fingerprint": "0x" + "ab" * 32, "registrations": []}


def test_dry_run_registers_nothing_and_notes_nothing(quick: Run, folder: Path) -> None:
    number = open_catalogue(quick, folder)
    film = write(folder, "a.mp4", "a")
    ran = quick("work", "register", film, "--catalogue", number, "--dry-run")
    assert ran["transactions"][0]["function"] == "register"
    assert quick("work", "list", "--catalogue", number)["total"] == 0
    assert not list(folder.glob(".royalty/*/*/works.csv"))


def test_metadata_of_several_transactions_need_an_address_each(quick: Run, folder: Path) -> None:
    number = open_catalogue(quick, folder)
    lines = "\n".join(fingerprint(f"{number}:{n}") for n in range(501))
    sheet = write(folder, "works.csv", f"fingerprint\n{lines}\n")
    command = ["work", "register", "--from", sheet, "--catalogue", number, "--uri"]
    assert "{digest}" in quick(*command, "https://a.example/x.json", exit=2).stderr
    assert len(quick(*command, "https://a.example/{digest}.json")["transactions"]) == 2


def test_register_refuses_bad_input(quick: Run, folder: Path) -> None:
    number = open_catalogue(quick, folder)
    film, other = write(folder, "a.mp4", "a"), write(folder, "b.mp4", "b")
    bad = write(folder, "bad.csv", f"fingerprint,isan\n{'ab' * 32},\n{'cd' * 32},123\n")
    for words, reason in [
        ([], "Missing option '--catalogue'"),
        (["--catalogue", number], "no work was given"),
        ([folder / "none.mp4", "--catalogue", number], "none.mp4 cannot be read"),
        ([film, "--catalogue", 9_999], "there is no catalogue 9999"),
        ([film, "--catalogue", number, "--account", "dev4"], "belongs to"),
        ([film, "--catalogue", number, "--isan", "1"], "not an ISAN"),
        ([film, "--catalogue", number, "--eidr", EIDR[:-1] + "X"], "these digits give T"),
        ([film, "--catalogue", number, "--isrc", "XX0"], "not an ISRC"),
        ([film, "--catalogue", number, "--iswc", "T-034.524.680-2"], "not an ISWC"),
        ([film, other, "--catalogue", number, "--title", "T"], "use --from"),
        ([film, "--from", bad, "--catalogue", number], "give nothing beside it"),
        (["--from", bad, "--catalogue", number], "bad.csv, line 3: '123' is not an ISAN"),
        (["--from", folder / "none.csv", "--catalogue", number], "none.csv cannot be read"),
        ([film, "--catalogue", number, "--title", "x" * 301], "at most 300"),
        ([film, "--catalogue", number, "--uri", "ftp://x"], "not an https"),
    ]:
        assert reason in quick("work", "register", *words, exit=2).stderr
    assert quick("work", "list", "--catalogue", number)["total"] == 0


def test_reading_what_is_not_there_is_refused(quick: Run, folder: Path) -> None:
    number = open_catalogue(quick, folder)
    assert f"there is no work {number}/0" in quick("work", "show", f"{number}/0", exit=2).stderr
    assert "is not a work" in quick("work", "show", "twelve", exit=2).stderr
    assert "no catalogue" in quick("work", "list", "--catalogue", 9_999, exit=2).stderr
    assert "cannot be read" in quick("work", "verify", "none.mp4", exit=2).stderr
    assert "Invalid value" in quick("work", "list", "--limit", 0, exit=2).stderr


def test_notes_edited_into_nonsense_are_refused_with_their_line(
    quick: Run, folder: Path, session: Session
) -> None:
    from royalty.errors import InputError

    number = open_catalogue(quick, folder)
    quick("work", "register", write(folder, "a", "a"), "--catalogue", number, "--platform-id", "1")
    (path,) = folder.glob(".royalty/*/*/works.csv")
    path.write_text(path.read_text().replace(f"{number}/0", "zero"))
    with pytest.raises(InputError, match=r"works\.csv, line 2: 'zero' is not a work"):
        session().works.notes()
