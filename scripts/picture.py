"""Draw docs/demo.svg, the README's picture, from what `royalty demo` really prints.

Usage: .venv/bin/python scripts/picture.py
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "demo.svg"
WIDTH = 80
# The fonts of rich's own template lie on somebody's server; a reader's machine has one as good.
TEMPLATE = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def demo_output() -> list[str]:
    """Return what the demo prints, run in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "royalty.cli.app", "demo", "--folder", f"{folder}/demo"],
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
    return done.stdout.splitlines()


def section(lines: list[str], start: str, end: str) -> list[str]:
    """Return the lines from the one that begins with `start` up to the one that begins with `end`."""
    first = next(at for at, line in enumerate(lines) if line.startswith(start))
    last = next(at for at, line in enumerate(lines) if at > first and line.startswith(end))
    return lines[first:last]


def draw(lines: list[str]) -> str:
    """Return the lines as an SVG of a terminal, headings bold."""
    console = Console(width=WIDTH, record=True, file=io.StringIO(), force_terminal=True)
    for at, line in enumerate(lines):
        ruled = at + 1 < len(lines) and set(lines[at + 1]) == {"-"}
        console.print(Text(line, style="bold green" if ruled else ""))
    return console.export_svg(title="make demo", code_format=TEMPLATE, unique_id="royalty-demo")


def main() -> None:
    """Write the picture."""
    lines = demo_output()
    shown = [*section(lines, "2  ", "3  "), "[...]", "", *section(lines, "4  ", "What to try")]
    PICTURE.write_text(draw(["$ make demo", "[...]", "", *shown]), "utf-8")
    print(f"wrote {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
