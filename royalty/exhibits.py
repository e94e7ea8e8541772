"""Files of a folder that others wrote, as an auditor may read them: bounded, and none outside the folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from royalty.errors import InputError

MAX_MANIFEST_BYTES = 64 * 1024 * 1024
MAX_DOCUMENT_BYTES = 256 * 1024 * 1024


def is_exhibit(folder: Path, path: Path) -> bool:
    """Return whether a path is a plain file that lies in the folder, links followed."""
    try:
        real = path.resolve(strict=True)
        return real.is_relative_to(folder.resolve()) and stat.S_ISREG(real.stat().st_mode)
    except (OSError, RuntimeError, ValueError):
        return False


def read_exhibit(folder: Path, name: str, most: int) -> bytes | None:
    """Return the bytes of a file of a folder by its name, None where there is none.

    Raises InputError where it leads out of the folder, is no plain file (a pipe would never end), has
    more than `most` bytes, or cannot be read.
    """
    path = folder / name
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(folder.resolve()):
            raise InputError(f"{path} leads out of the folder; put the file itself there")
        descriptor = os.open(real, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InputError(f"{path} cannot be read: it is no plain file")
            content = file.read(most + 1)
    except FileNotFoundError:
        if path.is_symlink():
            raise InputError(f"{path} cannot be read: it leads nowhere") from None
        return None
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {reason}") from None
    if len(content) > most:
        raise InputError(f"{path} is larger than {most // 2**20} MiB, which no such file is")
    return content
