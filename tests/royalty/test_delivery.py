"""Delivery: stuck transactions, nonces, windows, reorgs at no depth, and two machines with one journal."""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from royalty import journal as journals
from royalty.chain import sender
from royalty.chain.accounts import DEV_ACCOUNTS
from royalty.days import parse_day
from royalty.errors import (
    FeeAboveCap,
    InputError,
    JournalStopped,
    NodeTimeout,
    NodeUnreachable,
    RoyaltyError,
)
from royalty.journal import Attempt, State
from royalty.settings import Settings, default_confirmations, parse_gwei
from royalty.store import UsageStore
from tests.conftest import Anvil
from tests.faulty import faulty_node
from tests.usage_world import DAY, NEXT, World, world

pytestmark = pytest.mark.chain
BOTH = {"since": DAY, "until": NEXT}


@pytest.fixture
def here(session: Callable[..., Any], folder: Path, anvil: Anvil) -> Iterator[World]:
    with world(session, folder, anvil) as made:
        yield made


def on(made: World, folder: Path, rpc: Any = None) -> Any:
    """The platform's session from another folder, or through other nodes."""
    from royalty import Royalty

    return Royalty.connect(
        account="dev1",
        rpc=rpc or made.anvil.rpc,
        contract=made.as_platform().ledger.address,
        folder=folder,
    )


def attempts(made: World) -> list[Attempt]:
    """Every transaction of the first batch, oldest first."""
    with journals.read(made.as_platform().platform_dir()) as journal:
        assert journal is not None
        return journal.attempts(journal.batches()[0])[::-1]


def stop_at(monkeypatch: pytest.MonkeyPatch, point: str) -> Any:
    """Patch a crash point to end the report as a kill would; returns what it raises."""

    class Killed(BaseException):
        pass

    def crash(reached: str) -> None:
        if reached == point:
            raise Killed

    for module in ("royalty.delivery", "royalty.journal"):
        monkeypatch.setattr(f"{module}.crash_at", crash)
    return Killed


def two_days(made: World) -> Path:
    rows = [
        (f"{day}{index}", index, "view", day, 40, f"{day}{index}")
        for day in (DAY, NEXT)
        for index in range(3)
    ]
    return made.log("two.csv", rows)


# --- fees ---


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("royalty.delivery.STUCK_SECONDS", 0.3)
    monkeypatch.setattr("royalty.delivery.RESEND_SECONDS", 0.2)
    monkeypatch.setattr("royalty.delivery.LONGEST_POLL", 0.1)


@pytest.mark.usefixtures("impatient")
def test_what_is_stuck_is_offered_more_with_the_same_nonce_and_lands_once(here: World) -> None:
    log = here.views("a.csv", 3)
    here.anvil.request("evm_setAutomine", False)

    def mine_at_last() -> None:
        until(lambda: len(attempts(here)) > 2)
        here.anvil.request("evm_mine")
        here.anvil.request("evm_setAutomine", True)

    threading.Thread(target=mine_at_last, daemon=True).start()
    here.as_platform().usage.report(log, day=DAY)
    tried = attempts(here)
    assert len({one.nonce for one in tried}) == 1
    for before, after in itertools.pairwise(tried):
        low, high = sender.fields_of(before.raw), sender.fields_of(after.raw)
        for fee in ("maxFeePerGas", "maxPriorityFeePerGas"):
            assert high[fee] * 1000 >= low[fee] * 1125
        assert high["data"] == low["data"]
    assert here.views_on_chain() == [3, 0, 0]
    assert len(here.reported()) == 1


@pytest.mark.usefixtures("impatient")
def test_nothing_is_offered_above_the_cap(here: World) -> None:
    log = here.views("a.csv", 3)
    here.anvil.request("evm_setAutomine", False)
    fee = sender.max_fee(sender.fees(here.as_platform().node))
    cap = f"{fee // 10**9}.{fee % 10**9:09d}"
    with pytest.raises(FeeAboveCap, match="--max-fee"):
        here.as_platform().usage.report(log, day=DAY, max_fee=cap, deadline=2)
    assert [sender.fields_of(one.raw)["maxFeePerGas"] for one in attempts(here)] == [fee]
    here.anvil.request("evm_setAutomine", True)
    here.anvil.request("evm_mine")
    here.as_platform().usage.report(log, day=DAY)
    assert here.views_on_chain() == [3, 0, 0]


