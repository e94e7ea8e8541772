"""Tallies' data where others find it: beside their manifests in a folder, or at any address that fsspec knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from royalty.errors import InputError, StoreFailed
from royalty.files import write_whole

MAX_URI_BYTES = 512


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tally's data is put (`target`: a folder or an address, '' for nowhere) and found (`base`)."""

    target: str = ""
    base: str = ""

    @classmethod
    def of(cls, publish: str | Path | None, uri: str | None) -> Place:
        """Return what `--publish` and `--uri` say; InputError for an address that nothing here can write.

        Without a base, what is published at an address is found there; a folder's path is told nobody.
        """
        target = "" if publish is None else str(publish)
        base = (uri or (target if _is_address(target) else "")).rstrip("/")
        if len(base.encode()) > MAX_URI_BYTES or not base.isprintable():
            raise InputError(f"--uri is longer than {MAX_URI_BYTES} bytes, or no address")
        if _is_address(target):
            _opened(target)
        return cls(target, base)

    def uri(self, name: str) -> str:
        """Return where a file of a name is found, '' where that is told nobody."""
        return f"{self.base}/{name}" if self.base else ""


def publish(target: str, files: Mapping[str, bytes]) -> None:
    """Put files of these names and contents where `target` says; the same again changes nothing.

    Raises StoreFailed where that cannot be done now: nothing was sent, run it again.
    """
    try:
        for name, content in files.items():
            if _is_address(target):
                with _opened(f"{target.rstrip('/')}/{name}") as file:
                    file.write(content)
            else:
                write_whole(Path(target) / name, content)
    except InputError:
        raise
    except Exception as error:  # whatever a library for some address raises
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise StoreFailed(
            f"{target} cannot be written ({said}); nothing more was sent, run it again"
        ) from error


def _is_address(target: str) -> bool:
    return "://" in target


def _opened(address: str):  # type: ignore[no-untyped-def]
    """Return an fsspec file to be written at an address; InputError where there is no way there."""
    import fsspec

    try:
        return fsspec.open(address, "wb")
    except (ValueError, ImportError) as error:
        said = " ".join(str(error).split())[:160]
        raise InputError(f"--publish {address[:80]}: {said}") from None
