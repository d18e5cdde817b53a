"""RetinaNet on Swin at W4A4 on the demo set, ranges by MMSE."""

_base_ = ["./_base_/retinanet_swin_digits.py", "../_base_/quant/w4a4.py", "../_base_/calib/mmse.py"]

calib_cfg = dict(units=["backbone.stages.*.blocks.*"])  # for recipes that reconstruct
model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
