"""The longer trained vision transformer at W4A4 on digits: levels of transformers, norms, QDrop."""

_base_ = [
    "./_base_/vit_long_digits.py",
    "../_base_/quant/vit_w4a4.py",
    "./_base_/calib/qdrop_norms.py",
]

model = dict(type="mmptq.QuantClassifier", classifier_type=_base_.model.type)
