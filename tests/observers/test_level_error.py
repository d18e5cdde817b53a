"""The error of levels that are not evenly spaced, exactly, and the choice by it."""

import pytest
import torch

from mmptq.algorithms.range_calibration import find_range
from mmptq.observers import LpNormObserver, MinMaxObserver, TensorStatistics, WeightStatistics
from mmptq.observers.density import PiecewiseDensity
from mmptq.quantizers import LogQuantizer, TwinQuantizer
from mmptq.quantizers.levels import nearest


def statistics(x: torch.Tensor) -> TensorStatistics:
    stats = TensorStatistics()
    stats.update(x, 0)
    return stats


def probabilities() -> torch.Tensor:
    return (3 * torch.randn(400, 50, generator=torch.Generator().manual_seed(0))).softmax(-1)


def test_against_an_integral_by_small_pieces() -> None:
    """A density with a point mass, levels within and beyond it."""
    edges = torch.tensor([-1.0, 0.5, 0.5, 2.0]).double()
    density = PiecewiseDensity(edges, torch.tensor([3.0, 2.0, 5.0]).double())
    levels = torch.tensor([[-0.4, 0.0, 0.3, 1.9], [-3.0, -1.0, 0.6, 7.0]])
    for p in (1.0, 2.0, 2.4):
        found = density.level_error(levels, p)
        for row, error in zip(levels.double(), found, strict=True):
            whole = 0.0
            for left, right, count in ((-1.0, 0.5, 3.0), (0.5, 2.0, 5.0)):
                x = left + (right - left) * (torch.arange(200000).double() + 0.5) / 200000
                whole += count * float((x - nearest(x, row)).abs().pow(p).mean())
            point = torch.tensor([0.5]).double()
            whole += 2.0 * float((point - nearest(point, row)).abs().pow(p))
            assert float(error) == pytest.approx(whole / 10.0, rel=1e-6)


def test_of_a_tensor() -> None:
    x = probabilities()
    levels = torch.tensor([[0.0, 0.01, 0.1, 0.5, 1.0]])
    exact = float((x - nearest(x, levels[0])).square().mean())
    assert float(statistics(x).level_error(levels, 2.0)) == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("kind", [LogQuantizer, TwinQuantizer])
def test_the_choice_is_the_best_candidate_and_beats_even_steps(kind: type[LogQuantizer]) -> None:
    x = probabilities()
    quantizer, stats = kind(4, symmetric=False), statistics(x)
    for observer in (MinMaxObserver(), LpNormObserver(2.0)):
        quantizer.set_range(*find_range(quantizer, observer, stats))
        error = float((quantizer(x) - x).square().mean())
        low, high = quantizer.candidates(0.0, float(x.max()))
        for i in range(0, len(low), 29):
            other = kind(4, symmetric=False)
            other.set_range(low[i], high[i])
            assert error <= 1.01 * float((other(x) - x).square().mean())
    steps = stats.high * torch.linspace(0.05, 1.0, 50)
    even = stats.lp_error(torch.zeros(50), steps, quantizer.scheme, 2.0)
    assert error < 0.8 * float(even.min())


def test_higher_powers_keep_large_values() -> None:
    x = probabilities()
    quantizer, stats = LogQuantizer(4, symmetric=False), statistics(x)
    errors = []
    for p in (2.0, 4.0):
        quantizer.set_range(*find_range(quantizer, LpNormObserver(p), stats))
        errors.append(float((quantizer(x) - x).abs().pow(4).mean()))
    assert errors[1] < errors[0]


def test_weights_have_none() -> None:
    with pytest.raises(NotImplementedError, match="WeightStatistics"):
        WeightStatistics(torch.randn(4, 4), None).level_error(torch.zeros(1, 2), 2.0)
