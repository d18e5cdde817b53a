"""What each runtime demands of a quantized model."""

from mmptq.targets.base import Target
from mmptq.targets.generic import GENERIC
from mmptq.targets.onnxruntime import ONNXRUNTIME
from mmptq.targets.openvino import OPENVINO
from mmptq.targets.tensorrt import TENSORRT

TARGETS = {target.name: target for target in (ONNXRUNTIME, OPENVINO, TENSORRT, GENERIC)}

__all__ = ["TARGETS", "Target"]
