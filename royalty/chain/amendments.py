"""Amendments as EIP-712 typed data: what holders sign, and whose signature it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from royalty.chain.codec import checksum
from royalty.shares import Split
from royalty.usage import Tariff

DOMAIN_NAME = "Royalty"
DOMAIN_VERSION = "1"

TYPES = {
    "EIP712Domain": [
        {"name": "name", "type": "string"},
        {"name": "version", "type": "string"},
        {"name": "chainId", "type": "uint256"},
        {"name": "verifyingContract", "type": "address"},
    ],
    "Share": [{"name": "holder", "type": "address"}, {"name": "ppm", "type": "uint32"}],
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
}


def amendment_typed_data(
    *,
    chain_id: int,
    ledger: str,
    catalogue: int,
    version: int,
    producer: str,
    from_day: int,
    tariff: Tariff,
    split: Split,
    deadline: int,
) -> dict[str, Any]:
    """Return what a holder signs to consent: `version` is the one replaced, `split` the new one.

    `deadline` in Unix seconds. `Account.sign_typed` signs it; any wallet shows it field by field.
    """
    return {
        "types": TYPES,
        "primaryType": "Amendment",
        "domain": {
            "name": DOMAIN_NAME,
            "version": DOMAIN_VERSION,
            "chainId": chain_id,
            "verifyingContract": ledger,
        },
        "message": {
            "catalogue": catalogue,
            "version": version,
            "producer": producer,
            "fromDay": from_day,
            "viewPrice": tariff.view,
            "downloadPrice": tariff.download,
            "excerptPrice": tariff.excerpt,
            "split": [{"holder": share.holder, "ppm": share.ppm} for share in split],
            "deadline": deadline,
        },
    }


def typed_digest(typed: Mapping[str, Any]) -> bytes:
    """Return the 32 bytes that a signature of typed data signs."""
    from eth_account.messages import encode_typed_data
    from eth_utils.crypto import keccak

    message = encode_typed_data(full_message=dict(typed))
    return bytes(keccak(b"\x19" + message.version + message.header + message.body))


def signer_of(typed: Mapping[str, Any], signature: bytes) -> str | None:
    """Return the checksummed address that signed typed data, None where the signature is malformed."""
    from eth_account import Account as Signing
    from eth_account.messages import encode_typed_data

    try:
        message = encode_typed_data(full_message=dict(typed))
        return checksum(Signing.recover_message(message, signature=signature))
    except Exception:  # eth-keys and eth-account have many errors; all mean that nobody signed
        return None
