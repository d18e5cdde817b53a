"""Objectives: what a search over quantization parameters minimises."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from typing_extensions import override

from mmptq.adapters import Adapter
from mmptq.adapters.base import Samples
from mmptq.engine.tensor_store import TensorStore
from mmptq.errors import CalibrationDataError
from mmptq.models.trace import flatten_tensors
from mmptq.registry import OBJECTIVES


@dataclass(frozen=True)
class CalibrationImage:
    """One calibration image as an objective sees it.

    Args:
        position: In the common selection of all processes.
        samples: Its data sample, one in a list.
        frozen: What the adapter holds fixed for it.
        path: For error messages.
    """

    position: int
    samples: Samples
    frozen: Any
    path: str = ""


class Objective(ABC):
    """A number for each image, from the raw outputs of the quantized model's heads.

    Equal outputs must give equal values. The loss of the model is the mean over all calibration
    images.

    To add one: a subclass registered in ``OBJECTIVES`` and imported in
    ``mmptq/engine/__init__.py``; a step's ``objective=dict(type='YourObjective')`` then names it.
    """

    # Whether it reads labels: a two-stage model's regions are then sampled as in training.
    needs_labels = False

    def prepare(self, adapter: Adapter, cache_gb: float, folder: str | Path) -> None:  # noqa: B027
        """Called once before the first image.

        Args:
            adapter: Of the model's family.
            cache_gb: Memory budget of what the objective keeps, in GiB.
            folder: For what does not fit.
        """

    def see_float(self, image: CalibrationImage, outputs: Any) -> None:  # noqa: B027
        """Called once an image with the *float* model's outputs."""

    @abstractmethod
    def value(self, image: CalibrationImage, outputs: Any) -> float:
        """The image's share of the loss, smaller is better."""


@OBJECTIVES.register_module()
class TaskLoss(Objective):
    """The detector's own training loss with labels: the sum of its components (LAPQ, section 4).

    The calibration images must have labels in the frame of the network's input, which they have
    where the pipeline loads annotations before it resizes.
    """

    needs_labels = True

    @override
    def prepare(self, adapter: Adapter, cache_gb: float, folder: str | Path) -> None:
        self._adapter = adapter

    @override
    def see_float(self, image: CalibrationImage, outputs: Any) -> None:
        for sample in image.samples:
            _check_labels(sample, image.path)

    @override
    def value(self, image: CalibrationImage, outputs: Any) -> float:
        losses = self._adapter.loss(outputs, image.samples, image.frozen)
        terms = [losses[key] for key in sorted(losses) if "loss" in key]
        return math.fsum(float(t.double().mean()) for t in flatten_tensors(terms))


def _check_labels(sample: Any, path: str) -> None:
    """Make sure that boxes are there and lie in the image.

    Raises:
        CalibrationDataError: They do not.
    """
    if "gt_instances" not in sample or "bboxes" not in sample.gt_instances:
        raise CalibrationDataError(
            f"calibration image {path} has no labels, which the objective TaskLoss needs; add "
            "LoadAnnotations to the calibration pipeline, or use the objective 'OutputDistance'"
        )
    boxes, (height, width) = sample.gt_instances.bboxes, sample.img_shape[:2]
    outside = (boxes[:, 2] > width * 1.05 + 2) | (boxes[:, 3] > height * 1.05 + 2)
    if bool(outside.any()):
        raise CalibrationDataError(
            f"calibration image {path}: boxes reach beyond the {width}x{height} input; "
            "LoadAnnotations must stand before Resize in calib_dataloader.dataset.pipeline"
        )


@OBJECTIVES.register_module()
class OutputDistance(Objective):
    r"""Distance between the float and the quantized heads' outputs; needs no labels.

    .. math:: \frac{1}{n} \sum_i \frac{\|y_i - \hat y_i\|_2^2}{\|y_i - \bar y_i\|_2^2}

    over the model's :math:`n` output tensors; each counts by the share of its variance around its
    mean :math:`\bar y_i` that quantization destroys, whatever its unit and size.
    """

    @override
    def prepare(self, adapter: Adapter, cache_gb: float, folder: str | Path) -> None:
        self._float = TensorStore(cache_gb, folder)

    @override
    def see_float(self, image: CalibrationImage, outputs: Any) -> None:
        self._float.put(image.position, [t.clone() for t in flatten_tensors(outputs)])

    @override
    def value(self, image: CalibrationImage, outputs: Any) -> float:
        pairs = zip(self._float.get(image.position), flatten_tensors(outputs), strict=True)
        shares = [_relative_error(y, y_hat) for y, y_hat in pairs if y.numel()]
        return math.fsum(shares) / max(len(shares), 1)


def _relative_error(y: Tensor, y_hat: Tensor) -> float:
    y = y.double()
    spread = float((y - y.mean()).square().sum())
    return float((y_hat.double() - y).square().sum()) / max(spread, 1e-12)
