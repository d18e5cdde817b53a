"""RetinaNet R18 at W8A8 on BCCD, ranges by min-max."""

_base_ = ["./_base_/retinanet_r18_bccd.py", "../_base_/quant/w8a8.py", "../_base_/calib/minmax.py"]

model = dict(type="mmptq.QuantDetector", detector_type=_base_.model.type)
load_from = "checkpoints/bccd/retinanet_r18_bccd.pth"
