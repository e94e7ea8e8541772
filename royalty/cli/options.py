"""Options that many commands share, and the door through which every command runs."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from royalty.cli.output import print_json, print_text, wrapped
from royalty.client import DryRun, Royalty
from royalty.errors import Declined, RoyaltyError
from royalty.money import format_wei
from royalty.settings import Settings

if TYPE_CHECKING:
    from royalty.chain.sender import Plan

# Names of one option in every command that has it.
JSON = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ACCOUNT = Annotated[
    str | None,
    typer.Option(
        "--account", metavar="NAME", help="Who acts: an account's name or address. Locally dev0."
    ),
]
RPC = Annotated[
    list[str] | None,
    typer.Option("--rpc", metavar="URL", help="The node's address; several for failover."),
]
NETWORK = Annotated[
    str | None,
    typer.Option("--network", metavar="NAME", help="A network of royalty.toml; default local."),
]
CONTRACT = Annotated[
    str | None, typer.Option("--contract", metavar="ADDRESS", help="The ledger's address.")
]
YES = Annotated[
    bool, typer.Option("--yes", "-y", help="Do not ask before sending on a public chain.")
]
DRY_RUN = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be sent and its cost; send nothing.")
]

# Of commands that act for a platform, and of those that read a log.
PLATFORM = Annotated[
    str | None,
    typer.Option("--platform", metavar="ADDRESS", help="The platform; default the account."),
]
LOGS = Annotated[
    list[str],
    typer.Argument(
        metavar="LOG...", help="Files or globs: CSV, TSV, JSONL, Parquet, or --format's."
    ),
]
WORKS = Annotated[
    str | None, typer.Option("--works", metavar="CSV", help="The map of ids: platform_id,work.")
]
COLUMNS = Annotated[
    str | None,
    typer.Option("--columns", metavar="TOML", help="Which columns hold the native fields."),
]
POLICY = Annotated[
    str | None,
    typer.Option(
        "--policy", metavar="NAME|TOML", help="The rules: default, counter, peertube, or a file."
    ),
]
FORMAT = Annotated[
    str | None,
    typer.Option("--format", metavar="NAME", help="Whose log it is; default from its content."),
]
MEMORY = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="To count in, such as 512MB; the rest on disk. Default 1GB.",
    ),
]
SEPARATOR = Annotated[
    str | None,
    typer.Option("--separator", metavar="CHAR", help="Between columns; default from the header."),
]

ENGINE = Annotated[
    str,
    typer.Option(
        "--engine", metavar="NAME", help="What counts: duckdb, or spark (docs/engines.md)."
    ),
]
MASTER = Annotated[
    str | None,
    typer.Option("--master", metavar="URL", help="Spark's: local[2], spark://host:7077."),
]

OUTPUT: Mapping[str, Any] = {"json": (JSON, False)}
CHAIN: Mapping[str, Any] = {
    "account": (ACCOUNT, None),
    "rpc": (RPC, None),
    "network": (NETWORK, None),
    "contract": (CONTRACT, None),
}
SENDING: Mapping[str, Any] = {"yes": (YES, False), "dry_run": (DRY_RUN, False)}


@dataclass
class Run:
    """One run of a command: what its shared options say, its session, and the way it prints."""

    json: bool = False
    account: str | None = None
    rpc: list[str] | None = None
    network: str | None = None
    contract: str | None = None
    yes: bool = False
    dry_run: bool = False
    platform: str | None = None
    partial: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def settings(self) -> Settings:
        """The settings of this folder under the options given."""
        return Settings.load(
            network=self.network, rpc=self.rpc, account=self.account, contract=self.contract
        )

    @cached_property
    def royalty(self) -> Royalty:
        """The session, not asked anything yet; set `platform` before where a command has that option."""
        return Royalty(
            self.settings,
            platform=self.platform,
            dry_run=self.dry_run,
            approver=None if self.yes else ask_before_sending,
        )

    def emit(
        self,
        document: Mapping[str, Any],
        text: str | Callable[[], str] = "",
        *,
        findings: bool = False,
    ) -> None:
        """Print the document with --json, else the text; with findings the command ends with exit code 1.

        `text` may be a function, called only where it is printed. Every `x_nano` of the document gets
        its decimal string `x`; bytes become 0x.
        """
        if self.json:
            print_json(document)
        else:
            print_text(text() if callable(text) else text)
        if findings:
            raise typer.Exit(1)

    def show_plans(self, plans: Sequence[Plan]) -> None:
        """Print what a dry run would send."""
        rows = [
            {
                "description": plan.call.description,
                "to": plan.call.to,
                "function": plan.call.function,
                "gas": plan.gas,
                "cost_wei": None if plan.cost_wei is None else str(plan.cost_wei),
            }
            for plan in plans
        ]
        lines = [
            f"would {row['description']} ({cost_text(plan)})"
            for row, plan in zip(rows, plans, strict=True)
        ]
        self.emit(
            {**self.partial, "dry_run": True, "transactions": rows},
            "\n".join(lines or ["nothing to send"]),
        )

    def fail(self, error: RoyaltyError) -> None:
        """Print the document of a run that met trouble (exit 3): what is known, and what is pending."""
        if not self.json or error.exit_code != 3:
            return
        pending = error.details.get("pending", self.partial.get("pending", []))
        kind = type(error).__name__
        name = error.details.get("name")
        document = {**self.partial, "pending": pending, "error": kind, "message": str(error)}
        if name:
            document["reverted"] = name
        if error.details.get("transactions"):
            document["transactions"] = error.details["transactions"]
        print_json(document)


def command(
    app: typer.Typer, name: str | None = None, *, chain: bool = True, sends: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command: its function takes a Run first, then its own arguments and options.

    --json is added to each; --account, --rpc, --network and --contract where it is about a `chain`;
    --yes and --dry-run where it `sends`. The function's docstring is its help.
    """
    shared = {**(CHAIN if chain else {}), **OUTPUT, **(SENDING if sends else {})}

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        taken = {parameter.name for parameter in own}
        added = [
            inspect.Parameter(
                word, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind
            )
            for word, (kind, default) in shared.items()
            if word not in taken
        ]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + added

        def run(**given: Any) -> None:
            common = {word: given.pop(word) for word in shared if word not in taken}
            _guarded(Run(**common), function, given)

        run.__name__ = function.__name__
        run.__doc__ = function.__doc__
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        app.command(name or function.__name__.replace("_", "-"))(run)
        return function

    return register


