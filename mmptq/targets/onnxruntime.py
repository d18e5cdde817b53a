"""ONNX Runtime on CPUs."""

from mmptq.targets.base import Target

ONNXRUNTIME = Target(
    name="onnxruntime",
    summary="convolutions with a quantizer behind them, or behind their ReLU; the others in float",
    runtime="onnxruntime",
    int32_bias=True,
    quantize_outputs=True,  # without, convolutions in front of additions and pools are in float
)
