"""The longer trained vision transformer at W8A8 on handwritten digits, ranges by MMSE."""

_base_ = [
    "./_base_/vit_long_digits.py",
    "../_base_/quant/w8a8.py",
    "./_base_/calib/mmse.py",
]

model = dict(type="mmptq.QuantClassifier", classifier_type=_base_.model.type)
