"""Two platforms, one hostile, through the package's own face: the honest one's money and the holders' do not move.

Both report to one catalogue under the same batch numbers. The hostile one posts past all checks of the
package, by calls of the ledger; strangers close what it posted. See tests/forge/TwoPlatforms.t.sol.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny_keccak import keccak256

from royalty.errors import InputError, RoyaltyError
from royalty.evidence import canonical
from royalty.merkle import NODE_BYTES, Claim, DayLine, Tree, make_tree
from royalty.shares import unpack_split
from royalty.tallydata import file_name
from royalty.usage import Kind
from tests import tallies
from tests.conftest import Ran
from tests.royalty.test_reconcile import (
    TARIFF,
    WORTH,
    LogRow,
    Scene,
    open_catalogue,
    report_all,
    usage_of,
)
from tests.royalty.test_reconcile_tallies import own_place, post_rows

URI = "\x1b[2J\u202ehttps://films.example/\n=cmd|'a'!A0\x07<script>alert(1)</script>" + "y" * 2_000
FIRST_DAY = 19_000
CLOSED, OPEN = 2, 3
OPEN_NANO = 4 * TARIFF.view
HOSTILE_NANO = 2 * TARIFF.view


@dataclass
class Stage:
    """An honest platform (a report, a settled tally, an open one) and a hostile one that has reported."""

    honest: Scene
    hostile: Scene
    stranger: Any
    rows: list[LogRow]
    data: Path

    def claims(self, *units: int, day: int = FIRST_DAY) -> list[Claim]:
        """A leaf for each number of views, of works 0, 1, 2, 0, ..."""
        deal = (self.honest.catalogue, 1)
        return [
            tallies.claims_of([DayLine(*deal, day, Kind.VIEW, at % 3, count)], {deal: TARIFF})[0]
            for at, count in enumerate(units)
        ]

    def post(self, claims: list[Claim], tree: Any = None) -> tallies.Posted:
        """Post as the hostile platform, with an address that is no address."""
        day = FIRST_DAY + 1
        return tallies.post(self.hostile.platform, claims, day, tree=tree, uri=URI)

    def close(self, posted: tallies.Posted, level: int, index: int, preimage: bytes) -> None:
        """Close a node as a stranger."""
        start = index * NODE_BYTES
        total = int.from_bytes(posted.tree.levels[level][start + 32 : start + NODE_BYTES], "big")
        above = Tree(posted.tree.levels[level:])
        ledger, proof = self.stranger.ledger, above.prove(index) if above.leaves > 1 else b""
        self.stranger.send(
            ledger.close_node(posted.platform, posted.batch, level, index, total, preimage, proof)
        )

    @property
    def name(self) -> str:
        """The hostile platform's address."""
        return str(self.hostile.platform.account.address)

    def funds(self, scene: Scene) -> int:
        """What a platform has, in nano-tokens."""
        return int(self.stranger.ledger.platform(scene.platform.account.address).funds_nano)

    def books(self) -> tuple[Any, ...]:
        """The honest platform's funds, whole tallies, and findings of an auditor who has its log."""
        name = self.honest.platform.account.address
        told = [one.document() for one in self.stranger.tallies.all(platform=name)]
        found = self.honest.reconcile(self.rows)
        assert found.solvent, "rule 1"
        return self.funds(self.honest), told, found.findings, found.credited_nano

    def payable(self) -> dict[str, int]:
        """What is payable to each holder, to the nano-token."""
        from royalty.index import events

        (opened,) = events(self.stranger, "CatalogueOpened", catalogue=self.honest.catalogue)
        found = {}
        for share in unpack_split(opened.args["split"]):
            one = self.stranger.holders.payable(share.holder)
            found[share.holder] = one.allocated_nano + sum(part.part_nano for part in one.parts)
        return found

    def accrued(self) -> int:
        """What the deal has accrued: nobody allocates here."""
        return int(self.stranger.ledger.deal(self.honest.catalogue, 1).accrued_nano)


