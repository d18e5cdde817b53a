"""Two-stage detectors of MMDetection: Faster R-CNN and its relatives."""

from typing import Any

from mmdet.models.detectors import TwoStageDetector
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from mmptq.adapters.base import Adapter
from mmptq.registry import ADAPTERS


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
        samples = [_data_sample(image) for _ in range(len(image))]
        proposals = self.model.rpn_head.predict_by_feat(
            *([x.detach() for x in level] for level in rpn_outputs),
            batch_img_metas=[sample.metainfo for sample in samples],
            rescale=False,
        )
        return rpn_outputs, self.model.roi_head.forward(features, proposals, samples)


def _data_sample(image: Tensor) -> DetDataSample:
    """A data sample for one unscaled image of the batch."""
    height, width = image.shape[-2:]
    shape = {
        key: (height, width) for key in ("img_shape", "ori_shape", "pad_shape", "batch_input_shape")
    }
    return DetDataSample(metainfo={**shape, "scale_factor": (1.0, 1.0)})
