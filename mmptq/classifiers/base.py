"""What every classifier of the project is to MMEngine."""

from abc import abstractmethod
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor
from torch.nn import functional as F

from mmptq.structures import ClassSample, labels_of


class ImageClassifier(BaseModel):
    """A model from images to logits, with MMEngine's three modes.

    To add one: a subclass with :meth:`logits`, registered in ``MODELS`` and imported in
    ``mmptq/classifiers/__init__.py``.

    Args:
        data_preprocessor: As for MMEngine's ``BaseModel``.
        init_cfg: The same.
    """

    # Side of a square image that the model takes; it is traced on one of that size.
    image_size: int | None = 224

    def __init__(self, data_preprocessor: Any = None, init_cfg: Any = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """``(N, C)`` of preprocessed images ``(N, 3, H, W)``."""

    def forward(
        self, inputs: Tensor, data_samples: list[ClassSample] | None = None, mode: str = "tensor"
    ) -> Any:
        """Logits, losses or predictions.

        Args:
            inputs: ``(N, 3, H, W)``, preprocessed.
            data_samples: One an image; with labels for ``'loss'``.
            mode: ``'tensor'``: the logits. ``'loss'``: ``dict(loss=...)``, the mean cross-entropy.
                ``'predict'``: the samples with ``pred_score`` and ``pred_label``.

        Raises:
            ValueError: Another mode.
        """
        logits = self.logits(inputs)
        if mode == "tensor":
            return logits
        if mode == "loss":
            return {"loss": F.cross_entropy(logits, labels_of(data_samples or [], logits.device))}
        if mode == "predict":
            return with_predictions(logits, data_samples)
        raise ValueError(f"mode = {mode!r}: must be 'tensor', 'loss' or 'predict'")


def with_predictions(logits: Tensor, samples: list[ClassSample] | None) -> list[ClassSample]:
    """``samples`` (new ones without) with the predictions of ``logits`` ``(N, C)``."""
    scores = torch.softmax(logits, dim=1)
    labels = scores.argmax(dim=1, keepdim=True)
    samples = samples or [ClassSample() for _ in range(len(logits))]
    for sample, score, label in zip(samples, scores, labels, strict=True):
        sample.set_field(score, "pred_score", field_type="data")
        sample.set_field(label, "pred_label", field_type="data")
    return samples
