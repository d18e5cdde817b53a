"""The quantized classifier as MMEngine sees it."""

from typing import Any

from mmptq.models.quant_model import QuantModel, build_float_model
from mmptq.registry import MODELS


@MODELS.register_module()
class QuantClassifier(QuantModel):
    """A classifier that can be quantized: any MMEngine model from images to logits.

    .. code-block:: python

        model = dict(type='mmptq.QuantClassifier', classifier_type='mmptq.CifarResNet', depth=20)

    Args:
        classifier_type: Registered class of the float classifier: one of ``mmptq.classifiers``
            (``BackboneClassifier`` for MMDetection's backbones, ``ModuleClassifier`` for a plain
            module), or mmpretrain's ``ImageClassifier``.
        classifier_cfg: The classifier's own arguments.
    """

    def __init__(self, classifier_type: str, **classifier_cfg: Any) -> None:
        model = build_float_model({"type": classifier_type, **classifier_cfg})
        # Not "classifier": so the head of many a network is called.
        super().__init__(model, name="image_classifier")
