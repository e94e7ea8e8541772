"""Write docs/cli.md from the commands themselves; `--check` writes nothing and fails when it is stale.

What is printed does not depend on the version of typer: each command's docstring, arguments and options.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "cli.md"

HEAD = """<!-- Written by `make docs` from the commands' own help; a test fails when it is stale. -->

# The command line

Every command takes `--json` and then prints one JSON document on stdout; errors are one line on stderr.

| exit | means |
|---|---|
| 0 | done |
| 1 | findings: something is held, negative, skipped, unsigned, or over a limit that was asked for |
| 2 | bad input or usage; nothing was changed |
| 3 | node, funds or contract trouble; with `--json` the document has `pending` |
| 4 | declined at the prompt |
| 70 | a bug, with its traceback |
| 130 | interrupted |

Settings come from options, then the environment (`ROYALTY_NETWORK`, `ROYALTY_RPC`, `ROYALTY_ACCOUNT`,
`ROYALTY_CONTRACT`, `ROYALTY_PASSWORD`, `ROYALTY_PASSWORD_FILE`, `ROYALTY_ANVIL`, `ROYALTY_KEYS`,
`ROYALTY_COIN_PRICE`), then `royalty.toml` (found upwards from the working folder), then defaults; the
default network is the local chain that `royalty chain up` left running for the folder. An account's name
works wherever an address does.

```toml
# royalty.toml
network = "base"
account = "studio"

[networks.base]
rpc = "https://..."
chain_id = 8453
contract = "0x..."
confirmations = 12
coin_price = "2500"   # of the chain's coin, in tokens: for `tally settle --worth-gas`

[store]
retain_days = 90   # older days are closed once everything of them is reported; left out: none are
```

Amounts of nano-tokens (`x_nano`) are strings of digits, the same in tokens stands beside them as `x`;
days are `YYYY-MM-DD`, inclusive, in UTC.

These options mean the same wherever a command lists them:

| option | means |
|---|---|
"""


def program() -> Any:
    """The whole program as click sees it."""
    import typer.main

    from royalty.cli.app import make_app

    return typer.main.get_command(make_app())


def commands(group: Any, path: tuple[str, ...] = ("royalty",)) -> Iterator[tuple[str, Any]]:
    """Each command under its full name, in the order of the help."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if hasattr(command, "list_commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def shared_options() -> dict[str, str]:
    """The options that many commands share, with their help."""
    from royalty.cli import options

    named = {**options.CHAIN, **options.OUTPUT, **options.SENDING}
    kinds = [kind.__metadata__[0] for kind, _ in named.values()]
    return {long_name(kind): str(kind.help) for kind in kinds}


def long_name(kind: Any) -> str:
    """The `--name` of an option that is not attached to a command yet."""
    words = [kind.default, *(kind.param_decls or ())]
    return next(word for word in words if isinstance(word, str) and word.startswith("--"))


def options_of(command: Any) -> list[Any]:
    """A command's options but --help."""
    return [
        each for each in command.params if each.param_type_name == "option" and each.name != "help"
    ]


def arguments_of(command: Any) -> list[Any]:
    """A command's positional arguments."""
    return [each for each in command.params if each.param_type_name == "argument"]


def help_of(command: Any, parameter: Any) -> str:
    """A parameter's help as the command's function says it; some typer and click lose an argument's."""
    found = inspect.signature(command.callback).parameters[parameter.name].annotation
    return str(getattr(found, "__metadata__", [parameter])[0].help or "")


def undocumented(name: str, command: Any) -> Iterator[str]:
    """What of a command has no help."""
    if not (command.help or "").strip():
        yield name
    for each in [*arguments_of(command), *options_of(command)]:
        if not help_of(command, each).strip():
            yield f"{name} {each.opts[0]}"


def argument_word(argument: Any) -> str:
    """An argument as usage shows it."""
    word = (argument.metavar or argument.name).strip("[]").removesuffix("...").upper()
    word += "..." if argument.nargs == -1 else ""
    return word if argument.required else f"[{word}]"


def section(name: str, command: Any, shared: dict[str, str]) -> str:
    """One command's part of the page."""
    usage = " ".join([name, *map(argument_word, arguments_of(command))])
    lines = [f"### `{usage}`", "", cell(inspect.cleandoc(command.help), keep_lines=True), ""]
    own = [each for each in options_of(command) if each.opts[0] not in shared]
    rows = [(argument_word(each), help_of(command, each)) for each in arguments_of(command)]
    rows += [(option_word(each), help_of(command, each)) for each in own]
    if rows:
        lines += ["| | |", "|---|---|"]
        lines += [f"| `{cell(word)}` | {cell(text)} |" for word, text in rows]
        lines.append("")
    common = [each.opts[0] for each in options_of(command) if each.opts[0] in shared]
    if common:
        lines += ["Also: " + " ".join(f"`{word}`" for word in common), ""]
    return "\n".join(lines)


def option_word(option: Any) -> str:
    """An option as usage shows it."""
    words = ", ".join([*option.opts, *option.secondary_opts])
    valued = "" if option.is_flag else f" {option.metavar or option.name.upper()}"
    return words + valued + (" (required)" if option.required else "")


def cell(text: str, *, keep_lines: bool = False) -> str:
    """Text fit for a cell of a table, or for a paragraph."""
    text = text.replace("|", "\\|").replace("\b", "")
    return text if keep_lines else " ".join(text.split())


def page() -> str:
    """The whole page."""
    shared = shared_options()
    parts = [HEAD + "".join(f"| `{word}` | {cell(text)} |\n" for word, text in shared.items())]
    noun = ""
    for name, command in commands(program()):
        if name.split(" ")[1] != noun:
            noun = name.split(" ")[1]
            parts.append(f"## {noun}\n")
        parts.append(section(name, command, shared))
    return "\n".join(parts).rstrip("\n") + "\n"


def main() -> int:
    missing = [
        each for name, command in commands(program()) for each in undocumented(name, command)
    ]
    if missing:
        print(f"no help: {', '.join(missing)}", file=sys.stderr)
        return 1
    made = page()
    stale = not PAGE.is_file() or PAGE.read_text() != made
    if "--check" in sys.argv:
        if stale:
            print("docs/cli.md is stale: run `make docs`", file=sys.stderr)
        return int(stale)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
