"""Classifiers: any MMEngine model that maps images to logits."""

from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from mmptq.adapters.base import Adapter, parents_of
from mmptq.adapters.passes import FrozenPass, Samples
from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.registry import ADAPTERS
from mmptq.structures import labels_of

_CONTAINERS = (nn.Sequential, nn.ModuleList)
_DEFAULT_SIZE = 224


@ADAPTERS.register_module()
class ClassifierAdapter(Adapter):
    """A model whose forward in mode ``'tensor'`` gives the logits ``(N, C)``."""

    batched = True

    @classmethod
    def handles(cls, model: nn.Module) -> bool:
        """Whether ``model`` is an MMEngine model, but no detector."""
        return isinstance(model, BaseModel) and not isinstance(model, BaseDetector)

    @property
    def trace_size(self) -> tuple[int, int]:
        """The model's ``image_size``, or its backbone's ``img_size``."""
        backbone: Any = getattr(self.model, "backbone", None)
        size: Any = getattr(self.model, "image_size", None) or getattr(backbone, "img_size", None)
        size = size or self.probe.size or _DEFAULT_SIZE
        return (size, size) if isinstance(size, int) else (int(size[0]), int(size[-1]))

    def raw_outputs(self, image: Tensor) -> Tensor:
        """The logits.

        Raises:
            ConfigError: The model gives something else.
        """
        logits = self.model(image, None, mode="tensor")
        if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(image):
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ConfigError(
                f"a {type(self.model).__name__} gives {shape} for {len(image)} images; a "
                "classifier gives logits of shape (images, classes)"
            )
        return logits

    def label(self, samples: Samples, device: torch.device) -> None:
        """With class 0."""
        for sample in samples:
            sample.gt_label = torch.zeros(1, dtype=torch.long, device=device)

    def loss(self, image: Tensor, frozen: FrozenPass) -> dict[str, Tensor]:
        """The mean cross-entropy."""
        logits = self.raw_outputs(image)
        return {"loss": F.cross_entropy(logits, labels_of(frozen.samples, logits.device))}

    def check_labels(self, samples: Samples, path: str) -> None:
        """Each sample has a ``gt_label``."""
        labels_of(samples, torch.device("cpu"))

    @torch.no_grad()
    def check_dataset(self, dataset: BaseDataset, name: str) -> None:
        """As many classes as the model has."""
        classes = dataset.metainfo.get("classes")
        if classes is None:
            return
        training = self.model.training
        self.model.eval()
        count = self.raw_outputs(self.trace_image()).shape[1]
        self.model.train(training)
        if len(classes) != count:
            raise CalibrationDataError(
                f"{name} has {len(classes)} classes ({', '.join(classes[:3])}, ...), the model "
                f"{count}; check data_prefix and the model's num_classes"
            )

    def block_of(self, layer: str) -> str | None:
        """The outermost module in a row (``nn.Sequential``, ``nn.ModuleList``) of several layers.

        A stage, which is itself a row of such modules, is none. So are found residual blocks,
        inverted residuals and transformer blocks.
        """
        for name in parents_of(layer):
            module = self.model.get_submodule(name)
            row = self.model.get_submodule(name.rpartition(".")[0])
            if _is_element(module, row) and _size(module) > 1 and not _is_stage(module):
                return name
        return None


def _is_element(module: nn.Module, row: nn.Module) -> bool:
    return isinstance(row, _CONTAINERS) and not isinstance(module, _CONTAINERS)


def _size(module: nn.Module) -> int:
    """How many convolutions and linear layers it has, quantized or not."""
    return sum(isinstance(m, nn.Conv2d | nn.Linear) for m in module.modules())


def _is_stage(module: nn.Module) -> bool:
    """Whether somewhere inside several modules of several layers stand in a row."""
    for row in module.modules():
        if isinstance(row, _CONTAINERS):
            blocks = [m for m in row if _is_element(m, row) and _size(m) > 1]
            if len(blocks) > 1:
                return True
    return False
