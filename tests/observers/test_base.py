import pytest
import torch

from mmptq import observers
from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.observers import Observer, TensorStatistics, WeightStatistics
from mmptq.ops import QuantScheme
from mmptq.registry import OBSERVERS, build

NAMES = [name for name in observers.__all__ if name.endswith("Observer") and name != "Observer"]
SCHEMES = [
    QuantScheme(bits, symmetric, signed)
    for bits in (1, 2.5, 8, 16)
    for symmetric, signed in ((True, True), (True, False), (False, False))
]


@pytest.mark.parametrize("name", NAMES)
def test_registered_under_its_name_with_usable_defaults(name):
    observer = build(OBSERVERS, {"type": f"mmptq.{name}"}, "act.observer")
    assert isinstance(observer, Observer)
    with pytest.raises(ConfigError, match="act.observer.momentums: unknown argument"):
        build(OBSERVERS, {"type": name, "momentums": 1}, "act.observer")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_ranges_are_finite_ordered_and_shaped(name, scheme):
    observer = build(OBSERVERS, {"type": name}, "observer")
    x = torch.randn(3, 200, generator=torch.Generator().manual_seed(0))
    x[2] = 0.0
    x[0] = x[0].abs()
    stats = TensorStatistics()
    stats.update(x, image=0)
    for source, shape in (
        (stats, ()),
        (WeightStatistics(x, None), ()),
        (WeightStatistics(x, 0), (3,)),
    ):
        low, high = observer.compute_range(source, scheme)
        assert low.shape == high.shape == shape
        assert low.dtype == high.dtype == torch.float32
        assert bool((low.isfinite() & high.isfinite() & (low <= high)).all())


@pytest.mark.parametrize("name", NAMES)
def test_all_zero_values_give_an_empty_range(name):
    stats = TensorStatistics()
    stats.update(torch.zeros(100), image=0)
    low, high = build(OBSERVERS, {"type": name}, "observer").compute_range(stats, SCHEMES[0])
    assert (float(low), float(high)) == (0.0, 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_a_tensor_without_values_is_an_error(name):
    with pytest.raises(CalibrationDataError):
        build(OBSERVERS, {"type": name}, "observer").compute_range(TensorStatistics(), SCHEMES[0])
