"""W6A6 for small networks: what the first blocks of CSPDarknet or MobileNetV2 read has 8 bits.

There single channels hold faint and very large values, and 64 even steps lose the faint ones. A
ResNet needs none of it.
"""

_base_ = "./w6a6.py"

_base_.qconfig.overrides = [
    dict(
        pattern=[
            "backbone.stage1.*",  # of CSPDarknet (YOLOX, RTMDet)
            "backbone.layer1.0.*",  # of MobileNetV2: its first block,
            "backbone.layer2.0.expand_conv.*",  # and what that one gives to the second
        ],
        act=dict(num_bits=8),
    )
]
