"""Charts as SVG without a script: places in percent, letters in pixels, so that text keeps its size at
any width. Integers throughout; what is drawn is rounded, what is written beside it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from royalty.pages.markup import Html, element, join

HEIGHT = 190
TOP, FOOT = 22, 22
PLOT = HEIGHT - TOP - FOOT
LABELS = 10
WIDEST = 900  # of a slot's own hundredths of a percent: bars of few days do not become walls


@dataclass(frozen=True, slots=True)
class Slot:
    """One day (or month) of a chart: how it is called, both sides, whether anything in it differs."""

    name: str
    label: str
    logged: int
    credited: int
    differs: bool


def percent(part: int, whole: int) -> str:
    """Return a place as CSS percent of at most two decimals, cut; 0 % of nothing.

    >>> percent(1, 3)
    '33.33%'
    """
    hundredths = 10_000 * part // whole if whole else 0
    return f"{hundredths // 100}.{hundredths % 100:02d}%"


def ticks(most: int) -> list[int]:
    """Return 0 and at most five round steps up to or past `most`.

    >>> ticks(42)
    [0, 10, 20, 30, 40, 50]
    """
    step = 1
    while 5 * step < most:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    last = max(-(-most // step), 1)
    return [at * step for at in range(last + 1)]


def columns(
    name: str, title: str, said: str, slots: Sequence[Slot], show: Callable[[int], str]
) -> Html:
    """Return a chart over time: a pale column for the log, a dark one inside it for the chain.

    Where they are of one height both sides agree; what differs bears a mark besides, since a unit
    among thousands shows in no column.
    """
    marks = ticks(max((max(slot.logged, slot.credited) for slot in slots), default=0))
    top = marks[-1]
    words = [show(mark) for mark in marks]
    gutter = 12 + 7 * max(len(word) for word in words)
    axis = element(
        "svg",
        *(
            _text(word, gutter - 8, _y(mark, top) + 4, "end")
            for word, mark in zip(words, marks, strict=True)
        ),
        width=gutter,
        height=HEIGHT,
        class_="axis",
        aria_hidden="true",
    )
    plot = element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", said, id=f"{name}-desc"),
        *(
            element("line", x1="0", x2="100%", y1=_y(mark, top), y2=_y(mark, top), class_="grid")
            for mark in marks
        ),
        *(_slot(at, slot, slots, top) for at, slot in enumerate(slots)),
        width="100%",
        height=HEIGHT,
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )
    return element("div", axis, plot, class_="plot")


def _slot(at: int, slot: Slot, slots: Sequence[Slot], top: int) -> Html:
    every = 10_000 // len(slots)
    wide = min(every * 72 // 100, WIDEST)
    middle = (2 * at + 1) * 10_000 // (2 * len(slots))
    step = -(-len(slots) // LABELS)
    highest = _y(max(slot.logged, slot.credited), top)
    return join(
        [
            _column(middle, wide, slot.logged, top, "logged"),
            _column(middle, wide * 45 // 100, slot.credited, top, "credited"),
            _text("≠", percent(middle, 10_000), highest - 5, "middle", "differs")
            if slot.differs
            else None,
            _text(
                slot.label,
                percent(middle, 10_000),
                HEIGHT - 5,
                "middle",
                "minor" if len(slots) > LABELS // 2 and at % (2 * step) else None,
            )
            if at % step == 0
            else None,
        ]
    )


def _column(middle: int, wide: int, value: int, top: int, side: str) -> Html | None:
    if not value:
        return None
    y = min(_y(value, top), TOP + PLOT - 1)
    return element(
        "rect",
        x=percent(middle - wide // 2, 10_000),
        width=percent(wide, 10_000),
        y=y,
        height=TOP + PLOT - y,
        class_=side,
    )


def _y(value: int, top: int) -> int:
    return TOP + PLOT - PLOT * value // top


def _text(text: str, x: int | str, y: int, anchor: str, class_: str | None = None) -> Html:
    return element("text", text, x=x, y=y, text_anchor=anchor, class_=class_)


def bar(logged: int, credited: int | None, most: int) -> Html:
    """Return a bar for a row of a table that says the same numbers; so it is silent for a reader."""
    return element(
        "svg",
        _bar(logged, most, 0, 12, "logged"),
        None if credited is None else _bar(credited, most, 3, 6, "credited"),
        width="100%",
        height=12,
        class_="bar",
        aria_hidden="true",
    )


def _bar(value: int, most: int, y: int, height: int, side: str) -> Html | None:
    if not value:
        return None
    return element("rect", x="0", y=y, width=percent(value, most), height=height, class_=side)


def legend() -> Html:
    """Return what the two colours and the mark mean."""
    return element(
        "p",
        element("span", _key("logged"), "in the log"),
        element("span", _key("credited"), "on the chain"),
        element("span", element("b", "≠", class_="differs"), "both sides differ"),
        class_="legend",
    )


def _key(side: str) -> Html:
    return element(
        "svg",
        element("rect", width="100%", height="12", class_=side),
        width=16,
        height=12,
        class_="key",
        aria_hidden="true",
    )
