"""Any reader of ONNX's QuantizeLinear and DequantizeLinear."""

from mmptq.targets.base import Target

GENERIC = Target(
    name="generic",
    summary="whatever reads ONNX with 8-bit weights",
    runtime="onnxruntime",
    int4=False,
)
