"""`audit trace`: money from usage to transfer, each amount from the one before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from royalty.errors import InputError
from tests.conftest import Anvil
from tests.month import HOLDERS, Month, month

TOTAL = 2_656_200_246
TIP = 5_000_000_000


@pytest.fixture
def here(session: Callable[..., Any], folder: Path, anvil: Anvil) -> Iterator[Month]:
    with month(session, folder, anvil) as made:
        yield made


def pay(m: Month, *holders: str) -> None:
    from royalty.shares import Share, make_split

    payer = m.session("dev3")
    split = make_split([Share(holder, ppm) for holder, ppm in HOLDERS])
    payer.send(payer.ledger.allocate_and_pay([(m.catalogue, 1, split)], list(holders)))


def told(m: Month, what: str, **options: Any) -> Any:
    return m.auditor().audit.trace(what, **options)


def test_a_works_money_is_followed_to_the_transfers(here: Month) -> None:
    plans = here.plans()
    numbers = here.report(plans)
    producer = here.session("dev0")
    producer.send(producer.ledger.approve(TIP // 1000))
    producer.send(producer.ledger.pay(here.catalogue, TIP // 1000, b"tips"))
    director, composer = (holder for holder, _ in HOLDERS)
    pay(here, director)
    found = told(here, f"{here.catalogue}/0")
    assert found.differences == ()
    worth = {
        key: units * here.prices.price(key[2])
        for plan in plans
        for key, units in plan.usage.items()
        if key[1] == 0
    }
    assert {(one.cell.day, 0, one.cell.kind): one.amount_nano for one in found.credits} == worth
    assert {one.batch for one in found.credits} <= set(numbers)
    (deal,) = found.deals
    assert (deal.usage_nano, deal.payments_nano) == (TOTAL, TIP), "a deal is divided whole"
    both = TOTAL + TIP
    parts = {holder: both * ppm // 10**6 for holder, ppm in HOLDERS}
    assert deal.allocated_nano == sum(parts.values())
    assert deal.accrued_nano == both - sum(parts.values())
    holders = {one.holder: one for one in found.holders}
    assert {name: one.credited_nano for name, one in holders.items()} == parts
    assert holders[director].withdrawn_nano == parts[director] // 1000 * 1000
    assert holders[director].balance_nano == parts[director] % 1000
    assert (holders[composer].withdrawn_nano, holders[composer].transfers) == (0, ())
    assert holders[composer].balance_nano == parts[composer]


def test_a_batch_and_a_holder_are_followed_too(here: Month) -> None:
    plans = here.plans()
    numbers = here.report(plans)
    director = HOLDERS[0][0]
    batch = told(here, str(numbers[-1]))
    assert {one.leaf is not None for one in batch.credits} == {True}
    assert batch.amount_nano == sum(
        units * here.prices.price(key[2]) for key, units in plans[-1].usage.items()
    )
    holder = told(here, director)
    assert (holder.what, holder.of, holder.amount_nano) == ("holder", director, TOTAL)
    assert [one.holder for one in holder.holders] == [director]
    assert holder.holders[0].credited_nano == 0, "nobody has allocated yet"
    assert holder.deals[0].accrued_nano == TOTAL
    nobody = here.session("dev9").account.address
    for what, message in (
        ("99", "no batch 99"),
        ("9999/0", "no catalogue 9999"),
        (nobody, "a share in no deal"),
        ("who", "who"),
    ):
        with pytest.raises(InputError, match=message):
            told(here, what)
    assert told(here, f"{here.catalogue}/0", platform=nobody).credits == ()


def test_a_state_that_the_events_do_not_explain_is_a_finding(here: Month, anvil: Anvil) -> None:
    here.report(here.plans())
    from royalty.chain.codec import codec

    ledger = here.platform.ledger
    data = "0x" + codec().call_data("dealOf", [here.catalogue, 1]).hex()
    asked = {"to": ledger.address, "data": data}
    listed = anvil.request("eth_createAccessList", asked, "latest")["accessList"]
    for slot in (key for entry in listed for key in entry["storageKeys"]):
        before = int(anvil.request("eth_getStorageAt", ledger.address, slot, "latest"), 16)
        if before & (2**96 - 1) == TOTAL:
            anvil.request("anvil_setStorageAt", ledger.address, slot, f"0x{before + 1:064x}")
    anvil.request("evm_mine")
    (wrong,) = told(here, f"{here.catalogue}/0").differences
    assert (wrong.what, wrong.state_nano, wrong.events_nano) == ("accrued", TOTAL + 1, TOTAL)


def test_the_command_shows_it(here: Month, run: Callable[..., Any]) -> None:
    here.report(here.plans())
    pay(here, *(holder for holder, _ in HOLDERS))
    document = run("audit", "trace", f"{here.catalogue}/0").document
    assert document["differences"] == []
    assert document["deals"][0]["usage_nano"] == str(TOTAL)
    assert len(document["holders"]) == 2
    shown = run("audit", "trace", f"{here.catalogue}/0", json=False).stdout
    assert "to the nano-token" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "no batch 77" in run("audit", "trace", "77", exit=2).stderr
