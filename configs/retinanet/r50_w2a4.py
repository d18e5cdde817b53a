"""RetinaNet R50 at W2A4 on COCO, heads included, by Bit-shrinking in its fast setting.

``r50_w2a4_bitshrink.py`` is the published size. Both want a GPU: on a CPU, choose only the ranges
by ``--recipe configs/_base_/calib/mmse.py``. ``--cfg-options qconfig.scope=backbone_neck`` leaves
the heads in float.
"""

_base_ = ["./_base_/r50.py", "../_base_/quant/w2a4.py", "../_base_/calib/bitshrink_fast.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
