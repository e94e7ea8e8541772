"""The further steps of a policy against the twin, row by row, each step on or off at random."""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from unittest.mock import patch

import pyarrow as pa
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from royalty import logs
from royalty.days import Period
from royalty.logs.robots import RobotList
from royalty.usage import WorkRef

sys.path.insert(0, str(Path(__file__).parent))
import twin
from test_rules_twin import ANSWERS, DAY, DEALS, POLICIES, WORKS, text_row

FIELDS = [*twin.NATIVE, *twin.STEP_FIELDS]
PATTERNS = ["bot", "^.?$", r"^java\/\d{1,2}", "Wget"]
ROBOTS = RobotList("1", "\n".join(PATTERNS).encode())
SECTIONS = ["", "0-30", "0-60 30-90", "0-15.5 15.5-30", "20-50 0-10 5-25", "0-29.9999999", "7-7", "60-30",
            "0-1;2-3", "0-30 ", "-", "0-1000000000", "0-1000000001", "١-٢", "0-1-2"]  # fmt: skip
STATUSES = ["200", "200", "206", "304", "404", "", "0200", "ok", "99"]
AGENTS = ["Firefox", "Firefox", "Firefox/ä", "Googlebot", "Bot", "java/17", "curl Wget", "", "x"]
UPLOADERS = ["", "anna", "ben", "Ä", "s"]
AUTOPLAYS = ["false", "0", "False", "true", "1", "", "no"]
TERRITORIES = ["DE", "de", "AT", "US", "", "D", "Deutschland"]
STEPS = {
    "sections": [True],
    "at_most_duration": [True],
    "statuses": [(200,), (200, 206, 304)],
    "robots": [PATTERNS],
    "own_plays": [True],
    "autoplay": [True],
    "territories": [("DE",), ("AT", "DE")],
    "repeat": [Fraction(text) for text in ("0", "1.5", "61", "3600", "86400")],
}


def policy_of(numbers: dict, steps: dict) -> logs.Policy:
    repeat = steps.get("repeat")
    return logs.Policy(
        minimum_seconds=Decimal(numbers["minimum"]),
        short_fraction=Decimal(numbers["short"]),
        double_click_seconds=Decimal(numbers["click"]),
        per_viewer_work_day=numbers["cap"],
        sections="sections" in steps,
        at_most_duration="at_most_duration" in steps,
        statuses=steps.get("statuses", ()),
        robots_version="1" if "robots" in steps else "",
        robots_sha256=ROBOTS.sha256 if "robots" in steps else "",
        own_plays="own_plays" in steps,
        autoplay="autoplay" in steps,
        territories=steps.get("territories", ()),
        repeat_seconds=None if repeat is None else Decimal(repeat.numerator) / repeat.denominator,
    )


def step_row(rng: Random) -> dict[str, str]:
    """A row that mostly passes what stands before the steps."""
    row = text_row(rng, rng.choice([0.0, 0.0, 0.02]), 1000)
    good = rng.random() < 0.6
    return row | {
        "sections": rng.choice(SECTIONS[1:3] if good else SECTIONS),
        "status": "200" if good else rng.choice(STATUSES),
        "user_agent": "Firefox" if good else rng.choice(AGENTS),
        "uploader": "carl" if good else rng.choice(UPLOADERS),
        "autoplay": "0" if good else rng.choice(AUTOPLAYS),
        "territory": "DE" if good else rng.choice(TERRITORIES),
    }


def typed(row: dict[str, str], rng: Random) -> dict[str, object]:
    """A row as JSON might have it: lists of sections, true and false, numbers, nothing where empty."""
    found: dict[str, object] = {name: text for name, text in row.items() if text != ""}
    if rng.random() < 0.5 and row["sections"] in SECTIONS[1:5]:
        parts = [[float(end) for end in part.split("-")] for part in row["sections"].split(" ")]
        names = rng.choice([None, ("start", "end"), ("startTimestamp", "endTimestamp")])
        found["sections"] = [dict(zip(names, p, strict=True)) if names else p for p in parts]
    elif rng.random() < 0.1:
        found["sections"] = rng.choice([[], [[1]], {"start": 1}, True])
    if row["status"] == "200" and rng.random() < 0.5:
        found["status"] = 200
    if row["autoplay"] in ("true", "false"):
        found["autoplay"] = row["autoplay"] == "true"
    return found


