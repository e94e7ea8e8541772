"""The report for people: whole in one file, exact, in order, and deaf to what others wrote into it."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.cli.output import add_decimal
from royalty.days import parse_day
from royalty.errors import InputError
from royalty.findings import Reason
from royalty.pages import charts, reconciliation_page, write_page
from royalty.pages.markup import element, foreign, plain
from royalty.pages.reconciliation import FINDINGS_SHOWN, WORKS_SHOWN
from royalty.pages.words import ADVICE
from royalty.usage import WorkRef
from tests.royalty.pages import (
    SINCE,
    Node,
    amount_of,
    basis,
    made_up,
    missing,
    read,
    same_figures,
    sum_of,
    unmatched_id,
)

HOSTILE = [
    "</title><script>alert(1)</script>",
    "\"><img src=//evil.example/x onerror=alert(1)>",
    "'--><svg onload=alert(1)>",
    "javascript:alert(1)",
    "]]></style><style>@import url(//evil.example/x)</style>",
    "</data></td></table>&lt;b&gt;&#60;script&#62;",
    "\x00\x1b[2J\x7f\ud800",
]  # fmt: skip
HIDING = "\u202e\u2066\u200b\ufeff\u00ad\u2060\u034f\u3164\ufe0f\U000e0041\x00"
ALLOWED = re.findall(
    r"\w+",
    "html head meta title style body header main footer section nav div span p a ul li h1 h2 h3 table caption"
    " thead tbody tfoot tr th td dl dt dd data code pre strong bdi b figure figcaption details summary"
    " svg rect line text desc",
)


def page_of(**changes: object) -> Node:
    return read(reconciliation_page(made_up(**changes)))  # type: ignore[arg-type]


# --- exact ---


@pytest.mark.parametrize("changes", [{}, {"days": 100}, {"findings": ()}, {"solvent": False}])
def test_every_figure_of_the_page_is_that_of_the_json_document(changes: dict[str, object]) -> None:
    found = made_up(**changes)  # type: ignore[arg-type]
    page = read(reconciliation_page(found))
    same_figures(page, add_decimal(found.document()))
    for node in page.all("data"):
        shown = node.text
        value = int(node.attributes["value"])
        as_count = re.fullmatch(r"-?[0-9]{1,3}(,[0-9]{3})*", shown)
        assert (as_count and int(shown.replace(",", "")) == value) or amount_of(shown) == value


def test_the_table_by_day_adds_up_to_the_totals() -> None:
    found = made_up(days=31)
    table = next(t for t in page_of(days=31).all("table") if "per day" in t.all("caption")[0].text)
    rows = [[int(d.attributes["value"]) for d in row.all("data")] for row in table.all("tr")[1:]]
    assert len(rows) == 32
    assert [sum(column) for column in zip(*rows[:-1], strict=True)] == rows[-1]
    assert rows[-1][-3:] == [found.logged_nano, found.credited_nano, found.difference_nano]


def test_a_long_period_is_shown_by_month_and_loses_nothing() -> None:
    found = made_up(days=400)
    page = read(reconciliation_page(found))
    table = next(t for t in page.all("table") if "per month" in t.all("caption")[0].text)
    assert len(table.all("tr")) == 1 + 14 + 1
    assert table.all("tr")[-1].all("data")[-1].attributes["value"] == str(found.difference_nano)


def test_no_float_stands_between_the_counts_and_the_page() -> None:
    found = made_up(logged_nano=2**90 + 1, credited_nano=1)
    text = read(reconciliation_page(found)).text
    assert f"{(2**90 + 1) // 10**9}.{(2**90 + 1) % 10**9:09d}".rstrip("0") in text


# --- in order ---


def test_the_answer_comes_first_and_says_the_five_things() -> None:
    page = page_of()
    answer = page.all("header")[0].text
    for words in (
        "2 findings. The log is worth 0.006 TUSD more than the chain credited.",
        "21 views, 1 download, 60 excerpt seconds that qualify, worth 0.56900018 TUSD",
        "credited 0.56300018 TUSD; the difference is 0.006 TUSD",
        "a shortfall of 1.0545 %, not above the threshold of 3 %",
        "The ledger is solvent",
        "No evidence was given",
    ):
        assert words in answer
    titles = [node.text for node in page.all("h2")]
    assert titles == [
        *("Totals", "Findings", "By day", "By work", "Rows of the log"),
        *("Method", "Digests", "Do it again"),
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"findings": ()}, "2026-10-05 to 2026-10-06"),
        ({"solvent": False}, "The ledger cannot pay everybody."),
        ({"over_threshold": True}, "%, above the threshold of 3 %"),
        ({"basis": basis(evidence=True)}, "evidence of 2 batches is what was committed to"),
        (
            {
                "basis": basis(evidence=True),
                "findings": (replace(missing(0, SINCE, reason=Reason.EVIDENCE_MISMATCH), batch=2),),
            },
            "The evidence of 1 batch is not what was committed to.",
        ),
        ({"basis": basis(evidence=True, batches=())}, "no evidence to compare"),
        (
            {"logged_nano": 0, "credited_nano": 0, "findings": ()},
            "Log and chain agree, to the last nano-token.",
        ),
        ({"logged_nano": 5, "credited_nano": 5}, "2 findings, though the totals agree."),
    ],
)
def test_the_answer_tells_each_case(changes: dict[str, object], words: str) -> None:
    assert words in page_of(**changes).all("header")[0].text


def test_nothing_at_all_is_a_page_too() -> None:
    nothing = sum_of((0, 0, 0), (0, 0, 0))
    none = {"view": 0, "download": 0, "excerpt": 0}
    page = page_of(
        works=0,
        findings=(),
        rows=0,
        qualified=0,
        excluded={},
        logged_nano=0,
        credited_nano=0,
        units_logged=none,
        units_chain=none,
        basis=basis(batches=(), sources=(), works_map=None),
    )
    assert "nothing that qualifies" in page.text
    assert "nothing was logged" in page.text
    assert "Neither side has a work" in page.text
    assert not nothing.differs


def test_every_reason_says_what_to_do() -> None:
    assert set(ADVICE) == set(Reason)
    page = page_of(findings=tuple(missing(0, SINCE, reason=reason) for reason in Reason))
    for reason in Reason:
        assert f"1 finding: {reason.value}" in page.text


def test_findings_are_bounded_and_say_how_many_more_there_are() -> None:
    rows = tuple(missing(at, SINCE, units=at + 1) for at in range(5_000))
    page = reconciliation_page(made_up(findings=rows))
    assert len(page) < 200_000
    text = read(page).text
    assert (
        f"The {FINDINGS_SHOWN} rows of the largest difference; 4,980 more are in findings.csv"
        in text
    )
    assert "1/4999" in text and "1/4979" not in text


def test_works_files_batches_and_notes_are_bounded_too() -> None:
    one = basis()
    many = replace(one, sources=one.sources * 500, batches=one.batches * 500)
    page = page_of(works=40, basis=many, notes=("something is wrong",) * 90)
    assert f"The {WORKS_SHOWN} works of most money, of 40" in page.text
    assert "The first 50 of 500 files" in page.text
    assert "The first 50 of 1,000 batches" in page.text
    assert "70 more notes" in page.text


def test_it_says_how_to_do_it_again_in_lines_that_a_shell_takes() -> None:
    command = ("royalty", "reconcile", "my log$(id).csv", "--since", "2026-10-05", "--rpc", "URL")
    page = page_of(basis=basis(command=command))
    assert page.all("pre")[0].text == (
        "royalty reconcile 'my log$(id).csv' \\--since 2026-10-05 \\--rpc URL"
    )
    assert len(page.all("pre")[0].all("code")) == 3


def test_what_only_the_folder_knew_is_said_to_those_who_do_it_again() -> None:
    assert "folder where this was made" not in page_of().text
    text = page_of(basis=basis(folder_ids=1, accepted=2)).text
    assert "knew 1 id of works itself" in text
    assert "had accepted 2 catalogues" in text


def test_the_same_findings_make_the_same_page() -> None:
    assert reconciliation_page(made_up()) == reconciliation_page(made_up())


# --- whole, and readable by everybody ---


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    text = reconciliation_page(made_up(days=70, works=30, notes=("a note",)))
    page = read(text)
    ids = {node.attributes["id"] for node in page.all() if "id" in node.attributes}
    for node in page.all():
        assert node.name in [*ALLOWED, ""], node.name
        for name, value in node.attributes.items():
            assert not name.startswith("on")
            assert name not in ("src", "srcset", "action", "data", "poster", "style")
            if name == "href":
                assert value[0] == "#" and value[1:] in ids
    (style,) = page.all("style")
    assert not re.search(r"url\(|@import|expression|//", style.text)
    assert "://" not in text
    (policy,) = [n for n in page.all("meta") if "http-equiv" in n.attributes]
    assert policy.attributes["content"].startswith("default-src 'none';")


def test_tables_headings_and_pictures_are_said_to_those_who_do_not_see_them() -> None:
    page = page_of(notes=("a note",))
    assert len(page.all("h1")) == 1
    levels = [int(node.name[1]) for node in page.all("h1", "h2", "h3")]
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    for table in page.all("table"):
        assert table.all("caption")[0].text
        assert {node.attributes.get("scope") for node in table.all("th")} == {"col", "row"}
        widths = {len(row.all("th", "td")) for row in table.all("tr")}
        assert len(widths) == 1
    ids = [node.attributes["id"] for node in page.all() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    for picture in page.all("svg"):
        if "aria-hidden" not in picture.attributes:
            named = picture.attributes["aria-labelledby"].split()
            assert picture.attributes["role"] == "img"
            assert [n.attributes["id"] for n in picture.all("title", "desc")] == named
    assert page.all("html")[0].attributes["lang"] == "en"


# --- deaf ---


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_of_log_and_chain_stands_as_text_alone(text: str) -> None:
    policy = dict(basis().policy) | {"name": text, "version": text}
    found = made_up(
        findings=(unmatched_id(text), missing(0, SINCE)),
        notes=(text,),
        excluded={text: 3},
        basis=basis(
            token=text,
            policy=policy,
            sources=(replace(basis().sources[0], name=text),),
            command=("royalty", text, "--works", text),
        ),
    )
    works = tuple(replace(row, title=text) for row in found.works)
    page = read(reconciliation_page(replace(found, works=works)))
    calm = read(reconciliation_page(made_up()))
    assert {node.name for node in page.all()} <= {node.name for node in calm.all()} | {
        "bdi",
        "ul",
        "li",
    }
    for node in page.all():
        assert set(node.attributes) <= {name for one in calm.all() for name in one.attributes}
    kept = re.sub(r"[\x00-\x1f\x7f\ud800]", "", text)[:40]
    shown = [node.text for node in page.all("bdi")]
    assert any(kept in re.sub(r"U\+[0-9A-F]{4}", "", one) for one in shown)
    assert len(page.all("style")) == 1 and page.all("style")[0].text == calm.all("style")[0].text


@pytest.mark.parametrize("letter", HIDING)
def test_what_hides_or_reorders_is_made_visible(letter: str) -> None:
    text = f"ab{letter}cd"
    page = reconciliation_page(made_up(findings=(unmatched_id(text),), basis=basis(token=text)))
    assert letter not in page
    boxed = str(foreign(text))
    assert f'<span class="hidden">U+{ord(letter):04X}</span>' in boxed
    assert plain(text) == "ab�cd"


def test_what_is_long_is_cut_and_marks_do_not_pile_up() -> None:
    page = reconciliation_page(made_up(findings=(unmatched_id("w" * 10_000),)))
    assert "w" * 60 + "…" in page
    assert "w" * 61 not in page
    assert str(foreign("e" + "\u0301" * 500)).count("\u0301") == 2
    assert str(foreign("שלום")) == "<bdi>שלום</bdi>"


@given(st.text(), st.text())
def test_no_text_becomes_an_element_or_an_attribute(child: str, value: str) -> None:
    (node,) = read(str(element("td", child, foreign(child, 20), class_=value))).children
    assert isinstance(node, Node)
    assert [one.name for one in node.all() if one.name not in ("bdi", "span")] == ["td"]
    assert set(node.attributes) == {"class"}


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("script", {}),
        ("td onclick=x", {}),
        ("a", {"href": "https://evil.example"}),
        ("a", {"href": "javascript:alert(1)"}),
        ("td", {"onclick": "x"}),
        ("svg", {"src": "x"}),
        ("td", {"a b": "x"}),
    ],
)
def test_what_runs_or_loads_cannot_even_be_asked_for(name: str, attributes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"here|within the page"):
        element(name, **attributes)


def test_html_is_made_in_one_module_alone() -> None:
    folder = Path(charts.__file__).parent
    makers = [path.name for path in folder.glob("*.py") if re.search(r"\bHtml\(", path.read_text())]
    assert makers == ["markup.py"]


# --- drawn right ---


@given(st.integers(0, 2**96))
def test_ticks_are_round_and_reach_the_highest_column(most: int) -> None:
    marks = charts.ticks(most)
    step = marks[1]
    assert marks == list(range(0, marks[-1] + 1, step))
    assert marks[-1] >= most > marks[-1] - step or most == 0
    assert 2 <= len(marks) <= 6
    assert re.fullmatch("[125]0*", str(step))


@given(st.lists(st.tuples(st.integers(0, 2**60), st.integers(0, 2**60)), min_size=1, max_size=62))
def test_columns_stay_inside_the_picture_in_the_order_of_their_values(
    sides: list[tuple[int, int]],
) -> None:
    slots = [charts.Slot(str(at), str(at), a, b, a != b) for at, (a, b) in enumerate(sides)]
    chart = read(str(charts.columns("x", "t", "d", slots, str)))
    tall = {}
    for rect in chart.all("rect"):
        x, width = (float(rect.attributes[name].rstrip("%")) for name in ("x", "width"))
        y, height = (int(rect.attributes[name]) for name in ("y", "height"))
        assert x >= 0 and x + width <= 100 and width > 0
        assert y >= charts.TOP and height >= 1 and y + height == charts.TOP + charts.PLOT
        tall.setdefault(rect.attributes["class"], []).append(height)
    for side, name in enumerate(("logged", "credited")):
        values = [pair[side] for pair in sides if pair[side]]
        heights = tall.get(name, [])
        assert len(heights) == len(values)
        ordered = [height for _, height in sorted(zip(values, heights, strict=True))]
        assert ordered == sorted(ordered)
    assert len([t for t in chart.all("text") if t.text == "≠"]) == sum(a != b for a, b in sides)


# --- written ---


def test_a_page_is_written_whole_under_its_name_alone(tmp_path: Path) -> None:
    path = made_up().to_html(tmp_path / "new" / "report.html")
    assert path.read_text("utf-8") == reconciliation_page(made_up())
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "report.html"):
        with pytest.raises(InputError, match="cannot be written"):
            write_page(path, "<!doctype html>")


def test_works_are_named_by_number_where_they_have_no_title() -> None:
    found = made_up()
    bare = tuple(replace(row, title="") for row in found.works)
    page = read(reconciliation_page(replace(found, works=bare)))
    assert str(WorkRef(1, 2)) in page.text
    assert "Film" not in page.text


def test_days_are_the_ones_asked_for() -> None:
    assert parse_day("2026-10-05") == SINCE
    assert "2026-10-05 to 2026-10-06 (UTC)" in page_of().text
    assert "2026-10-05 (UTC)" in page_of(days=1).text
