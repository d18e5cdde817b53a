r"""Which differences of channels at the units' outputs matter to the model's outputs.

The Fisher information of outputs with Gaussian noise
(:mod:`~mmptq.algorithms.sensitivity.second_order`) in the channels of one tensor, averaged over its
positions and over the images:

.. math:: F = E \, g g^T, \quad g = \sum_i J_i^T v_i / \sqrt{n s_i}

with random signs :math:`v`, the vector :math:`g` being of one position. A unit's squared distance
:math:`\|\delta\|^2` becomes :math:`\delta^T M \delta` with :math:`M = (F / \bar f + \bar m I) / 2`:
:math:`\bar f` makes the mean of the diagonal 1 over all calls of the unit, and :math:`\bar m` is
that of one call. The identity's half keeps what first order cannot see from being given up.

Sources: the outputs in place of the training loss, no labels, and averages of gradients, as in
APHQ-ViT (Wu et al. 2025); off-diagonal parts of the Fisher information matter, as in FIMA-Q (Wu et
al. 2025).
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from mmengine.dist import all_gather_object
from torch import Tensor, nn

from mmptq.algorithms.sensitivity.second_order import random_projection
from mmptq.engine.context import CalibrationContext
from mmptq.engine.incremental.objectives import OutputDistance
from mmptq.engine.incremental.probing import float_form
from mmptq.engine.units.unit_problem import channel_dim
from mmptq.engine.units.units import Unit
from mmptq.models.trace import differentiable

_IDENTITY_SHARE = 0.5

# Of a unit and one of its calls: summed over positions, and how many these are.
_Moment = tuple[Tensor, int]
_Moments = dict[tuple[str, int], _Moment]


def output_metrics(
    context: CalibrationContext, units: Sequence[Unit]
) -> dict[str, tuple[Tensor, ...]]:
    """``(C, C)`` for each call of each unit that the outputs depend on.

    One forward and backward pass an image in the float form; the model is left as it is.

    Args:
        context: With a prepared model; images need no labels.
        units: At whose outputs, behind a ReLU that follows.
    """
    own: _Moments = {}
    data = context.data
    for position, batch in context.track(data, "weights of channels", len(data)):
        _add(own, _of_batch(context, units, batch, position))
    sums: _Moments = {}
    for moments in all_gather_object(own):  # in the same order in all processes
        _add(sums, moments)
    device = next(context.model.parameters()).device
    metrics = {}
    for unit in units:
        calls = [sums.get((unit.name, call)) for call in range(len(unit.calls))]
        if any(moment is not None for moment in calls):
            metrics[unit.name] = tuple(m.to(device) for m in _metrics(calls))
    return metrics


def _add(sums: _Moments, moments: _Moments) -> None:
    for key, (moment, count) in moments.items():
        so_far, positions = sums.get(key, (torch.zeros_like(moment), 0))
        sums[key] = so_far + moment, positions + count


def _of_batch(
    context: CalibrationContext, units: Sequence[Unit], batch: Any, position: int
) -> _Moments:
    model, adapter = context.model, context.adapter
    batch = adapter.preprocess(batch, with_labels=False)
    inputs, samples = batch["inputs"], batch["data_samples"]
    written: list[tuple[str, int, Tensor]] = []
    with float_form(model), ExitStack() as stack:
        model.start_pass()
        with torch.no_grad():
            frozen = adapter.freeze(inputs, samples, False)
        for unit in units:
            module = adapter.model.get_submodule(unit.name)
            handle = module.register_forward_hook(_grab(unit, written))
            stack.callback(handle.remove)
        with torch.enable_grad(), differentiable(model, inputs) as image:
            model.start_pass()
            outputs = adapter.head_outputs(image, frozen)
            generator = torch.Generator().manual_seed(position)
            scalar = random_projection(OutputDistance().kinds(outputs), generator)
            tensors = [y for _, _, y in written]
            grads = torch.autograd.grad(scalar, tensors, allow_unused=True)
    moments: _Moments = {}
    for (name, call, y), grad in zip(written, grads, strict=True):
        if grad is not None and y.numel():
            dim = channel_dim(y)
            rows = grad.movedim(dim, -1).reshape(-1, y.shape[dim]).double()
            # The outputs' deviations, which gradients are relative to, grow with the batch.
            moments[name, call] = (len(samples) * rows.T @ rows).cpu(), len(rows)
    return moments


def _grab(unit: Unit, written: list[tuple[str, int, Tensor]]) -> Any:
    calls = 0

    def hook(module: nn.Module, args: Any, y: Tensor) -> Tensor:
        nonlocal calls
        seen = y.relu() if unit.relu else y
        if seen.requires_grad:
            written.append((unit.name, calls, seen))
        calls += 1
        # A copy goes on: somebody may write to it.
        return seen.clone()

    return hook


def _metrics(calls: Sequence[_Moment | None]) -> list[Tensor]:
    """Those of one unit's calls; the identity where the outputs do not depend on a call."""
    known = [moment for moment in calls if moment is not None]
    identity = torch.eye(len(known[0][0]), dtype=torch.float64)
    trace = sum(float(moment.diagonal().sum()) for moment, _ in known)
    mean = trace / max(sum(count for _, count in known) * len(identity), 1)
    metrics = []
    for call in calls:
        metric = identity
        if call is not None and mean:
            moment, count = call
            own = moment / max(count, 1) / mean
            rest = own.diagonal().mean() * identity
            metric = (1.0 - _IDENTITY_SHARE) * own + _IDENTITY_SHARE * rest
        metrics.append(metric.float())
    return metrics
