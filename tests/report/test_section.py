import math
import re

from mmptq.evaluation.result_table import Column
from mmptq.report.section import Bars, Section, folded, paragraph, preformatted, table, terms
from tests.webpage.parsed import Page

TEXT = "<b>'\"&"


def test_every_text_is_escaped():
    parts = [
        Section("a", TEXT, "x").to_html(),
        table([Column(TEXT, [TEXT]), Bars(TEXT, [1.0], [TEXT])], caption=TEXT),
        terms([(TEXT, "said")]),
        folded(TEXT, "content"),
        paragraph(TEXT),
        preformatted(TEXT, 100),
    ]
    for part in parts:
        page = Page(part)
        assert page.all("b") == [] and TEXT in page.texts


def test_a_table_has_a_card_for_each_row():
    found = table([Column("a", ["x", "-"], False), Column("n", ["1", "2"])], ["best", ""])
    page = Page(found)
    assert [a.get("class") for a in page.all("tr")] == [None, "best", ""]
    cells = page.all("td")
    assert [cell["data-label"] for cell in cells] == ["a", "n", "a", "n"]
    assert [cell["class"] for cell in cells] == ["", "n", "none", "n"]


def test_bars_are_shares_of_the_largest_finite_one():
    found = table([Bars("b", [1.0, 4.0, 0.0, math.inf, math.nan, -1.0], list("abcdef"))])
    widths = [float(w) for w in re.findall(r'rect width="([\d.]+)"', found)]
    assert widths == [25.0, 100.0, 0.0, 100.0, 100.0, 0.0]


def test_bars_without_any_length():
    assert re.findall(r'rect width="([\d.]+)"', table([Bars("b", [0.0], ["0"])])) == ["0.0"]


def test_terms_without_anything_said_are_left_out():
    assert Page(terms([("a", ""), ("b", "c")])).texts == ["b", "c"]
    assert terms([("a", "")]) == ""


def test_long_text_ends_with_a_note():
    found = preformatted("a\nb\n" + "c" * 100, 4)
    assert Page(found).texts[0] == "a\nb" and "100 more characters" in found
    assert "more characters" not in preformatted("abc", 3)
