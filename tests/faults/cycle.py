"""One cycle: reports killed at a named point under a failing node, reorgs and fee spikes; then the count.

What must stand on chain is computed from the log that was written here, what does stand there from the
ledger's events; no table of the program is looked at.
"""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from royalty.days import parse_day
from royalty.journal import TALLY_POINTS
from tests.conftest import Anvil
from tests.usage_world import HEADER, PRICES, leaf_units

DAYS = ("2024-05-10", "2024-05-11", "2024-05-12")
RATES = (0.0, 0.1, 0.25)
PLATFORM = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
STRANGER = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
DEPOSITED_NANO = 100 * 10**9
KILLED = -signal.SIGKILL
RUN_SECONDS = 40.0
ROOM = 8
"""Blocks after the world's own, so that the deepest reorg does not reach it."""

Units = dict[tuple[int, str], int]


@dataclass
class Stage:
    """What the cycles of one worker share: a chain with a world on it, and the proxy before it."""

    anvil: Anvil
    proxy: str
    contract: str
    catalogue: int
    template: Path
    snapshot: str = ""


@dataclass
class Result:
    """How a cycle went: `kills` are the points at which a report was killed; `wrong` is empty where all is well."""

    name: str
    point: str
    kills: list[str] = field(default_factory=list)
    reorgs: list[int] = field(default_factory=list)
    spikes: int = 0
    wrong: str = ""
    broken: str = ""
    seconds: float = 0.0


