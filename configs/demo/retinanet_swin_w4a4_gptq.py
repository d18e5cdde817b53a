"""RetinaNet on Swin at W4A4 on the demo set, weights by GPTQ."""

_base_ = ["./_base_/retinanet_swin_digits.py", "../_base_/quant/w4a4.py", "../_base_/calib/gptq.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
