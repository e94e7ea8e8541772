"""Files of an evidence folder are other people's: bounded, plain, and none from outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from royalty.errors import InputError
from royalty.exhibits import is_exhibit, read_exhibit


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("of the auditor's own")
    folder = tmp_path / "evidence"
    folder.mkdir()
    return folder


def test_a_file_of_the_folder_is_read_and_a_missing_one_is_none(place: Path) -> None:
    (place / "a").write_bytes(b"xyz")
    (place / "link").symlink_to("a")
    assert read_exhibit(place, "a", 3) == b"xyz"
    assert read_exhibit(place, "link", 3) == b"xyz", "a link inside the folder is a name"
    assert read_exhibit(place, "none", 3) is None
    assert is_exhibit(place, place / "a") and is_exhibit(place, place / "link")
    assert not is_exhibit(place, place / "none")


def test_a_larger_file_is_refused_without_being_read_whole(place: Path) -> None:
    (place / "a").write_bytes(b"wxyz")
    with pytest.raises(InputError, match="larger than"):
        read_exhibit(place, "a", 3)
    with (place / "huge").open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(InputError, match="larger than"):
        read_exhibit(place, "huge", 3)


@pytest.mark.parametrize("target", ["../secret", "/etc/passwd", ".."])
def test_a_link_out_of_the_folder_is_not_followed(place: Path, target: str) -> None:
    (place / "a").symlink_to(target)
    with pytest.raises(InputError, match="out of the folder"):
        read_exhibit(place, "a", 2**20)
    assert not is_exhibit(place, place / "a")


def test_a_name_cannot_climb_out_of_the_folder(place: Path) -> None:
    with pytest.raises(InputError, match="out of the folder"):
        read_exhibit(place, "../secret", 2**20)


def test_what_is_no_plain_file_is_refused_and_nothing_waits_for_it(place: Path) -> None:
    os.mkfifo(place / "pipe")
    (place / "folder").mkdir()
    (place / "round").symlink_to("round")
    (place / "nowhere").symlink_to("missing")
    for name in ("pipe", "folder", "round", "nowhere"):
        with pytest.raises(InputError, match="cannot be read"):
            read_exhibit(place, name, 2**20)
        assert not is_exhibit(place, place / name)
