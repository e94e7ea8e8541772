"""What the contract tests share: the packed encodings, signatures and refusals.

Written from contracts/interfaces/IRoyalty.sol alone, on purpose without the royalty package: where
the two disagree, one of them has misread the interface.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, NamedTuple

import pytest
from brownie import web3
from brownie.exceptions import VirtualMachineError
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils import keccak, to_canonical_address, to_checksum_address

WHOLE = 1_000_000
DAY = 86_400
NANO = 10**9
ZERO_ADDRESS = "0x" + "0" * 40
NOTHING = b"\x00" * 32

VIEW, DOWNLOAD, EXCERPT = range(3)


class Habit(IntEnum):
    """How transfers of HostileToken to a receiver go."""

    HONEST = 0
    RETURNS_NOTHING = 1
    CALLS_BACK = 2
    TAKES_FEE = 3
    MOVES_LESS = 4
    MOVES_MORE = 5
    MOVES_NOTHING = 6
    RETURNS_FALSE = 7
    MOVES_BUT_RETURNS_FALSE = 8
    REVERTS = 9
    REVERTS_HUGELY = 10
    RETURNS_HUGELY = 11
    SPENDS_GAS = 12
    BURNS_ALL_GAS = 13


# Habits under which not exactly the amount leaves the ledger: it must not pay then.
BROKEN = [
    Habit.MOVES_LESS,
    Habit.MOVES_MORE,
    Habit.MOVES_NOTHING,
    Habit.RETURNS_FALSE,
    Habit.MOVES_BUT_RETURNS_FALSE,
    Habit.REVERTS,
    Habit.REVERTS_HUGELY,
    Habit.BURNS_ALL_GAS,
]


class Tariff(NamedTuple):
    """Prices in nano-tokens."""

    view: int
    download: int
    excerpt: int


class DealState(NamedTuple):
    """What `dealOf` answers, in one row."""

    accrued: int
    view: int
    download: int
    excerpt: int
    from_day: int
    until_day: int
    exists: bool
    split_hash: str


class PlatformState(NamedTuple):
    """What `platformOf` answers."""

    funds: int
    batches: int
    limit: int
    spent: int
    spent_day: int


class Group(NamedTuple):
    """Units of some works of one deal and one kind."""

    catalogue: int
    version: int
    kind: int
    pairs: tuple[tuple[int, int], ...]


# --- Packed encodings ---


def split_entries(shares: Mapping[Any, int]) -> list[tuple[str, int]]:
    """The holders of a split with their ppm, in the order that the ledger wants."""
    entries = [(to_checksum_address(str(holder)), ppm) for holder, ppm in shares.items()]
    return sorted(entries, key=lambda entry: int(entry[0], 16))


def pack_entries(entries: Iterable[tuple[Any, int]]) -> bytes:
    """Pack holders in the order given: 24 bytes each."""
    return b"".join(
        to_canonical_address(str(holder)) + ppm.to_bytes(4, "big") for holder, ppm in entries
    )


def pack_split(shares: Mapping[Any, int]) -> bytes:
    """Pack a split as the ledger wants it."""
    return pack_entries(split_entries(shares))


def pack_usage(*groups: Group | tuple[int, int, int, Iterable[tuple[int, int]]]) -> bytes:
    """Pack usage: a head of 9 bytes a group, 6 bytes a pair."""
    packed = b""
    for catalogue, version, kind, pairs in groups:
        pairs = list(pairs)
        packed += catalogue.to_bytes(4, "big") + version.to_bytes(2, "big")
        packed += kind.to_bytes(1, "big") + len(pairs).to_bytes(2, "big")
        for index, units in pairs:
            packed += index.to_bytes(3, "big") + units.to_bytes(3, "big")
    return packed


def pack_allocations(*deals: tuple[int, int, bytes]) -> bytes:
    """Pack allocations: each deal's catalogue, version and packed split."""
    packed = b""
    for catalogue, version, split in deals:
        packed += catalogue.to_bytes(4, "big") + version.to_bytes(2, "big")
        packed += (len(split) // 24).to_bytes(2, "big") + split
    return packed


def split_hash(split: bytes) -> str:
    """The hash that the ledger keeps of a split."""
    return "0x" + keccak(split).hex()


# --- Amendments ---

AMENDMENT_TYPES = {
    "EIP712Domain": [
        {"name": "name", "type": "string"},
        {"name": "version", "type": "string"},
        {"name": "chainId", "type": "uint256"},
        {"name": "verifyingContract", "type": "address"},
    ],
    "Amendment": [
        {"name": "catalogue", "type": "uint32"},
        {"name": "version", "type": "uint16"},
        {"name": "producer", "type": "address"},
        {"name": "fromDay", "type": "uint16"},
        {"name": "viewPrice", "type": "uint40"},
        {"name": "downloadPrice", "type": "uint40"},
        {"name": "excerptPrice", "type": "uint40"},
        {"name": "split", "type": "Share[]"},
        {"name": "deadline", "type": "uint256"},
    ],
    "Share": [{"name": "holder", "type": "address"}, {"name": "ppm", "type": "uint32"}],
}


class Proposal(NamedTuple):
    """An amendment with everything that its holders sign."""

    chain_id: int
    ledger: str
    catalogue: int
    replaces: int
    producer: str
    from_day: int
    tariff: Tariff
    shares: Mapping[Any, int]
    deadline: int

    @property
    def arguments(self) -> tuple[int, int, Tariff, int]:
        """The `Amendment` that the ledger takes."""
        return (self.catalogue, self.from_day, self.tariff, self.deadline)

    @property
    def split(self) -> bytes:
        """The new split, packed."""
        return pack_split(self.shares)

    @property
    def typed_data(self) -> dict[str, Any]:
        """The EIP-712 document."""
        return {
            "types": AMENDMENT_TYPES,
            "primaryType": "Amendment",
            "domain": {
                "name": "Royalty",
                "version": "1",
                "chainId": self.chain_id,
                "verifyingContract": str(self.ledger),
            },
            "message": {
                "catalogue": self.catalogue,
                "version": self.replaces,
                "producer": str(self.producer),
                "fromDay": self.from_day,
                "viewPrice": self.tariff.view,
                "downloadPrice": self.tariff.download,
                "excerptPrice": self.tariff.excerpt,
                "split": [
                    {"holder": holder, "ppm": ppm} for holder, ppm in split_entries(self.shares)
                ],
                "deadline": self.deadline,
            },
        }

    def signed_by(self, holder: Any) -> bytes:
        """The holder's signature, 65 bytes."""
        message = encode_typed_data(full_message=self.typed_data)
        return bytes(Account.sign_message(message, holder.private_key).signature)

    def signatures(self, current: Mapping[Any, int], signers: Iterable[Any]) -> list[bytes]:
        """One signature for each holder of the current split, in its order; empty where none."""
        keys = {str(signer): signer for signer in signers}
        return [
            self.signed_by(keys[holder]) if holder in keys else b""
            for holder, _ in split_entries(current)
        ]


# --- Reading the ledger ---


def deal_of(ledger: Any, catalogue: int, version: int) -> DealState:
    """A deal as the chain keeps it."""
    fields, found_hash = ledger.dealOf(catalogue, version)
    return DealState(*fields, str(found_hash))


def platform_of(ledger: Any, platform: Any) -> PlatformState:
    """A platform as the chain keeps it."""
    return PlatformState(*ledger.platformOf(platform))


def read_all(*calls: tuple[Any, ...]) -> list[Any]:
    """Answers of many views, each given as (method, *arguments), in one request to the node."""
    requests = [
        ("eth_call", [{"to": method._address, "data": method.encode_input(*arguments)}, "latest"])
        for method, *arguments in calls
    ]
    answers = web3.provider.make_batch_request(requests)
    return [
        method.decode_output(answer["result"])
        for (method, *_), answer in zip(calls, answers, strict=True)
    ]


def timestamp(chain: Any) -> int:
    """The newest block's time."""
    return int(chain[-1].timestamp)


def today(chain: Any) -> int:
    """The newest block's UTC day."""
    return timestamp(chain) // DAY


def mine_at(chain: Any, time: int) -> None:
    """Mine a block at an exact time (Brownie's own `mine(timestamp=)` fails on Anvil)."""
    web3.provider.make_request("evm_setNextBlockTimestamp", [time])
    chain.mine()


def to_noon(chain: Any, days: int = 1) -> int:
    """Move to noon, `days` later, and return that day: no test then runs across midnight."""
    day = today(chain) + days
    mine_at(chain, day * DAY + DAY // 2)
    return day


def event(tx: Any, name: str) -> dict[str, Any]:
    """The only event of this name in a receipt."""
    found = events(tx, name)
    assert len(found) == 1, f"{len(found)} events {name}"
    return found[0]


def events(tx: Any, name: str) -> list[dict[str, Any]]:
    """All events of this name in a receipt, in order."""
    return [dict(found) for found in tx.events[name]] if name in tx.events else []


# --- Refusals ---


@contextmanager
def reverted() -> Iterator[list[str]]:
    """Claim that what runs inside is reverted; what for stands in the list afterwards."""
    why: list[str] = []
    with pytest.raises(VirtualMachineError) as caught:
        yield why
    why.append(caught.value.revert_msg or "")


@contextmanager
def refused(error: str, *values: Any) -> Iterator[None]:
    """Claim that what runs inside is reverted with exactly this custom error and these values.

    `...` as the only value stands for any values. Brownie writes an error as `Name: a, b`, one
    without values as `Name: ` with the colon and the space.
    """
    with reverted() as why:
        yield
    found = why[0].casefold()
    if values == (...,):
        assert found.startswith(f"{error}: ".casefold()), found
    else:
        assert found == f"{error}: {', '.join(map(str, values))}".casefold()
