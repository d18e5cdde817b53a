"""The page in a browser: it sorts, filters, tells, prints, is narrow, and runs nothing of data."""

import re

import pytest

from mmptq.leaderboard import make_boards, read_runs, to_html
from tests.leaderboard.hostile import hostile_run
from tests.leaderboard_support import float_row, results, row, write_run
from tests.webpage.browser import chromium, in_page, needs_browser
from tests.webpage.hostile import HOSTILE

pytestmark = needs_browser


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """float 60; W8A8: mmse 59; W4A4: minmax 40, mmse 50, gptq 55 and in openvino 54.5."""
    folder = tmp_path_factory.mktemp("board")
    exported = row("gptq in openvino", 0.545, size_mb=0.7, ms=1.0, runtime="openvino")
    gptq = [{"type": "RangeCalibration"}, {"type": "GPTQ"}]
    write_run(folder / "a", results(float_row(0.6), row("minmax", 0.4), row("mmse", 0.5)))
    write_run(folder / "b", results(row("gptq", 0.55), exported, method="gptq", steps=gptq))
    write_run(folder / "c", results(row("mmse", 0.59, 8, size_mb=1.0, gbops=40)))
    return to_html(make_boards(read_runs([folder])), folder)


def test_a_heading_sorts_numbers_and_names(page, tmp_path):
    found = in_page(
        tmp_path,
        page,
        """
        const press = (name) => {
          const th = all("th").find((th) => th.textContent === name);
          th.querySelector("button").click();
          return [methods(), th.getAttribute("aria-sort")];
        };
        return [press("mAP"), press("mAP"), press("method"), press("vs min-max")];
        """,
    )
    by_map = ["float", "mmse", "gptq", "gptq", "mmse", "minmax"]
    assert found[0] == [by_map, "descending"]
    assert found[1] == [by_map[::-1], "ascending"]
    assert found[2] == [sorted(by_map), "ascending"]
    assert found[3][0][:3] == ["gptq", "gptq", "mmse"]  # +15, +14.5, +10; then those without


def test_a_filter_keeps_float_and_min_max_beside(page, tmp_path):
    found = in_page(
        tmp_path,
        page,
        """
        const choose = (name, value) => {
          const select = one(`select[name=${name}]`);
          select.value = value;
          select.dispatchEvent(new Event("change"));
          const points = all(".plots figure:first-child .pt:not([hidden])").length;
          return [methods(), one("output").textContent, points];
        };
        const first = choose("runtime", "openvino");
        const second = [choose("runtime", ""), choose("bits", "W8A8")][1];
        one("button.all").click();
        return [first, second, methods().length,
                all("select.filter").map((s) => s.name), one("select[name=bits]").options.length];
        """,
    )
    assert found[0] == [["float", "minmax", "gptq"], "3 of 6 rows", 3]
    assert found[1] == [["float", "mmse"], "2 of 6 rows", 2]
    assert found[2:] == [6, ["model", "method", "bits", "scope", "runtime"], 4]


def test_the_front_follows_the_filter(page, tmp_path):
    before, after, points = in_page(
        tmp_path,
        page,
        """
        const front = () => one(".front").getAttribute("points");
        const before = front(), select = one("select[name=bits]");
        select.value = "W8A8";
        select.dispatchEvent(new Event("change"));
        const left = all(".plots figure:first-child .pt:not([hidden])");
        return [before, front(), left.map((p) => p.dataset.at)];
        """,
    )
    static = re.search(r'class="front" points="([^"]*)"', page)[1]
    assert before == static  # the script and Python agree
    assert sorted(after.split()) == sorted(points) and after != before


def test_a_point_tells_its_row(page, tmp_path):
    hidden, text, marked, again = in_page(
        tmp_path,
        page,
        """
        const tip = one("#tip"), point = one('.pt[data-row="r1-4"]'), hidden = tip.hidden;
        point.dispatchEvent(new MouseEvent("mouseenter"));
        const text = tip.textContent, marked = one("tr.on").id;
        point.dispatchEvent(new MouseEvent("mouseleave"));
        return [hidden, text, marked, tip.hidden && one("tr.on") === null];
        """,
    )
    assert (hidden, marked, again) == (True, "r1-4", True)
    assert {"method: gptq", "bits: W4A4", "mAP: 55.0", "vs float: -5.0"} <= set(text.split("\n"))


