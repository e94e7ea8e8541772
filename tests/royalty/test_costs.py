"""What direct reports are said to take, against the bench's receipts; and which way is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from royalty.costs import REPORTER_GAS, Costs, Form, costs_of, likely_gas
from royalty.errors import InputError
from royalty.merkle import Claim, DayLine, leaves_of
from royalty.usage import Kind, Line, Tariff

GAS = json.loads((Path(__file__).parents[2] / "bench" / "gas.json").read_text())


@pytest.mark.parametrize(
    ("operation", "catalogues", "works"),
    [
        ("report_1_platform", 1, 1),
        ("report_100_of_100", 100, 1),
        ("report_100_of_1", 1, 100),
        ("report_1000_of_1", 1, 1_000),
    ],
)
def test_a_direct_report_is_said_to_take_what_the_bench_shows(
    operation: str, catalogues: int, works: int
) -> None:
    lines = [
        Line(number, 1, Kind.VIEW, index, 7)
        for number in range(1, catalogues + 1)
        for index in range(works)
    ]
    per_work = 1 if operation == "report_1_platform" else catalogues * works
    shown = GAS[operation] * per_work
    assert abs(likely_gas(lines) - shown) <= shown // 10


def test_a_reporter_pays_a_little_more() -> None:
    difference = GAS["report_1_reporter"] - GAS["report_1_platform"]
    assert abs(REPORTER_GAS - difference) <= 100


def test_posting_takes_what_the_bench_shows_however_much_is_posted() -> None:
    for works in (1, 1_000, 100_000):
        said = costs_of([], [], by_reporter=True, uri_bytes=80).post
        assert abs(said - GAS[f"post_{works}"]) <= GAS[f"post_{works}"] // 100


def test_a_month_is_cheaper_as_a_tally_and_a_day_directly() -> None:
    def costs(days: int) -> Costs:
        lines = [
            DayLine(deal, 1, 20_000 + day, Kind.VIEW, 0, 9)
            for deal in range(1, 21)
            for day in range(days)
        ]
        tariff = Tariff(1, 1, 1)
        claims = [Claim(leaf.pack(), leaf.cost(tariff)) for leaf in leaves_of(lines)]
        reports = [[Line(deal, 1, Kind.VIEW, 0, 9) for deal in range(1, 21)] for _ in range(days)]
        return costs_of(reports, claims)

    assert [costs(days).cheaper for days in (1, 30)] == [Form.DIRECT, Form.TALLY]
    assert costs(30).tally < costs(30).direct // 3


def test_equal_costs_are_paid_at_once() -> None:
    assert Costs(10, 4, 6).cheaper is Form.DIRECT
    assert Costs(11, 4, 6).cheaper is Form.TALLY


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(InputError, match="give direct or tally"):
        Form.of("Tally")
    assert Form.of(None) is None