def _guarded(run: Run, function: Callable[..., None], given: Mapping[str, Any]) -> None:
    try:
        function(run, **given)
    except DryRun as end:
        run.show_plans(end.plans)
    except RoyaltyError as error:
        run.fail(error)
        raise


def ask_before_sending(session: Royalty, plans: Sequence[Plan]) -> None:
    """Ask the person at the terminal before anything is sent; Declined unless the answer is yes."""
    known = session.settings.network
    where = (
        f"{known} (chain {session.node.chain_id})"
        if known != "local"
        else f"chain {session.node.chain_id}"
    )
    lines = [f"From {session.account.name} ({session.account.address}) on {where}:"]
    lines += [f"  {plan.call.description} ({cost_text(plan)})" for plan in plans]
    ask("\n".join(lines) + "\nSend? [y/N] ")


def ask(question: str) -> None:
    """Ask a question on stderr; Declined unless the answer is yes."""
    question = wrapped(question.rstrip()) + " "
    if not sys.stdin.isatty():
        sys.stderr.write(question + "\n")
        decline("there is no terminal to ask at; pass --yes to send without being asked")
    sys.stderr.write(question)
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        decline("declined; nothing was sent")


def decline(message: str) -> NoReturn:
    """Raise Declined."""
    raise Declined(message)


def cost_text(plan: Plan) -> str:
    """Return what a plan costs, for people."""
    if plan.gas is None or plan.cost_wei is None:
        return "its cost shows once the one before it landed"
    return f"{plan.gas:,} gas, at most {format_wei(plan.cost_wei)} of the chain's coin"
