"""Splits: shares in parts per million, their packed form, and the division of accrued money.

Twin of contracts/libraries: the same vectors (tests/vectors/splits.json) run through both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from royalty.errors import InputError

WHOLE_PPM = 1_000_000
MAX_HOLDERS = 256
BYTES_PER_HOLDER = 24


@dataclass(frozen=True, slots=True)
class Share:
    """One holder's share: a checksummed address and parts per million, 1 to 1,000,000."""

    holder: str
    ppm: int

    def __post_init__(self) -> None:
        if not 1 <= self.ppm <= WHOLE_PPM:
            raise InputError(f"a share of {self.ppm} ppm is out of range; give 1 to {WHOLE_PPM}")

    @property
    def key(self) -> bytes:
        """The holder's 20 bytes, which order a split."""
        return bytes.fromhex(self.holder[2:])


Split = tuple[Share, ...]


def make_split(shares: Sequence[Share]) -> Split:
    """Return the shares in the order that the ledger wants (ascending by address).

    Raises InputError for a holder named twice, more than 256 holders, or a sum that is not exactly
    1,000,000 ppm.
    """
    split = tuple(sorted(shares, key=lambda share: share.key))
    if not 1 <= len(split) <= MAX_HOLDERS:
        raise InputError(f"a split has 1 to {MAX_HOLDERS} holders, not {len(split)}")
    for before, after in pairwise(split):
        if before.key == after.key:
            raise InputError(f"holder {after.holder} stands in the split twice")
    total = sum(share.ppm for share in split)
    if total != WHOLE_PPM:
        raise InputError(f"the shares sum to {total:,} ppm instead of {WHOLE_PPM:,}")
    return split


def pack_split(split: Split) -> bytes:
    """Return the packed split: 24 bytes a holder, address then ppm, big-endian."""
    return b"".join(share.key + share.ppm.to_bytes(4, "big") for share in split)


def unpack_split(packed: bytes) -> Split:
    """Return the split of its packed form, addresses checksummed; InputError where it is cut."""
    from eth_utils.address import to_checksum_address

    if not packed or len(packed) % BYTES_PER_HOLDER:
        raise InputError(
            f"a packed split has a multiple of {BYTES_PER_HOLDER} bytes, not {len(packed)}"
        )
    return tuple(
        Share(
            to_checksum_address(packed[at : at + 20]),
            int.from_bytes(packed[at + 20 : at + 24], "big"),
        )
        for at in range(0, len(packed), BYTES_PER_HOLDER)
    )


def split_hash(split: Split) -> bytes:
    """Return the 32 bytes that the ledger keeps of a split: keccak-256 of its packed form."""
    from eth_utils.crypto import keccak

    return bytes(keccak(pack_split(split)))


def divide(accrued_nano: int, split: Split) -> tuple[list[int], int]:
    """Return each holder's part of accrued nano-tokens, in the split's order, and the remainder.

    Every part is rounded down. The remainder, under one nano-token a holder, stays accrued in the
    deal and is divided with what comes next.
    """
    parts = [accrued_nano * share.ppm // WHOLE_PPM for share in split]
    return parts, accrued_nano - sum(parts)
