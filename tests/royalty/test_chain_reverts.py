"""Refusals of contracts: each custom error has a sentence for people that says what to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.artifacts import artifact
from royalty.chain.codec import codec, encode
from royalty.chain.reverts import MESSAGES, decode_revert, revert_data

ERRORS = sorted(item["name"] for item in artifact("Royalty").abi if item["type"] == "error")
SAMPLES = {"address": "0x" + "ab" * 20, "bytes32": b"\1" * 32, "string": "no\nway", "bool": True}


def revert_of(name: str) -> bytes:
    entry = next(entry for entry in codec().errors.values() if entry.name == name)
    values = [SAMPLES.get(field["type"], 7) for field in entry.inputs]
    return entry.selector + encode(entry.inputs, values)


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_of_the_ledger_has_a_sentence(name: str) -> None:
    assert name in MESSAGES
    error = decode_revert(revert_of(name))
    assert error.name == name
    assert error.exit_code == 3
    assert "(" not in str(error).split(" ")[0]
    assert "\n" not in str(error)
    assert len(str(error)) > 20


def test_every_sentence_is_of_an_error_that_exists() -> None:
    known = {entry.name for entry in codec().errors.values()}
    foreign = {"Reentrancy", "ERC721NonexistentToken"}
    assert set(MESSAGES) - known <= foreign


def test_arguments_are_decoded_and_amounts_shown_in_tokens() -> None:
    platform = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
    entry = next(e for e in codec().errors.values() if e.name == "FundsInsufficient")
    error = decode_revert(
        entry.selector + encode(entry.inputs, [platform, 5_000_000_000, 2_000_000_001])
    )
    assert error.arguments == {
        "platform": platform,
        "needed": 5_000_000_000,
        "available": 2_000_000_001,
    }
    assert "has 2.000000001 tokens and needs 5 tokens" in str(error)
    assert "deposit 2.999999999 more" in str(error)


def test_a_reason_in_words_is_kept_on_one_line() -> None:
    assert str(decode_revert(revert_of("Error"))) == "the contract refused: no way"


@given(st.binary(max_size=200))
def test_hostile_bytes_are_an_error_too(data: bytes) -> None:
    assert decode_revert(data).exit_code == 3


@given(st.sampled_from(ERRORS), st.binary(max_size=100))
def test_a_known_error_with_hostile_arguments_keeps_its_name(name: str, rest: bytes) -> None:
    assert decode_revert(revert_of(name)[:4] + rest).name == name


@pytest.mark.parametrize(
    ("error", "data"),
    [
        (
            {"code": 3, "message": "execution reverted", "data": "0x12345678"},
            bytes.fromhex("12345678"),
        ),
        ({"code": -32000, "message": "execution reverted"}, b""),
        (
            {"code": -32015, "message": "VM error", "data": "Reverted 0x12345678"},
            bytes.fromhex("12345678"),
        ),
        (
            {"code": -32603, "message": "x", "data": {"data": "0x12345678"}},
            bytes.fromhex("12345678"),
        ),
        ({"code": -32000, "message": "nonce too low"}, None),
        ({"code": -32602, "message": "bad params", "data": "0x"}, None),
    ],
)
def test_each_nodes_way_to_tell_of_a_revert_is_understood(
    error: dict[str, object], data: bytes | None
) -> None:
    assert revert_data(error) == data
