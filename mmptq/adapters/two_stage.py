"""Two-stage detectors of MMDetection: Faster R-CNN and its relatives."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.detectors import TwoStageDetector
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.structures.bbox import bbox2roi
from torch import Tensor, nn

from mmptq.adapters.base import Adapter, Samples, blank_sample
from mmptq.adapters.dense_loss import FrozenTargets, dense_loss, frozen_random
from mmptq.errors import ConfigError
from mmptq.registry import ADAPTERS


@dataclass
class FrozenRegions:
    """Regions of the float model, held fixed for one image.

    Args:
        rois: ``(R, 5)``: image index and box.
        rpn_samples: Data samples whose objects are all of class 0.
        rpn_targets: Of the RPN's anchors.
        sampling: How each region was assigned to the labels.
    """

    rois: Tensor
    rpn_samples: Samples | None = None
    rpn_targets: FrozenTargets | None = None
    sampling: list[Any] | None = None


@ADAPTERS.register_module()
class TwoStageAdapter(Adapter):
    """Backbone, neck, region proposals, and a head on each region."""

    @classmethod
    def handles(cls, model: nn.Module) -> bool:
        """Whether ``model`` is a ``TwoStageDetector`` with region proposals of its own."""
        return isinstance(model, TwoStageDetector) and model.with_rpn

    def raw_outputs(self, image: Tensor) -> Any:
        """The RPN's outputs by kind and level, and the RoI head's for the RPN's own proposals."""
        features = self.model.extract_feat(image)
        rpn_outputs = self.model.rpn_head(features)
        samples = [blank_sample(image) for _ in range(len(image))]
        proposals = self._proposals(rpn_outputs, samples, None)
        return rpn_outputs, self.model.roi_head.forward(features, proposals, samples)

    @torch.no_grad()
    def freeze(self, image: Tensor, samples: Samples, with_labels: bool) -> FrozenRegions:
        """The regions that the float model proposes, with labels those that training samples.

        Raises:
            ConfigError: ``with_labels`` without ``model.train_cfg``, or another RoI head than
                MMDetection's standard one.
        """
        self._check_head()
        features = self.model.extract_feat(image)
        outputs = self.model.rpn_head(features)
        if not with_labels:
            proposals = self._proposals(outputs, samples, None)
            return FrozenRegions(bbox2roi([p.bboxes for p in proposals]))
        if self.model.train_cfg is None:
            raise ConfigError("model.train_cfg is None: the task loss samples regions by it")
        cfg = self.model.train_cfg.get("rpn_proposal", self.model.test_cfg.rpn)
        with frozen_random():
            sampling = self._sample(self._proposals(outputs, samples, cfg), samples, features)
        rois = bbox2roi([result.priors for result in sampling])
        rpn_samples = copy.deepcopy(samples)
        for sample in rpn_samples:
            sample.gt_instances.labels = torch.zeros_like(sample.gt_instances.labels)
        return FrozenRegions(rois, rpn_samples, FrozenTargets(), sampling)

    def head_outputs(self, image: Tensor, frozen: FrozenRegions) -> Any:
        """The RPN's outputs by kind and level, and the RoI head's for the frozen regions."""
        features = self.model.extract_feat(image)
        rpn_outputs = self.model.rpn_head(features)
        results = self.model.roi_head._bbox_forward(features, frozen.rois)
        return rpn_outputs, (results["cls_score"], results["bbox_pred"])

    def last_stage(self, outputs: Any) -> Any:
        """The RoI head's."""
        return outputs[1]

    def loss(self, outputs: Any, samples: Samples, frozen: FrozenRegions) -> dict[str, Tensor]:
        """RPN and box losses, as in training."""
        rpn_outputs, (cls_score, bbox_pred) = outputs
        head = self.model.roi_head
        assert frozen.rpn_samples is not None and frozen.rpn_targets is not None
        losses = dense_loss(
            self.model.rpn_head, rpn_outputs, frozen.rpn_samples, frozen.rpn_targets
        )
        box_losses = head.bbox_head.loss_and_target(
            cls_score=cls_score,
            bbox_pred=bbox_pred,
            rois=frozen.rois,
            sampling_results=frozen.sampling,
            rcnn_train_cfg=head.train_cfg,
        )
        return {**losses, **box_losses["loss_bbox"]}

    def _proposals(self, rpn_outputs: Any, samples: Samples, cfg: Any) -> list[Any]:
        return self.model.rpn_head.predict_by_feat(
            *([x.detach() for x in level] for level in rpn_outputs),
            batch_img_metas=[sample.metainfo for sample in samples],
            cfg=cfg,
            rescale=False,
        )

    def _sample(self, proposals: list[Any], samples: Samples, features: Any) -> list[Any]:
        """Assign the regions to the labels and sample them, as StandardRoIHead.loss does."""
        head, results = self.model.roi_head, []
        for i, (regions, sample) in enumerate(zip(proposals, samples, strict=True)):
            regions.priors = regions.pop("bboxes")
            assigned = head.bbox_assigner.assign(
                regions, sample.gt_instances, sample.get("ignored_instances")
            )
            levels = [level[i][None] for level in features]
            results.append(
                head.bbox_sampler.sample(assigned, regions, sample.gt_instances, feats=levels)
            )
        return results

    def _check_head(self) -> None:
        head = self.model.roi_head
        if not isinstance(head, StandardRoIHead) or not head.with_bbox:
            raise ConfigError(
                f"model.roi_head is a {type(head).__name__}: loss and output distance know "
                "StandardRoIHead and its subclasses only"
            )
