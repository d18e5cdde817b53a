"""Top-k accuracy."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.registry import METRICS


@METRICS.register_module()
class TopKAccuracy(BaseMetric):
    """Share of images, in percent, whose label is among the ``k`` highest scores.

    Reads ``gt_label`` and ``pred_score`` of the samples, as mmpretrain's models give them too.

    Args:
        topk: Values of ``k``; those above the number of classes are left out.
        collect_device: As for MMEngine's ``BaseMetric``.
        prefix: The same.

    Raises:
        ConfigError: ``topk`` holds something else than whole numbers from 1.
    """

    default_prefix = "accuracy"

    def __init__(
        self,
        topk: int | Sequence[int] = (1, 5),
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)
        if not self.topk or any(not isinstance(k, int) or k < 1 for k in self.topk):
            raise ConfigError(f"test_evaluator.topk = {topk!r}: must be whole numbers from 1")

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the rank of each image's label (0 for the highest score).

        Raises:
            CalibrationDataError: A label is no class of the model, or is missing.
        """
        scores = torch.stack([sample["pred_score"] for sample in data_samples])
        lacking = [s.get("img_path", "an image") for s in data_samples if "gt_label" not in s]
        if lacking:
            raise CalibrationDataError(f"{lacking[0]} has no label to measure the accuracy by")
        labels = torch.cat([s["gt_label"].reshape(1) for s in data_samples]).to(scores.device)
        if int(labels.max()) >= scores.shape[1]:
            raise CalibrationDataError(
                f"the test set has a label {int(labels.max())}, the model {scores.shape[1]} "
                "classes; check its num_classes"
            )
        own = scores.gather(1, labels[:, None])
        # Of equal scores the first class wins, as in argmax.
        index = torch.arange(scores.shape[1], device=scores.device)
        before = (scores > own) | ((scores == own) & (index < labels[:, None]))
        ranks = before.sum(dim=1).tolist()
        self.results.extend((rank, scores.shape[1]) for rank in ranks)

    def compute_metrics(self, results: list[tuple[int, int]]) -> dict[str, float]:
        """``top1``, ``top5``, ... in percent."""
        classes = results[0][1]
        ranks = torch.tensor([rank for rank, _ in results])
        shown = [k for k in self.topk if k <= classes] or [min(self.topk)]
        return {f"top{k}": 100.0 * float((ranks < k).double().mean()) for k in shown}
