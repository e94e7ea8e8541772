"""What is fetched: https alone, bounded, kept only under the digest that was posted."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from royalty import fetching
from royalty.errors import FetchFailed, InputError
from royalty.fetching import fetch

CONTENT = b"a tally's data" * 10_000
DIGEST = hashlib.sha256(CONTENT).digest()


@dataclass
class Site:
    """A web server: `answers` by path, each status, body and headers; `asked` are the paths it was asked for."""

    port: int = 0
    answers: dict[str, tuple[int, bytes, dict[str, str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def uri(self, path: str) -> str:
        return f"https://127.0.0.1:{self.port}{path}"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server that https addresses lead to, without the encryption: that is requests' own affair."""
    made = Site(answers={"/data": (200, CONTENT, {})})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            status, body, headers = made.answers.get(self.path, (404, b"", {}))
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    real = HTTPAdapter.send

    def plain(
        self: HTTPAdapter, request: requests.PreparedRequest, **options: Any
    ) -> requests.Response:
        assert (request.url or "").startswith("https://"), request.url
        asked, request.url = request.url, (request.url or "").replace("https://", "http://", 1)
        answer = real(self, request, **{**options, "proxies": {}})
        request.url = answer.url = asked
        return answer

    monkeypatch.setattr(HTTPAdapter, "send", plain)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join(5)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_file_of_the_digest_is_kept(site: Site, tmp_path: Path) -> None:
    fetch(site.uri("/data"), DIGEST, tmp_path / "new" / "data.parquet")
    assert (tmp_path / "new" / "data.parquet").read_bytes() == CONTENT
    assert left(tmp_path) == ["data.parquet"]


def test_other_content_is_refused_and_nothing_of_it_is_kept(site: Site, tmp_path: Path) -> None:
    site.answers["/data"] = (200, CONTENT[:-1] + b"!", {})
    with pytest.raises(InputError, match="SHA-256"):
        fetch(site.uri("/data"), DIGEST, tmp_path / "data")
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:{port}/data",
        "file:///etc/passwd",
        "ftp://127.0.0.1/data",
        "ipfs://bafy",
        "https://",
        "https:///data",
        "https://user:word@127.0.0.1:{port}/data",
        "https://[::1",
        "\x1b[2Jhttps://x",
        "",
    ],
)
def test_nothing_but_https_is_asked(site: Site, tmp_path: Path, uri: str) -> None:
    with pytest.raises(InputError, match="no https address") as refused:
        fetch(uri.replace("{port}", str(site.port)), DIGEST, tmp_path / "data")
    assert "\x1b" not in str(refused.value)
    assert (site.asked, left(tmp_path)) == ([], [])


def test_redirects_are_followed_to_https_alone_and_not_for_ever(site: Site, tmp_path: Path) -> None:
    site.answers["/moved"] = (302, b"", {"Location": "/data"})
    fetch(site.uri("/moved"), DIGEST, tmp_path / "data")
    site.answers["/down"] = (302, b"", {"Location": f"http://127.0.0.1:{site.port}/data"})
    with pytest.raises(InputError, match="no https address"):
        fetch(site.uri("/down"), DIGEST, tmp_path / "down")
    site.answers["/round"] = (302, b"", {"Location": "/round"})
    with pytest.raises(FetchFailed, match="status 302"):
        fetch(site.uri("/round"), DIGEST, tmp_path / "round")
    assert left(tmp_path) == ["data"]


def test_what_is_too_long_cut_or_missing_is_not_kept(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.answers["/cut"] = (200, CONTENT, {"Content-Length": str(len(CONTENT) + 9)})
    for path in ("/cut", "/nowhere"):
        with pytest.raises(FetchFailed):
            fetch(site.uri(path), DIGEST, tmp_path / "data")
    monkeypatch.setattr(fetching, "MAX_BYTES", len(CONTENT) - 1)
    with pytest.raises(FetchFailed, match="1 GiB"):
        fetch(site.uri("/data"), DIGEST, tmp_path / "data")
    monkeypatch.setattr(fetching, "MAX_BYTES", 2**30)
    monkeypatch.setattr(fetching, "WHOLE_SECONDS", -1)
    with pytest.raises(FetchFailed, match="slowly"):
        fetch(site.uri("/data"), DIGEST, tmp_path / "data")
    assert left(tmp_path) == []


def test_nobody_at_the_address_is_an_error_in_one_line(site: Site, tmp_path: Path) -> None:
    with pytest.raises(FetchFailed, match="does not answer"):
        fetch("https://127.0.0.1:1/data", DIGEST, tmp_path / "data")
    assert (site.asked, left(tmp_path)) == ([], [])
