"""Write the vectors that Solidity and Python share, by a plain implementation of docs/protocol.md.

    python tests/vectors/make.py            write the files anew
    python tests/vectors/make.py --check    fail where they differ from what this computes

Nothing of the package or of the contracts is used here: two implementations that share a mistake would agree.
"""

import json
import sys
from pathlib import Path
from typing import Any

from eth_keys.datatypes import PrivateKey
from eth_utils import keccak, to_checksum_address

HERE = Path(__file__).resolve().parent

Pairs = list[tuple[int, int]]
Group = tuple[int, int, int, Pairs]


def big(value: int, length: int) -> bytes:
    return value.to_bytes(length, "big")


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


def address(number: int) -> bytes:
    """An address that looks like one, always the same for a number."""
    return keccak(b"holder %d" % number)[-20:]


# --- splits.json ---


def divisions(ppms: list[int], amounts: list[int]) -> list[dict[str, Any]]:
    made = []
    for accrued in amounts:
        parts = [accrued * ppm // 1_000_000 for ppm in ppms]
        remainder = accrued - sum(parts)
        made.append(
            {
                "accrued": str(accrued),
                "parts": [str(part) for part in parts],
                "remainder": str(remainder),
            }
        )
    return made


def split_case(name: str, shares: dict[bytes, int]) -> dict[str, Any]:
    assert sum(shares.values()) == 1_000_000
    ordered = sorted(shares.items())
    packed = b"".join(holder + big(ppm, 4) for holder, ppm in ordered)
    ppms = [ppm for _, ppm in ordered]
    return {
        "name": name,
        "holders": [to_checksum_address(holder) for holder, _ in ordered],
        "ppm": ppms,
        "packed": hexed(packed),
        "hash": hexed(keccak(packed)),
        "divisions": divisions(
            ppms, [0, 1, 2, 999_999, 1_000_000, 12_345_678_901, 2**64 + 1, 2**96 - 1]
        ),
    }


def equal_shares(holders: int) -> dict[bytes, int]:
    """As equal as they can be, what is left over to the lowest address."""
    equal = 1_000_000 // holders
    ordered = sorted(address(number) for number in range(holders))
    return {
        holder: equal if at else 1_000_000 - equal * (holders - 1)
        for at, holder in enumerate(ordered)
    }


def splits() -> dict[str, Any]:
    return {
        "cases": [
            split_case("one holder", {address(1): 1_000_000}),
            split_case("60 and 40 percent", {address(1): 600_000, address(2): 400_000}),
            split_case("the smallest share", {address(3): 999_999, address(4): 1}),
            split_case("lowest and highest address", {big(1, 20): 500_000, b"\xff" * 20: 500_000}),
            split_case("thirds", equal_shares(3)),
            split_case("seven", equal_shares(7)),
            split_case("256 holders", equal_shares(256)),
        ]
    }


# --- usage.json ---

TARIFF = (3_000_000, 500_000_000, 100_000)
HIGHEST = (2**40 - 1, 2**40 - 1, 2**40 - 1)


def pack_group(group: Group) -> bytes:
    catalogue, version, kind, pairs = group
    head = big(catalogue, 4) + big(version, 2) + big(kind, 1) + big(len(pairs), 2)
    return head + b"".join(big(index, 3) + big(units, 3) for index, units in pairs)


def usage_case(
    name: str, groups: list[Group], tariff: tuple[int, int, int] = TARIFF
) -> dict[str, Any]:
    rows = [(c, v, k, index, units) for c, v, k, pairs in groups for index, units in pairs]
    by_kind = [sum(units for _, _, kind, _, units in rows if kind == wanted) for wanted in range(3)]
    return {
        "name": name,
        "packed": hexed(b"".join(pack_group(group) for group in groups)),
        "catalogues": [row[0] for row in rows],
        "versions": [row[1] for row in rows],
        "kinds": [row[2] for row in rows],
        "indexes": [row[3] for row in rows],
        "units": [row[4] for row in rows],
        "tariff": [str(price) for price in tariff],
        "units_by_kind": by_kind,
        "total": str(sum(units * price for units, price in zip(by_kind, tariff, strict=True))),
    }


def usage() -> dict[str, Any]:
    many = [(index, (index * 7919 + 11) % 5000) for index in range(101)]
    return {
        "cases": [
            usage_case("one view of one work", [(1, 1, 0, [(0, 1)])]),
            usage_case("one pair fewer than a word holds", [(1, 1, 0, many[:4])]),
            usage_case("as many pairs as a word holds", [(1, 1, 0, many[:5])]),
            usage_case("one pair more", [(1, 1, 0, many[:6])]),
            usage_case("101 works", [(1, 1, 0, many)]),
            usage_case(
                "three kinds", [(1, 1, 0, many[:3]), (1, 1, 1, many[:7]), (1, 1, 2, many[:11])]
            ),
            usage_case(
                "a work in several pairs", [(1, 1, 2, [(5, 2**24 - 1), (5, 2**24 - 1), (5, 7)])]
            ),
            usage_case("nothing used", [(1, 1, 0, [(0, 0)])]),
            usage_case("the largest numbers", [(1, 1, 1, [(2**24 - 1, 2**24 - 1)] * 3)], HIGHEST),
            usage_case(
                "several deals", [(1, 1, 0, many[:2]), (2, 1, 0, many[:2]), (1, 1, 0, many[2:4])]
            ),
        ],
        "readable_only": [
            usage_case("the largest names", [(2**32 - 1, 2**16 - 1, 2, [(2**24 - 1, 1)])])
        ],
        "malformed": [
            {"name": name, "packed": hexed(packed), "offset": offset, "length": len(packed)}
            for name, packed, offset in [
                ("nothing", b"", 0),
                ("half a head", pack_group((1, 1, 0, [(0, 1)]))[:8], 0),
                ("a head alone", pack_group((1, 1, 0, [(0, 1)]))[:9], 0),
                ("half a pair", pack_group((1, 1, 0, [(0, 1)]))[:14], 0),
                ("no pairs", pack_group((1, 1, 0, [])), 0),
                ("half a second group", pack_group((1, 1, 0, [(0, 1)])) + b"\x00" * 5, 15),
            ]
        ],
    }


# --- amendment.json ---

SHARE = b"Share(address holder,uint32 ppm)"
AMENDMENT = (
    b"Amendment(uint32 catalogue,uint16 version,address producer,uint16 fromDay,uint40 viewPrice,"
    b"uint40 downloadPrice,uint40 excerptPrice,Share[] split,uint256 deadline)" + SHARE
)
DOMAIN = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"


def word(value: int | bytes) -> bytes:
    return big(value, 32) if isinstance(value, int) else value.rjust(32, b"\x00")


def struct(kind: bytes, *members: int | bytes) -> bytes:
    return keccak(keccak(kind) + b"".join(word(member) for member in members))


def amendment() -> dict[str, Any]:
    key = keccak(b"a holder of the vectors")
    signer = PrivateKey(key).public_key.to_canonical_address()
    producer, contract = keccak(b"producer")[-20:], keccak(b"contract")[-20:]
    current = sorted({signer: 600_000, address(2): 400_000}.items())
    split = sorted({signer: 500_000, address(2): 400_000, address(5): 100_000}.items())
    opened, from_day, deadline = 20_000, 20_730, 1_791_000_000
    tariff = (3_000_000, 500_000_000, 100_000)
    shares = keccak(b"".join(struct(SHARE, holder, ppm) for holder, ppm in split))
    message = struct(AMENDMENT, 1, 1, producer, from_day, *tariff, shares, deadline)
    domain = struct(DOMAIN, keccak(b"Royalty"), keccak(b"1"), 8453, contract)
    digest = keccak(b"\x19\x01" + domain + message)
    signed = PrivateKey(key).sign_msg_hash(digest)
    signature = big(signed.r, 32) + big(signed.s, 32) + big(27 + signed.v, 1)

    def written(shares_: list[tuple[bytes, int]]) -> dict[str, Any]:
        return {
            "holders": [to_checksum_address(holder) for holder, _ in shares_],
            "ppm": [ppm for _, ppm in shares_],
            "packed": hexed(b"".join(holder + big(ppm, 4) for holder, ppm in shares_)),
        }

    return {
        "chain_id": 8453,
        "contract": to_checksum_address(contract),
        "time": 1_790_769_600,
        "catalogue": 1,
        "version": 1,
        "producer": to_checksum_address(producer),
        "opened_from_day": opened,
        "tariff": [str(price) for price in tariff],
        "from_day": from_day,
        "deadline": deadline,
        "current_split": written(current),
        "new_split": written(split),
        "domain_separator": hexed(domain),
        "struct_hash": hexed(message),
        "digest": hexed(digest),
        "signer_key": hexed(key),
        "signer": to_checksum_address(signer),
        "signature": hexed(signature),
    }


def main() -> int:
    wrong = []
    for name, vectors in [("splits", splits()), ("usage", usage()), ("amendment", amendment())]:
        path = HERE / f"{name}.json"
        text = json.dumps(vectors, indent=1) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text)
        elif path.read_text() != text:
            wrong.append(name)
    for name in wrong:
        print(
            f"tests/vectors/{name}.json is not what tests/vectors/make.py computes", file=sys.stderr
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
