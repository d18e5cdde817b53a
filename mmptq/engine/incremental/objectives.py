"""Objectives: what a search over quantization parameters minimises."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from mmptq.adapters import Adapter
from mmptq.adapters.passes import FrozenPass, Samples
from mmptq.engine.storage.tensor_store import TensorStore
from mmptq.errors import ConfigError
from mmptq.models.specs import check_bool
from mmptq.models.trace import flatten_tensors
from mmptq.registry import OBJECTIVES
from mmptq.structures import labels_of


@dataclass(frozen=True)
class CalibrationImage:
    """One calibration image, or a batch of them, as an objective sees it.

    Args:
        position: In the common selection of all processes; of a batch, that of its first image.
        samples: A list of the data samples.
        frozen: What the adapter holds fixed for it.
        path: For error messages.
    """

    position: int
    samples: Samples
    frozen: FrozenPass
    path: str = ""


class Objective(ABC):
    """A number for each image (a batch's mean), from what the model's heads return.

    Equal outputs must give equal values. The loss of the model is the mean over all calibration
    images.

    To add one: a subclass registered in ``OBJECTIVES`` and imported in
    ``mmptq/engine/__init__.py``; a step's ``objective=dict(type='YourObjective')`` then names it.
    """

    # Whether it reads the components of the model's training loss in place of its heads' outputs.
    reads_loss = False

    @property
    def reads_labels(self) -> bool:
        """Whether images need labels."""
        return self.reads_loss

    def prepare(self, adapter: Adapter, cache_gb: float, folder: str | Path) -> None:  # noqa: B027
        """Called once before the first image.

        Args:
            adapter: Of the model's family.
            cache_gb: Memory budget of what the objective keeps, in GiB.
            folder: For what does not fit.
        """

    def check(self, samples: Samples, path: str) -> None:  # noqa: B027
        """Called once an image before anything is computed for it.

        Args:
            samples: Its data samples.
            path: Of the image.

        Raises:
            CalibrationDataError: It lacks labels that are needed.
        """

    def see_float(self, image: CalibrationImage, outputs: Any) -> None:  # noqa: B027
        """Called once an image with the *float* model's outputs."""

    @abstractmethod
    def value(self, image: CalibrationImage, outputs: Any) -> float:
        """The image's share of the loss, smaller is better.

        Args:
            image: Which.
            outputs: Of :meth:`Adapter.head_outputs`, or the losses by name.
        """


@OBJECTIVES.register_module()
class TaskLoss(Objective):
    """The model's own training loss with labels: the sum of its components (LAPQ, section 4).

    Boxes must be in the frame of the network's input, which they are where the pipeline loads
    annotations before it resizes.
    """

    reads_loss = True

    @override
    def prepare(self, adapter: Adapter, cache_gb: float, folder: str | Path) -> None:
        self._adapter = adapter

    @override
    def check(self, samples: Samples, path: str) -> None:
        self._adapter.check_labels(samples, path)

    @override
    def value(self, image: CalibrationImage, outputs: Any) -> float:
        return total_loss(outputs)


def total_loss(losses: Mapping[str, Any]) -> float:
    """The sum of a model's losses; each the mean of its elements, as MMEngine adds them up."""
    terms = [losses[key] for key in sorted(losses) if "loss" in key]
    return math.fsum(float(t.double().mean()) for t in flatten_tensors(terms))


@OBJECTIVES.register_module()
class CrossEntropy(Objective):
    """The cross-entropy of a classifier: LAPQ's loss (section 4).

    Args:
        soft: Against the float model's probabilities, which needs no labels, in place of the
            labels.

    Raises:
        ConfigError: ``soft`` is no bool, or the model gives no logits.
    """

    def __init__(self, soft: bool = False) -> None:
        self._soft = check_bool(soft, "CrossEntropy.soft")
        self._targets: dict[int, Tensor] = {}

    @property
    @override
    def reads_labels(self) -> bool:
        return not self._soft

    @override
    def see_float(self, image: CalibrationImage, outputs: Any) -> None:
        if not isinstance(outputs, Tensor) or outputs.dim() != 2:
            raise ConfigError(
                "the objective CrossEntropy reads a classifier's logits; for a detector or "
                "a recommender use 'TaskLoss' or 'OutputDistance'"
            )
        if self._soft:
            self._targets[image.position] = outputs.softmax(dim=1)
        else:
            self._targets[image.position] = labels_of(image.samples, outputs.device)

    @override
    def value(self, image: CalibrationImage, outputs: Any) -> float:
        return float(F.cross_entropy(outputs.double(), self._target(image)))

    def _target(self, image: CalibrationImage) -> Tensor:
        target = self._targets[image.position]
        return target.double() if target.is_floating_point() else target


@OBJECTIVES.register_module()
class OutputDistance(Objective):
    r"""Distance between the float and the quantized heads' outputs; needs no labels.

    .. math:: \frac{1}{n} \sum_i \frac{\|y_i - \hat y_i\|_2^2}{\|y_i - \bar y_i\|_2^2}

    over the model's :math:`n` kinds of outputs; each counts by the share of its variance around its
    mean :math:`\bar y_i` that quantization destroys, whatever its unit. The tensors of a list, in
    which heads return the levels of a pyramid, are one kind: a level counts by its size.
    """

    @override
    def prepare(self, adapter: Adapter, cache_gb: float, folder: str | Path) -> None:
        self._adapter = adapter
        self._float = TensorStore(cache_gb, folder)

    @override
    def see_float(self, image: CalibrationImage, outputs: Any) -> None:
        kept = [t.clone() for kind in self.kinds(outputs) for t in kind]
        self._float.put(image.position, kept)

    @override
    def value(self, image: CalibrationImage, outputs: Any) -> float:
        errors = self.relative_errors(image, outputs)
        return math.fsum(errors) / max(len(errors), 1)

    def relative_errors(self, image: CalibrationImage, outputs: Any) -> list[float]:
        """One number for each kind of output that has any elements."""
        kept = iter(self._float.get(image.position))
        errors = []
        for kind in self.kinds(outputs):
            y = torch.cat([next(kept).flatten() for _ in kind])
            if y.numel():
                errors.append(_relative_error(y, torch.cat([t.flatten() for t in kind])))
        return errors

    def kinds(self, outputs: Any) -> list[list[Tensor]]:
        """The tensors of each kind of output that counts, in a fixed order."""
        return list(_kinds(self._compared(outputs)))

    def _compared(self, outputs: Any) -> Any:
        """Those of the outputs that count."""
        return outputs


@OBJECTIVES.register_module()
class LastStageDistance(OutputDistance):
    """:class:`OutputDistance` over the outputs that the predictions are made of.

    Of a two-stage detector those of the region head. The proposals' scores, which only choose the
    regions, have the largest relative error by far and decide nearly alone otherwise. Of other
    models it is the same as :class:`OutputDistance`.
    """

    @override
    def _compared(self, outputs: Any) -> Any:
        return self._adapter.last_stage(outputs)


def _kinds(outputs: Any) -> Iterator[list[Tensor]]:
    """The tensors of each kind of output, in a fixed order."""
    if isinstance(outputs, list) and all(isinstance(item, Tensor) for item in outputs):
        if outputs:  # else a layer that did not run for this image
            yield outputs
    elif isinstance(outputs, list | tuple):
        for item in outputs:
            yield from _kinds(item)
    else:
        yield from ([t] for t in flatten_tensors(outputs))


def _relative_error(y: Tensor, y_hat: Tensor) -> float:
    return float((y_hat.double() - y.double()).square().sum()) / spread(y)


def spread(y: Tensor) -> float:
    """The squared deviations of an output from its mean, summed; what errors are relative to."""
    y = y.double()
    return max(float((y - y.mean()).square().sum()), 1e-12)