def test_a_chain_dearer_than_the_cap_is_waited_for_and_told(here: World) -> None:
    log = here.views("a.csv", 3)
    with pytest.raises(FeeAboveCap, match=r"more than the 0\.000000001 allowed"):
        here.as_platform().usage.report(log, day=DAY, max_fee="0.000000001", deadline=1)
    assert attempts(here) == []


def test_a_chain_without_a_base_fee_gets_legacy_transactions(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "fees", lambda *_: {"gasPrice": 3 * 10**9})
    here.as_platform().usage.report(here.views("a.csv", 3), day=DAY)
    fields = sender.fields_of(attempts(here)[0].raw)
    assert (fields["gasPrice"], fields["chainId"]) == (3 * 10**9, 31337)
    assert "maxFeePerGas" not in fields
    assert here.views_on_chain() == [3, 0, 0]


def test_fields_are_read_back_from_signed_bytes(here: World) -> None:
    account = here.as_platform().account
    for fee in (
        {"gasPrice": 10**10},
        {"maxFeePerGas": 10**11, "maxPriorityFeePerGas": 0},
    ):
        for data in ("0x", "0x" + "ab" * 3000):
            fields = {
                "chainId": 31337,
                "nonce": 0,
                "gas": 10**6,
                "value": 0,
                "data": data,
                "to": DEV_ACCOUNTS[3][0],
                **fee,
            }
            assert sender.fields_of(account.sign(fields)) == fields


def test_a_raised_fee_keeps_to_the_cap_and_to_what_the_chain_asks() -> None:
    fields = {"maxFeePerGas": 1000, "maxPriorityFeePerGas": 100, "nonce": 1}
    now = {"maxFeePerGas": 1500, "maxPriorityFeePerGas": 1}
    assert sender.raised(fields, now, 1400)["maxFeePerGas"] == 1400
    assert sender.raised(fields, now, 10**9)["maxFeePerGas"] == 1500
    assert sender.raised(fields, now, 10**9)["maxPriorityFeePerGas"] == 114
    with pytest.raises(FeeAboveCap):
        sender.raised(fields, now, 1125)


# --- nonces, windows ---


