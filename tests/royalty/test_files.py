"""Files are written whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from royalty.files import write_whole


def test_a_folder_is_not_replaced_by_a_file_and_stays_as_it_is(tmp_path: Path) -> None:
    for path in (tmp_path, Path()):
        before = sorted(path.iterdir())
        with pytest.raises(IsADirectoryError) as refused:
            write_whole(path, "text")
        assert refused.value.filename == str(path)
        assert sorted(path.iterdir()) == before
