"""MMSE behind layer norms whose channels were given one range (RepQ-ViT): for transformers."""

_base_ = "./mmse.py"

_base_.calib_cfg.method = "mmse_norms"
_base_.calib_cfg.steps.insert(0, dict(type="NormReparametrization"))
