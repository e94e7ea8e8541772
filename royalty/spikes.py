"""Spikes: units of a work and day far above what is usual for it are held until a person has looked.

Pure: priced units in, the same units out, what is beyond the bound split off as held. The bound of a work,
kind and day is `multiple` times the median of its days of before that had any units, plus `above`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from royalty.days import format_day, parse_day
from royalty.errors import InputError
from royalty.terms import Held, Item
from royalty.usage import Kind, WorkRef

if TYPE_CHECKING:
    from royalty.logs import Policy

Release = tuple[int, WorkRef]
Units = Mapping[tuple[int, int, Kind, int], int]
_Subject = tuple[WorkRef, Kind]


def parse_release(text: str) -> Release:
    """Return day and work of `12/3:2026-11-19`; InputError where it is not one.

    >>> parse_release("12/3:1970-01-02")
    (1, WorkRef(catalogue=12, index=3))
    """
    work, colon, day = text.partition(":")
    if not colon:
        raise InputError(
            f"--release '{text[:60]}' is not WORK:DAY; write for example 12/3:2026-11-19"
        )
    return parse_day(day, what="--release"), WorkRef.parse(work)


def format_release(release: Release) -> str:
    """Return `12/3:2026-11-19` of a day and work."""
    day, work = release
    return f"{work}:{format_day(day)}"


def hold_spikes(
    items: Iterable[Item],
    policy: Policy,
    *,
    reported: Callable[[int], Units],
    released: Collection[Release] = (),
    counted: Collection[int] = (),
) -> list[Item]:
    """Return items in order of their days, what is beyond the bound split off as `spike_hold`.

    A day of before counts with what `reported` gives, or, where it is one of the `counted` days, with
    what these items are reported as: so days come to the same one by one or at once. What is held for
    another reason stays so, and counts as nothing.
    """
    if policy.spike_multiple is None:
        return list(items)
    history: dict[int, Mapping[_Subject, int]] = {}
    made: list[Item] = []
    by_day: dict[int, list[Item]] = {}
    for item in items:
        by_day.setdefault(item.day, []).append(item)

    def before(day: int) -> Mapping[_Subject, int]:
        if day not in history:
            history[day] = {} if day in counted else _by_subject(reported(day))
        return history[day]

    for day in sorted(by_day):
        split = [
            part
            for item in by_day[day]
            for part in _split(item, _bound(item, policy, before), (day, item.work) in released)
        ]
        if day in counted:
            history[day] = {(one.work, one.kind): one.units for one in split if not one.held}
        made += split
    return made


def _bound(item: Item, policy: Policy, before: Callable[[int], Mapping[_Subject, int]]) -> int:
    """Return how many units of an item's work, kind and day are usual at most."""
    days = range(item.day - policy.spike_days, item.day)
    return usual_most(policy, (before(day).get((item.work, item.kind), 0) for day in days))


def usual_most(policy: Policy, before: Iterable[int]) -> int:
    """Return how many units are usual at most after days of so many; days without any do not count."""
    recent = sorted(units for units in before if units)
    return int(Fraction(policy.spike_multiple or 0) * median(recent)) + policy.spike_above


def median(numbers: list[int]) -> Fraction:
    """Return the median of sorted numbers, exact; 0 of none.

    >>> median([1, 2, 4, 9])
    Fraction(3, 1)
    """
    if not numbers:
        return Fraction(0)
    middle = len(numbers) // 2
    if len(numbers) % 2:
        return Fraction(numbers[middle])
    return Fraction(numbers[middle - 1] + numbers[middle], 2)


def _split(item: Item, bound: int, released: bool) -> list[Item]:
    """Return an item as it is, or in two: what is usual, and what is held beyond it."""
    if item.held or released or item.units <= bound:
        return [item]
    beyond = replace(item.of(item.units - bound), held=Held.SPIKE_HOLD)
    return [item.of(bound), beyond] if bound else [beyond]


def _by_subject(units: Units) -> dict[_Subject, int]:
    found: dict[_Subject, int] = {}
    for (catalogue, _, kind, index), count in units.items():
        subject = WorkRef(catalogue, index), kind
        found[subject] = found.get(subject, 0) + count
    return found
