"""The session: one node, one ledger, one account, and the nouns that act on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.errors import ChainError, InputError, NoContract, NodeUnreachable, RoyaltyError
from royalty.settings import Settings, chain_dir, default_confirmations, ledger_dir

if TYPE_CHECKING:
    from royalty.audits import Audit
    from royalty.catalogues import Catalogues
    from royalty.chain.accounts import Account
    from royalty.chain.deploy import Deployment
    from royalty.chain.ledger import Call, Ledger, TokenInfo
    from royalty.chain.node import Node
    from royalty.chain.sender import Plan, Receipt
    from royalty.history import History
    from royalty.holders import Holders
    from royalty.payouts import Payouts
    from royalty.platforms import Platforms
    from royalty.questions import Day, Logs
    from royalty.reconcile import Reconciliation
    from royalty.tallies import Tallies
    from royalty.usages import Usage
    from royalty.works import Works

# Each noun's module and class; a class takes the session. Imported when first asked for.
NOUNS: Mapping[str, tuple[str, str]] = {
    "catalogues": ("royalty.catalogues", "Catalogues"),
    "works": ("royalty.works", "Works"),
    "platforms": ("royalty.platforms", "Platforms"),
    "holders": ("royalty.holders", "Holders"),
    "payouts": ("royalty.payouts", "Payouts"),
    "usage": ("royalty.usages", "Usage"),
    "tallies": ("royalty.tallies", "Tallies"),
    "history": ("royalty.history", "History"),
    "audit": ("royalty.audits", "Audit"),
}


class DryRun(Exception):  # noqa: N818 - not an error: the end of a run that was asked to send nothing
    """Raised in place of sending by a session that only shows what it would do; `plans` says what."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        super().__init__("dry run")
        self.plans = list(plans)


