r"""How high the item that a user chose is ranked among others.

With the rank :math:`r` of the chosen item, 0 for the best (He et al. 2017, section 4.1), means over
users in percent of

.. math:: \mathrm{HR}@k = [r < k], \quad \mathrm{NDCG}@k = [r < k] / \log_2(r + 2)

Others of equal score stand before it. So a model that gives everything one score hits nothing:
quantization makes scores equal, and must not profit by it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmptq.errors import CalibrationDataError, ConfigError
from mmptq.registry import METRICS


@METRICS.register_module()
class HitRate(BaseMetric):
    """Hit rate and normalised discounted cumulative gain, in percent.

    Reads ``pred_scores`` and ``gt_labels`` ``(K,)`` of the samples, one of whose labels is 1.

    Args:
        k: How many of the best count.
        collect_device: As for MMEngine's ``BaseMetric``.
        prefix: The same.

    Raises:
        ConfigError: ``k`` is no whole number from 1.
    """

    default_prefix = "ranking"

    def __init__(self, k: int = 10, collect_device: str = "cpu", prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ConfigError(f"test_evaluator.k = {k!r}: must be a whole number from 1")
        self.k = k

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the rank of each sample's chosen item.

        Raises:
            CalibrationDataError: A sample has no chosen item, or several, or not more items than
                are counted, so that all would hit.
        """
        for sample in data_samples:
            scores, labels = sample["pred_scores"], sample["gt_labels"]
            if int((labels > 0).sum()) != 1 or len(labels) <= self.k:
                raise CalibrationDataError(
                    f"{sample.get('img_path', 'a sample')} has {int((labels > 0).sum())} chosen of "
                    f"{len(labels)} items; HR@{self.k} ranks one among more than {self.k}: let the "
                    "test set be mmptq.CandidateLists without num_negatives"
                )
            self.results.append(rank_of(scores, labels))

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        """``HR@k`` and ``NDCG@k`` in percent."""
        ranks = torch.tensor(results, dtype=torch.float64)
        hits = (ranks < self.k).double()
        gains = hits / torch.log2(ranks + 2)
        return {
            f"HR@{self.k}": 100.0 * float(hits.mean()),
            f"NDCG@{self.k}": 100.0 * float(gains.mean()),
        }


def rank_of(scores: Tensor, labels: Tensor) -> int:
    """How many items stand before the one of ``labels`` ``(K,)`` that is 1; all ties do."""
    # Not `scores >= own`: a NaN, here or there, is no reason to stand before anything.
    return int((~(scores < scores[labels > 0])).sum()) - 1
