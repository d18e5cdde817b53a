"""The loss over a plane of weights, as in *Visualizing the Loss Landscape of Neural Nets*.

(Li et al. 2018.) Two random directions, each filter of which is as long as the filter that it
moves; so landscapes of models with equal weights, such as one model at several bit-widths, can be
compared.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmptq.analysis.lp_path import ModelLoss
from mmptq.analysis.surface import measure_surface
from mmptq.engine import CalibrationContext
from mmptq.engine.storage.measured import Measured
from mmptq.models import QuantModel, model_digest
from mmptq.modules import channels_first

Direction = dict[str, Tensor]


def filter_normalised(direction: Tensor, weight: Tensor) -> Tensor:
    r""":math:`d_i \|w_i\| / \|d_i\|` for each filter (first axis); zero where a filter is zero.

    Args:
        direction: ``(C, ...)``.
        weight: ``(C, ...)``.
    """
    norms = weight.flatten(1).norm(dim=1) / direction.flatten(1).norm(dim=1)
    return direction * norms.reshape(-1, *[1] * (weight.dim() - 1))


def random_directions(weights: Mapping[str, Tensor], seed: int, count: int = 2) -> list[Direction]:
    """Filter-normalised Gaussian directions; equal names and shapes get equal draws."""
    generator = torch.Generator().manual_seed(seed)
    directions = []
    for _ in range(count):
        direction = {}
        for name, weight in sorted(weights.items()):
            draw = torch.randn(weight.shape, generator=generator).to(weight)
            direction[name] = filter_normalised(draw, weight)
        directions.append(direction)
    return directions


class WeightPlane:
    """Moves the weights of a model's quantizable layers within a plane.

    Biases stay (a filter of one number has no direction), and so do the quantizers' steps: the
    model is the quantized one with other weights, not one that was calibrated anew.

    Args:
        model: Prepared.
        seed: Of the two directions.
    """

    def __init__(self, model: QuantModel, seed: int) -> None:
        # An operand of a product of activations is a layer with an empty weight.
        layers = {n: layer for n, layer in model.quant_layers() if layer.weight.numel()}
        self._weights = {name: layer.weight for name, layer in layers.items()}
        self._start = {name: w.detach().clone() for name, w in self._weights.items()}
        filters = {name: channels_first(layer, self._start[name]) for name, layer in layers.items()}
        self._directions = [
            {name: channels_first(layers[name], d) for name, d in direction.items()}
            for direction in random_directions(filters, seed)
        ]

    @torch.no_grad()
    def move(self, position: Sequence[float]) -> None:
        """Go to ``start + position[0] * first + position[1] * second``."""
        for name, weight in self._weights.items():
            moved = self._start[name].clone()
            for distance, direction in zip(position, self._directions, strict=True):
                moved += distance * direction[name]
            weight.copy_(moved)


def symmetric_axis(radius: float, points: int) -> list[float]:
    """``points`` (odd) values from ``-radius`` to ``radius``, 0 exactly among them."""
    half = points // 2
    return [radius * (i - half) / half for i in range(points)]


def measure_landscape(
    context: CalibrationContext, loss: ModelLoss, axis: Sequence[float], seed: int, name: str
) -> dict[str, Any]:
    """Loss over the plane; the weights are set back afterwards.

    Args:
        context: Model and log.
        loss: Of the model as it stands.
        axis: Positions along both directions, symmetric around 0.
        seed: Of the directions.
        name: Of the log, and in the progress report.

    Returns:
        ``axis``, ``loss`` ``(N, N)``, and what describes it: ``centre``, ``sharpness``,
        ``mean_rise``, ``raggedness``.
    """
    header = {
        "seed": seed,
        "objective": loss.objective,
        "model": model_digest(context.model, ranges=True),
    }
    plane = WeightPlane(context.model, seed)

    def compute(position: Sequence[float]) -> float:
        loss.prepare()  # what the objective keeps of the float model is that of the unmoved weights
        plane.move(position)
        return loss()

    measured = Measured(context.store.folder / f"{name.replace(' ', '_')}.jsonl", header, compute)
    try:
        values = measure_surface(measured, axis, axis, context.track, name)
    finally:
        plane.move((0.0, 0.0))
        measured.close()
    return {
        "axis": list(axis),
        "loss": values.tolist(),
        "centre": centre(values),
        "sharpness": sharpness(values),
        "mean_rise": mean_rise(values),
        "raggedness": raggedness(values),
    }


def centre(values: np.ndarray) -> float:
    """The value in the middle of the grid."""
    return float(values[values.shape[0] // 2, values.shape[1] // 2])


def sharpness(values: np.ndarray) -> float:
    r""":math:`100 (\max f - f_0) / (1 + f_0)` around the centre (Keskar et al. 2017)."""
    start = centre(values)
    highest = float(np.where(np.isfinite(values), values, -np.inf).max())
    return 100.0 * (highest - start) / (1.0 + start)


def mean_rise(values: np.ndarray) -> float:
    """Mean over the grid minus the centre."""
    return float(values[np.isfinite(values)].mean()) - centre(values)


def raggedness(values: np.ndarray) -> float:
    """How much the rows and columns go up and down beyond what one valley does; 0 if none does.

    A line's total variation, less its ends' heights above its least value: of a line that only
    falls and then only rises, nothing is left. The mean over all rows and columns.
    """
    lines = [line for line in (*values, *values.T) if np.isfinite(line).all()]
    if not lines:
        return float("nan")
    excess = [
        np.abs(np.diff(line)).sum() - (line[0] - line.min()) - (line[-1] - line.min())
        for line in lines
    ]
    return max(float(np.mean(excess)), 0.0)  # not -1e-16
