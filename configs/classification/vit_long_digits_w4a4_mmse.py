"""The longer trained vision transformer at W4A4 on handwritten digits, ranges by MMSE."""

_base_ = [
    "./_base_/vit_long_digits.py",
    "../_base_/quant/w4a4.py",
    "./_base_/calib/mmse.py",
]

model = dict(type="mmptq.QuantClassifier", classifier_type=_base_.model.type)
