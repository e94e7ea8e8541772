"""The ledger on a real chain: each call does what its name says, each read comes back typed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from royalty.chain.accounts import DEV_ACCOUNTS
from royalty.chain.amendments import amendment_typed_data, signer_of, typed_digest
from royalty.chain.events import decode_log, topic_of
from royalty.chain.ledger import Ledger
from royalty.client import Royalty
from royalty.errors import NoContract, Reverted
from royalty.merkle import Claim, DayLine, LeafFault, pack_claims
from royalty.shares import Share, make_split, split_hash
from royalty.usage import Kind, Line, Tariff, group_lines, pack_usage
from tests.tallies import claims_of, lying_tree, post

pytestmark = pytest.mark.chain

PRODUCER, PLATFORM, REPORTER, COMPOSER = (address for address, _ in DEV_ACCOUNTS[:4])
SPLIT = make_split([Share(PRODUCER, 400_000), Share(COMPOSER, 600_000)])
TARIFF = Tariff(view=3_000_000, download=500_000_000, excerpt=100_000)
Sessions = Callable[..., Royalty]


def open_catalogue(producer: Royalty, tariff: Tariff = TARIFF) -> int:
    receipt = producer.send(producer.ledger.open(SPLIT, tariff, producer.today() - 1, "data:,x"))
    return int(receipt.event("CatalogueOpened").args["catalogue"])


def fund(platform: Royalty, amount: int) -> None:
    platform.send_all([platform.ledger.approve(amount), platform.ledger.deposit(PLATFORM, amount)])


def test_the_token_is_read_once_and_typed(session: Sessions) -> None:
    token = session().token
    assert (token.symbol, token.decimals, token.unit.decimals) == ("TUSD", 6, 6)
    assert session().ledger.token_balance(PLATFORM) <= 1_000_000 * 10**6


def test_an_opened_catalogue_is_read_back(session: Sessions) -> None:
    producer = session("dev0")
    today = producer.today()
    receipt = producer.send(
        producer.ledger.open(SPLIT, TARIFF, today - 1, "https://x.example/deal")
    )
    opened = receipt.event("CatalogueOpened")
    number = opened.args["catalogue"]
    assert opened.args["owner"] == PRODUCER
    assert opened.args["tariff"] == {
        "viewPrice": 3_000_000,
        "downloadPrice": 500_000_000,
        "excerptPrice": 100_000,
    }
    assert opened.args["uri"] == "https://x.example/deal"
    state = producer.ledger.catalogue(number)
    assert (state.owner, state.version, state.works) == (PRODUCER, 1, 0)
    deal = producer.ledger.deal(number, 1)
    assert deal.exists
    assert (deal.tariff, deal.from_day, deal.until_day, deal.accrued_nano) == (
        TARIFF,
        today - 1,
        None,
        0,
    )
    assert deal.split_hash == split_hash(SPLIT)
    assert producer.ledger.version_on(number, today) == 1
    assert producer.ledger.version_on(number, today - 2) == 0
    assert not producer.ledger.deal(number, 2).exists
    assert producer.ledger.catalogues() >= number


def test_usage_goes_from_a_report_to_the_holders_wallet(session: Sessions) -> None:
    producer, platform = session("dev0"), session("dev1")
    number = open_catalogue(producer)
    fingerprints = [hashlib.sha256(bytes([n])).digest() for n in range(3)]
    registered = producer.send(producer.ledger.register(number, fingerprints, bytes(32), ""))
    assert registered.event("WorksRegistered").args["fingerprints"] == fingerprints
    fund(platform, 10 * 10**6)
    before = platform.ledger.platform(PLATFORM)
    usage = pack_usage(
        group_lines([Line(number, 1, Kind.VIEW, 0, 7), Line(number, 1, Kind.DOWNLOAD, 2, 1)])
    )
    total = 7 * TARIFF.view + TARIFF.download
    call = platform.ledger.report(
        PLATFORM, before.next_batch, platform.today(), b"\7" * 32, total, usage
    )
    reported = platform.send(call).event("UsageReported")
    assert (reported.args["total"], reported.args["usage"]) == (total, usage)
    after = platform.ledger.platform(PLATFORM)
    assert (after.funds_nano, after.batches) == (before.funds_nano - total, before.batches + 1)
    assert platform.ledger.deal(number, 1).accrued_nano == total

    wallet = producer.ledger.token_balance(COMPOSER)
    producer.send(producer.ledger.allocate([(number, 1, SPLIT)]))
    owed = producer.ledger.balance_nano(COMPOSER)
    assert owed >= total * 600_000 // 1_000_000
    withdrawn = producer.send(producer.ledger.withdraw(COMPOSER)).event("Withdrawn")
    assert withdrawn.args["amount"] == owed // 1_000
    assert producer.ledger.token_balance(COMPOSER) == wallet + owed // 1_000


def test_reporters_limits_payees_and_payments_are_read_back(session: Sessions) -> None:
    platform, ledger = session("dev1"), session().ledger
    number = open_catalogue(session("dev0"))
    platform.send_all([ledger.set_reporter(REPORTER, True), ledger.set_limit(5_000_000)])
    assert ledger.is_reporter(PLATFORM, REPORTER)
    assert ledger.platform(PLATFORM).limit_nano == 5_000_000_000
    platform.send(ledger.set_payee(COMPOSER))
    assert ledger.payees([PLATFORM, REPORTER]) == [COMPOSER, REPORTER]
    platform.send(ledger.set_payee(None))
    assert ledger.payee(PLATFORM) == PLATFORM
    platform.send_all([ledger.approve(10**6), ledger.pay(number, 10**6, b"tips")])
    assert ledger.deal(number, 1).accrued_nano == 10**9
    platform.send(ledger.set_reporter(REPORTER, False))
    assert not ledger.is_reporter(PLATFORM, REPORTER)


def test_allocate_and_pay_and_transfer(session: Sessions) -> None:
    producer, ledger = session("dev0"), session().ledger
    number = open_catalogue(producer)
    producer.send_all([ledger.approve(2 * 10**6), ledger.pay(number, 2 * 10**6, b"sale")])
    paid = producer.send(ledger.allocate_and_pay([(number, 1, SPLIT)], [PRODUCER, COMPOSER]))
    assert [event.args["holder"] for event in paid.events if event.name == "Withdrawn"] == [
        PRODUCER,
        COMPOSER,
    ]
    producer.send(ledger.withdraw_many([PRODUCER, COMPOSER]))
    producer.send(ledger.transfer(number, PRODUCER, REPORTER))
    assert ledger.catalogue(number).owner == REPORTER


def test_many_values_of_one_block_come_in_batches(session: Sessions) -> None:
    producer, ledger = session("dev0"), session().ledger
    number = open_catalogue(producer)
    block = producer.node.head()
    producer.send_all([ledger.approve(10**6), ledger.pay(number, 10**6, b"later")])
    assert [deal.accrued_nano for deal in ledger.deals([(number, 1)] * 250, block)] == [0] * 250
    assert ledger.deals([(number, 1)])[0].accrued_nano == 10**9
    assert len(ledger.balances_nano([PRODUCER, COMPOSER] * 200)) == 400
    assert [state.catalogue for state in ledger.catalogues_of([number, 1])] == [number, 1]
    assert ledger.deals([]) == []


def test_an_amendment_signed_here_is_what_the_contract_wants_signed(session: Sessions) -> None:
    producer, composer = session("dev0"), session("dev3")
    ledger, number = producer.ledger, open_catalogue(producer)
    new_split = make_split([Share(PRODUCER, 500_000), Share(COMPOSER, 500_000)])
    new_tariff, day = Tariff(2_000_000, 0, 1), producer.today() + 2
    deadline = producer.node.block().timestamp + 86_400
    typed = amendment_typed_data(
        chain_id=producer.node.chain_id,
        ledger=ledger.address,
        catalogue=number,
        version=1,
        producer=PRODUCER,
        from_day=day,
        tariff=new_tariff,
        split=new_split,
        deadline=deadline,
    )
    digest = ledger.amendment_digest(number, day, new_tariff, deadline, new_split)
    assert typed_digest(typed) == digest
    signed = {
        party.account.address: party.account.sign_typed(typed) for party in (producer, composer)
    }
    assert all(signer_of(typed, signature) == who for who, signature in signed.items())
    assert signer_of(typed, b"nonsense") is None

    def amend(signatures: dict[str, bytes]) -> Any:
        listed = [signatures.get(share.holder, b"") for share in SPLIT]
        return ledger.amend(number, day, new_tariff, deadline, SPLIT, new_split, listed)

    with pytest.raises(Reverted, match="has not signed") as missing:
        producer.send(amend({PRODUCER: signed[PRODUCER]}))
    assert missing.value.arguments == {"holder": COMPOSER}
    amended = producer.send(amend(signed)).event("DealAmended")
    assert amended.args["version"] == 2
    old, new = ledger.deals([(number, 1), (number, 2)])
    assert (old.until_day, new.from_day, new.until_day) == (day, day, None)


def test_logs_decode_as_the_receipt_does(session: Sessions) -> None:
    producer = session("dev0")
    receipt = producer.send(producer.ledger.open(SPLIT, TARIFF, producer.today(), ""))
    logs = producer.node.logs(
        producer.ledger.address, receipt.block, receipt.block, [topic_of("CatalogueOpened")]
    )
    decoded = [decode_log(log) for log in logs]
    assert decoded == [receipt.event("CatalogueOpened")]
    reference = producer.node.w3.eth.contract(
        address=producer.ledger.address, abi=_abi()
    ).events.CatalogueOpened()
    web3_log = producer.node.w3.eth.get_transaction_receipt(receipt.transaction)["logs"][-1]
    other = reference.process_log(web3_log)["args"]
    assert {**other, "tariff": dict(other["tariff"])} == decoded[0].args


def tally_claims(number: int, day: int) -> list[Claim]:
    """Three leaves of a deal; the second claims more than its price."""
    lines = [DayLine(number, 1, day, Kind.VIEW, 0, 5), DayLine(number, 1, day, Kind.EXCERPT, 1, 9)]
    first, second, third = claims_of(
        [*lines, DayLine(number, 1, day, Kind.EXCERPT, 2, 1)], {(number, 1): TARIFF}, most=17
    )
    return [first, Claim(second.leaf, second.amount + 1), third]


def test_a_tally_goes_from_its_root_to_the_deals_leaf_by_leaf(session: Sessions) -> None:
    producer, platform, ledger = session("dev0"), session("dev1"), session().ledger
    number, day = open_catalogue(producer), platform.today()
    fund(platform, 10**6)
    before = ledger.platform(PLATFORM)
    claims = tally_claims(number, day)
    posted = post(platform, claims, day, evidence=b"\1" * 32, digest=b"\2" * 32, uri="ipfs://x")
    assert posted.batch == before.next_batch
    assert ledger.platform(PLATFORM).funds_nano == before.funds_nano - posted.total
    block = ledger.node.head()
    fresh = ledger.tally(PLATFORM, posted.batch)
    assert (fresh.total_nano, fresh.settled_nano, fresh.unsettled_nano) == (
        posted.total,
        0,
        posted.total,
    )
    assert (fresh.leaves, fresh.settled_leaves, fresh.day) == (3, 0, day)
    assert fresh.root == posted.tree.root
    assert fresh.exists and not ledger.tally(PLATFORM, posted.batch + 1).exists

    settled = posted.settle(producer, 0, 2)
    assert settled.event("LeafSettled").args["amount"] == claims[0].amount
    void = settled.event("LeafVoid").args
    assert (void["index"], void["leaf"], void["amount"], void["reason"]) == (
        1,
        claims[1].leaf,
        claims[1].amount,
        LeafFault.AMOUNT_MISMATCH,
    )
    assert ledger.deal(number, 1).accrued_nano == claims[0].amount
    assert ledger.platform(PLATFORM).funds_nano == before.funds_nano - posted.total + void["amount"]
    assert ledger.are_settled(PLATFORM, posted.batch, range(3)) == [True, True, False]
    assert ledger.is_settled(PLATFORM, posted.batch, 1)
    assert ledger.are_settled(PLATFORM, posted.batch, range(3), block) == [False] * 3
    then, now = (ledger.tallies([(PLATFORM, posted.batch)], at)[0] for at in (block, "latest"))
    assert then == fresh
    assert (now.settled_leaves, now.unsettled_nano) == (2, claims[2].amount)
    with pytest.raises(Reverted, match="another root or total"):
        proof = posted.tree.prove(1)
        producer.send(ledger.settle(PLATFORM, posted.batch, 1, pack_claims([claims[0]]), proof))


def test_a_broken_node_is_closed_and_a_sound_one_is_not(session: Sessions) -> None:
    producer, platform, ledger = session("dev0"), session("dev1"), session().ledger
    number, day = open_catalogue(producer), platform.today()
    fund(platform, 10**6)
    claims = tally_claims(number, day)[:2]
    before = ledger.platform(PLATFORM).funds_nano
    posted = post(platform, claims, day, tree=lying_tree(claims, 7))
    left, right = (posted.tree.levels[0][at : at + 44] for at in (0, 44))
    wrong = b"\0" + claims[1].amount.to_bytes(12, "big") + claims[1].leaf
    total = claims[1].amount + 7
    closed = producer.send(ledger.close_node(PLATFORM, posted.batch, 0, 1, total, wrong, left))
    assert closed.event("NodeVoid").args == {
        "platform": PLATFORM,
        "batch": posted.batch,
        "level": 0,
        "index": 1,
        "amount": total,
    }
    sound = b"\0" + claims[0].amount.to_bytes(12, "big") + claims[0].leaf
    with pytest.raises(Reverted, match="is not broken"):
        producer.send(
            ledger.close_node(PLATFORM, posted.batch, 0, 0, claims[0].amount, sound, right)
        )
    posted.settle(producer, 0, 1)
    assert ledger.tally(PLATFORM, posted.batch).unsettled_nano == 0
    assert ledger.platform(PLATFORM).funds_nano == before - claims[0].amount


def test_logs_of_tallies_decode_as_web3_decodes_them(session: Sessions) -> None:
    producer, platform, ledger = session("dev0"), session("dev1"), session().ledger
    number, day = open_catalogue(producer), platform.today()
    fund(platform, 10**6)
    first = producer.node.head() + 1
    claims = tally_claims(number, day)
    posted = post(platform, claims, day, uri="ipfs://\u202e")
    posted.settle(producer)
    broken = post(platform, claims[:2], day, tree=lying_tree(claims[:2], 7))
    wrong = b"\0" + claims[1].amount.to_bytes(12, "big") + claims[1].leaf
    left, total = broken.tree.levels[0][:44], claims[1].amount + 7
    producer.send(ledger.close_node(PLATFORM, broken.batch, 0, 1, total, wrong, left))
    events = read_back(producer, first)
    assert [event.name for event in events] == [
        "TallyPosted",
        "LeafSettled",
        "LeafVoid",
        "LeafSettled",
        "TallyPosted",
        "NodeVoid",
    ]
    contract = producer.node.w3.eth.contract(address=ledger.address, abi=_abi())
    for event in events:
        receipt = producer.node.w3.eth.get_transaction_receipt(event.transaction)
        (log,) = (log for log in receipt["logs"] if log["logIndex"] == event.log_index)
        assert dict(contract.events[event.name]().process_log(log)["args"]) == event.args


def read_back(royalty: Royalty, first: int) -> list[Any]:
    """The events from a block on, as the index and the records give them; both must agree."""
    from royalty import index, records

    names = ("TallyPosted", "LeafSettled", "LeafVoid", "NodeVoid")
    kept = [event for name in names for event in index.events(royalty, name)]
    read = [event for name in names for event in records.read_events(royalty, name)]
    place = [(event.name, event.args, event.block, event.log_index) for event in read]
    assert [(event.name, event.args, event.block, event.log_index) for event in kept] == place
    return sorted((event for event in kept if event.block >= first), key=lambda event: event.order)


def _abi() -> list[Any]:
    from royalty.artifacts import artifact

    return list(artifact("Royalty").abi)


def test_foreign_logs_are_passed_over() -> None:
    log = {"topics": ["0x" + "ab" * 32], "data": "0x", "address": PRODUCER}
    assert decode_log(log) is None
    assert decode_log({**log, "topics": []}) is None
    assert decode_log({**log, "topics": [topic_of("CatalogueOpened")]}) is None


def test_no_code_and_foreign_code_are_no_ledger(session: Sessions) -> None:
    node, token = session().node, session().token.address
    with pytest.raises(NoContract, match="no contract at"):
        Ledger.connect(node, PRODUCER)
    with pytest.raises(NoContract, match="no Royalty ledger"):
        Ledger.connect(node, token)


def test_an_unknown_catalogue_does_not_exist(session: Sessions) -> None:
    producer = session("dev0")
    assert not producer.ledger.catalogue(4_000_000).exists
    with pytest.raises(Reverted, match="catalogue 4000000"):
        producer.send(producer.ledger.register(4_000_000, [bytes(32)], bytes(32), ""))
