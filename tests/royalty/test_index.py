"""The index: what it keeps is what the chain holds, through reorgs, kills, rivals and hostile text."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from royalty.chain.events import decode_log
from royalty.chain.sender import wait
from royalty.errors import ChainError, InputError, NodeRefused
from royalty.index import parts as files
from royalty.index.parts import Part, absorbed, chain_of, list_parts, parse_part, write_part
from royalty.index.reader import Index, Snapshot
from royalty.index.tables import ChainEvent, event_names, fields_of, from_table, to_table
from royalty.shares import Share, make_split
from royalty.usage import Group, Kind, Tariff, pack_usage

HASH = "0x" + "ab" * 32

# --- tables ---


def value_of(field: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Any value that an ABI field can hold."""
    kind = field["type"]
    if kind.endswith("[]"):
        return st.lists(value_of({**field, "type": kind[:-2]}), max_size=3)
    if kind == "tuple":
        return st.fixed_dictionaries({part["name"]: value_of(part) for part in field["components"]})
    if kind.startswith("uint"):
        most = 2 ** int(kind[4:]) - 1
        return st.sampled_from([0, 1, most]) | st.integers(0, most)
    if kind == "bool":
        return st.booleans()
    if kind == "bytes":
        return st.binary(max_size=60)
    if kind.startswith("bytes"):
        return st.binary(min_size=int(kind[5:]), max_size=int(kind[5:]))
    if kind == "address":
        return st.integers(0, 2**160 - 1).map(lambda number: f"0x{number:040x}")
    return st.text(max_size=20)


@st.composite
def events_of(draw: st.DrawFn, name: str) -> ChainEvent:
    args = {field["name"]: draw(value_of(dict(field))) for field in fields_of(name)}
    block, index = draw(st.integers(0, 2**40)), draw(st.integers(0, 2**20))
    return ChainEvent(
        name, args, "0x" + "0" * 40, block, HASH, HASH, index, draw(st.integers(0, 2**40))
    )


@pytest.mark.parametrize("name", event_names())
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_event_comes_back_from_its_table_as_it_was(name: str, data: st.DataObject) -> None:
    events = data.draw(st.lists(events_of(name), max_size=4))
    assert from_table(name, to_table(name, events)) == events


# --- parts, pure ---


def part(first: int, last: int, events: int = 0) -> Part:
    return Part(first, last, events, HASH)


def test_a_parts_name_says_everything_that_it_is() -> None:
    one = Part(12, 1_234_567_890_123, 45, HASH)
    assert parse_part(one.name) == one
    assert parse_part(".aside-12") is parse_part("readme") is None


def test_parts_follow_each_other_without_a_gap_and_the_longest_is_taken() -> None:
    parts = [part(0, 4), part(0, 9), part(5, 9), part(10, 12), part(14, 20)]
    assert chain_of(parts, 0) == [part(0, 9), part(10, 12)]
    assert chain_of(parts, 1) == []


@settings(max_examples=50)
@given(st.lists(st.integers(0, 3_000), max_size=200))
def test_files_stay_few_and_are_seldom_rewritten(syncs: list[int]) -> None:
    kept: list[Part] = []
    written = 0
    for block, events in enumerate(syncs):
        taken = absorbed(kept, events)
        total = events + sum(one.events for one in taken)
        first = taken[0].first if taken else block
        kept = [*kept[: len(kept) - len(taken)], part(first, block, total)]
        written += total
    count = sum(syncs)
    assert sum(one.events for one in kept) == count
    assert len(kept) <= 2 + max(1, count).bit_length()
    assert written <= (count + 1_000 * len(syncs)) * (2 + max(1, count).bit_length())


def test_what_a_killed_sync_left_is_no_part_and_is_swept(tmp_path: Path) -> None:
    aside = tmp_path / ".aside-0011"
    aside.mkdir()
    (aside / "Paid.parquet").write_bytes(b"half")
    files.sweep(tmp_path)
    assert aside.exists(), "it may be being written now"
    assert list_parts(tmp_path) == []
    old = 1_000_000
    import os

    os.utime(aside, (old, old))
    files.sweep(tmp_path)
    assert not aside.exists()


