"""RetinaNet on Swin at W6A6 on the demo set, ranges by MMSE."""

_base_ = ["./_base_/retinanet_swin_digits.py", "../_base_/quant/w6a6.py", "../_base_/calib/mmse.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
