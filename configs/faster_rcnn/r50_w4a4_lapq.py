"""Faster R-CNN R50 at W4A4 on COCO, heads included, steps by LAPQ.

One variable for the weights and one for the activations of each unit keep the search short.
``--cfg-options qconfig.scope=lapq_paper`` is the paper's protocol: one step a tensor, first and
last layers in float.
"""

_base_ = ["./_base_/r50.py", "../_base_/quant/w4a4.py", "../_base_/calib/lapq.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
_base_.calib_cfg.steps[1].update(cache_gb=8.0)
