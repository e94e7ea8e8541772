"""policy.toml: defaults, refusals, and a digest of what it means."""

from __future__ import annotations

from decimal import Decimal

import pytest

from royalty.errors import InputError
from royalty.logs import Policy


def load(tmp_path, text: str) -> Policy:
    path = tmp_path / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return Policy.load(path)


def test_no_file_and_an_empty_file_are_the_defaults(tmp_path):
    policy = Policy.load(None)
    assert policy == load(tmp_path, "")
    assert (policy.minimum_seconds, policy.short_fraction) == (30, Decimal("0.5"))
    assert (policy.double_click_seconds, policy.per_viewer_work_day) == (30, 20)


@pytest.mark.parametrize(
    "text",
    [
        "[view]\nminimum_seconds = 30",
        "# a remark\n[view]\nshort_fraction = 0.50\nminimum_seconds = 30.000",
        "[cap]\nper_viewer_work_day = 20\n[double_click]\nseconds = 3e1",
        'cap = {per_viewer_work_day = 20.0}\nname = "default"\nversion = 1',
    ],
)
def test_the_same_meaning_has_the_same_digest(tmp_path, text):
    assert load(tmp_path, text).digest == Policy().digest


@pytest.mark.parametrize(
    "text",
    [
        "[view]\nminimum_seconds = 30.000001",
        "[view]\nshort_fraction = 0.25",
        "[double_click]\nseconds = 0",
        "[cap]\nper_viewer_work_day = 21",
        'name = "other"',
        'version = "2"',
    ],
)
def test_another_meaning_has_another_digest(tmp_path, text):
    assert load(tmp_path, text).digest != Policy().digest


def test_the_digest_of_the_default_never_changes():
    assert Policy().digest == "0xeff4fea0e1b296c824593e1c800fa2b022b00000c8cf168917f0aa4b5db6cf7f"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[view]\nminimum_seconds = -1", "0 or more"),
        ("[view]\nshort_fraction = -0.1", "0 or more"),
        ("[double_click]\nseconds = -0.000001", "0 or more"),
        ("[cap]\nper_viewer_work_day = -1", "0 or more"),
        ("[view]\nminimum_seconds = inf", "0 or more"),
        ("[view]\nminimum_seconds = nan", "0 or more"),
        ("[view]\nminimum_seconds = 1e10", "at most"),
        ("[view]\nshort_fraction = 0.0000000000000000001", "places"),
        ("[cap]\nper_viewer_work_day = 1.5", "whole"),
        ('[view]\nminimum_seconds = "30"', "without quotes"),
        ("[view]\nminimum_seconds = true", "without quotes"),
        ("[view]\nminimum = 30", "unknown setting 'minimum'"),
        ("minimum_seconds = 30", "unknown setting"),
        ("view = 30", "table"),
        ("name = true", "name is a text"),
        ('name = ""', "name has"),
        ("[view", "is not TOML"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(tmp_path, text, why):
    with pytest.raises(InputError, match=why):
        load(tmp_path, text)


def test_a_missing_policy_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml cannot be read"):
        Policy.load(tmp_path / "none.toml")


def test_bounds_in_microseconds_are_exact():
    policy = Policy(
        minimum_seconds=Decimal("30.0000001"), double_click_seconds=Decimal("29.9999999")
    )
    assert (policy.minimum_micro, policy.double_click_micro) == (30_000_001, 29_999_999)
