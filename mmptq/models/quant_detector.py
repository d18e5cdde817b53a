"""The quantized detector as MMDetection sees it."""

from typing import Any

from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope

from mmptq.models.quant_model import QuantModel
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
        cfg = {"type": detector_type, **detector_cfg}
        scope = DefaultScope.get_current_instance()
        if scope is None or scope.scope_name in ("mmengine", "mmptq"):
            cfg["_scope_"] = "mmdet"
        super().__init__(ROOT_MODELS.build(cfg), name="detector")
