"""DINO at W4A4 on the demo set with what a DETR needs in 8 bits, ranges by MMSE."""

_base_ = ["./_base_/dino_digits.py", "../_base_/quant/detr_w4a4.py", "../_base_/calib/mmse.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
