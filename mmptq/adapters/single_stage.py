"""Single-stage detectors of MMDetection: RetinaNet and its relatives."""

from typing import Any

from mmdet.models.detectors import SingleStageDetector
from torch import Tensor, nn

from mmptq.adapters.base import Adapter, Samples
from mmptq.adapters.dense_loss import FrozenTargets, dense_loss
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

    def freeze(self, image: Tensor, samples: Samples, with_labels: bool) -> FrozenTargets:
        """Only the targets, which the first loss fills in."""
        return FrozenTargets()

    def loss(self, outputs: Any, samples: Samples, frozen: FrozenTargets) -> dict[str, Tensor]:
        """The dense head's own loss."""
        return dense_loss(self.model.bbox_head, outputs, samples, frozen)
