"""Densities of many channels are those of each channel alone."""

import pytest
import torch

from mmptq.observers.channel_density import ChannelDensity
from mmptq.observers.density import PiecewiseDensity, QuantGrid

EDGES = torch.tensor([[-4.0, -2.0, -1.0, 1.0, 2.0, 4.0], [-40.0, -20.0, -10.0, 10.0, 20.0, 40.0]])
COUNTS = torch.tensor([[2.0, 5.0, 0.0, 7.0, 1.0], [0.0, 0.0, 0.0, 3.0, 9.0]])
ZEROS, LOW, HIGH = torch.tensor([3, 0]), torch.tensor([-3.5, 0.0]), torch.tensor([4.0, 33.0])


def channels() -> ChannelDensity:
    return ChannelDensity(EDGES.double(), COUNTS.double(), ZEROS, LOW, HIGH)


def alone(channel: int) -> PiecewiseDensity:
    return PiecewiseDensity.from_bins(
        EDGES[channel].double(),
        COUNTS[channel].double(),
        float(LOW[channel]),
        float(HIGH[channel]),
        int(ZEROS[channel]),
    )


@pytest.mark.parametrize("p", [1.0, 2.0, 2.7])
def test_lp_error(p: float) -> None:
    scale = torch.tensor([[0.1, 1.0], [0.5, 0.3], [3.0, 20.0]]).double()
    grid = QuantGrid(scale, torch.full_like(scale, -7.0), torch.full_like(scale, 8.5))
    found = channels().lp_error(grid, p)
    for c in range(2):
        one = QuantGrid(scale[:, c], grid.bottom[:, c], grid.top[:, c])
        torch.testing.assert_close(found[:, c], alone(c).lp_error(one, p), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("skip_zeros", [False, True])
def test_moments(skip_zeros: bool) -> None:
    density = channels()
    center = torch.tensor([0.0, 5.0])
    found = density.abs_moment(2.0, center, skip_zeros)
    wanted = [alone(c).abs_moment(2.0, float(center[c]), skip_zeros) for c in range(2)]
    torch.testing.assert_close(found, torch.tensor(wanted).double(), rtol=1e-5, atol=0)
    means = torch.tensor([alone(c).mean() for c in range(2)]).double()
    torch.testing.assert_close(density.mean(), means, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("q", [0.01, 0.3, 0.45, 0.6, 0.99])
def test_quantiles(q: float) -> None:
    wanted = torch.tensor([alone(c).quantile(q) for c in range(2)]).double()
    torch.testing.assert_close(channels().quantile(q), wanted, rtol=1e-4, atol=1e-6)


def test_histogram() -> None:
    found = channels().histogram(16, torch.tensor([4.0, 40.0]))
    wanted = [alone(c).histogram(16, -bound, bound) for c, bound in enumerate((4.0, 40.0))]
    torch.testing.assert_close(found, torch.stack(wanted), rtol=1e-4, atol=1e-4)


def test_a_channel_of_one_value() -> None:
    """The bin that its extreme cuts to a point keeps its values."""
    edges, counts = EDGES[:1].double(), torch.tensor([[0.0, 0.0, 0.0, 0.0, 6.0]]).double()
    density = ChannelDensity(
        edges, counts, torch.zeros(1), torch.tensor([2.0]), torch.tensor([2.0])
    )
    grid = QuantGrid(*(torch.tensor([[v]]).double() for v in (0.75, 0.0, 15.0)))
    torch.testing.assert_close(
        density.lp_error(grid, 2.0), torch.tensor([[0.25**2]]).double(), rtol=1e-4, atol=0
    )
    assert float(density.histogram(8, torch.tensor([2.0])).sum()) == 6.0
