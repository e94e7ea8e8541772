"""Take pictures of a page, to be looked at: wide and narrow, light and dark, and as it is printed.

python scripts/look.py report.html pictures/
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.browser import MISSING, chromium, running

LOOKS = [(1280, False), (1280, True), (375, False), (375, True)]


def main() -> int:
    page, folder = Path(sys.argv[1]), Path(sys.argv[2])
    program = chromium(own=False)
    if program is None:
        print(MISSING, file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    with running(program) as browser:
        tab = browser.tab()
        for width, dark in LOOKS:
            tab.size(width, dark=dark)
            tab.open(page)
            name = f"{page.stem}-{width}-{'dark' if dark else 'light'}.png"
            (folder / name).write_bytes(tab.picture())
            print(folder / name)
        (folder / f"{page.stem}.pdf").write_bytes(tab.pdf())
        print(folder / f"{page.stem}.pdf")
    return 0


if __name__ == "__main__":
    sys.exit(main())
