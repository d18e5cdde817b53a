"""OpenVINO on CPUs."""

from mmptq.targets.base import Target

OPENVINO = Target(
    name="openvino",
    summary="every convolution and linear layer with quantized operands",
    runtime="openvino",
)
