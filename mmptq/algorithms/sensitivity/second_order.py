r"""What every quantizer alone would do to the heads' outputs, from one backward pass an image.

Near the float model the distance of the outputs (:class:`~mmptq.engine.OutputDistance`) has no
gradient; to second order an error :math:`\delta` of one tensor makes it

.. math:: D(\delta) = \delta^T H \delta, \quad H = \frac{1}{n} \sum_i J_i^T J_i / s_i

with the Jacobian :math:`J_i` of the :math:`i`-th of :math:`n` kinds of outputs and its squared
deviations :math:`s_i` from its mean. :math:`H` is the Fisher information of outputs with Gaussian
noise of variance :math:`n s_i`. A backward pass from random signs :math:`v` gives for *all* tensors
at once :math:`g = \sum_i J_i^T v_i / \sqrt{n s_i}` with :math:`E[g g^T] = H` (Hutchinson 1990), and
so

- ``fisher``: :math:`\sum_j g_j^2 \delta_j^2`, the diagonal of :math:`H`, as if the errors of single
  elements had nothing to do with each other;
- ``projected``: :math:`(g \cdot \delta)^2`, all of :math:`H`, at the price of more noise: relative
  to its mean it has a standard deviation of :math:`\sqrt 2` an image.

Both are means over the images, which also give their standard errors.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import all_gather_object
from torch import Tensor

from mmptq.algorithms.sensitivity.forms import Forms
from mmptq.algorithms.sensitivity.watch import GradientWatch, Sums
from mmptq.engine import CalibrationContext, OutputDistance, float_form
from mmptq.engine.incremental.objectives import spread
from mmptq.engine.storage.tensor_store import TensorStore
from mmptq.errors import NumericalError
from mmptq.models.trace import differentiable

_CACHE_GB = 1.0  # of the weights' errors


@dataclass(frozen=True)
class Estimate:
    """Of one quantizer in one form, means over the images.

    Args:
        numel: Elements of the tensor.
        signal: Sum of their squares.
        noise: Sum of their squared errors.
        fisher: By the diagonal.
        fisher_error: Standard error, NaN for one image.
        projected: By all of the Fisher information.
        projected_error: Likewise.
    """

    numel: float
    signal: float
    noise: float
    fisher: float
    fisher_error: float
    projected: float
    projected_error: float

    @property
    def sqnr(self) -> float:
        """Signal over noise in dB."""
        if self.noise == 0.0:
            return math.inf
        return 10.0 * math.log10(self.signal / self.noise) if self.signal else -math.inf


def second_order(
    context: CalibrationContext,
    objective: OutputDistance,
    forms: Forms,
    probes: int = 1,
) -> dict[str, list[Estimate]]:
    """Estimate each form of each quantizer in one forward and backward pass an image.

    Args:
        context: With a prepared model, which is left as it is.
        objective: Says which outputs count.
        forms: Of :mod:`mmptq.algorithms.sensitivity.forms`: further ones cost a rounding, no pass.
        probes: Backward passes an image, each from signs of its own: less noise.

    Raises:
        NumericalError: A tensor or an estimate is not finite; names its layer.
    """
    images: dict[int, tuple[int, dict[str, list[Sums]]]] = {}
    data, errors = context.data, TensorStore(_CACHE_GB, context.store.folder)
    for position, batch in context.track(data, "second-order estimate", len(data)):
        images[position] = _of_image(context, objective, forms, errors, batch, position, probes)
    merged = {k: v for part in all_gather_object(images) for k, v in part.items()}
    # In the order of the selection: the sum does not depend on the number of processes.
    for position in sorted(merged):  # in all processes alike, so that none waits for another
        _check_finite(merged[position][1], forms, data.paths[position])
    ordered = [merged[position] for position in sorted(merged)]
    return {
        name: [
            _mean([(weight, sums[name][i]) for weight, sums in ordered if name in sums])
            for i in range(len(forms[name]))
        ]
        for name in forms
    }


def _of_image(
    context: CalibrationContext,
    objective: OutputDistance,
    forms: Forms,
    errors: TensorStore,
    batch: Any,
    position: int,
    probes: int,
) -> tuple[int, dict[str, list[Sums]]]:
    """How many images it is, and each form's sums, relative errors being those of the batch."""
    model, adapter = context.model, context.adapter
    model.eval()
    batch = adapter.preprocess(batch, with_labels=False)
    inputs, samples = batch["inputs"], batch["data_samples"]
    with float_form(model):
        model.start_pass()
        with torch.no_grad():
            frozen = adapter.freeze(inputs, samples, False)
        watch = GradientWatch(model, forms, errors)
        with torch.enable_grad(), differentiable(model, inputs) as image, watch.watching(image):
            model.start_pass()
            outputs = adapter.head_outputs(image, frozen)
            generator = torch.Generator().manual_seed(position)
            for probe in range(probes):
                signs = random_projection(objective.kinds(outputs), generator)
                watch.go_back(signs, last=probe == probes - 1)
    return len(samples), watch.sums(probes)


def random_projection(kinds: Sequence[Sequence[Tensor]], generator: torch.Generator) -> Tensor:
    r""":math:`\sum_i v_i \cdot y_i / \sqrt{n s_i}` with random signs, a scalar.

    Args:
        kinds: Tensors of each kind of output.
        generator: On the CPU, so that all devices draw the same signs.
    """
    kinds = [kind for kind in kinds if sum(t.numel() for t in kind)]
    total = torch.zeros(())
    for kind in kinds:
        scale = (len(kinds) * spread(torch.cat([t.detach().flatten() for t in kind]))) ** -0.5
        for t in kind:
            signs = torch.randint(0, 2, t.shape, generator=generator).to(t) * 2.0 - 1.0
            total = total.to(t.device) + (signs * t).sum() * scale
    return total


def _check_finite(sums: Mapping[str, Sequence[Sums]], forms: Forms, path: str) -> None:
    """Name the first tensor, in the order of execution, that is not finite."""
    # The tensors themselves first: one of them makes every gradient NaN.
    for what in ("signal", "noise", "fisher"):
        for name in (name for name in forms if name in sums):
            for value in (getattr(found, what) for found in sums[name]):
                if not math.isfinite(value):
                    where = name.rpartition(":")[0] or name
                    raise NumericalError(
                        f"{where}: the {_WHAT[what]} is {value} on the calibration image {path}; "
                        "check the float weights and the image"
                    )


_WHAT = {
    "signal": "sum of the squares of what is quantized there",
    "noise": "squared error of what is quantized there",
    "fisher": "second-order estimate",
}


def _mean(images: Sequence[tuple[int, Sums]]) -> Estimate:
    """Over all images, batches by their size."""
    if not images:  # a layer that never ran for an image
        return Estimate(0.0, 0.0, 0.0, 0.0, math.nan, 0.0, math.nan)
    total = sum(weight for weight, _ in images)

    def mean(values: Sequence[float]) -> float:
        pairs = zip(images, values, strict=True)
        return math.fsum(weight * value for (weight, _), value in pairs) / total

    def error(values: Sequence[float]) -> float:
        if len(values) < 2:
            return math.nan
        centre = mean(values)
        variance = math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1)
        return math.sqrt(variance / len(values))

    columns = {key: [float(getattr(s, key)) for _, s in images] for key in vars(images[0][1])}
    return Estimate(
        **{key: mean(values) for key, values in columns.items()},
        fisher_error=error(columns["fisher"]),
        projected_error=error(columns["projected"]),
    )
