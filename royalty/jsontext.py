"""JSON that others wrote: parsed with a bound on its depth.

Python's parser recurses in C, up to the process's recursion limit. Importing the newest eth-account
raises that limit to 100,000 (py_ecc does), which is beyond the stack: without a bound of our own, one
line of a hundred thousand brackets in a log, or in metadata on chain, would end the process.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

MAX_DEPTH = 100

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


def parse_json(content: str | bytes, decode: Callable[[str], Any] = json.loads) -> Any:
    """Return the value of a JSON text; ValueError where it is none, or nested over 100 levels deep.

    `decode` is the `decode` of a JSONDecoder, for those who want numbers as text.

    >>> parse_json('{"a": [1]}')
    {'a': [1]}
    """
    text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
    if depth_of(text) > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    return decode(text)


def depth_of(text: str) -> int:
    """Return how deep the brackets outside strings nest, or a bound of it where that is shallow."""
    brackets = text.count("[") + text.count("{")
    if brackets <= MAX_DEPTH:
        return brackets
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest
