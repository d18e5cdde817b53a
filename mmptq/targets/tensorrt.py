"""TensorRT on GPUs: symmetric, signed, 8 bits. Only the form of the graph is checked here."""

from mmptq.targets.base import Target

TENSORRT = Target(
    name="tensorrt",
    summary="layers with signed codes and no zero points (configs/_base_/quant/w8a8_tensorrt.py)",
    runtime="reference",
    zero_points=False,
    unsigned=False,
    int4=False,
)
