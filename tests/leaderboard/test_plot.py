import math
import re
import xml.etree.ElementTree as ET

import pytest

from mmptq.leaderboard.plot import AXES, Point, scatter

POINTS = [
    Point("r1", 4.0, 61.0, "float", "float"),
    Point("r2", 0.5, 48.0, 'min "max"', "minmax", 0, 45.0, 50.0),
    Point("r3", 0.5, 58.0, "<mmse>", "simulated"),
    Point("r4", 0.8, 57.0, "exported", "runtime", 7),
]


def places(svg):
    return {
        match[1]: (float(match[2]), float(match[3]))
        for match in re.finditer(r'data-row="(\w+)".*?data-at="([\d.]+),([\d.]+)"', svg)
    }


def test_it_is_xml_with_a_link_a_point():
    tree = ET.fromstring(scatter(POINTS, "size", "mAP"))
    links = tree.findall("a")
    assert [link.get("href") for link in links] == ["#r1", "#r2", "#r3", "#r4"]
    assert [link.find("title").text for link in links] == [p.text for p in POINTS]
    assert [link.get("class") for link in links][3] == "pt runtime c1"


def test_cost_is_logarithmic_and_merit_is_linear():
    at = places(scatter(POINTS, "size", "mAP"))
    x = {row: place[0] for row, place in at.items()}
    y = {row: place[1] for row, place in at.items()}
    assert x["r2"] == x["r3"]
    ratio = (x["r1"] - x["r4"]) / (x["r4"] - x["r3"])
    assert ratio == pytest.approx(math.log(5) / math.log(1.6), rel=0.01)
    assert (y["r2"] - y["r3"]) / (y["r3"] - y["r1"]) == pytest.approx(10 / 3, rel=0.01)
    for left, top in at.values():
        (first, last), (lowest, highest) = AXES.across, AXES.upward
        assert first <= left <= last and highest <= top <= lowest


def test_the_front_leads_over_what_nothing_beats():
    svg = scatter(POINTS, "size", "mAP")
    at = places(svg)
    line = re.search(r'class="front" points="([^"]*)"', svg)[1]
    assert line == " ".join(f"{x},{y}" for x, y in (at["r3"], at["r1"]))


@pytest.mark.parametrize(
    "costs", [[1.0], [3.0, 3.1], [1e-9, 1e9], [1e17, 2e17], [5e-324, 1.0], [0.5, 0.9]]
)
def test_any_range_has_a_few_ticks(costs):
    points = [Point(f"r{i}", c, 50.0, "", "simulated") for i, c in enumerate(costs)]
    ticks = ET.fromstring(scatter(points, "x", "y")).findall("text[@class='tick']")
    along = [t for t in ticks if t.get("text-anchor") == "middle"]
    assert 1 <= len(along) <= 8 and 2 <= len(ticks) - len(along) <= 8
