"""W4A8 for small networks: weights of depthwise convolutions and of the first blocks have 8 bits.

They are few, and 4 bits cost most there. The blocks are those of CSPDarknet (YOLOX, RTMDet) or
MobileNetV2.
"""

_base_ = "./w4a8_depthwise8.py"

_base_.qconfig.overrides.append(
    dict(
        pattern=["backbone.stage1.*", "backbone.layer1.0.*", "backbone.layer2.0.expand_conv.*"],
        weight=dict(num_bits=8),
    )
)