class Cycle:
    """One seeded cycle on a stage."""

    def __init__(self, stage: Stage, folder: Path, name: str, point: str) -> None:
        self.stage, self.folder, self.point = stage, folder, point
        self.random = random.Random(name)
        self.result = Result(name, point)
        self.rate = self.random.choice(RATES)
        self.window = self.random.choice((1, 1, 2, 4))
        self.depth = self.random.choice((0, 0, 1, 2, 3))
        self.form = "tally" if point in TALLY_POINTS else self.random.choice(("direct", "tally"))
        self.publish = point == "after-publish" or self.random.random() < 0.3
        self.mines = True
        self.foreign = False
        self.works = 3

    # --- the cycle ---

    def run(self) -> Result:
        """Run the cycle and return how it went."""
        began = time.monotonic()
        try:
            self._begin()
            scene = _scene(self.point)
            expected = self._log()
            scene(self)
            self._finish()
            self._compare(expected)
        except Wrong as error:
            self.result.wrong = str(error)
        except Exception:
            self.result.wrong = traceback.format_exc()
        self.result.seconds = time.monotonic() - began
        return self.result

    def _begin(self) -> None:
        anvil = self.stage.anvil
        anvil.request("evm_revert", self.stage.snapshot)
        self.stage.snapshot = anvil.request("evm_snapshot")
        anvil.request("evm_setAutomine", True)
        anvil.request("anvil_mine", hex(ROOM))
        shutil.copytree(self.stage.template, self.folder)

    def _log(self) -> Units:
        """Write a log of one to three days; return the units that it must come to on chain."""
        expected: Units = {}
        rows = []
        for day in DAYS[: self.random.randint(1, 3)]:
            for index in range(self.works):
                count = self.random.randint(0, 3) or (1 if index == 0 else 0)
                work = f"{self.stage.catalogue}/{index}"
                for at in range(count):
                    name = f"{day}-{index}-{at}"
                    rows.append([name, work, "view", f"{day}T12:00:00Z", 40, 600, name])
                if count:
                    expected[parse_day(day), work] = count
        write_log(self.folder / "log.csv", rows)
        # Another machine has a part of it.
        write_log(self.folder / "part.csv", [row for row in rows if self.random.random() < 0.6][:5])
        return expected

    def _finish(self) -> None:
        """Report without faults or kills until it ends well, adopting where it says so."""
        self.rate, self.mines = 0.0, True
        self.stage.anvil.request("evm_setAutomine", True)
        said = ""
        for _ in range(8):
            code, said = self.report("")
            if code == 0:
                return
            number = re.search(r"usage adopt (\d+)", said)
            if number and not self.foreign:
                raise Wrong(f"stopped at a foreign batch where there was none: {said}")
            if number:
                self.adopt(int(number[1]), "")
        raise Wrong(f"a report without faults does not end: {said}")

    def _compare(self, expected: Units) -> None:
        numbers, found = on_chain(self.stage)
        if found != expected:
            raise Wrong(f"on chain {sorted(found.items())}, in the log {sorted(expected.items())}")
        spent, due = DEPOSITED_NANO - funds(self.stage), sum(found.values()) * PRICES["view"]
        if spent != due:
            raise Wrong(f"the platform paid {spent} nano-tokens for usage of {due}")
        if numbers != list(range(1, len(numbers) + 1)):
            raise Wrong(f"batches on chain: {numbers}")

    # --- what scenes are made of ---

    def report(
        self, crash: str, log: str = "log.csv", folder: Path | None = None
    ) -> tuple[int, str]:
        """Report a log in a child of its own; return its exit code (KILLED) and what it said."""
        options = {
            "since": DAYS[0],
            "until": DAYS[-1],
            "confirmations": self.depth,
            "window": self.window,
            "deadline": 8.0,
            "as_": self.form,
            "publish": self.folder / "www" if self.publish else None,
        }
        return self._child(
            crash, folder, lambda session: session.usage.report(self.folder / log, **options)
        )

    def adopt(self, number: int, crash: str) -> tuple[int, str]:
        """Adopt a batch in a child of its own, a tally by the data that the other machine has."""
        data = next((self.folder / "copy").rglob("tallies"), None)
        return self._child(
            crash, None, lambda session: session.usage.adopt(number, confirmations=0, data=data)
        )

    def reorg(self, depth: int | None = None) -> None:
        """Take back so many blocks, at most those of this cycle."""
        depth = depth or self.random.randint(1, 5)
        self.result.reorgs.append(depth)
        self.stage.anvil.request("anvil_reorg", depth, [])

    def spike(self) -> None:
        """Let the next block cost more than any transaction offers."""
        self.result.spikes += 1
        base = int(
            self.stage.anvil.request("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16
        )
        self.stage.anvil.request("anvil_setNextBlockBaseFeePerGas", hex(base * 4 + 10**9))

    def trouble(self) -> None:
        """A reorg, a fee spike, both or neither, between two runs."""
        if self.random.random() < 0.6:
            self.reorg()
        if self.random.random() < 0.4:
            self.spike()

    def _child(self, crash: str, folder: Path | None, job: Callable[[Any], Any]) -> tuple[int, str]:
        ask(self.stage.proxy, "faults_set", self.random.random(), self.rate)
        said = self.folder / "said.txt"
        said.write_text("")
        seed = self.random.random()
        child = os.fork()
        if child == 0:
            run_child(self.stage, folder or self.folder, crash, seed, said, job)
        code = self._wait(child)
        if code == KILLED:
            self.result.kills.append(crash.partition(":")[0])
        if code not in (0, 2, 3, KILLED):
            raise Wrong(f"exit {code}: {said.read_text()}")
        return code, said.read_text()

    def _wait(self, child: int) -> int:
        """Mine until the child has ended; return its exit code."""
        ends = time.monotonic() + RUN_SECONDS
        while time.monotonic() < ends:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            if self.mines:
                self.stage.anvil.request("evm_mine")
            time.sleep(0.05)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise Wrong(f"a report did not end within {RUN_SECONDS:g} s")


class Wrong(Exception):  # noqa: N818 - named after what is wrong, as the program's own
    """What a cycle found wrong."""


# --- scenes: how each point is reached ---


def _scene(point: str) -> Callable[[Cycle], None]:
    event = point.partition("-")[2]
    return SCENES.get(event, plain)


def plain(cycle: Cycle) -> None:
    """Killed on the plain way, then at any point of it, with trouble in between."""
    from royalty.journal import PLAIN_POINTS

    if cycle.random.random() < 0.4:
        cycle.report(f"{cycle.point}:{cycle.random.randint(1, 2)}")
        cycle.trouble()
    cycle.report(cycle.point)
    cycle.trouble()
    cycle.report(cycle.random.choice(PLAIN_POINTS))
    cycle.trouble()


def stuck(cycle: Cycle) -> None:
    """Nothing is mined, so that more is offered."""
    cycle.stage.anvil.request("evm_setAutomine", False)
    cycle.mines = False
    cycle.report(cycle.point)
    cycle.stage.anvil.request("evm_mine")
    cycle.stage.anvil.request("evm_setAutomine", True)
    cycle.trouble()


def taken_back_in_flight(cycle: Cycle) -> None:
    """Landed, noted, not deep enough; then a reorg takes it."""
    cycle.depth, cycle.mines = 20, False
    cycle.report("after-land")
    cycle.reorg()
    cycle.depth, cycle.mines = cycle.random.randint(0, 3), True
    cycle.report(cycle.point)
    cycle.trouble()


def taken_back_when_settled(cycle: Cycle) -> None:
    """Settled at no confirmations, then a reorg takes it."""
    cycle.depth, cycle.mines = 0, False
    cycle.report("after-settle")
    cycle.reorg()
    cycle.mines = True
    cycle.report(cycle.point)
    cycle.trouble()


def nonce_taken(cycle: Cycle) -> None:
    """Signed, not sent; another transaction of the account takes the nonce."""
    cycle.report("after-sign")
    cycle.stage.anvil.request(
        "eth_sendTransaction", {"from": PLATFORM, "to": STRANGER, "value": "0x1"}
    )
    cycle.report(cycle.point)
    cycle.trouble()


def another_machine(cycle: Cycle) -> None:
    """A copy of the folder reports a part; this one is stopped, adopts, and counts again."""
    cycle.foreign = True
    if cycle.random.random() < 0.5:
        cycle.report(cycle.random.choice(("after-plan", "after-sign", "before-send")))
    copy = cycle.folder / "copy"
    shutil.copytree(cycle.stage.template, copy)
    cycle.report("", "part.csv", copy)
    cycle.report(cycle.random.choice(("", "in-plan")))
    cycle.adopt(1, cycle.point)
    if cycle.random.random() < 0.3:
        cycle.trouble()


def another_machine_taken_back(cycle: Cycle) -> None:
    """A foreign batch is adopted, then a reorg takes it."""
    cycle.foreign = True
    cycle.rate = min(cycle.rate, 0.1)
    copy = cycle.folder / "copy"
    shutil.copytree(cycle.stage.template, copy)
    cycle.depth = 0
    cycle.mines = False
    cycle.report("", "part.csv", copy)
    cycle.adopt(1, "")
    cycle.reorg(5)
    cycle.report(cycle.point)


def deal_taken_back(cycle: Cycle) -> None:
    """A deal that a planned batch reports to is gone after a reorg."""
    anvil = cycle.stage.anvil
    before = anvil.request("evm_snapshot")
    rate, cycle.rate = cycle.rate, 0.0
    _, said = cycle._child("", None, open_another)
    cycle.rate = rate
    if said:
        raise Wrong(f"the other catalogue could not be opened: {said}")
    extra = json.loads((cycle.folder / "another.json").read_text())
    with (cycle.folder / "log.csv").open("a", newline="") as file:
        row = ["another", f"{extra}/0", "view", f"{DAYS[0]}T12:00:00Z", 40, 600, "another"]
        csv.writer(file, lineterminator="\n").writerow(row)
    cycle.depth = 0
    cycle.report("after-plan")
    anvil.request("evm_revert", before)
    cycle.result.reorgs.append(ROOM)
    cycle.report(cycle.point)


SCENES: dict[str, Callable[[Cycle], None]] = {
    "raise": stuck,
    "unland": taken_back_in_flight,
    "reopen": taken_back_when_settled,
    "unsign": nonce_taken,
    "void": deal_taken_back,
    "adopt": another_machine,
    "drop": another_machine_taken_back,
}


# --- the child ---


def hurry() -> None:
    """Make every pause short: the chain here is fast, and so are its faults."""
    from royalty import delivery
    from royalty.chain import node

    node.TIMEOUT_SECONDS = 0.4
    node.RETRY_PAUSES = (0.01, 0.03, 0.05)
    node.FIRST_PAUSE, node.LONGEST_PAUSE = 0.01, 0.1
    delivery.STUCK_SECONDS, delivery.RESEND_SECONDS = 0.4, 0.1
    delivery.LONGEST_POLL = 0.05


def run_child(
    stage: Stage, folder: Path, crash: str, seed: float, said: Path, job: Callable[[Any], Any]
) -> None:
    """Do a job in this forked process, which ends here."""
    from royalty import Royalty
    from royalty.errors import RoyaltyError

    code = 70
    try:
        random.seed(seed)
        hurry()
        session = _connected(Royalty, stage, folder)
        os.environ["ROYALTY_CRASH_AT"] = crash
        job(session)
        code = 0
    except RoyaltyError as error:
        said.write_text(f"{type(error).__name__}: {error}")
        code = error.exit_code
    except BaseException:
        said.write_text(traceback.format_exc())
    finally:
        sys.stdout.flush()
        os._exit(code)


def _connected(kind: Any, stage: Stage, folder: Path) -> Any:
    """A session; connecting has few tries of its own, which here are not enough."""
    from royalty.errors import ChainError

    for _ in range(30):
        try:
            return kind.connect(
                account="dev1", rpc=stage.proxy, contract=stage.contract, folder=folder
            )
        except ChainError as error:
            last = error
    raise last


def open_another(session: Any) -> None:
    """Open another catalogue and accept it."""
    from royalty import Royalty
    from tests.usage_world import open_catalogue

    stage = session.settings
    producer = Royalty.connect(
        account="dev0", rpc=stage.rpc, contract=stage.contract, folder=stage.folder
    )
    catalogue = open_catalogue(producer, stage.folder, 1, salt="aa")
    session.platforms.accept(catalogue)
    (stage.folder / "another.json").write_text(json.dumps(catalogue))


# --- the chain and the log, without the program ---


def write_log(path: Path, rows: list[list[Any]]) -> None:
    """Write a native log."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([HEADER, *rows])


def on_chain(stage: Stage) -> tuple[list[int], Units]:
    """The numbers of the platform's batches on chain, and the units paid by (day, work), from raw logs."""
    numbers, units = [], Units()
    for number, (day, *_, usage) in _logs(stage, REPORTED):
        numbers.append(number)
        for catalogue, index, count in views_in(usage):
            key = (day, f"{catalogue}/{index}")
            units[key] = units.get(key, 0) + count
    numbers += [number for number, _ in _logs(stage, POSTED)]
    for _, (_, leaf, _) in _logs(stage, SETTLED):
        for (day, work, kind), count in leaf_units(leaf).items():
            assert kind == "view"
            units[day, work] = units.get((day, work), 0) + count
    return sorted(numbers), units


REPORTED = "UsageReported", ("uint16", "address", "bytes32", "uint96", "bytes")
POSTED = (
    "TallyPosted",
    ("address", "bytes32", "uint24", "uint96", "uint16", "bytes32", "bytes32", "string"),
)
SETTLED = "LeafSettled", ("uint24", "bytes", "uint96")


def _logs(
    stage: Stage, event: tuple[str, tuple[str, ...]]
) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """The batch and the data of each of the platform's events of a name."""
    from eth_abi import decode
    from eth_utils.crypto import keccak

    name, fields = event
    topic = keccak(text=f"{name}({','.join(('address', 'uint32', *fields))})")
    platform = "0x" + PLATFORM[2:].lower().zfill(64)
    query = {"address": stage.contract, "fromBlock": "0x0", "toBlock": "latest"}
    topics = {"topics": ["0x" + topic.hex(), platform]}
    for log in stage.anvil.request("eth_getLogs", query | topics):
        yield int(log["topics"][2], 16), decode(fields, bytes.fromhex(log["data"][2:]))


def funds(stage: Stage) -> int:
    """The platform's funds in nano-tokens, as the ledger has them: its first word."""
    from eth_utils.crypto import keccak

    data = "0x" + keccak(text="platformOf(address)")[:4].hex() + PLATFORM[2:].lower().zfill(64)
    answer = stage.anvil.request("eth_call", {"to": stage.contract, "data": data}, "latest")
    return int(answer[2:66], 16)


def views_in(usage: bytes) -> list[tuple[int, int, int]]:
    """Packed usage as (catalogue, index, units), read by its definition in docs/protocol.md."""
    found, at = [], 0
    while at < len(usage):
        catalogue = int.from_bytes(usage[at : at + 4], "big")
        pairs = int.from_bytes(usage[at + 7 : at + 9], "big")
        at += 9
        for _ in range(pairs):
            index, units = usage[at : at + 3], usage[at + 3 : at + 6]
            found.append((catalogue, int.from_bytes(index, "big"), int.from_bytes(units, "big")))
            at += 6
    return found


def ask(rpc: str, method: str, *params: Any) -> Any:
    """The result of one request to an address."""
    return Anvil(rpc, 0, None).request(method, *params)  # type: ignore[arg-type]
