"""A node that fails on purpose: it hands requests on to a real one, after or instead of what it is told."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Takes the request's method ("batch" for a batch); returns a fault by name, or None to hand it on.
Fault = Callable[[str], str | None]


class FaultyNode:
    """`rpc` is its address; `asked` lists the methods it was asked; `fault` may be changed at any time."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.asked: list[str] = []
        self.fault: Fault = lambda _: None
        self.hang_seconds = 3.0
        self.headers: dict[str, str] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.rpc = f"http://127.0.0.1:{self.server.server_port}/key-that-nobody-may-see"

    def forward(self, body: bytes) -> bytes:
        """The target's answer."""
        asked = urllib.request.Request(self.target, body, {"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(asked, timeout=30) as answer:
            return bytes(answer.read())

    def answer(self, body: bytes) -> tuple[int, bytes] | None:
        """Status and body of the answer; None to hang up without one."""
        request = json.loads(body)
        method = "batch" if isinstance(request, list) else request["method"]
        self.asked.append(method)
        fault = self.fault(method)
        if fault == "drop after":
            self.forward(body)
            return None
        return _FAULTS[fault](self, request, body) if fault else (200, self.forward(body))


def _error(request: Any, **error: Any) -> tuple[int, bytes]:
    identity = None if isinstance(request, list) else request["id"]
    return 200, json.dumps({"jsonrpc": "2.0", "id": identity, "error": error}).encode()


def _hang(node: FaultyNode, *_: Any) -> tuple[int, bytes]:
    time.sleep(node.hang_seconds)
    return 200, b"{}"


def _twice(node: FaultyNode, _: Any, body: bytes) -> tuple[int, bytes]:
    node.forward(body)
    return 200, node.forward(body)


_FAULTS: dict[str, Callable[[FaultyNode, Any, bytes], tuple[int, bytes] | None]] = {
    "500": lambda *_: (500, b"oops"),
    "429": lambda *_: (429, b"slow down"),
    "401": lambda *_: (401, b"who are you"),
    "html": lambda *_: (200, b"<html>welcome</html>"),
    "list": lambda *_: (200, b"[1, 2]"),
    "null": lambda *_: (200, b"null"),
    "hang": _hang,
    "duplicate": _twice,
    "behind": lambda _, request, __: (
        200,
        json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": "0x0"}).encode(),
    ),
    "replacement underpriced": lambda _, request, __: _error(
        request, code=-32000, message="replacement transaction underpriced"
    ),
    "drop": lambda *_: None,
    "cut": lambda node, _, body: (200, node.forward(body)[:-5]),
    "no batches": lambda _, request, __: _error(
        request, code=-32600, message="batches are not supported"
    ),
    "already known": lambda node, request, body: (
        node.forward(body),
        _error(request, code=-32000, message="already known"),
    )[1],
    "nonce too low": lambda _, request, __: _error(request, code=-32000, message="nonce too low"),
    "too much gas": lambda _, request, __: _error(
        request, code=-32000, message="gas required exceeds allowance (16777216)"
    ),
    "no money": lambda _, request, __: _error(
        request, code=-32003, message="insufficient funds for gas * price + value"
    ),
}


def _handler(node: FaultyNode) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: in two, the second waits 40 ms for an ACK

        def do_POST(self) -> None:
            answer = node.answer(self.rfile.read(int(self.headers["Content-Length"])))
            if answer is None:
                self.close_connection = True
                return
            status, body = answer
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                for name, value in node.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def faulty_node(target: str) -> Iterator[FaultyNode]:
    """Yield a faulty node in front of a real one, served by a thread."""
    node = FaultyNode(target)
    thread = threading.Thread(target=node.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield node
    finally:
        node.server.shutdown()
        node.server.server_close()
        thread.join(5)
