"""The step that rounds weights by the layers' outputs."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmptq import ops
from mmptq.algorithms.base import Step
from mmptq.algorithms.gptq.solver import (
    Elimination,
    damped_inverse,
    matching_weight,
    round_in_order,
)
from mmptq.algorithms.reconstruction.checks import check_ranges
from mmptq.engine import CalibrationContext
from mmptq.engine.incremental.probing import call_graph
from mmptq.engine.units.input_moments import InputMoments, Moments
from mmptq.engine.units.walk import NetworkWalk
from mmptq.engine.units.waves import waves
from mmptq.errors import ConfigError, NumericalError
from mmptq.models import QuantModel
from mmptq.modules import QuantLayer
from mmptq.quantizers import UniformQuantizer
from mmptq.registry import STEPS

# Shares of the whole range that are tried.
_CLIPS = torch.linspace(0.25, 1.1, 86, dtype=torch.float64)


@STEPS.register_module()
class GPTQ(Step):
    r"""Rounds the weights of each layer so that its *output* stays that of the float model.

    Layer after layer, in closed form, from second moments of the inputs on the calibration images:

    1. The weight that gives the float model's output from the input as quantization left it, by
       least squares. So each layer makes up for what the layers and activations before it lost
       (asymmetric calibration: Nagel et al. 2020, eq. 25; for this method Li et al. 2025, GPTAQ).
    2. The range of each channel with the least error, each weight counted by what its error costs.
    3. GPTQ (Frantar et al. 2023): one input after another is rounded to nearest, and the weights
       not yet rounded make up for its error.
    4. The rest of the mean error goes to the bias (a measured correction, see
       :class:`BiasCorrection`).

    Ranges must be set by an earlier step; those of activations stay. The weights end on their
    grid. Layers that are no product of weight and input patches (transposed and deformable
    convolutions) keep their weights and ranges.

    Args:
        positions: How many output positions of an image are sampled, in the first call; on smaller
            maps fewer, in proportion.
        damp: How strongly the weights are held to the float ones: a share of the mean second moment
            of the inputs.
        match: Whether the layer makes up for what was lost before it (1.); without, this is GPTQ
            as published.
        ranges: Whether ranges are searched (2.); per-tensor ranges stay in any case.
        bias: Whether means are corrected (4.).
        max_inputs: Inputs of a layer that are adjusted together, at most; more are cut into blocks.
        cache_gb: Memory in GiB for activations; the rest spills to the work directory.

    Raises:
        ConfigError: An argument that cannot work.
    """

    replaces_weights = True
    needs_float_weights = True

    def __init__(
        self,
        positions: int = 512,
        damp: float = 0.1,
        match: bool = True,
        ranges: bool = True,
        bias: bool = True,
        max_inputs: int = 2304,
        cache_gb: float = 2.0,
    ) -> None:
        for name, count in (("positions", positions), ("max_inputs", max_inputs)):
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ConfigError(f"GPTQ.{name} = {count!r}: must be a whole number from 1")
        for name, share in (("damp", damp), ("cache_gb", cache_gb)):
            if isinstance(share, bool) or not isinstance(share, int | float) or not share > 0:
                raise ConfigError(f"GPTQ.{name} = {share!r}: must be a number above 0")
        for name, flag in (("match", match), ("ranges", ranges), ("bias", bias)):
            if not isinstance(flag, bool):
                raise ConfigError(f"GPTQ.{name} = {flag!r}: must be True or False")
        self.positions, self.max_inputs, self.cache_gb = positions, max_inputs, cache_gb
        self.damp, self.match, self.ranges, self.bias = damp, match, ranges, bias

    @torch.no_grad()
    def run(self, context: CalibrationContext) -> None:
        """Round every layer that has a weight quantizer.

        Raises:
            ConfigError: A quantizer has no range.
            NumericalError: An input of a layer is not finite.
        """
        model = context.model.eval()
        check_ranges(model, "GPTQ")
        # Both refer to the weights as they were.
        model.forget_bias_corrections()
        layers = _quantized(model)
        for layer in layers.values():
            layer.set_weight_correction(None)
        graph = call_graph(model, context.adapter)
        walk = NetworkWalk(context, graph, self.cache_gb / 3)
        groups = list(waves(graph, list(layers)))
        skipped = []
        for i in context.track(range(len(groups)), "GPTQ: groups of layers", len(groups)):
            group = {name: layers[name] for name in groups[i]}
            ahead = [name for later in groups[i + 1 :] for name in later]
            for name, moments in self._moments(context, walk, group, ahead).items():
                if moments is None:
                    skipped.append(name)
                else:
                    self._round(group[name], moments)
        if skipped:
            print_log(
                f"GPTQ: {', '.join(skipped)}: no product of weight and patches, rounded to nearest",
                logger="current",
                level=logging.WARNING,
            )

    def _moments(
        self,
        context: CalibrationContext,
        walk: NetworkWalk,
        layers: Mapping[str, QuantLayer],
        ahead: list[str],
    ) -> dict[str, Moments | None]:
        """Of the inputs of ``layers``; ``ahead`` are those still to come."""
        share, folder = self.cache_gb / 3 / len(layers), context.store.folder
        inputs = {
            name: InputMoments(layer, self.positions, self.max_inputs, share, folder)
            for name, layer in layers.items()
        }
        walk.see_float({name: found.add_float() for name, found in inputs.items()}, ahead)
        watched = {name: found.add_quantized() for name, found in inputs.items()}
        walk.see_quantized(watched, [*layers, *ahead], outputs=False)
        found: dict[str, Moments | None] = {}
        for name, gathered in inputs.items():
            try:
                found[name] = gathered.moments()
            except NumericalError as error:
                raise NumericalError(f"{name}: {error}") from error
        return found

    def _round(self, layer: QuantLayer, moments: Moments) -> None:
        quantizer: Any = layer.weight_quantizer
        groups = getattr(layer, "groups", 1)
        weight = _blocks(layer.weight.double(), groups, moments.gram.shape[-1])
        inverse = damped_inverse(moments.gram, self.damp)
        target = weight
        if self.match:
            target = matching_weight(weight, moments.gram, moments.cross, inverse)
        elimination = Elimination.of(moments.gram, inverse)
        if self.ranges and quantizer.ch_axis is not None:
            costs = elimination.costs[:, None].expand_as(target)
            set_weighted_range(quantizer, _rows(target, groups), _rows(costs, groups))
        scale, low, high = (_spread(t, groups, target) for t in _grid(quantizer))

        def nearest(values: Tensor) -> Tensor:
            return torch.clamp((values / scale).round(), low, high) * scale

        rounded = round_in_order(target, elimination, nearest)
        layer.keep_float_weight(layer.weight)
        layer.weight.copy_(_rows(rounded, groups).reshape(layer.weight.shape))
        if self.bias:
            wanted = _rows(weight * moments.float_mean[:, None], groups).sum(1)
            given = _rows(rounded * moments.quant_mean[:, None], groups).sum(1)
            layer.set_bias_correction(wanted - given)


def _quantized(model: QuantModel) -> dict[str, QuantLayer]:
    """Layers with a quantized weight, in the order of first execution."""
    found = dict(model.quant_layers())
    assert model.plan is not None
    return {p.name: found[p.name] for p in model.plan.layers if p.weight is not None}


def set_weighted_range(quantizer: UniformQuantizer, values: Tensor, costs: Tensor) -> None:
    """Give each channel the range with the least weighted squared error.

    Args:
        quantizer: Per channel.
        values: ``(channels, K)``.
        costs: Of a squared error of each value, same shape.
    """
    ends = values.amin(1), values.amax(1)
    best = torch.full_like(ends[0], torch.inf)
    chosen = torch.ones_like(ends[0])
    scheme = quantizer.scheme_for(ends[0])
    quant_min, quant_max = scheme.bounds
    for clip in _CLIPS:
        scale, zero_point = ops.range_to_params(ends[0] * clip, ends[1] * clip, scheme)
        levels = ops.fake_quantize(values, scale, zero_point, quant_min, quant_max, ch_axis=0)
        error = ((levels - values).square() * costs).sum(1)
        chosen = torch.where(error < best, clip, chosen)
        best = torch.minimum(best, error)
    quantizer.set_range(*((end * chosen).to(quantizer.scale) for end in ends))


def _grid(quantizer: UniformQuantizer) -> tuple[Tensor, Tensor, Tensor]:
    """Step and outermost codes, counted from the zero point."""
    quant_min, quant_max = quantizer.scheme.bounds
    zero_point = quantizer.zero_point.double()
    return quantizer.scale.double(), quant_min - zero_point, quant_max - zero_point


def _blocks(weight: Tensor, groups: int, inputs: int) -> Tensor:
    """``(out, in, ...)`` as ``(blocks, rows, inputs)``."""
    rows = weight.reshape(groups, len(weight) // groups, -1, inputs)
    return rows.transpose(1, 2).flatten(0, 1)


def _rows(blocks: Tensor, groups: int) -> Tensor:
    """``(blocks, rows, inputs)`` as ``(out, all inputs)``."""
    return blocks.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1).flatten(1)


def _spread(values: Tensor, groups: int, like: Tensor) -> Tensor:
    """A value for each output channel, or one for all, as ``(blocks, rows)`` of ``like``."""
    if values.dim() == 0:
        return values.expand(like.shape[:2])
    parts = len(like) // groups
    return values.reshape(groups, 1, -1).expand(-1, parts, -1).flatten(0, 1)
