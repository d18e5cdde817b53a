"""One unit's reconstruction problem: its trainable form and its loss."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn
from torch.nn import functional as F

from mmptq.engine.units.unit_data import (
    FLOAT_IN,
    FLOAT_OUT,
    NOTHING,
    QUANT_IN,
    WEIGHT,
    Rest,
    UnitData,
)
from mmptq.engine.units.units import Unit
from mmptq.models import QuantModel
from mmptq.modules import QuantLayer
from mmptq.quantizers import AdaptiveRoundingQuantizer, LearnedStepQuantizer, UniformQuantizer
from mmptq.quantizers.learned_step import choose, random_mask

WeightQuantizer = AdaptiveRoundingQuantizer | LearnedStepQuantizer


class TrainedForm:
    """Trainable quantizers that take the place of a unit's calibrated ones for a while.

    Args:
        model: Prepared.
        unit: One of its units.
        weights: Layer name -> trainable quantizer; the others stay as they are.
        acts: Site name -> trainable quantizer.
    """

    def __init__(
        self,
        model: QuantModel,
        unit: Unit,
        weights: Mapping[str, WeightQuantizer],
        acts: Mapping[str, LearnedStepQuantizer],
    ) -> None:
        self._model, self._unit = model, unit
        self.weights, self.acts = dict(weights), dict(acts)
        found = dict(model.quant_layers())
        self.layers: dict[str, QuantLayer] = {name: found[name] for name in unit.layers}
        assert model.plan is not None
        self._inputs = {p.name: p.inputs for p in model.plan.layers if p.name in self.layers}
        self._sources = {name: layer.weight_quantizer for name, layer in self.layers.items()}

    @property
    def steps(self) -> list[LearnedStepQuantizer]:
        """All quantizers with a movable bit-width."""
        weights = (q for q in self.weights.values() if isinstance(q, LearnedStepQuantizer))
        return [*weights, *self.acts.values()]

    @property
    def sources(self) -> list[UniformQuantizer]:
        """The calibrated quantizers behind the trainable ones."""
        weights = (self._sources[name] for name in self.weights)
        acts = (self._model.sites[name] for name in self.acts)
        return [q for q in (*weights, *acts) if q is not None]

    @contextmanager
    def attached(self) -> Iterator[None]:
        """The unit computes with the trainable quantizers in this context."""
        self._bind(self.weights, self.acts)
        try:
            yield
        finally:
            self._bind({}, {})

    @torch.no_grad()
    def commit(self) -> None:
        """Write what was learned to the calibrated quantizers, and weights onto their grid.

        A weight on the grid is what its quantizer makes of it, so the saved model computes what was
        trained, bit for bit.
        """
        for act in self.acts.values():
            if act.log_gain.requires_grad:
                act.commit()
        for name, quantizer in self.weights.items():
            weight = self.layers[name].weight
            if isinstance(quantizer, AdaptiveRoundingQuantizer):
                weight.copy_(quantizer.rounded())
            else:
                quantizer.commit()
                if quantizer.rounding is not None:
                    weight.copy_(quantizer.rounding.rounded())
                source = self._sources[name]
                assert source is not None
                weight.copy_(source(weight))

    def _bind(
        self,
        weights: Mapping[str, WeightQuantizer],
        acts: Mapping[str, LearnedStepQuantizer],
    ) -> None:
        for name, layer in self.layers.items():
            layer.weight_quantizer = cast(Any, weights.get(name, self._sources[name]))
            sites = self._inputs[name]
            readers = [None if s is None else acts.get(s, self._model.sites[s]) for s in sites]
            layer.bind_inputs(cast(Any, readers))


class UnitProblem:
    r"""The loss of one unit over its captured data.

    .. math:: R = \frac{1}{|K|} \sum_{k \in K} E \| \hat y_k - y_k \|^2

    over the unit's calls :math:`K` (a head's layer has one for each FPN level): squared distance
    over the channels, mean over images and positions. With a weight captured (Fisher diagonal) each
    squared difference is multiplied by it (BRECQ, Li et al. 2021, eq. 10); with metrics
    :math:`\|\delta\|^2` becomes :math:`\delta^T M \delta`.

    Args:
        module: The unit's module.
        unit: Its description.
        form: Its trainable form.
        data: What was captured.
        metrics: :math:`M` of each call, ``(C, C)`` over the channels of the output.
    """

    def __init__(
        self,
        module: nn.Module,
        unit: Unit,
        form: TrainedForm,
        data: UnitData,
        metrics: Sequence[Tensor] | None = None,
    ) -> None:
        self._module, self.unit, self.form, self.data = module, unit, form, data
        self._metrics = metrics
        # mmcv's own operators want channels first.
        self._channels_first = any(
            cls.__module__.startswith("mmcv.ops")
            for part in module.modules()
            for cls in type(part).__mro__
        )

    def loss(self, samples: Sequence[int], drop_prob: float = 0.0, generator: Any = None) -> Tensor:
        """Mean over ``samples``, differentiable.

        Args:
            samples: Indices into the captured data, images unless there are crops of them.
            drop_prob: Probability with which an element of the input is the float model's (QDrop).
            generator: What dropping is drawn from.
        """
        losses = []
        for call in range(self.data.num_calls):
            total, positions = torch.zeros(()), 0
            for group in self._by_shape(samples, call):
                x = self._input(group, call, drop_prob, generator)
                y = self._cat(FLOAT_OUT, group, call)
                output = self.output(x, call, self.data.rest(group, call))
                distance, count = self._distance(output, y, group, call)
                total = total.to(distance.device) + distance
                positions += count
            if positions:
                losses.append(total / positions)
        if not losses:  # it runs in none of these images
            return torch.zeros((), requires_grad=True)
        return torch.stack(losses).mean()

    @torch.no_grad()
    def measure(self, images: Sequence[int]) -> float:
        """The loss on the quantized input without dropping; the mean over all processes."""
        drops = {q: q.drop_prob for q in self.form.acts.values()}
        for quantizer in drops:
            quantizer.drop_prob = 0.0
        samples = [sample for image in images for sample in self.data.samples(image)]
        value = self.loss(samples).double()
        for quantizer, prob in drops.items():
            quantizer.drop_prob = prob
        all_reduce(value, "mean")
        return float(value)

    @torch.no_grad()
    def measure_float(self, images: Sequence[int]) -> float:
        """:meth:`measure` with the unit's own trainable quantizers off (no quantization noise)."""
        quantizers = [*self.form.weights.values(), *self.form.acts.values()]
        for quantizer in quantizers:
            quantizer.enabled = False
        value = self.measure(images)
        for quantizer in quantizers:
            quantizer.enabled = True
        return value

    def output(self, x: Tensor, call: int, rest: Rest = NOTHING) -> Tensor:
        """The unit's output in its ``call``-th call of a pass, behind a ReLU that follows it.

        Args:
            x: Its input.
            call: Which of its calls.
            rest: Arguments beside the input.
        """
        for name, layer in self.form.layers.items():
            layer.reset_calls()
            layer.skip_calls(self.unit.offsets[call][name])
        y = self._module(x, *rest[0], **dict(rest[1]))
        return y.relu() if self.unit.relu else y

    def _distance(
        self, output: Tensor, y: Tensor, samples: list[int], call: int
    ) -> tuple[Tensor, int]:
        """The squared distance over all positions that are compared, and how many these are."""
        dim, mask = channel_dim(y), self.data.compared(samples, call, y.shape)
        weighed = self._metrics is not None or self.data.has(WEIGHT)
        if mask is None and not weighed:
            return _SquaredDistance.apply(output, y), y.numel() // y.shape[dim]
        difference = output - y
        error = difference.square() if self._metrics is None else self._form(difference, call)
        if self.data.has(WEIGHT):
            error = error * self._cat(WEIGHT, samples, call)
        if mask is None:
            return error.sum(), y.numel() // y.shape[dim]
        return (error * mask.to(error.device)).sum(), int(mask.sum())

    def _form(self, difference: Tensor, call: int) -> Tensor:
        """Of the same shape; its sum over the channels is the metric's quadratic form."""
        assert self._metrics is not None
        metric = self._metrics[call].to(difference)
        if channel_dim(difference) == 1:  # of a map
            return F.conv2d(difference, metric[:, :, None, None]) * difference
        return (difference @ metric) * difference

    def _by_shape(self, samples: Sequence[int], call: int) -> list[list[int]]:
        """Samples of a call whose tensors can stand in one batch."""
        groups: dict[Any, list[int]] = defaultdict(list)
        for sample in samples:
            own = self.data.own_sample(sample, call)
            shape = self.data.shape(QUANT_IN, own, call)
            if shape is not None and shape.numel():
                groups[shape[1:], self.data.rest_form(own, call)].append(own)
        return list(groups.values())

    def _input(self, samples: list[int], call: int, drop_prob: float, generator: Any) -> Tensor:
        x = self._cat(QUANT_IN, samples, call)
        if drop_prob == 0.0 or not x.is_floating_point():
            return x
        mask = random_mask(x, drop_prob, generator)
        return choose(mask, self._cat(FLOAT_IN, samples, call), x)

    def _cat(self, kind: str, samples: list[int], call: int) -> Tensor:
        tensors = [self.data.get(kind, sample, call) for sample in samples]
        joined = tensors[0] if len(tensors) == 1 else torch.cat(tensors)
        return joined.contiguous() if self._channels_first else joined


class _SquaredDistance(torch.autograd.Function):
    """To a constant; in fewer passes over memory, and torch's own lays gradients out anew."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, y: Tensor) -> Tensor:
        difference = output - y
        ctx.save_for_backward(difference)
        ctx.dtype = output.dtype
        return difference.square().sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (difference,) = ctx.saved_tensors
        return (difference * (2.0 * grads[0])).to(ctx.dtype), None


def channel_dim(y: Tensor) -> int:
    """Where a unit's output has its channels: a map ``(N, C, H, W)``, tokens ``(N, L, C)``."""
    return 1 if y.dim() == 4 else -1
