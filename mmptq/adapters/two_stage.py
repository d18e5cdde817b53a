"""Detectors that look at regions: Faster, Mask and Cascade R-CNN and their relatives."""

from contextlib import nullcontext
from typing import Any

from mmdet.models.detectors import BaseDetector
from torch import Tensor, nn

from mmptq.adapters.decisions import Method
from mmptq.adapters.detector import DetectorAdapter, changed
from mmptq.adapters.passes import FrozenPass, Outputs
from mmptq.registry import ADAPTERS

# Regions of the small image.
_FEW = 20


@ADAPTERS.register_module()
class TwoStageAdapter(DetectorAdapter):
    """Region proposals, and heads on each region, in any number of stages.

    Regions are held fixed: those that the float model proposes and refines, and in the loss those
    that training samples.
    """

    @classmethod
    def handles(cls, model: nn.Module) -> bool:
        """Whether ``model`` is a detector with a head on regions."""
        return isinstance(model, BaseDetector) and getattr(model, "roi_head", None) is not None

    def small_pass(self, with_labels: bool = False) -> tuple[Tensor, FrozenPass]:
        """As in the base class, with few regions."""
        cfg = getattr(getattr(self.model, "rpn_head", None), "test_cfg", None) or {}
        few = changed(cfg, "max_per_img", _FEW) if "max_per_img" in cfg else nullcontext()
        with few:
            return super().small_pass(with_labels)

    def decided_in_predict(self) -> list[Method]:
        """Detections, proposals among them, regions refined from stage to stage, points."""
        refine = [
            Method(f"{name}.regress_by_class", module, "regress_by_class")
            for name, module in self.heads()
            if hasattr(module, "regress_by_class")
        ]
        return [*super().decided_in_predict(), *refine, *self._points("test")]

    def decided_in_loss(self) -> list[Method]:
        """Anchors' targets, proposals, points, and how regions are assigned and sampled."""
        proposals = [m for m in super().decided_in_predict() if not m.key.startswith("roi_head.")]
        return [
            *super().decided_in_loss(),
            *proposals,
            *self._sampling(),
            *self._points("train"),
        ]

    def last_stage(self, outputs: Outputs) -> Outputs:
        """Those of the heads on regions."""
        names = zip(self.last_layers, outputs, strict=True)
        return [calls for name, calls in names if name.startswith("roi_head.")]

    def _points(self, mode: str) -> list[Method]:
        """Points of a mask that are looked at again: where the coarse mask is least certain."""
        choose = f"get_roi_rel_points_{mode}"
        return [
            Method(f"{name}.{choose}", module, choose)
            for name, module in self.heads()
            if hasattr(module, choose)
        ]

    def _sampling(self) -> list[Method]:
        head, found = self.model.roi_head, []
        for helper, method in (("bbox_assigner", "assign"), ("bbox_sampler", "sample")):
            for i, owner in enumerate(_listed(getattr(head, helper, None))):
                found.append(Method(f"roi_head.{helper}.{i}", owner, method))
        return found


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