def test_the_link_to_the_settings_opens_them(page, tmp_path):
    script = """
    one("#r1-4 a.more").click();
    return all("details").filter((d) => d.open).map((d) => d.id);
    """
    assert in_page(tmp_path, page, script) == ["r1-4-details"]


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_no_width_scrolls_but_the_table(page, tmp_path, width):
    script = """
    const size = (query) => one(query).getBoundingClientRect();
    return [page.documentElement.scrollWidth, size("figure").right, size(".scroll").right];
    """
    assert all(right <= width for right in in_page(tmp_path, page, script, width))


def test_on_a_phone_rows_are_cards_that_sort(page, tmp_path):
    found = in_page(
        tmp_path,
        page,
        """
        const sorter = one("select.sort"), text = (i) => sorter.options[i].textContent;
        const seen = view.getComputedStyle(sorter.closest("label")).display;
        sorter.value = [...sorter.options].find((o) => o.textContent === "mAP").value;
        sorter.dispatchEvent(new Event("change"));
        const cells = [...one("#r1-1").cells].map((td) => td.getBoundingClientRect());
        return [seen, methods(), view.getComputedStyle(one("thead")).display,
                Math.max(...cells.map((cell) => cell.right))];
        """,
        width=360,
    )
    assert found[0] == "grid" and found[2] == "none" and found[3] <= 360
    assert found[1] == ["float", "mmse", "gptq", "gptq", "mmse", "minmax"]


def test_without_javascript_the_table_is_whole(page, tmp_path):
    script = """
    return [methods().length, view.getComputedStyle(one(".controls")).display,
            all(".pt title").length, one("noscript").getBoundingClientRect().height > 0];
    """
    assert in_page(tmp_path, page, script, javascript=False) == [6, "none", 12, True]


def test_it_prints(page, tmp_path):
    (tmp_path / "page.html").write_text(page)
    pdf = tmp_path / "page.pdf"
    chromium(f"--print-to-pdf={pdf}", (tmp_path / "page.html").as_uri())
    data = pdf.read_bytes()
    assert data.startswith(b"%PDF")
    # Landscape, and no page too many.
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", data)
    assert 1 <= len(boxes) <= 3 and all(float(w) > float(h) for w, h in boxes)


@pytest.mark.parametrize("policy", [True, False])
def test_nothing_of_data_runs(tmp_path, policy):
    """With the page's policy, and by its escapes alone."""
    for i, text in enumerate(HOSTILE):
        hostile_run(tmp_path / str(i), text)
    page = to_html(make_boards(read_runs([tmp_path])), tmp_path)
    if not policy:
        page, count = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
        assert count == 1
    hacked, scripts, schemes, rows, shown = in_page(
        tmp_path,
        page,
        """
        for (const point of all(".pt")) point.dispatchEvent(new MouseEvent("mouseenter"));
        for (const row of all("tbody tr")) {
          for (const name of ["mouseenter", "mouseover"]) row.dispatchEvent(new MouseEvent(name));
        }
        for (const button of all("th button")) button.click();
        for (const select of all("select")) {
          for (const option of select.options) {
            select.value = option.value;
            select.dispatchEvent(new Event("change"));
          }
        }
        for (const button of all("button.all")) button.click();
        return [view.hacked === undefined && window.hacked === undefined, all("script").length,
                [...new Set(all("a").map((a) => a.getAttribute("href")[0]))].sort(),
                methods().length, view.getComputedStyle(page.body).display];
        """,
    )
    assert (hacked, scripts, schemes) == (True, 1, ["#", "."])
    assert rows == 2 * len(HOSTILE)
    assert shown == "block"
