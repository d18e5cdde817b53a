"""The variables of the joint search: multipliers of the steps that the quantizers have."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmptq.errors import ConfigError
from mmptq.models import QuantModel
from mmptq.quantizers import UniformQuantizer

UNIT_STEP = 0.1  # by how much a multiplier changes per unit of x, around 1
GROUPS = ("tensor", "unit")
SCALES = ("log", "linear")

Point = tuple[float, ...]  # coordinates on the grid of the space


@dataclass
class Variable:
    """One multiplier.

    Args:
        name: ``<layer or unit>.weight`` or ``.act``.
        quantizers: Whose steps it multiplies.
        start: Their steps at multiplier 1.
        multiplier: At which they are now.
    """

    name: str
    quantizers: list[UniformQuantizer]
    start: list[Tensor]
    multiplier: float = 1.0

    @torch.no_grad()
    def set(self, multiplier: float) -> None:
        """Multiply the starting steps; a quantizer that has this step already is not touched."""
        if multiplier != self.multiplier:
            self.multiplier = multiplier
            for quantizer, start in zip(self.quantizers, self.start, strict=True):
                quantizer.scale.copy_(start * multiplier)


class SearchSpace:
    """Maps a point ``x`` (all zeros: where the quantizers are now) to steps.

    The clip range moves with the step, the zero point stays: a level that is exactly zero stays
    one. Variables stand in the order of the forward pass, so neighbours share what lies before
    them. Each coordinate is rounded to ``resolution``: a search that closes in on a point asks for
    few different ones.

    Args:
        model: Prepared, with ranges.
        group: ``'tensor'``: one variable a quantizer (all channels of a weight share it).
            ``'unit'``: one for the weights and one for the activations of each unit.
        scale: ``'log'``: ``m = exp(0.1 x)``; ``'linear'``: ``m = 1 + 0.1 x``.
        bounds: Least and largest multiplier; points beyond are moved onto them.
        resolution: Grid of the multipliers around 1.

    Raises:
        ConfigError: An argument that cannot work, or quantizers without a range.
    """

    def __init__(
        self,
        model: QuantModel,
        group: str = "tensor",
        scale: str = "log",
        bounds: tuple[float, float] = (0.25, 4.0),
        resolution: float = 0.01,
    ) -> None:
        self._log, self._bounds = scale == "log", bounds
        self._grid = resolution / UNIT_STEP
        members: dict[str, list[UniformQuantizer]] = {}
        for layer, kind, quantizer in _in_forward_order(model):
            if not quantizer.calibrated:
                raise ConfigError(
                    f"the {kind} quantizer of {layer!r} has no range; put RangeCalibration or "
                    "LpInterpolation before JointSearch in calib_cfg.steps"
                )
            owner = unit_of(layer) if group == "unit" else layer
            members.setdefault(f"{owner}.{kind}", []).append(quantizer)
        self.variables = [
            Variable(name, quantizers, [q.scale.clone() for q in quantizers])
            for name, quantizers in members.items()
        ]

    def __len__(self) -> int:
        return len(self.variables)

    def rounded(self, x: Iterable[float]) -> Point:
        """``x`` on the grid and within the bounds."""
        low, high = (self._coordinate(m) for m in self._bounds)
        steps = (round(min(max(float(v), low), high) / self._grid) for v in x)
        return tuple(step * self._grid + 0.0 for step in steps)

    def multipliers(self, x: Sequence[float]) -> list[float]:
        """Multiplier of each variable at ``x``."""
        to_multiplier: Callable[[float], float] = self._exp if self._log else self._line
        low, high = self._bounds
        return [min(max(to_multiplier(v), low), high) for v in x]

    def apply(self, x: Sequence[float]) -> None:
        """Set the quantizers' steps to those of ``x``."""
        for variable, multiplier in zip(self.variables, self.multipliers(x), strict=True):
            variable.set(multiplier)

    @staticmethod
    def _exp(v: float) -> float:
        return math.exp(UNIT_STEP * v)

    @staticmethod
    def _line(v: float) -> float:
        return 1.0 + UNIT_STEP * v

    def _coordinate(self, multiplier: float) -> float:
        return (math.log(multiplier) if self._log else multiplier - 1.0) / UNIT_STEP


def step_names(model: QuantModel) -> list[str]:
    """Names of the variables for ``group='tensor'``; ranges need not be there yet."""
    return list(dict.fromkeys(f"{layer}.{kind}" for layer, kind, _ in _in_forward_order(model)))


def _in_forward_order(model: QuantModel) -> Iterator[tuple[str, str, UniformQuantizer]]:
    """``(layer, 'act' or 'weight', quantizer)``, every quantizer once."""
    assert model.plan is not None
    weights = model.weight_quantizers()
    seen: set[str] = set()
    for layer in model.plan.layers:
        for site in layer.inputs:
            if site is not None and site not in seen:
                seen.add(site)
                name = layer.name if len(set(layer.inputs)) == 1 else site
                yield name, "act", model.sites[site]
        if layer.name in weights:
            yield layer.name, "weight", weights[layer.name]


def unit_of(layer: str) -> str:
    """The unit to which a layer belongs, by its name.

    In the backbone a residual block (``backbone.layer1.0``) or a layer outside of one, elsewhere
    the part of the neck or head (``neck.lateral_convs``, ``bbox_head.cls_convs``).
    """
    parts = layer.split(":")[0].split(".")
    return ".".join(parts[:3] if parts[0] == "backbone" else parts[:2])
