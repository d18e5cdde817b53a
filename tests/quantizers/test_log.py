"""Powers of a base."""

import pytest
import torch

from mmptq.errors import ConfigError
from mmptq.quantizers import LogQuantizer


def levels(low: float, high: float, bits: float) -> list[float]:
    quantizer = LogQuantizer(bits)
    quantizer.set_range(torch.tensor(low), torch.tensor(high))
    return (quantizer.units * quantizer.scale).tolist()


def test_levels_by_hand() -> None:
    """Three bits: 0 and seven powers."""
    expected = [0.0, *(2.0**-k for k in range(6, -1, -1))]
    assert levels(2.0**-6, 1.0, 3) == pytest.approx(expected)
    assert levels(1 / 8, 1.0, 3) == pytest.approx(
        [0.0, *(2.0 ** (-k / 2) for k in range(6, -1, -1))]
    )


def test_without_a_smallest_level_the_base_is_2() -> None:
    assert levels(0.0, 0.5, 3) == levels(2.0**-7, 0.5, 3)
    assert levels(0.0, 1.0, 8)[1] == pytest.approx(2.0**-30)


def test_candidates_hold_the_whole_tensor_and_refuse_negative_values() -> None:
    low, high = LogQuantizer(4).candidates(0.0, 0.7)
    assert low.shape == high.shape and bool((low > 0).all()) and bool((low < high).all())
    assert float(high.max()) == pytest.approx(0.7)
    with pytest.raises(ConfigError, match=r"values down to -0.2 .*role='softmax'"):
        LogQuantizer(4).candidates(-0.2, 1.0)
