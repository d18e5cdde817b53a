"""Any reader of ONNX's QuantizeLinear and DequantizeLinear."""

from mmptq.targets.base import Target

GENERIC = Target(
    name="generic",
    summary="whatever reads ONNX with 8-bit weights",
    runtime="onnxruntime",
    weight_zero_points=True,
    int4=False,
    int32_bias=True,  # of ONNX Runtime, in which the graph is checked
)
