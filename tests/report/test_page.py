"""The whole page as text; in a browser it is looked at in test_browser.py."""

import json
import re

import pytest

from mmptq.errors import MmptqError
from mmptq.report import write_report
from mmptq.report.page import LIMIT, to_html
from mmptq.report.run import read_run
from tests.leaderboard_support import float_row, results, row, write_run
from tests.report.hostile import hostile_run
from tests.report_support import (
    layer,
    record,
    write_full_run,
    write_json,
    write_picture,
    write_units,
)
from tests.webpage.hostile import HOSTILE
from tests.webpage.parsed import Page


@pytest.fixture
def full(tmp_path):
    return write_full_run(tmp_path / "full")


def sections(page):
    return [attributes["id"] for attributes in page.all("section")]


def test_a_full_run_has_every_section(full):
    path = write_report(full)
    assert path == full / "report.html"
    page = Page(path.read_text(encoding="utf-8"))
    assert sections(page) == [
        *("results", "export", "pictures", "recipe"),
        *("layers", "sensitivity", "images", "environment", "config"),
    ]
    text = " ".join(page.texts)
    assert "all at W4A4: mAP 55.0 of the float model's 60.0, 0.50 of 4.00 MB" in text
    assert "all in openvino" in text and "Left out" not in text
    links = {a["href"] for a in page.all("a") if a["href"].startswith("#")}
    assert links == {f"#{key}" for key in sections(page)}


def test_written_again_it_is_the_same(full):
    first = write_report(full).read_bytes()
    assert write_report(full).read_bytes() == first


def test_the_least_of_a_run(tmp_path):
    """Of an older version: results alone."""
    write_run(tmp_path, results(row("mmse", 0.5)))
    text = write_report(tmp_path).read_text()
    assert sections(Page(text)) == [
        *("results", "pictures", "recipe", "layers", "images", "environment", "config"),
    ]
    assert "Not recorded" in text and "The float model was not evaluated" in text


def test_nothing_is_loaded_and_no_script_may_run(full):
    text = write_report(full).read_text()
    page = Page(text)
    policy = next(a["content"] for a in page.all("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script" not in policy and page.all("script") == []
    sources = [a["src"] for a in page.all("img")]
    assert len(sources) == 1 and sources[0].startswith("data:image/jpeg;base64,")
    assert not re.search(r"url\(|@import|srcset", text)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_data_becomes_a_tag_or_a_link(tmp_path, text):
    plain = Page(write_report(write_full_run(tmp_path / "plain")).read_text())
    page = Page(write_report(hostile_run(tmp_path / "hostile", text)).read_text())
    assert {name for name, _ in page.tags} <= {name for name, _ in plain.tags}
    for tag in ("script", "style", "iframe", "section", "img"):
        assert len(page.all(tag)) == len(plain.all(tag))
    attributes = {key for _, given in page.tags for key in given}
    assert not {key for key in attributes if key.startswith("on")}
    for link in page.all("a"):
        assert link["href"].startswith(("#", "./")) and ".." not in link["href"]


def test_large_pictures_are_reduced_until_the_page_is_small(full):
    names = [f"{i}.png" for i in range(9)]
    for name in names:
        write_picture(full / "pictures" / name, 1600, 900)
    write_json(full / "run.json", record(pictures=names))
    path = write_report(full)
    assert path.stat().st_size < LIMIT
    text = path.read_text()
    assert "to keep the page small" in text
    assert len(Page(text).all("img")) == 9


def test_pictures_that_do_not_fit_are_left_out(full):
    for i in range(3):
        write_picture(full / f"pictures/{i}.png", 800, 800)
    write_json(full / "run.json", record(pictures=["0.png", "1.png", "2.png"]))
    text = to_html(read_run(full), limit=150_000)
    assert len(text.encode()) < 150_000
    assert re.search(r"[12] of 3 pictures are here", text)


def test_whatever_is_in_the_files_it_stays_small(full):
    layers = [layer(f"layer{i}." + "x" * 5000) for i in range(1500)]
    write_json(full / "run.json", record(layers=layers))
    (full / "net_w4a4.py").write_text("x = 1\n" * 200_000)
    path = write_report(full)
    assert path.stat().st_size < LIMIT
    assert "it would not fit into the page" in path.read_text()


def test_a_very_long_name_is_cut_where_it_is_a_title(tmp_path):
    long = "m" * 3_000_000
    write_run(tmp_path, results(row(long, 0.5), method=long))
    write_json(tmp_path / "run.json", record(model=long))
    path = write_report(tmp_path)
    assert path.stat().st_size < LIMIT
    assert f"<h1>{'m' * 160}... of a {'m' * 160}...</h1>" in path.read_text()


@pytest.mark.parametrize(
    "file",
    [
        "analysis/sensitivity.json",
        "quantized.json",
        "reconstruction/BitShrinking/summary.json",
    ],
)
@pytest.mark.parametrize("content", ["{", "[1]", '{"results": {"W4A4": 3}}', "7"])
def test_a_damaged_file_costs_its_section_alone(full, file, content):
    (full / file).write_text(content)
    text = write_report(full).read_text()
    assert len(sections(Page(text))) == 9
    assert f"Left out: {full / file}" in text


@pytest.mark.parametrize("content", ["[]", '{"schema": 2}', '{"schema": 1, "starts": 3}'])
def test_a_damaged_record_is_named(full, content):
    (full / "run.json").write_text(content)
    with pytest.raises(MmptqError, match=r"run\.json"):
        write_report(full)


def test_no_run_no_report(tmp_path):
    with pytest.raises(MmptqError, match="no results.json in .*: give a work dir"):
        write_report(tmp_path)
    write_run(tmp_path, results())
    with pytest.raises(MmptqError, match="rows is empty"):
        write_report(tmp_path)


def test_a_classifier_has_no_pictures(tmp_path):
    top1 = float_row() | {"accuracy/top1": 90.0}
    del top1["bbox_mAP"]
    write_run(tmp_path, results(top1, {**row("mmse", 0.5), "accuracy/top1": 88.0}))
    write_json(tmp_path / "run.json", record(boxes=False, model="ResNet", pictures=[]))
    page = Page(write_report(tmp_path).read_text())
    assert "pictures" not in sections(page)
    assert "mmse W4A4 of a ResNet" in page.texts


def test_strange_numbers_do_not_break_it(full):
    write_units(full)
    log = full / "reconstruction/BitShrinking/backbone.layer1.0.jsonl"
    rows = [dict(iteration="x", R=None), dict(iteration=1e999, R=float("nan")), dict(R=[1]), 3]
    log.write_text("\n".join(map(json.dumps, rows)))
    lines = [{"search": {}}, dict(point="x", loss={}), dict(point=[float("nan")], loss=1e308)]
    for name in ("joint_search", "lp_interpolation"):
        (full / f"stages/{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    Page(write_report(full).read_text())
