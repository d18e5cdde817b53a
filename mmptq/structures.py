"""Data samples of classification and recommendation, as MMEngine's loops hand them around."""

from typing import cast

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmptq.errors import CalibrationDataError


class ClassSample(BaseDataElement):
    """What is known about one image.

    The fields are named as in mmpretrain: ``gt_label`` ``(1,)`` int64, ``pred_score`` ``(C,)`` and
    ``pred_label`` ``(1,)``. Its metainfo holds ``img_path``, ``ori_shape`` and ``img_shape``.
    """


def labels_of(samples: list[BaseDataElement], device: torch.device) -> Tensor:
    """Labels ``(N,)`` int64 of ``samples``.

    Raises:
        CalibrationDataError: A sample has none; names the image.
    """
    for sample in samples:
        if "gt_label" not in sample:
            raise CalibrationDataError(
                f"{sample.get('img_path', 'an image')} has no label; the pipeline's last step "
                "(mmptq.PackClassInputs) packs the dataset's gt_label"
            )
    return torch.cat([cast(Tensor, s.gt_label).reshape(1) for s in samples]).to(device)


class PairsSample(BaseDataElement):
    """What is known about a user and some items.

    ``gt_labels`` ``(K,)`` float: 1 where the user chose the item, else 0. ``pred_scores`` ``(K,)``:
    the model's logits. Its metainfo holds ``img_path``, the file and what stands there.
    """


def pair_labels_of(samples: list[BaseDataElement], device: torch.device) -> Tensor:
    """Labels ``(N, K)`` float of ``samples``.

    Raises:
        CalibrationDataError: A sample has none; names where it stands.
    """
    for sample in samples:
        if "gt_labels" not in sample:
            raise CalibrationDataError(
                f"{sample.get('img_path', 'a sample')} has no gt_labels; mmptq.RatedItems and "
                "mmptq.CandidateLists give them"
            )
    return torch.stack([cast(Tensor, s.gt_labels) for s in samples]).to(device)
