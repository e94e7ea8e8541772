"""The `royalty` program: its nouns, and the one place where errors become exit codes."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core

from royalty.cli.output import warn
from royalty.errors import RoyaltyError

# Files of royalty/cli in the order of the help; each has `register(app)`.
NOUNS = (
    "demo",
    "chain",
    "deploy",
    "account",
    "catalogue",
    "work",
    "platform",
    "reporter",
    "usage",
    "tally",
    "holder",
    "payout",
    "history",
    "reconcile",
    "audit",
)

USAGE = 2
BUG = 70
INTERRUPTED = 130

# What a machine refuses and a person can mend: no such file or name, no right, no room.
_REFUSALS = {
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
}


class Listed(typer.core.TyperGroup):
    """A group that lists its nouns in our order."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands: those of NOUNS in their order, others before them."""
        order = {name: position for position, name in enumerate(NOUNS)}
        return sorted(super().list_commands(ctx), key=lambda name: order.get(name, len(NOUNS)))


def make_app() -> typer.Typer:
    """Return the Typer app with every noun's commands."""
    app = noun_app("Pays the rights holders of works for every qualified view.")
    app.callback(cls=Listed)(_root)
    for noun in NOUNS:
        import_module(f"royalty.cli.{noun}").register(app)
    return app


def noun_app(help_text: str) -> typer.Typer:
    """Return an empty Typer app as all of ours are: plain help, our own errors."""
    return typer.Typer(
        help=help_text,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    )


def _version(asked: bool) -> None:
    if asked:
        from royalty import __version__

        typer.echo(f"royalty {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Pays the rights holders of works for every qualified view, on chain, and proves it.

    Settings come from options, then ROYALTY_NETWORK, ROYALTY_RPC, ROYALTY_ACCOUNT and ROYALTY_CONTRACT,
    then royalty.toml, then the local chain of this folder.

    Exit: 0 done, 1 findings, 2 bad input, 3 node, funds or contract trouble, 4 declined at the prompt,
    70 a bug, 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit with its code."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Return the exit code of one run; errors are one line on stderr, a bug keeps its traceback."""
    try:
        return _run(arguments)
    except RoyaltyError as error:
        warn(f"royalty: {error}")
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        warn("royalty: interrupted")
        return INTERRUPTED
    except OSError as error:
        if error.errno not in _REFUSALS:
            return _bug()
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)[:200]}: "
        warn(f"royalty: {where}{error.strerror}")
        return USAGE
    except Exception:
        return _bug()


def _bug() -> int:
    traceback.print_exc()
    warn("royalty: this is a bug; please report it with the lines above")
    return BUG


def _run(arguments: list[str]) -> int:
    program: Any = typer.main.get_command(make_app())
    try:
        code = program.main(arguments, prog_name="royalty", standalone_mode=False)
    except _CLICK_ERROR as error:
        return _usage_error(error)
    if code == INTERRUPTED:  # the newest typer swallows the interruption itself
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


# click's own base of usage errors, which typer keeps under another module from 0.25 on.
_CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[2]


def _usage_error(error: Any) -> int:
    context = getattr(error, "ctx", None)
    message = " ".join(str(error.format_message()).split()).rstrip(".")
    if context is not None and message == "Missing command":
        sys.stderr.write(context.get_help() + "\n")
        return USAGE
    hint = f"; see `{context.command_path} --help`" if context is not None else ""
    warn(f"royalty: {message}{hint}")
    return USAGE


if __name__ == "__main__":
    main()
