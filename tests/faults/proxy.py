"""A node that fails by a seed: every answer is a draw, the same draws again for the same requests."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.faulty import FaultyNode

FAULTS = ("drop", "drop after", "429", "500", "cut", "duplicate", "hang")
SENDING = (*FAULTS, "replacement underpriced")
HANG_SECONDS = 0.6


class SeededNode(FaultyNode):
    """Fails with a probability; `faults_set` (seed, rate), sent as a request, begins anew."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.random = random.Random(0)
        self.rate = 0.0
        self.lock = threading.Lock()
        self.fault = self._draw

    def answer(self, body: bytes) -> tuple[int, bytes] | None:
        request = json.loads(body)
        if isinstance(request, dict) and request["method"] == "faults_set":
            with self.lock:
                seed, self.rate = request["params"]
                self.random = random.Random(seed)
            self.asked.clear()
            return 200, b'{"jsonrpc": "2.0", "id": 1, "result": true}'
        return super().answer(body)

    def _draw(self, method: str) -> str | None:
        with self.lock:
            if self.random.random() >= self.rate:
                return None
            return self.random.choice(SENDING if method.startswith("eth_send") else FAULTS)


@contextmanager
def seeded_proxy(target: str) -> Iterator[str]:
    """Yield the address of a seeded node in front of a real one, in a process of its own."""
    node = SeededNode(target)
    node.hang_seconds = HANG_SECONDS
    child = os.fork()
    if child == 0:
        _serve(node)
    node.server.socket.close()
    try:
        yield node.rpc
    finally:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)


def _serve(node: Any) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    parent = os.getppid()

    def end_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        node.server.serve_forever(0.05)
    finally:
        os._exit(0)
