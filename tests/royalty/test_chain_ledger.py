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
from royalty.shares import Share, make_split, split_hash
from royalty.usage import Kind, Line, Tariff, group_lines, pack_usage

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
