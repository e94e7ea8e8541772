"""Files fetched from an address because somebody asked for it: https only, bounded, kept under a known digest."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from royalty.errors import FetchFailed, InputError
from royalty.files import make_folder, sync

if TYPE_CHECKING:
    import requests

MAX_BYTES = 2**30
CHUNK = 2**16
ANSWER_SECONDS = 30
WHOLE_SECONDS = 1_800
MAX_REDIRECTS = 5


def fetch(uri: str, digest: bytes, path: Path) -> None:
    """Fetch a file of a known SHA-256 and put it under a path, whole; nothing reads it before it is checked.

    Raises InputError for an address that is not https, and for other content; FetchFailed where
    nothing, too much, or too slow an answer comes.
    """
    import requests

    _require_https(uri)
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".fetch.")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, requests.Session() as session:
            found = _download(session, uri, file)
            file.flush()
            os.fsync(file.fileno())
        if found != digest:
            raise InputError(
                f"what {_shown(uri)} answers has the SHA-256 0x{found.hex()}, not 0x{digest.hex()};"
                " ask for another copy, and name it with --data"
            )
        part.replace(path)
        sync(path.parent)
    except requests.RequestException as error:
        raise FetchFailed(
            f"{_shown(uri)} does not answer ({type(error).__name__}); try again, or name a copy with --data"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def _download(session: requests.Session, uri: str, file: Any) -> bytes:
    """Write what an address answers into a file and return its SHA-256."""
    ends = time.monotonic() + WHOLE_SECONDS
    summed, size = hashlib.sha256(), 0
    with _answer(session, uri) as answer:
        for chunk in answer.iter_content(CHUNK):
            size += len(chunk)
            if size > MAX_BYTES:
                raise FetchFailed(f"{_shown(uri)} answers more than a tally's data may be (1 GiB)")
            if time.monotonic() > ends:
                raise FetchFailed(f"{_shown(uri)} answers too slowly; name a copy with --data")
            summed.update(chunk)
            file.write(chunk)
    return summed.digest()


def _answer(session: requests.Session, uri: str) -> requests.Response:
    """Return the answer of an address, still to be read; redirects are followed to https alone."""
    at = uri
    for _ in range(MAX_REDIRECTS + 1):
        answer = session.get(
            at,
            stream=True,
            timeout=ANSWER_SECONDS,
            allow_redirects=False,
            headers={"Accept-Encoding": "identity"},
        )
        if not answer.is_redirect:
            break
        answer.close()
        at = urljoin(at, answer.headers["Location"])
        _require_https(at)
    if answer.status_code != 200:
        answer.close()
        raise FetchFailed(
            f"{_shown(uri)} answers with status {answer.status_code}; name a copy with --data"
        )
    return answer


def _require_https(uri: str) -> None:
    try:
        parts = urlsplit(uri)
        fine = parts.scheme == "https" and bool(parts.hostname) and parts.username is None
    except ValueError:
        fine = False
    if not fine:
        raise InputError(
            f"'{_shown(uri)}' is no https address, and nothing else is fetched; name a copy with --data"
        )


def _shown(uri: str) -> str:
    """Return a hostile address for a message: one line, cut, without what moves a cursor."""
    return ascii(uri)[1:-1][:120]
