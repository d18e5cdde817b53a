"""Single-stage detectors of MMDetection: RetinaNet and its relatives."""

from typing import Any

from mmdet.models.detectors import SingleStageDetector
from torch import Tensor, nn

from mmptq.adapters.base import Adapter
from mmptq.registry import ADAPTERS


@ADAPTERS.register_module()
class SingleStageAdapter(Adapter):
    """Backbone, neck and one dense head."""

    @classmethod
    def handles(cls, model: nn.Module) -> bool:
        """Whether ``model`` is a ``SingleStageDetector``."""
        return isinstance(model, SingleStageDetector)

    def raw_outputs(self, image: Tensor) -> Any:
        """The dense head's outputs, by kind and level."""
        return self.model.bbox_head(self.model.extract_feat(image))