def test_a_file_that_cannot_be_read_is_named_with_the_way_out(tmp_path: Path) -> None:
    one = part(0, 3, 1)
    write_part(tmp_path, one, [])
    (tmp_path / one.name / "Paid.parquet").write_bytes(b"no parquet")
    with pytest.raises(
        InputError, match=r"Paid\.parquet cannot be read .* delete the index folder"
    ):
        files.read_part(tmp_path, one, "Paid")


def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        write_part(tmp_path / "index", part(0, 3), [])


# --- on a chain ---

TARIFF = Tariff(3_000_000, 500_000_000, 100_000)


@pytest.fixture
def royalty(session: Callable[..., Any]) -> Any:
    """A session of the producer; what a test reorganises, it has opened itself."""
    return session()


def open_catalogue(royalty: Any, uri: str = "") -> None:
    split = make_split(
        [Share(royalty.address("dev4"), 400_000), Share(royalty.address("dev5"), 600_000)]
    )
    royalty.send(royalty.ledger.open(split, TARIFF, royalty.today() - 30, uri))


def index_of(royalty: Any, folder: Path, confirmations: int = 0) -> Index:
    ledger = royalty.ledger
    return Index(royalty.node, ledger.address, ledger.deployed_block, folder, confirmations)


def on_chain(royalty: Any) -> list[Any]:
    """What the reference reader makes of all logs, in one request."""
    logs = royalty.node.logs(royalty.ledger.address, 0, "latest")
    return [decode_log(log) for log in logs]


def in_index(snapshot: Snapshot) -> list[ChainEvent]:
    found = [event for name in event_names() for event in snapshot.events(name)]
    return sorted(found, key=lambda event: event.order)


def assert_same(snapshot: Snapshot, royalty: Any) -> None:
    words = ("name", "args", "block", "block_hash", "transaction", "log_index")
    assert [[getattr(event, word) for word in words] for event in in_index(snapshot)] == [
        [getattr(event, word) for word in words] for event in on_chain(royalty)
    ]
    times = {event.block: event.timestamp for event in in_index(snapshot)}
    assert times == {number: royalty.node.block(number).timestamp for number in times}


def test_the_index_holds_what_the_chain_holds(royalty: Any, tmp_path: Path) -> None:
    index = index_of(royalty, tmp_path / "index")
    open_catalogue(royalty)
    first = index.sync()
    assert_same(first, royalty)
    open_catalogue(royalty)
    second = index.sync()
    assert second.added == 2  # CatalogueOpened and the token's Transfer
    assert_same(second, royalty)
    assert index.sync().added == 0
    assert in_index(index.stored()) == in_index(second)
    assert len(list_parts(tmp_path / "index")) == 1


def test_events_are_filtered_by_argument_and_block(royalty: Any) -> None:
    from royalty import index

    open_catalogue(royalty)
    block = royalty.node.head()
    open_catalogue(royalty)
    numbers = [event.args["catalogue"] for event in index.events(royalty, "CatalogueOpened")]
    assert len(numbers) >= 2
    (one,) = index.events(royalty, "CatalogueOpened", catalogue=numbers[-1])
    assert one.args["tariff"]["viewPrice"] == 3_000_000
    early = index.events(royalty, "CatalogueOpened", block=block)
    assert [event.args["catalogue"] for event in early] == numbers[:-1]
    with pytest.raises(KeyError):
        index.events(royalty, "CatalogueOpened", film=1)
    with pytest.raises(KeyError):
        index.events(royalty, "FilmOpened")


def test_a_reorg_drops_what_it_took_back(royalty: Any, anvil: Any, tmp_path: Path) -> None:
    index = index_of(royalty, tmp_path / "index")
    open_catalogue(royalty)
    kept = index.sync()
    for _ in range(3):
        open_catalogue(royalty)
    before = index.sync()
    assert len(before.events("CatalogueOpened")) == len(kept.events("CatalogueOpened")) + 3
    anvil.request("anvil_reorg", 2, [])
    after = index.sync()
    assert after.dropped > 0
    assert len(after.events("CatalogueOpened")) == len(kept.events("CatalogueOpened")) + 1
    assert_same(after, royalty)
    assert_same(index.stored(), royalty)


