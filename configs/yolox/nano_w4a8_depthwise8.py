"""YOLOX-Nano at W4A8, the weights of its depthwise convolutions at 8 bits.

These are the layers where 4 bits cost most: nine or twenty-five weights an output, which hardly can
make up for each other's errors.
"""

_base_ = "./nano_w4a8.py"

qconfig = dict(overrides=[dict(pattern="*depthwise_conv*", weight=dict(num_bits=8))])
