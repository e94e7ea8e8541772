"""The ledger contract: typed reads of its state, and calls ready to be sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from royalty.chain.codec import codec
from royalty.chain.node import BlockId, Node, block_id
from royalty.errors import ChainError, NoContract, NodeTimeout, NodeUnreachable
from royalty.money import NANO_PER_MICRO, TokenUnit, counted
from royalty.shares import Split, pack_split
from royalty.usage import Tariff

ZERO_ADDRESS = "0x" + "0" * 40


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """The settlement token; `symbol` is hostile text of at most 16 printable characters."""

    address: str
    symbol: str
    decimals: int
    unit: TokenUnit


@dataclass(frozen=True, slots=True)
class CatalogueState:
    """A catalogue now: its owner, newest version, and how many works are registered."""

    catalogue: int
    owner: str
    version: int
    works: int

    @property
    def exists(self) -> bool:
        """Whether the catalogue was opened."""
        return self.version > 0


@dataclass(frozen=True, slots=True)
class DealState:
    """One deal: nano-tokens accrued, prices, days (from inclusive, until exclusive or None), split's hash."""

    catalogue: int
    version: int
    accrued_nano: int
    tariff: Tariff
    from_day: int
    until_day: int | None
    exists: bool
    split_hash: bytes


@dataclass(frozen=True, slots=True)
class PlatformState:
    """A platform: funds in nano-tokens, batches landed, the reporters' limit of a day and what is spent of it."""

    address: str
    funds_nano: int
    batches: int
    limit_micro: int
    spent_micro: int
    spent_day: int

    @property
    def next_batch(self) -> int:
        """The number that the next report must carry."""
        return self.batches + 1

    @property
    def limit_nano(self) -> int:
        """The reporters' limit of a UTC day, in nano-tokens."""
        return self.limit_micro * NANO_PER_MICRO

    def spent_nano(self, day: int) -> int:
        """Return what the reporters have spent on a UTC day (today), in nano-tokens."""
        return self.spent_micro * NANO_PER_MICRO if self.spent_day == day else 0