def test_a_longer_chain_after_a_reorg_is_read_anew(
    royalty: Any, anvil: Any, tmp_path: Path
) -> None:
    index = index_of(royalty, tmp_path / "index")
    open_catalogue(royalty, "https://taken.back")
    index.sync()
    anvil.request("anvil_reorg", 1, [])
    for number in range(4):
        open_catalogue(royalty, f"https://stays/{number}")
    after = index.sync()
    uris = [event.args["uri"] for event in after.events("CatalogueOpened")]
    assert "https://taken.back" not in uris
    assert uris[-4:] == [f"https://stays/{number}" for number in range(4)]
    assert_same(after, royalty)


def test_a_chain_that_is_rolled_back_shorter_shows_less(
    royalty: Any, anvil: Any, tmp_path: Path
) -> None:
    index = index_of(royalty, tmp_path / "index")
    open_catalogue(royalty)
    open_catalogue(royalty)
    index.sync()
    anvil.request("anvil_rollback", 1)
    assert_same(index.sync(), royalty)
    open_catalogue(royalty, "https://another")
    assert_same(index.sync(), royalty)


def test_blocks_that_are_not_final_are_shown_but_not_kept(
    royalty: Any, anvil: Any, tmp_path: Path
) -> None:
    index = index_of(royalty, tmp_path / "index", confirmations=2)
    for _ in range(4):
        open_catalogue(royalty)
    snapshot = index.sync()
    assert_same(snapshot, royalty)
    assert snapshot.parts[-1].last == snapshot.head.number - 2
    assert (
        len(index.stored().events("CatalogueOpened")) == len(snapshot.events("CatalogueOpened")) - 2
    )
    anvil.request("anvil_reorg", 2, [])
    after = index.sync()
    assert after.dropped == 0, "nothing that was kept was taken back"
    assert_same(after, royalty)


class Stingy:
    """A node that refuses ranges above a few blocks and says no times with its logs."""

    def __init__(self, node: Any, most: int) -> None:
        self._node, self.most, self.spans = node, most, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def logs(self, address: str, first: int, last: int) -> list[dict[str, Any]]:
        if last - first + 1 > self.most:
            raise NodeRefused("query exceeds max results")
        self.spans.append((first, last))
        logs = self._node.logs(address, first, last)
        return [{k: v for k, v in log.items() if k != "blockTimestamp"} for log in logs]


def test_ranges_adapt_to_what_the_node_gives(royalty: Any, tmp_path: Path) -> None:
    for _ in range(4):
        open_catalogue(royalty)
    node = Stingy(royalty.node, 3)
    index = replace(index_of(royalty, tmp_path / "index"), node=node)
    assert_same(index.sync(), royalty)
    reached = [first for first, _ in node.spans]
    assert reached == sorted(set(reached)), "no range is read twice"
    assert max(last - first + 1 for first, last in node.spans) in (2, 3)
    refusing = replace(index_of(royalty, tmp_path / "other"), node=Stingy(royalty.node, 0))
    with pytest.raises(NodeRefused):
        refusing.sync()


def test_a_chain_that_moves_while_it_is_read_is_read_again(
    royalty: Any, anvil: Any, tmp_path: Path
) -> None:
    """The reorg strikes between the logs and the check of their last block."""
    open_catalogue(royalty)
    open_catalogue(royalty, "https://taken.back")

    class Moving(Stingy):
        moved = False

        def logs(self, address: str, first: int, last: int) -> list[dict[str, Any]]:
            logs = super().logs(address, first, last)
            if not self.moved:
                self.moved = True
                anvil.request("anvil_reorg", 1, [])
            return logs

    index = replace(index_of(royalty, tmp_path / "index"), node=Moving(royalty.node, 10**9))
    after = index.sync()
    assert "https://taken.back" not in [e.args["uri"] for e in after.events("CatalogueOpened")]
    assert_same(after, royalty)


