"""JSON of others, which must not end the process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.jsontext import MAX_DEPTH, depth_of, parse_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_what_is_json_is_read_as_json_reads_it(value: object) -> None:
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":['])
def test_what_nests_too_deep_is_refused(opening: str) -> None:
    with pytest.raises(ValueError, match="levels deep"):
        parse_json(opening * 100_000)


def test_brackets_in_strings_and_side_by_side_nest_nothing() -> None:
    assert parse_json(json.dumps("[{" * 9_999)) == "[{" * 9_999
    assert parse_json(json.dumps([[]] * 9_999)) == [[]] * 9_999
    assert parse_json(json.dumps(['\\"['] * 200)) == ['\\"['] * 200


def test_the_deepest_that_is_allowed_is_read() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert depth_of(text) == MAX_DEPTH
    assert parse_json(text) != []


def test_a_hostile_line_does_not_end_a_process_whose_recursion_limit_was_raised() -> None:
    # As py_ecc does when the newest eth-account imports it; json.loads then ends the process.
    program = (
        "import sys; sys.setrecursionlimit(100_000)\n"
        "from royalty.jsontext import parse_json\n"
        "try: parse_json('[' * 100_000)\n"
        "except ValueError: print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr[-500:]