class Royalty:
    """A session with one ledger, made by `Royalty.connect`; nothing is asked of the node before it is needed.

    `platform` is the platform that usage is reported for: the account itself, unless named. With
    `dry_run` whatever would send raises DryRun instead. `approver` is asked with the plans before
    anything is sent; it returns or raises Declined.
    """

    if TYPE_CHECKING:
        catalogues: Catalogues
        works: Works
        platforms: Platforms
        holders: Holders
        payouts: Payouts
        usage: Usage
        tallies: Tallies
        history: History
        audit: Audit

    def __init__(
        self,
        settings: Settings,
        *,
        platform: str | None = None,
        dry_run: bool = False,
        approver: Callable[[Royalty, Sequence[Plan]], None] | None = None,
    ) -> None:
        self.settings = settings
        self.dry_run = dry_run
        self.approver = approver
        self._platform = platform

    @classmethod
    def connect(
        cls,
        network: str | None = None,
        *,
        account: str | None = None,
        platform: str | None = None,
        rpc: str | Sequence[str] | None = None,
        contract: str | None = None,
        folder: str | Path | None = None,
    ) -> Royalty:
        """Return a session; what is not given comes from the environment, royalty.toml, the local chain.

        `rpc` may be several addresses of one chain: where one fails, the next is asked.

        Raises InputError for settings that cannot be read, ChainErrors for a node that does not answer,
        is of another chain, or has no ledger at the address.

        >>> royalty = Royalty.connect("base", account="reporter", platform="0x...")  # doctest: +SKIP
        """
        settings = Settings.load(
            network=network, rpc=rpc, account=account, contract=contract, folder=folder
        )
        session = cls(settings, platform=platform)
        session.ledger  # noqa: B018 - a wrong address shows here rather than later
        return session

    @contextmanager
    def approved(self) -> Iterator[None]:
        """Do not ask as long as this lasts: what is sent was approved together with something before."""
        before, self.approver = self.approver, None
        try:
            yield
        finally:
            self.approver = before

    # --- what the session stands on ---

    @cached_property
    def node(self) -> Node:
        """The node; ChainError with the way out where there is no local chain, or nothing answers."""
        from royalty.chain.node import Node

        settings = self.settings
        if settings.rpc is None:
            if settings.network == "local":
                raise ChainError("no local chain: run `royalty chain up`")
            raise InputError(
                f"network {settings.network} has no rpc; add it to royalty.toml or pass --rpc"
            )
        try:
            return Node.connect(settings.rpc, *settings.spares, expected_chain_id=settings.chain_id)
        except NodeUnreachable:
            if settings.local_chain is None:
                raise
            raise NodeUnreachable(
                f"the local chain of this folder does not answer at {settings.rpc}: run `royalty chain up`"
            ) from None

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger; NoContract where none is known, or there is none at the address."""
        from royalty.chain.ledger import Ledger

        known = self.deployment
        address = self.settings.contract
        if address is not None:
            address = self.address(address)
        elif known is not None:
            address = known.royalty
        else:
            raise NoContract(
                f"no ledger is known on chain {self.node.chain_id}: run `royalty deploy`,"
                " or name one with --contract"
            )
        block = known.block if known is not None and known.royalty == address else 0
        return Ledger.connect(self.node, address, deployed_block=block)

    @cached_property
    def deployment(self) -> Deployment | None:
        """What `royalty deploy` made on this chain from this folder."""
        from royalty.chain import deploy

        return deploy.load(self.chain_dir)

    @cached_property
    def account(self) -> Account:
        """The account that signs, still locked; on the local chain dev0 unless named."""
        from royalty.chain.accounts import load_account

        name = self.settings.account or ("dev0" if self.node.is_local else None)
        if name is None:
            raise InputError(
                "no account: pass --account, or set ROYALTY_ACCOUNT; `royalty account list`"
            )
        return load_account(name, local=self.node.is_local, environ=self.settings.environ)

    @property
    def named_platform(self) -> str | None:
        """The platform as it was named, None where it is the account."""
        return self._platform

    @cached_property
    def platform(self) -> str:
        """The address of the platform that usage is reported for."""
        return self.address(self._platform) if self._platform else self.account.address

    @property
    def token(self) -> TokenInfo:
        """The settlement token."""
        return self.ledger.token()

    @property
    def confirmations(self) -> int:
        """How many blocks must stand upon a block before it counts as final; a default per chain."""
        given = self.settings.confirmations
        return given if given is not None else default_confirmations(self.node.chain_id)

    def address(self, text: str) -> str:
        """Return the checksummed address of an address or an account's name; InputError."""
        from royalty.chain.accounts import resolve_address

        local = self.node.is_local if text[:2].lower() != "0x" else True
        return resolve_address(text, local=local, environ=self.settings.environ)

    def today(self) -> int:
        """Return the chain's own UTC day: that of its newest block."""
        return self.node.block("latest").day

    # --- where its state lies ---

    @property
    def chain_dir(self) -> Path:
        """This folder's state of the chain; made by whoever first writes into it."""
        return chain_dir(self.settings.state, self.node.chain_id, self.node.genesis_hash)

    @property
    def state_dir(self) -> Path:
        """This folder's state of the ledger."""
        return ledger_dir(self.chain_dir, self.ledger.address)

    def platform_dir(self, platform: str | None = None) -> Path:
        """Return this folder's state of a platform, of the session's own unless named."""
        return self.state_dir / "platforms" / (platform or self.platform).lower()

    # --- sending ---

    def plan(self, calls: Sequence[Call]) -> list[Plan]:
        """Return what sending the calls would cost now; Reverted where the first would be refused."""
        from royalty.chain import sender

        return sender.plan(self.node, list(calls), self.account.address)

    def confirm(self, calls: Sequence[Call]) -> None:
        """Ask before sending: raises DryRun in a dry run, Declined where the person says no."""
        if self.dry_run:
            raise DryRun(self.plan(calls))
        if calls and self.approver is not None and not self.node.is_local:
            self.approver(self, self.plan(calls))

    def send(self, call: Call) -> Receipt:
        """Send one call and return its receipt; see `send_all`."""
        return self.send_all([call])[0]

    def send_all(self, calls: Sequence[Call]) -> list[Receipt]:
        """Send the calls in order, each once the one before it landed, and return their receipts.

        Asks first (`confirm`). Raises Reverted, FundsTooLow and other ChainErrors; `details["pending"]`
        then lists what was not done.
        """
        from royalty.chain import sender

        self.confirm(calls)
        landed: list[Receipt] = []
        for call in calls:
            try:
                landed.append(sender.transact(self.node, call, self.account))
            except ChainError as error:
                left = [{"description": one.description} for one in calls[len(landed) + 1 :]]
                first = {"description": call.description, **_transaction(error)}
                error.details["pending"] = [first, *left]
                error.details["transactions"] = [receipt.transaction for receipt in landed]
                raise
        return landed

    # --- nouns ---

    def __getattr__(self, name: str) -> Any:
        if name not in NOUNS:
            raise AttributeError(f"a Royalty session has no '{name}'")
        module, kind = NOUNS[name]
        noun = getattr(import_module(module), kind)(self)
        setattr(self, name, noun)
        return noun

    def reconcile(
        self,
        logs: Logs,
        *,
        since: Day,
        until: Day,
        works: str | Path | None = None,
        columns: str | Path | None = None,
        policy: str | Path | None = None,
        platform: str | None = None,
        evidence: str | Path | None = None,
        threshold: str | int = 3,
        separator: str | None = None,
        format: str | None = None,
        memory: str | None = None,
        engine: str = "duckdb",
        master: str | None = None,
    ) -> Reconciliation:
        """Return what a log and the chain differ in over UTC days, both inclusive.

        `platform` is the session's where it was named, else the only one of the period. Other
        arguments and the errors are those of `royalty.reconcile.reconcile`.

        >>> royalty.reconcile("views/*.parquet", since="2026-11-01", until="2026-11-30")  # doctest: +SKIP
        """
        from royalty.reconcile import reconcile

        return reconcile(
            self,
            logs,
            since=since,
            until=until,
            works=works,
            columns=columns,
            policy=policy,
            platform=platform or self._platform,
            evidence=evidence,
            threshold=threshold,
            separator=separator,
            format=format,
            memory=memory,
            engine=engine,
            master=master,
        )


def _transaction(error: RoyaltyError) -> dict[str, str]:
    found = error.details.get("transaction")
    return {"transaction": found} if found else {}