@pytest.fixture
def stage(session: Callable[..., Any], folder: Path, anvil: Any) -> Iterator[Stage]:
    snapshot = anvil.request("evm_snapshot")
    producer = session("dev0")
    fingerprints = [secrets.token_bytes(32) for _ in range(3)]
    number = open_catalogue(producer, FIRST_DAY, fingerprints)
    scenes = []
    for account in ("dev1", "dev2"):
        platform = session(account)
        platform.send(platform.ledger.approve(10**12))
        platform.send(platform.ledger.deposit(platform.account.address, 10**10))
        scenes.append(Scene(producer, platform, number, FIRST_DAY, folder))
    honest, hostile = scenes
    rows = usage_of(honest)
    place = folder / "data"
    report_all(honest, [row for row in rows if row[0] == FIRST_DAY])
    later = [row for row in rows if row[0] > FIRST_DAY]
    closed = post_rows(honest, later, place=place)
    waits = [(FIRST_DAY + 9, str(honest.work()), Kind.VIEW, 4)]
    post_rows(honest, waits, place=own_place(honest))
    (data,) = place.iterdir()
    stranger = session("dev4")
    settled = stranger.tallies.settle(closed.batch, all=True, platform=closed.platform, data=data)
    assert settled.paid_nano == closed.total
    hostile.report(FIRST_DAY, [(hostile.work(), Kind.VIEW, 2)])
    yield Stage(honest, hostile, stranger, rows, data)
    anvil.request("evm_revert", snapshot)


# --- the attacks: each returns what it posted, closed in full, and what it truly paid ---


def same_numbers(stage: Stage) -> tuple[tallies.Posted, int]:
    """The honest platform's settled tally once more, by the number and root that it had."""
    later = [row for row in stage.rows if row[0] > FIRST_DAY]
    posted = post_rows(stage.hostile, later, uri=URI)
    assert posted.batch == CLOSED
    face = stage.stranger.tallies
    done = face.settle(CLOSED, all=True, platform=stage.name, data=stage.data)
    assert done.paid_nano == posted.total, "the hostile platform's own money"
    again = face.settle(CLOSED, all=True, platform=stage.name, data=stage.data)
    assert (again.paid_nano, again.document()["transactions"]) == (0, [])
    return posted, posted.total


def wrong_sum(stage: Stage) -> tuple[tallies.Posted, int]:
    claims = stage.claims(5, 7)
    posted = stage.post(claims, tallies.lying_tree(claims, 1_000))
    refused(lambda: posted.settle(stage.stranger, 1, 1), ANOTHER_TREE)
    posted.settle(stage.stranger, 0, 1)
    preimage = b"\0" + claims[1].amount.to_bytes(12, "big") + claims[1].leaf
    stage.close(posted, 0, 1, preimage)
    return posted, claims[0].amount


def wrong_total(stage: Stage) -> tuple[tallies.Posted, int]:
    honest = make_tree(claim.node for claim in stage.claims(5, 7))
    bottom, top = honest.levels
    lie = top[:32] + (honest.total + 1).to_bytes(12, "big")
    posted = stage.post(stage.claims(5, 7), Tree((bottom, lie)))
    refused(lambda: posted.settle(stage.stranger), ANOTHER_TREE)
    stage.close(posted, 1, 0, b"\1" + bottom)
    return posted, 0


def wrapped_sums(stage: Stage) -> tuple[tallies.Posted, int]:
    """Good usage of 12,000 tokens beside a leaf that makes the sum wrap round to one nano-token."""
    (good,) = stage.claims(4_000_000)
    claims = [good, Claim(b"junk", 2**96 + 1 - good.amount)]
    bottom = b"".join(claim.node for claim in claims)
    root = keccak256(b"\1" + bottom)
    posted = stage.post(claims, Tree((bottom, root + (1).to_bytes(12, "big"))))
    refused(lambda: posted.settle(stage.stranger, 0, 1), "more than the ledger can hold")
    refused(lambda: posted.settle(stage.stranger), "more than the ledger can hold")
    stage.close(posted, 1, 0, b"\1" + bottom)
    return posted, 0


