"""Any reader of ONNX's QuantizeLinear and DequantizeLinear."""

from mmptq.targets.base import Target

GENERIC = Target(
    name="generic",
    summary="whatever reads ONNX with 8-bit weights",
    runtime="reference",
    weight_zero_points=True,
    int4=False,
)
