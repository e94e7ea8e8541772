"""HTML that cannot carry what others wrote: a piece of it is made by `element` alone, which escapes.

A child of an element is either Html or a text. A text is escaped, whoever wrote it, and what hides or
reorders in it becomes visible. So there is no call to forget, and no way past it but this module.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from royalty.errors import InputError
from royalty.files import write_whole

HIDDEN = "�"
CUT = "…"
MARKS = 2  # combining marks on one letter; more of them only climb over other lines

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*")
_VOID = frozenset({"meta"})
# What takes no room and is no control character: selectors, fillers, joiners, a blank Braille cell.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
# The page loads nothing and runs nothing, whatever stood in it.
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Html:
    """A piece of HTML that is known to be whole and harmless; only this module makes one."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


Child = Html | str | None


def element(tag: str, /, *children: Child, **attributes: str | int | None) -> Html:
    """Return an element; texts are escaped, None is left out, `class_` is class, `a_b` is `a-b`.

    A link leads within the page alone, and no attribute is one that runs or loads something: ValueError
    says that the program asked for one.

    >>> str(element("b", "1 < 2", class_="x"))
    '<b class="x">1 &lt; 2</b>'
    """
    if not _NAME.fullmatch(tag) or tag in ("script", "iframe", "object", "embed", "base"):
        raise ValueError(f"no element <{tag}> here")
    shown = "".join(_attribute(word, value) for word, value in attributes.items())
    if tag in _VOID:
        return Html(f"<{tag}{shown}>")
    return Html(f"<{tag}{shown}>{join(children).text}</{tag}>")


def _attribute(word: str, value: str | int | None) -> str:
    if value is None:
        return ""
    name = word.rstrip("_").replace("_", "-")
    if not _NAME.fullmatch(name) or name.startswith("on") or name in ("src", "srcset", "action"):
        raise ValueError(f"no attribute {name} here")
    text = plain(str(value))
    if name == "href" and not text.startswith("#"):
        raise ValueError("links lead within the page")
    return f' {name}="{html.escape(text)}"'


def join(children: Iterable[Child]) -> Html:
    """Return pieces and texts one after another."""
    return Html(
        "".join(
            child.text if isinstance(child, Html) else html.escape(plain(child))
            for child in children
            if child is not None
        )
    )


def plain(text: str, most: int | None = None) -> str:
    """Return text in one line, cut to `most` characters, with '�' for each that hides or reorders.

    >>> plain("a\\u202eb", 80)
    'a�b'
    """
    return _cut("".join(HIDDEN if _hides(one) else one for one in _readable(text, most)), most)


def foreign(text: str, most: int = 60) -> Html:
    """Return what others wrote, cut to `most` characters, for a page: isolated, and with the number of
    each character that hides or reorders in a box, so that two such texts never look the same.

    >>> str(foreign("a\\u202eb"))
    '<bdi>a<span class="hidden">U+202E</span>b</bdi>'
    """
    pieces: list[Child] = []
    for letter in _readable(text, most)[:most]:
        if _hides(letter):
            pieces.append(element("span", f"U+{ord(letter):04X}", class_="hidden"))
        else:
            pieces.append(letter)
    return element("bdi", *pieces, CUT if len(text) > most else None)


def _readable(text: str, most: int | None) -> str:
    """Return so much of a text as is shown, spaces as such, no more marks on a letter than it bears."""
    kept: list[str] = []
    marks = 0
    for letter in text if most is None else text[: most + 1]:
        marks = marks + 1 if unicodedata.combining(letter) else 0
        if marks <= MARKS:
            kept.append(" " if letter in "\t\n\r" else letter)
    return "".join(kept)


def _hides(letter: str) -> bool:
    return unicodedata.category(letter)[0] == "C" or bool(_BLANK.match(letter))


def _cut(text: str, most: int | None) -> str:
    return text if most is None or len(text) <= most else text[: most - 1] + CUT


def document(title: str, style: str, body: Html) -> str:
    """Return a whole page in English; `style` is our own CSS."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        Html(f"<style>{style}</style>"),
    )
    return f"<!doctype html>\n{element('html', head, element('body', body), lang='en')}\n"


def write_page(path: str | Path, page: str) -> Path:
    """Write a page whole, under its name only once it is; InputError where that cannot be."""
    place = Path(path)
    try:
        write_whole(place, page)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{place} cannot be written: {reason}") from None
    return place


Attributes = Mapping[str, str | int | None]