@dataclass(frozen=True, slots=True)
class TallyState:
    """A tally: debited and settled nano-tokens, leaves and how many are settled, its last day, its root.

    Settled is what has left the tally, to deals or back to the platform.
    """

    platform: str
    batch: int
    total_nano: int
    settled_nano: int
    leaves: int
    settled_leaves: int
    day: int
    root: bytes

    @property
    def exists(self) -> bool:
        """Whether the platform posted a tally under this number."""
        return self.leaves > 0

    @property
    def unsettled_nano(self) -> int:
        """Nano-tokens that were debited and have neither reached a deal nor gone back."""
        return self.total_nano - self.settled_nano


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is not sent yet: contract (None makes one), function, arguments, what it does in words."""

    to: str | None
    function: str
    args: tuple[Any, ...]
    description: str
    contract: str = "Royalty"
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        """The bytes that the transaction carries."""
        return codec(self.contract).call_data(self.function, self.args)


class Ledger:
    """The ledger at an address of a node's chain. Reads take `block`: a number or "latest"."""

    def __init__(self, node: Node, address: str, *, deployed_block: int = 0) -> None:
        self.node = node
        self.address = address
        self.deployed_block = deployed_block

    @classmethod
    def connect(cls, node: Node, address: str, *, deployed_block: int = 0) -> Ledger:
        """Return the ledger at a checksummed address; NoContract where there is none."""
        if not node.code(address):
            raise NoContract(
                f"there is no contract at {address} on chain {node.chain_id};"
                " run `royalty deploy`, or name the ledger with --contract",
                address=address,
            )
        ledger = cls(node, address, deployed_block=deployed_block)
        try:
            ledger.token()
        except (NodeUnreachable, NodeTimeout):
            raise
        except ChainError as error:
            if error.details.get("status") or error.details.get("garbled"):
                raise
            raise NoContract(
                f"the contract at {address} on chain {node.chain_id} is no Royalty ledger;"
                " check --contract",
                address=address,
            ) from None
        return ledger

    # --- reading, in general ---

    def read(self, function: str, *args: Any, block: BlockId = "latest") -> tuple[Any, ...]:
        """Return the results of a view, in order."""
        return self.read_many([(function, args)], block=block)[0]

    def read_many(
        self, reads: Sequence[tuple[str, Sequence[Any]]], *, block: BlockId = "latest"
    ) -> list[tuple[Any, ...]]:
        """Return the results of many views of one block, in order, in batched requests.

        Pass a block's number where the values must belong together.
        """
        return self._views([(self.address, "Royalty", name, args) for name, args in reads], block)

    def _views(
        self, views: Sequence[tuple[str, str, str, Sequence[Any]]], block: BlockId
    ) -> list[tuple[Any, ...]]:
        asked = [
            (
                "eth_call",
                [
                    {"to": to, "data": "0x" + codec(abi).call_data(name, args).hex()},
                    block_id(block),
                ],
            )
            for to, abi, name, args in views
        ]
        answers = self.node.batch(asked)
        return [self._result(view, answer) for view, answer in zip(views, answers, strict=True)]

    def _result(self, view: tuple[str, str, str, Sequence[Any]], answer: str) -> tuple[Any, ...]:
        to, abi, name, _ = view
        try:
            return codec(abi).result(name, bytes.fromhex(answer[2:]))
        except Exception:  # eth-abi has many errors; all mean that something else lives there
            raise NoContract(
                f"the contract at {to} does not answer {name}() as expected; check --contract",
                address=to,
            ) from None

    # --- the ledger's views ---

    def token(self) -> TokenInfo:
        """Return the settlement token, asked once."""
        return self._token

    @cached_property
    def _token(self) -> TokenInfo:
        (address,), (decimals,) = self.read_many([("token", ()), ("tokenDecimals", ())])
        try:
            symbol = str(self._views([(address, "TestUSD", "symbol", ())], "latest")[0][0])
        except ChainError:
            symbol = "tokens"
        printable = "".join(
            letter for letter in symbol if letter.isascii() and letter.isprintable()
        )
        return TokenInfo(address, printable[:16] or "tokens", decimals, TokenUnit(decimals))

    def catalogues(self, block: BlockId = "latest") -> int:
        """Return how many catalogues were opened; they are numbered from 1."""
        return int(self.read("catalogues", block=block)[0])

    def catalogue(self, catalogue: int, block: BlockId = "latest") -> CatalogueState:
        """Return a catalogue's state; `exists` is False where there is none."""
        return self.catalogues_of([catalogue], block)[0]

    def catalogues_of(
        self, catalogues: Iterable[int], block: BlockId = "latest"
    ) -> list[CatalogueState]:
        """Return the states of many catalogues, in order."""
        numbers = list(catalogues)
        found = self.read_many([("catalogueOf", (one,)) for one in numbers], block=block)
        return [CatalogueState(one, *state) for one, state in zip(numbers, found, strict=True)]

    def deal(self, catalogue: int, version: int, block: BlockId = "latest") -> DealState:
        """Return one deal; `exists` is False where there is none."""
        return self.deals([(catalogue, version)], block)[0]

    def deals(self, deals: Iterable[tuple[int, int]], block: BlockId = "latest") -> list[DealState]:
        """Return many deals given as (catalogue, version), in order."""
        keys = list(deals)
        found = self.read_many([("dealOf", key) for key in keys], block=block)
        return [_deal(*key, *state) for key, state in zip(keys, found, strict=True)]

    def version_on(self, catalogue: int, day: int, block: BlockId = "latest") -> int:
        """Return the version in force on a UTC day, 0 where there is none."""
        return int(self.read("versionOn", catalogue, day, block=block)[0])

    def platform(self, address: str, block: BlockId = "latest") -> PlatformState:
        """Return what the ledger keeps of a platform; all zero for one that it does not know."""
        return self.platforms([address], block)[0]

    def platforms(self, addresses: Iterable[str], block: BlockId = "latest") -> list[PlatformState]:
        """Return what the ledger keeps of many platforms, in order."""
        named = list(addresses)
        found = self.read_many([("platformOf", (one,)) for one in named], block=block)
        return [
            PlatformState(
                one,
                state["funds"],
                state["batches"],
                state["limit"],
                state["spent"],
                state["spentDay"],
            )
            for one, (state,) in zip(named, found, strict=True)
        ]

    def is_reporter(self, platform: str, reporter: str, block: BlockId = "latest") -> bool:
        """Return whether a key may report for a platform."""
        return bool(self.read("isReporter", platform, reporter, block=block)[0])

    def tally(self, platform: str, batch: int, block: BlockId = "latest") -> TallyState:
        """Return what the ledger keeps of a tally; `exists` is False where there is none."""
        return self.tallies([(platform, batch)], block)[0]

    def tallies(
        self, tallies: Iterable[tuple[str, int]], block: BlockId = "latest"
    ) -> list[TallyState]:
        """Return many tallies given as (platform, batch), in order."""
        keys = list(tallies)
        found = self.read_many([("tallyOf", key) for key in keys], block=block)
        return [
            TallyState(
                *key,
                state["total"],
                state["settled"],
                state["leaves"],
                state["settledLeaves"],
                state["day"],
                root,
            )
            for key, (state, root) in zip(keys, found, strict=True)
        ]

    def is_settled(self, platform: str, batch: int, index: int, block: BlockId = "latest") -> bool:
        """Return whether a leaf of a tally is settled, paid or void; one under a void node never is."""
        return self.are_settled(platform, batch, [index], block)[0]

    def are_settled(
        self, platform: str, batch: int, indexes: Iterable[int], block: BlockId = "latest"
    ) -> list[bool]:
        """Return the same of many leaves of a tally, in order."""
        reads = [("isSettled", (platform, batch, index)) for index in indexes]
        return [bool(settled) for (settled,) in self.read_many(reads, block=block)]

    def balance_nano(self, holder: str, block: BlockId = "latest") -> int:
        """Return a holder's allocated money in nano-tokens."""
        return self.balances_nano([holder], block)[0]

    def balances_nano(self, holders: Iterable[str], block: BlockId = "latest") -> list[int]:
        """Return the allocated money of many holders in nano-tokens, in order."""
        reads = [("balanceOfHolder", (holder,)) for holder in holders]
        return [int(nano) for (nano,) in self.read_many(reads, block=block)]

    def payee(self, holder: str, block: BlockId = "latest") -> str:
        """Return where a holder's money goes: its payee, or itself."""
        return str(self.read("payeeOf", holder, block=block)[0])

    def payees(self, holders: Iterable[str], block: BlockId = "latest") -> list[str]:
        """Return where the money of many holders goes, in order."""
        reads = [("payeeOf", (holder,)) for holder in holders]
        return [str(payee) for (payee,) in self.read_many(reads, block=block)]

    def amendment_digest(
        self,
        catalogue: int,
        from_day: int,
        tariff: Tariff,
        deadline: int,
        split: Split,
        block: BlockId = "latest",
    ) -> bytes:
        """Return the EIP-712 digest that the contract wants signed for an amendment."""
        amendment = (catalogue, from_day, _prices(tariff), deadline)
        return bytes(self.read("amendmentDigest", amendment, pack_split(split), block=block)[0])

    # --- the token's views ---

    def token_balance(self, address: str, block: BlockId = "latest") -> int:
        """Return an account's tokens, in the token's smallest unit."""
        return self._token_number("balanceOf", (address,), block)

    def allowance(self, owner: str, block: BlockId = "latest") -> int:
        """Return how much of an owner's tokens the ledger may pull, in smallest units."""
        return self._token_number("allowance", (owner, self.address), block)

    def _token_number(self, function: str, args: Sequence[Any], block: BlockId) -> int:
        view = (self.token().address, "TestUSD", function, args)
        return int(self._views([view], block)[0][0])

    # --- calls ---

    def _call(self, description: str, function: str, *args: Any) -> Call:
        return Call(self.address, function, args, description)

    def open(self, split: Split, tariff: Tariff, from_day: int, uri: str = "") -> Call:
        """Open a catalogue owned by the sender; from_day is any day up to today."""
        args = (pack_split(split), _prices(tariff), from_day, uri)
        return self._call(f"open a catalogue for {counted(len(split), 'holder')}", "open", *args)

    def amend(
        self,
        catalogue: int,
        from_day: int,
        tariff: Tariff,
        deadline: int,
        current_split: Split,
        new_split: Split,
        signatures: Sequence[bytes],
        uri: str = "",
    ) -> Call:
        """Replace a catalogue's newest deal; one signature for each current holder, b"" where none."""
        return self._call(
            f"amend the deal of catalogue {catalogue}",
            "amend",
            (catalogue, from_day, _prices(tariff), deadline),
            pack_split(current_split),
            pack_split(new_split),
            list(signatures),
            uri,
        )

    def register(
        self, catalogue: int, fingerprints: Sequence[bytes], metadata_digest: bytes, uri: str = ""
    ) -> Call:
        """Register works by the SHA-256 of their files, numbered in this order."""
        return self._call(
            f"register {counted(len(fingerprints), 'work')} in catalogue {catalogue}",
            "register",
            catalogue,
            list(fingerprints),
            metadata_digest,
            uri,
        )

    def transfer(self, catalogue: int, owner: str, to: str) -> Call:
        """Give a catalogue to another owner (ERC-721)."""
        description = f"give catalogue {catalogue} to {to}"
        return self._call(description, "transferFrom", owner, to, catalogue)

    def deposit(self, platform: str, amount: int) -> Call:
        """Pull `amount` smallest units from the sender into a platform's funds; needs an approval."""
        return self._call(
            f"deposit {self._shown(amount)} for {platform}", "deposit", platform, amount
        )

    def withdraw_funds(self, amount: int, to: str) -> Call:
        """Send `amount` smallest units of the sender's unreported funds to an address."""
        return self._call(f"withdraw {self._shown(amount)} to {to}", "withdrawFunds", amount, to)

    def set_reporter(self, reporter: str, allowed: bool) -> Call:
        """Let a key report for the sender, or no longer."""
        verb = "let" if allowed else "no longer let"
        return self._call(f"{verb} {reporter} report", "setReporter", reporter, allowed)

    def set_limit(self, limit_micro: int) -> Call:
        """Set what the sender's reporters may spend in a UTC day together, in micro-tokens."""
        return self._call(
            f"limit reporters to {limit_micro} micro-tokens a day", "setLimit", limit_micro
        )

    def report(
        self, platform: str, batch: int, day: int, evidence: bytes, total_nano: int, usage: bytes
    ) -> Call:
        """Report packed usage of one day and pay it into the deals at once."""
        return self._call(
            f"report batch {batch} of {platform}",
            "report",
            platform,
            batch,
            day,
            evidence,
            total_nano,
            usage,
        )

    def post(
        self,
        platform: str,
        batch: int,
        day: int,
        root: bytes,
        leaves: int,
        total_nano: int,
        evidence: bytes,
        data_digest: bytes,
        uri: str = "",
    ) -> Call:
        """Report usage up to `day` by the root of a tally's tree; debits all of it at once."""
        return self._call(
            f"post tally {batch} of {platform} ({counted(leaves, 'leaf', 'leaves')})",
            "post",
            platform,
            batch,
            day,
            root,
            leaves,
            total_nano,
            evidence,
            data_digest,
            uri,
        )

    def settle(self, platform: str, batch: int, first: int, leaves: bytes, proof: bytes) -> Call:
        """Pay neighbouring leaves of a tally into their deals; both packed as royalty.merkle does."""
        return self._call(
            f"settle leaves of tally {batch} of {platform} from {first} on",
            "settle",
            platform,
            batch,
            first,
            leaves,
            proof,
        )

    def close_node(
        self,
        platform: str,
        batch: int,
        level: int,
        index: int,
        sum_nano: int,
        preimage: bytes,
        proof: bytes,
    ) -> Call:
        """Return the money of a node that its preimage shows to be broken to the platform."""
        return self._call(
            f"close node {index} on level {level} of tally {batch} of {platform}",
            "closeNode",
            platform,
            batch,
            level,
            index,
            sum_nano,
            preimage,
            proof,
        )

    def pay(self, catalogue: int, amount: int, reason: bytes, memo: bytes = bytes(32)) -> Call:
        """Pull `amount` smallest units from the sender into a catalogue's deal of today.

        `reason` is up to 31 bytes of text, `memo` 32 bytes.
        """
        return self._call(
            f"pay {self._shown(amount)} into catalogue {catalogue}",
            "pay",
            catalogue,
            amount,
            reason.ljust(32, b"\0"),
            memo,
        )

    def allocate(self, allocations: Sequence[tuple[int, int, Split]]) -> Call:
        """Divide what deals (catalogue, version, split) have accrued among their holders."""
        return self._call(
            f"allocate {counted(len(allocations), 'deal')}",
            "allocate",
            pack_allocations(allocations),
        )

    def withdraw(self, holder: str) -> Call:
        """Send everything that a holder has to it or its payee."""
        return self._call(f"withdraw everything of {holder}", "withdraw", holder)

    def withdraw_many(self, holders: Sequence[str]) -> Call:
        """Withdraw for many; a transfer that fails is skipped."""
        return self._call(
            f"withdraw for {counted(len(holders), 'holder')}", "withdrawMany", list(holders)
        )

    def allocate_and_pay(
        self, allocations: Sequence[tuple[int, int, Split]], holders: Sequence[str]
    ) -> Call:
        """Allocate deals (catalogue, version, split), then withdraw for many."""
        return self._call(
            f"allocate {counted(len(allocations), 'deal')} and pay {counted(len(holders), 'holder')}",
            "allocateAndPay",
            pack_allocations(allocations),
            list(holders),
        )

    def set_payee(self, payee: str | None) -> Call:
        """Name where the sender's money goes; None clears it."""
        description = f"send my money to {payee}" if payee else "send my money to myself"
        return self._call(description, "setPayee", payee or ZERO_ADDRESS)

    def approve(self, amount: int) -> Call:
        """Let the ledger pull `amount` smallest units of the sender's tokens."""
        return Call(
            self.token().address,
            "approve",
            (self.address, amount),
            f"let the ledger take {self._shown(amount)}",
            "TestUSD",
        )

    def _shown(self, amount: int) -> str:
        token = self.token()
        whole, rest = divmod(amount, 10**token.decimals)
        digits = f"{rest:0{token.decimals}d}".rstrip("0") if token.decimals else ""
        return f"{whole}.{digits} {token.symbol}" if digits else f"{whole} {token.symbol}"


def pack_allocations(allocations: Iterable[tuple[int, int, Split]]) -> bytes:
    """Return packed allocations: catalogue (4), version (2), holders (2), then the split, each group."""
    return b"".join(
        catalogue.to_bytes(4, "big")
        + version.to_bytes(2, "big")
        + len(split).to_bytes(2, "big")
        + pack_split(split)
        for catalogue, version, split in allocations
    )


def _prices(tariff: Tariff) -> tuple[int, int, int]:
    return tariff.view, tariff.download, tariff.excerpt


def _deal(catalogue: int, version: int, deal: Mapping[str, Any], split_hash: bytes) -> DealState:
    return DealState(
        catalogue,
        version,
        deal["accrued"],
        Tariff(deal["viewPrice"], deal["downloadPrice"], deal["excerptPrice"]),
        deal["fromDay"],
        deal["untilDay"] or None,
        deal["exists"],
        split_hash,
    )
