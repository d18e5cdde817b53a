"""Ranges drawn at random: where LAPQ's ablation starts from."""

import torch

from mmptq.algorithms.base import Step
from mmptq.engine import CalibrationContext
from mmptq.errors import ConfigError
from mmptq.observers import Statistics, WeightStatistics
from mmptq.quantizers import UniformQuantizer
from mmptq.registry import STEPS


@STEPS.register_module()
class RandomRanges(Step):
    """Each quantizer covers a random share of its tensor's range (LAPQ, Table 3, 'random').

    Args:
        shares: Least and largest share, drawn from uniformly.
        seed: Of the draw.

    Raises:
        ConfigError: ``shares`` is no pair ``0 < least <= largest``.
    """

    sets_ranges = True

    def __init__(self, shares: tuple[float, float] = (0.2, 1.0), seed: int = 0) -> None:
        if len(shares) != 2 or not 0.0 < shares[0] <= shares[1]:
            raise ConfigError(f"RandomRanges.shares = {shares!r}: must be 0 < least <= largest")
        self.shares, self.seed = shares, seed

    def run(self, context: CalibrationContext) -> None:
        """Set and switch on every quantizer of the model."""
        model, statistics = context.model, context.activation_statistics()
        model.forget_bias_corrections()
        generator = torch.Generator().manual_seed(self.seed)
        layers = dict(model.quant_layers())
        for name, quantizer in model.weight_quantizers().items():
            stats = WeightStatistics(layers[name].weight.detach(), quantizer.ch_axis)
            self._set(quantizer, stats, generator)
        for name, quantizer in model.sites.items():
            self._set(quantizer, statistics[name], generator)

    def _set(
        self, quantizer: UniformQuantizer, stats: Statistics, generator: torch.Generator
    ) -> None:
        low, high = self.shares
        share = low + (high - low) * float(torch.rand((), generator=generator))
        device = quantizer.scale.device
        quantizer.set_range((stats.low * share).to(device), (stats.high * share).to(device))