def two_indices(stage: Stage) -> tuple[tallies.Posted, int]:
    (claim,) = stage.claims(5)
    posted = stage.post([claim, claim])
    for _ in range(2):
        posted.settle(stage.stranger, 0, 1)
    posted.settle(stage.stranger)
    return posted, 2 * claim.amount


def replays(stage: Stage) -> tuple[tallies.Posted, int]:
    claims = stage.claims(5, 7)
    posted = stage.post(claims)
    platform = stage.hostile.platform
    for batch in range(posted.batch + 1):
        call = platform.ledger.post(
            stage.name, batch, posted.day, posted.tree.root, 2, 0, bytes(32), bytes(32), ""
        )
        refused(lambda call=call: platform.send(call), "next batch is 3")
    for _ in range(2):
        posted.settle(stage.stranger)
    return posted, posted.total


def days_outside(stage: Stage) -> tuple[tallies.Posted, int]:
    claims = [
        *stage.claims(5, day=FIRST_DAY - 1),
        *stage.claims(5, day=FIRST_DAY + 2),
        *stage.claims(5, day=2**16 - 1),
        *stage.claims(5, day=0),
    ]
    posted = stage.post(claims)
    posted.settle(stage.stranger)
    return posted, 0


def off_by_one(stage: Stage) -> tuple[tallies.Posted, int]:
    low, high = stage.claims(5, 7)
    posted = stage.post([Claim(low.leaf, low.amount - 1), Claim(high.leaf, high.amount + 1)])
    posted.settle(stage.stranger)
    return posted, 0


ANOTHER_TREE = "the leaves lead to another root or total"


def refused(call: Callable[[], Any], why: str) -> None:
    with pytest.raises(RoyaltyError, match=why):
        call()


ATTACKS = (
    same_numbers,
    wrong_sum,
    wrong_total,
    wrapped_sums,
    two_indices,
    replays,
    days_outside,
    off_by_one,
)


@pytest.mark.chain
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_moves_nobody_elses_money_and_its_tally_closes(
    stage: Stage, attack: Callable[[Stage], tuple[tallies.Posted, int]]
) -> None:
    before, had, accrued = stage.books(), stage.funds(stage.hostile), stage.accrued()
    assert before[2] == (), "nothing to find in the honest platform's log"
    assert before[3] == WORTH
    assert accrued == WORTH + HOSTILE_NANO
    posted, paid = attack(stage)
    assert stage.books() == before
    assert stage.accrued() == accrued + paid
    assert sum(stage.payable().values()) == accrued + paid
    assert stage.funds(stage.hostile) == had - paid, "out of its own"
    (tally,) = stage.stranger.tallies.all(platform=stage.name)
    assert (tally.settled_nano, tally.settled_leaves) == (posted.total, tally.leaves)
    found = stage.stranger.audit.solvency()
    assert found.ok
    assert found.surplus_nano == 0, "rule 1, exactly"
    honest = stage.honest.platform.account.address
    assert [(one.platform, one.unsettled_nano) for one in found.waiting] == [(honest, OPEN_NANO)]


@pytest.mark.chain
def test_evidence_that_was_copied_accuses_the_honest_platform_of_nothing(stage: Stage) -> None:
    digest = secrets.token_bytes(32)
    line = (stage.honest.work(1), Kind.VIEW, 6)
    stage.honest.report(FIRST_DAY + 2, [line], digest)
    rows = [*stage.rows, (FIRST_DAY + 2, str(line[0]), Kind.VIEW, 6)]
    assert stage.honest.reconcile(rows).findings == ()
    stage.hostile.report(FIRST_DAY + 2, [line], digest)
    # Whoever has no funds at all can do so by a tally of nothing.
    poor = stage.stranger
    free = Tree((bytes(NODE_BYTES),))
    tallies.post(poor, [Claim(b"", 0)], FIRST_DAY + 2, tree=free, evidence=digest)
    assert stage.honest.reconcile(rows).findings == ()


