"""Files written whole or not at all, and the digests of their content."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from royalty.errors import InputError


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


def write_new(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file that nobody reads yet, durable when this returns (its name is the folder's to sync)."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, their names durable when this returns."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def new_folder(path: str | Path) -> Path:
    """Return a folder that the caller named, made where it is not there; InputError where it cannot be."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"the folder {folder} cannot be made: {reason}") from None
    return folder


def sync(path: Path) -> None:
    """Bring a file's content, or a folder's list of names, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
