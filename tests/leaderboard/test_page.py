"""The page as text; what it does in a browser is in test_browser.py."""

import base64
import hashlib
import re

import pytest

from mmptq.leaderboard import make_boards, read_runs, to_html
from tests.leaderboard.hostile import hostile_run
from tests.leaderboard_support import TEST, float_row, results, row, write_run
from tests.webpage.hostile import HOSTILE
from tests.webpage.parsed import Page


def html_of(tmp_path, *datas):
    for i, data in enumerate(datas):
        write_run(tmp_path / "runs" / str(i), data)
    return to_html(make_boards(read_runs([tmp_path / "runs"])), tmp_path / "board")


def test_structure(tmp_path):
    other = TEST | {"sha256": "cd", "images": 9}
    text = html_of(
        tmp_path,
        results(float_row(), row("minmax", 0.4), row("mmse", 0.5)),
        results(row("mmse", 0.5), test=other),
    )
    page = Page(text)
    assert len(page.all("table")) == 2 and len(page.all("section")) == 2
    rows = [a for a in page.all("tr") if "id" in a]
    assert [a["id"] for a in rows] == ["r1-1", "r1-2", "r1-3", "r2-1"]
    assert (rows[2]["data-float"], rows[2]["data-minmax"]) == ("r1-1", "r1-2")
    ids = {a["id"] for _, a in page.tags if "id" in a}
    assert {a["href"][1:] for a in page.all("a") if a["href"].startswith("#")} <= ids
    assert len(page.all("svg")) >= 4


def test_nothing_is_loaded_and_only_its_own_script_runs(tmp_path):
    text = html_of(tmp_path, results(float_row(), row("mmse", 0.5)))
    page = Page(text)
    assert not re.search(r"(?:src|srcset|@import|url\()\s*[=(]?", text.split("</style>")[1])
    policy = next(a["content"] for a in page.all("meta") if "http-equiv" in a)
    for tag in ("script", "style"):
        (own,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")


def test_links_lead_to_what_the_run_left(tmp_path):
    write_run(tmp_path / "runs/0", results(row("mmse", 0.5)))
    for name in ("net_w4a4.py", "report.html"):
        (tmp_path / "runs/0" / name).write_text("")
    (tmp_path / "runs/0/pictures").mkdir()
    (tmp_path / "runs/0/pictures/a b.jpg").write_text("")
    page = Page(to_html(make_boards(read_runs([tmp_path / "runs"])), tmp_path / "board"))
    links = {a["href"] for a in page.all("a")}
    assert {
        "./../runs/0/net_w4a4.py",
        "./../runs/0/report.html",
        "./../runs/0/pictures/a%20b.jpg",
        "./../runs/0/results.json",
    } <= links


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_data_becomes_a_tag_or_a_link(tmp_path, text):
    exported = row("mmse in openvino", 0.5, runtime="openvino")
    plain = Page(html_of(tmp_path / "plain", results(float_row(), exported)))
    folder = hostile_run(tmp_path / "hostile", text)
    page = Page(to_html(make_boards(read_runs([folder])), tmp_path / "hostile/board"))
    assert {name for name, _ in page.tags} == {name for name, _ in plain.tags}
    for tag in ("script", "style", "img", "iframe", "section"):
        assert len(page.all(tag)) == len(plain.all(tag))
    attributes = {key for _, given in page.tags for key in given}
    assert not {key for key in attributes if key.startswith("on")}
    for link in page.all("a"):
        assert link["href"].startswith(("#", "./"))


def test_no_rows_with_costs_no_plots(tmp_path):
    bare = row("mmse", 0.5, size_mb=None, gbops=0)
    assert Page(html_of(tmp_path, results(bare))).all("figure") == []


def test_rows_without_any_metric(tmp_path):
    nothing = row("mmse", 0.5)
    del nothing["bbox_mAP"]
    page = Page(html_of(tmp_path, results(nothing)))
    assert page.all("figure") == [] and len(page.all("tr")) == 2


def test_absurd_numbers_do_not_break_it(tmp_path):
    rows = [row("a", 1e300), row("b", -1e300), row("c", 0.5, size_mb=9e17), row("d", 1e-320)]
    Page(html_of(tmp_path, results(*rows)))
