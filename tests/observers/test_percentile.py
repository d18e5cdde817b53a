import numpy as np
import pytest
import torch

from mmptq.errors import ConfigError
from mmptq.observers import PercentileObserver, TensorStatistics, WeightStatistics
from mmptq.ops import QuantScheme

SCHEME = QuantScheme(8, symmetric=False, signed=False)


@pytest.mark.parametrize("percentile", [51.0, 99.0, 99.9, 100])
@pytest.mark.parametrize("relu", [False, True])
def test_activation_against_numpy(percentile, relu):
    x = torch.randn(300_000, generator=torch.Generator().manual_seed(0))
    x = x.relu() if relu else x
    stats = TensorStatistics()
    for i, part in enumerate(x.chunk(5)):
        stats.update(part, image=i)
    low, high = PercentileObserver(percentile).compute_range(stats, SCHEME)
    expected = np.percentile(x.numpy(), [100 - percentile, percentile])
    np.testing.assert_allclose([float(low), float(high)], expected, rtol=1.5e-3, atol=1e-4)


def test_an_outlier_is_left_out():
    stats = TensorStatistics()
    x = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    stats.update(torch.cat([x, torch.tensor([1e6])]), image=0)
    high = PercentileObserver(99.99).compute_range(stats, SCHEME)[1]
    assert float(high) == pytest.approx(np.percentile(x.numpy(), 99.99), rel=0.03)


def test_weight_per_channel_against_numpy():
    weight = torch.randn(4, 1000, generator=torch.Generator().manual_seed(0))
    low, high = PercentileObserver(97.3).compute_range(WeightStatistics(weight, 0), SCHEME)
    np.testing.assert_allclose(high, np.percentile(weight.numpy(), 97.3, axis=1), rtol=1e-5)
    np.testing.assert_allclose(low, np.percentile(weight.numpy(), 2.7, axis=1), rtol=1e-5)


@pytest.mark.parametrize("percentile", [0, 50, 100.1, -3, "99", None])
def test_bad_percentile(percentile):
    with pytest.raises(ConfigError, match="PercentileObserver.percentile must be above 50"):
        PercentileObserver(percentile)
