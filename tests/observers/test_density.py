import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from mmptq.observers.density import PiecewiseDensity, QuantGrid


def grid(scale: float, bottom: float, top: float) -> QuantGrid:
    return QuantGrid(*(torch.tensor([float(v)], dtype=torch.float64) for v in (scale, bottom, top)))


def numeric_error(edges, counts, scale, bottom, top, p):
    """Adaptive quadrature of |Q(x) - x|^p over every bin, split where the integrand has a kink."""

    def integrand(x):
        return abs(scale * np.clip(np.round(x / scale), bottom, top) - x) ** p

    halves = np.arange(np.floor(bottom) - 0.5, np.ceil(top) + 1.0, 0.5)
    kinks = scale * np.unique([*halves, bottom, top])
    total = 0.0
    for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True):
        cuts = [left, *kinks[(kinks > left) & (kinks < right)], right]
        area = sum(integrate.quad(integrand, a, b)[0] for a, b in zip(cuts, cuts[1:], strict=False))
        total += count * area / (right - left)
    return total / sum(counts)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.01, 3.0), min_size=1, max_size=6),
    st.floats(-5.0, 3.0),
    st.floats(0.05, 4.0),
    st.integers(-8, 0) | st.floats(-8.0, 0.0),
    st.integers(0, 7) | st.floats(0.0, 7.0),
    st.sampled_from([0.5, 1.0, 2.0, 2.5, 4.0]),
)
def test_closed_form_equals_quadrature(widths, start, scale, bottom, top, p):
    edges = start + np.concatenate([[0.0], np.cumsum(widths)])
    counts = np.arange(1.0, len(widths) + 1.0)
    density = PiecewiseDensity(torch.from_numpy(edges), torch.from_numpy(counts))
    ours = float(density.lp_error(grid(scale, bottom, top), p)[0])
    assert ours == pytest.approx(
        numeric_error(edges, counts, scale, bottom, top, p), rel=1e-5, abs=1e-9
    )


def test_known_values():
    # Uniform on [0, 4], step 1, never clipped: s^2 / 12. All codes 0: the mean square, 16 / 3.
    density = PiecewiseDensity(torch.tensor([0.0, 4.0]).double(), torch.tensor([10.0]).double())
    assert float(density.lp_error(grid(1.0, 0, 4), 2.0)[0]) == pytest.approx(1 / 12)
    assert float(density.lp_error(grid(1.0, 0, 0), 2.0)[0]) == pytest.approx(16 / 3)
    assert float(density.lp_error(grid(1.0, 0, 4), 1.0)[0]) == pytest.approx(1 / 4)
    assert float(density.mean()) == 2.0


@pytest.mark.parametrize("top", [2.3, 2.5, 2.8])
def test_the_last_cell_of_a_real_bit_width(top):
    # Uniform on [2.5, 4], all of which the level at the top takes.
    density = PiecewiseDensity(torch.tensor([2.5, 4.0]).double(), torch.tensor([10.0]).double())
    expected = ((4 - top) ** 3 - (2.5 - top) ** 3) / 3 / 1.5
    assert float(density.lp_error(grid(1.0, 0, top), 2.0)[0]) == pytest.approx(expected)
    # Uniform on [2, 2.5], all of which goes down to 2, above the top or not; mirrored too.
    for side in (1.0, -1.0):
        edges = (torch.tensor([2.0, 2.5]) * side).sort().values.double()
        density = PiecewiseDensity(edges, torch.tensor([10.0]).double())
        levels = grid(1.0, 0, top) if side > 0 else grid(1.0, -top, 0)
        assert float(density.lp_error(levels, 2.0)[0]) == pytest.approx(0.5**3 / 3 / 0.5)


def test_point_masses_are_exact():
    edges = torch.tensor([0.0, 0.0, 3.7, 3.7]).double()
    density = PiecewiseDensity(edges, torch.tensor([6.0, 0.0, 2.0]).double())
    assert float(density.lp_error(grid(1.0, 0, 15), 2.0)[0]) == pytest.approx(0.3**2 * 2 / 8)
    assert density.mean() == pytest.approx(3.7 * 2 / 8)
    assert density.abs_moment(1.0, 0.0, skip_zeros=True) == pytest.approx(3.7)
    assert density.abs_moment(1.0, 0.0, skip_zeros=False) == pytest.approx(3.7 / 4)
    # Zeros are left out of the histogram, the other point is in its bin.
    assert density.histogram(4, 0.0, 4.0).tolist() == [0.0, 0.0, 0.0, 2.0]


@pytest.mark.parametrize("zeros", [0, 7])
@pytest.mark.parametrize("sides", ["positive", "negative", "both"])
def test_from_bins_keeps_zeros_in_order(zeros, sides):
    edges = torch.tensor([-2.0, -1.0, -0.5, 0.5, 1.0, 2.0]).double()
    counts = {"positive": [0, 0, 0, 2, 3], "negative": [3, 2, 0, 0, 0], "both": [1, 1, 0, 1, 2]}
    low = {"positive": 0.0 if zeros else 0.75, "negative": -1.5, "both": -1.5}[sides]
    high = {"positive": 1.5, "negative": 0.0 if zeros else -0.75, "both": 1.75}[sides]
    density = PiecewiseDensity.from_bins(
        edges, torch.tensor(counts[sides]).double(), low, high, zeros
    )
    assert bool((density.edges.diff() >= 0).all())
    assert density.total == 5 + zeros
    assert min(low, 0.0) <= float(density.edges[0]) and float(density.edges[-1]) <= max(high, 0.0)
    at_zero = (density.edges[:-1] == 0) & (density.edges[1:] == 0)
    assert float(density.counts[at_zero].sum()) == zeros


def test_histogram_shares_pieces_by_length():
    density = PiecewiseDensity(
        torch.tensor([0.0, 1.0, 3.0]).double(), torch.tensor([4.0, 8.0]).double()
    )
    assert density.histogram(6, 0.0, 3.0).tolist() == pytest.approx([2, 2, 2, 2, 2, 2])
    assert density.histogram(2, 0.0, 4.0).tolist() == pytest.approx([8, 4])
