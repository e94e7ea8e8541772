"""What the contract's refusals mean, in a line that says what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from royalty.chain.codec import codec, decode
from royalty.days import MAX_DAY, format_day
from royalty.errors import Reverted
from royalty.money import NANO_PER_MICRO, counted, format_nano

_HEX = re.compile(r"0x[0-9a-fA-F]*")

PANICS = {
    0x01: "an assertion failed",
    0x11: "a number overflowed",
    0x12: "a division by zero",
    0x32: "an index out of range",
}


def _day(number: int) -> str:
    return format_day(number) if 0 <= number <= MAX_DAY else f"day {number}"


def _tokens(nano: int) -> str:
    return f"{format_nano(nano)} tokens"


def _micro(amount: int) -> str:
    return _tokens(amount * NANO_PER_MICRO)


# One sentence an error of IRoyalty.sol: what is wrong, and what to do. A test fails where one is missing.
MESSAGES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "DecimalsUnsupported": lambda a: (
        f"the token's decimals ({a['decimals']}) are not supported; name a token of 0 to 27 decimals"
    ),
    "AmountNotWholeNano": lambda a: (
        f"the amount {a['amount']} of smallest units is not a whole number of nano-tokens;"
        f" give a multiple of {a['multiple']}"
    ),
    "AmountTooLarge": lambda a: (
        f"the amount of {_tokens(a['nano'])} is more than the ledger can hold; give a smaller one"
    ),
    "ZeroAmount": lambda _: "the amount is zero; give a larger one",
    "TransferNotExact": lambda a: (
        f"the token moved {a['moved']} smallest units instead of {a['expected']}; it takes a fee or lies,"
        " and cannot be used with this ledger"
    ),
    "AddressRefused": lambda a: (
        f"money sent to {a['account']} would be stuck there (the ledger, the token or the zero address);"
        " name another address"
    ),
    "SplitLength": lambda a: (
        f"the split's {a['length']} bytes are not 1 to 256 holders of 24 bytes"
    ),
    "SplitOrder": lambda a: (
        f"holder {a['holder']} (position {a['position']}) is not in ascending order, or stands there twice"
    ),
    "ShareZero": lambda a: (
        f"holder {a['holder']} (position {a['position']}) has a share of zero; leave it out"
    ),
    "ShareSum": lambda a: f"the shares sum to {a['sum']:,} ppm; make them exactly 1,000,000",
    "SplitMismatch": lambda a: (
        f"the split given for deal {a['catalogue']} version {a['version']} is not the one it was made with;"
        " run `royalty sync` and try again"
    ),
    "DayOutOfRange": lambda a: (
        f"the day {_day(a['day'])} is outside {_day(a['earliest'])} to {_day(a['latest'])};"
        " choose a day in between"
    ),
    "CatalogueUnknown": lambda a: (
        f"there is no catalogue {a['catalogue']}; `royalty catalogue list` shows those that exist"
    ),
    "DealUnknown": lambda a: (
        f"catalogue {a['catalogue']} has no deal of version {a['version']};"
        f" `royalty catalogue show {a['catalogue']}` shows its deals"
    ),
    "NotCatalogueOwner": lambda a: (
        f"catalogue {a['catalogue']} belongs to {a['owner']}, not to {a['sender']}; send from its owner"
        " with --account"
    ),
    "AmendmentPending": lambda a: (
        f"catalogue {a['catalogue']} already has an amendment (version {a['version']}) waiting for"
        f" {_day(a['fromDay'])}; amend it after that day"
    ),
    "DeadlinePassed": lambda a: (
        f"the amendment's deadline passed {a['time'] - a['deadline']:,} s ago;"
        " propose it again and have it signed anew"
    ),
    "SignatureCount": lambda a: (
        f"{a['given']} signatures were given for {a['expected']} holders; give one for each, empty where"
        " there is none"
    ),
    "ConsentMissing": lambda a: (
        f"holder {a['holder']} has not signed this amendment; have it run `royalty catalogue sign`"
    ),
    "NothingToRegister": lambda _: "no work was given to register; name at least one file",
    "CatalogueFull": lambda a: f"catalogue {a['catalogue']} is full; open another one",
    "NotReporter": lambda a: (
        f"{a['sender']} is no reporter of platform {a['platform']}; the platform adds it with"
        " `royalty reporter add`"
    ),
    "BatchNotNext": lambda a: (
        f"the platform's next batch is {a['expected']}, not {a['given']}; something else reported for it:"
        " see `royalty usage status`"
    ),
    "DayInFuture": lambda a: (
        f"the day {_day(a['day'])} is later than the chain's today, {_day(a['today'])}; wait until it is over"
    ),
    "DealNotInForce": lambda a: (
        f"deal {a['catalogue']} version {a['version']} is not in force on {_day(a['day'])}: it runs from"
        f" {_day(a['fromDay'])}"
        + (f" until before {_day(a['untilDay'])}" if a["untilDay"] else "")
        + "; report the version of that day"
    ),
    "KindUnknown": lambda a: (
        f"kind {a['kind']} is unknown; kinds are 0 view, 1 download, 2 excerpt"
    ),
    "GroupMalformed": lambda a: (
        f"the packed bytes are cut or empty at byte {a['offset']} of {a['length']}; this is a bug, report it"
    ),
    "TotalMismatch": lambda a: (
        f"the report's total is {_tokens(a['given'])} but the ledger computes {_tokens(a['computed'])};"
        " run the same command again"
    ),
    "FundsInsufficient": lambda a: (
        f"platform {a['platform']} has {_tokens(a['available'])} and needs {_tokens(a['needed'])}; deposit"
        f" {format_nano(max(0, a['needed'] - a['available']))} more with `royalty platform deposit`"
    ),
    "LimitExceeded": lambda a: (
        f"the reporters of {a['platform']} may spend {_micro(a['left'])} more today and need"
        f" {_micro(a['needed'])}; the platform raises it with `royalty platform limit`"
    ),
    "TallyEmpty": lambda _: "the tally has no leaf; post one of at least one leaf",
    "TallyUnknown": lambda a: (
        f"platform {a['platform']} has posted no tally as batch {a['batch']};"
        " `royalty history --kind tally` lists those that exist"
    ),
    "PlaceUnknown": lambda a: (
        f"place {a['index']} on level {a['level']} does not exist in the tally's tree of"
        f" {counted(a['leaves'], 'leaf', 'leaves')}, or its node stands further below; check the data"
    ),
    "LeavesMalformed": lambda a: (
        f"the packed leaves are cut or missing at byte {a['offset']} of {a['length']};"
        " this is a bug, report it"
    ),
    "ProofLength": lambda a: (
        f"the proof has {a['given']} bytes where its place needs {a['needed']}; make it again from the"
        " tally's data"
    ),
    "ProofMismatch": lambda a: (
        f"the leaves lead to another root or total (0x{a['root'].hex()[:16]}…, {_tokens(a['total'])}) than"
        " the tally's; use the data that it was posted with"
    ),
    "NodeNotBroken": lambda a: (
        f"node {a['index']} on level {a['level']} is not broken, or is closed already;"
        " settle the leaves under it"
    ),
    "TallyExceeded": lambda a: (
        f"{_tokens(a['settled'])} would leave the tally, which holds {_tokens(a['total'])};"
        " its sums are wrong, and this leaf cannot be settled"
    ),
    "NothingPayable": lambda a: (
        f"holder {a['holder']} has less than the token's smallest unit to withdraw;"
        " `royalty payout run` allocates what its deals have accrued"
    ),
    "GasTooLow": lambda a: (
        f"{a['available']:,} gas is left where a payout needs {a['needed']:,}; pay fewer holders at once"
    ),
    "OnlySelf": lambda a: f"{a['sender']} called what only the ledger may call on itself",
    "Error": lambda a: f"the contract refused: {_one_line(a['reason'])}",
    "Panic": lambda a: (
        f"the contract failed: {PANICS.get(a['code'], 'panic ' + hex(a['code']))}; report this bug"
    ),
    "ERC20InsufficientBalance": lambda a: (
        f"{a['sender']} has {a['balance']} of the token's smallest unit and needs {a['needed']};"
        " send it more, or give a smaller amount"
    ),
    "ERC20InsufficientAllowance": lambda a: (
        f"the token allows {a['spender']} to take {a['allowance']} smallest units where {a['needed']}"
        " are needed; approve more"
    ),
    "SafeERC20FailedOperation": lambda a: (
        f"the token {a['token']} refused the transfer; see its own rules"
    ),
    "EnforcedPause": lambda _: "the token is paused by its issuer; try again later",
    "ReentrancyGuardReentrantCall": lambda _: (
        "the token called back into the ledger; it cannot be used"
    ),
    "Reentrancy": lambda _: "the token called back into the ledger; it cannot be used",
    "ValueRefused": lambda a: f"the ledger takes no coin, but {a['value']} wei was sent; send none",
    "SafeCastOverflowedUintDowncast": lambda a: (
        f"the number {a['value']} does not fit the {a['bits']} bits that the ledger keeps; give a smaller one"
    ),
    "AccountBalanceOverflow": lambda _: "the owner has too many catalogues; use another account",
    "BalanceQueryForZeroAddress": lambda _: "the zero address owns nothing; name another one",
    "TokenAlreadyExists": lambda _: "the catalogue exists already; this is a bug, report it",
    "InvalidShortString": lambda _: "the ledger's name cannot be read; this is a bug, report it",
    "StringTooLong": lambda _: "the ledger's name is too long; this is a bug, report it",
    "ERC721NonexistentToken": lambda a: (
        f"there is no catalogue {a['tokenId']}; `royalty catalogue list` shows those that exist"
    ),
    "TokenDoesNotExist": lambda _: (
        "there is no such catalogue; `royalty catalogue list` shows those that exist"
    ),
    "NotOwnerNorApproved": lambda _: (
        "the sender does not own this catalogue; send from its owner with --account"
    ),
    "TransferFromIncorrectOwner": lambda _: (
        "the catalogue belongs to somebody else; send from its owner"
    ),
    "TransferToZeroAddress": lambda _: (
        "a catalogue cannot be given to the zero address; name another one"
    ),
    "TransferToNonERC721ReceiverImplementer": lambda _: (
        "the receiver is a contract that takes no catalogues; name another address"
    ),
}


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:200]


def decode_revert(data: bytes) -> Reverted:
    """Return the exception of a revert's bytes: the error's name, its arguments, a sentence for people."""
    entry = codec().errors.get(data[:4]) if len(data) >= 4 else None
    if entry is None:
        what = f"with the unknown error 0x{data[:4].hex()}" if data else "without a reason"
        return Reverted(
            f"the contract refused {what}", name="", arguments={"data": "0x" + data.hex()}
        )
    try:
        arguments = decode(entry.inputs, data[4:])
    except Exception:  # what a hostile token returns need not decode
        return Reverted(f"the contract refused with {entry.name}", name=entry.name, arguments={})
    return Reverted(sentence(entry.name, arguments), name=entry.name, arguments=arguments)


def sentence(name: str, arguments: Mapping[str, Any]) -> str:
    """Return the line for people about an error by name."""
    known = MESSAGES.get(name)
    if known is not None:
        return known(arguments)
    listed = ", ".join(f"{word} {value!r}" for word, value in arguments.items())
    return f"the contract refused with {name}({listed})"


def revert_data(error: Mapping[str, Any]) -> bytes | None:
    """Return the revert bytes in a JSON-RPC error object, b"" where it has none, None where it is no revert."""
    message, data = str(error.get("message", "")), error.get("data")
    if isinstance(data, Mapping):
        data = data.get("data") or data.get("result")
    found = _HEX.search(data) if isinstance(data, str) else None
    reverted = error.get("code") == 3 or "revert" in message.lower()
    if not reverted and not (found and len(found.group()) >= 10):
        return None
    digits = found.group()[2:] if found else ""
    return bytes.fromhex(digits) if len(digits) % 2 == 0 else b""
