"""The journal: what it keeps, what it refuses, what a killed process leaves."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from royalty import journal as journals
from royalty.errors import ChainError, InputError, JournalStopped
from royalty.evidence import Document, sha256
from royalty.journal import (
    CRASH_POINTS,
    PENDING,
    TRANSITIONS,
    Attempt,
    AttemptState,
    Batch,
    DayUsage,
    Event,
    Foreign,
    Journal,
    Owner,
    Plan,
    State,
    Tally,
)
from royalty.usage import Kind, Line, group_lines, pack_usage

OWNER = Owner(31337, "0xaa", "0x" + "11" * 20, "0x" + "22" * 20)
DAY = 20_000


def plan(number: int, day: int = DAY, units: int = 3, salt: str = "") -> Plan:
    usage = pack_usage(group_lines([Line(1, 1, Kind.VIEW, 5, units)]))
    manifest = f'{{"batch":{number},"salt":"{salt}"}}'.encode()
    return Plan(number, day, usage, 2**95, sha256(manifest), manifest, "0xpolicy", "first")


def foreign(number: int, units: int, salt: str) -> Foreign:
    made = plan(number, units=units, salt="foreign" + salt)
    return Foreign(number, DAY, made.usage, 7, made.evidence, "0xt" + salt, 9, "0xb")


def attempt(name: str, nonce: int = 0) -> Attempt:
    return Attempt("0x" + name, nonce, "0x" + "33" * 20, name.encode(), AttemptState.LIVE)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with journals.opened(tmp_path, OWNER) as opened:
        yield opened


def test_a_batch_is_kept_whole_through_its_life(journal: Journal) -> None:
    policy = Document("policy", "json", b"{}")
    (batch,) = journal.plan([plan(1)], [policy])
    assert (batch.state, batch.total_nano, batch.transaction) == (State.PLANNED, 2**95, None)
    assert batch.lines == [Line(1, 1, Kind.VIEW, 5, 3)]
    batch = journal.sent(journal.sign(batch, attempt("a", 4)))
    assert (batch.state, batch.transaction) == (State.SENT, "0xa")
    batch = journal.mined(batch, "0xa", 9, "0xblock")
    batch = journal.settle(batch, "0xa", 9, "0xblock")
    assert (batch.state, batch.block, batch.block_hash) == (State.SETTLED, 9, "0xblock")
    assert journal.pending() == []
    assert journal.documents([policy.digest, "0xunknown"]) == [policy]
    assert journal.attempts(batch) == [attempt("a", 4)]


def test_what_is_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    with journals.opened(tmp_path, OWNER) as journal:
        journal.sign(journal.plan([plan(1)], [])[0], attempt("a"))
    with journals.opened(tmp_path, OWNER) as journal:
        (batch,) = journal.pending()
        assert (batch.state, journal.attempts(batch)[0].raw) == (State.SIGNED, b"a")


def test_the_journal_survives_power_loss_by_its_settings(tmp_path: Path) -> None:
    with journals.opened(tmp_path, OWNER) as journal:
        assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_number_is_given_once_and_a_plan_is_all_or_nothing(journal: Journal) -> None:
    journal.plan([plan(1)], [])
    with pytest.raises(JournalStopped, match="batch 1 stands in the journal"):
        journal.plan([plan(2), plan(1, salt="other")], [])
    assert [batch.number for batch in journal.batches()] == [1]
    assert journal.last_number() == 1


def test_a_void_batch_gives_number_and_units_back(journal: Journal) -> None:
    batches = journal.plan([plan(1), plan(2)], [])
    journal.void(batches, "the deal is gone")
    assert journal.reported(DAY) == {}
    assert journal.rules(DAY) is None
    journal.plan([plan(1, salt="new")], [])
    assert journal.last_number() == 1
    assert [batch.note for batch in journal.batches(State.VOID)] == ["the deal is gone"] * 2


def test_units_count_as_reported_from_the_plan_on(journal: Journal) -> None:
    journal.plan([plan(1), plan(2, units=4), plan(3, day=DAY + 1)], [])
    assert journal.reported(DAY) == {(1, 1, Kind.VIEW, 5): 7}
    assert journal.rules(DAY) == ("0xpolicy", "first")
    assert journal.rules(DAY + 2) is None


def test_a_batch_whose_transaction_is_lost_is_signed_anew_under_its_number(
    journal: Journal,
) -> None:
    batch = journal.sign(journal.plan([plan(1)], [])[0], attempt("a"))
    batch = journal.unsign(batch, AttemptState.LOST, "nonce taken")
    assert (batch.state, batch.number, batch.transaction) == (State.PLANNED, 1, None)
    batch = journal.sign(batch, attempt("b", 1))
    assert [each.hash for each in journal.attempts(batch)] == ["0xb", "0xa"]
    assert [each.hash for each in journal.attempts(batch, AttemptState.LIVE)] == ["0xb"]


def test_bytes_that_were_given_up_may_be_signed_once_more(journal: Journal) -> None:
    batch = journal.sign(journal.plan([plan(1)], [])[0], attempt("a"))
    batch = journal.unsign(batch, AttemptState.LOST, "nonce taken")
    batch = journal.sign(batch, attempt("a"))
    assert [each.state for each in journal.attempts(batch)] == [AttemptState.LIVE]


def test_a_settled_batch_is_reopened_for_the_same_bytes(journal: Journal) -> None:
    batch = journal.sent(journal.sign(journal.plan([plan(1)], [])[0], attempt("a")))
    batch = journal.settle(batch, "0xa", 9, "0xblock")
    assert journal.newest_final() == batch
    assert journal.newest_final(below=1) is None
    batch = journal.reopen(batch, "reorg")
    assert (batch.state, batch.transaction, batch.block) == (State.SENT, "0xa", None)
    assert journal.attempts(batch, AttemptState.LIVE)[0].raw == b"a"


def test_every_move_that_the_table_does_not_have_is_refused(journal: Journal) -> None:
    (batch,) = journal.plan([plan(1)], [])
    with pytest.raises(ValueError, match="is planned: it cannot settle"):
        journal.settle(batch, "0xa", 1, "0xb")
    journal.sign(batch, attempt("a"))
    with pytest.raises(ValueError, match="not planned any more"):
        journal.void([batch], "stale")


def test_only_what_stands_on_chain_leaves_the_void() -> None:
    leaving = [one for one in TRANSITIONS if one.before is State.VOID]
    assert [(one.event, one.after) for one in leaving] == [(Event.ADOPT, State.SENT)]


def test_an_event_leads_from_a_state_to_one_other() -> None:
    assert len({(one.event, one.before) for one in TRANSITIONS} - {(Event.ADOPT, None)}) == (
        len(TRANSITIONS) - 1
    )
    assert {one.event for one in TRANSITIONS} == set(Event)


def test_the_drawing_in_the_docs_is_the_table() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reporting.md").read_text()
    drawn = text.partition("```mermaid")[2].partition("```")[0]
    lines = sorted(" ".join(line.split()) for line in drawn.splitlines() if "-->" in line)
    assert lines == sorted(
        f"{one.before or '[*]'} --> {one.after}: {one.event}" for one in TRANSITIONS
    )


def test_an_adopted_batch_counts_instead_of_what_it_makes_void(journal: Journal) -> None:
    first, second = journal.plan([plan(1), plan(2, units=4)], [])
    journal.sign(first, attempt("a"))
    made = journal.adopt(foreign(1, 8, ""), journal.batches(), "adopted")
    assert (made.state, made.number, made.block) == (State.ADOPTED, 1, 9)
    assert journal.reported(DAY) == {(1, 1, Kind.VIEW, 5): 8}
    assert journal.attempts(first, AttemptState.LIVE) == []
    assert journal.rules(DAY) is None
    assert (journal.newest_final(), journal.last_number()) == (made, 1)
    journal.drop(made, [], "reorg")
    assert journal.reported(DAY) == {}
    assert journal.batch(second.id).state is State.VOID


def test_a_batch_given_up_that_landed_is_taken_up_again(journal: Journal) -> None:
    (batch,) = journal.plan([plan(1)], [])
    journal.void([batch], "gone")
    (other,) = journal.plan([plan(1, salt="other")], [])
    own = Foreign(1, DAY, batch.usage, 7, batch.evidence, "0xt", 9, "0xb")
    made = journal.adopt(own, [other], "adopted")
    assert (made.id, made.state, made.block) == (batch.id, State.SENT, 9)
    assert journal.reported(DAY) == {(1, 1, Kind.VIEW, 5): 3}


def test_a_journal_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    old = Path(__file__).with_name("journal-1.sql").read_text()
    with sqlite3.connect(tmp_path / journals.FILE) as connection:
        connection.executescript(old)
    connection.close()
    for _ in range(2):
        with journals.opened(tmp_path, OWNER) as journal:
            (batch,) = journal.pending()
            assert (batch.number, batch.state, batch.usage) == (1, State.SIGNED, b"usage")
            assert [one.raw for one in journal.attempts(batch)] == [b"raw"]
            assert journal._db.execute("PRAGMA user_version").fetchone() == (3,)
            assert journal._db.execute("PRAGMA foreign_key_check").fetchall() == []


def test_a_journal_of_the_second_version_is_taken_over(tmp_path: Path) -> None:
    old = Path(__file__).with_name("journal-2.sql").read_text()
    with sqlite3.connect(tmp_path / journals.FILE) as connection:
        connection.executescript(old)
    connection.close()
    for _ in range(2):
        with journals.opened(tmp_path, OWNER) as journal:
            assert [one.state for one in journal.batches()] == [State.SETTLED, State.ADOPTED]
            for day in (DAY, DAY + 1):
                assert journal.reported(day) == {(1, 1, Kind.VIEW, 5): 3}
            assert journal.rules(DAY) == ("0xp", "first")
            assert (journal.rules(DAY + 1), journal.tallies()) == (None, [])
            assert len(journal.manifests(DAY)) == 1
            assert journal._db.execute("PRAGMA user_version").fetchone() == (3,)


def test_a_tally_is_in_the_account_of_each_of_its_days(tmp_path: Path) -> None:
    usage = pack_usage(group_lines([Line(1, 1, Kind.VIEW, 5, 3)]))
    days = tuple(DayUsage(day, usage, "last") for day in (DAY, DAY + 2))
    tally = Tally(DAY, b"r" * 32, 1, b"d" * 32, "https://x", "out", True, 1, {"view": 6})
    planned = Plan(1, DAY + 2, b"", 7, b"e" * 32, b"{}", "0xp", "", tally, days)
    with journals.opened(tmp_path, OWNER) as journal:
        journal.plan([planned, plan(2)], [])
    with journals.opened(tmp_path, OWNER) as journal:
        first, second = journal.pending()
        assert (first.tally, second.tally) == (tally, None)
        assert (first.since, first.works, first.units) == (DAY, 1, {"view": 6})
        assert [journal.days(one) for one in (first, second)] == [[DAY, DAY + 2], [DAY]]
        assert [len(journal.manifests(DAY + more)) for more in range(3)] == [2, 0, 1]
        assert journal.reported(DAY + 2) == {(1, 1, Kind.VIEW, 5): 3}
        assert journal.reported(DAY + 2, without=[1]) == {}
        assert journal.rules(DAY + 2) == ("0xp", "last")
        journal.void([first], "gone")
        assert (journal.reported(DAY + 2), journal.tallies()) == ({}, [])


def test_another_platforms_journal_is_refused(tmp_path: Path) -> None:
    with journals.opened(tmp_path, OWNER):
        pass
    other = Owner(OWNER.chain_id, "0xbb", OWNER.contract, OWNER.platform)
    with (
        pytest.raises(InputError, match="another platform, ledger or chain"),
        journals.opened(tmp_path, other),
    ):
        pass


def test_a_damaged_journal_stops_with_one_line(tmp_path: Path) -> None:
    (tmp_path / journals.FILE).write_bytes(b"not a database at all" * 100)
    with pytest.raises(JournalStopped, match="cannot be used"), journals.opened(tmp_path, OWNER):
        pass
    with pytest.raises(JournalStopped, match="cannot be used"), journals.read(tmp_path):
        pass


def test_a_second_process_waits_and_then_says_who_holds_it(tmp_path: Path) -> None:
    with journals.opened(tmp_path, OWNER):
        code = (
            "import sys; from pathlib import Path; from royalty import journal\n"
            "with journal.locked(Path(sys.argv[1]), 0.2): pass"
        )
        child = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / journals.LOCK_FILE)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert "another usage report of this platform is running" in child.stderr
    assert ChainError.exit_code == 3


def test_status_reads_while_another_writes(tmp_path: Path) -> None:
    with journals.read(tmp_path) as nothing:
        assert nothing is None
    assert list(tmp_path.iterdir()) == []
    with journals.opened(tmp_path, OWNER) as writer:
        writer.plan([plan(1)], [])
        with journals.read(tmp_path) as reader:
            assert reader is not None
            assert [batch.number for batch in reader.batches()] == [1]
            with pytest.raises(sqlite3.OperationalError):
                reader._db.execute("DELETE FROM batches")


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_crash_point_kills_like_a_power_cut(point: str) -> None:
    code = f"from royalty.journal import crash_at; crash_at('{point}'); print('lived')"
    for name, status, output in ((point, -signal.SIGKILL, ""), ("elsewhere", 0, "lived\n")):
        child = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {journals.CRASH_VARIABLE: name},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (child.returncode, child.stdout) == (status, output)


class Lives(RuleBasedStateMachine):
    """Random lives of batches: numbers stay without gaps or twins, units are never lost."""

    def __init__(self) -> None:
        super().__init__()
        connection = sqlite3.connect(":memory:", isolation_level=None)
        journals._prepare(connection, OWNER, Path("memory"))
        self.journal = Journal(connection)
        self.expected: dict[int, int] = {}
        self.count = 0

    def _any(self, data: st.DataObject, *states: State) -> Batch | None:
        found = self.journal.batches(*states)
        return data.draw(st.sampled_from(found)) if found else None

    @rule(units=st.integers(1, 9))
    def plans(self, units: int) -> None:
        self.count += 1
        number = self.journal.last_number() + 1
        self.journal.plan([plan(number, units=units, salt=str(self.count))], [])
        self.expected[number] = units

    @rule(data=st.data())
    def signs(self, data: st.DataObject) -> None:
        batch = self._any(data, State.PLANNED)
        if batch:
            self.count += 1
            self.journal.sign(batch, attempt(str(self.count)))

    @rule(data=st.data())
    def sends(self, data: st.DataObject) -> None:
        batch = self._any(data, State.SIGNED, State.SENT)
        if batch:
            self.journal.sent(batch)

    @rule(data=st.data())
    def settles(self, data: st.DataObject) -> None:
        batch = self._any(data, State.SENT)
        if batch:
            self.journal.settle(batch, batch.transaction or "", 1, "0xb")

    @rule(data=st.data())
    def loses(self, data: st.DataObject) -> None:
        batch = self._any(data, State.SIGNED, State.SENT)
        if batch:
            self.journal.unsign(batch, AttemptState.LOST, "lost")

    @rule(data=st.data())
    def reopens(self, data: st.DataObject) -> None:
        batch = self._any(data, State.SETTLED)
        if batch:
            self.journal.reopen(batch, "reorg")

    @rule(data=st.data())
    def offers_more(self, data: st.DataObject) -> None:
        batch = self._any(data, State.SIGNED, State.SENT)
        if batch:
            self.count += 1
            self.journal.raise_fee(batch, attempt(str(self.count)))

    @rule(data=st.data(), units=st.integers(1, 9))
    def adopts(self, data: st.DataObject, units: int) -> None:
        batch = self._any(data, *PENDING)
        if batch and all(one.state in PENDING for one in self._from(batch.number)):
            self.count += 1
            void = self._from(batch.number)
            self.journal.adopt(foreign(batch.number, units, str(self.count)), void, "adopted")
            for one in void:
                del self.expected[one.number]
            self.expected[batch.number] = units

    @rule(data=st.data())
    def drops(self, data: st.DataObject) -> None:
        batch = self._any(data, State.ADOPTED)
        if batch:
            void = self._from(batch.number)
            self.journal.drop(batch, void[1:], "reorg")
            for one in void:
                del self.expected[one.number]

    def _from(self, number: int) -> list[Batch]:
        return [one for one in self.journal.batches() if one.number >= number]

    @precondition(lambda self: bool(self.journal.batches()))
    @rule()
    def voids_the_last(self) -> None:
        last = self.journal.batches()[-1]
        if last.state is State.PLANNED:
            self.journal.void([last], "gone")
            del self.expected[last.number]

    @invariant()
    def numbers_run_without_gaps(self) -> None:
        numbers = [batch.number for batch in self.journal.batches()]
        assert numbers == list(range(1, len(self.expected) + 1))

    @invariant()
    def units_are_neither_lost_nor_doubled(self) -> None:
        reported = self.journal.reported(DAY)
        assert sum(reported.values()) == sum(self.expected.values())

    @invariant()
    def whatever_is_signed_has_a_live_transaction(self) -> None:
        for batch in self.journal.batches():
            live = self.journal.attempts(batch, AttemptState.LIVE)
            assert bool(live) == (batch.state not in (State.PLANNED, State.ADOPTED))
            assert (batch in self.journal.pending()) == (batch.state in PENDING)


Lives.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
test_lives_of_batches = Lives.TestCase
