"""The quantized detector as MMDetection sees it."""

from typing import Any

from mmptq.models.quant_model import QuantModel, build_float_model
from mmptq.registry import MODELS


@MODELS.register_module()
class QuantDetector(QuantModel):
    """A detector of MMDetection that can be quantized.

    .. code-block:: python

        model = dict(type='mmptq.QuantDetector', detector_type='RetinaNet')

    beside the detector's own keys, which stay where they are: so ``--cfg-options
    model.test_cfg.score_thr=...`` and ``init_detector`` (which reads ``cfg.model.backbone``) work
    as on the float config.

    Args:
        detector_type: Registered class of the float detector.
        detector_cfg: The detector's own arguments (``backbone``, ``neck``, ...).
    """

    def __init__(self, detector_type: str, **detector_cfg: Any) -> None:
        model = build_float_model({"type": detector_type, **detector_cfg})
        super().__init__(model, name="detector")