def test_a_chain_that_never_stands_still_is_said_so(
    royalty: Any, anvil: Any, tmp_path: Path
) -> None:
    class Restless(Stingy):
        def logs(self, address: str, first: int, last: int) -> list[dict[str, Any]]:
            logs = super().logs(address, first, last)
            anvil.request("anvil_reorg", 1, [])
            return logs

    index = replace(index_of(royalty, tmp_path / "index"), node=Restless(royalty.node, 10**9))
    with pytest.raises(ChainError, match="changes faster than it can be read"):
        index.sync()
    assert list_parts(tmp_path / "index") == []


def test_syncs_at_once_do_no_harm(royalty: Any, tmp_path: Path) -> None:
    index = index_of(royalty, tmp_path / "index")
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(6):
                in_index(index.sync())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(6):
        open_catalogue(royalty)
    for thread in threads:
        thread.join()
    assert failures == []
    assert_same(index.sync(), royalty)
    assert_same(index.stored(), royalty)


def test_a_snapshot_outlives_the_merging_of_its_files(royalty: Any, tmp_path: Path) -> None:
    index = index_of(royalty, tmp_path / "index")
    open_catalogue(royalty)
    snapshot = index.sync()
    expected = len(on_chain(royalty))
    open_catalogue(royalty)
    index.sync()  # merges the file that the snapshot stands on
    assert len(in_index(snapshot)) == expected
    shutil.rmtree(tmp_path / "index")
    lost = replace(snapshot, _read={})
    with pytest.raises(ChainError, match="changed while it was read"):
        lost.events("CatalogueOpened")


def test_text_that_is_not_utf8_stops_nobody(royalty: Any, tmp_path: Path) -> None:
    open_catalogue(royalty)
    number = royalty.ledger.catalogues()
    call = royalty.ledger.register(number, [b"\x07" * 32], bytes(32), "ABCD")
    data = call.data.replace(b"ABCD", b"\xff\xfe\x00\x80")
    sender = royalty.account.address
    transaction = {"from": sender, "to": royalty.ledger.address, "data": "0x" + data.hex()}
    sent = royalty.node.request("eth_sendTransaction", [transaction])
    wait(royalty.node, sent, 20)
    snapshot = index_of(royalty, tmp_path / "index").sync()
    assert snapshot.events("WorksRegistered")[-1].args["uri"] == "��\x00�"
    assert_same(snapshot, royalty)


def test_ten_thousand_events_take_seconds(royalty: Any, tmp_path: Path) -> None:
    """Raw logs of a real report, decoded, written and read again."""
    import time

    open_catalogue(royalty)
    number = royalty.ledger.catalogues()
    me = royalty.account.address
    royalty.send(royalty.ledger.approve(10**9))
    royalty.send(royalty.ledger.deposit(me, 10**9))
    batch = royalty.ledger.platform(me).next_batch
    usage = pack_usage([Group(number, 1, Kind.VIEW, tuple((at, 1) for at in range(100)))])
    receipt = royalty.send(
        royalty.ledger.report(me, batch, royalty.today(), bytes(32), 300_000_000, usage)
    )
    (log,) = royalty.node.logs(royalty.ledger.address, receipt.block, receipt.block)
    logs = [{**log, "logIndex": hex(at)} for at in range(10_000)]
    index = index_of(royalty, tmp_path / "index")
    started = time.process_time()
    events = index._decoded(logs)
    one = Part(0, receipt.block, len(events), receipt.block_hash)
    write_part(index.folder, one, events)
    assert files.read_part(index.folder, one, "UsageReported") == events
    assert time.process_time() - started < 20


def test_a_sync_that_is_killed_leaves_the_index_whole(
    royalty: Any, anvil: Any, folder: Path
) -> None:
    """Killed at any moment, whatever it has written by then."""
    for _ in range(3):
        open_catalogue(royalty)
    program = (
        "from royalty import Royalty, index; import sys;"
        f"r = Royalty.connect(rpc={anvil.rpc!r}, contract={royalty.ledger.address!r});"
        "print('ready', flush=True);\nwhile True: index.of(r).sync(); "
        "import shutil; shutil.rmtree(index.of(r).folder)"
    )
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", program], cwd=folder, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.wait()
        process.stdout.close()
        assert_same(index_of(royalty, royalty.state_dir / "index").sync(), royalty)