@pytest.mark.chain
def test_what_stays_open_without_data_is_the_hostile_platforms_own_money(stage: Stage) -> None:
    """A root of nothing that anybody knows cannot be told from one whose data are withheld: it waits."""
    before, had, payable = stage.books(), stage.funds(stage.hostile), stage.payable()
    secret = secrets.token_bytes(32) + (10**9).to_bytes(12, "big")
    posted = stage.post(stage.claims(5, 7), Tree((bytes(2 * NODE_BYTES), secret)))
    refused(lambda: posted.settle(stage.stranger), ANOTHER_TREE)
    refused(lambda: stage.close(posted, 1, 0, b"a guess"), ANOTHER_TREE)
    assert stage.books() == before
    assert stage.payable() == payable
    assert stage.funds(stage.hostile) == had - 10**9
    found = stage.stranger.audit.solvency()
    assert found.ok
    assert found.surplus_nano == 0
    waiting = {one.platform: one.unsettled_nano for one in found.waiting}
    assert waiting == {stage.honest.platform.account.address: OPEN_NANO, stage.name: 10**9}


@pytest.mark.chain
def test_data_and_proofs_that_are_not_the_tallys_are_refused_in_one_line(
    stage: Stage, run: Callable[..., Ran], folder: Path
) -> None:
    claims = stage.claims(5, 7)
    posted = stage.post(claims, tallies.lying_tree(claims, 1_000))
    before = stage.books(), stage.payable()
    of = ("--platform", stage.name)
    (folder / "junk.parquet").write_bytes(b"PAR1 \x1b[2J PAR1")
    named = folder / file_name(posted.batch, bytes(32))
    named.write_bytes(stage.data.read_bytes())
    for data in (stage.data, named, "junk.parquet", "nowhere.parquet"):
        for words in (
            ("settle", posted.batch, "--all"),
            ("show", posted.batch),
            ("prove", stage.honest.work(2), "--batch", posted.batch),
        ):
            told = run("tally", *words, *of, "--data", data, exit=2)
            one_line(told.stderr)
            assert told.stdout == ""
    with pytest.raises(InputError, match="is not the data of tally 2"):
        stage.stranger.tallies.settle(posted.batch, all=True, platform=stage.name, data=stage.data)
    # No proof at all is bad input; a proof of what is not so is a finding.
    for path in (stage.data, "junk.parquet", "nowhere.json"):
        one_line(run("tally", "verify", path, exit=2).stderr)
    honest = stage.honest.platform.account.address
    proof = stage.stranger.tallies.prove(
        stage.honest.work(2), CLOSED, platform=honest, data=stage.data
    )
    assert stage.stranger.tallies.verify(proof).ok
    Path("moved.json").write_bytes(canonical(proof.document() | {"platform": stage.name}))
    told = run("tally", "verify", "moved.json", exit=1)
    assert {one["what"] for one in told["findings"]} >= {"root", "total"}
    assert (stage.books(), stage.payable()) == before
    assert stage.stranger.audit.solvency().ok


@pytest.mark.chain
def test_what_the_hostile_platform_writes_does_no_harm_where_it_is_shown(
    stage: Stage, run: Callable[..., Ran]
) -> None:
    stage.post(stage.claims(5, 7))
    of = ("--platform", stage.name)
    shown = [
        run("history", "--kind", "tally", json=False).stdout,
        run("history", "--kind", "tally", *of, "--csv", "a.csv").stdout,
        run("tally", "show", *of, json=False).stdout,
        run("tally", "show", CLOSED, *of, json=False).stdout,
        run("audit", "solvency", json=False).stdout,
        Path("a.csv").read_text(),
    ]
    assert sum("films.example" in text for text in shown) >= 3, "it is shown at all"
    for text in shown:
        assert not set(text) & set("\x1b\u202e\x07"), text
        assert not any(line.startswith("=cmd") for line in text.splitlines()), text
    for text in (shown[0], *shown[2:5]):
        assert max(len(line) for line in text.splitlines()) <= 120, text
    one_line(run("tally", "settle", CLOSED, *of, "--all", "--fetch", exit=2).stderr)
    (row,) = json.loads(shown[1])["rows"]
    assert (row["platform"], row["batch"]) == (stage.name, CLOSED)


def one_line(said: str) -> None:
    assert len(said.splitlines()) == 1, said
    assert not set(said) & set("\x1b\u202e\x07"), said
