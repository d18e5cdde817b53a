import pytest
import torch

from mmptq.errors import ConfigError
from mmptq.observers import MovingAverageObserver, TensorStatistics, WeightStatistics
from mmptq.ops import QuantScheme

SCHEME = QuantScheme(8, symmetric=False, signed=False)
IMAGES = {0: [-1.0, 2.0], 1: [0.0, 4.0], 2: [-3.0, 1.0]}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_by_hand_in_image_order(order):
    stats = TensorStatistics()
    for image in order:
        stats.update(torch.tensor(IMAGES[image]), image)
    low, high = MovingAverageObserver(momentum=0.75).compute_range(stats, SCHEME)
    # low: -1, -0.75, -1.3125; high: 2, 2.5, 2.125
    assert (float(low), float(high)) == (-1.3125, 2.125)
    assert low.dtype == torch.float32


def test_a_weight_is_one_image():
    low, high = MovingAverageObserver().compute_range(
        WeightStatistics(torch.tensor([[1.0, -2.0], [0.5, 4.0]]), 0), SCHEME
    )
    assert (low.tolist(), high.tolist()) == ([-2.0, 0.5], [1.0, 4.0])


@pytest.mark.parametrize("momentum", [0, 1, -0.1, 1.5, "0.9", None])
def test_bad_momentum(momentum):
    with pytest.raises(ConfigError, match="MovingAverageObserver.momentum must be between 0 and 1"):
        MovingAverageObserver(momentum)
