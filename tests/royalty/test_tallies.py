"""Tallies through a session: shown, settled in as few transactions as fit, by anybody, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from royalty.errors import InputError, NodeTimeout, Reverted
from royalty.merkle import LeafFault
from royalty.usage import Kind, Tariff
from tests.conftest import Anvil
from tests.faulty import faulty_node
from tests.tally_world import accrued, catalogues, lines_of, post, priced
from tests.usage_world import World
from tests.usage_world import world as world_of

pytestmark = pytest.mark.chain
Session = Callable[..., Any]


@pytest.fixture
def world(session: Session, folder: Path, anvil: Anvil) -> Iterator[World]:
    with world_of(session, folder, anvil) as made:
        yield made


def settled(world: World, batch: int) -> Any:
    from royalty.posted import find

    return find(world.session("dev3"), batch)


# --- which tally, which data ---


def test_a_tally_is_shown_as_it_was_posted_and_as_it_stands(world: World) -> None:
    numbers = catalogues(world, 3)
    made = post(world, [line for n in numbers for line in lines_of(n, 2, 3)])
    (shown,) = world.session("dev3").tallies.all()
    assert (shown.platform, shown.batch, shown.leaves) == (made.platform, made.batch, 3)
    assert (shown.root, shown.total_nano) == (made.tree.root, made.tree.total)
    assert (shown.paid_nano, shown.void_nano, shown.unsettled_nano) == (0, 0, made.tree.total)
    made.settle(world.session("dev4"), 1, 1)
    (shown,) = world.session("dev3").tallies.all()
    assert (shown.settled_leaves, shown.paid_nano) == (1, made.amount(1))
    assert shown.unsettled_nano == made.amount(0, 2)


def test_leaves_are_shown_with_their_state_where_data_is_at_hand(world: World) -> None:
    numbers = catalogues(world, 2)
    lines = [line for n in numbers for line in lines_of(n, 2, 3, days=2)]
    made = post(world, [*lines, *lines_of(99_999, 1)], prices=priced(*numbers, 99_999))
    reader = world.session("dev3")
    assert reader.tallies.show(made.batch).leaves is None
    made.settle(world.session("dev4"), 1, 2)
    shown = reader.tallies.show(made.batch, data=made.path)
    states = [(line.index, line.state, line.reason) for line in shown.leaves]
    assert states == [
        (0, "open", LeafFault.NONE),
        (1, "settled", LeafFault.NONE),
        (2, "void", LeafFault.DEAL_UNKNOWN),
    ]
    assert shown.tally.void_nano == made.amount(2)
    document = shown.leaves[0].document()
    assert document["units"] == {"view": 10, "download": 0, "excerpt": 0}
    assert (document["since"], document["until"]) == ("2024-05-10", "2024-05-11")


def test_the_platforms_own_copy_is_found_unasked_and_another_in_a_folder_by_its_digest(
    world: World,
) -> None:
    own = post(world, lines_of(world.catalogue, 1), keep=True)
    other = post(world, lines_of(world.catalogue, 2))
    reader = world.session("dev3")
    assert reader.tallies.show(own.batch).data.path == own.path
    assert reader.tallies.show(other.batch, data=other.path.parent).data.path == other.path
    with pytest.raises(InputError, match=f"no copy of the data of tally {other.batch}"):
        reader.tallies.settle(other.batch, all=True)


def test_data_that_does_not_rebuild_the_root_is_refused_with_both_roots(world: World) -> None:
    made, other = (post(world, lines_of(world.catalogue, n)) for n in (1, 2))
    session = world.session("dev3")
    before = session.ledger.tally(made.platform, made.batch)
    for ask in (
        lambda: session.tallies.settle(made.batch, all=True, data=other.path),
        lambda: session.tallies.show(made.batch, data=other.path),
        lambda: session.tallies.prove(world.work(), made.batch, data=other.path),
    ):
        with pytest.raises(InputError) as refused:
            ask()
        assert made.tree.root.hex() in str(refused.value)
        assert other.tree.root.hex() in str(refused.value)
    assert session.ledger.tally(made.platform, made.batch) == before


def test_data_with_one_unit_changed_is_refused(world: World) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = post(world, lines_of(world.catalogue, 5, 7))
    rows = pq.read_table(made.path)
    at = rows.schema.get_field_index("units")
    forged = world.folder / "forged.parquet"
    pq.write_table(rows.set_column(at, "units", pa.array([6, 6], pa.uint64())), forged)
    with pytest.raises(InputError, match="is not the data of tally"):
        world.session("dev3").tallies.settle(made.batch, all=True, data=forged)


def test_a_copy_that_was_written_anew_serves_as_well_as_the_original(world: World) -> None:
    import pyarrow.parquet as pq

    made = post(world, lines_of(world.catalogue, 5, 7))
    copy = world.folder / "copy.parquet"
    pq.write_table(pq.read_table(made.path), copy, compression="none")
    done = world.session("dev3").tallies.settle(made.batch, all=True, data=copy)
    assert done.paid_nano == made.tree.total


def test_a_batch_of_several_platforms_must_be_named_and_a_direct_report_is_no_tally(
    world: World,
) -> None:
    made = post(world, lines_of(world.catalogue, 1))
    world.session("dev2").platforms.deposit(10**8)
    other = post(world, lines_of(world.catalogue, 2), account="dev2")
    assert made.batch == other.batch
    reader = world.session("dev3")
    with pytest.raises(InputError, match="name one with --platform"):
        reader.tallies.show(made.batch)
    assert reader.tallies.show(made.batch, platform="dev2").tally.root == other.tree.root
    assert world.session("dev1").tallies.show(made.batch).tally.root == made.tree.root
    with pytest.raises(InputError, match="nobody has posted a tally as batch 77"):
        reader.tallies.show(77)


# --- choosing ---


@pytest.mark.parametrize(
    "choice",
    [{}, {"all": True, "mine": True}, {"leaves": [0], "work": "1/0"}, {"worth_gas": True}],
)
def test_leaves_are_chosen_in_exactly_one_way_and_worth_is_told(
    world: World, choice: dict[str, Any]
) -> None:
    made = post(world, lines_of(world.catalogue, 1))
    with pytest.raises(InputError):
        world.session("dev3").tallies.settle(made.batch, data=made.path, **choice)


def test_a_work_settles_the_leaves_that_hold_it_and_no_other(world: World) -> None:
    first, second = catalogues(world, 2)
    lines = [*lines_of(first, 2, 0, 3), *lines_of(second, 4)]
    made = post(world, lines)
    session = world.session("dev3")
    done = session.tallies.settle(made.batch, work=f"{second}/0", data=made.path)
    assert done.paid == [1]
    assert (accrued(world, first), accrued(world, second)) == (0, made.amount(1))
    with pytest.raises(InputError, match="no usage of work"):
        session.tallies.settle(made.batch, work=f"{first}/1", data=made.path)


def test_mine_are_the_leaves_of_deals_that_the_account_shares_in_or_produces(world: World) -> None:
    from royalty.shares import Share, make_split
    from tests.tally_world import day, tariff

    stranger, holder, producer = (world.session(f"dev{n}") for n in (4, 5, 6))
    split = make_split([Share(holder.account.address, 1_000_000)])
    opened = producer.send(producer.ledger.open(split, tariff(), day(-30)))
    theirs = opened.event("CatalogueOpened").args["catalogue"]
    made = post(world, [*lines_of(world.catalogue, 1), *lines_of(theirs, 2)])
    assert stranger.tallies.plan(made.batch, mine=True, data=made.path).chosen == ()
    assert producer.tallies.plan(made.batch, mine=True, data=made.path).chosen == (1,)
    done = holder.tallies.settle(made.batch, mine=True, data=made.path)
    assert (done.paid, accrued(world, theirs)) == ([1], made.amount(1))


def test_only_what_brings_more_than_its_gas_is_worth_it(world: World) -> None:
    numbers = catalogues(world, 3)
    views = (1, 500, 4_000)
    made = post(
        world, [line for n, v in zip(numbers, views, strict=True) for line in lines_of(n, v)]
    )
    session = world.session("dev3")
    plan = lambda price: session.tallies.plan(  # noqa: E731
        made.batch, worth_gas=True, coin_price=price, data=made.path
    )
    assert plan("0").chosen == (0, 1, 2)
    found = [plan(str(10**power)).chosen for power in range(10)]
    assert found == sorted(found, key=len, reverse=True)
    assert found[0] and found[-1] == ()
    for power in range(10):
        planned = plan(str(10**power))
        fee = session.node.block("latest").base_fee
        for span in planned.spans:
            assert made.amount(*span.indexes) * 10**18 > span.gas * fee * 10**power * 10**9


def test_a_leaf_that_is_not_worth_a_transaction_alone_is_worth_its_part_of_one(
    world: World,
) -> None:
    from royalty.merkle import DayLine
    from royalty.money import format_nano
    from royalty.settlement import gas_nano
    from tests.tally_world import day

    lines = [DayLine(world.catalogue, 1, day(at), Kind.VIEW, 0, 100) for at in range(30)]
    alone, many = post(world, lines[:1]), post(world, lines, leaf_bytes=20)
    session = world.session("dev3")
    tip = int(session.node.request("eth_maxPriorityFeePerGas"), 16)
    fee = session.node.block("latest").base_fee + tip
    price = alone.amount(0) * 10**18 // (35_000 * fee)  # an amount is worth 35,000 gas
    assert gas_nano(34_000, fee, price) < alone.amount(0) < gas_nano(40_000, fee, price)
    chosen = [
        session.tallies.plan(
            made.batch, worth_gas=True, coin_price=format_nano(price), data=made.path
        ).chosen
        for made in (alone, many)
    ]
    assert chosen == [(), tuple(range(30))]


def test_a_coins_price_comes_from_the_environment_or_the_settings(world: World) -> None:
    made = post(world, lines_of(world.catalogue, 100))
    (world.folder / "royalty.toml").write_text("coin_price = 1000000000.5\n")
    planned = world.session("dev3").tallies.plan(made.batch, worth_gas=True, data=made.path)
    assert (planned.chosen, planned.unworthy) == ((), 1)
    (world.folder / "royalty.toml").write_text("coin_price = 0\n")
    assert world.session("dev3").tallies.plan(
        made.batch, worth_gas=True, data=made.path
    ).chosen == (0,)


# --- settling ---


def test_everything_settles_once_and_again_sends_nothing(world: World) -> None:
    numbers = catalogues(world, 5)
    made = post(world, [line for n in numbers for line in lines_of(n, 1, 2, 3)])
    session = world.session("dev3")
    done = session.tallies.settle(made.batch, all=True, data=made.path)
    assert (done.paid, done.paid_nano) == ([0, 1, 2, 3, 4], made.tree.total)
    assert len(done.transactions) == 1
    assert [accrued(world, n) for n in numbers] == [made.amount(i) for i in range(5)]
    again = session.tallies.settle(made.batch, all=True, data=made.path)
    assert (again.paid, again.transactions) == ([], [])
    named = session.tallies.settle(made.batch, leaves=[2], data=made.path)
    assert (named.plan.already, named.transactions) == ((2,), [])


def test_neighbours_go_together_and_settled_leaves_between_them_do_not_part_them(
    world: World,
) -> None:
    numbers = catalogues(world, 6)
    made = post(world, [line for n in numbers for line in lines_of(n, 1)])
    session = world.session("dev3")
    made.settle(world.session("dev4"), 2, 1)
    done = session.tallies.settle(made.batch, leaves=[1, 3, 5], data=made.path)
    assert [(span.first, span.count) for span in done.plan.spans] == [(1, 3), (5, 1)]
    assert sorted(done.paid) == [1, 3, 5]
    assert settled(world, made.batch).unsettled_nano == made.amount(0, 4)


def test_void_leaves_go_back_to_the_platform_and_are_findings(world: World) -> None:
    first, second = catalogues(world, 2)
    wrong = priced(first) | {(second, 1): Tariff(1, 1, 1)}
    made = post(world, [*lines_of(first, 1), *lines_of(second, 9)], prices=wrong)
    platform = world.as_platform()
    funds = platform.ledger.platform(made.platform).funds_nano
    planned = platform.tallies.plan(made.batch, all=True, data=made.path)
    assert planned.faults == {1: LeafFault.AMOUNT_MISMATCH}
    done = platform.tallies.settle(made.batch, all=True, data=made.path)
    assert done.findings
    assert [(one["leaf"], one["reason"]) for one in done.void] == [(1, "amount_mismatch")]
    assert platform.ledger.platform(made.platform).funds_nano == funds + made.amount(1)
    assert settled(world, made.batch).void_nano == made.amount(1)


def test_what_is_void_is_never_worth_its_gas(world: World) -> None:
    made = post(
        world,
        [*lines_of(world.catalogue, 3), *lines_of(99_999, 9_000)],
        prices=priced(world.catalogue, 99_999),
    )
    planned = world.session("dev3").tallies.plan(
        made.batch, worth_gas=True, coin_price="0", data=made.path
    )
    assert planned.chosen == (0,)


def small_transactions(monkeypatch: pytest.MonkeyPatch, gas: int) -> None:
    """A chain whose transactions carry so much gas."""
    monkeypatch.setattr("royalty.settlement._gas_limit", lambda _: gas)


def test_many_leaves_go_in_transactions_that_fit_the_chains_limit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = catalogues(world, 12)
    made = post(world, [line for n in numbers for line in lines_of(n, 1)])
    small_transactions(monkeypatch, 130_000)
    done = world.session("dev3").tallies.settle(made.batch, all=True, data=made.path)
    assert sorted(done.paid) == list(range(12))
    assert len(done.transactions) >= 3
    assert done.gas <= done.plan.gas <= done.gas * 125 // 100
    assert settled(world, made.batch).unsettled_nano == 0


def test_a_run_that_turns_out_too_dear_is_halved_and_what_fits_nothing_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from royalty.settlement import carry_out

    numbers = catalogues(world, 7)
    made = post(world, [line for n in numbers for line in lines_of(n, 1)])
    session = world.session("dev3")
    planned = session.tallies.plan(made.batch, all=True, data=made.path)
    assert [span.count for span in planned.spans] == [7]
    small_transactions(monkeypatch, 110_000)
    done = carry_out(session, planned)
    assert (done.paid, done.meanwhile) == (list(range(7)), [])
    assert len(done.transactions) > 1
    more = post(world, lines_of(world.catalogue, 1))
    small_transactions(monkeypatch, 50_000)
    stuck = session.tallies.settle(more.batch, all=True, data=more.path)
    assert (stuck.too_large, stuck.transactions, stuck.findings) == ([0], [], True)


def test_a_run_for_which_the_node_has_too_little_gas_is_halved(
    world: World, anvil: Anvil, ledger: dict[str, Any]
) -> None:
    from royalty import Royalty

    numbers = catalogues(world, 4)
    made = post(world, [line for n in numbers for line in lines_of(n, 1)])
    with faulty_node(anvil.rpc) as node:
        session = Royalty.connect(
            account="dev3", rpc=node.rpc, contract=ledger["royalty"], folder=world.folder
        )
        node.fault = lambda method: (
            "too much gas"
            if method == "eth_estimateGas" and node.asked.count("eth_estimateGas") == 1
            else None
        )
        done = session.tallies.settle(made.batch, all=True, data=made.path)
    assert (done.paid, len(done.transactions)) == ([0, 1, 2, 3], 2)


def test_leaves_that_somebody_else_settles_meanwhile_are_shown_and_paid_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from royalty import settlement

    numbers = catalogues(world, 9)
    made = post(world, [line for n in numbers for line in lines_of(n, 1)])
    small_transactions(monkeypatch, 130_000)
    session, rival = world.session("dev3"), world.session("dev4")
    real, sent = settlement.send_once, []

    def interrupted(one: Any, call: Any) -> Any:
        if not sent:  # right before the first of ours lands, another settles some of it, and a later run whole
            made.settle(rival, 0, 2)
        elif len(sent) == 1:
            made.settle(rival, 7, 2)
        sent.append(call)
        return real(one, call)

    monkeypatch.setattr(settlement, "send_once", interrupted)
    done = session.tallies.settle(made.batch, all=True, data=made.path)
    assert sorted([*done.paid, *done.meanwhile]) == list(range(9))
    assert sorted(done.meanwhile) == [0, 1, 7, 8]
    assert (
        len(done.transactions) == len(sent) == len(done.plan.spans) - 1
    )  # none for what was taken
    assert [accrued(world, n) for n in numbers] == [made.amount(i) for i in range(9)]
    assert settled(world, made.batch).unsettled_nano == 0


def test_a_node_that_fails_in_the_middle_leaves_what_landed_and_says_what_is_pending(
    world: World, anvil: Anvil, ledger: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from royalty import Royalty

    numbers = catalogues(world, 9)
    made = post(world, [line for n in numbers for line in lines_of(n, 1)])
    small_transactions(monkeypatch, 130_000)
    with faulty_node(anvil.rpc) as node:
        session = Royalty.connect(
            account="dev3", rpc=node.rpc, contract=ledger["royalty"], folder=world.folder
        )
        sends = [0]

        def second_answer_is_lost(method: str) -> str | None:
            sends[0] += method == "eth_sendRawTransaction"
            return "drop after" if method == "eth_sendRawTransaction" and sends[0] == 2 else None

        node.fault = second_answer_is_lost
        with pytest.raises(NodeTimeout) as failed:
            session.tallies.settle(made.batch, all=True, data=made.path)
        assert len(failed.value.details["transactions"]) == 1
        assert "settle leaves" in failed.value.details["pending"][0]["description"]
        node.fault = lambda _: None
        again = session.tallies.settle(made.batch, all=True, data=made.path)
    assert settled(world, made.batch).unsettled_nano == 0
    assert [accrued(world, n) for n in numbers] == [made.amount(i) for i in range(9)]
    assert len(again.paid) < 9


def test_a_deal_that_can_keep_no_more_is_refused_by_the_ledger_in_words(world: World) -> None:
    made = post(world, lines_of(world.catalogue, 1))
    session = world.session("dev3")
    call = session.ledger.settle(made.platform, made.batch, 0, b"\x00" * 15, b"")
    with pytest.raises(Reverted, match="another root or total"):
        session.send(call)


# --- downloads, excerpts, several leaves a deal ---


def test_a_deal_of_several_leaves_settles_in_full(world: World) -> None:
    from royalty.merkle import DayLine
    from tests.tally_world import day

    lines = [
        DayLine(world.catalogue, 1, day(at), kind, index, 1 + at)
        for at in range(9)
        for kind in Kind
        for index in range(3)
    ]
    made = post(world, lines, leaf_bytes=200)
    assert len(made.claims) > 3
    done = world.session("dev3").tallies.settle(made.batch, work=world.work(1), data=made.path)
    assert accrued(world, world.catalogue) == done.paid_nano == made.amount(*done.paid)
    rest = world.session("dev3").tallies.settle(made.batch, all=True, data=made.path)
    assert accrued(world, world.catalogue) == made.tree.total == done.paid_nano + rest.paid_nano


# --- fetching ---


def test_nothing_is_fetched_unasked_and_what_is_fetched_serves_the_next_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = post(world, lines_of(world.catalogue, 5))
    asked = []

    def fetch(uri: str, digest: bytes, path: Path) -> None:
        asked.append((uri, digest))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made.path.read_bytes())

    monkeypatch.setattr("royalty.posted.fetch_file", fetch)
    session = world.session("dev3")
    assert session.tallies.show(made.batch).leaves is None
    with pytest.raises(InputError, match="--fetch"):
        session.tallies.settle(made.batch, all=True)
    assert asked == []
    assert session.tallies.show(made.batch, fetch=True).leaves
    (posted,) = session.tallies.all()
    assert asked == [(posted.uri, posted.data_digest)]
    assert session.tallies.settle(made.batch, all=True, fetch=True).paid == [0]
    assert len(asked) == 1


def test_a_tally_posted_without_an_address_cannot_be_fetched(world: World) -> None:
    made = post(world, lines_of(world.catalogue, 5), uri="")
    with pytest.raises(InputError, match="without an address"):
        world.session("dev3").tallies.settle(made.batch, all=True, fetch=True)
