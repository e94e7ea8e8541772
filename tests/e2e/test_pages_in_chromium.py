"""The report in a browser: quiet, offline, as wide as the screen, and fit for paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.browser import MISSING, Tab, chromium, running
from tests.royalty.pages import SINCE, basis, made_up, missing, unmatched_id

PROGRAM = chromium()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)
HOSTILE = (
    "</td><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
)
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Every text whose colour stands too little out from what lies behind it (WCAG AA: 4.5, 3 where large).
FAINT = """
(() => {
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const parts = text => text.match(/[0-9.]+/g).map(Number);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const [r, g, b, a] = parts(getComputedStyle(node).backgroundColor);
      if (a !== 0) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some(one => one.nodeType === 3 && one.data.trim());
    if (!own || ["TITLE", "DESC"].includes(node.tagName.toUpperCase())) continue;
    const style = getComputedStyle(node);
    const ink = parts(node.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const [high, low] = [light(ink), light(behind(node))].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < (large ? 3 : 4.5)) faint.push(node.tagName + " " + node.textContent + " " + ratio);
  }
  return faint;
})()
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of everything at once: a month, long amounts, hostile ids and titles, all at their bounds."""
    month = made_up(days=31, works=30, notes=(HOSTILE, "w" * 2_000))
    rows = tuple(missing(at, SINCE, units=10**12 + at) for at in range(30))
    works = tuple(replace(row, title=HOSTILE) for row in month.works)
    found = replace(
        month,
        findings=(*rows, unmatched_id(HOSTILE), unmatched_id("w" * 300)),
        works=works,
        basis=basis(token="W" * 16, sources=basis().sources * 60),
        logged_nano=2**89 + 1,
    )
    return found.to_html(tmp_path_factory.mktemp("pages") / "report.html")


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    assert PROGRAM is not None
    with running(PROGRAM) as browser:
        yield browser.tab()


def test_the_report_is_quiet_and_asks_for_nothing_but_itself(tab: Tab, report: Path) -> None:
    tab.size(1280)
    tab.open(report)
    assert tab.said == []
    assert tab.requests == [report.as_uri()]
    assert tab.value("document.title").startswith("Reconciliation")
    assert tab.value("document.scripts.length + document.images.length") == 0


def test_the_browser_would_have_told_of_a_script_and_of_a_request(tab: Tab, tmp_path: Path) -> None:
    page = tmp_path / "loud.html"
    page.write_text(
        "<!doctype html><title>loud</title><script>console.log('here')</script>"
        "<img src='http://127.0.0.1:9/x.png'>"
    )
    tab.open(page)
    assert any("here" in one for one in tab.said)
    assert "http://127.0.0.1:9/x.png" in tab.requests


def test_the_policy_stops_what_got_past_everything_else(
    tab: Tab, report: Path, tmp_path: Path
) -> None:
    page = tmp_path / "pierced.html"
    pierced = "<script>document.title = 'taken'</script><img src='http://127.0.0.1:9/x.png'></main>"
    page.write_text(report.read_text("utf-8").replace("</main>", pierced), "utf-8")
    tab.open(page)
    assert tab.value("document.title").startswith("Reconciliation")
    refused = [one for one in tab.said if "Content Security Policy" in one]
    assert any("inline script" in one for one in refused)
    assert any("x.png" in one for one in refused)


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_nothing_is_wider_than_the_screen(tab: Tab, report: Path, width: int) -> None:
    tab.size(width)
    tab.open(report)
    assert tab.value("innerWidth") == width
    assert tab.value(OVERFLOW) == 0
    assert tab.value(
        "[...document.querySelectorAll('svg')].every(svg => svg.getBoundingClientRect().width > 0)"
    )


@pytest.mark.parametrize("width", [375, 1280])
def test_a_findings_day_is_said_once_beside_the_work_or_below_it(
    tab: Tab, report: Path, width: int
) -> None:
    tab.size(width)
    tab.open(report)
    shown = "[...document.querySelectorAll('{}')].filter(one => one.offsetParent).length"
    below, beside = (tab.value(shown.format(place)) for place in (".below", "td.day.beside"))
    assert (below > 0) is (width == 375)
    assert (beside > 0) is (width == 1280)


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_stands_out_from_its_ground(tab: Tab, report: Path, dark: bool) -> None:
    tab.size(1280, dark=dark)
    tab.open(report)
    tab.value("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert tab.value(FAINT) == []
    ground = tab.value("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is not dark


def test_it_prints_with_what_is_folded_on_a_screen(tab: Tab, report: Path) -> None:
    tab.size(1280, dark=True)
    tab.open(report)
    assert not tab.value("document.querySelector('details table').checkVisibility()")
    pdf = tab.pdf()
    assert pdf.startswith(b"%PDF-")
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") >= 3
    assert b"/MediaBox [0 0 594" in pdf or b"/MediaBox [0 0 595" in pdf
    tab.ask("Emulation.setEmulatedMedia", media="print")
    assert tab.value("document.querySelector('details table').checkVisibility()")
    assert tab.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.value("getComputedStyle(document.querySelector('nav')).display") == "none"
    tab.ask("Emulation.setEmulatedMedia", media="")
