"""Runs on a model and images that are there already, in place of a config's."""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from mmdet.models.detectors import BaseDetector
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmptq.adapters import Probe
from mmptq.classifiers import ModuleClassifier
from mmptq.engine import check_weights
from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.fileio import plain
from mmptq.models import QuantModel
from mmptq.runner import CalibrationRunner
from mmptq.structures import ClassSample

Evaluate = Callable[[QuantModel], Mapping[str, float]]
Sample = dict[str, Any]


class GivenImages:
    """The first images of a data loader, in the form of MMEngine's data sets.

    Args:
        data: Yields batches: ``(images, labels)`` or ``images``, with ``images`` ``(N, C, H, W)``
            and ``labels`` ``(N,)``; or MMEngine's dicts of ``inputs`` and ``data_samples``.
        count: How many images are taken; all where there are fewer.

    Raises:
        ConfigError: ``data`` yields something else.
        CalibrationDataError: It yields nothing.
    """

    def __init__(self, data: Iterable[Any], count: int) -> None:
        dataset = getattr(data, "dataset", None)
        self.metainfo: dict[str, Any] = dict(getattr(dataset, "metainfo", None) or {})
        self.samples: list[Sample] = []
        for batch in data:
            self.samples += _split(batch)
            if len(self.samples) >= count:
                break
        if not self.samples:
            raise CalibrationDataError("data: yields no batch")
        del self.samples[count:]

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        """``inputs`` ``(C, H, W)`` and the ``data_samples``, which a model may write into."""
        return copy.deepcopy(self.samples[index])

    def get_data_info(self, index: int) -> dict[str, Any]:
        """The image's path, where it is known."""
        sample = self.samples[index]["data_samples"]
        return {"img_path": sample.img_path} if "img_path" in sample else {}


def _split(batch: Any) -> list[Sample]:
    if isinstance(batch, Mapping) and {"inputs", "data_samples"} <= set(batch):
        pairs = zip(batch["inputs"], batch["data_samples"], strict=True)
        return [{"inputs": image, "data_samples": sample} for image, sample in pairs]
    parts = batch if isinstance(batch, list | tuple) else (batch,)
    images, labels = (*parts, None)[:2] if len(parts) in (1, 2) else (None, None)
    if not isinstance(images, Tensor) or images.dim() != 4:
        raise ConfigError(
            f"data: yields {_described(batch)}; a data loader must yield (images, labels) or "
            "images, with images of shape (N, C, H, W), or MMEngine's dict(inputs=..., "
            "data_samples=...)"
        )
    samples = [ClassSample(metainfo={"img_shape": tuple(images.shape[2:])}) for _ in images]
    for sample, label in zip(samples, () if labels is None else labels, strict=labels is not None):
        sample.gt_label = torch.as_tensor(label).reshape(1)
    return [
        {"inputs": image.detach().cpu(), "data_samples": sample}
        for image, sample in zip(images, samples, strict=True)
    ]


def _described(batch: Any) -> str:
    if isinstance(batch, Tensor):
        return f"a tensor of shape {tuple(batch.shape)}"
    if isinstance(batch, list | tuple):
        return f"a {type(batch).__name__} of {', '.join(type(b).__name__ for b in batch)}"
    return f"a {type(batch).__name__}"


@dataclass(frozen=True)
class Given:
    """What a config would name.

    Args:
        model: The float model, which stays as it is.
        images: To calibrate on.
        evaluate: Measures a model, if anything does.
    """

    model: nn.Module
    images: GivenImages
    evaluate: Evaluate | None


def wrap(model: nn.Module) -> QuantModel:
    """A copy of a float model that can be quantized.

    Raises:
        ConfigError: It is quantized already.
    """
    if isinstance(model, QuantModel):
        raise ConfigError("config_or_model: is a QuantModel already; give the float model")
    model = copy.deepcopy(model)
    if isinstance(model, BaseDetector):
        return QuantModel(model, name="detector")
    if not isinstance(model, BaseModel):
        # Without mean and standard deviation it only makes a batch of images.
        preprocessor = dict(type="ImgDataPreprocessor")
        model = ModuleClassifier(model, image_size=None, data_preprocessor=preprocessor)
    return QuantModel(model, name="image_classifier")


class GivenRunner(CalibrationRunner):
    """A calibration of what is given; its config holds ``qconfig`` and ``calib_cfg`` alone."""

    given: ClassVar[Given]

    @classmethod
    def of(cls, given: Given) -> type["GivenRunner"]:
        """The runner of ``given``: MMEngine asks for the model while it makes the object."""
        return type(cls.__name__, (cls,), {"given": given})

    @property
    def measures(self) -> bool:
        """Where there is something to measure with."""
        return self.given.evaluate is not None

    def build_model(self, model: Any) -> nn.Module:
        """The given model, in its wrapper."""
        return wrap(self.given.model)

    def evaluate(self, method: str) -> dict[str, float]:
        """What the given function says.

        Raises:
            ConfigError: It returns no dict of numbers.
        """
        self.method = method
        if self.given.evaluate is None:
            return {}
        self.model.eval()
        with torch.no_grad():
            found = plain(self.given.evaluate(self.model))
        if not isinstance(found, dict) or not all(_is_number(v) for v in found.values()):
            raise ConfigError(f"evaluate: returned {found!r}; it must return a dict of numbers")
        return {str(name): float(value) for name, value in found.items()}

    def _probe(self) -> Probe:
        images = self.given.images
        data = self.adapter.preprocess(pseudo_collate([images[0]]), with_labels=False)
        channels, *size = data["inputs"].shape[1:]
        fixed = self.adapter.batched and len({s["inputs"].shape for s in images.samples}) == 1
        full = (int(size[0]), int(size[1]))
        return Probe(int(channels), full if fixed else None, full)

    def _float_checkpoint(self) -> str:
        return type(self.given.model).__name__

    def _load_float_weights(self) -> None:
        check_weights(self.model)

    def _test_set(self) -> Any:
        """The same images: an export is checked on them."""
        self._test_evaluator = Evaluator([])
        self.build_test(self.given.images)
        return self.given.images

    def _try_evaluator(self) -> None:
        """Nothing: the function is first called on the float model."""

    def _calibration_dataset(self) -> Any:
        return self.given.images

    def _warn_about_overlap(self, paths: list[str]) -> None:
        """Nothing: what is measured on is known to the function alone."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
