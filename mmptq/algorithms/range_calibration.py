"""Sets the range of every quantizer by an observer; the base of all recipes."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from mmptq.algorithms.base import Step
from mmptq.engine import CalibrationContext
from mmptq.observers import Observer, Statistics, WeightStatistics
from mmptq.quantizers import LevelQuantizer, UniformQuantizer
from mmptq.registry import OBSERVERS, STEPS, build

MIN_MAX = {"type": "MinMaxObserver"}


@STEPS.register_module()
class RangeCalibration(Step):
    """Range of each weight and activation from its own statistics, layer by layer.

    Weights are seen whole; activations are those of the float model over the whole calibration set
    (one streaming pass, shared with every other step that needs statistics).

    Args:
        weight: Observer of the weights, a config of a class registered in ``OBSERVERS``.
        act: Observer of the activations.
    """

    sets_ranges = True

    def __init__(
        self, weight: Mapping[str, Any] = MIN_MAX, act: Mapping[str, Any] = MIN_MAX
    ) -> None:
        self.weight: Observer = build(OBSERVERS, weight, "RangeCalibration.weight")
        self.act: Observer = build(OBSERVERS, act, "RangeCalibration.act")

    def run(self, context: CalibrationContext) -> None:
        """Set and switch on every quantizer of the model."""
        model = context.model
        model.forget_bias_corrections()
        statistics = context.activation_statistics()
        layers = dict(model.quant_layers())
        weights = model.weight_quantizers()
        for name, quantizer in context.track(weights.items(), "weight ranges", len(weights)):
            stats = WeightStatistics(layers[name].weight.detach(), quantizer.ch_axis)
            set_range(quantizer, self.weight, stats)
        sites = model.sites
        for name, quantizer in context.track(sites.items(), "activation ranges", len(sites)):
            set_range(quantizer, self.act, statistics[name])


def set_range(quantizer: UniformQuantizer, observer: Observer, stats: Statistics) -> None:
    """Give ``quantizer`` the range that ``observer`` reads from ``stats``."""
    quantizer.set_range(*find_range(quantizer, observer, stats))


def find_range(
    quantizer: UniformQuantizer, observer: Observer, stats: Statistics
) -> tuple[Tensor, Tensor]:
    """The range that ``observer`` reads from ``stats``, on the quantizer's device."""
    if isinstance(quantizer, LevelQuantizer):
        ranges = quantizer.candidates(float(stats.low), float(stats.high))
        levels = partial(quantizer.levels, scheme=quantizer.scheme)
        low, high = observer.choose_range(stats, *ranges, levels)
    else:
        low, high = observer.compute_range(stats, quantizer.scheme_for(stats.low))
    return low.to(quantizer.scale.device), high.to(quantizer.scale.device)
