import pytest

from mmptq.webpage import Axes, linear_scale, log_scale
from mmptq.webpage.axes import round_steps

AXES = Axes(200, 100)


@pytest.mark.parametrize(
    ("low", "high", "steps"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0.09, 0.32, [0.1, 0.15, 0.2, 0.25, 0.3]),
        (-3e-9, 1.5e-9, [-3e-9, -2e-9, -1e-9, 0, 1e-9]),
    ],
)
def test_steps_are_round(low, high, steps):
    assert round_steps(low, high) == pytest.approx(steps, rel=1e-9, abs=1e-20)


def test_a_linear_scale_keeps_distances_inside_the_box():
    place, ticks = linear_scale([10.0, 20.0, 40.0], AXES.across)
    left, right = AXES.across
    assert (place(40) - place(20)) == pytest.approx(2 * (place(20) - place(10)))
    assert left < place(10) < place(40) < right
    assert all(left <= place(tick) <= right for tick in ticks) and len(ticks) >= 2


def test_upward_is_up():
    place, _ = linear_scale([0.0, 1.0], AXES.upward)
    assert place(1.0) < place(0.0)


def test_a_logarithmic_scale_keeps_ratios():
    place, ticks = log_scale([1.0, 1000.0], AXES.across, most=3)
    assert place(100) - place(10) == pytest.approx(place(10) - place(1))
    assert len(ticks) <= 3


def test_titles_are_text():
    assert "<b>" not in AXES.titles("<b>", "<b>")
