"""ONNX Runtime on CPUs."""

from mmptq.targets.base import Target

ONNXRUNTIME = Target(
    name="onnxruntime",
    summary="convolutions that a quantizer reads, behind a ReLU at most; the others in float",
    runtime="onnxruntime",
    int32_bias=True,
)
