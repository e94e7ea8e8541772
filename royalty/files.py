"""Files written whole or not at all, and the digests of their content."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_whole(path: Path, content: bytes | str, *, mode: int = 0o644) -> None:
    """Write a file so that readers see the old content or the new, never a part; makes its folder."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def write_json(path: Path, document: Any, *, mode: int = 0o644) -> None:
    """Write a JSON document whole, for people to read too."""
    write_whole(path, json.dumps(document, indent=2) + "\n", mode=mode)
