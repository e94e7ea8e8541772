"""Chromium for tests, spoken to over two pipes: no port, no driver, nothing to install beside it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
UNPACKED = ROOT / ".toolchain/browser/chromium"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
MISSING = (
    "there is no Chromium: `make browser` brings one from npm for Linux on x86-64; elsewhere install it,"
    " or name one in ROYALTY_CHROMIUM"
)


def chromium(*, own: bool = True) -> Path | None:
    """The browser: ROYALTY_CHROMIUM, what `make browser` unpacked, or PATH's; None where there is none.

    PATH's comes before the unpacked one where it is not `own` that is wanted: it has the machine's fonts.
    """
    named = os.environ.get("ROYALTY_CHROMIUM")
    if named:
        return Path(named)
    unpacked = [UNPACKED] if UNPACKED.is_file() else []
    installed = [Path(path) for name in NAMES if (path := shutil.which(name))]
    return next(iter(unpacked + installed if own else installed + unpacked), None)


class Tab:
    """One tab: what it logged, what it asked the network for, and what it shows."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to one command of the DevTools protocol."""
        return self._browser.ask(method, params, self._session)

    def open(self, path: Path) -> None:
        """Open a file and wait until it is shown."""
        self._browser.events.clear()
        for domain in ("Page", "Runtime", "Network", "Log", "Security"):
            with contextlib.suppress(AssertionError):
                self.ask(f"{domain}.enable")
        self.ask("Page.navigate", url=path.resolve().as_uri())
        self._browser.wait_for("Page.loadEventFired")
        self._browser.settle(0.3)

    def size(self, width: int, *, dark: bool = False, height: int = 900) -> None:
        """Take the size of a screen, and its colours."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def value(self, expression: str) -> Any:
        """What an expression comes to in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    @property
    def said(self) -> list[str]:
        """What it said on its console, refused or failed at."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(one["params"]) for one in self._browser.events if one["method"] in kinds]

    @property
    def requests(self) -> list[str]:
        """The addresses that it asked for."""
        return [
            one["params"]["request"]["url"]
            for one in self._browser.events
            if one["method"] == "Network.requestWillBeSent"
        ]

    def picture(self) -> bytes:
        """The whole page as PNG."""
        return base64.b64decode(
            self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        )

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(self.ask("Page.printToPDF", preferCSSPageSize=True)["data"])


class Browser:
    """A running Chromium."""

    def __init__(self, program: Path, folder: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._folder, self._number, self._buffer = folder, 0, b""
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()

        def pipes() -> None:
            # Chromium reads commands from 3 and answers on 4; both may be taken by the others of these.
            ours, theirs = os.dup(to_read), os.dup(to_write)
            os.dup2(ours, 3)
            os.dup2(theirs, 4)

        own = program.parent
        brought = {"LD_LIBRARY_PATH": str(own / "lib"), "FONTCONFIG_PATH": str(own)}
        self.process = subprocess.Popen(
            [str(program), *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"HOME": folder} | (brought if program == UNPACKED else {}),
            preexec_fn=pipes,
            pass_fds=(3, 4, to_read, to_write),
        )
        os.close(to_read)
        os.close(to_write)

    def tab(self) -> Tab:
        """A new tab."""
        target = self.ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        answer = self.ask("Target.attachToTarget", {"targetId": target, "flatten": True})
        return Tab(self, answer["sessionId"])

    def ask(
        self, method: str, params: dict[str, Any], session: str | None = None
    ) -> dict[str, Any]:
        """The answer to one command; AssertionError where it is refused."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        ends = time.monotonic() + 60
        while True:
            answer = self._next(ends)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def wait_for(self, method: str) -> None:
        """Wait for an event."""
        ends = time.monotonic() + 60
        while not any(event["method"] == method for event in self.events):
            self._next(ends)

    def settle(self, seconds: float) -> None:
        """Listen a little longer for what comes late."""
        ends = time.monotonic() + seconds
        with contextlib.suppress(TimeoutError):
            while True:
                self._next(ends)

    def _next(self, ends: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left = ends - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                raise TimeoutError("Chromium does not answer")
            chunk = os.read(self._read, 1 << 20)
            assert chunk, "Chromium has ended"
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self.events.append(message)
        return message

    def end(self) -> None:
        """End it by its process id."""
        with contextlib.suppress(AssertionError, TimeoutError, BrokenPipeError):
            self.ask("Browser.close", {})
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._write)
        os.close(self._read)


@contextlib.contextmanager
def running(program: Path) -> Iterator[Browser]:
    """A Chromium with a profile of its own, ended with the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(program, folder)
        try:
            yield browser
        finally:
            browser.end()
