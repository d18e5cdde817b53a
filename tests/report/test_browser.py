"""The report in a browser: whole without JavaScript, narrow, on paper, and running nothing."""

import re

import pytest

from mmptq.report import write_report
from tests.report.hostile import hostile_run
from tests.report_support import write_full_run
from tests.webpage.browser import chromium, in_page, needs_browser
from tests.webpage.hostile import HOSTILE

pytestmark = needs_browser


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_report(write_full_run(tmp_path_factory.mktemp("run"))).read_text()


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_no_width_scrolls(page, tmp_path, width):
    script = """
    for (const part of all("details")) part.open = true;
    const inside = all("figure, img, .scroll, dl, pre, nav").map((e) => e.getBoundingClientRect());
    return [page.documentElement.scrollWidth, ...inside.map((box) => box.right)];
    """
    assert all(right <= width for right in in_page(tmp_path, page, script, width))


def test_on_a_phone_rows_are_cards(page, tmp_path):
    script = """
    for (const part of all("details")) part.open = true;
    const cells = all("tbody td").map((td) => td.getBoundingClientRect());
    return [view.getComputedStyle(one("thead")).display, Math.max(...cells.map((c) => c.right))];
    """
    hidden, right = in_page(tmp_path, page, script, width=360)
    assert hidden == "none" and right <= 360


@pytest.mark.parametrize("javascript", [True, False])
def test_it_is_whole_without_javascript(page, tmp_path, javascript):
    script = """
    const image = one("img"), bar = one("svg.bar rect").getBoundingClientRect();
    return [image.complete && image.naturalWidth, bar.width > 10 && bar.height > 2,
            view.getComputedStyle(one("tr.best td")).fontFamily.length > 0,
            all("polyline.curve").length > 3, all("section").length];
    """
    assert in_page(tmp_path, page, script, javascript=javascript) == [300, True, True, True, 9]


def test_links_within_the_page_lead_somewhere(page, tmp_path):
    script = """
    const links = all("a[href^='#']").map((a) => a.getAttribute("href").slice(1));
    return [links.length, links.filter((id) => !page.getElementById(id))];
    """
    assert in_page(tmp_path, page, script) == [9, []]


def test_on_paper_folded_parts_are_whole(page, tmp_path):
    """The calibration images are in a folded part: a page is longer with many of them."""
    counts = []
    for extra in ("", "\n".join(f"image {i}" for i in range(2000))):
        longer = page.replace("<pre>a/1.jpg", f"<pre>{extra}a/1.jpg")
        (tmp_path / "page.html").write_text(longer)
        pdf = tmp_path / "page.pdf"
        chromium(f"--print-to-pdf={pdf}", (tmp_path / "page.html").as_uri())
        counts.append(len(re.findall(rb"/MediaBox", pdf.read_bytes())))
    assert 1 <= counts[0] <= 6 and counts[1] >= counts[0] + 5


@pytest.mark.parametrize("policy", [True, False])
@pytest.mark.parametrize("order", [1, -1])
def test_nothing_of_data_runs(tmp_path, policy, order):
    """With the page's policy, and by its escapes alone; each text alone is in test_page.py."""
    page = write_report(hostile_run(tmp_path, "".join(HOSTILE[::order]))).read_text()
    if not policy:
        page, count = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
        assert count == 1
    script = """
    for (const part of all("details")) part.open = true;
    for (const element of all("*")) {
      for (const name of ["mouseover", "focus", "load", "error"]) {
        element.dispatchEvent(new Event(name));
      }
    }
    return [view.hacked === undefined && window.hacked === undefined, all("script").length,
            [...new Set(all("a").map((a) => a.getAttribute("href")[0]))].sort(),
            all("section").length, view.getComputedStyle(page.body).display];
    """
    assert in_page(tmp_path, page, script) == [True, 0, ["#", "."], 9, "block"]
