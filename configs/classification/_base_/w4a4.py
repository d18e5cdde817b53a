"""W4A4 with affine weights, as in the released code of BRECQ and QDrop."""

_base_ = ["../../_base_/quant/w4a4.py"]

qconfig = dict(weight=dict(symmetric=False))
