"""benchmarks/docs_pictures.py: the charts of the docs show what the cells say."""

import re
import sys
from xml.etree import ElementTree

import pytest

from mmptq.errors import MmptqError
from tests.tiny_project import REPO

SVG = "{http://www.w3.org/2000/svg}"
NAMES = sorted(path.stem for path in (REPO / "docs/images").glob("*.svg"))


@pytest.fixture(scope="module")
def docs_pictures():
    import docs_pictures

    return docs_pictures


@pytest.fixture
def check(docs_pictures, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["docs_pictures.py", "--check"])
    return docs_pictures.main


def test_the_pictures_are_up_to_date(check, capsys):
    check()
    assert capsys.readouterr().out == "every picture is up to date\n"


def test_a_changed_cell_fails_the_check(docs_pictures, check, monkeypatch):
    from pages.measured import cells_of

    cell = cells_of("bccd_observers")["RetinaNet-R18/full/4/kl"]
    monkeypatch.setitem(cell, "bbox_mAP", 34.4)
    with pytest.raises(MmptqError, match=r"these are stale:\nranges\.svg$"):
        check()


def test_every_picture_is_drawn_by_the_command(docs_pictures):
    assert sorted(docs_pictures.PICTURES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_holds_on_light_and_dark_and_loads_nothing(name):
    text = (REPO / f"docs/images/{name}.svg").read_text()
    root = ElementTree.fromstring(text)
    assert "prefers-color-scheme: dark" in root.find(f"{SVG}style").text
    assert root.find(f"{SVG}title").text
    assert not re.search(r"href|url\(|<script", text)
    used = {c for e in root.iter() for c in e.get("class", "").split()}
    assert all(re.search(rf"\.{c} {{", text) for c in used - {"yes"})


def test_points_stand_where_their_values_are():
    from pages.svg import BOTTOM, HEIGHT, TOP, Panel, chart

    text = chart([Panel("p", ("a", "b", "c"), {"s": [0.0, None, 10.0]}, line=5.0)], "all")
    root = ElementTree.fromstring(text)
    heights = [
        float(c.get("cy")) for c in root.iter(f"{SVG}circle") if c.find(f"{SVG}title") is not None
    ]
    assert heights == [HEIGHT - BOTTOM, TOP]
    (line,) = [p for p in root.iter(f"{SVG}path") if p.get("class") == "float"][:1]
    middle = (HEIGHT - BOTTOM + TOP) / 2
    assert float(re.search(r"M\d+ ([\d.]+)H", line.get("d"))[1]) == middle


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 10.0], ["0", "2", "4", "6", "8", "10"]),
        ([54.7, 57.2], ["54.5", "55", "55.5", "56", "56.5", "57", "57.5"]),
    ],
)
def test_ticks_are_round_and_hold_all_values(values, ticks):
    from pages.svg import Panel, chart

    root = ElementTree.fromstring(chart([Panel("p", ("a", "b"), {"s": values})], "all"))
    assert [t.text for t in root.iter(f"{SVG}text") if t.get("text-anchor") == "end"] == ticks
