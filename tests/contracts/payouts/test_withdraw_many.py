"""`withdrawMany`: each holder's payout stands alone; one that fails harms nobody else's."""

import pytest
from helpers import BROKEN, Habit, event, events, pack_allocations, refused


@pytest.fixture(scope="module")
def usd(HostileToken, accounts):
    """A token of six decimals whose transfers can be made to go wrong, receiver by receiver."""
    return HostileToken.deploy(6, {"from": accounts[0]})


@pytest.fixture(scope="module", autouse=True)
def earned(ledger, pay_in, catalogue, split, stranger):
    """Each holder has a balance: the director 0.5, the composer 0.3, the producer 0.2 tokens."""
    pay_in(catalogue, 1_000_000)
    ledger.allocate(pack_allocations((catalogue, 1, split)), {"from": stranger})


def test_many_are_paid_at_once(ledger, usd, director, composer, producer, stranger):
    tx = ledger.withdrawMany([director, composer, producer], {"from": stranger})
    assert [usd.balanceOf(who) for who in (director, composer, producer)] == [
        500_000,
        300_000,
        200_000,
    ]
    assert usd.balanceOf(ledger) == 0
    assert [paid["amount"] for paid in events(tx, "Withdrawn")] == [500_000, 300_000, 200_000]
    assert events(tx, "PayoutSkipped") == []


def test_who_has_nothing_is_passed_over(ledger, usd, director, editor, stranger):
    tx = ledger.withdrawMany([editor, director, editor], {"from": stranger})
    assert event(tx, "Withdrawn")["holder"] == director


def test_a_holder_named_twice_is_paid_once(ledger, usd, director, stranger):
    tx = ledger.withdrawMany([director, director], {"from": stranger})
    assert event(tx, "Withdrawn")["amount"] == usd.balanceOf(director) == 500_000


def test_an_empty_list_does_nothing(ledger, stranger):
    assert events(ledger.withdrawMany([], {"from": stranger}), "Withdrawn") == []


@pytest.mark.parametrize("habit", BROKEN, ids=lambda habit: habit.name.lower())
def test_a_holder_who_cannot_be_paid_keeps_the_balance_and_holds_up_nobody(
    ledger, usd, director, composer, producer, stranger, habit
):
    usd.setHabit(composer, habit, {"from": stranger})
    tx = ledger.withdrawMany([director, composer, producer], {"from": stranger})
    assert event(tx, "PayoutSkipped") == {"holder": composer, "to": composer, "amount": 300_000}
    assert {paid["holder"] for paid in events(tx, "Withdrawn")} == {director, producer}
    assert ledger.balanceOfHolder(composer) == 300_000_000
    assert usd.balanceOf(composer) == 0
    assert usd.balanceOf(ledger) == 300_000


@pytest.mark.parametrize("habit", BROKEN, ids=lambda habit: habit.name.lower())
def test_a_skipped_holder_is_paid_when_the_token_lets_it(ledger, usd, composer, stranger, habit):
    usd.setHabit(composer, habit, {"from": stranger})
    ledger.withdrawMany([composer], {"from": stranger})
    usd.setHabit(composer, Habit.HONEST, {"from": stranger})
    ledger.withdrawMany([composer], {"from": stranger})
    assert usd.balanceOf(composer) == 300_000


def test_a_skipped_holder_can_name_a_payee_that_is_not_blocked(
    ledger, usd, composer, editor, stranger
):
    usd.setHabit(composer, Habit.REVERTS, {"from": stranger})
    ledger.withdrawMany([composer], {"from": stranger})
    ledger.setPayee(editor, {"from": composer})
    ledger.withdrawMany([composer], {"from": stranger})
    assert usd.balanceOf(editor) == 300_000


@pytest.mark.parametrize("habit", [Habit.RETURNS_NOTHING, Habit.RETURNS_HUGELY])
def test_tokens_that_answer_oddly_but_pay_are_taken(ledger, usd, director, stranger, habit):
    """Some old tokens return nothing; what counts is that the money arrived."""
    usd.setHabit(director, habit, {"from": stranger})
    ledger.withdrawMany([director], {"from": stranger})
    assert usd.balanceOf(director) + ledger.balanceOfHolder(director) // 1_000 == 500_000


@pytest.mark.parametrize("call", ["withdraw", "withdrawMany", "deposit", "withdrawFunds", "pay"])
def test_a_token_that_calls_back_gets_nothing(
    ledger, usd, catalogue, director, composer, stranger, call
):
    """The token tries to move money in the middle of a payout; the guard answers."""
    back = {
        "withdraw": ledger.withdraw.encode_input(composer),
        "withdrawMany": ledger.withdrawMany.encode_input([composer]),
        "deposit": ledger.deposit.encode_input(stranger, 1),
        "withdrawFunds": ledger.withdrawFunds.encode_input(1, stranger),
        "pay": ledger.pay.encode_input(catalogue, 1, b"\0" * 32, b"\0" * 32),
    }[call]
    usd.setCallback(ledger, back, {"from": stranger})
    usd.setHabit(director, Habit.CALLS_BACK, {"from": stranger})
    ledger.withdrawMany([director], {"from": stranger})
    assert usd.balanceOf(director) == 500_000
    assert not usd.succeeded()
    assert ledger.balanceOfHolder(composer) == 300_000_000


def test_the_isolated_payout_is_the_ledgers_alone(ledger, director, stranger):
    """Nobody else can call it, not even the holder for its own money."""
    for sender in (stranger, director):
        with refused("OnlySelf", sender):
            ledger.push(director, 1_000_000, {"from": sender})


def test_too_little_gas_is_said_instead_of_skipping(ledger, usd, director, stranger):
    """Whoever calls cannot make somebody's payout fail by sending little gas."""
    with refused("GasTooLow", ...):
        ledger.withdrawMany([director], {"from": stranger, "gas_limit": 250_000})
    assert ledger.balanceOfHolder(director) == 500_000_000


@pytest.mark.parametrize("habit", [Habit.TAKES_FEE, Habit.MOVES_LESS, Habit.MOVES_MORE])
def test_a_token_that_does_not_move_the_exact_amount_is_refused_coming_in(
    ledger, usd, catalogue, platform, habit
):
    usd.mint(platform, 1_000, {"from": platform})
    usd.approve(ledger, 1_000, {"from": platform})
    usd.setHabit(ledger, habit, {"from": platform})
    off = 1 if habit == Habit.MOVES_MORE else -1
    with refused("TransferNotExact", 100, 100 + off):
        ledger.deposit(platform, 100, {"from": platform})
    with refused("TransferNotExact", 100, 100 + off):
        ledger.pay(catalogue, 100, b"\0" * 32, b"\0" * 32, {"from": platform})
