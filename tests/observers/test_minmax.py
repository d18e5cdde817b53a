import torch

from mmptq.observers import MinMaxObserver, TensorStatistics, WeightStatistics
from mmptq.ops import QuantScheme

SCHEME = QuantScheme(8, symmetric=True, signed=True)


def test_activation():
    stats = TensorStatistics()
    stats.update(torch.tensor([1.0, -3.0]), image=0)
    stats.update(torch.tensor([2.0]), image=1)
    low, high = MinMaxObserver().compute_range(stats, SCHEME)
    assert (float(low), float(high)) == (-3.0, 2.0)
    assert low.shape == high.shape == ()


def test_weight_per_channel():
    weight = torch.tensor([[1.0, -2.0], [0.5, 4.0]])
    low, high = MinMaxObserver().compute_range(WeightStatistics(weight, 0), SCHEME)
    assert (low.tolist(), high.tolist()) == ([-2.0, 0.5], [1.0, 4.0])
