"""W6A6, but for what the first stage of CSPDarknet (YOLOX, RTMDet) reads: that has 8 bits.

Its first maps hold faint and very large values in one channel; 64 even steps lose the faint ones.
"""

_base_ = "./w6a6.py"

_base_.qconfig.overrides = [dict(pattern="backbone.stage1.*", act=dict(num_bits=8))]
