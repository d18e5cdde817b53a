"""Evens out the channels of what layer norms give, by the norms themselves."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmptq.algorithms.base import Step
from mmptq.algorithms.equalization.equalization import check_same
from mmptq.algorithms.equalization.norms import NormGroup, norm_groups
from mmptq.engine import CalibrationContext, channel_statistics, float_form, probing
from mmptq.models.trace import flatten_tensors
from mmptq.observers import Observer, Statistics
from mmptq.ops import QuantScheme
from mmptq.registry import OBSERVERS, STEPS, build

MMSE = {"type": "LpNormObserver", "p": 2.0}
_LEAST = 1e-3  # of the mean step: a channel that hardly moves does not grow beyond all bounds


@STEPS.register_module()
class NormReparametrization(Step):
    r"""A range for each channel of a layer norm's output, at the price of one (RepQ-ViT).

    Li et al. 2023, section 3.2, eq. 6 to 9. Each channel :math:`c` has a step :math:`s_c` and a
    zero point :math:`z_c`; with their means :math:`\tilde s`, :math:`\tilde z` and :math:`r_c = s_c
    / \tilde s`, :math:`t_c = s_c (z_c - \tilde z)` the norm gives :math:`(y_c + t_c) / r_c` in
    place of :math:`y_c`, and the layers that read it have :math:`W_{ic} r_c` and :math:`b_i -
    \sum_c W_{ic} t_c`. Nothing is computed in addition, and the float model's outputs stay. Then
    one step and zero point for the tensor are those of every channel.

    Where zeros are padded to the norm's output (Swin's windows), or a bias is missing, or the
    activation is symmetric, only the factor moves. It stands before the step that sets the ranges.

    Args:
        act: Observer of each channel, a config of a class registered in ``OBSERVERS``.

    Raises:
        ConfigError: The observer's config is wrong.
    """

    changes_activations = True
    needs_float_weights = True

    def __init__(self, act: Mapping[str, Any] = MMSE) -> None:
        self.act: Observer = build(OBSERVERS, act, "NormReparametrization.act")

    def run(self, context: CalibrationContext) -> None:
        """Rewrite norms and weights; no quantizer has a range afterwards.

        Raises:
            NumericalError: The float model computes something else afterwards.
        """
        model = context.model
        groups = norm_groups(context)
        watched = {group.readers[0] for group in groups}
        with float_form(model):
            batches = context.track(context.data, "channel ranges", len(context.data))
            seen = channel_statistics(model, watched, batches)
        with torch.no_grad(), probing(model, context.adapter) as (forward, image):
            before = list(flatten_tensors(forward(image)))
            for group in groups:
                if group.readers[0] in seen:
                    self._rewrite(context, group, seen[group.readers[0]])
            model.start_pass()
            check_same(type(self).__name__, before, list(flatten_tensors(forward(image))))
        model.forget_ranges()
        print_log(
            f"NormReparametrization: the outputs of {len(groups)} layer norms have channels of the "
            "same range now",
            logger="current",
            level=logging.INFO if groups else logging.WARNING,
        )

    def _rewrite(self, context: CalibrationContext, group: NormGroup, stats: Statistics) -> None:
        model = context.model
        norm: Any = model.model.get_submodule(group.norm)
        layers: list[Any] = [model.model.get_submodule(name) for name in group.readers]
        scheme = layers[0].reader(0).scheme
        movable = not (scheme.symmetric or group.padded or norm.bias is None)
        movable = movable and all(layer.bias is not None for layer in layers)
        ends = self.act.compute_range(stats, scheme)
        factor, shift = (t.to(norm.weight.device) for t in _moves(*ends, scheme, movable))
        norm.weight.copy_(norm.weight.double() / factor)
        if norm.bias is not None:
            norm.bias.copy_((norm.bias.double() + shift) / factor)
        for layer in layers:
            weight = layer.weight.double()
            if movable:
                layer.bias.copy_(layer.bias.double() - weight @ shift)
            layer.weight.copy_(weight * factor)


def _moves(low: Tensor, high: Tensor, scheme: QuantScheme, shifted: bool) -> tuple[Tensor, Tensor]:
    """``r`` and ``t`` of the step's formula, ``(C,)`` float64."""
    low, high = low.double(), high.double()
    if scheme.symmetric:
        high = torch.maximum(-low, high)
        low = -high
    step = (high - low) / scheme.levels
    mean = step.mean()
    if not bool(mean > 0):
        return torch.ones_like(step), torch.zeros_like(step)
    step = torch.where(step > 0, step.clamp(min=_LEAST * mean), mean)
    points = -low / step
    # Of a channel that does not reach 0 the point lies outside of the codes; the mean must not.
    middle = points.clamp(0.0, scheme.levels).mean()
    shift = step * (points - middle) if shifted else torch.zeros_like(step)
    return step / mean, shift