def write(path: Path, rows: list[dict[str, str]], rng: Random) -> None:
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        lines = [json.dumps(typed(row, rng), ensure_ascii=False) for row in rows]
        path.write_text("\n".join(lines), encoding="utf-8")
    else:
        table = pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in FIELDS]))
        flags = [{"true": True, "false": False}.get(row["autoplay"]) for row in rows]
        at = FIELDS.index("autoplay")
        parquet.write_table(table.set_column(at, "autoplay", pa.array(flags, pa.bool_())), path)


RANDOM = {
    "seed": st.integers(0, 2**32),
    "forms": st.lists(st.sampled_from(["csv", "jsonl", "parquet"]), min_size=1, max_size=2),
    "numbers": POLICIES,
    "likely": st.sampled_from([0.2, 0.5, 1.0]),
    "shape": st.sampled_from([None, None, "named", "without ids", "last"]),
    "days": st.sampled_from([(DAY, DAY), (DAY - 1, DAY + 1)]),
}


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(**RANDOM)
def test_every_row_gets_the_reason_that_the_twin_gives_it_under_any_steps(
    seed, forms, numbers, likely, shape, days
):
    check_random(seed, forms, numbers, likely, shape, days)


def check_random(seed, forms, numbers, likely, shape, days) -> None:
    rng = Random(seed)
    steps = {name: rng.choice(some) for name, some in STEPS.items() if rng.random() < likely}
    table = None if shape is None else {name: {"column": name} for name in FIELDS}
    if shape == "without ids":
        del table["usage_id"]
    if shape is not None:
        table["resend"] = "last" if shape == "last" else "first"
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{at}.{form}") for at, form in enumerate(forms)]
        for path in paths:
            rows = [step_row(rng) for _ in range(rng.choice([1, 20, 60]))]
            # In one row at least nothing is missing: a file of JSON lines must show its columns.
            write(path, [*rows, dict.fromkeys(FIELDS, "1")], rng)
        for reason in check(Path(folder, "excluded.csv"), paths, table, numbers, steps, days):
            event(reason)


def check(listed, paths, table, numbers, steps, days) -> dict[str, int]:
    """Compare a count with the twin's, row by row, and return the excluded rows by reason."""
    native = {name: {"column": name} for name in FIELDS}
    expected = twin.count(
        paths,
        table or native,
        *days,
        ANSWERS,
        DEALS,
        WORKS,
        minimum=Fraction(numbers["minimum"]),
        short=Fraction(numbers["short"]),
        click=Fraction(numbers["click"]),
        cap=numbers["cap"],
        steps=steps,
    )
    with patch("royalty.logs.robots.installed", lambda: ROBOTS):
        found = logs.count(
            logs.find_sources(paths, None if table is None else logs.Columns.of(table)),
            Period(*days),
            logs.WorkTable(
                [(text, WorkRef(*work)) for text, work in ANSWERS.items()], DEALS, WORKS
            ),
            policy_of(numbers, steps),
            excluded_to=listed,
        )
    names = [str(path) for path in paths]
    with listed.open(newline="", encoding="utf-8") as file:
        reasons = {
            (names.index(row["file"]), int(row["line"])): row["reason"]
            for row in csv.DictReader(file)
        }
    assert reasons == expected.reasons
    assert {r: n for r, n in found.excluded.items() if n} == expected.excluded
    assert (found.qualified, found.without_identity) == (
        expected.qualified,
        expected.without_identity,
    )
    assert {
        (u.day, u.catalogue, u.index, u.kind.word): u.units for u in found.units
    } == expected.units
    return expected.excluded
