"""What every recommender of the project is to MMEngine."""

from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch import Tensor

from mmptq.errors import ConfigError
from mmptq.registry import MODELS
from mmptq.structures import PairsSample, pair_labels_of


@MODELS.register_module()
class PairPreprocessor(BaseDataPreprocessor):
    """Stacks the pairs of a batch and moves them to the model's device."""

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """``inputs``, a list of ``(K, 2)``, as one tensor ``(N, K, 2)``.

        Args:
            data: A collated batch.
            training: Makes no difference.

        Raises:
            ConfigError: Its samples have different numbers of pairs.
        """
        data = self.cast_data(data)
        pairs = data["inputs"]
        if not isinstance(pairs, Tensor):
            sizes = sorted({len(sample) for sample in pairs})
            if len(sizes) > 1:
                raise ConfigError(
                    f"a batch has samples of {sizes[0]} and of {sizes[-1]} pairs; let "
                    "num_negatives be the same in all of its sets"
                )
            pairs = torch.stack(list(pairs))
        return {**data, "inputs": pairs}


class Recommender(BaseModel):
    """A model from pairs of a user and an item to a logit each, with MMEngine's three modes.

    To add one: a subclass with :meth:`logits`, registered in ``MODELS`` and imported in
    ``mmptq/recommenders/__init__.py``. Its ``nn.Embedding`` are quantized as tables.

    Args:
        num_users: Users are numbered from 0 to ``num_users - 1``.
        num_items: The same of items.
        data_preprocessor: As for MMEngine's ``BaseModel``.

    Raises:
        ConfigError: A number that is none from 1.
    """

    def __init__(self, num_users: int, num_items: int, data_preprocessor: Any = None) -> None:
        super().__init__(data_preprocessor or {"type": "mmptq.PairPreprocessor"})
        self.num_users = whole("model.num_users", num_users)
        self.num_items = whole("model.num_items", num_items)

    @abstractmethod
    def logits(self, users: Tensor, items: Tensor) -> Tensor:
        """Logits of pairs, of the shape of ``users`` and ``items`` (int64)."""

    def forward(
        self, inputs: Tensor, data_samples: list[PairsSample] | None = None, mode: str = "tensor"
    ) -> Any:
        """Logits, losses or predictions.

        Args:
            inputs: ``(N, K, 2)`` int64: of N samples, K pairs of a user and an item.
            data_samples: One a sample; with labels for ``'loss'``.
            mode: ``'tensor'``: the logits ``(N, K)``. ``'loss'``: ``dict(loss=...)``, the mean
                binary cross-entropy (He et al. 2017, eq. 7). ``'predict'``: the samples with
                ``pred_scores``.

        Raises:
            ValueError: Another mode.
        """
        logits = self.logits(inputs[..., 0], inputs[..., 1])
        if mode == "tensor":
            return logits
        if mode == "loss":
            return {"loss": pairs_loss(logits, data_samples or [])}
        if mode == "predict":
            return _with_predictions(logits, data_samples)
        raise ValueError(f"mode = {mode!r}: must be 'tensor', 'loss' or 'predict'")


def pairs_loss(logits: Tensor, samples: list[PairsSample]) -> Tensor:
    """The mean binary cross-entropy of logits ``(N, K)`` with the samples' labels.

    Raises:
        CalibrationDataError: A sample has no labels.
    """
    labels = pair_labels_of(samples, logits.device)
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


def whole(key: str, value: Any) -> int:
    """``value`` as a whole number from 1.

    Raises:
        ConfigError: It is none; names ``key``.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{key} = {value!r}: must be a whole number from 1")
    return value


def _with_predictions(logits: Tensor, samples: list[PairsSample] | None) -> list[PairsSample]:
    samples = samples or [PairsSample() for _ in range(len(logits))]
    for sample, scores in zip(samples, logits, strict=True):
        sample.set_field(scores, "pred_scores", field_type="data")
    return samples
