import math
import re
import xml.etree.ElementTree as ET

import pytest

from mmptq.webpage import Axes, Line, legend, line_plot
from mmptq.webpage.lines import MOST_POINTS, thinned

AXES = Axes(300, 200)


def drawing(*lines, top=None):
    """The plot's root."""
    return ET.fromstring(line_plot(lines, "iteration", "loss", AXES, top))


def corners(svg):
    (curve,) = svg.findall("polyline")
    return [tuple(map(float, pair.split(","))) for pair in curve.get("points").split()]


def test_a_line_goes_through_its_points():
    svg = drawing(Line("loss", [(0, 1), (10, 3), (20, 2)]))
    (x0, y0), (x1, y1), (x2, y2) = corners(svg)
    assert x1 - x0 == pytest.approx(x2 - x1) and y1 < y2 < y0
    assert (y0 - y1) == pytest.approx(2 * (y0 - y2), rel=0.01)


def test_steps_hold_their_value():
    svg = drawing(Line("bits", [(0, 8), (10, 4)], "steps"))
    first, corner, last, _ = corners(svg)
    assert corner == (last[0], first[1])


def test_dots_and_marks():
    svg = drawing(Line("a", [(0, 1)], "dots"), Line("b", [(0, 2)], "mark", color=3))
    small, large = (float(group.find("circle").get("r")) for group in svg.findall("g"))
    assert small < large
    assert svg.findall("g")[1].get("class") == "curve mark c3"


def test_a_legend_names_several():
    lines = [Line("<a>", []), Line("", []), Line("b", [], "dots", color=3)]
    entries = ET.fromstring(legend(lines))
    assert [entry.find("span").text for entry in entries] == ["<a>", "b"]
    assert entries[1].get("class") == "curve dots c3"
    assert legend(lines[:2]) == ""


def test_what_is_far_apart_is_logarithmic():
    svg = drawing(Line("loss", [(0, 1e-3), (1, 1e-1), (2, 10)]))
    (_, a), (_, b), (_, c) = corners(svg)
    assert a - b == pytest.approx(b - c, abs=0.2)


def test_what_lies_above_the_top_is_at_the_edge():
    svg = drawing(Line("loss", [(0, 1), (1, 2), (2, 500)]), top=2.0)
    (_, low), (_, edge), (_, far) = corners(svg)
    assert far == edge < low


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_what_cannot_be_drawn_is_left_out(value):
    svg = drawing(Line("loss", [(0, 1), (1, value), (2, 2)]))
    assert len(corners(svg)) == 2
    assert line_plot([Line("loss", [(0, value)])], "x", "y", AXES) == ""


@pytest.mark.parametrize("points", [[(5, 0.0)], [(0, 0.0), (0, 0.0)], [(1e9, -1e9), (1e9, 3)]])
def test_any_points_stay_in_the_box(points):
    svg = drawing(Line("loss", points))
    left, right = AXES.across
    assert all(left <= x <= right for x, _ in corners(svg))
    texts = [t.text for t in svg.findall("text[@class='tick']")]
    assert texts and not any(re.search("nan|inf", text) for text in texts)


def test_thinning_keeps_the_extremes():
    points = [(float(i), math.sin(i)) for i in range(5000)] + [(5000.0, 9.0)]
    kept = thinned(points)
    assert len(kept) <= MOST_POINTS and kept == sorted(kept)
    values = [y for _, y in points]
    assert {min(values), max(values)} <= {y for _, y in kept}
    assert thinned(points[:7]) == points[:7]