@pytest.mark.usefixtures("impatient")
def test_a_nonce_before_which_one_is_missing_is_mended(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = two_days(here)
    right = sender.next_nonce
    with monkeypatch.context() as patched:
        patched.setattr(sender, "next_nonce", lambda *args: right(*args) + 2)
        killed = stop_at(patched, "before-send")
        with pytest.raises(killed):
            here.as_platform().usage.report(log, **BOTH)
    said: list[str] = []
    here.as_platform().usage.report(log, **BOTH, say=said.append)
    assert any("is lost" in line for line in said)
    assert len(here.reported()) == 2
    assert here.views_on_chain(NEXT) == [1, 1, 1]


@pytest.mark.parametrize("window", [1, 2, 3])
def test_a_window_of_batches_is_under_way_in_the_order_of_their_numbers(
    here: World, window: int
) -> None:
    days = [f"2024-05-{day}" for day in (10, 11, 12)]
    log = here.log("log.csv", [(day, 0, "view", day, 40, day) for day in days])
    here.anvil.request("evm_setAutomine", False)
    seen = []

    def mine() -> None:
        waiting = lambda: int(here.anvil.request("txpool_status")["pending"], 16)  # noqa: E731
        until(lambda: waiting() == window)
        time.sleep(0.5)
        seen.append(waiting())
        here.anvil.request("evm_mine")
        here.anvil.request("evm_setAutomine", True)

    thread = threading.Thread(target=mine, daemon=True)
    thread.start()
    made = here.as_platform().usage.report(log, since=days[0], until=days[-1], window=window)
    thread.join()
    assert seen == [window]
    assert [batch.batch for batch in made.batches] == [1, 2, 3]
    assert [args["batch"] for args in here.reported()] == [1, 2, 3]


@pytest.mark.parametrize(
    "options", [{"window": 17}, {"max_fee": "0"}, {"max_fee": "1e3"}, {"deadline": 10**6}]
)
def test_what_cannot_be_meant_is_refused(here: World, options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        here.as_platform().usage.report(here.views("a.csv", 1), day=DAY, **options)


# --- depth ---


def test_without_reopening_what_was_settled_at_no_depth_is_lost(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = here.views("a.csv", 3)
    here.as_platform().usage.report(log, day=DAY, confirmations=0)
    here.anvil.request("anvil_reorg", 1, [])
    with monkeypatch.context() as patched:
        patched.setattr("royalty.delivery.reopen_taken_back", lambda *_: None)
        assert here.as_platform().usage.report(log, day=DAY).batches == []
    assert here.views_on_chain() == [0, 0, 0]
    here.as_platform().usage.report(log, day=DAY)
    assert here.views_on_chain() == [3, 0, 0]


def test_at_its_depth_nothing_is_lost_even_without_reopening(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("royalty.delivery.reopen_taken_back", lambda *_: None)
    log = here.views("a.csv", 3)
    here.anvil.request("anvil_mine", "0x8")
    for _ in range(2):
        with pytest.raises(NodeTimeout, match="landed but has not 5 blocks"):
            here.as_platform().usage.report(log, day=DAY, confirmations=5, deadline=1)
        assert here.views_on_chain() == [3, 0, 0]
        here.anvil.request("anvil_reorg", 3, [])
    assert here.views_on_chain() == [0, 0, 0]
    here.as_platform().usage.report(log, day=DAY, confirmations=0)
    assert here.views_on_chain() == [3, 0, 0]


def test_every_chain_has_a_depth() -> None:
    assert (default_confirmations(31337), default_confirmations(1)) == (0, 12)
    assert default_confirmations(987_654_321) == 12


# --- nodes ---


def test_a_report_goes_on_at_the_next_node(here: World) -> None:
    log = here.views("a.csv", 3)
    with faulty_node(here.anvil.rpc) as node:
        session = on(here, here.folder, [node.rpc, here.anvil.rpc])
        node.fault = lambda _: "500"
        session.usage.report(log, day=DAY)
    assert here.views_on_chain() == [3, 0, 0]


def test_a_node_that_stays_away_ends_it_at_the_deadline(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("royalty.chain.node.FIRST_PAUSE", 0.05)
    log = here.views("a.csv", 3)
    with faulty_node(here.anvil.rpc) as node:
        session = on(here, here.folder, node.rpc)
        sends = iter([True])

        def fault(method: str) -> str | None:
            away = method.startswith("eth_send") and next(sends, False)
            node.fault = (lambda _: "drop") if away else fault
            return "drop after" if away else None

        node.fault = fault
        began = time.monotonic()
        with pytest.raises(NodeUnreachable) as raised:
            session.usage.report(log, day=DAY, deadline=2)
        assert 1 < time.monotonic() - began < 8
    assert RoyaltyError.exit_code == raised.value.exit_code == 3
    made = here.as_platform().usage.report(log, day=DAY)
    assert [one.batch for one in made.batches] == [1]
    assert len(here.reported()) == 1


def test_settings_take_several_addresses_and_a_fee(tmp_path: Path) -> None:
    (tmp_path / "royalty.toml").write_text(
        'rpc = ["http://a", "http://b"]\nmax_fee = 0.5\nwindow = 2\ndeadline = 60\n'
    )
    found = Settings.load(folder=tmp_path, environ={})
    assert (found.rpc, found.spares) == ("http://a", ("http://b",))
    assert (parse_gwei(found.max_fee or 0), found.window, found.deadline) == (5 * 10**8, 2, 60)
    found = Settings.load(folder=tmp_path, environ={"ROYALTY_RPC": "http://c, http://d"})
    assert (found.rpc, found.spares) == ("http://c", ("http://d",))
    found = Settings.load(folder=tmp_path, environ={}, rpc=["http://e", "http://f,http://e"])
    assert (found.rpc, found.spares) == ("http://e", ("http://f",))
    (tmp_path / "royalty.toml").write_text("rpc = [7]\n")
    with pytest.raises(InputError, match="a list of such texts"):
        Settings.load(folder=tmp_path, environ={})


# --- two machines ---


def test_two_machines_with_copies_of_one_journal_cannot_double(
    here: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.as_platform().usage.report(here.views("a.csv", 1), day=DAY)
    other = tmp_path / "other"
    shutil.copytree(here.folder, other)
    log = two_days(here)
    with monkeypatch.context() as patched:
        killed = stop_at(patched, "before-send")
        with pytest.raises(killed):
            here.as_platform().usage.report(log, **BOTH)
    # The other machine has the same journal, and reports the second day first.
    on(here, other).usage.report(log, day=NEXT)
    with pytest.raises(JournalStopped, match="usage adopt 2"):
        here.as_platform().usage.report(log, **BOTH)
    found = here.as_platform().usage.status()
    assert not found.in_step
    assert [row["batch"] for row in found.document()["foreign"]] == [2]
    made = here.as_platform().usage.adopt(2)
    assert made.voided == (2, 3)
    assert here.as_platform().usage.status().in_step
    here.as_platform().usage.report(log, **BOTH)
    assert here.views_on_chain(DAY) == [2, 1, 1]
    assert here.views_on_chain(NEXT) == [1, 1, 1]
    with pytest.raises(JournalStopped, match="usage adopt 3"):
        on(here, other).usage.report(log, **BOTH)
    on(here, other).usage.adopt(3)
    on(here, other).usage.report(log, **BOTH)
    assert here.views_on_chain(DAY) == [2, 1, 1]
    assert len(here.reported()) == 3


def test_both_machines_at_once_cannot_double(here: World, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(here.folder, other)
    log = two_days(here)
    sessions = [here.as_platform(), on(here, other)]

    def report(session: Any) -> None:
        for _ in range(6):
            try:
                session.usage.report(log, **BOTH)
            except RoyaltyError:
                for row in session.usage.status().foreign:
                    session.usage.adopt(row.batch)

    threads = [threading.Thread(target=report, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert here.views_on_chain(DAY) == here.views_on_chain(NEXT) == [1, 1, 1]


def test_retention_leaves_a_day_open_whose_batch_became_void(
    here: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    shutil.copytree(here.folder, other)
    (here.folder / "royalty.toml").write_text("[store]\nretain_days = 30\n")
    log = two_days(here)
    with monkeypatch.context() as patched:
        killed = stop_at(patched, "before-send")
        with pytest.raises(killed):
            here.as_platform().usage.report(log, **BOTH)
    on(here, other).usage.report(log, day=NEXT)
    usage = here.as_platform().usage
    assert usage.adopt(1).voided == (1, 2)
    assert usage.report(log, day=NEXT).batches == []
    store = UsageStore(here.as_platform().platform_dir() / "store")
    assert store.days() == [parse_day(DAY)]
    usage.report(log, day=DAY)
    assert here.views_on_chain(DAY) == here.views_on_chain(NEXT) == [1, 1, 1]
    assert store.days() == []


def test_what_is_not_foreign_cannot_be_adopted(here: World) -> None:
    usage = here.as_platform().usage
    usage.report(here.views("a.csv", 1), day=DAY)
    with pytest.raises(InputError, match="this journal's own"):
        usage.adopt(1)
    with pytest.raises(InputError, match="no batch 2"):
        usage.adopt(2)


def test_an_adopted_batch_that_a_reorg_took_is_counted_again(here: World, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(here.folder, other)
    log = here.views("a.csv", 3)
    on(here, other).usage.report(log, day=DAY)
    here.as_platform().usage.adopt(1)
    assert here.as_platform().usage.report(log, day=DAY).batches == []
    here.anvil.request("anvil_reorg", 1, [])
    made = here.as_platform().usage.report(log, day=DAY)
    assert [one.batch for one in made.batches] == [1]
    assert here.views_on_chain() == [3, 0, 0]
    assert [one.state for one in here.as_platform().usage.status().batches] == [State.SETTLED]


def until(true: Callable[[], bool]) -> None:
    """Wait until something is so, at most 20 s."""
    ends = time.monotonic() + 20
    while not _now(true) and time.monotonic() < ends:
        time.sleep(0.05)


def _now(true: Callable[[], bool]) -> bool:
    try:
        return true()
    except (AssertionError, IndexError):
        return False
