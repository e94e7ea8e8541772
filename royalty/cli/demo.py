"""`royalty demo`: the whole story on a local chain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from royalty.cli.options import Run, command
from royalty.cli.output import progress, table

FOLDER = Annotated[
    Path | None,
    typer.Option("--folder", metavar="DIR", help="Where it happens; default ./royalty-demo."),
]
KEEP = Annotated[bool, typer.Option("--keep", help="Leave the chain running, to look around.")]

NEXT = """
What to try next

  royalty demo --keep        leaves the chain running; then, in {folder}:
    royalty history --kind payout     every payment, from the chain alone
    royalty catalogue show 3          Sintel: who shares, at what tariff
    royalty audit solvency            tokens held = what is owed, exactly
    royalty chain down                ends the chain
  README.md                  a producer's, a platform's and an auditor's first
                             five minutes, with files of your own
"""


def register(app: typer.Typer) -> None:
    """Add the command to the program."""

    @command(app, chain=False)
    def demo(run: Run, folder: FOLDER = None, keep: KEEP = False) -> None:
        """Tell the whole story on a local chain: a real log paid and reconciled, then one that lies.

        Runs from a checkout, on an Anvil of its own, in a folder of its own that it empties first.
        """
        from royalty import demo as story
        from royalty.chain import anvil

        def say(text: str) -> None:
            if not run.json:
                typer.echo(text)

        examples = story.find_examples()
        place = story.prepare_folder(folder or Path(story.FOLDER))
        stage = story.Stage(place, examples, say, progress, table)
        settings = story.settings_of(place)
        chain = anvil.up(settings)
        try:
            seconds = story.run(stage, lambda text: say(f"\n{text}\n{'-' * len(text)}"))
        finally:
            if not keep:
                anvil.down(settings)
        say(NEXT.format(folder=place))
        say(f"All checks held, in {seconds:.0f} s.")
        run.emit(
            {"folder": str(place), "rpc": chain.rpc if keep else None, "seconds": round(seconds)}
        )
