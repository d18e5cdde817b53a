"""Two ranges with a step each."""

import pytest
import torch

from mmptq.quantizers import TwinQuantizer


def levels(low: float, high: float, bits: float) -> list[float]:
    quantizer = TwinQuantizer(bits)
    quantizer.set_range(torch.tensor(low), torch.tensor(high))
    return (quantizer.units * quantizer.scale).tolist()


def test_levels_by_hand() -> None:
    """Three bits. Behind GELU four levels below 0, with an eighth of the step above it; of
    probabilities four below a quarter of the range, four over all of it."""
    negative = [-4 / 8, -3 / 8, -2 / 8, -1 / 8, 0, 1, 2, 3]
    assert levels(-0.4, 3.0, 3) == pytest.approx(negative)  # 3.0 / 0.4 is next to 8
    assert levels(0.2, 0.8, 3) == pytest.approx([0, 0.05, 0.1, 0.15, 0.2, 0.4, 0.6, 0.8])


def test_steps_differ_by_a_whole_power_of_two() -> None:
    found = torch.tensor(levels(-0.17, 5.3, 6)).diff()
    assert float(found.max() / found.min()).__round__(3) in {2.0**k for k in range(12)}


def test_candidates() -> None:
    low, high = TwinQuantizer(4).candidates(-0.17, 2.0)
    assert float(low.min()) == pytest.approx(-0.17) and float(high.max()) == pytest.approx(2.0)
    low, high = TwinQuantizer(4).candidates(0.0, 2.0)
    assert bool((low > 0).all()) and bool((low <= high).all())


def test_nothing_above_zero() -> None:
    assert all(abs(x) <= 1.2 for x in levels(-1.0, 0.0, 4))
